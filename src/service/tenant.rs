//! The data that a call works on: an app in a mode.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::ServiceError;
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::values::ids::{AppId, KeyId, Mode, UserId};
use crate::store::keys::{BUCKETS, Bucket};

/// How an app's data is distributed in Redis; it cannot be changed after creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// All data in one cluster slot; every scope is possible.
    #[default]
    App,
    /// Users are spread over 64 buckets and so over a cluster; every group must count per user.
    User,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    pub app: AppId,
    pub mode: Mode,
    pub placement: Placement,
}

impl Tenant {
    pub fn bucket_of(&self, user: &UserId) -> Bucket {
        self.bucket(Bucket::number_of(user)).unwrap_or_else(|| Bucket::whole(&self.app, &self.mode))
    }

    /// The bucket with that number; None if the app has no such bucket.
    pub fn bucket(&self, number: u8) -> Option<Bucket> {
        match self.placement {
            Placement::App => Some(Bucket::whole(&self.app, &self.mode)),
            Placement::User => Bucket::numbered(&self.app, &self.mode, number),
        }
    }

    /// The bucket of counters that several users share.
    ///
    /// # Errors
    /// An app with placement `user` has none.
    pub fn shared_bucket(&self) -> Result<Bucket, ServiceError> {
        match self.placement {
            Placement::App => Ok(Bucket::whole(&self.app, &self.mode)),
            Placement::User => {
                Err(ServiceError::invalid("scope", "must contain `user`: this app has the placement `user`"))
            }
        }
    }

    pub fn buckets(&self) -> Vec<Bucket> {
        match self.placement {
            Placement::App => vec![Bucket::whole(&self.app, &self.mode)],
            Placement::User => (0..BUCKETS).filter_map(|number| self.bucket(number)).collect(),
        }
    }
}

/// The start of a page, for lists of all buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketCursor {
    /// Index of the bucket.
    pub bucket: usize,
    /// Entries of the bucket on earlier pages.
    pub offset: usize,
}

/// Who makes a change, and the idempotency key of the call.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    pub key: &'a KeyId,
    pub idempotency: Option<&'a Idempotency>,
}

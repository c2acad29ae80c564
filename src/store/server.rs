//! What kind of Redis this is, and whether it keeps what it is told.

use std::collections::HashMap;

use super::Store;
use super::admission::{Facts, NO_USER, Owner};
use super::error::StoreError;
use super::keys::{self, Bucket};
use super::reply::optional_text;
use crate::domain::admission::Validity;
use crate::domain::ids::UserId;

/// Version of the key layout that this build reads and writes.
pub const LAYOUT_VERSION: &str = "6";

/// Findings about the server, for readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCheck {
    pub version: String,
    pub append_only: bool,
    pub eviction_policy: String,
    /// Connected to the server now.
    pub replicas: u64,
    /// It takes writes.
    pub is_master: bool,
}

impl Store {
    /// # Errors
    /// [`StoreError`]
    pub async fn check_server(&self) -> Result<ServerCheck, StoreError> {
        let mut fields = HashMap::new();
        for section in ["server", "persistence", "memory", "replication"] {
            let mut info = redis::cmd("INFO");
            info.arg(section);
            let text = optional_text(self.command_at("qg", &info).await?)?.unwrap_or_default();
            fields.extend(
                text.lines()
                    .filter_map(|line| line.split_once(':'))
                    .map(|(name, value)| (name.to_owned(), value.to_owned())),
            );
        }
        let take = |name: &str| fields.get(name).cloned().unwrap_or_default();
        Ok(ServerCheck {
            version: take("redis_version"),
            append_only: take("aof_enabled") == "1",
            eviction_policy: take("maxmemory_policy"),
            replicas: take("connected_slaves").parse().unwrap_or(0),
            is_master: take("role") == "master",
        })
    }

    /// Calls a function that only reads: the library is there, or can be loaded, and may be called.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn check_functions(&self, bucket: &Bucket, user: &UserId) -> Result<(), StoreError> {
        let owner = Owner { keys: bucket.user(user), renew: None, groups: Vec::new() };
        let facts = Facts {
            sandbox: false,
            revision: 0,
            version: NO_USER,
            validity: Validity::ALWAYS,
            tells_expiry: false,
            forget: None,
        };
        self.usage(bucket, facts, &[owner]).await.map(drop)
    }

    /// Claims the key layout, or finds out that another version's data is there.
    ///
    /// # Errors
    /// [`StoreError`]; the layout found if it is another.
    pub async fn claim_layout(&self) -> Result<Result<(), String>, StoreError> {
        let mut set = redis::cmd("SET");
        set.arg(keys::LAYOUT).arg(LAYOUT_VERSION).arg("NX").arg("GET");
        let found = optional_text(self.command(&set).await?)?;
        Ok(match found {
            Some(version) if version != LAYOUT_VERSION => Err(version),
            _ => Ok(()),
        })
    }
}

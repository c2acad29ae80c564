//! Properties of the Redis server, and whether it is configured to persist writes.

use super::headroom::MemoryUse;
use crate::domain::metering::admission::Validity;
use crate::domain::values::ids::UserId;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::metering::admission::{Facts, NO_USER, Owner};

/// Findings about the server, for readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCheck {
    pub version: String,
    pub append_only: bool,
    pub eviction_policy: String,
    pub memory: MemoryUse,
    /// Replicas that are connected now.
    pub replicas: u64,
    /// It accepts writes.
    pub is_master: bool,
}

impl Store {
    /// # Errors
    /// [`StoreError`]
    pub async fn check_server(&self) -> Result<ServerCheck, StoreError> {
        let fields = self.info("qg", &["server", "persistence", "memory", "replication"]).await?;
        let take = |name: &str| fields.get(name).cloned().unwrap_or_default();
        Ok(ServerCheck {
            version: take("redis_version"),
            append_only: take("aof_enabled") == "1",
            eviction_policy: take("maxmemory_policy"),
            memory: MemoryUse::read(&fields),
            replicas: take("connected_slaves").parse().unwrap_or(0),
            is_master: take("role") == "master",
        })
    }

    /// Calls a function that only reads, to check that the library is or can be loaded and may be called.
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
            reports_expiry: false,
            forget: None,
        };
        self.usage(bucket, facts, &[owner]).await.map(drop)
    }
}

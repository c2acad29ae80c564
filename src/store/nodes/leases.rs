//! Leases on parts of the background work: one key per part, with the name of the node that does it and a TTL. Only
//! the choice of the node depends on them, so reading and renewing need not be atomic.

use std::time::Duration;

use futures::future::try_join_all;
use redis::Value;

use crate::store::error::StoreError;
use crate::store::{Store, keys};

fn unexpected(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unexpected(format!("leases: {error}"))
}

impl Store {
    /// The nodes that hold the first `parts` parts of a kind of work.
    ///
    /// # Errors
    /// [`StoreError`], also if Redis has other data than this node expects.
    pub async fn lease_holders(&self, work: &str, parts: u8) -> Result<Vec<Option<String>>, StoreError> {
        let mut command = redis::cmd("MGET");
        command.arg(keys::LAYOUT).arg(keys::IDENTITY);
        for part in 0..parts {
            command.arg(keys::lease(work, part));
        }
        let found: Vec<Option<String>> = redis::from_redis_value(self.command(&command).await?).map_err(unexpected)?;
        let mut found = found.into_iter();
        let (layout, identity) = (found.next().flatten(), found.next().flatten());
        self.identity.observe(layout.as_deref(), identity.as_deref())?;
        Ok(found.collect())
    }

    /// Renews leases that a node holds. Returns those that had not expired.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn renew_leases(&self, work: &str, parts: Vec<u8>, stays: Duration) -> Result<Vec<u8>, StoreError> {
        let renew = async |part: u8| {
            let mut command = redis::cmd("PEXPIRE");
            command.arg(keys::lease(work, part)).arg(stays.as_millis() as u64);
            let renewed: bool = redis::from_redis_value(self.command(&command).await?).map_err(unexpected)?;
            Ok::<_, StoreError>(renewed.then_some(part))
        };
        Ok(try_join_all(parts.into_iter().map(renew)).await?.into_iter().flatten().collect())
    }

    /// Takes a free lease. False if another node was first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn take_lease(&self, work: &str, part: u8, node: &str, stays: Duration) -> Result<bool, StoreError> {
        let mut command = redis::cmd("SET");
        command.arg(keys::lease(work, part)).arg(node).arg("NX").arg("PX").arg(stays.as_millis() as u64);
        Ok(self.command(&command).await? != Value::Nil)
    }

    /// Releases a lease.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn free_lease(&self, work: &str, part: u8) -> Result<(), StoreError> {
        let mut command = redis::cmd("DEL");
        command.arg(keys::lease(work, part));
        self.command(&command).await.map(|_| ())
    }
}

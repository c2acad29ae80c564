//! Authenticates API keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::key_record::{KeyKind, KeyRecord, hash, is_plausible, parse_record};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::store::error::StoreError;
use crate::store::keys::Register;

/// In addition to the time for a round trip: if there was no check for this long, cached keys are not trusted.
const UNWATCHED_AFTER: Duration = Duration::from_secs(1);

impl Gateway {
    /// Identifies the owner of a key. An unknown key is looked up in Redis.
    ///
    /// # Errors
    /// [`ServiceError::InvalidKey`]
    pub async fn authenticate(&self, key: &str) -> Result<Arc<KeyRecord>, ServiceError> {
        if !is_plausible(key) {
            return Err(ServiceError::InvalidKey);
        }
        self.key_of_hash(&hash(key)).await
    }

    /// # Errors
    /// [`ServiceError::InvalidKey`]
    pub(in crate::service) async fn key_of_hash(&self, hash: &str) -> Result<Arc<KeyRecord>, ServiceError> {
        self.store.check_identity()?;
        let root = self.keys.root(hash);
        let cached = root.clone().or_else(|| self.keys.known(hash));
        if let Some(record) = cached.as_ref().filter(|_| root.is_some() || !self.is_unwatched()) {
            if record.kind == KeyKind::Admin {
                // Calls of operators have no stamp, so the identity of the data is checked here.
                Box::pin(self.store.verify_identity()).await?;
            }
            return Ok(Arc::clone(record));
        }
        Box::pin(self.look_up_key(hash, cached)).await
    }

    async fn look_up_key(&self, hash: &str, cached: Option<Arc<KeyRecord>>) -> Result<Arc<KeyRecord>, ServiceError> {
        let text = match (self.store.registered(Register::Keys, hash).await, cached) {
            (Ok(text), _) => text,
            // Without Redis no key can be revoked, and few calls work without Redis.
            (Err(StoreError::Unavailable(_)), Some(record)) => return Ok(record),
            (Err(error), _) => return Err(error.into()),
        };
        let Some(text) = text else {
            // An empty Redis does not have any keys.
            self.store.verify_identity().await?;
            return Err(ServiceError::InvalidKey);
        };
        let record = parse_record(&text)?;
        // Cached from now on, even if Redis becomes unavailable before the next check.
        let polled = match self.store.changes().await {
            Ok(changes) => self.follow_keys(changes.keys).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = polled {
            tracing::debug!(?error, "cannot cache a new key");
        }
        Ok(record)
    }

    /// A check for changes ends within the time for a round trip, and the next one follows soon.
    fn is_unwatched(&self) -> bool {
        self.keys.is_unwatched(self.store.timeout() + UNWATCHED_AFTER)
    }

    /// Whether the key is still valid. Within a second after a revocation it is not, nor if checks for changes fail.
    pub fn still_valid(&self, record: &KeyRecord) -> bool {
        !self.is_unwatched() && (record.app.is_none() || self.keys.has(record))
    }

    /// Loads keys that were created or revoked on other nodes. `changes` was read before, so later changes are loaded
    /// next time.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(in crate::service) async fn follow_keys(&self, changes: String) -> Result<(), ServiceError> {
        if self.keys.is_as_of(&changes) {
            return Ok(());
        }
        let mut keys = HashMap::new();
        for (hash, text) in self.store.register_entries(Register::Keys).await? {
            keys.insert(hash, parse_record(&text)?);
        }
        // Checks that Redis was not replaced by another store meanwhile.
        self.store.verify_identity().await?;
        self.keys.replace(changes, keys);
        Ok(())
    }
}

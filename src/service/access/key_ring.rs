//! The keys that a node knows. It checks for changes several times a second, so that a new key works at once and a
//! revoked one fails within a second on every node. If these checks fail, it asks Redis with each call.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::keys::{KeyKind, KeyRecord, admin_record, hash, is_plausible, parse_record};
use crate::domain::values::ids::KeyId;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::store::error::StoreError;
use crate::store::keys::Register;

/// In addition to the time for a round trip: if there was no check for this long, cached keys are not trusted.
const UNWATCHED_AFTER: Duration = Duration::from_secs(1);

/// The cached keys by the SHA-256 of the key.
pub struct KeyRing {
    known: RwLock<Known>,
    /// When this node last tried to check for changes, whether Redis answered or not.
    looked: RwLock<Instant>,
    root: Option<(String, Arc<KeyRecord>)>,
}

#[derive(Default)]
struct Known {
    changes: String,
    keys: HashMap<String, Arc<KeyRecord>>,
}

impl KeyRing {
    pub fn new(root_key: Option<&str>) -> Self {
        let root = root_key.and_then(|key| {
            let id = KeyId::parse("root").ok()?;
            Some((hash(key), Arc::new(admin_record(id, None, "ak_…".to_owned(), String::new()))))
        });
        Self { known: RwLock::default(), looked: RwLock::new(Instant::now()), root }
    }

    /// Whether a root key was configured.
    pub(in crate::service) fn has_root(&self) -> bool {
        self.root.is_some()
    }

    fn root(&self, hash: &str) -> Option<Arc<KeyRecord>> {
        self.root.as_ref().filter(|(root, _)| root == hash).map(|(_, record)| Arc::clone(record))
    }

    fn known(&self, hash: &str) -> Option<Arc<KeyRecord>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).keys.get(hash).cloned()
    }

    pub(in crate::service) fn forget(&self, hash: &str) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).keys.remove(hash);
    }

    /// Records that a check for changes has ended.
    pub(in crate::service) fn looked(&self) {
        *self.looked.write().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether there was no check for this long.
    fn is_unwatched(&self, bound: Duration) -> bool {
        self.looked.read().unwrap_or_else(PoisonError::into_inner).elapsed() > bound
    }
}

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
        let at_hand = root.clone().or_else(|| self.keys.known(hash));
        if let Some(record) = at_hand.as_ref().filter(|_| root.is_some() || !self.is_unwatched()) {
            if record.kind == KeyKind::Admin {
                // Calls of operators have no stamp, so the identity of the data is checked here.
                Box::pin(self.store.verify_identity()).await?;
            }
            return Ok(Arc::clone(record));
        }
        Box::pin(self.look_up_key(hash, at_hand)).await
    }

    async fn look_up_key(&self, hash: &str, at_hand: Option<Arc<KeyRecord>>) -> Result<Arc<KeyRecord>, ServiceError> {
        let text = match (self.store.registered(Register::Keys, hash).await, at_hand) {
            (Ok(text), _) => text,
            // Without Redis nobody can revoke the key, and what works without Redis is limited.
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
        let known = self.keys.known.read().unwrap_or_else(PoisonError::into_inner);
        let is_known = || known.keys.values().any(|known| known.id == record.id);
        !self.is_unwatched() && (record.app.is_none() || is_known())
    }

    /// Loads keys that were created or revoked on other nodes. `changes` was read before, so later changes are loaded
    /// next time.
    ///
    /// # Errors
    /// [`ServiceError`]
    /// [`ServiceError`]
    pub(in crate::service) async fn follow_keys(&self, changes: String) -> Result<(), ServiceError> {
        if self.keys.known.read().unwrap_or_else(PoisonError::into_inner).changes == changes {
            return Ok(());
        }
        let mut keys = HashMap::new();
        for (hash, text) in self.store.register_entries(Register::Keys).await? {
            keys.insert(hash, parse_record(&text)?);
        }
        // Checks that Redis was not replaced by another store meanwhile.
        self.store.verify_identity().await?;
        *self.keys.known.write().unwrap_or_else(PoisonError::into_inner) = Known { changes, keys };
        Ok(())
    }
}

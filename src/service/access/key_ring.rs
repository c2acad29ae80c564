//! The keys that a node knows. It checks for changes several times a second, so that a new key works at once and a
//! revoked one fails within a second on every node. If these checks fail, it asks Redis with each call.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::key_record::{KeyRecord, admin_record, hash};
use crate::domain::values::ids::KeyId;

/// The cached keys by the SHA-256 of the key.
pub struct KeyRing {
    known: RwLock<LoadedKeys>,
    /// When this node last tried to check for changes, whether Redis answered or not.
    looked: RwLock<Instant>,
    root: Option<(String, Arc<KeyRecord>)>,
}

#[derive(Default)]
struct LoadedKeys {
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

    pub(super) fn root(&self, hash: &str) -> Option<Arc<KeyRecord>> {
        self.root.as_ref().filter(|(root, _)| root == hash).map(|(_, record)| Arc::clone(record))
    }

    pub(super) fn known(&self, hash: &str) -> Option<Arc<KeyRecord>> {
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
    pub(super) fn is_unwatched(&self, bound: Duration) -> bool {
        self.looked.read().unwrap_or_else(PoisonError::into_inner).elapsed() > bound
    }

    /// Whether this is one of the cached keys.
    pub(super) fn has(&self, record: &KeyRecord) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.keys.values().any(|known| known.id == record.id)
    }

    /// Whether the register still has this change count.
    pub(super) fn is_as_of(&self, changes: &str) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).changes == changes
    }

    /// Replaces all keys; `changes` is the register's change count.
    pub(super) fn replace(&self, changes: String, keys: HashMap<String, Arc<KeyRecord>>) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = LoadedKeys { changes, keys };
    }
}

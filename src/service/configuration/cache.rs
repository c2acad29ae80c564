//! The configurations that a node has cached.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use super::app_config::AppConfig;
use crate::domain::values::ids::AppId;

/// The configurations that this node has cached.
#[derive(Default)]
pub struct Configs {
    cached: RwLock<HashMap<AppId, Arc<AppConfig>>>,
    announced: Mutex<Announced>,
    /// Counts changes of the cached configurations.
    changes: AtomicU64,
}

/// The configurations that are about to change.
#[derive(Default)]
pub(super) struct Announced {
    /// Announcements up to this change count are included.
    pub count: u64,
    /// With the time at which this node learned of it.
    pub apps: HashMap<AppId, Instant>,
}

impl Configs {
    /// The cached configuration, however old.
    pub(crate) fn cached(&self, app: &AppId) -> Option<Arc<AppConfig>> {
        self.cached.read().unwrap_or_else(PoisonError::into_inner).get(app).cloned()
    }

    /// Stores the newer of two revisions.
    pub(super) fn put(&self, app: &AppId, config: Arc<AppConfig>) {
        let mut configs = self.cached.write().unwrap_or_else(PoisonError::into_inner);
        let present = configs.entry(app.clone()).or_insert_with(|| Arc::clone(&config));
        if present.revision < config.revision {
            *present = config;
            self.has_changed();
        }
    }

    /// Replaces the configuration that was cached at `seen`, even by a lower revision: the app may have been deleted
    /// and created again.
    pub(super) fn replace(&self, app: &AppId, seen: u64, config: Arc<AppConfig>) {
        let mut configs = self.cached.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = configs.get_mut(app).filter(|present| present.revision == seen) {
            *present = config;
            self.has_changed();
        }
    }

    pub(crate) fn forget(&self, app: &AppId) {
        self.cached.write().unwrap_or_else(PoisonError::into_inner).remove(app);
        self.has_changed();
    }

    pub(crate) fn apps(&self) -> Vec<AppId> {
        self.cached.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// A number that changes whenever an app appears or disappears, or a cached configuration changes.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Records that an app or its configuration has changed.
    pub(in crate::service) fn has_changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn announced(&self) -> MutexGuard<'_, Announced> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

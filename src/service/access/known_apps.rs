//! The apps that a node knows of.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::service::tenant::Placement;

/// The app that the root admin key works on unless it names another one.
pub const DEFAULT_APP: &str = "default";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppView {
    pub id: String,
    pub placement: Placement,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// The apps that a node knows, loaded on first use.
#[derive(Default)]
pub struct KnownApps(Mutex<Option<LoadedApps>>);

struct LoadedApps {
    /// The register's change count when it was loaded.
    changes: String,
    apps: Arc<Vec<AppView>>,
}

impl KnownApps {
    fn known(&self) -> MutexGuard<'_, Option<LoadedApps>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::service) fn cached(&self) -> Option<Arc<Vec<AppView>>> {
        self.known().as_ref().map(|known| Arc::clone(&known.apps))
    }

    /// Whether the register still has this change count.
    pub(in crate::service) fn is_as_of(&self, changes: &str) -> bool {
        self.known().as_ref().is_some_and(|known| known.changes == changes)
    }

    /// Returns the apps that were known before.
    pub(in crate::service) fn replace(&self, changes: String, apps: Arc<Vec<AppView>>) -> Arc<Vec<AppView>> {
        self.known().replace(LoadedApps { changes, apps }).map(|known| known.apps).unwrap_or_default()
    }
}

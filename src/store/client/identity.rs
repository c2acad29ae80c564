//! The identity of the data in Redis. The first start writes it; each node remembers the one that it started with and
//! compares it with every check for changes. A node neither reads nor writes empty or different data. Only a starting
//! node may initialise an empty Redis.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::error::StoreError;
use crate::store::keys::LAYOUT_VERSION;

/// The identity that a node expects.
#[derive(Debug, Default)]
pub struct Identity {
    /// None for commands that use Redis only once, which compare nothing.
    expected: Mutex<Option<String>>,
    is_wrong: AtomicBool,
    why: Mutex<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Identity {
    /// # Errors
    /// At the last check, Redis had other data than this node expects.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.is_wrong.load(Ordering::Relaxed) { Err(StoreError::Refused(lock(&self.why).clone())) } else { Ok(()) }
    }

    pub(in crate::store) fn remember(&self, identity: String) {
        *lock(&self.expected) = Some(identity);
        self.is_wrong.store(false, Ordering::Relaxed);
        metrics::gauge!("quotagate_store_identity_matches").set(1.0);
    }

    /// Compares the identity, and logs changes of the result once.
    pub(in crate::store) fn observe(&self, layout: Option<&str>, identity: Option<&str>) -> Result<(), StoreError> {
        let Some(expected) = lock(&self.expected).clone() else { return Ok(()) };
        let found = match (layout, identity) {
            (Some(LAYOUT_VERSION), Some(identity)) if identity == expected => {
                if self.is_wrong.swap(false, Ordering::Relaxed) {
                    metrics::gauge!("quotagate_store_identity_matches").set(1.0);
                    tracing::info!("Redis holds this node's data again (store {expected}): calls are served");
                }
                return Ok(());
            }
            (Some(layout), _) if layout != LAYOUT_VERSION => {
                format!("data of layout {layout}, while this version reads layout {LAYOUT_VERSION}")
            }
            (Some(_), Some(identity)) => format!("the data of another store, {identity}"),
            (Some(_), None) => "data without an identity".to_owned(),
            (None, _) => "no quotagate data".to_owned(),
        };
        let why = format!("Redis holds {found}; this node started with store {expected}");
        *lock(&self.why) = why.clone();
        if !self.is_wrong.swap(true, Ordering::Relaxed) {
            metrics::gauge!("quotagate_store_identity_matches").set(0.0);
            tracing::error!(
                "{why}. Every API call is answered 503 until its data is back: restore the data, or connect Redis \
                 with the data again. To serve on what is there now instead, restart this node"
            );
        }
        Err(StoreError::Refused(why))
    }
}

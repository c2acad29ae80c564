//! The state of a Redis outage, as far as the node knows it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::infra::journal::Journal;
use crate::store::keys::Bucket;

/// What a node knows about the outage.
#[derive(Default)]
pub struct Degraded {
    /// Without a journal, nothing can be allowed.
    pub journal: Option<Journal>,
    /// Buckets that did not answer last time. They are probed in the background, so that calls need not wait for them.
    away: Mutex<HashSet<Bucket>>,
    /// A bucket is unavailable, or entries wait to be counted.
    engaged: AtomicBool,
    wake: Notify,
    pub(super) counted: Counted,
}

/// Counts since the outage began.
#[derive(Default)]
pub(super) struct Counted {
    pub tracked: AtomicU64,
    pub refused: AtomicU64,
}

impl Degraded {
    pub fn new(journal: Journal) -> Self {
        let waits = journal.waiting() > 0;
        let degraded = Self { journal: Some(journal), ..Self::default() };
        if waits {
            degraded.engage();
        }
        degraded
    }

    /// Whether a bucket is unavailable or entries wait. Each call checks this, also while Redis is available.
    pub fn is_engaged(&self) -> bool {
        self.engaged.load(Ordering::Relaxed)
    }

    /// Resolves when a bucket is unavailable or entries wait.
    pub async fn engaged(&self) {
        while !self.is_engaged() {
            self.wake.notified().await;
        }
    }

    pub(super) fn engage(&self) {
        self.engaged.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Bucket>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_away(&self, bucket: &Bucket) -> bool {
        self.lock().contains(bucket)
    }

    pub(super) fn is_gone(&self, bucket: &Bucket) {
        if self.lock().insert(bucket.clone()) && !self.engaged.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "Redis is unavailable: reserves of apps with `onStoreFailure: allow` are decided without it"
            );
        }
        self.engage();
    }

    pub(super) fn is_back(&self, bucket: &Bucket) {
        self.lock().remove(bucket);
    }

    pub(super) fn waiting(&self) -> usize {
        self.journal.as_ref().map_or(0, Journal::waiting)
    }

    /// Ends the outage when all buckets are back and all entries are counted, so that calls go to Redis only.
    pub(super) fn disengage(&self) {
        // Under the lock, so that a bucket that fails meanwhile is not missed.
        let away = self.lock();
        if away.is_empty() && self.waiting() == 0 && self.engaged.swap(false, Ordering::Relaxed) {
            let tracked = self.counted.tracked.swap(0, Ordering::Relaxed);
            let refused = self.counted.refused.swap(0, Ordering::Relaxed);
            tracing::info!(tracked, refused, "Redis is back, and every degraded reserve is counted");
        }
    }

    /// Warnings for the operator, while an app uses `allow` (`is_wanted`) or entries wait.
    pub fn warnings(&self, is_wanted: bool) -> Vec<String> {
        let Some(journal) = &self.journal else { return Vec::new() };
        let mut warnings = Vec::new();
        if let Some(fault) = journal.fault().filter(|_| is_wanted) {
            warnings.push(format!(
                "cannot write the journal of degraded reserves ({fault}): while Redis is unavailable, reserves are refused"
            ));
        }
        let waiting = journal.waiting();
        if waiting > 0 {
            let most = journal.most;
            warnings.push(format!(
                "{waiting} reserves were allowed without Redis and are not counted yet (at most {most})"
            ));
        }
        warnings
    }
}

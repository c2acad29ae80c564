//! Reserves while Redis is unavailable, for apps with `onStoreFailure: allow`. The node denies a call if it knows a
//! certain reason; otherwise it allows the call without a reservation, up to a number of calls. Each such call is
//! written to the node's journal before it is answered, under the name of its operation, and is counted once under
//! that name when Redis is back.

mod entry;
mod judge;
mod track;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::configuration::app_config::OnStoreFailure;
use super::error::ServiceError;
use super::gateway::Gateway;
use super::metering::decision::Decision;
use super::metering::reserve::Call;
use super::tenant::Tenant;
use crate::domain::values::ids::AppId;
use crate::infra::journal::{Appended, Journal, JournalError};
use crate::store::keys::Bucket;
use crate::store::metering::operation::Operation;
use entry::Entry;
use judge::Verdict;

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
    counted: Counted,
}

/// Counts since the outage began.
#[derive(Default)]
struct Counted {
    tracked: AtomicU64,
    refused: AtomicU64,
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

    fn engage(&self) {
        self.engaged.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Bucket>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_away(&self, bucket: &Bucket) -> bool {
        self.lock().contains(bucket)
    }

    fn is_gone(&self, bucket: &Bucket) {
        if self.lock().insert(bucket.clone()) && !self.engaged.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "Redis is unavailable: reserves of apps with `onStoreFailure: allow` are decided without it"
            );
        }
        self.engage();
    }

    fn is_back(&self, bucket: &Bucket) {
        self.lock().remove(bucket);
    }

    fn waiting(&self) -> usize {
        self.journal.as_ref().map_or(0, Journal::waiting)
    }

    /// Ends the outage when all buckets are back and all entries are counted, so that calls go to Redis only.
    fn disengage(&self) {
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

fn count(outcome: &'static str) {
    metrics::counter!("quotagate_degraded_decisions_total", "outcome" => outcome).increment(1);
}

fn allowed(entry: Entry, replayed: bool) -> Decision {
    Decision {
        allowed: true,
        degraded: true,
        matched: entry.matched,
        matched_groups: entry.groups,
        now_ms: entry.at_ms,
        replayed,
        ..Decision::default()
    }
}

impl Gateway {
    /// Whether any cached app has `onStoreFailure: allow`.
    pub fn allows_without_store(&self) -> bool {
        let allows =
            |app: &AppId| self.configs.at_hand(app).is_some_and(|config| allows(config.settings.on_store_failure));
        self.configs.apps().iter().any(allows)
    }

    /// During an outage: the answer to a reserve that does not need Redis or cannot reach it. None if Redis should be
    /// asked.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(super) async fn reserve_before_store(
        &self,
        tenant: &Tenant,
        call: &Call,
        operation: &Operation,
    ) -> Result<Option<Decision>, ServiceError> {
        let bucket = tenant.bucket_of(&call.user);
        if let Some(journal) = self.degraded.journal.as_ref().filter(|_| operation.may_come_again())
            && let Some(known) = journal.find(&bucket.operation(&operation.name)).await
        {
            if known.fingerprint != operation.fingerprint() {
                return Err(ServiceError::IdempotencyKeyReused);
            }
            count("replayed");
            return Ok(Some(allowed(Entry::read(&known)?, true)));
        }
        match self.degraded.is_away(&bucket) {
            true => self.reserve_without_store(tenant, call, operation).await,
            false => Ok(None),
        }
    }

    /// Redis did not answer a reserve: decides with what the node knows. None if the app does not use `allow`.
    ///
    /// # Errors
    /// [`ServiceError::StoreUnavailable`] if the call can be neither denied nor allowed.
    pub(super) async fn reserve_without_store(
        &self,
        tenant: &Tenant,
        call: &Call,
        operation: &Operation,
    ) -> Result<Option<Decision>, ServiceError> {
        let config = self.configs.at_hand(&tenant.app).filter(|config| allows(config.settings.on_store_failure));
        let (Some(config), Some(journal)) = (config, &self.degraded.journal) else { return Ok(None) };
        let bucket = tenant.bucket_of(&call.user);
        self.degraded.is_gone(&bucket);
        let entry = match self.judge_without_store(tenant, call, operation, config) {
            Some(Verdict::Allowed(entry)) => entry,
            Some(Verdict::Denied(decision)) => {
                count("denied");
                return Ok(Some(*decision));
            }
            None => {
                return Err(ServiceError::StoreUnavailable(
                    "the node does not know enough to decide the call without Redis".to_owned(),
                ));
            }
        };
        let appended = journal.append(entry.record(bucket.operation(&operation.name), operation)?).await;
        // The background task may have ended the outage just before.
        self.degraded.engage();
        match appended {
            Ok(Appended::Written) => {
                count("allowed");
                Ok(Some(allowed(entry, false)))
            }
            Ok(Appended::Known(known)) => {
                count("replayed");
                Ok(Some(allowed(Entry::read(&known)?, true)))
            }
            Ok(Appended::Reused) => Err(ServiceError::IdempotencyKeyReused),
            Err(error) => {
                count(match error {
                    JournalError::Full => "full",
                    JournalError::Unwritable(_) => "unwritable",
                });
                Err(ServiceError::StoreUnavailable(format!("the reserve cannot be allowed without Redis: {error}")))
            }
        }
    }

    /// Prepares, while Redis is available, what an outage needs.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn prepare_for_outage(&self) -> Result<(), ServiceError> {
        let Some(journal) = self.degraded.journal.as_ref().filter(|journal| journal.most > 0) else { return Ok(()) };
        if self.allows_without_store() {
            journal.prepare().await;
            for app in self.configs.apps() {
                self.placement(&app).await?;
            }
        }
        Ok(())
    }
}

fn allows(on_store_failure: OnStoreFailure) -> bool {
    match on_store_failure {
        OnStoreFailure::Allow => true,
        OnStoreFailure::Deny => false,
    }
}

//! Reserves while Redis is away, for apps that chose `onStoreFailure: allow`: what this node has at hand decides who is
//! surely refused, everybody else is allowed without a reservation, up to a number. Each such reserve is in the node's
//! journal before it is answered, under the operation that Redis knows or would know it by, and is counted once by that
//! operation when Redis is back.

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

/// What a node knows of Redis being away.
#[derive(Default)]
pub struct Degraded {
    /// None: nothing can be allowed.
    pub journal: Option<Journal>,
    /// Buckets that gave no answer the last time; the node asks again, so that not every call has to wait for none.
    away: Mutex<HashSet<Bucket>>,
    /// Something is away or waits.
    engaged: AtomicBool,
    wake: Notify,
    counted: Counted,
}

/// Since Redis went away.
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

    /// Is anything away, or does anything wait? What a call asks for when Redis is there.
    pub fn is_engaged(&self) -> bool {
        self.engaged.load(Ordering::Relaxed)
    }

    /// Resolves when something is away or waits.
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
            tracing::warn!("Redis is away: reserves of apps with `onStoreFailure: allow` are decided without it");
        }
        self.engage();
    }

    fn is_back(&self, bucket: &Bucket) {
        self.lock().remove(bucket);
    }

    fn waiting(&self) -> usize {
        self.journal.as_ref().map_or(0, Journal::waiting)
    }

    /// Is all that was away back, and all counted? Then calls go to Redis only.
    fn disengage(&self) {
        // Under the lock, so that nobody who finds Redis away in between is overlooked.
        let away = self.lock();
        if away.is_empty() && self.waiting() == 0 && self.engaged.swap(false, Ordering::Relaxed) {
            let tracked = self.counted.tracked.swap(0, Ordering::Relaxed);
            let refused = self.counted.refused.swap(0, Ordering::Relaxed);
            tracing::info!(tracked, refused, "Redis is back, and every degraded reserve is counted");
        }
    }

    /// What an operator should know, while an app allows (`is_wanted`) or something waits.
    pub fn warnings(&self, is_wanted: bool) -> Vec<String> {
        let Some(journal) = &self.journal else { return Vec::new() };
        let mut warnings = Vec::new();
        if let Some(fault) = journal.fault().filter(|_| is_wanted) {
            warnings.push(format!(
                "the journal of degraded reserves cannot be written ({fault}): without Redis they are refused"
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
    /// Does an app at hand want reserves to be allowed while Redis is away?
    pub fn allows_without_store(&self) -> bool {
        let allows =
            |app: &AppId| self.configs.at_hand(app).is_some_and(|config| allows(config.settings.on_store_failure));
        self.configs.apps().iter().any(allows)
    }

    /// While something is away or waits: the answer to a reserve that Redis need not, or cannot, be asked for. None: ask it.
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

    /// Redis gave no answer to a reserve: decides by what is at hand. None: the app did not choose so.
    ///
    /// # Errors
    /// [`ServiceError::StoreUnavailable`] if it can be neither refused nor allowed.
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
            None => return Err(ServiceError::StoreUnavailable("nor is at hand what could decide the call".to_owned())),
        };
        let appended = journal.append(entry.record(bucket.operation(&operation.name), operation)?).await;
        // The node may have found Redis back, and nothing waiting, just before.
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
                Err(ServiceError::StoreUnavailable(format!("nor may the reserve be allowed without it: {error}")))
            }
        }
    }

    /// Makes ready, while Redis is there, what is needed when it is not.
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

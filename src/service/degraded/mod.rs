//! Reserves while Redis is unavailable, for apps with `onStoreFailure: allow`. The node denies a call if it knows a
//! certain reason; otherwise it allows the call without a reservation, up to a number of calls. Each such call is
//! written to the node's journal before it is answered, under the name of its operation, and is counted once under
//! that name when Redis is back.

mod decide;
mod entry;
pub mod state;
mod track;

use super::configuration::app_config::OnStoreFailure;
use super::error::ServiceError;
use super::gateway::Gateway;
use super::metering::call::Call;
use super::metering::decision::Decision;
use super::tenant::Tenant;
use crate::domain::metering::fit::Fit;
use crate::domain::values::ids::AppId;
use crate::infra::journal::{Appended, JournalError};
use crate::store::metering::operation::Operation;
use decide::OfflineDecision;
use entry::Entry;

fn count(outcome: &'static str) {
    metrics::counter!("quotagate_degraded_decisions_total", "outcome" => outcome).increment(1);
}

fn allowed(call: &Call, entry: Entry, replayed: bool) -> Decision {
    Decision {
        allowed: true,
        degraded: true,
        matched: entry.matched,
        matched_groups: entry.groups,
        // The entry counts the least value, since the node does not know what fits.
        fitted: call.fit.as_ref().map(Fit::least),
        replayed,
        ..Decision::default()
    }
}

impl Gateway {
    /// Whether any cached app has `onStoreFailure: allow`.
    pub fn allows_without_store(&self) -> bool {
        self.configs.apps().iter().any(|app| self.app_allows_without_store(app))
    }

    /// Whether this app is cached and has `onStoreFailure: allow`.
    pub fn app_allows_without_store(&self, app: &AppId) -> bool {
        self.configs.cached(app).is_some_and(|config| allows(config.settings.on_store_failure))
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
            return Ok(Some(allowed(call, Entry::read(&known)?, true)));
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
        let config = self.configs.cached(&tenant.app).filter(|config| allows(config.settings.on_store_failure));
        let (Some(config), Some(journal)) = (config, &self.degraded.journal) else { return Ok(None) };
        let bucket = tenant.bucket_of(&call.user);
        self.degraded.is_gone(&bucket);
        let entry = match self.decide_without_store(tenant, call, operation, config) {
            Some(OfflineDecision::Allowed(entry)) => entry,
            Some(OfflineDecision::Denied(decision)) => {
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
                Ok(Some(allowed(call, entry, false)))
            }
            Ok(Appended::Known(known)) => {
                count("replayed");
                Ok(Some(allowed(call, Entry::read(&known)?, true)))
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

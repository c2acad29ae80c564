//! Counts calls that were allowed during an outage when Redis is back, each exactly once.
//!
//! Redis is asked for the record with the reserve's operation name. No record: the reserve never reached Redis; it is
//! tracked under that name. A reservation: Redis did execute the reserve and only its answer was lost, or the client
//! repeated the call at another node; it is committed as held, unless it has ended. Any other record: the client also
//! got another answer from another node, and both are valid, so the call is tracked under a separate name.

use futures::stream::{self, StreamExt};

use super::entry::Entry;
use crate::domain::configuration::limit_group::Limits;
use crate::domain::metering::admission::Purpose;
use crate::domain::metering::reservation::{RequestSnapshot, ReservationId};
use crate::domain::reporting::ledger::EntryDetails;
use crate::infra::journal::file::Record;
use crate::infra::supervise::Pulse;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::metering::admit::Prepared;
use crate::service::metering::call::Call;
use crate::service::metering::facts::{Attempt, CallFacts};
use crate::service::tenant::Tenant;
use crate::store::keys::Bucket;
use crate::store::metering::operation::Operation;
use crate::store::metering::record::StoredReservation;
use crate::store::metering::settle::{SettleReply, Target};
use crate::store::metering::track::{TrackArgs, TrackReply};

/// Concurrency of counting; calls have priority.
const AT_ONCE: usize = 8;
/// Entries processed in one round.
const LOOK_AT: usize = 10_000;

/// The outcome for one entry.
enum EntryOutcome {
    /// It is counted, now or before, or it was released.
    Counted,
    Held(Box<StoredReservation>),
    /// The name has another answer.
    Apart,
}

impl Gateway {
    /// Checks whether unavailable buckets are back, and counts the waiting entries.
    pub async fn catch_up_after_outage(&self, pulse: &Pulse) {
        let away: Vec<Bucket> = self.degraded.lock().iter().cloned().collect();
        let asked = stream::iter(away).for_each_concurrent(AT_ONCE, async |bucket| {
            if self.store.frozen_ms(&bucket).await.is_ok() {
                self.degraded.is_back(&bucket);
            }
        });
        asked.await;
        if let Some(journal) = &self.degraded.journal {
            let waiting = journal.oldest(LOOK_AT).await;
            let counted = stream::iter(waiting).for_each_concurrent(AT_ONCE, async |record| {
                pulse.beat().await;
                match self.count_degraded(&record).await {
                    Ok(()) => {
                        metrics::counter!("quotagate_degraded_counted_total", "outcome" => "counted").increment(1);
                        self.degraded.counted.tracked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        journal.done(&record.name);
                    }
                    Err(ServiceError::StoreUnavailable(what) | ServiceError::StoreRefused(what)) => {
                        tracing::debug!(what, "cannot count degraded reserves yet; retrying");
                    }
                    Err(error) => {
                        tracing::error!(?error, operation = record.name, "a degraded reserve cannot be counted");
                        metrics::counter!("quotagate_degraded_counted_total", "outcome" => "refused").increment(1);
                        self.degraded.counted.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        journal.refused(&record.name);
                    }
                }
            });
            counted.await;
            // Entries are removed by the journal's thread; this waits until it has processed them.
            journal.oldest(0).await;
        }
        self.degraded.disengage();
    }

    /// Counts a journalled reserve unless it has been counted.
    ///
    /// # Errors
    /// [`ServiceError`]; store_unavailable and store_refused are temporary.
    async fn count_degraded(&self, record: &Record) -> Result<(), ServiceError> {
        let entry = Entry::read(record)?;
        let tenant = entry.tenant(self.placement(&entry.app).await?)?;
        let operation = entry.operation(record)?;
        let call = entry.call();
        let bucket = tenant.bucket_of(&call.user);
        if self.degraded.is_away(&bucket) {
            return Err(ServiceError::StoreUnavailable("Redis is still unavailable".to_owned()));
        }
        let counted = self.count_once(&tenant, &bucket, &call, &operation).await;
        if matches!(counted, Err(ServiceError::StoreUnavailable(_))) {
            // Marks the bucket, so that other entries do not have to find out themselves.
            self.degraded.is_gone(&bucket);
        }
        counted
    }

    async fn count_once(
        &self,
        tenant: &Tenant,
        bucket: &Bucket,
        call: &Call,
        operation: &Operation,
    ) -> Result<(), ServiceError> {
        let counted = match self.count_by(tenant, call, operation).await? {
            EntryOutcome::Counted => true,
            EntryOutcome::Held(found) => self.commit_degraded(tenant, bucket, operation, &found).await?,
            EntryOutcome::Apart => false,
        };
        if counted {
            return Ok(());
        }
        match self.count_by(tenant, call, &operation.apart()).await? {
            EntryOutcome::Counted => Ok(()),
            EntryOutcome::Held(_) | EntryOutcome::Apart => {
                Err(ServiceError::Internal("the second name of its operation is taken".to_owned()))
            }
        }
    }

    async fn count_by(
        &self,
        tenant: &Tenant,
        call: &Call,
        operation: &Operation,
    ) -> Result<EntryOutcome, ServiceError> {
        self.with_facts(tenant, &call.user, async |facts| self.count_attempt(facts, call, operation).await).await
    }

    async fn count_attempt(
        &self,
        facts: &CallFacts,
        call: &Call,
        operation: &Operation,
    ) -> Result<Attempt<EntryOutcome>, ServiceError> {
        // Without `concurrent` groups, since this call will never be ended.
        let admission = match self.admission(facts, call, Purpose::Tell).await {
            Ok(Prepared::Admitted(admission)) => admission,
            Ok(Prepared::Stale(stale)) => return Ok(stale),
            // The configuration has changed so that the call cannot be measured; it may have been counted before.
            Err(refusal) => {
                let before = self.store.tracked_before(&facts.bucket, operation).await?;
                return before.map_or(Err(refusal), |reply| self.count_answer(facts, reply));
            }
        };
        let owners = facts.owners(&admission, Limits::Ignored);
        let requests = call.requests(&admission.learned);
        let snapshot = RequestSnapshot::new(call.caller(facts), facts.effective_limits(), false, &requests);
        let args = TrackArgs {
            bucket: &facts.bucket,
            operation,
            facts: facts.for_counting_script(&call.user, &admission),
            verdict: "",
            enforce: false,
            refund: false,
            call_label: &call.call_label(),
            snapshot: &snapshot,
            // The node's own answer has the outcome.
            match_facts: "",
            owners: &owners,
            asked: None,
            observed: "",
        };
        let reply = self.store.track_degraded(args).await?;
        self.count_answer(facts, reply)
    }

    fn count_answer(&self, facts: &CallFacts, reply: TrackReply) -> Result<Attempt<EntryOutcome>, ServiceError> {
        Ok(match reply {
            TrackReply::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
            TrackReply::Again(ran) => Attempt::Again(ran),
            TrackReply::Tracked { ran, full_scopes, .. } => {
                self.observe_run(&facts.bucket, ran);
                if full_scopes > 0 {
                    metrics::counter!("quotagate_crowded_scopes_total", "call" => "track").increment(full_scopes);
                }
                Attempt::Done(EntryOutcome::Counted)
            }
            TrackReply::Denied(..) => {
                return Err(ServiceError::invalid("quantity", "would exceed what a counter can hold"));
            }
            TrackReply::Held(found) => Attempt::Done(EntryOutcome::Held(found)),
            TrackReply::Reused => Attempt::Done(EntryOutcome::Apart),
            // Redis allowed it without a counter.
            TrackReply::Unmetered(_) => Attempt::Done(EntryOutcome::Counted),
            TrackReply::Before(first) => Attempt::Done(match *first {
                // The reserve was repeated at another node and denied there.
                TrackReply::Denied(..) => EntryOutcome::Apart,
                _ => EntryOutcome::Counted,
            }),
        })
    }

    /// Commits the hold of a reserve that Redis did execute. False if nothing is left to charge.
    async fn commit_degraded(
        &self,
        tenant: &Tenant,
        bucket: &Bucket,
        operation: &Operation,
        found: &StoredReservation,
    ) -> Result<bool, ServiceError> {
        let created_at_ms = found.created_at_ms;
        let id = ReservationId { name: operation.name.clone(), created_at_ms, bucket: bucket.number() };
        let settling = Operation::new("", None, false);
        let reports_expiry = self.reports_expiry(tenant).await?;
        let target = Target { bucket, id: &id, operation: &settling, reports_expiry };
        let details = EntryDetails { degraded: true, ..EntryDetails::default() };
        match self.store.commit(target, true, false, None, &details).await? {
            SettleReply::Settled(now_ms, _) => {
                self.forget(bucket, &id);
                self.clocks.observe_time(bucket, now_ms);
                Ok(true)
            }
            // The client released it, so nothing was spent.
            SettleReply::NotPending { .. } => Ok(true),
            SettleReply::Missing(_) | SettleReply::Expired(_) => Ok(false),
            SettleReply::Reused | SettleReply::StaleReservation | SettleReply::Overflow => {
                Err(ServiceError::Internal("its reservation cannot be charged".to_owned()))
            }
        }
    }
}

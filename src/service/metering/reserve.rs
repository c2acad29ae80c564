//! reserve: checks every limit that applies, and holds in all of them or in none.

use std::borrow::Cow;
use std::sync::Arc;

use super::admit::{asked, evaluate, observed_reason, verdict};
use super::call::{Call, CallContext, contexts};
use super::decision::{Counted, Decision, GroupOutcome, Retry, group_outcomes};
use super::facts::{Attempt, CallFacts};
use super::repeat::{Present, Repetition};
use crate::domain::configuration::limit_group::{LimitGroup, Limits};
use crate::domain::configuration::policy::retry_of;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::{Admission, Purpose};
use crate::domain::metering::counter::{Counter, CounterState};
use crate::domain::metering::fit::{Fit, Fitted, Growth};
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::metering::reservation::{RequestSnapshot, ReservationId};
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::Amount;
use crate::domain::values::field_error::FieldError;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::metering::operation::Operation;
use crate::store::metering::record::{PackedReservation, StoredReservation};
use crate::store::metering::request_snapshot::{snapshot_text, with_value};
use crate::store::metering::reserve::{ReserveArgs, ReserveReply};

/// The texts that are stored with a hold.
#[derive(Clone, Copy)]
struct RequestTexts<'a> {
    call_label: &'a str,
    snapshot: &'a str,
}

impl Gateway {
    /// Checks every matching counter, and holds the amount in all of them or in none.
    ///
    /// # Errors
    /// [`ServiceError`]; a denial is a result.
    pub async fn reserve(
        &self,
        tenant: &Tenant,
        call: &Call,
        ttl_ms: TimeMs,
        idempotency: Option<&Idempotency>,
    ) -> Result<Decision, ServiceError> {
        call.check()?;
        let operation = Operation::new(call.user.as_str(), idempotency, false);
        if self.degraded.is_engaged()
            && let Some(decision) = Box::pin(self.reserve_before_store(tenant, call, &operation)).await?
        {
            return Ok(decision);
        }
        let decided = self.with_facts(tenant, &call.user, async |facts| {
            self.reserve_attempt(CallContext { tenant, facts, call, operation: &operation }, ttl_ms).await
        });
        let what = match decided.await {
            Err(ServiceError::StoreUnavailable(what)) => what,
            decided => return decided,
        };
        let decision = Box::pin(self.reserve_without_store(tenant, call, &operation)).await?;
        decision.ok_or(ServiceError::StoreUnavailable(what))
    }

    async fn reserve_attempt(
        &self,
        context: CallContext<'_>,
        ttl_ms: TimeMs,
    ) -> Result<Attempt<Decision>, ServiceError> {
        let CallContext { facts, call, operation, .. } = context;
        let admission = match evaluate(facts, call, Purpose::Ask) {
            Ok(admission) => admission,
            Err(fault) => return Box::pin(self.reserve_rejected(context, fault)).await,
        };
        let snapshot = snapshot_text(&request_snapshot(facts, call, &admission))?;
        let call_label = call.call_label();
        let owners = facts.owners(&admission, Limits::Enforced);
        let asked = asked(facts, call, &admission, operation)?;
        let args = ReserveArgs {
            bucket: &facts.bucket,
            operation,
            facts: facts.for_counting_script(&call.user, &admission),
            verdict: verdict(&admission),
            ttl_ms,
            call_label: &call_label,
            snapshot: &snapshot,
            owners: &owners,
            asked: asked.as_ref(),
            observed: observed_reason(&admission),
            is_fitted: call.fit.is_some(),
            growth: admission.growth.as_ref(),
        };
        let reply = self.store.reserve(&args).await?;
        let request = RequestTexts { call_label: &call_label, snapshot: &snapshot };
        let attempt = self.reserve_answer(context, &admission, Some(request), reply).await?;
        Ok(match attempt {
            Attempt::Done(decision) => Attempt::Done(Decision { retry: retry(facts, call, &decision), ..decision }),
            other => other,
        })
    }

    /// For a call that is invalid under the node's facts. A stored answer is returned, whatever the configuration is now.
    async fn reserve_rejected(
        &self,
        context: CallContext<'_>,
        fault: FieldError,
    ) -> Result<Attempt<Decision>, ServiceError> {
        let CallContext { facts, call, operation, .. } = context;
        if let Some(stale) = self.check_facts(facts, &call.user).await? {
            return Ok(stale);
        }
        let first = self.store.reserved_before(&facts.bucket, operation, call.fit.is_some()).await?.ok_or(fault)?;
        let admission = Admission::empty(facts.effective_limits(), OwnerName::of_user(&call.user));
        self.reserve_answer(context, &admission, None, first).await
    }

    async fn reserve_answer(
        &self,
        context: CallContext<'_>,
        admission: &Admission,
        request: Option<RequestTexts<'_>>,
        reply: ReserveReply,
    ) -> Result<Attempt<Decision>, ServiceError> {
        let CallContext { facts, call, operation, .. } = context;
        Ok(match reply {
            // Only a stored answer can be that of a degraded call.
            ReserveReply::Reused | ReserveReply::Degraded(..) => return Err(ServiceError::IdempotencyKeyReused),
            ReserveReply::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
            ReserveReply::Again(ran) => Attempt::Again(ran),
            ReserveReply::Unmetered(ran, value) => {
                self.observe_run(&facts.bucket, ran);
                // Groups that were left out only observe, and their scopes are full.
                let full = CounterState { observed: true, ..CounterState::default() };
                let left_out =
                    group_outcomes(admission, &vec![full; admission.matched.len()], LimitGroup::refuses_beyond);
                let decision = Decision::allowed(&[], ran.now_ms).observing(&left_out, admission, Counted::Before);
                Attempt::Done(Decision { fitted: fitted(call, value), ..decision })
            }
            ReserveReply::Denied(ran, denied) => {
                self.observe_run(&facts.bucket, ran);
                let outcomes = group_outcomes(admission, &denied.states, LimitGroup::refuses_beyond);
                Attempt::Done(Decision::denied(&outcomes, admission, denied.relief(), ran.now_ms))
            }
            ReserveReply::Held { ran, expires_at_ms, states, fitted: value } => {
                self.observe_run(&facts.bucket, ran);
                let id = ReservationId {
                    name: operation.name.clone(),
                    created_at_ms: ran.now_ms,
                    bucket: facts.bucket.number(),
                };
                let outcomes = group_outcomes(admission, &states, LimitGroup::refuses_beyond);
                let least =
                    admission.growth.as_ref().zip(value).map(|(growth, value)| with_least(&outcomes, growth, value));
                let least = least.as_ref().unwrap_or(&outcomes);
                let decision = Decision::allowed(&outcomes, ran.now_ms).observing(least, admission, Counted::After);
                if let Some(RequestTexts { call_label, snapshot }) = request {
                    let snapshot = value.map_or(Cow::Borrowed(snapshot), |value| with_value(snapshot, value).into());
                    let groups = &decision.matched_groups;
                    let overflow = decision.overflow.iter().map(|overflow| (&overflow.from, &overflow.balance));
                    let request = [call_label, &snapshot];
                    let known = PackedReservation::fresh(ran.now_ms, expires_at_ms, request, groups, overflow);
                    self.reservations.insert(facts.bucket.operation(&id.name), known);
                }
                Attempt::Done(Decision {
                    reservation: Some((id, expires_at_ms)),
                    fitted: fitted(call, value),
                    ..decision
                })
            }
            ReserveReply::HeldBefore(_) | ReserveReply::Before(_)
                if let Some(retry) = Box::pin(self.check_facts(facts, &call.user)).await? =>
            {
                retry
            }
            ReserveReply::HeldBefore(found) => Attempt::Done(Box::pin(self.repeat_held(context, &found)).await?),
            ReserveReply::Before(first) => Attempt::Done(Box::pin(self.repeat(context, admission, *first)).await?),
        })
    }

    /// The stored decision of an allowed reserve, with the present counters.
    async fn repeat_held(&self, context: CallContext<'_>, found: &StoredReservation) -> Result<Decision, ServiceError> {
        let CallContext { tenant, facts, call, operation } = context;
        let repetition = Repetition { tenant, facts, contexts: &contexts(facts, call) };
        let Present { mut counters, now_ms } = self.present(repetition, |group| found.has(&group.id)).await?;
        counters.sort_by(|one, other| one.by_tightness(other));
        let id = ReservationId {
            name: operation.name.clone(),
            created_at_ms: found.created_at_ms,
            bucket: facts.bucket.number(),
        };
        Ok(Decision {
            allowed: true,
            matched: true,
            matched_groups: found.groups.clone(),
            overflow: self.overflow(tenant, &found.overflow).await?,
            reservation: Some((id, found.expires_at_ms)),
            fitted: found.snapshot.fitted.clone(),
            counters,
            counters_at_ms: now_ms,
            replayed: true,
            ..Decision::default()
        })
    }

    /// The stored answer of a reserve that held nothing.
    async fn repeat(
        &self,
        context: CallContext<'_>,
        admission: &Admission,
        first: ReserveReply,
    ) -> Result<Decision, ServiceError> {
        let CallContext { tenant, facts, call, .. } = context;
        match first {
            ReserveReply::Denied(ran, denied) => {
                let repetition = Repetition { tenant, facts, contexts: &contexts(facts, call) };
                self.repeat_denied(repetition, admission, ran.now_ms, denied).await
            }
            ReserveReply::Degraded(_, groups) => Ok(Decision {
                allowed: true,
                degraded: true,
                matched: !groups.is_empty(),
                matched_groups: groups,
                fitted: call.fit.as_ref().map(Fit::least),
                replayed: true,
                ..Decision::default()
            }),
            ReserveReply::Unmetered(ran, value) => {
                let decision = Decision::allowed(&[], ran.now_ms);
                Ok(Decision { fitted: fitted(call, value), replayed: true, ..decision })
            }
            // The key was used for another kind of call.
            _ => Err(ServiceError::IdempotencyKeyReused),
        }
    }
}

/// What later calls need to know of the request; with `fit`, with its least value.
fn request_snapshot(facts: &CallFacts, call: &Call, admission: &Admission) -> RequestSnapshot {
    let (requests, limits) = (call.requests(&admission.learned), facts.effective_limits());
    let growing = call.fit.as_ref().zip(admission.growth.as_ref());
    let fitted = growing.map(|(fit, growth)| fit.fitted(growth.wish, growth.min));
    let snapshot = RequestSnapshot::new(call.caller(facts), limits, facts.has_own_rules(), &requests);
    RequestSnapshot { fitted, ..snapshot }
}

/// The fitted figure of an allowed call.
fn fitted(call: &Call, value: Option<u64>) -> Option<Fitted> {
    call.fit.as_ref().zip(value).map(|(fit, value)| Fitted { value, ..fit.least() })
}

/// The outcomes without what the fitted figure added: groups that only observe are asked for its least value.
fn with_least(outcomes: &[GroupOutcome], growth: &Growth, value: u64) -> Vec<GroupOutcome> {
    let outcomes = outcomes.iter().zip(&growth.slopes).map(|(outcome, slope)| {
        let held = outcome.state.held.saturating_sub(slope.added(value.saturating_sub(growth.min)));
        GroupOutcome { state: CounterState { held, ..outcome.state }, ..outcome.clone() }
    });
    outcomes.collect()
}

/// How the client may retry.
fn retry(facts: &CallFacts, call: &Call, decision: &Decision) -> Option<Retry> {
    let policies = || facts.config.policies.iter();
    let strictest =
        call.items.iter().filter_map(|item| retry_of(policies().map(Arc::as_ref), item.event.as_str(), &item.metadata));
    let id = strictest.min_by_key(|policy| policy.body.retry.as_ref().map(|retry| retry.max_attempts))?.id.clone();
    let policy = policies().find(|policy| policy.id == id)?;
    let attempts = policy.attempts()?;
    let counter = decision.counters.iter().find(|counter| counter.group.id == attempts.id);
    Some(Retry { policy: Arc::clone(policy), attempts_left: counter.and_then(Counter::remaining).map(Amount::steps) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::values::ids::{AppId, KeyId, Mode, UserId};
    use crate::service::tenant::Placement;
    use crate::store::Store;

    /// The measured 2,104, rounded up. Fewer is better, then lower it.
    const MOST_BYTES: usize = 2_150;

    #[tokio::test]
    async fn a_reserve_that_waits_for_redis_is_small() {
        let gateway = Gateway::new(Store::open("redis://127.0.0.1:1", Duration::from_secs(1)).unwrap(), None);
        let tenant = Tenant { app: AppId::parse("default").unwrap(), mode: Mode::Live, placement: Placement::App };
        let (user, key) = (UserId::parse("u").unwrap(), KeyId::parse("key_1").unwrap());
        let call = Call { user, items: Vec::new(), key, fit: None, allowed_with: Vec::new() };
        let bytes = std::mem::size_of_val(&gateway.reserve(&tenant, &call, 60_000, None));
        assert!((1..=MOST_BYTES).contains(&bytes), "{bytes} bytes");
    }
}

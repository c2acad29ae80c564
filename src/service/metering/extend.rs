//! extend: more time for a reservation, a larger amount, or both.

use super::admit::{asked, observed_reason, verdict};
use super::call::{Call, CallItem, CounterContext};
use super::decision::{Counted, Decision, GroupOutcome, group_outcomes, overflow};
use super::facts::{Attempt, CallFacts};
use super::repeat::{Present, Repetition, outcomes_again};
use super::settle::{ROUNDS, busy, locate};
use crate::domain::configuration::limit_group::{LimitGroup, Limits};
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::{Admission, Caller, Refusal};
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::metering::reason::Reason;
use crate::domain::metering::reservation::{RequestSnapshot, ReservationId};
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{AppId, GroupId, KeyId};
use crate::domain::values::number::Number;
use crate::service::error::{ServiceError, positive};
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::keys::Bucket;
use crate::store::metering::admission::ApprovalRequest;
use crate::store::metering::extend::{ExtendArgs, ExtendReply};
use crate::store::metering::operation::Operation;
use crate::store::metering::record::StoredReservation;
use crate::store::metering::settle::{Measured, Target};

/// The requested extension.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    pub ttl_ms: Option<TimeMs>,
    pub quantity: Option<Number>,
}

/// An extension with the facts that the node has cached.
#[derive(Clone, Copy)]
struct ExtendContext<'a> {
    tenant: &'a Tenant,
    facts: &'a CallFacts,
    known: &'a StoredReservation,
    target: Target<'a>,
}

impl Gateway {
    /// Extends the time, or the amount if the limit allows it; a denial changes nothing.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn extend(
        &self,
        tenant: &Tenant,
        id: &str,
        extension: Extension,
        idempotency: Option<&Idempotency>,
    ) -> Result<Decision, ServiceError> {
        let (bucket, id) = locate(tenant, id)?;
        if let Some(quantity) = extension.quantity {
            positive(quantity)?;
        }
        for _ in 0..ROUNDS {
            let known = self.known(&bucket, &id).await?;
            let operation = Operation::new(known.snapshot.user.as_str(), idempotency, extension.quantity.is_some());
            let measured = match extension.quantity {
                None => None,
                Some(more) => {
                    let rules = self.rules(&tenant.app, &known.snapshot).await?;
                    match known.snapshot.enlarge(&tenant.app, &rules, more) {
                        Ok((snapshot, totals)) => {
                            Some(Measured { changes: known.changes, snapshot: Some(snapshot), totals })
                        }
                        // The counter can no longer hold the amount; but a stored answer comes first.
                        Err(_) if self.store.extended_before(&bucket, &operation).await?.is_some() => None,
                        Err(refusal) => return Err(refusal.into()),
                    }
                }
            };
            let reports_expiry = self.reports_expiry(tenant).await?;
            let target = Target { bucket: &bucket, id: &id, operation: &operation, reports_expiry };
            let extended = self
                .with_facts(tenant, &known.snapshot.user, async |facts| {
                    let context = ExtendContext { tenant, facts, known: &known, target };
                    self.extend_attempt(context, extension, measured.as_ref()).await
                })
                .await?;
            match extended {
                Some(decision) => {
                    self.forget(&bucket, &id);
                    return Ok(decision);
                }
                None => self.forget(&bucket, &id),
            }
        }
        Err(busy())
    }

    /// None if the reservation has changed meanwhile.
    async fn extend_attempt(
        &self,
        context: ExtendContext<'_>,
        extension: Extension,
        measured: Option<&Measured>,
    ) -> Result<Attempt<Option<Decision>>, ServiceError> {
        let ExtendContext { tenant, facts, known, target } = context;
        let admission = self.enlarged(tenant, facts, known, measured).await?;
        // More time alone is always granted, even if the user's state has changed.
        let owners = match measured {
            None => Vec::new(),
            Some(_) => facts.owners(&admission, Limits::Enforced),
        };
        let asked = self.asked_by(facts, known, &admission, target.operation)?;
        let args = ExtendArgs {
            target,
            ttl_ms: extension.ttl_ms.unwrap_or(0),
            measured,
            facts: facts.for_counting_script(&known.snapshot.user, &admission),
            verdict: verdict(&admission),
            owners: &owners,
            asked: asked.as_ref(),
            observed: observed_reason(&admission),
        };
        let reply = self.store.extend(args).await?;
        self.extend_answer(context, &admission, reply).await
    }

    async fn extend_answer(
        &self,
        context: ExtendContext<'_>,
        admission: &Admission,
        reply: ExtendReply,
    ) -> Result<Attempt<Option<Decision>>, ServiceError> {
        let ExtendContext { facts, known, target, .. } = context;
        Ok(match reply {
            ExtendReply::Reused => return Err(ServiceError::IdempotencyKeyReused),
            ExtendReply::Missing(now_ms) => return Err(self.gone(target.id, now_ms).await),
            ExtendReply::Expired(_) => return Err(ServiceError::ReservationExpired),
            ExtendReply::NotPending { status, .. } => return Err(ServiceError::ReservationNotPending { status }),
            ExtendReply::StaleReservation => Attempt::Done(None),
            ExtendReply::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
            ExtendReply::Again(ran) => Attempt::Again(ran),
            ExtendReply::Denied(ran, denied) => {
                self.observe_run(&facts.bucket, ran);
                let outcomes = group_outcomes(admission, &denied.states, LimitGroup::refuses_beyond);
                let decision = Decision::denied(&outcomes, admission, denied.relief(), ran.now_ms);
                let expires_at_ms = self.expiry(&facts.bucket, target.id).await?;
                Attempt::Done(Some(Decision { reservation: Some((target.id.clone(), expires_at_ms)), ..decision }))
            }
            ExtendReply::Full => {
                let message = "cannot be extended, since the reservation holds in the maximum number of windows; commit it and reserve again";
                return Err(ServiceError::invalid("quantity", message));
            }
            ExtendReply::Extended { now_ms, expires_at_ms, states, .. } => {
                self.clocks.observe_time(&facts.bucket, now_ms);
                let outcomes = group_outcomes(admission, &states, LimitGroup::refuses_beyond);
                let mut decision = Decision::allowed(&outcomes, now_ms).observing(&outcomes, admission, Counted::After);
                if outcomes.is_empty() {
                    decision.matched_groups = known.groups.clone();
                    decision.matched = true;
                    Present { counters: decision.counters, now_ms: decision.counters_at_ms } =
                        self.counters_of(context, &[], &[]).await?;
                }
                Attempt::Done(Some(Decision { reservation: Some((target.id.clone(), expires_at_ms)), ..decision }))
            }
            ExtendReply::Before(_)
                if let Some(retry) = Box::pin(self.check_facts(facts, &known.snapshot.user)).await? =>
            {
                retry
            }
            ExtendReply::Before(first) => {
                Attempt::Done(Some(Box::pin(self.repeat_extend(context, admission, *first)).await?))
            }
        })
    }

    async fn repeat_extend(
        &self,
        context: ExtendContext<'_>,
        admission: &Admission,
        first: ExtendReply,
    ) -> Result<Decision, ServiceError> {
        let ExtendContext { tenant, facts, known, target } = context;
        let repetition = Repetition { tenant, facts, contexts: &contexts_of(&tenant.app, &known.snapshot) };
        let (decision, expires_at_ms) = match first {
            ExtendReply::Denied(ran, denied) => {
                let expires_at_ms = self.expiry(&facts.bucket, target.id).await?;
                (self.repeat_denied(repetition, admission, ran.now_ms, denied).await?, expires_at_ms)
            }
            ExtendReply::Extended { expires_at_ms, states, groups, .. } => {
                let outcomes = outcomes_again(facts, repetition.contexts, &groups, &states);
                let enlarged: Vec<_> = groups.into_iter().map(|group| group.id).collect();
                let Present { counters, now_ms } = self.counters_of(context, &enlarged, &outcomes).await?;
                let matched_groups = if enlarged.is_empty() { known.groups.clone() } else { enlarged };
                let first = Decision { overflow: overflow(&outcomes), ..Decision::allowed(&[], now_ms) };
                let decision = Decision { counters, matched: true, ..first };
                (Decision { matched_groups, replayed: true, ..decision }, expires_at_ms)
            }
            _ => return Err(ServiceError::IdempotencyKeyReused),
        };
        Ok(Decision { reservation: Some((target.id.clone(), expires_at_ms)), ..decision })
    }

    /// The present counters of the enlarged groups and of the balances that they needed, tightest first; of all groups of
    /// the reservation and their balances if none was enlarged. `outcomes`: those of an earlier call.
    async fn counters_of(
        &self,
        context: ExtendContext<'_>,
        enlarged: &[GroupId],
        outcomes: &[GroupOutcome],
    ) -> Result<Present, ServiceError> {
        let ExtendContext { tenant, facts, known, .. } = context;
        let repetition = Repetition { tenant, facts, contexts: &contexts_of(&tenant.app, &known.snapshot) };
        let concerned = |id: &GroupId| if enlarged.is_empty() { known.has(id) } else { enlarged.contains(id) };
        let wanted =
            |group: &LimitGroup| concerned(&group.id) || outcomes.iter().any(|outcome| outcome.needs(&group.id));
        let mut present = self.present(repetition, wanted).await?;
        present.counters.sort_by(|one, other| one.by_tightness(other));
        Ok(present)
    }

    /// The additional amounts with the user's present plan: its quotas and current windows. A group that the present
    /// plan does not have keeps the definition with which it was reserved.
    async fn enlarged(
        &self,
        tenant: &Tenant,
        facts: &CallFacts,
        known: &StoredReservation,
        measured: Option<&Measured>,
    ) -> Result<Admission, ServiceError> {
        let effective_limits = facts.effective_limits();
        let mut admission = Admission::empty(effective_limits, OwnerName::of_user(&known.snapshot.user));
        let Some(measured) = measured else {
            return Ok(admission);
        };
        let refused = if effective_limits.blocked { Some(Reason::UserBlocked) } else { None };
        let refused = refused.or(effective_limits.plan.is_none().then_some(Reason::NoSubscription));
        if let Some(reason) = refused {
            admission.refusal = Some(Refusal { reason, groups: Vec::new() });
            return Ok(admission);
        }
        let reserved = self.rules(&tenant.app, &known.snapshot).await?;
        for total in measured.totals.iter().filter(|total| total.amount > Amount::ZERO) {
            let present = effective_limits.groups().find(|group| group.id == total.group);
            if let Some(group) = present.or_else(|| reserved.group(&total.group)) {
                let owner = admission.place_of(total.owner.clone());
                admission.place(group, owner, total.amount, effective_limits.anchor, facts.now_ms)?;
            }
        }
        admission.matched.sort_by_key(|matched| matched.owner);
        admission.refuse_amounts();
        Ok(admission)
    }

    /// The approval request that a denied extension may open.
    fn asked_by(
        &self,
        facts: &CallFacts,
        known: &StoredReservation,
        admission: &Admission,
        operation: &Operation,
    ) -> Result<Option<ApprovalRequest>, ServiceError> {
        let snapshot = &known.snapshot;
        let items = snapshot.items.iter().map(|item| CallItem {
            event: item.event.clone(),
            quantity: item.quantity,
            metadata: item.metadata.clone(),
        });
        // Only for a group that requires approval since the reserve.
        let Some(key) = snapshot.key.clone().or_else(|| KeyId::parse("unknown").ok()) else { return Ok(None) };
        let (user, items) = (snapshot.user.clone(), items.collect());
        let call = Call { user, items, key, fit: None, allowed_with: Vec::new() };
        asked(facts, &call, admission, operation)
    }

    /// When the reservation ends according to its record, since another node may have extended it.
    async fn expiry(&self, bucket: &Bucket, id: &ReservationId) -> Result<TimeMs, ServiceError> {
        self.forget(bucket, id);
        Ok(self.known(bucket, id).await?.expires_at_ms)
    }
}

/// The user, once per item.
fn contexts_of<'a>(app: &'a AppId, snapshot: &'a RequestSnapshot) -> Vec<CounterContext<'a>> {
    let caller = Caller { user: &snapshot.user, app, key: snapshot.key.as_ref() };
    snapshot.items.iter().map(|item| CounterContext { caller, metadata: &item.metadata }).collect()
}

//! track: counts usage that has already happened, and refunds.

use serde::Serialize;
use utoipa::ToSchema;

use super::admit::{Prepared, asked, observed_reason, verdict};
use super::call::{Call, CallContext, CallItem, contexts};
use super::decision::{Counted, Decision, GroupOutcome, Observed, by_tightness, group_outcomes, observed, overflow};
use super::facts::Attempt;
use super::repeat::{Repetition, outcomes_again};
use crate::domain::configuration::limit_group::{Enforcement, LimitGroup, Limits};
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::{Admission, Purpose};
use crate::domain::metering::counter::{Counter, CounterState, CrossedThreshold, Overflow};
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::metering::reservation::{Actual, OperationName, RequestSnapshot};
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{GroupId, UserId};
use crate::service::error::{ServiceError, positive};
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::metering::admission::OwnedGroup;
use crate::store::metering::operation::Operation;
use crate::store::metering::track::{TrackArgs, TrackReply};

/// The match status of a tracked event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchStatus {
    Matched,
    Unmatched,
    NoSubscription,
    /// It was counted, and a hard group is now above its quota, or a balance did not cover all of it.
    OverLimit,
}

#[derive(Clone, Debug)]
pub struct Tracked {
    pub event_id: String,
    pub match_status: MatchStatus,
    pub matched_groups: Vec<GroupId>,
    pub counters: Vec<Counter>,
    pub crossed: Vec<CrossedThreshold>,
    /// With `enforce`: groups that would have denied the call if they did not only observe.
    pub observed: Vec<Observed>,
    /// What balances took over, because it did not fit into a group's quota.
    pub overflow: Vec<Overflow>,
    pub now_ms: TimeMs,
    pub replayed: bool,
}

impl Gateway {
    /// Counts even above the quota; with `enforce` only within it.
    ///
    /// # Errors
    /// [`ServiceError`]; [`ServiceError::Denied`] with `enforce` if the limit is reached.
    pub async fn track(
        &self,
        tenant: &Tenant,
        call: &Call,
        enforce: bool,
        idempotency: Option<&Idempotency>,
    ) -> Result<Tracked, ServiceError> {
        let [item] = call.items.as_slice() else {
            return Err(ServiceError::invalid("event", "is required"));
        };
        positive(item.quantity)?;
        let operation = Operation::new(call.user.as_str(), idempotency, true);
        let reservation = item.metadata.get("reservationId").map(str::to_owned);
        if item.event.is_refund()
            && let Some(id) = reservation
        {
            return self.refund_reservation(tenant, &call.user, item, &id, &operation).await;
        }
        let (call, purpose) = match item.event.refunds() {
            Some(event) => {
                let given_back = CallItem { event, ..item.clone() };
                (Call { items: vec![given_back], ..call.clone() }, Purpose::GiveBack)
            }
            None if item.event.is_refund() => {
                return Err(ServiceError::invalid("event", "must have a name before `.refund`"));
            }
            None => (call.clone(), if enforce { Purpose::Ask } else { Purpose::Tell }),
        };
        self.with_facts(tenant, &call.user, async |facts| {
            self.track_attempt(CallContext { tenant, facts, call: &call, operation: &operation }, purpose).await
        })
        .await
    }

    async fn track_attempt(
        &self,
        context: CallContext<'_>,
        purpose: Purpose,
    ) -> Result<Attempt<Tracked>, ServiceError> {
        let CallContext { facts, call, operation, .. } = context;
        let mut admission = match self.admission(facts, call, purpose).await {
            Ok(Prepared::Admitted(admission)) => admission,
            Ok(Prepared::Stale(stale)) => return Ok(stale),
            Err(refusal) => {
                // A stored answer is returned, whatever the configuration is now.
                return match self.store.tracked_before(&facts.bucket, operation).await? {
                    Some(TrackReply::Before(first)) => {
                        let admission = Admission::empty(facts.effective_limits(), OwnerName::of_user(&call.user));
                        Box::pin(self.repeat_track(context, &admission, purpose, *first)).await.map(Attempt::Done)
                    }
                    Some(_) => Err(ServiceError::IdempotencyKeyReused),
                    None => Err(refusal),
                };
            }
        };
        // `concurrent` groups limit open reservations, and this call has none.
        admission.matched.retain(|matched| !matched.group.is_concurrent());
        let enforce = purpose == Purpose::Ask;
        let limits = if enforce { Limits::Enforced } else { Limits::Ignored };
        let limit = |group: &LimitGroup| limits.of(group);
        let owners = facts.owners(&admission, limits);
        let asked = if enforce { asked(facts, call, &admission, operation)? } else { None };
        let requests = call.requests(&admission.learned);
        let snapshot = RequestSnapshot::new(call.caller(facts), facts.effective_limits(), false, &requests);
        let args = TrackArgs {
            bucket: &facts.bucket,
            operation,
            facts: facts.for_counting_script(&call.user, &admission),
            verdict: if enforce { verdict(&admission) } else { "" },
            enforce,
            refund: purpose == Purpose::GiveBack,
            call_label: &call.call_label(),
            snapshot: &snapshot,
            match_facts: &match_facts(&admission),
            owners: &owners,
            asked: asked.as_ref(),
            observed: if enforce { observed_reason(&admission) } else { "" },
        };
        let reply = self.store.track(args).await?;
        Ok(match reply {
            TrackReply::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
            TrackReply::Again(ran) => Attempt::Again(ran),
            TrackReply::Reused | TrackReply::Held(_) | TrackReply::Unmetered(_) => {
                return Err(ServiceError::IdempotencyKeyReused);
            }
            TrackReply::Denied(ran, denied) if enforce => {
                self.observe_run(&facts.bucket, ran);
                let outcomes = group_outcomes(&admission, &denied.states, limit);
                return Err(ServiceError::Denied(Box::new(Decision::denied(
                    &outcomes,
                    &admission,
                    denied.relief(),
                    ran.now_ms,
                ))));
            }
            TrackReply::Denied(..) => return Err(too_much()),
            TrackReply::Tracked { ran, crossed, full_scopes, states, .. } => {
                self.observe_run(&facts.bucket, ran);
                if full_scopes > 0 {
                    metrics::counter!("quotagate_crowded_scopes_total", "call" => "track").increment(full_scopes);
                }
                let outcomes = group_outcomes(&admission, &states, limit);
                let status = match_status(&admission, &outcomes);
                let observed = observed(&outcomes, &admission, Counted::After);
                Attempt::Done(Tracked { crossed, observed, ..tracked(operation, &outcomes, status, ran.now_ms) })
            }
            TrackReply::Before(first) => match Box::pin(self.check_facts(facts, &call.user)).await? {
                Some(retry) => retry,
                None => Attempt::Done(Box::pin(self.repeat_track(context, &admission, purpose, *first)).await?),
            },
        })
    }

    async fn repeat_track(
        &self,
        context: CallContext<'_>,
        admission: &Admission,
        purpose: Purpose,
        first: TrackReply,
    ) -> Result<Tracked, ServiceError> {
        let CallContext { tenant, facts, call, operation } = context;
        match first {
            TrackReply::Denied(..) if purpose != Purpose::Ask => Err(too_much()),
            TrackReply::Denied(ran, denied) => {
                let repetition = Repetition { tenant, facts, contexts: &contexts(facts, call) };
                let decision = self.repeat_denied(repetition, admission, ran.now_ms, denied).await?;
                Err(ServiceError::Denied(Box::new(decision)))
            }
            TrackReply::Tracked { ran, crossed, states, match_facts, groups, .. } => {
                let outcomes = outcomes_again(facts, &contexts(facts, call), &groups, &states);
                let admission = Admission::empty(facts.effective_limits(), OwnerName::of_user(&call.user));
                let first = first_status(&match_facts, &groups, &states);
                let status = first.unwrap_or_else(|| match_status(&admission, &outcomes));
                let observed = observed(&outcomes, &admission, Counted::After);
                Ok(Tracked { replayed: true, crossed, observed, ..tracked(operation, &outcomes, status, ran.now_ms) })
            }
            _ => Err(ServiceError::IdempotencyKeyReused),
        }
    }

    async fn refund_reservation(
        &self,
        tenant: &Tenant,
        user: &UserId,
        item: &CallItem,
        id: &str,
        operation: &Operation,
    ) -> Result<Tracked, ServiceError> {
        let actual = Actual { quantity: Some(item.quantity), metadata: item.metadata.clone() };
        let mut refunded = self.refund(tenant, user.as_str(), id, &actual, operation).await?;
        // `concurrent` groups were never charged.
        refunded.counters.retain(|counter| !counter.group.is_concurrent());
        Ok(Tracked {
            event_id: event_id(operation, refunded.id.created_at_ms),
            match_status: MatchStatus::Matched,
            matched_groups: refunded.counters.iter().map(|counter| counter.group.id.clone()).collect(),
            counters: refunded.counters,
            crossed: refunded.crossed,
            observed: Vec::new(),
            overflow: Vec::new(),
            now_ms: refunded.now_ms,
            replayed: refunded.replayed,
        })
    }
}

fn tracked(operation: &Operation, outcomes: &[GroupOutcome], match_status: MatchStatus, now_ms: TimeMs) -> Tracked {
    Tracked {
        event_id: event_id(operation, now_ms),
        match_status,
        matched_groups: outcomes.iter().map(|outcome| outcome.group.id.clone()).collect(),
        counters: by_tightness(outcomes),
        crossed: Vec::new(),
        observed: Vec::new(),
        overflow: overflow(outcomes),
        now_ms,
        replayed: false,
    }
}

fn too_much() -> ServiceError {
    ServiceError::invalid("quantity", "would exceed what a counter can hold")
}

/// Stable over repetitions of one operation.
fn event_id(operation: &Operation, at_ms: TimeMs) -> String {
    tracked_id(&operation.name, at_ms)
}

/// The ID that the answer to a tracked event contains.
pub(in crate::service) fn tracked_id(name: &OperationName, at_ms: TimeMs) -> String {
    format!("evt_{}{at_ms:011x}", name.as_str())
}

fn match_status(admission: &Admission, outcomes: &[GroupOutcome]) -> MatchStatus {
    let over = |outcome: &GroupOutcome| {
        let is_over = match outcome.state.balance {
            Some(_) => outcome.state.over_limit,
            None => outcome.counter().overage() > Amount::ZERO,
        };
        outcome.group.enforcement == Enforcement::Hard && is_over
    };
    if !admission.subscribed {
        MatchStatus::NoSubscription
    } else if outcomes.is_empty() {
        MatchStatus::Unmatched
    } else if outcomes.iter().any(over) {
        MatchStatus::OverLimit
    } else {
        MatchStatus::Matched
    }
}

/// What a repetition needs to return the same match status: whether the user had a plan (0|1), and which groups were
/// hard.
fn match_facts(admission: &Admission) -> String {
    let hard = admission.matched.iter().filter(|matched| matched.group.enforcement == Enforcement::Hard);
    let hard: Vec<&str> = hard.map(|matched| matched.group.id.as_str()).collect();
    format!("{} {}", u8::from(admission.subscribed), hard.join(","))
}

/// The match status of the first answer; None if the stored answer does not have it.
fn first_status(match_facts: &str, groups: &[OwnedGroup], states: &[CounterState]) -> Option<MatchStatus> {
    let (subscribed, hard) = match_facts.split_once(' ')?;
    let over = |(group, state): (&OwnedGroup, &CounterState)| {
        let is_hard = hard.split(',').any(|id| id == group.id.as_str());
        let exceeds = group.quota.is_some_and(|quota| state.used > quota.saturating_add(state.extra()));
        is_hard && (exceeds || state.over_limit)
    };
    Some(if subscribed != "1" {
        MatchStatus::NoSubscription
    } else if groups.is_empty() {
        MatchStatus::Unmatched
    } else if groups.iter().zip(states).any(over) {
        MatchStatus::OverLimit
    } else {
        MatchStatus::Matched
    })
}

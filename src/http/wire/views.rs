//! JSON that several resources return.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::domain::configuration::limit_group::LimitKind;
use crate::domain::configuration::plan_body::OnLimitBody;
use crate::domain::configuration::policy_body::BackoffBody;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::counter::{ClosedUntil, Counter, CrossedThreshold, Overflow};
use crate::domain::metering::fit::Fitted;
use crate::domain::metering::reason::Reason;
use crate::domain::time::window::{TimeMs, TimeText, Window};
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::ids::GroupId;
use crate::domain::values::number::Number;
use crate::service::metering::decision::{Decision, DeniedBy, Observed, Retry};

/// An amount in its unit.
pub fn number(amount: Amount, unit: Unit) -> Number {
    Number(amount.to_decimal(unit))
}

/// An amount in its unit, for the answers of metering calls: the same JSON as [`number`], with less work.
#[derive(Clone, Copy, Debug)]
pub struct AmountView(Amount, Unit);

impl Serialize for AmountView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(amount, unit) = *self;
        let one = Amount::one(unit).steps();
        match amount.steps() % one {
            0 => serializer.serialize_u64(amount.steps() / one),
            _ => number(amount, unit).serialize(serializer),
        }
    }
}

/// A time: RFC 3339, UTC.
#[derive(Clone, Copy, Debug)]
pub struct TimeView(pub TimeMs);

impl Serialize for TimeView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(TimeText::of(self.0).as_str())
    }
}

/// Names with their values, sorted by name.
#[derive(Clone, Debug)]
pub struct ScopeView(Arc<OwnerName>);

impl Serialize for ScopeView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.by_name())
    }
}

/// Start and end of a window; RFC 3339, UTC.
#[derive(Debug, Serialize, ToSchema)]
pub struct PeriodView {
    #[schema(value_type = String)]
    pub start: TimeView,
    /// Null if it never ends.
    #[schema(value_type = Option<String>)]
    pub end: Option<TimeView>,
}

impl PeriodView {
    pub fn of(window: Window) -> Self {
        Self { start: TimeView(window.start_ms), end: window.end_ms.map(TimeView) }
    }
}

/// The state of one limit group for one scope value in one period window. Amounts are in the unit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CounterView {
    #[schema(value_type = String)]
    pub group_id: GroupId,
    #[schema(value_type = String)]
    pub label: Arc<str>,
    pub unit: Unit,
    /// Null counts without limit.
    #[schema(value_type = Option<f64>)]
    pub quota: Option<AmountView>,
    /// ID of the balance that takes what does not fit into the quota; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub overflow: Option<GroupId>,
    #[schema(value_type = f64)]
    pub granted: AmountView,
    /// Quota that was unused in the window before, and is extra quota in this one; absent without `rollover`.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled: Option<AmountView>,
    /// `used + held`
    #[schema(value_type = f64)]
    pub count: AmountView,
    #[schema(value_type = f64)]
    pub used: AmountView,
    #[schema(value_type = f64)]
    pub held: AmountView,
    #[schema(value_type = f64)]
    pub blocked: AmountView,
    /// Null without a quota; of a balance, what remains of its credits.
    #[schema(value_type = Option<f64>)]
    pub remaining: Option<AmountView>,
    /// Of a balance, what was used without a credit.
    #[schema(value_type = f64)]
    pub overage: AmountView,
    /// `used` in whole percent of quota, grants and rolled quota; null if the quota is null or 0.
    pub percent_used: Option<u64>,
    /// When the next window begins; null for `lifetime`, and if there is no next window.
    #[schema(value_type = Option<String>)]
    pub resets_at: Option<TimeView>,
    /// Null while a fixed period is not running, and for a balance.
    pub period: Option<PeriodView>,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub scope: ScopeView,
    /// `balance`; absent for a group with a quota.
    #[serde(skip_serializing_if = "LimitKind::is_default")]
    pub kind: LimitKind,
    /// Of a balance: the amount that expires next, and when. Absent if nothing expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_next: Option<ExpiresNextView>,
}

/// What remains of the credits that expire next.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExpiresNextView {
    #[schema(value_type = f64)]
    pub amount: AmountView,
    #[schema(value_type = String)]
    pub at: TimeView,
}

/// An amount that a call took from a balance because it did not fit into a group's quota.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverflowView {
    /// The balance group.
    #[schema(value_type = String)]
    pub group_id: GroupId,
    /// The group whose quota the call exceeds.
    #[schema(value_type = String)]
    pub from: GroupId,
    #[schema(value_type = f64)]
    pub amount: AmountView,
}

impl OverflowView {
    pub fn all(overflow: &[Overflow]) -> Vec<Self> {
        let view = |overflow: &Overflow| Self {
            group_id: overflow.balance.clone(),
            from: overflow.from.clone(),
            amount: AmountView(overflow.amount, overflow.unit),
        };
        overflow.iter().map(view).collect()
    }
}

impl CounterView {
    pub fn new(counter: &Counter) -> Self {
        let group = &counter.group;
        let amount_view = |amount: Amount| AmountView(amount, group.unit);
        let end_ms = match counter.closed {
            Some(ClosedUntil(opens_at_ms)) => opens_at_ms,
            None => counter.window.and_then(|window| window.end_ms),
        };
        Self {
            group_id: group.id.clone(),
            label: Arc::clone(&group.label),
            unit: group.unit,
            quota: group.quota.map(amount_view),
            overflow: group.overflow.as_ref().map(|balance| balance.id.clone()),
            granted: amount_view(counter.granted),
            rolled: counter.rolled().map(amount_view),
            count: amount_view(counter.count()),
            used: amount_view(counter.used),
            held: amount_view(counter.held),
            blocked: amount_view(counter.blocked),
            remaining: counter.remaining().map(amount_view),
            overage: amount_view(counter.overage()),
            percent_used: counter.percent_used(),
            resets_at: end_ms.map(TimeView),
            period: counter.window.filter(|_| !group.is_balance()).map(PeriodView::of),
            scope: ScopeView(Arc::clone(&counter.owner)),
            kind: group.kind,
            expires_next: counter.balance.and_then(|balance| {
                let (amount, at_ms) = balance.expires_next?;
                Some(ExpiresNextView { amount: amount_view(amount), at: TimeView(at_ms) })
            }),
        }
    }

    pub fn all(counters: &[Counter]) -> Vec<Self> {
        counters.iter().map(Self::new).collect()
    }
}

/// An alert that a call triggered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThresholdView {
    #[schema(value_type = String)]
    pub group_id: GroupId,
    /// Percent of quota and grants.
    pub percent: u64,
}

impl ThresholdView {
    pub fn all(crossed: &[CrossedThreshold]) -> Vec<Self> {
        let view = |crossed: &CrossedThreshold| Self { group_id: crossed.group.clone(), percent: crossed.percent };
        crossed.iter().map(view).collect()
    }
}

/// A group that denied the call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeniedByView {
    #[schema(value_type = String)]
    pub group_id: GroupId,
    #[schema(value_type = String)]
    pub label: Arc<str>,
    pub unit: Unit,
    #[schema(value_type = f64)]
    pub requested: AmountView,
    #[schema(value_type = Option<f64>)]
    pub remaining: Option<AmountView>,
    #[schema(value_type = Option<String>)]
    pub resets_at: Option<TimeView>,
    /// Names in the group's scope that are missing in the call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_scope: Vec<String>,
    /// The scope has reached the maximum number of values; see `maxScopeValues` of the app.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub scope_full: bool,
    /// The approval request that was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<OpenedView>,
    /// No approval request was opened, because the user has 100 open ones or the app has 10,000.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub too_many_approvals: bool,
    /// `onLimit` as configured in the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OnLimitBody>)]
    pub on_limit: Option<Arc<serde_json::Value>>,
}

impl DeniedByView {
    pub fn new(denied: &DeniedBy) -> Self {
        let group = &denied.group;
        Self {
            group_id: group.id.clone(),
            label: Arc::clone(&group.label),
            unit: group.unit,
            requested: AmountView(denied.requested, group.unit),
            remaining: denied.remaining.map(|remaining| AmountView(remaining, group.unit)),
            resets_at: denied.resets_at_ms.map(TimeView),
            missing_scope: denied.missing_scope.clone(),
            scope_full: denied.scope_full,
            approval: denied
                .approval
                .as_ref()
                .map(|opened| OpenedView { id: opened.id.clone(), status: opened.status.clone() }),
            too_many_approvals: denied.too_many_approvals,
            on_limit: group.on_limit.clone(),
        }
    }
}

/// A group with the enforcement `observe` that would have denied the call. Amounts are in the unit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedView {
    #[schema(value_type = String)]
    pub group_id: GroupId,
    #[schema(value_type = f64)]
    pub requested: AmountView,
    /// Before this call. Null if the group cannot count the call: without a value of its scope, or without a rule.
    #[schema(value_type = Option<f64>)]
    pub remaining: Option<AmountView>,
    /// Present if it is another reason than `limit_reached`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Names in the group's scope that are missing in the call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_scope: Vec<String>,
}

impl ObservedView {
    pub fn all(observed: &[Observed]) -> Vec<Self> {
        let view = |observed: &Observed| {
            let Observed { group, reason, requested, remaining, missing_scope } = observed;
            Self {
                group_id: group.id.clone(),
                requested: AmountView(*requested, group.unit),
                remaining: remaining.map(|remaining| AmountView(remaining, group.unit)),
                reason: Some(*reason).filter(|reason| *reason != Reason::LimitReached),
                missing_scope: missing_scope.clone(),
            }
        };
        observed.iter().map(view).collect()
    }
}

/// The answer to reserve and extend.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionView {
    pub allowed: bool,
    /// Redis was unavailable, and the app's `onStoreFailure` is `allow`: allowed without a reservation, or denied by
    /// what the node knew.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
    pub matched: bool,
    #[schema(value_type = Vec<String>)]
    pub matched_group_ids: Vec<GroupId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<TimeView>,
    /// For an allowed call with `fit`: the field and the value that was held.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, u64>>)]
    pub fitted: Option<FittedView>,
    /// The first category of refusal; empty if allowed.
    pub reasons: Vec<Reason>,
    pub denied_by: Vec<DeniedByView>,
    /// Groups with the enforcement `observe` that would have denied the call; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<ObservedView>,
    /// Amounts that balances take over because they do not fit into a group's quota; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overflow: Vec<OverflowView>,
    /// The tightest counter first.
    pub counters: Vec<CounterView>,
    /// Until the last of the denying windows ends; absent if waiting does not help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<TimeMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryView>,
}

/// The field and the value of a fitted figure.
#[derive(Debug)]
pub struct FittedView(String, u64);

impl FittedView {
    pub fn of(fitted: Option<&Fitted>) -> Option<Self> {
        fitted.map(|fitted| Self(fitted.field.clone(), fitted.value))
    }
}

impl Serialize for FittedView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(&self.0, self.1)])
    }
}

/// A request for approval.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenedView {
    pub id: String,
    /// `open` or `rejected`
    pub status: String,
}

/// How the client may retry, by the strictest policy that matched.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryView {
    pub policy_id: String,
    pub max_attempts: u64,
    /// Attempts of this action including this call; absent without `metadata.action`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts_left: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffBody>,
    /// Error codes that must not be retried.
    pub non_retryable: Vec<String>,
}

impl RetryView {
    fn new(retry: &Retry) -> Option<Self> {
        let body = retry.policy.body.retry.as_ref()?;
        Some(Self {
            policy_id: retry.policy.id.to_string(),
            max_attempts: body.max_attempts,
            attempts_left: retry.attempts_left,
            backoff: body.backoff.clone(),
            non_retryable: body.non_retryable.clone(),
        })
    }
}

impl DecisionView {
    pub fn new(decision: &Decision) -> Self {
        Self {
            allowed: decision.allowed,
            degraded: decision.degraded,
            matched: decision.matched,
            matched_group_ids: decision.matched_groups.clone(),
            reservation_id: decision.reservation.as_ref().map(|(id, _)| id.to_string()),
            expires_at: decision.reservation.as_ref().map(|(_, expires_at_ms)| TimeView(*expires_at_ms)),
            fitted: FittedView::of(decision.fitted.as_ref()),
            reasons: decision.reasons.clone(),
            denied_by: decision.denied_by.iter().map(DeniedByView::new).collect(),
            observed: ObservedView::all(&decision.observed),
            overflow: OverflowView::all(&decision.overflow),
            counters: CounterView::all(&decision.counters),
            retry_after_ms: decision.retry_after_ms,
            retry: decision.retry.as_ref().and_then(RetryView::new),
        }
    }
}

/// A list: `{data, nextCursor}`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListView<T> {
    pub data: Vec<T>,
    /// Null on the last page.
    pub next_cursor: Option<String>,
}

impl<T> ListView<T> {
    pub fn whole(data: Vec<T>) -> Self {
        Self { data, next_cursor: None }
    }
}

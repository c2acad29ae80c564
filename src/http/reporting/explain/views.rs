//! The JSON of an explanation.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::summary::summary;
use crate::domain::configuration::estimate::LearnedValues;
use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::plan_body::UnmatchedEvents;
use crate::domain::metering::explain::{EvaluatedRule, ExplainedGroup, Mismatch, Origin, Outcome};
use crate::domain::metering::reason::Reason;
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::amount::Unit;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::metadata::Metadata;
use crate::domain::values::number::Number;
use crate::http::wire::views::{CounterView, DeniedByView, ObservedView, OverflowView, number};
use crate::service::accounts::subscriptions::{SubscriptionView, view_of};
use crate::service::reporting::explain::{Explained, Explanation, Question, Verdict};

/// The answer that a reserve would get now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedCallView {
    /// The result and its cause in one sentence.
    summary: String,
    user_id: String,
    /// False: nothing is stored of this user. A mistyped id looks like this.
    user_known: bool,
    event: String,
    #[schema(value_type = f64)]
    quantity: Number,
    /// Including the metadata of the key.
    metadata: BTreeMap<String, String>,
    /// The learned estimates of figures that the call does not have; absent if there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, f64>)]
    estimated: BTreeMap<String, Number>,
    allowed: bool,
    /// The first category of refusal; empty if the call is allowed.
    reasons: Vec<Reason>,
    denied_by: Vec<DeniedByView>,
    /// Groups with the enforcement `observe` that would have denied the call; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    observed: Vec<ObservedView>,
    /// What balances would take over, because it does not fit into a group's quota; absent if nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overflow: Vec<OverflowView>,
    /// If not empty, the call would be rejected as invalid because of these fields.
    errors: Vec<FieldError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<TimeMs>,
    /// The user is blocked, regardless of limits.
    blocked: bool,
    /// Null without a running subscription.
    subscription: Option<SubscriptionView>,
    /// Null without a subscription and a default plan; then only policies apply.
    plan: Option<ExplainedPlanView>,
    /// The groups of the plan, then those of all policies.
    groups: Vec<ExplainedGroupView>,
}

/// The plan in effect.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedPlanView {
    id: String,
    version: u64,
    /// The user has no subscription, so the app's default plan applies.
    is_default: bool,
    /// The user has custom limits instead of the plan's.
    own_limits: bool,
    /// How events are treated that no group of the plan matches.
    unmatched_events: UnmatchedEvents,
}

/// How one group treats the call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedGroupView {
    group_id: String,
    label: String,
    unit: Unit,
    /// The plan or policy that contains the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_id: Option<String>,
    version: u64,
    /// At least one rule matches.
    matches: bool,
    /// The rules in their order, up to the first that matches.
    rules: Vec<TriedRuleView>,
    /// Index of the matching rule, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<usize>,
    /// No rule matches, but `covers` names the event, so the group denies the call.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    uncovered: bool,
    /// The group refuses the call.
    refuses: bool,
    /// The group has the enforcement `observe`, and would refuse the call otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    observed: bool,
    /// Names in the group's scope that are missing in the call; if any, the group does not count it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_scope: Vec<String>,
    /// Why the call's amount cannot be computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<FieldError>,
    /// The amount that the group counts for the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    amount: Option<Number>,
    /// The amount exceeds `maxPerCall`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    too_large: bool,
    /// A fixed period is not running: it begins at that time, or is over if the time is absent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    outside_period: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    opens_at: Option<String>,
    /// The counter that the call is charged to.
    #[serde(skip_serializing_if = "Option::is_none")]
    counter: Option<CounterView>,
    /// Quota, grants and rolled quota, minus blocked amounts; absent without a quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    limit: Option<Number>,
    /// The balance that takes over what does not fit into the limit; absent if the call fits without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<CounterView>,
    /// The call would exceed the limit, and what remains of its balance.
    over_limit: bool,
    /// Active grants of the counter.
    grants: Vec<LiveGrantView>,
}

/// A rule that was evaluated.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriedRuleView {
    /// The rule's event pattern.
    event: String,
    matches: bool,
    /// Everything that prevents a match.
    mismatches: Vec<MismatchView>,
}

/// Why a rule does not match.
#[derive(Debug, Serialize, ToSchema)]
pub struct MismatchView {
    /// `event`, or `metadata.<name>`.
    field: String,
    /// Absent if the call does not have the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
    /// The values that match, or the event's pattern.
    wanted: Vec<String>,
    /// The same as a sentence.
    message: String,
}

/// An active grant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveGrantView {
    id: String,
    #[schema(value_type = f64)]
    amount: Number,
    /// Null if it never ends.
    ends_at: Option<String>,
}

pub fn metadata_map(metadata: &Metadata) -> BTreeMap<String, String> {
    metadata.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub fn estimated_map(estimated: &LearnedValues) -> BTreeMap<String, Number> {
    estimated.iter().map(|(field, value)| (field.to_owned(), value)).collect()
}

impl ExplainedCallView {
    pub fn new(question: &Question, explanation: &Explanation) -> Self {
        let Question { user, item, .. } = question;
        let event = item.event.to_string();
        let subscription = explanation.subscription.as_ref();
        let plan = explanation.plan.as_deref().map(|plan| ExplainedPlanView {
            is_default: explanation.is_default_plan,
            own_limits: subscription.is_some_and(|subscription| subscription.custom_limits.is_some()),
            ..ExplainedPlanView::of(plan)
        });
        let (decision, errors) = match &explanation.verdict {
            Verdict::Decided(decision) => (Some(decision), Vec::new()),
            Verdict::Invalid(fault) => (None, vec![fault.clone()]),
        };
        Self {
            summary: summary(question, explanation),
            user_id: user.to_string(),
            user_known: explanation.known,
            quantity: item.quantity,
            metadata: metadata_map(&item.metadata),
            estimated: estimated_map(&explanation.estimated),
            allowed: decision.is_some_and(|decision| decision.allowed),
            reasons: decision.map(|decision| decision.reasons.clone()).unwrap_or_default(),
            denied_by: decision.into_iter().flat_map(|it| &it.denied_by).map(DeniedByView::new).collect(),
            observed: decision.map(|decision| ObservedView::all(&decision.observed)).unwrap_or_default(),
            overflow: decision.map(|decision| OverflowView::all(&decision.overflow)).unwrap_or_default(),
            errors,
            retry_after_ms: decision.and_then(|decision| decision.retry_after_ms),
            blocked: explanation.blocked,
            subscription: subscription.map(|subscription| view_of(user, subscription, None)),
            plan,
            groups: explanation.groups.iter().map(|group| ExplainedGroupView::new(&event, group)).collect(),
            event,
        }
    }
}

impl ExplainedPlanView {
    pub fn of(plan: &Plan) -> Self {
        Self {
            id: plan.id.to_string(),
            version: plan.version,
            is_default: false,
            own_limits: false,
            unmatched_events: plan.unmatched_events,
        }
    }
}

impl ExplainedGroupView {
    fn new(event: &str, explained: &Explained) -> Self {
        let unit = explained.traced.group.unit;
        let grants = explained.grants.iter().map(|grant| LiveGrantView {
            id: grant.id.clone(),
            amount: number(grant.amount, unit),
            ends_at: grant.ends_at_ms.map(rfc3339),
        });
        Self {
            counter: explained.counter.as_ref().map(CounterView::new),
            limit: explained.limit.map(|limit| number(limit, unit)),
            balance: explained.balance.as_ref().map(CounterView::new),
            over_limit: explained.over_limit,
            refuses: explained.refuses(),
            observed: explained.observed,
            grants: grants.collect(),
            ..Self::traced(event, &explained.traced)
        }
    }

    /// For a call that was allowed: no group refused it, and every fixed period was running.
    pub fn of_an_allowed_call(self) -> Self {
        Self { refuses: false, observed: false, outside_period: false, opens_at: None, ..self }
    }

    /// An explained group without a counter.
    pub fn traced(event: &str, traced: &ExplainedGroup) -> Self {
        let group = &traced.group;
        let (plan_id, policy_id, version) = match &traced.origin {
            Origin::Plan(plan, version) => (Some(plan.to_string()), None, *version),
            Origin::Policy(policy, version) => (None, Some(policy.to_string()), *version),
        };
        let view = Self {
            group_id: group.id.to_string(),
            label: group.label.to_string(),
            unit: group.unit,
            plan_id,
            policy_id,
            version,
            matches: !matches!(traced.outcome, Outcome::Unmatched { .. }),
            rules: traced.tried.iter().map(|tried| TriedRuleView::new(event, tried)).collect(),
            rule: None,
            refuses: traced.refuses(),
            observed: group.observes() && traced.would_refuse(),
            uncovered: false,
            missing_scope: Vec::new(),
            error: None,
            amount: None,
            too_large: false,
            outside_period: false,
            opens_at: None,
            counter: None,
            limit: None,
            balance: None,
            over_limit: false,
            grants: Vec::new(),
        };
        match &traced.outcome {
            Outcome::Unmatched { covers } => Self { uncovered: *covers, ..view },
            Outcome::MissingScope { rule, missing, .. } => {
                Self { rule: Some(*rule), missing_scope: missing.clone(), ..view }
            }
            Outcome::Unmeasured { rule, fault } => Self { rule: Some(*rule), error: Some(fault.clone()), ..view },
            Outcome::Counts(counts) => Self {
                rule: Some(counts.rule),
                amount: Some(number(counts.amount, group.unit)),
                too_large: counts.too_large,
                outside_period: counts.window.is_none(),
                opens_at: counts.opens_at_ms.map(rfc3339),
                ..view
            },
        }
    }
}

impl TriedRuleView {
    fn new(event: &str, tried: &EvaluatedRule) -> Self {
        let mismatches = tried.mismatches.iter().map(|mismatch| MismatchView::new(event, &tried.event, mismatch));
        Self { event: tried.event.clone(), matches: tried.mismatches.is_empty(), mismatches: mismatches.collect() }
    }
}

impl MismatchView {
    fn new(event: &str, pattern: &str, mismatch: &Mismatch) -> Self {
        match mismatch {
            Mismatch::Event => Self {
                field: "event".to_owned(),
                found: Some(event.to_owned()),
                wanted: vec![pattern.to_owned()],
                message: format!("the event `{event}` does not match `{pattern}`"),
            },
            Mismatch::Missing { field, wanted } => Self {
                field: format!("metadata.{field}"),
                found: None,
                wanted: wanted.clone(),
                message: format!("metadata `{field}` is missing; it must be {}", either(wanted)),
            },
            Mismatch::Value { field, found, wanted } => Self {
                field: format!("metadata.{field}"),
                found: Some(found.clone()),
                wanted: wanted.clone(),
                message: format!("metadata `{field}` is `{found}`, but must be {}", either(wanted)),
            },
        }
    }
}

/// `` `a`, `b` or `c` ``
pub fn either(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        Some((last, _)) => last.clone(),
        None => "another value".to_owned(),
    }
}

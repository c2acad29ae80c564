//! Explains a decision group by group: which rule matched, or why none did.

use std::sync::Arc;

use super::admission::{Admission, Caller, Closed, Considered, EffectiveLimits, Purpose, Request, consider};
use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::configuration::match_rule;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::time::window::{TimeMs, Window};
use crate::domain::values::amount::Amount;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::{PlanId, PolicyId};

/// The plan or policy that contains a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Plan(PlanId, u64),
    Policy(PolicyId, u64),
}

/// Why a rule does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    Event,
    Missing { field: String, wanted: Vec<String> },
    Value { field: String, found: String, wanted: Vec<String> },
}

impl From<match_rule::Mismatch<'_>> for Mismatch {
    fn from(mismatch: match_rule::Mismatch<'_>) -> Self {
        match mismatch {
            match_rule::Mismatch::Event => Self::Event,
            match_rule::Mismatch::Missing { field, wanted } => {
                Self::Missing { field: field.to_owned(), wanted: wanted.to_vec() }
            }
            match_rule::Mismatch::Value { field, found, wanted } => {
                Self::Value { field: field.to_owned(), found: found.to_owned(), wanted: wanted.to_vec() }
            }
        }
    }
}

/// A rule that was evaluated. The first rule without a mismatch decides, and later ones are not evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluatedRule {
    /// The rule's event pattern.
    pub event: String,
    /// Empty if the rule matches.
    pub mismatches: Vec<Mismatch>,
}

/// How a group treats the call.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// No rule matches. If the group covers the event, it denies it.
    Unmatched {
        covers: bool,
    },
    /// Names of the scope are missing in the call. The group denies the call or ignores it.
    MissingScope {
        rule: usize,
        missing: Vec<String>,
        refuses: bool,
    },
    /// The call's amount cannot be computed.
    Unmeasured {
        rule: usize,
        fault: FieldError,
    },
    Counts(Counts),
}

/// What a group counts for the call.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    /// Index of the rule that matches.
    pub rule: usize,
    pub owner: OwnerName,
    pub amount: Amount,
    /// The amount exceeds `maxPerCall`.
    pub too_large: bool,
    /// None while a fixed period is not running.
    pub window: Option<Window>,
    /// The start of a future fixed period.
    pub opens_at_ms: Option<TimeMs>,
}

/// One group of the plan or of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedGroup {
    pub group: Arc<LimitGroup>,
    pub origin: Origin,
    /// In the order of the group's rules.
    pub tried: Vec<EvaluatedRule>,
    pub outcome: Outcome,
}

/// How every group of the plan and of the policies treats a request, whether or not the user is blocked, and the
/// amounts that counting groups would check.
pub fn trace(
    effective_limits: EffectiveLimits<'_>,
    caller: Caller<'_>,
    request: Request<'_>,
    now: TimeMs,
) -> (Vec<ExplainedGroup>, Admission) {
    let mut admission = Admission::empty(effective_limits, OwnerName::of_user(caller.user));
    let of_plan = effective_limits
        .plan
        .into_iter()
        .flat_map(|plan| plan.groups.iter().map(|group| (group, Origin::Plan(plan.id.clone(), plan.version))));
    let of_policies = effective_limits.policies.iter().flat_map(|policy| {
        policy.groups.iter().map(|group| (group, Origin::Policy(policy.id.clone(), policy.version)))
    });
    let mut traced: Vec<ExplainedGroup> = Vec::new();
    for (group, origin) in of_plan.chain(of_policies) {
        let outcome =
            outcome(group, ExplainedRequest { limits: effective_limits, caller, request, now }, &mut admission);
        traced.push(ExplainedGroup { group: Arc::clone(group), origin, tried: tried(group, request), outcome });
    }
    admission.matched.sort_by_key(|matched| matched.owner);
    (traced, admission)
}

fn tried(group: &LimitGroup, request: Request<'_>) -> Vec<EvaluatedRule> {
    let mut tried = Vec::new();
    for rule in &group.matches {
        let mismatches = rule.mismatches(request.event.as_str(), request.metadata).map(Mismatch::from).collect();
        tried.push(EvaluatedRule { event: rule.event.clone(), mismatches });
        if tried.last().is_some_and(|last| last.mismatches.is_empty()) {
            break;
        }
    }
    tried
}

/// The request to explain.
#[derive(Clone, Copy)]
struct ExplainedRequest<'a> {
    limits: EffectiveLimits<'a>,
    caller: Caller<'a>,
    request: Request<'a>,
    now: TimeMs,
}

fn outcome(group: &Arc<LimitGroup>, asked: ExplainedRequest<'_>, admission: &mut Admission) -> Outcome {
    let ExplainedRequest { limits, caller, request, now } = asked;
    let rule_of = || group.matching_rule(request.event.as_str(), request.metadata).unwrap_or_default();
    let (rule, amount, too_large) = match consider(group, caller, request, Purpose::Ask) {
        Ok(Considered::Unmatched { covers }) => return Outcome::Unmatched { covers },
        // Groups count every call with this purpose.
        Ok(Considered::Apart { .. }) => return Outcome::Unmatched { covers: false },
        Ok(Considered::Ownerless { rule, missing }) => {
            return Outcome::MissingScope { rule, missing, refuses: group.needs_scope };
        }
        Ok(Considered::Counts { rule, amount, too_large }) => (rule, amount, too_large),
        Err(fault) => return Outcome::Unmeasured { rule: rule_of(), fault },
    };
    let Some(owner) = admission.owner(&group.scope, caller, request.metadata) else {
        return Outcome::Unmatched { covers: false };
    };
    if let Err(fault) = admission.place(group, owner, amount, limits.anchor, now) {
        return Outcome::Unmeasured { rule, fault };
    }
    let same = |known: &Arc<LimitGroup>| Arc::ptr_eq(known, group);
    let window = admission.matched.iter().find(|matched| same(&matched.group)).map(|matched| matched.window);
    let closed = admission.closed.iter().find(|closed: &&Closed| same(&closed.group));
    let opens_at_ms = closed.and_then(|closed| closed.opens_at_ms);
    let owner = admission.owners[owner].as_ref().clone();
    Outcome::Counts(Counts { rule, owner, amount, too_large, window, opens_at_ms })
}

impl ExplainedGroup {
    /// The group refuses the call whatever its counter says.
    pub fn refuses(&self) -> bool {
        !self.group.observes() && self.would_refuse()
    }

    /// As [`ExplainedGroup::refuses`], even if the group only observes.
    pub fn would_refuse(&self) -> bool {
        match &self.outcome {
            Outcome::Unmatched { covers } => *covers,
            Outcome::MissingScope { refuses, .. } => *refuses,
            Outcome::Unmeasured { .. } => true,
            Outcome::Counts(counts) => counts.too_large || counts.window.is_none(),
        }
    }

    pub fn counts(&self) -> Option<&Counts> {
        match &self.outcome {
            Outcome::Counts(counts) => Some(counts),
            Outcome::Unmatched { .. } | Outcome::MissingScope { .. } | Outcome::Unmeasured { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;

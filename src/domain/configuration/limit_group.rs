//! Limit groups: which events to count, and at which quota to stop.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::match_rule::MatchRule;
use super::measure::Measure;
use super::scope::Scope;
use crate::domain::time::period::Period;
use crate::domain::time::window::WindowKind;
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::glob;
use crate::domain::values::ids::GroupId;
use crate::domain::values::metadata::Metadata;

/// What happens when the quota is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// The call is denied.
    #[default]
    Hard,
    /// Calls are still allowed and counted, and the overage is reported.
    Soft,
    /// As soft, and answers, events and reports say which calls a hard group would have denied: for trying a limit on
    /// live traffic.
    Observe,
    /// The call is denied until an operator approves more.
    Approval,
}

/// Where the room of a group comes from: its quota, or credits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LimitKind {
    /// A quota, anew in each period.
    #[default]
    Quota,
    /// The credits of the counter's owner: prepaid amounts, until they are used up or expire.
    Balance,
}

impl LimitKind {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether limits apply to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    Enforced,
    /// The usage has already happened; only what a counter can hold limits it.
    Ignored,
}

impl Limits {
    /// The amount beyond which a call is denied.
    pub fn of(self, group: &LimitGroup) -> Amount {
        match self {
            Self::Enforced => group.refuses_beyond(),
            Self::Ignored => Amount::LARGEST,
        }
    }
}

/// What happens to a group's counter when a user moves to this plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnPlanChange {
    /// The amount used in the current window is carried over.
    #[default]
    Carry,
    /// The counter starts at 0; open holds settle in the window in which they were made.
    Reset,
    /// The counter starts full until the next window, so that switching plans back and forth gives no extra quota.
    Block,
}

/// A validated limit group.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitGroup {
    pub id: GroupId,
    pub label: Arc<str>,
    pub kind: LimitKind,
    pub unit: Unit,
    /// None counts without limit, and for a balance.
    pub quota: Option<Amount>,
    /// When a window ends, unused quota becomes extra quota of the next window, at most this amount; None for nothing.
    pub rollover: Option<Amount>,
    pub max_per_call: Option<Amount>,
    /// For rules without their own measure.
    pub measure: Measure,
    pub matches: Vec<MatchRule>,
    /// Events with these names are denied if no rule of this group matches them.
    pub covers: Vec<String>,
    pub period: Period,
    pub enforcement: Enforcement,
    /// Returned with a denial, as configured.
    pub on_limit: Option<Arc<serde_json::Value>>,
    /// What happens to the counter when a user moves to this plan.
    pub on_plan_change: OnPlanChange,
    /// Who owns the counter of an event.
    pub scope: Scope,
    /// If true, an event without a name of the scope is denied; otherwise the group ignores it.
    pub needs_scope: bool,
    /// Percent of the limit: quota, grants and what was rolled over; ascending.
    pub alerts: Vec<u64>,
    /// The balance from which calls take what does not fit into the quota.
    pub overflow: Option<Arc<LimitGroup>>,
    /// Of a balance, descending: when the remaining amount falls to one of these or below, an alert is emitted.
    pub alerts_below: Vec<Amount>,
    /// The group has no measure, so its rules count the bare quantity.
    pub measure_left_out: bool,
}

impl LimitGroup {
    /// The first rule that matches.
    pub fn matching_rule(&self, event: &str, metadata: &Metadata) -> Option<usize> {
        self.matches.iter().position(|rule| rule.matches(event, metadata))
    }

    pub fn covers(&self, event: &str) -> bool {
        self.covers.iter().any(|pattern| glob::matches(pattern, event))
    }

    /// The measure of a rule; the group's own if the rule has none or no longer exists.
    pub fn measure_of(&self, rule: usize) -> &Measure {
        self.matches.get(rule).and_then(|rule| rule.measure.as_ref()).unwrap_or(&self.measure)
    }

    /// The amount beyond which calls are denied: the quota, or the maximum of a counter for a soft group and for one
    /// that observes.
    pub fn refuses_beyond(&self) -> Amount {
        self.refuses_beyond_with(self.quota)
    }

    /// The same for an owner with another quota.
    pub fn refuses_beyond_with(&self, quota: Option<Amount>) -> Amount {
        match (self.enforcement, quota) {
            (Enforcement::Hard | Enforcement::Approval, Some(quota)) => quota,
            (Enforcement::Hard | Enforcement::Approval, None) | (Enforcement::Soft | Enforcement::Observe, _) => {
                self.unit.most()
            }
        }
    }

    /// The group never denies a call, and reports those that it would have denied.
    pub fn observes(&self) -> bool {
        self.enforcement == Enforcement::Observe
    }

    /// Credits are the group's room, not a quota.
    pub fn is_balance(&self) -> bool {
        self.kind == LimitKind::Balance
    }

    /// The group limits holds at the same time; nothing is ever used.
    pub fn is_concurrent(&self) -> bool {
        self.period.kind() == WindowKind::Concurrent
    }
}

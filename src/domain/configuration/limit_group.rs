//! Limit groups: count these events, stop at this quota.

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

/// What happens past the quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// The call is denied.
    #[default]
    Hard,
    /// Counting goes on, and the overage is reported.
    Soft,
    /// The call is denied until somebody approves more.
    Approval,
}

/// What a group's counter does when a user moves to this plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnPlanChange {
    /// What was used in the current window goes on counting.
    #[default]
    Carry,
    /// It starts at 0; open holds settle in the window they came from.
    Reset,
    /// It starts full until the next window, so that cycling through plans gives no fresh quota.
    Block,
}

/// A validated limit group.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitGroup {
    pub id: GroupId,
    pub label: Arc<str>,
    pub unit: Unit,
    /// None counts without limit.
    pub quota: Option<Amount>,
    pub max_per_call: Option<Amount>,
    /// For rules without a measure of their own.
    pub measure: Measure,
    pub matches: Vec<MatchRule>,
    /// Events of these names must be matched by one of this group's rules.
    pub covers: Vec<String>,
    pub period: Period,
    pub enforcement: Enforcement,
    /// Handed back with a denial, as configured.
    pub on_limit: Option<Arc<serde_json::Value>>,
    /// What the counter does when a user moves to this plan.
    pub on_plan_change: OnPlanChange,
    /// Whose counter an event lands in.
    pub scope: Scope,
    /// An event without a name of the scope is denied; otherwise the group leaves it alone.
    pub needs_scope: bool,
    /// Percent of quota and grants, rising.
    pub alerts: Vec<u64>,
    /// Rules without a measure count the bare quantity because nobody said otherwise.
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

    /// The measure of a rule; the group's own where the rule names none or is gone.
    pub fn measure_of(&self, rule: usize) -> &Measure {
        self.matches.get(rule).and_then(|rule| rule.measure.as_ref()).unwrap_or(&self.measure)
    }

    /// The amount beyond which a call is refused: the quota unless the group is soft, else all that a counter can hold.
    pub fn refuses_beyond(&self) -> Amount {
        match (self.enforcement, self.quota) {
            (Enforcement::Hard | Enforcement::Approval, Some(quota)) => quota,
            (Enforcement::Hard | Enforcement::Approval, None) | (Enforcement::Soft, _) => self.unit.most(),
        }
    }

    /// Limits what is in flight; nothing of it is ever used.
    pub fn is_concurrent(&self) -> bool {
        self.period.kind() == WindowKind::Concurrent
    }
}

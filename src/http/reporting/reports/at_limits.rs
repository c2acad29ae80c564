//! `GET reports/limits` as JSON.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::time::window::rfc3339;
use crate::http::wire::views::CounterView;
use crate::service::reporting::near::Limits;

/// Counters at and near their limits.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitsView {
    /// RFC 3339, by the clock of the mode.
    at: String,
    /// Counters that are fully used, those furthest over their limits first.
    at_limit: Vec<CounterView>,
    /// Counters that are used to at least 75 %, the fullest first.
    near: Vec<CounterView>,
    /// The number of such counters per group, as of their last charge or denial.
    groups: Vec<GroupLimitsView>,
    /// True if there are more counters than are known, so the counts are minimums.
    more: bool,
    /// False if some recent events are not processed yet.
    complete: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupLimitsView {
    group_id: String,
    at_limit: u64,
    near: u64,
}

impl LimitsView {
    pub fn new(limits: &Limits) -> Self {
        let mut groups: Vec<GroupLimitsView> = limits
            .groups
            .iter()
            .map(|(group, of)| GroupLimitsView { group_id: group.to_string(), at_limit: of.at_limit, near: of.near })
            .collect();
        groups.sort_by_key(|group| std::cmp::Reverse((group.at_limit, group.near)));
        Self {
            at: rfc3339(limits.now_ms),
            at_limit: CounterView::all(&limits.at_limit),
            near: CounterView::all(&limits.near),
            groups,
            more: limits.more,
            complete: limits.complete,
        }
    }
}

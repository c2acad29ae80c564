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
    /// RFC 3339: by the clock of the mode.
    at: String,
    /// Counters of which all is used, those furthest beyond their limits first.
    at_limit: Vec<CounterView>,
    /// Counters of which three quarters and more are used, the fullest first.
    near: Vec<CounterView>,
    /// How many there are of each group that has any, as they stood when they were last charged or found full.
    groups: Vec<GroupLimitsView>,
    /// More are there than are known, so the counts are the least there are.
    more: bool,
    /// False: so much came at once that some of it is not looked at yet.
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

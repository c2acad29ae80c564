//! The decision on a reserve without Redis.

use std::sync::Arc;

use super::entry::Entry;
use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::metering::admission::{Admission, Matched, Purpose, prepare};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::GroupId;
use crate::service::configuration::app_config::AppConfig;
use crate::service::gateway::Gateway;
use crate::service::metering::decision::{Decision, DeniedBy, judge};
use crate::service::metering::facts::View;
use crate::service::metering::reserve::Call;
use crate::service::tenant::Tenant;
use crate::store::metering::admission::Tally;
use crate::store::metering::operation::Operation;

pub(super) enum Verdict {
    Allowed(Entry),
    Denied(Box<Decision>),
}

/// The amount does not even fit into an empty counter.
fn never_fits(matched: &Matched) -> bool {
    let limit = matched.group.refuses_beyond();
    limit == Amount::ZERO || matched.amount > limit
}

/// A denial without figures of counters, which are unknown.
fn denied(admission: &Admission, view: &View) -> Decision {
    let tallies: Vec<(Tally, bool)> =
        admission.matched.iter().map(|matched| (Tally::default(), never_fits(matched))).collect();
    let judged = judge(admission, &tallies, LimitGroup::refuses_beyond);
    let decision = Decision::denied(&judged, admission, (None, &[]), view.now_ms);
    let denied_by = decision.denied_by.into_iter().map(|denied| DeniedBy { remaining: None, ..denied }).collect();
    Decision { degraded: true, denied_by, counters: Vec::new(), ..decision }
}

impl Gateway {
    /// Denies calls that are denied regardless of counters: a blocked user, no subscription, an event or scope that
    /// does not match, a call larger than the whole quota. If the node has not seen the user, any plan may be the
    /// user's, so the call is allowed if one of the plans allows it. None if the call cannot be measured.
    pub(super) fn judge_without_store(
        &self,
        tenant: &Tenant,
        call: &Call,
        operation: &Operation,
        config: Arc<AppConfig>,
    ) -> Option<Verdict> {
        let at_hand = self.views_at_hand(tenant, &call.user, &config);
        let mut refused = None;
        for view in &at_hand.views {
            let Ok(admission) =
                prepare(view.standing(), call.caller(view), &call.requests(), view.now_ms, Purpose::Ask)
            else {
                continue;
            };
            if admission.refusal.is_some() || admission.matched.iter().any(never_fits) {
                refused.get_or_insert_with(|| denied(&admission, view));
                continue;
            }
            let known = |group: &GroupId| at_hand.is_known || config.policy_of(group).is_some();
            let groups = admission.matched.iter().map(|matched| matched.group.id.clone()).filter(known).collect();
            let told = (!admission.matched.is_empty(), groups);
            return Some(Verdict::Allowed(Entry::new(tenant, call, operation, view.now_ms, told)));
        }
        refused.map(|decision| Verdict::Denied(Box::new(decision)))
    }
}

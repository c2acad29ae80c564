//! The decision on a reserve without Redis.

use std::sync::Arc;

use super::entry::{Answer, Entry};
use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::metering::admission::{Admission, Matched, Purpose};
use crate::domain::metering::counter::CounterState;
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::GroupId;
use crate::service::configuration::app_config::AppConfig;
use crate::service::gateway::Gateway;
use crate::service::metering::admit::evaluate;
use crate::service::metering::call::Call;
use crate::service::metering::decision::{Decision, DeniedBy, Relief, group_outcomes};
use crate::service::metering::facts::CallFacts;
use crate::service::tenant::Tenant;
use crate::store::metering::operation::Operation;

pub(super) enum OfflineDecision {
    Allowed(Entry),
    Denied(Box<Decision>),
}

/// The amount does not even fit into an empty counter. What credits cover is unknown.
fn never_fits(matched: &Matched) -> bool {
    if matched.group.overflow.is_some() {
        return false;
    }
    let limit = matched.group.refuses_beyond();
    limit == Amount::ZERO || matched.amount > limit
}

/// A denial without figures of counters, which are unknown.
fn denied(admission: &Admission, facts: &CallFacts) -> Decision {
    let state = |matched: &Matched| CounterState { over_limit: never_fits(matched), ..CounterState::default() };
    let states: Vec<CounterState> = admission.matched.iter().map(state).collect();
    let outcomes = group_outcomes(admission, &states, LimitGroup::refuses_beyond);
    let decision = Decision::denied(&outcomes, admission, Relief { free_at_ms: None, opened: &[] }, facts.now_ms);
    let denied_by = decision.denied_by.into_iter().map(|denied| DeniedBy { remaining: None, ..denied }).collect();
    Decision { degraded: true, denied_by, counters: Vec::new(), ..decision }
}

impl Gateway {
    /// Denies calls that are denied regardless of counters: a blocked user, no subscription, an event or scope that
    /// does not match, a call larger than the whole quota. If the node has not seen the user, any plan may be the
    /// user's, so the call is allowed if one of the plans allows it. None if the call cannot be measured.
    pub(super) fn decide_without_store(
        &self,
        tenant: &Tenant,
        call: &Call,
        operation: &Operation,
        config: Arc<AppConfig>,
    ) -> Option<OfflineDecision> {
        let cached = self.cached_facts(tenant, &call.user, &config);
        let mut refused = None;
        for facts in &cached.sets {
            let Ok(admission) = evaluate(facts, call, Purpose::Ask) else { continue };
            if admission.refusal.is_some() || admission.matched.iter().any(never_fits) {
                refused.get_or_insert_with(|| denied(&admission, facts));
                continue;
            }
            let known = |group: &GroupId| cached.is_known || config.policy_of(group).is_some();
            let groups = admission.matched.iter().map(|matched| matched.group.id.clone()).filter(known).collect();
            let matched = !admission.matched.is_empty();
            let answer = Answer { at_ms: facts.now_ms, matched, groups, learned: admission.learned };
            return Some(OfflineDecision::Allowed(Entry::new(tenant, call, operation, answer)));
        }
        refused.map(|decision| OfflineDecision::Denied(Box::new(decision)))
    }
}

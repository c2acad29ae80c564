//! Repeated calls: they return the first decision with the present counters.

use std::sync::Arc;

use super::call::{CounterContext, add_counters};
use super::decision::{Decision, GroupOutcome};
use super::facts::CallFacts;
use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::{Admission, Refusal};
use crate::domain::metering::counter::{Counter, CounterState};
use crate::domain::metering::reason::Reason;
use crate::domain::time::window::TimeMs;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::metering::admission::{Denied, OwnedGroup};

/// The counters that a repeated call uses.
#[derive(Clone, Copy)]
pub(super) struct Repetition<'a> {
    pub tenant: &'a Tenant,
    pub facts: &'a CallFacts,
    pub contexts: &'a [CounterContext<'a>],
}

/// Counters with the time at which they were read.
pub(super) struct Present {
    pub counters: Vec<Counter>,
    pub now_ms: TimeMs,
}

impl Gateway {
    /// The present counters of the wanted groups.
    pub(super) async fn present(
        &self,
        repetition: Repetition<'_>,
        wanted: impl Fn(&LimitGroup) -> bool,
    ) -> Result<Present, ServiceError> {
        let mut present = Present { counters: Vec::new(), now_ms: repetition.facts.now_ms };
        for context in repetition.contexts {
            let usage = self.usage(repetition.tenant, *context, &wanted).await?;
            present.now_ms = usage.now_ms;
            add_counters(&mut present.counters, usage.counters);
        }
        Ok(present)
    }

    /// The stored denial, with the present counters. `admission`: of the call under the present facts. If it is denied for
    /// the same reason, it says which groups deny it.
    pub(super) async fn repeat_denied(
        &self,
        repetition: Repetition<'_>,
        admission: &Admission,
        at_ms: TimeMs,
        denied: Denied,
    ) -> Result<Decision, ServiceError> {
        let Repetition { facts, contexts, .. } = repetition;
        let outcomes = outcomes_again(facts, contexts, &denied.groups, &denied.states);
        // The first answer has the balances that the call needed, too.
        let is_needed = |balance: &LimitGroup| outcomes.iter().any(|outcome| outcome.needs(&balance.id));
        let wanted = |group: &LimitGroup| is_needed(group) || denied.groups.iter().any(|owned| owned.id == group.id);
        let Present { mut counters, now_ms } = self.present(repetition, wanted).await?;
        let verdict = Reason::parse(&denied.verdict);
        // The reason is that of the first answer, even if groups are gone or have another enforcement now. Approval
        // requests were opened exactly if approval was the only reason.
        let by_groups = if denied.opened.is_empty() { Reason::LimitReached } else { Reason::ApprovalRequired };
        let reasons = vec![verdict.unwrap_or(by_groups)];
        let user = contexts.first().map(|context| OwnerName::of_user(context.caller.user));
        let user = user.ok_or_else(|| ServiceError::Internal("a call of nobody".to_owned()))?;
        let refusal = verdict.map(|reason| Refusal { reason, groups: Vec::new() });
        let other = Admission { refusal, ..Admission::empty(facts.effective_limits(), user) };
        let is_same = admission.refusal.as_ref().map(|refusal| refusal.reason) == verdict;
        let admission = if is_same { admission } else { &other };
        let decision = Decision::denied(&outcomes, admission, denied.relief(), at_ms);
        let retry_after_ms = decision.retry_after_ms.map(|wait| at_ms + wait - now_ms).filter(|wait| *wait > 0);
        let refused = |counter: &Counter| {
            outcomes.iter().any(|outcome| outcome.state.over_limit && outcome.group.id == counter.group.id)
        };
        counters.sort_by(|one, other| refused(other).cmp(&refused(one)).then_with(|| one.by_tightness(other)));
        Ok(Decision { reasons, retry_after_ms, counters, counters_at_ms: now_ms, replayed: true, ..decision })
    }
}

/// The groups of a stored answer with their decision at that time; groups that no longer exist are left out.
pub(super) fn outcomes_again(
    facts: &CallFacts,
    contexts: &[CounterContext<'_>],
    groups: &[OwnedGroup],
    states: &[CounterState],
) -> Vec<GroupOutcome> {
    let pairs = groups.iter().zip(states);
    pairs
        .filter_map(|(owned, state)| {
            let group = facts.effective_limits().groups().find(|group| group.id == owned.id)?;
            let owner =
                contexts.iter().find_map(|context| group.scope.owner(context.caller.subject(context.metadata)))?;
            Some(GroupOutcome {
                group: state.group(group),
                owner: Arc::new(owner),
                window: owned.window,
                amount: owned.amount,
                limit: owned.limit,
                state: *state,
            })
        })
        .collect()
}

//! can-use: the decision that a reserve would get.

use super::admit::Prepared;
use super::call::Call;
use super::decision::{Counted, Decision, Relief, group_outcomes};
use super::facts::Attempt;
use crate::domain::configuration::limit_group::{LimitGroup, Limits};
use crate::domain::metering::admission::Purpose;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::metering::usage::UsageReply;

impl Gateway {
    /// The decision that a reserve would get, without writing anything.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn can_use(&self, tenant: &Tenant, call: &Call) -> Result<Decision, ServiceError> {
        call.check()?;
        self.with_facts(tenant, &call.user, async |facts| {
            let admission = match self.admission(facts, call, Purpose::Ask).await? {
                Prepared::Admitted(admission) => admission,
                Prepared::Stale(stale) => return Ok(stale),
            };
            let owners = facts.owners(&admission, Limits::Enforced);
            let growth = admission.growth.as_ref().filter(|_| admission.refusal.is_none());
            let checked = facts.for_script(admission.validity);
            Ok(match self.store.usage_for(&facts.bucket, checked, &owners, growth).await? {
                UsageReply::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
                UsageReply::Reclaim(now_ms) => self.reclaim_attempt(facts, &owners, now_ms).await?,
                UsageReply::Usage { now_ms, states, free_at_ms, fitted } => {
                    self.clocks.observe_time(&facts.bucket, now_ms);
                    let outcomes = group_outcomes(&admission, &states, LimitGroup::refuses_beyond);
                    let denied = admission.refusal.is_some() || outcomes.iter().any(|outcome| outcome.state.over_limit);
                    Attempt::Done(if denied {
                        let mut decision =
                            Decision::denied(&outcomes, &admission, Relief { free_at_ms, opened: &[] }, now_ms);
                        decision.counters.extend(admission.closed_counters());
                        decision
                    } else {
                        let decision = Decision::allowed(&outcomes, now_ms);
                        let decision = decision.observing(&outcomes, &admission, Counted::Before);
                        let growing = call.fit.as_ref().zip(admission.growth.as_ref()).zip(fitted);
                        let fitted = growing.map(|((fit, growth), value)| fit.fitted(growth.wish, value));
                        Decision { fitted, ..decision }
                    })
                }
            })
        })
        .await
    }
}

//! can-use: the decision that a reserve would get.

use super::admit::Prepared;
use super::call::Call;
use super::decision::{Counted, Decision, Relief, judge};
use super::facts::Round;
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
        self.with_facts(tenant, &call.user, async |view| {
            let admission = match self.admission(view, call, Purpose::Ask).await? {
                Prepared::Admitted(admission) => admission,
                Prepared::Stale(stale) => return Ok(stale),
            };
            let owners = view.owners(&admission, Limits::Enforced);
            Ok(match self.store.usage(&view.bucket, view.facts(admission.validity), &owners).await? {
                UsageReply::Stale(stale, now_ms) => Round::Stale(stale, now_ms),
                UsageReply::Reclaim(now_ms) => self.reclaim_round(view, &owners, now_ms).await?,
                UsageReply::Usage { now_ms, states, free_at_ms } => {
                    self.clocks.hear(&view.bucket, now_ms);
                    let judged = judge(&admission, &states, LimitGroup::refuses_beyond);
                    let denied = admission.refusal.is_some() || judged.iter().any(|judged| judged.state.over_limit);
                    Round::Done(if denied {
                        let mut decision =
                            Decision::denied(&judged, &admission, Relief { free_at_ms, opened: &[] }, now_ms);
                        decision.counters.extend(admission.closed_counters());
                        decision
                    } else {
                        Decision::allowed(&judged, now_ms).observing(&judged, &admission, Counted::Before)
                    })
                }
            })
        })
        .await
    }
}

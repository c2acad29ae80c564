//! How the groups of a draft treat a call: a rule tester without users or counters.

use crate::domain::configuration::estimate::LearnedValues;
use crate::domain::metering::admission::{Caller, EffectiveLimits};
use crate::domain::metering::explain::{ExplainedGroup, trace};
use crate::domain::time::period::SubscriptionAnchor;
use crate::domain::time::window::TimeMs;
use crate::domain::values::ids::{KeyId, UserId};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::metering::call::CallItem;
use crate::service::simulation::recent::Draft;
use crate::service::tenant::Tenant;

impl Gateway {
    /// How each group of the draft treats a call of any user with any key; for a plan, also the groups of the
    /// policies.
    ///
    /// # Errors
    /// [`ServiceError`]; every fault of the draft.
    pub async fn explain_draft(
        &self,
        tenant: &Tenant,
        draft: &Draft,
        item: &CallItem,
    ) -> Result<Vec<ExplainedGroup>, ServiceError> {
        item.check()?;
        let config = draft.applied(&self.present_config(&tenant.app).await?, tenant.placement)?;
        let internal = |error: crate::domain::values::ids::NameError| ServiceError::Internal(error.to_string());
        let (user, key) = (UserId::parse("anybody").map_err(internal)?, KeyId::parse("any").map_err(internal)?);
        let now = self.mode_now(tenant).await?;
        let (plan, policies) = match draft {
            Draft::Plan { id, .. } => (config.plan(id).cloned(), config.policies.clone()),
            Draft::Policy { id, .. } => (None, config.policy(id).cloned().into_iter().collect()),
        };
        let effective_limits = EffectiveLimits {
            plan: plan.as_deref(),
            policies: &policies,
            anchor: SubscriptionAnchor { started_at_ms: now, cycle_start_ms: None },
            until_ms: TimeMs::MAX,
            blocked: false,
        };
        let caller = Caller { user: &user, app: &tenant.app, key: Some(&key) };
        let request = item.request(LearnedValues::none());
        Ok(trace(effective_limits, caller, request, now).0)
    }
}

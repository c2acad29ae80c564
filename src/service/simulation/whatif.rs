//! Replays recorded calls against configurations that are only drafted: validated like a write, but never written.

use super::timeline::Units;
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::configuration::policy_body::PolicyBody;
use crate::domain::values::ids::{AppId, PlanId, PolicyId};
use crate::service::configuration::app_config::AppConfig;
use crate::service::configuration::apply::{Configuration, Present};
use crate::service::configuration::draft::Draft;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Placement;

/// The units of a configuration's groups.
pub fn units(config: &AppConfig) -> Units {
    config.groups.iter().map(|(group, kind)| (group.clone(), kind.unit)).collect()
}

impl AppConfig {
    /// This configuration with a plan put.
    ///
    /// # Errors
    /// As putting it would return.
    pub fn with_plan(&self, placement: Placement, id: &PlanId, body: PlanBody) -> Result<Self, ServiceError> {
        let plans = vec![(String::new(), id.clone(), body)];
        Draft { plans, placement, ..Draft::default() }.applied(self)
    }

    /// This configuration with a policy put.
    ///
    /// # Errors
    /// As putting it would return.
    pub fn with_policy(&self, placement: Placement, id: &PolicyId, body: PolicyBody) -> Result<Self, ServiceError> {
        let policies = vec![(String::new(), id.clone(), body)];
        Draft { policies, placement, ..Draft::default() }.applied(self)
    }

    /// This configuration changed to match a document.
    ///
    /// # Errors
    /// As applying it would return, except that plans with users may be deleted.
    pub fn matching(&self, placement: Placement, document: &Configuration) -> Result<Self, ServiceError> {
        document.draft(placement, &Present::of(self))?.applied(self)
    }
}

impl Gateway {
    /// The configuration as it is in Redis now.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn present_config(&self, app: &AppId) -> Result<AppConfig, ServiceError> {
        Ok(self.load_config(app).await?.as_ref().clone())
    }
}

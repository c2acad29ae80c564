//! Configurations that nobody has put: as they would be, with every check, and never written.

use super::Gateway;
use super::app_config::AppConfig;
use super::apply::{Configuration, Present};
use super::draft::Draft;
use super::error::ServiceError;
use super::tenant::Placement;
use crate::domain::ids::{AppId, PlanId};
use crate::domain::plan_body::PlanBody;

impl AppConfig {
    /// This configuration with a plan put.
    ///
    /// # Errors
    /// As putting it would answer.
    pub fn with_plan(&self, placement: Placement, id: &PlanId, body: PlanBody) -> Result<Self, ServiceError> {
        let plans = vec![(String::new(), id.clone(), body)];
        Draft { plans, placement, ..Draft::default() }.applied(self)
    }

    /// This configuration made to match a document.
    ///
    /// # Errors
    /// As applying it would answer; plans may go although users are on them.
    pub fn matching(&self, placement: Placement, document: &Configuration) -> Result<Self, ServiceError> {
        document.draft(placement, &Present::of(self))?.applied(self)
    }
}

impl Gateway {
    /// The configuration as Redis has it now.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn present_config(&self, app: &AppId) -> Result<AppConfig, ServiceError> {
        Ok(self.load_config(app).await?.as_ref().clone())
    }
}

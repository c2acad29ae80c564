//! `GET` and `PUT app`: an app's settings.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Gateway;
use super::app_config::AppConfig;
use super::draft::Draft;
use super::error::ServiceError;
use super::tenant::Tenant;
use crate::domain::ids::{KeyId, PlanId};
use crate::store::operation::{Idempotency, Operation};

/// What reserve answers while Redis cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreFailure {
    /// 503.
    #[default]
    Deny,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The plan of users without subscription; calendar and endless groups only. Null: they are denied.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub default_plan_id: Option<PlanId>,
    #[serde(default)]
    pub on_store_failure: OnStoreFailure,
}

impl Gateway {
    /// # Errors
    /// [`ServiceError`]
    pub async fn settings(&self, tenant: &Tenant) -> Result<Settings, ServiceError> {
        Ok(self.load_config(&tenant.app).await?.settings.clone())
    }

    /// Replaces the settings: what is left out returns to its default.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn put_settings(
        &self,
        tenant: &Tenant,
        settings: &Settings,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<Settings, ServiceError> {
        let operation = Operation::new("configuration", idempotency, false);
        let text = self
            .write_config(&tenant.app, tenant.placement, &operation, 0, async |config: &AppConfig, revision| {
                let draft = Draft { settings: Some(settings.clone()), ..Draft::default() };
                let mut change = draft.change(config, revision, by)?;
                change.answer =
                    serde_json::to_string(settings).map_err(|error| ServiceError::Internal(error.to_string()))?;
                Ok(change)
            })
            .await?;
        serde_json::from_str(&text).map_err(|_| ServiceError::IdempotencyKeyReused)
    }
}

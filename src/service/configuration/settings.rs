//! `GET` and `PUT app`: an app's settings.

use super::app_config::{AppConfig, Settings};
use super::draft::Draft;
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::values::ids::KeyId;
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::metering::operation::Operation;

impl Gateway {
    /// # Errors
    /// [`ServiceError`]
    pub async fn settings(&self, tenant: &Tenant) -> Result<Settings, ServiceError> {
        Ok(self.load_config(&tenant.app).await?.settings.clone())
    }

    /// Replaces the settings; fields that are left out return to their defaults.
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
                change.answer = json(settings)?;
                Ok(change)
            })
            .await?;
        serde_json::from_str(&text).map_err(|_| ServiceError::IdempotencyKeyReused)
    }
}

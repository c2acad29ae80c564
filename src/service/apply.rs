//! Configuration as code: a document that the configuration is made to match, in one step or not at all.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Gateway;
use super::app_config::Settings;
use super::draft::Draft;
use super::error::{ServiceError, json};
use super::plans::still_closed;
use super::preview::Preview;
use super::tenant::Tenant;
use crate::domain::field_error::FieldError;
use crate::domain::ids::{KeyId, PlanId};
use crate::domain::plan_body::PlanBody;
use crate::store::operation::{Idempotency, Operation};

/// What an app is configured to do. A part that is left out stays as it is; of a part that is there, what is not in it
/// is deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<Settings>,
    /// Each with its `id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plans: Option<Vec<PlanBody>>,
}

/// What was applied.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// False: it was a dry run, or nothing differed.
    pub applied: bool,
    #[serde(flatten)]
    pub preview: Preview,
}

impl Configuration {
    /// The draft that makes `present` match. All faults of the document's own shape at once.
    fn draft(&self, present: impl Iterator<Item = PlanId>) -> Result<Draft, ServiceError> {
        let mut faults = Vec::new();
        let mut draft = Draft { settings: self.app.clone(), settings_path: "app", ..Draft::default() };
        let Some(plans) = &self.plans else { return Ok(draft) };
        for (place, body) in plans.iter().enumerate() {
            let path = format!("plans[{place}]");
            match body.id.as_deref().map(PlanId::parse) {
                None => faults.push(FieldError::new(format!("{path}.id"), "is missing")),
                Some(Err(error)) => faults.push(FieldError::new(format!("{path}.id"), error.to_string())),
                Some(Ok(id)) => draft.plans.push((path, id, body.clone())),
            }
        }
        if !faults.is_empty() {
            return Err(ServiceError::Invalid(faults));
        }
        let wanted: HashSet<&PlanId> = draft.plans.iter().map(|(_, id, _)| id).collect();
        let mut gone: Vec<PlanId> = present.filter(|id| !wanted.contains(id)).collect();
        gone.sort();
        draft.delete = gone;
        Ok(draft)
    }
}

impl Gateway {
    /// The present configuration as a document to apply.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn configuration(&self, tenant: &Tenant) -> Result<Configuration, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let plans = config.sorted_plans().into_iter().map(|plan| plan.body.clone()).collect();
        Ok(Configuration { app: Some(config.settings.clone()), plans: Some(plans) })
    }

    /// What applying the document would change.
    ///
    /// # Errors
    /// [`ServiceError`]; every fault at once, also plans to delete that users are on.
    pub async fn preview_configuration(
        &self,
        tenant: &Tenant,
        document: &Configuration,
    ) -> Result<Applied, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let draft = document.draft(config.plans.keys().cloned())?;
        let preview = self.preview(tenant, &config, &draft).await?;
        self.nobody_on(tenant, &draft.delete).await?;
        Ok(Applied { applied: false, preview })
    }

    /// Makes the configuration match the document, in one step. Answers what has changed.
    ///
    /// # Errors
    /// [`ServiceError`]; then nothing has changed.
    pub async fn apply(
        &self,
        tenant: &Tenant,
        document: &Configuration,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<Applied, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let draft = document.draft(config.plans.keys().cloned())?;
        let preview = self.preview(tenant, &config, &draft).await?;
        // Plans to delete take no new users, on any node; then those on them are counted.
        self.close_plans(tenant, &draft.delete, true).await?;
        let written = self.write_closed(tenant, document, &draft, &preview, by, idempotency).await;
        if written.is_err() {
            self.close_plans(tenant, &draft.delete, false).await?;
        }
        let text = written?;
        serde_json::from_str(&text).map_err(|_| ServiceError::IdempotencyKeyReused)
    }

    async fn write_closed(
        &self,
        tenant: &Tenant,
        document: &Configuration,
        draft: &Draft,
        preview: &Preview,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<String, ServiceError> {
        self.nobody_on(tenant, &draft.delete).await?;
        let operation = Operation::new("configuration", idempotency, false);
        self.write_config(&tenant.app, tenant.placement, &operation, 0, async |config, revision| {
            still_closed(config, &draft.delete)?;
            // Plans that somebody else made meanwhile were not looked at: they stay.
            let known = |id: &PlanId| draft.delete.contains(id);
            let now = document.draft(config.plans.keys().filter(|id| known(id)).cloned())?;
            let mut change = now.change(config, revision, by)?;
            let applied = Applied { applied: !change.unchanged, preview: preview.clone() };
            change.answer = json(&applied)?;
            Ok(change)
        })
        .await
    }
}

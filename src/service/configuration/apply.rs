//! Configuration as code: a document that the configuration is made to match, in one step or not at all.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app_config::{AppConfig, Settings};
use super::draft::Draft;
use super::plans::still_closed;
use super::preview::Preview;
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::configuration::policy_body::PolicyBody;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::{KeyId, NameError, PlanId, PolicyId, WebhookId};
use crate::domain::webhooks::webhook::WebhookBody;
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::service::tenant::{Placement, Tenant};
use crate::store::configuration::configure::ConfigureReply;
use crate::store::metering::operation::{Idempotency, Operation};

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
    /// Each with its `id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies: Option<Vec<PolicyBody>>,
    /// Each with its `id`. A new one gets a secret, which `POST webhooks/{id}/rotate-secret` tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Vec<WebhookBody>>,
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
    /// As those see it who may not edit it.
    #[must_use]
    pub fn masked(self) -> Self {
        let masked = |webhooks: Vec<WebhookBody>| webhooks.into_iter().map(WebhookBody::masked).collect();
        Self { webhooks: self.webhooks.map(masked), ..self }
    }

    /// The draft that makes what is `present` match. All faults of the document's own shape at once.
    pub(in crate::service) fn draft(&self, placement: Placement, present: &Present) -> Result<Draft, ServiceError> {
        let mut faults = Vec::new();
        let mut draft = Draft { placement, settings: self.app.clone(), settings_path: "app", ..Draft::default() };
        if let Some(plans) = &self.plans {
            draft.plans = named("plans", plans, |body| body.id.as_deref(), PlanId::parse, &mut faults);
            draft.delete = gone(&present.plans, &draft.plans);
        }
        if let Some(policies) = &self.policies {
            draft.policies = named("policies", policies, |body| body.id.as_deref(), PolicyId::parse, &mut faults);
            draft.delete_policies = gone(&present.policies, &draft.policies);
        }
        if let Some(webhooks) = &self.webhooks {
            draft.webhooks = named("webhooks", webhooks, |body| body.id.as_deref(), WebhookId::parse, &mut faults);
            draft.delete_webhooks = gone(&present.webhooks, &draft.webhooks);
        }
        if faults.is_empty() { Ok(draft) } else { Err(ServiceError::Invalid(faults)) }
    }
}

/// Ids of what there is.
pub(in crate::service) struct Present {
    plans: Vec<PlanId>,
    policies: Vec<PolicyId>,
    webhooks: Vec<WebhookId>,
}

impl Present {
    pub(in crate::service) fn of(config: &AppConfig) -> Self {
        Self {
            plans: config.plans.keys().cloned().collect(),
            policies: config.policies.iter().map(|policy| policy.id.clone()).collect(),
            webhooks: config.webhooks.keys().cloned().collect(),
        }
    }
}

/// Bodies by their ids, each with its path.
fn named<T: Clone, I>(
    list: &str,
    bodies: &[T],
    id: impl Fn(&T) -> Option<&str>,
    parse: impl Fn(&str) -> Result<I, NameError>,
    faults: &mut Vec<FieldError>,
) -> Vec<(String, I, T)> {
    let mut named = Vec::new();
    for (place, body) in bodies.iter().enumerate() {
        let path = format!("{list}[{place}]");
        match id(body).map(&parse) {
            None => faults.push(FieldError::new(format!("{path}.id"), "is missing")),
            Some(Err(error)) => faults.push(FieldError::new(format!("{path}.id"), error.to_string())),
            Some(Ok(id)) => named.push((path, id, body.clone())),
        }
    }
    named
}

/// What is present and not wanted, by id.
fn gone<I: Ord + Clone, T>(present: &[I], wanted: &[(String, I, T)]) -> Vec<I> {
    let mut gone: Vec<I> =
        present.iter().filter(|id| !wanted.iter().any(|(_, wanted, _)| wanted == *id)).cloned().collect();
    gone.sort();
    gone
}

impl Gateway {
    /// The present configuration as a document to apply.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn configuration(&self, tenant: &Tenant) -> Result<Configuration, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let plans = config.sorted_plans().into_iter().map(|plan| plan.body.clone()).collect();
        let policies = config.policies.iter().map(|policy| policy.body.clone()).collect();
        let mut webhooks: Vec<WebhookBody> = config.webhooks.values().map(|webhook| webhook.body.clone()).collect();
        webhooks.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(Configuration {
            app: Some(config.settings.clone()),
            plans: Some(plans),
            policies: Some(policies),
            webhooks: Some(webhooks),
        })
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
        let draft = document.draft(tenant.placement, &Present::of(&config))?;
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
        let operation = Operation::new("configuration", idempotency, false);
        // What a repetition would delete today is not what was asked for then: nothing may be closed for it.
        match self.store.configured_before(&tenant.app, &operation).await? {
            Some(ConfigureReply::Before(first)) => return read(&first),
            Some(_) => return Err(ServiceError::IdempotencyKeyReused),
            None => {}
        }
        let config = self.load_config(&tenant.app).await?;
        let draft = document.draft(tenant.placement, &Present::of(&config))?;
        let preview = self.preview(tenant, &config, &draft).await?;
        // Plans to delete take no new users, on any node; then those on them are counted.
        self.close_plans(tenant, &draft.delete).await?;
        let written = self.write_closed(tenant, document, &draft, &preview, by, &operation).await;
        // Not after a failure only: a parallel call with the same key may have been first.
        self.reopen_plans(tenant, &draft.delete).await?;
        read(&written?)
    }

    async fn write_closed(
        &self,
        tenant: &Tenant,
        document: &Configuration,
        draft: &Draft,
        preview: &Preview,
        by: &KeyId,
        operation: &Operation,
    ) -> Result<String, ServiceError> {
        self.nobody_on(tenant, &draft.delete).await?;
        self.write_config(&tenant.app, tenant.placement, operation, 0, async |config, revision| {
            still_closed(config, &draft.delete, revision)?;
            // What somebody else made meanwhile was not looked at: it stays.
            let mut present = Present::of(config);
            present.plans.retain(|id| draft.delete.contains(id));
            present.policies.retain(|id| draft.delete_policies.contains(id));
            present.webhooks.retain(|id| draft.delete_webhooks.contains(id));
            let now = document.draft(tenant.placement, &present)?;
            let mut change = now.change(config, revision, by)?;
            let applied = Applied { applied: !change.unchanged, preview: preview.clone() };
            change.answer = json(&applied)?;
            Ok(change)
        })
        .await
    }
}

fn read(answer: &str) -> Result<Applied, ServiceError> {
    serde_json::from_str(answer).map_err(|_| ServiceError::IdempotencyKeyReused)
}

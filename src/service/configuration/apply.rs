//! Configuration as code: makes the configuration match a document, completely or not at all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app_config::{AppConfig, Settings};
use super::draft::{Changed, Draft};
use super::plans::{IfMatch, still_closed};
use super::preview::Preview;
use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::configuration::policy::Policy;
use crate::domain::configuration::policy_body::PolicyBody;
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::{KeyId, NameError, PlanId, PolicyId, WebhookId};
use crate::domain::webhooks::webhook::WebhookBody;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::{Placement, Tenant};
use crate::service::webhooks::new_secrets::NewSecrets;
use crate::store::configuration::configure::ConfigureReply;
use crate::store::metering::operation::Operation;

/// The configuration of an app. A section that is left out stays unchanged; in a section that is present, entries that
/// the document does not list are deleted, or with `prune=false` stay unchanged.
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
    /// Each with its `id`. A new webhook gets a secret, which the response shows once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Vec<WebhookBody>>,
}

/// The result of applying a document.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// False for a dry run, or if nothing differs.
    pub applied: bool,
    #[serde(flatten)]
    pub preview: Preview,
    /// Of a dry run: the revision of the configuration that the document was compared with, for `If-Match`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// With `prune=false`: the entries that the document does not list and that stay, as `plan:<id>`, `policy:<id>` or
    /// `webhook:<id>`.
    #[serde(default)]
    pub unlisted: Vec<String>,
    /// The secrets of the webhooks that were created, by their ids. They are shown once, and not when the call is
    /// repeated by its idempotency key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub webhook_secrets: BTreeMap<String, String>,
}

/// A document, and how it is to be applied.
#[derive(Clone, Copy, Debug)]
pub struct ApplyRequest<'a> {
    pub document: &'a Configuration,
    /// Delete entries that a section of the document does not list.
    pub prune: bool,
    /// The revision of the configuration that the caller has seen.
    pub if_match: IfMatch,
}

/// What applying a document would change.
#[derive(Debug)]
pub struct ApplyPreview {
    pub applied: Applied,
    /// Of the configuration that the document was compared with.
    pub revision: u64,
    /// Why it would be refused.
    pub refusal: Option<ServiceError>,
}

impl Configuration {
    /// The result as callers see it who may not edit webhooks.
    #[must_use]
    pub fn masked(self) -> Self {
        let masked = |webhooks: Vec<WebhookBody>| webhooks.into_iter().map(WebhookBody::masked).collect();
        Self { webhooks: self.webhooks.map(masked), ..self }
    }

    /// The faults of each document alone, without comparing them with each other or with the present configuration.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut found = Vec::new();
        let mut add = |list: &str, place: usize, faults: Vec<FieldError>| {
            found.extend(faults.into_iter().map(|fault| fault.within(&format!("{list}[{place}]"))));
        };
        for (place, body) in self.plans.iter().flatten().enumerate() {
            add("plans", place, Plan::faults(body.id.as_deref().unwrap_or_default(), body));
        }
        for (place, body) in self.policies.iter().flatten().enumerate() {
            add("policies", place, Policy::faults(body.id.as_deref().unwrap_or_default(), body));
        }
        for (place, body) in self.webhooks.iter().flatten().enumerate() {
            add("webhooks", place, body.faults());
        }
        found
    }

    /// The draft that turns `present` into this document. Returns all faults in the document's shape at once.
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

/// The IDs of the present configuration.
#[derive(Default)]
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

/// Bodies with their IDs and paths.
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
            None => faults.push(FieldError::new(format!("{path}.id"), "is required")),
            Some(Err(error)) => faults.push(FieldError::new(format!("{path}.id"), error.to_string())),
            Some(Ok(id)) => named.push((path, id, body.clone())),
        }
    }
    named
}

/// The IDs that are present but not wanted.
fn gone<I: Ord + Clone, T>(present: &[I], wanted: &[(String, I, T)]) -> Vec<I> {
    let mut gone: Vec<I> =
        present.iter().filter(|id| !wanted.iter().any(|(_, wanted, _)| wanted == *id)).cloned().collect();
    gone.sort();
    gone
}

impl ApplyRequest<'_> {
    /// Checked against the present configuration: what is to be written, and what stays although it is not named.
    fn draft(&self, placement: Placement, config: &AppConfig) -> Result<(Draft, Vec<String>), ServiceError> {
        self.if_match.check(Some(config.revision))?;
        let draft = self.document.draft(placement, &Present::of(config))?;
        if self.prune {
            return Ok((draft, Vec::new()));
        }
        let plans = draft.delete.iter().map(|id| format!("plan:{id}"));
        let policies = draft.delete_policies.iter().map(|id| format!("policy:{id}"));
        let webhooks = draft.delete_webhooks.iter().map(|id| format!("webhook:{id}"));
        let unlisted = plans.chain(policies).chain(webhooks).collect();
        let (delete, delete_policies, delete_webhooks) = Default::default();
        Ok((Draft { delete, delete_policies, delete_webhooks, ..draft }, unlisted))
    }
}

/// A draft whose deleted plans accept no new users any more.
struct ClosedDraft<'a> {
    draft: &'a Draft,
    applied: &'a Applied,
    /// The changes that the caller has confirmed.
    expected: Option<Vec<Changed>>,
}

impl Gateway {
    /// The present configuration as a document to apply, with its revision.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn configuration(&self, tenant: &Tenant) -> Result<(Configuration, u64), ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let plans = config.sorted_plans().into_iter().map(|plan| plan.body.clone()).collect();
        let policies = config.policies.iter().map(|policy| policy.body.clone()).collect();
        let mut webhooks: Vec<WebhookBody> = config.webhooks.values().map(|webhook| webhook.body.clone()).collect();
        webhooks.sort_by(|one, other| one.id.cmp(&other.id));
        let document = Configuration {
            app: Some(config.settings.clone()),
            plans: Some(plans),
            policies: Some(policies),
            webhooks: Some(webhooks),
        };
        Ok((document, config.revision))
    }

    /// What applying the document would change, and why it would be refused.
    ///
    /// # Errors
    /// [`ServiceError`], if that cannot be said.
    pub async fn preview_configuration(
        &self,
        tenant: &Tenant,
        wanted: &ApplyRequest<'_>,
    ) -> Result<ApplyPreview, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let (draft, unlisted) = wanted.draft(tenant.placement, &config)?;
        let (preview, refusal) = match self.preview(tenant, &config, &draft).await {
            Ok(preview) => (preview, self.nobody_on(tenant, &draft.delete).await.err()),
            Err(error) => (Preview::unchecked(&config, &draft)?, Some(error)),
        };
        let refusal = match refusal {
            None | Some(ServiceError::Invalid(_) | ServiceError::PlanInUse(_)) => refusal,
            Some(error) => return Err(error),
        };
        let revision = config.revision;
        let applied =
            Applied { applied: false, preview, revision: Some(revision), unlisted, webhook_secrets: BTreeMap::new() };
        Ok(ApplyPreview { applied, revision, refusal })
    }

    /// Makes the configuration match the document, in one step. Returns the changes.
    ///
    /// # Errors
    /// [`ServiceError`]; then nothing has changed.
    pub async fn apply(
        &self,
        tenant: &Tenant,
        wanted: &ApplyRequest<'_>,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<Applied, ServiceError> {
        let operation = Operation::new("configuration", idempotency, false);
        // A repetition must not delete what was added after the first call, so no plan may be closed for it.
        match self.store.configured_before(&tenant.app, &operation).await? {
            Some(ConfigureReply::Before(first)) => return NewSecrets::new().answer(&first).map(|(applied, _)| applied),
            Some(_) => return Err(ServiceError::IdempotencyKeyReused),
            None => {}
        }
        let config = self.load_config(&tenant.app).await?;
        let (draft, unlisted) = wanted.draft(tenant.placement, &config)?;
        let preview = self.preview(tenant, &config, &draft).await?;
        let expected = match wanted.if_match {
            IfMatch::Version(_) => Some(draft.check(&config, config.revision)?.changed),
            IfMatch::Absent | IfMatch::Any => None,
        };
        let applied = Applied { applied: false, preview, revision: None, unlisted, webhook_secrets: BTreeMap::new() };
        // Plans to delete take no new users, on any node; then those on them are counted.
        self.close_plans(tenant, &draft.delete).await?;
        let written = self
            .write_closed(tenant, wanted, ClosedDraft { draft: &draft, applied: &applied, expected }, by, &operation)
            .await;
        // Not after a failure only: a parallel call with the same key may have been first.
        self.reopen_plans(tenant, &draft.delete).await?;
        written
    }

    async fn write_closed(
        &self,
        tenant: &Tenant,
        wanted: &ApplyRequest<'_>,
        closed: ClosedDraft<'_>,
        by: &KeyId,
        operation: &Operation,
    ) -> Result<Applied, ServiceError> {
        let ClosedDraft { draft, applied, expected } = closed;
        self.nobody_on(tenant, &draft.delete).await?;
        let new = NewSecrets::new();
        let kept = self
            .write_config(&tenant.app, tenant.placement, operation, 0, async |config, revision| {
                still_closed(config, &draft.delete, revision)?;
                // What somebody else made meanwhile was not looked at: it stays.
                let mut present = Present::of(config);
                present.plans.retain(|id| draft.delete.contains(id));
                present.policies.retain(|id| draft.delete_policies.contains(id));
                present.webhooks.retain(|id| draft.delete_webhooks.contains(id));
                let now = wanted.document.draft(tenant.placement, &present)?;
                if let Some(expected) = &expected {
                    let changed = now.check(config, revision)?.changed;
                    // Nothing is left to change after a write whose connection was cut.
                    if !changed.is_empty() && changed != *expected {
                        return Err(ServiceError::VersionConflict);
                    }
                }
                let mut change = now.change(config, revision, by)?;
                let applied = Applied { applied: !change.unchanged, ..applied.clone() };
                change.answer = new.keep(config, &change, &applied)?;
                Ok(change)
            })
            .await?;
        let (applied, webhook_secrets) = new.answer(&kept)?;
        Ok(Applied { webhook_secrets, ..applied })
    }
}

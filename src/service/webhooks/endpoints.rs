//! The webhooks of an app; their messages are created in [`super::outbox`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deliveries::{DeliveryHealth, no_webhook};
use super::new_secrets::NewSecrets;
use crate::domain::access::audit::AuditEntry;
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::ids::{KeyId, Mode, WebhookId};
use crate::domain::webhooks::webhook::WebhookBody;
use crate::service::configuration::app_config::{AppConfig, Change, StoredWebhook};
use crate::service::configuration::draft::Draft;
use crate::service::configuration::plans::IfMatch;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::{Author, Tenant};
use crate::store::keys::Bucket;
use crate::store::metering::operation::Operation;

/// How long the previous secret still signs after a rotation.
pub const ROTATION_MS: TimeMs = 24 * 60 * 60 * 1000;

/// A webhook. Its secret is shown only in the answer to the call that creates or rotates it, and not if that call is
/// repeated with its idempotency key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookView {
    #[serde(flatten)]
    pub body: WebhookBody,
    pub version: u64,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Standard Webhooks: `whsec_` + base64 of 32 random bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// How its deliveries go, in the mode of the call; only where webhooks are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<DeliveryHealth>,
}

fn view(webhook: &StoredWebhook) -> WebhookView {
    WebhookView {
        body: webhook.body.clone(),
        version: webhook.version,
        created_at: webhook.created_at.clone(),
        secret: None,
        deliveries: None,
    }
}

/// The stored answer, with the secret if this attempt created it.
fn answer(new: NewSecrets, stored: &str) -> Result<WebhookView, ServiceError> {
    let (view, secrets): (WebhookView, _) = new.answer(stored)?;
    Ok(WebhookView { secret: secrets.into_values().next(), ..view })
}

impl WebhookView {
    /// The webhook as callers see it who may not edit it.
    #[must_use]
    pub fn masked(self) -> Self {
        Self { body: self.body.masked(), ..self }
    }
}

impl Gateway {
    /// All webhooks, by ID, without their secrets.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn webhooks(&self, tenant: &Tenant) -> Result<Vec<WebhookView>, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let mut webhooks: Vec<WebhookView> = config.webhooks.values().map(|webhook| view(webhook.as_ref())).collect();
        webhooks.sort_by(|one, other| one.body.id.cmp(&other.body.id));
        for webhook in &mut webhooks {
            webhook.deliveries = self.health_of(tenant, webhook.body.id.as_deref()).await?;
        }
        Ok(webhooks)
    }

    /// # Errors
    /// [`ServiceError`]
    pub async fn webhook(&self, tenant: &Tenant, id: &str) -> Result<WebhookView, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let webhook = WebhookId::parse(id).ok().and_then(|id| config.webhooks.get(&id).cloned());
        let webhook = webhook.map(|webhook| view(webhook.as_ref())).ok_or_else(|| no_webhook(id))?;
        Ok(WebhookView { deliveries: self.health_of(tenant, Some(id)).await?, ..webhook })
    }

    async fn health_of(&self, tenant: &Tenant, id: Option<&str>) -> Result<Option<DeliveryHealth>, ServiceError> {
        match id.and_then(|id| WebhookId::parse(id).ok()) {
            Some(id) => Ok(Some(self.delivery_health(tenant, &id).await?)),
            None => Ok(None),
        }
    }

    /// Creates or replaces a webhook; repeating the same body changes nothing. The call that creates it returns its
    /// secret.
    ///
    /// # Errors
    /// [`ServiceError`]; all faults of the body at once.
    pub async fn put_webhook(
        &self,
        tenant: &Tenant,
        id: &str,
        body: &WebhookBody,
        if_match: IfMatch,
        author: Author<'_>,
    ) -> Result<WebhookView, ServiceError> {
        let given = body.id.as_deref().is_some_and(|given| given != id);
        let id = WebhookId::parse(id).map_err(|error| ServiceError::invalid("id", error.to_string()))?;
        if given {
            return Err(ServiceError::invalid("id", format!("must be `{id}`, as in the path, or left out")));
        }
        if body.names_private_address() && !self.webhooks_may_be_private {
            let message = "must be a public address; QUOTAGATE_WEBHOOK_ALLOW_PRIVATE=1 allows private ones";
            return Err(ServiceError::invalid("url", message));
        }
        let webhooks = vec![(String::new(), id.clone(), body.clone())];
        let draft = Draft { placement: tenant.placement, webhooks, ..Draft::default() };
        let operation = Operation::new("configuration", author.idempotency, false);
        let new = NewSecrets::new();
        let text = self
            .write_config(&tenant.app, tenant.placement, &operation, 0, async |config, revision| {
                if_match.check(config.webhooks.get(&id).map(|present| present.version))?;
                let mut change = draft.change(config, revision, author.key)?;
                let answer = match (change.set.first(), config.webhooks.get(&id)) {
                    (Some((_, text)), _) => {
                        let stored: StoredWebhook =
                            serde_json::from_str(text).map_err(|error| ServiceError::Internal(error.to_string()))?;
                        view(&stored)
                    }
                    (None, Some(present)) => view(present.as_ref()),
                    (None, None) => return Err(ServiceError::Internal("a webhook that is not written".to_owned())),
                };
                change.answer = new.keep(config, &change, &answer)?;
                Ok(change)
            })
            .await?;
        answer(new, &text)
    }

    /// Deletes a webhook and its pending deliveries.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn delete_webhook(
        &self,
        tenant: &Tenant,
        id: &str,
        if_match: IfMatch,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<(), ServiceError> {
        let id = WebhookId::parse(id).map_err(|_| no_webhook(id))?;
        let draft = Draft { placement: tenant.placement, delete_webhooks: vec![id.clone()], ..Draft::default() };
        let operation = Operation::new("configuration", idempotency, false);
        self.write_config(&tenant.app, tenant.placement, &operation, 0, async |config, revision| {
            let present = config.webhooks.get(&id).ok_or_else(|| no_webhook(id.as_str()))?;
            if_match.check(Some(present.version))?;
            draft.change(config, revision, by)
        })
        .await?;
        let sandboxes = self.config(&tenant.app).await?.sandboxes.clone();
        for mode in std::iter::once(Mode::Live).chain(sandboxes.into_iter().map(Mode::Test)) {
            self.store.drop_deliveries(&Bucket::whole(&tenant.app, &mode), &id).await?;
        }
        Ok(())
    }

    /// Creates a new secret. The previous one signs as well for 24 hours.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn rotate_secret(
        &self,
        tenant: &Tenant,
        id: &str,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<WebhookView, ServiceError> {
        let id = WebhookId::parse(id).map_err(|_| no_webhook(id))?;
        let operation = Operation::new("configuration", idempotency, true);
        let new = NewSecrets::new();
        let text = self
            .write_config(&tenant.app, tenant.placement, &operation, 0, async |config, revision| {
                let present = config.webhooks.get(&id).ok_or_else(|| no_webhook(id.as_str()))?;
                let now_ms = TimeMs::try_from(revision / 1000).unwrap_or(TimeMs::MAX);
                let rotated = StoredWebhook {
                    secret: StoredWebhook::new_secret(),
                    previous: Some((present.secret.clone(), now_ms.saturating_add(ROTATION_MS))),
                    ..present.as_ref().clone()
                };
                let audit_entry = AuditEntry {
                    actor: by.to_string(),
                    action: "webhook.rotate".to_owned(),
                    target: format!("webhook:{id}"),
                    after: Some(format!("\"the former secret signs until {}\"", rfc3339(now_ms + ROTATION_MS))),
                    ..AuditEntry::default()
                };
                let set = vec![AppConfig::webhook_field(&id, &rotated)?];
                let change = Change { set, audit_entries: vec![audit_entry], ..Change::default() };
                Ok(Change { answer: new.keep(config, &change, view(&rotated))?, ..change })
            })
            .await?;
        answer(new, &text)
    }
}

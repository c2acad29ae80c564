//! Deliveries to webhooks: claimed by a node, attempted, listed, resent.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::access::audit::AuditEntry;
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::ids::{KeyId, WebhookId};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::keys::Bucket;
use crate::store::webhooks::deliveries::{AttemptResult, NewDelivery, StoredDelivery};

/// Deliveries that the health of a webhook is computed from.
const NEWEST: usize = 100;

/// The status of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    Pending,
    Delivered,
    /// Failed for 24 hours and given up.
    Dead,
}

impl DeliveryStatus {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "pending" => Some(Self::Pending),
            "delivered" => Some(Self::Delivered),
            "dead" => Some(Self::Dead),
            _ => None,
        }
    }
}

/// One message to one webhook.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryView {
    /// Also sent as the `webhook-id` header, the same in every attempt.
    pub id: String,
    pub event: String,
    pub status: DeliveryStatus,
    /// RFC 3339, UTC, as all times here.
    pub created_at: String,
    pub attempts: u64,
    pub last_attempt_at: Option<String>,
    /// Null if there is no further attempt.
    pub next_attempt_at: Option<String>,
    /// The status of the last response; null if there was none.
    pub response_status: Option<u16>,
    /// Why the last attempt failed; null if it succeeded.
    pub error: Option<String>,
    /// The message that is sent.
    #[schema(value_type = Object)]
    pub payload: serde_json::Value,
}

/// How the deliveries to a webhook go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryHealth {
    /// Of the newest 100 deliveries, those that were attempted.
    pub attempted: u64,
    /// Of these, those whose last attempt failed.
    pub failed: u64,
    /// Waiting for an attempt.
    pub pending: u64,
    /// Dead letters: given up after 24 hours.
    pub dead: u64,
    /// The last attempt; null if there was none.
    pub last: Option<LastAttempt>,
}

/// The last attempt to deliver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastAttempt {
    /// RFC 3339, UTC.
    pub at: String,
    /// The HTTP status; null without an answer.
    pub response_status: Option<u16>,
    /// Null if it succeeded.
    pub error: Option<String>,
}

/// A delivery that this node has to attempt.
#[derive(Clone, Debug)]
pub struct Due {
    pub tenant: Tenant,
    pub webhook: WebhookId,
    pub url: String,
    /// The message is signed with each of them.
    pub secrets: Vec<String>,
    pub message: String,
    pub body: String,
    /// Attempts so far.
    pub attempts: u64,
    pub taken_at_ms: TimeMs,
}

/// All deliveries of an app and mode are in one slot, whatever its placement.
fn bucket_of(tenant: &Tenant) -> Bucket {
    Bucket::whole(&tenant.app, &tenant.mode)
}

fn view(stored: StoredDelivery) -> Option<DeliveryView> {
    Some(DeliveryView {
        id: stored.message,
        event: stored.event,
        status: DeliveryStatus::parse(&stored.status)?,
        created_at: rfc3339(stored.created_at_ms),
        attempts: stored.attempts,
        last_attempt_at: stored.attempted_at_ms.map(rfc3339),
        next_attempt_at: stored.next_at_ms.map(rfc3339),
        response_status: stored.code,
        error: stored.fault,
        payload: serde_json::from_str(&stored.body).ok()?,
    })
}

impl Gateway {
    /// A webhook's deliveries, newest first. Returns a page and the cursor of the next one.
    ///
    /// # Errors
    /// [`ServiceError`]; not found if there is no such webhook.
    pub async fn deliveries(
        &self,
        tenant: &Tenant,
        id: &str,
        status: Option<DeliveryStatus>,
        mut offset: usize,
        count: usize,
    ) -> Result<(Vec<DeliveryView>, Option<usize>), ServiceError> {
        let webhook = self.known_webhook(tenant, id).await?;
        let (bucket, dead) = (bucket_of(tenant), status == Some(DeliveryStatus::Dead));
        let mut found = Vec::new();
        loop {
            let messages = self.store.messages(&bucket, &webhook, dead, offset, count).await?;
            let last = messages.len() < count;
            for message in messages {
                offset += 1;
                let stored = self.store.delivery(&bucket, &webhook, &message).await?;
                let wanted = stored.and_then(view).filter(|view| status.is_none_or(|status| status == view.status));
                found.extend(wanted);
                if found.len() == count {
                    return Ok((found, Some(offset)));
                }
            }
            if last {
                return Ok((found, None));
            }
        }
    }

    /// Attempts a delivery again now, and for another 24 hours if that fails.
    ///
    /// # Errors
    /// [`ServiceError`]; not found if the delivery is no longer stored.
    pub async fn resend(
        &self,
        tenant: &Tenant,
        id: &str,
        message: &str,
        by: &KeyId,
    ) -> Result<DeliveryView, ServiceError> {
        let webhook = self.known_webhook(tenant, id).await?;
        let bucket = bucket_of(tenant);
        let missing = || ServiceError::NotFound(format!("Delivery `{message}` of webhook `{id}` not found."));
        let now_ms = self.delivery_now_ms().await?;
        if !self.store.enqueue_again(&bucket, &webhook, message, now_ms).await? {
            return Err(missing());
        }
        let audit_entry = AuditEntry {
            actor: by.to_string(),
            action: "webhook.resend".to_owned(),
            target: format!("webhook:{webhook}"),
            note: Some(message.to_owned()),
            ..AuditEntry::default()
        };
        self.store.log(&bucket.audit(), &audit_entry).await?;
        self.store.delivery(&bucket, &webhook, message).await?.and_then(view).ok_or_else(missing)
    }

    /// How the newest deliveries to a webhook went.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(crate) async fn delivery_health(
        &self,
        tenant: &Tenant,
        webhook: &WebhookId,
    ) -> Result<DeliveryHealth, ServiceError> {
        let bucket = bucket_of(tenant);
        let (pending, dead) = self.store.open_deliveries(&bucket, webhook, self.delivery_now_ms().await?).await?;
        let mut health = DeliveryHealth { pending, dead, ..DeliveryHealth::default() };
        let mut last_at_ms = 0;
        for attempt in self.store.last_attempts(&bucket, webhook, NEWEST).await? {
            health.attempted += 1;
            health.failed += u64::from(attempt.fault.is_some());
            if attempt.at_ms >= last_at_ms {
                last_at_ms = attempt.at_ms;
                let (response_status, error) = (attempt.code, attempt.fault);
                health.last = Some(LastAttempt { at: rfc3339(attempt.at_ms), response_status, error });
            }
        }
        Ok(health)
    }

    async fn known_webhook(&self, tenant: &Tenant, id: &str) -> Result<WebhookId, ServiceError> {
        let webhook = WebhookId::parse(id).map_err(|_| no_webhook(id))?;
        match self.load_config(&tenant.app).await?.webhooks.contains_key(&webhook) {
            true => Ok(webhook),
            false => Err(no_webhook(id)),
        }
    }

    /// Real time in every mode, since receivers do not follow the test clock.
    pub(crate) async fn delivery_now_ms(&self) -> Result<TimeMs, ServiceError> {
        Ok(TimeMs::try_from(self.store.time_us().await? / 1000).unwrap_or(TimeMs::MAX))
    }

    /// Creates the delivery of a message to a webhook; repeated calls create it once.
    pub(crate) async fn make_out(
        &self,
        tenant: &Tenant,
        webhook: &WebhookId,
        new: NewDelivery<'_>,
    ) -> Result<(), ServiceError> {
        let now_ms = self.delivery_now_ms().await?;
        Ok(self.store.enqueue(&bucket_of(tenant), webhook, new, now_ms).await?)
    }

    /// Claims due deliveries of one webhook. They become due again after `lease_ms` in case this node dies.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn claim_due(
        &self,
        tenant: &Tenant,
        webhook: &WebhookId,
        count: usize,
        lease_ms: TimeMs,
    ) -> Result<Vec<Due>, ServiceError> {
        let bucket = bucket_of(tenant);
        let messages = self.store.claim_deliveries(&bucket, webhook, count, lease_ms).await?;
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let config = self.config(&tenant.app).await?;
        let Some(known) = config.webhooks.get(webhook) else { return Ok(Vec::new()) };
        let now_ms = self.delivery_now_ms().await?;
        let former = known.previous.iter().filter(|(_, until)| now_ms < *until).map(|(secret, _)| secret.clone());
        let secrets: Vec<String> = std::iter::once(known.secret.clone()).chain(former).collect();
        let mut due = Vec::new();
        for message in messages {
            // A delivery that is no longer stored is not due.
            let stored = self.store.delivery(&bucket, webhook, &message).await?;
            let Some(StoredDelivery { body, attempts, .. }) = stored else {
                let nothing = AttemptResult { delivered: false, code: None, fault: None, wait_ms: 0, give_up_ms: 0 };
                self.attempted(tenant, webhook, &message, &nothing).await?;
                continue;
            };
            let (url, secrets) = (known.body.url.clone(), secrets.clone());
            let (tenant, webhook) = (tenant.clone(), webhook.clone());
            due.push(Due { tenant, webhook, url, secrets, message, body, attempts, taken_at_ms: now_ms });
        }
        Ok(due)
    }

    /// Records the result of an attempt.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn attempted(
        &self,
        tenant: &Tenant,
        webhook: &WebhookId,
        message: &str,
        attempt: &AttemptResult<'_>,
    ) -> Result<(), ServiceError> {
        let status = self.store.attempted(&bucket_of(tenant), webhook, message, attempt).await?;
        let outcome = match status.as_deref() {
            Some("delivered") => "delivered",
            Some("dead") => "dead",
            Some(_) => "failed",
            None => "dropped",
        };
        metrics::counter!("quotagate_webhook_attempts_total", "outcome" => outcome).increment(1);
        Ok(())
    }
}

pub(crate) fn no_webhook(id: &str) -> ServiceError {
    ServiceError::NotFound(format!("Webhook `{id}` not found."))
}

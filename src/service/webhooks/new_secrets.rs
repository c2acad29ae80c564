//! Secrets of webhooks on their way to the one answer that shows them. The answer that is stored for repetitions does
//! not contain them, but names the attempt that created them; only that attempt adds them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::values::ids::WebhookId;
use crate::service::access::key_record::random_text;
use crate::service::configuration::app_config::{AppConfig, Change, StoredWebhook};
use crate::service::error::{ServiceError, json};

/// The secrets that one attempt creates, by webhook.
pub(in crate::service) struct NewSecrets {
    attempt: String,
    secrets: Mutex<BTreeMap<String, String>>,
}

/// An answer as stored.
#[derive(Serialize, Deserialize)]
struct StoredAnswer<T> {
    #[serde(flatten)]
    answer: T,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<String>,
}

impl NewSecrets {
    pub fn new() -> Self {
        Self { attempt: random_text(), secrets: Mutex::default() }
    }

    /// Notes the secrets that a change creates. Returns the answer to store.
    pub fn keep(&self, config: &AppConfig, change: &Change, answer: impl Serialize) -> Result<String, ServiceError> {
        let present = |id: &str| WebhookId::parse(id).ok().and_then(|id| config.webhooks.get(&id));
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        // A change that lost its race was not written; one whose connection was cut may have been.
        secrets.retain(|id, secret| present(id).is_some_and(|webhook| webhook.secret == *secret));
        for (field, text) in &change.set {
            let Some(id) = field.strip_prefix("webhook:") else { continue };
            let stored: StoredWebhook =
                serde_json::from_str(text).map_err(|error| ServiceError::Internal(error.to_string()))?;
            if present(id).is_none_or(|webhook| webhook.secret != stored.secret) {
                secrets.insert(id.to_owned(), stored.secret);
            }
        }
        json(&StoredAnswer { answer, attempt: (!secrets.is_empty()).then(|| self.attempt.clone()) })
    }

    /// The stored answer, and the secrets if this attempt created them.
    pub fn answer<T: DeserializeOwned>(self, stored: &str) -> Result<(T, BTreeMap<String, String>), ServiceError> {
        let stored: StoredAnswer<T> = serde_json::from_str(stored).map_err(|_| ServiceError::IdempotencyKeyReused)?;
        let own = stored.attempt.is_some_and(|attempt| attempt == self.attempt);
        let secrets = self.secrets.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((stored.answer, if own { secrets } else { BTreeMap::new() }))
    }
}

//! Sessions of the dashboard: an admin key is exchanged for a random ID that the browser stores in a cookie. Redis
//! stores only the SHA-256 of the ID and of the key, so neither can be read from it, and a session ends with its key.
//! Every node can check every session.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::key_record::{KeyKind, KeyRecord, hash, random_text};
use crate::domain::access::audit::AuditEntry;
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::store::keys;

/// A working day.
pub const LIFETIME_MS: u64 = 12 * 60 * 60 * 1000;

/// A session as stored, under the SHA-256 of its ID.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredSession {
    /// SHA-256 of the key that it was created with.
    key_hash: String,
    expires_at: String,
}

/// A running session.
#[derive(Clone, Debug)]
pub struct Session {
    /// The content of the cookie.
    pub id: String,
    pub key: Arc<KeyRecord>,
    pub expires_at: String,
}

impl Session {
    /// The token that every write by cookie must carry. A page of another origin can send the cookie, but does not
    /// know the token.
    pub fn csrf_token(&self) -> String {
        csrf_token(&self.id)
    }

    /// Compared in constant time.
    pub fn accepts_csrf_token(&self, token: Option<&str>) -> bool {
        token.is_some_and(|token| token.as_bytes().ct_eq(self.csrf_token().as_bytes()).into())
    }
}

/// Derived from the ID, so that a reloaded page can ask for it.
fn csrf_token(id: &str) -> String {
    // This MAC accepts keys of any length.
    Hmac::<Sha256>::new_from_slice(id.as_bytes()).map_or_else(
        |_| String::new(),
        |mut mac| {
            mac.update(b"csrf token");
            hex::encode(mac.finalize().into_bytes())
        },
    )
}

impl Gateway {
    /// Exchanges an admin key for a session.
    ///
    /// # Errors
    /// An unknown key, or one of another kind.
    pub async fn open_session(&self, key: &str) -> Result<Session, ServiceError> {
        let record = self.authenticate(key).await?;
        if record.kind != KeyKind::Admin {
            return Err(ServiceError::ForbiddenKey("Only an admin key (`ak_…`) can sign in.".to_owned()));
        }
        let id = random_text();
        self.store.verify_identity().await?;
        let now_ms = TimeMs::try_from(self.store.time_us().await? / 1000).unwrap_or(0);
        let expires_at = rfc3339(now_ms + TimeMs::try_from(LIFETIME_MS).unwrap_or(0));
        let kept = json(&StoredSession { key_hash: hash(key), expires_at: expires_at.clone() })?;
        let (log, audit_entry) = self.session_audit_entry(&record, "session.open", Some(&expires_at))?;
        self.store.keep_session(&hash(&id), &kept, LIFETIME_MS, &log, &audit_entry).await?;
        Ok(Session { id, key: record, expires_at })
    }

    /// The session with that ID. It ends after its lifetime or when its key is revoked.
    ///
    /// # Errors
    /// [`ServiceError::InvalidKey`]
    pub async fn session(&self, id: &str) -> Result<Session, ServiceError> {
        if id.is_empty() || id.len() > 256 {
            return Err(ServiceError::InvalidKey);
        }
        let text = self.store.session(&hash(id)).await?.ok_or(ServiceError::InvalidKey)?;
        let kept: StoredSession =
            serde_json::from_str(&text).map_err(|error| ServiceError::Internal(format!("a session: {error}")))?;
        let key = self.key_of_hash(&kept.key_hash).await?;
        Ok(Session { id: id.to_owned(), key, expires_at: kept.expires_at })
    }

    /// # Errors
    /// [`ServiceError`]
    pub async fn end_session(&self, session: &Session) -> Result<(), ServiceError> {
        let (log, audit_entry) = self.session_audit_entry(&session.key, "session.end", None)?;
        Ok(self.store.end_session(&hash(&session.id), &log, &audit_entry).await?)
    }

    /// Sign-ins and sign-outs are in the audit log of the key's app; those of the root key in the default app's.
    fn session_audit_entry(
        &self,
        key: &KeyRecord,
        action: &str,
        expires_at: Option<&str>,
    ) -> Result<(String, AuditEntry), ServiceError> {
        let app = self.app_of(key, None)?;
        let audit_entry = AuditEntry {
            actor: key.id.to_string(),
            action: action.to_owned(),
            target: format!("key:{}", key.id),
            after: expires_at.map(|at| json(&serde_json::json!({"expiresAt": at}))).transpose()?,
            ..AuditEntry::default()
        };
        Ok((keys::register_audit(&app), audit_entry))
    }
}

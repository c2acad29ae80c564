//! Sessions of the dashboard: an admin key is exchanged for a random id that a browser keeps in a cookie. What is
//! stored is the SHA-256 of that id and the SHA-256 of the key, so a session ends with its key, and neither can be
//! read from Redis. Any node knows every session.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::keys::{KeyKind, KeyRecord, hash, random_text};
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::store::access::audit::Trail;
use crate::store::keys;

/// A working day.
pub const LIFETIME_MS: u64 = 12 * 60 * 60 * 1000;

/// A session as it is kept, under the SHA-256 of its id.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    /// SHA-256 of the key that it was made with.
    key_hash: String,
    expires_at: String,
}

/// A session that runs.
#[derive(Clone, Debug)]
pub struct Session {
    /// What the cookie holds.
    pub id: String,
    pub key: Arc<KeyRecord>,
    pub expires_at: String,
}

impl Session {
    /// What a write by cookie has to bring along: a page of another origin can send the cookie, but cannot know this.
    pub fn csrf_token(&self) -> String {
        csrf_token(&self.id)
    }

    /// Compared in constant time.
    pub fn accepts_csrf_token(&self, token: Option<&str>) -> bool {
        token.is_some_and(|token| token.as_bytes().ct_eq(self.csrf_token().as_bytes()).into())
    }
}

/// It follows from the id, so that a page that was loaded again can ask for it.
fn csrf_token(id: &str) -> String {
    // A key of any length is one for this MAC.
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
            return Err(ServiceError::ForbiddenKey("only an admin key (`ak_…`) can sign in".to_owned()));
        }
        let id = random_text();
        self.store.verify_identity().await?;
        let now_ms = TimeMs::try_from(self.store.time_us().await? / 1000).unwrap_or(0);
        let expires_at = rfc3339(now_ms + TimeMs::try_from(LIFETIME_MS).unwrap_or(0));
        let kept = json(&Kept { key_hash: hash(key), expires_at: expires_at.clone() })?;
        let (log, trail) = self.session_trail(&record, "session.open", Some(&expires_at))?;
        self.store.keep_session(&hash(&id), &kept, LIFETIME_MS, (&log, &trail)).await?;
        Ok(Session { id, key: record, expires_at })
    }

    /// The session of that id. It ends when its time is over or its key is revoked.
    ///
    /// # Errors
    /// [`ServiceError::InvalidKey`]
    pub async fn session(&self, id: &str) -> Result<Session, ServiceError> {
        if id.is_empty() || id.len() > 256 {
            return Err(ServiceError::InvalidKey);
        }
        let text = self.store.session(&hash(id)).await?.ok_or(ServiceError::InvalidKey)?;
        let kept: Kept =
            serde_json::from_str(&text).map_err(|error| ServiceError::Internal(format!("a session: {error}")))?;
        let key = self.key_of_hash(&kept.key_hash).await?;
        Ok(Session { id: id.to_owned(), key, expires_at: kept.expires_at })
    }

    /// # Errors
    /// [`ServiceError`]
    pub async fn end_session(&self, session: &Session) -> Result<(), ServiceError> {
        let (log, trail) = self.session_trail(&session.key, "session.end", None)?;
        Ok(self.store.end_session(&hash(&session.id), (&log, &trail)).await?)
    }

    /// Who signed in and out is in the audit log of the key's app; of the root key in the default app's.
    fn session_trail(
        &self,
        key: &KeyRecord,
        action: &str,
        expires_at: Option<&str>,
    ) -> Result<(String, Trail), ServiceError> {
        let app = self.app_of(key, None)?;
        let trail = Trail {
            actor: key.id.to_string(),
            action: action.to_owned(),
            target: format!("key:{}", key.id),
            after: expires_at.map(|at| json(&serde_json::json!({"expiresAt": at}))).transpose()?,
            ..Trail::default()
        };
        Ok((keys::register_audit(&app), trail))
    }
}

//! The stored record of an API key: its permissions, and nothing that reveals the key.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

use crate::domain::values::digits::hex_text;
use crate::domain::values::ids::{AppId, KeyId, Mode, Sandbox, UserId};
use crate::domain::values::metadata::Metadata;
use crate::service::error::ServiceError;

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// `sk_`: the app's back end.
    Secret,
    /// `pk_`: browsers.
    Publishable,
    /// `ak_`: operators.
    Admin,
}

/// The permissions of an operator; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Support,
    Approver,
    Admin,
}

/// Live or test, also part of a key's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyMode {
    Live,
    Test,
}

/// A key as stored, without the key itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRecord {
    pub id: KeyId,
    pub kind: KeyKind,
    /// None for the root admin key, which may work on every app.
    pub app: Option<AppId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<KeyMode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// If set, reading usage requires the HMAC of the user ID with this secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_token_secret: Option<String>,
    /// The first characters of the key.
    pub prefix: String,
    pub created_at: String,
}

impl KeyRecord {
    /// The mode of a secret or publishable key; None for an admin key, which works in every mode.
    pub fn fixed_mode(&self) -> Option<Mode> {
        match (self.kind, self.mode, &self.sandbox) {
            (KeyKind::Admin, ..) | (_, None, _) => None,
            (_, Some(KeyMode::Live), _) => Some(Mode::Live),
            (_, Some(KeyMode::Test), Some(sandbox)) => Some(Mode::Test(sandbox.clone())),
            (_, Some(KeyMode::Test), None) => Mode::parse("test").ok(),
        }
    }

    /// Whether this is the token of that user. Compared in constant time.
    pub fn accepts_user_token(&self, user: &UserId, token: Option<&str>) -> bool {
        let Some(secret) = &self.user_token_secret else {
            return true;
        };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
            return false;
        };
        mac.update(user.as_str().as_bytes());
        let expected = hex::encode(mac.finalize().into_bytes());
        token.is_some_and(|token| token.as_bytes().ct_eq(expected.as_bytes()).into())
    }
}

pub(in crate::service) fn hash(key: &str) -> String {
    hex_text(&Sha256::digest(key.as_bytes()))
}

pub(in crate::service) fn admin_record(id: KeyId, app: Option<AppId>, prefix: String, created_at: String) -> KeyRecord {
    KeyRecord {
        id,
        kind: KeyKind::Admin,
        app,
        mode: None,
        sandbox: None,
        role: Some(Role::Admin),
        name: None,
        metadata: Metadata::default(),
        origins: Vec::new(),
        user_token_secret: None,
        prefix,
        created_at,
    }
}

/// Whether this can be a key. Other texts are never looked up in Redis.
pub fn is_plausible(key: &str) -> bool {
    ["sk_", "pk_", "ak_"].iter().any(|prefix| key.starts_with(prefix)) && key.len() <= 256
}

/// 32 letters and digits: 190 bits.
pub(in crate::service) fn random_text() -> String {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(32).map(char::from).collect()
}

pub(in crate::service) fn parse_record(text: &str) -> Result<Arc<KeyRecord>, ServiceError> {
    serde_json::from_str(text).map(Arc::new).map_err(|error| ServiceError::Internal(format!("a stored key: {error}")))
}

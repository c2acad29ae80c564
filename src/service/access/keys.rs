//! API keys: stored as SHA-256, valid and revoked on every node within one second.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::key_record::{KeyKind, KeyMode, KeyRecord, Role, admin_record, hash, parse_record, random_text};
use super::known_apps::DEFAULT_APP;
use crate::domain::access::audit::AuditEntry;
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::{AppId, KeyId, Sandbox};
use crate::domain::values::metadata::Metadata;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::access::register::{RegisterArgs, RegisterChange, RegisterReply};
use crate::store::keys::Register;
use crate::store::metering::operation::Operation;

/// A key as clients see it. `key` and `userTokenSecret` are shown once, at creation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    #[schema(value_type = String)]
    pub id: KeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub prefix: String,
    pub kind: KeyKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<KeyMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub sandbox: Option<Sandbox>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub metadata: Metadata,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    pub require_user_token: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_token_secret: Option<String>,
    pub created_at: String,
}

/// A new key.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub kind: KeyKind,
    pub mode: Option<KeyMode>,
    pub sandbox: Option<Sandbox>,
    pub role: Option<Role>,
    pub name: Option<String>,
    pub metadata: Metadata,
    pub origins: Vec<String>,
    pub require_user_token: bool,
}

impl KeyRecord {
    fn view(&self) -> KeyView {
        KeyView {
            id: self.id.clone(),
            key: None,
            prefix: self.prefix.clone(),
            kind: self.kind,
            mode: self.mode,
            sandbox: self.sandbox.clone(),
            role: self.role,
            name: self.name.clone(),
            metadata: self.metadata.clone(),
            origins: self.origins.clone(),
            require_user_token: self.user_token_secret.is_some(),
            user_token_secret: None,
            created_at: self.created_at.clone(),
        }
    }
}

fn audit_entry(record: &KeyRecord, action: &str, by: &KeyId) -> AuditEntry {
    let target = format!("key:{}", record.id);
    AuditEntry { actor: by.to_string(), action: action.to_owned(), target, ..AuditEntry::default() }
}

impl Gateway {
    /// An app's keys, oldest first.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn list_keys(&self, app: &AppId) -> Result<Vec<KeyView>, ServiceError> {
        let mut views = Vec::new();
        for text in self.store.register_entries(Register::Keys).await?.values() {
            let record = parse_record(text)?;
            if record.app.as_ref() == Some(app) {
                views.push(record.view());
            }
        }
        views.sort_by(|one, other| (&one.created_at, &one.id).cmp(&(&other.created_at, &other.id)));
        Ok(views)
    }

    /// Creates a key. The key is returned once; a repetition with the same idempotency key returns everything else.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn create_key(
        &self,
        tenant: &Tenant,
        new: NewKey,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<KeyView, ServiceError> {
        new.check()?;
        if let (Some(KeyMode::Test), Some(sandbox)) = (new.mode, &new.sandbox) {
            self.ensure_sandbox(&tenant.app, tenant.placement, sandbox).await?;
        }
        let prefix = match (new.kind, new.mode) {
            (KeyKind::Admin, _) => "ak_".to_owned(),
            (kind, mode) => {
                let kind = if kind == KeyKind::Secret { "sk" } else { "pk" };
                let mode = if mode == Some(KeyMode::Live) { "live" } else { "test" };
                format!("{kind}_{mode}_")
            }
        };
        let key = format!("{prefix}{}", random_text());
        let record = KeyRecord {
            id: KeyId::parse(&format!("key_{}", &random_text()[..16]))
                .map_err(|error| ServiceError::Internal(error.to_string()))?,
            kind: new.kind,
            app: Some(tenant.app.clone()),
            mode: new.mode,
            sandbox: new.sandbox,
            role: new.role,
            name: new.name,
            metadata: new.metadata,
            origins: new.origins,
            user_token_secret: new.require_user_token.then(random_text),
            prefix: format!("{}…", &key[..prefix.len() + 4]),
            created_at: self.created_at().await?,
        };
        let operation = Operation::new(&format!("keys of {}", tenant.app), idempotency, false);
        match self.store_key(&key, &record, &tenant.app, by, &operation).await? {
            RegisterReply::Before(first) => {
                serde_json::from_str(&first).map_err(|_| ServiceError::IdempotencyKeyReused)
            }
            RegisterReply::Reused => Err(ServiceError::IdempotencyKeyReused),
            RegisterReply::Registered | RegisterReply::Exists | RegisterReply::Missing => {
                Ok(KeyView { key: Some(key), user_token_secret: record.user_token_secret.clone(), ..record.view() })
            }
        }
    }

    async fn created_at(&self) -> Result<String, ServiceError> {
        Ok(rfc3339(TimeMs::try_from(self.store.time_us().await? / 1000).unwrap_or(0)))
    }

    async fn store_key(
        &self,
        key: &str,
        record: &KeyRecord,
        app: &AppId,
        by: &KeyId,
        operation: &Operation,
    ) -> Result<RegisterReply, ServiceError> {
        let fault = |error: serde_json::Error| ServiceError::Internal(error.to_string());
        let value = serde_json::to_string(record).map_err(fault)?;
        let answer = serde_json::to_string(&record.view()).map_err(fault)?;
        let change = RegisterChange::Create { name: &hash(key), value: &value };
        let audit_entry = AuditEntry { after: Some(answer.clone()), ..audit_entry(record, "key.create", by) };
        let args = RegisterArgs { operation, change, answer: &answer, app, audit_entry: &audit_entry };
        Ok(self.store.register(Register::Keys, args).await?)
    }

    /// Revokes a key: on this node at once, on all nodes within one second.
    ///
    /// # Errors
    /// [`ServiceError`]; not found if the app has no such key.
    pub async fn delete_key(
        &self,
        app: &AppId,
        id: &str,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<(), ServiceError> {
        let operation = Operation::new(&format!("keys of {app}"), idempotency, false);
        let mut found = None;
        for (hash, text) in self.store.register_entries(Register::Keys).await? {
            let record = parse_record(&text)?;
            if record.id.as_str() == id && record.app.as_ref() == Some(app) {
                found = Some((hash, audit_entry(&record, "key.revoke", by)));
            }
        }
        // If it does not exist, only a repeated call may succeed.
        let (hash, audit_entry) = found.unwrap_or_default();
        let change = RegisterChange::Delete { name: &hash };
        let args = RegisterArgs { operation: &operation, change, answer: "", app, audit_entry: &audit_entry };
        match self.store.register(Register::Keys, args).await? {
            RegisterReply::Registered => {
                self.keys.forget(&hash);
                Ok(())
            }
            RegisterReply::Before(_) => Ok(()),
            RegisterReply::Reused => Err(ServiceError::IdempotencyKeyReused),
            RegisterReply::Missing | RegisterReply::Exists => {
                Err(ServiceError::NotFound(format!("Key `{id}` not found.")))
            }
        }
    }

    /// A new random root key.
    pub fn random_root_key() -> String {
        format!("ak_{}", random_text())
    }

    /// Creates `key` as a root admin key if there is none, configured or stored. Returns whether `key` is a root key,
    /// including one that an earlier attempt created.
    ///
    /// # Errors
    /// [`ServiceError`]
    /// [`ServiceError`]
    pub async fn bootstrap_root_key(&self, key: &str) -> Result<bool, ServiceError> {
        if self.keys.has_root() {
            return Ok(false);
        }
        let stored = self.store.register_entries(Register::Keys).await?;
        for (hash_of_key, text) in &stored {
            if parse_record(text)?.app.is_none() {
                return Ok(*hash_of_key == hash(key));
            }
        }
        let id = KeyId::parse("root").map_err(|error| ServiceError::Internal(error.to_string()))?;
        let record = admin_record(id, None, format!("{}…", &key[..7]), self.created_at().await?);
        let app = AppId::parse(DEFAULT_APP).map_err(|error| ServiceError::Internal(error.to_string()))?;
        self.store_key(key, &record, &app, &record.id, &Operation::new("", None, false)).await?;
        Ok(true)
    }

    /// The app that a key works on: its own, or for the root key the named one.
    ///
    /// # Errors
    /// Forbidden for another app than the key's own.
    pub fn app_of(&self, record: &KeyRecord, named: Option<&str>) -> Result<AppId, ServiceError> {
        match (&record.app, named) {
            (Some(own), None) => Ok(own.clone()),
            (Some(own), Some(named)) if own.as_str() == named => Ok(own.clone()),
            (Some(_), Some(_)) => Err(ServiceError::ForbiddenKey("This key belongs to another app.".to_owned())),
            (None, named) => AppId::parse(named.unwrap_or(DEFAULT_APP))
                .map_err(|error| ServiceError::invalid("X-App", error.to_string())),
        }
    }
}

impl NewKey {
    /// Checks which fields the kind of key may have, and their values.
    ///
    /// # Errors
    /// All faults.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let admin = self.kind == KeyKind::Admin;
        let publishable = self.kind == KeyKind::Publishable;
        let mut faults: Vec<FieldError> = Vec::new();
        for (wrong, field, message) in [
            (!admin && self.mode.is_none(), "mode", "is required unless `kind` is `admin`: `live` or `test`"),
            (
                admin && self.mode.is_some(),
                "mode",
                "must be left out if `kind` is `admin`: the key works in both modes",
            ),
            (
                self.sandbox.is_some() && self.mode != Some(KeyMode::Test),
                "sandbox",
                "can only be set if `mode` is `test`",
            ),
            (
                admin && self.role.is_none(),
                "role",
                "is required if `kind` is `admin`: `admin`, `approver`, `support` or `viewer`",
            ),
            (!admin && self.role.is_some(), "role", "can only be set if `kind` is `admin`"),
            (
                self.kind != KeyKind::Secret && !self.metadata.is_empty(),
                "metadata",
                "can only be set if `kind` is `secret`",
            ),
            (!publishable && !self.origins.is_empty(), "origins", "can only be set if `kind` is `publishable`"),
            (!publishable && self.require_user_token, "requireUserToken", "can only be set if `kind` is `publishable`"),
            (
                self.name.as_ref().is_some_and(|name| name.len() > 256 || name.chars().any(char::is_control)),
                "name",
                "must have at most 256 bytes without control characters",
            ),
            (self.origins.len() > 32, "origins", "must have at most 32 entries"),
            (
                !self.origins.iter().all(|origin| is_origin(origin)),
                "origins",
                "must contain origins such as https://app.example.com, or *",
            ),
        ] {
            if wrong && !faults.iter().any(|known| known.field == field) {
                faults.push(FieldError::new(field, message));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// `scheme://host[:port]` (RFC 6454), or `*`.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |host: &str| {
        !host.is_empty()
            && host.len() <= 255
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
    };
    text == "*" || host.is_some_and(plain)
}

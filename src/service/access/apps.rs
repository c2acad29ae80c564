//! Apps: products of the operator, isolated from each other.

use std::sync::Arc;
use std::time::Duration;

use super::known_apps::{AppView, DEFAULT_APP};
use crate::domain::access::audit::AuditEntry;
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::ids::{AppId, KeyId, Mode};
use crate::service::configuration::app_config::Change;
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::service::tenant::{Placement, Tenant};
use crate::store::access::register::{RegisterArgs, RegisterChange, RegisterReply};
use crate::store::keys::{Register, SHARED};
use crate::store::metering::operation::Operation;

/// Within this time, all nodes know of revoked keys and deleted apps.
const REVOKED_AFTER: Duration = Duration::from_secs(1);

impl Gateway {
    /// # Errors
    /// [`ServiceError`]
    pub async fn create_app(
        &self,
        id: &AppId,
        placement: Placement,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<AppView, ServiceError> {
        if id.as_str() == SHARED {
            return Err(ServiceError::invalid("id", format!("must not be `{SHARED}`, which is reserved")));
        }
        let now = TimeMs::try_from(self.store.time_us().await? / 1000).unwrap_or(TimeMs::MAX);
        let app = AppView { id: id.to_string(), placement, created_at: rfc3339(now / 1000 * 1000) };
        let text = json(&app)?;
        let operation = Operation::new("apps", idempotency, false);
        let change = RegisterChange::Create { name: id.as_str(), value: &text };
        let audit_entry = audit_entry(id, "app.create", by);
        let args = RegisterArgs { operation: &operation, change, answer: &text, app: id, audit_entry: &audit_entry };
        match self.store.register(Register::Apps, args).await? {
            RegisterReply::Registered => {
                // Stamped from its first moment, so that no node uses the configuration of a deleted app with the same
                // name.
                let operation = Operation::new("", None, false);
                self.write_config(id, placement, &operation, 0, async |_, _| Ok(Change::default())).await?;
                Ok(app)
            }
            RegisterReply::Before(first) => read(&first),
            RegisterReply::Reused => Err(ServiceError::IdempotencyKeyReused),
            RegisterReply::Exists | RegisterReply::Missing => {
                Err(ServiceError::invalid("id", format!("must be unique: there is an app `{id}` already")))
            }
        }
    }

    /// # Errors
    /// [`ServiceError`]
    pub async fn apps(&self) -> Result<Vec<AppView>, ServiceError> {
        let entries = self.store.register_entries(Register::Apps).await?;
        let mut apps = entries.values().map(|text| read(text)).collect::<Result<Vec<_>, _>>()?;
        apps.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(apps)
    }

    /// Deletes an app with everything in it: first its keys, so that nothing is written meanwhile, then data, then
    /// configuration. A call that was interrupted is completed by repeating it.
    /// # Errors
    /// [`ServiceError`]; the default app cannot be deleted.
    pub async fn delete_app(
        &self,
        id: &AppId,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<(), ServiceError> {
        if id.as_str() == DEFAULT_APP {
            return Err(ServiceError::invalid("id", "must not be the default app, which cannot be deleted"));
        }
        let operation = Operation::new("apps", idempotency, false);
        let Some(text) = self.store.registered(Register::Apps, id.as_str()).await? else {
            return self.drop_app(id, by, &operation).await;
        };
        let placement = read(&text)?.placement;
        for key in self.list_keys(id).await? {
            self.delete_key(id, key.id.as_str(), by, None).await?;
        }
        // Until then other nodes may still accept the keys.
        tokio::time::sleep(REVOKED_AFTER).await;
        let config = self.load_config(id).await?;
        let modes = std::iter::once(Mode::Live).chain(config.sandboxes.iter().cloned().map(Mode::Test));
        for mode in modes {
            for bucket in (Tenant { app: id.clone(), mode, placement }).buckets() {
                self.store.empty_for_good(&bucket).await?;
            }
        }
        self.store.drop_configuration(id).await?;
        self.drop_app(id, by, &operation).await?;
        self.placements.remove(id);
        self.configs.forget(id);
        Ok(())
    }

    /// Removes an app from the register. If it does not exist, only a repeated call may succeed.
    async fn drop_app(&self, id: &AppId, by: &KeyId, operation: &Operation) -> Result<(), ServiceError> {
        let change = RegisterChange::Delete { name: id.as_str() };
        let args =
            RegisterArgs { operation, change, answer: "", app: id, audit_entry: &audit_entry(id, "app.delete", by) };
        match self.store.register(Register::Apps, args).await? {
            RegisterReply::Registered | RegisterReply::Before(_) => Ok(()),
            RegisterReply::Reused => Err(ServiceError::IdempotencyKeyReused),
            RegisterReply::Missing | RegisterReply::Exists => {
                Err(ServiceError::NotFound(format!("App `{id}` not found.")))
            }
        }
    }

    /// The apps as of this node's last check for changes.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn known_apps(&self) -> Result<Arc<Vec<AppView>>, ServiceError> {
        if let Some(apps) = self.apps.cached() {
            return Ok(apps);
        }
        self.follow_apps(self.store.changes().await?.apps).await?;
        Ok(self.apps.cached().unwrap_or_default())
    }

    /// Drops cached data of deleted apps. An app with the same name is a different one if it was created at another
    /// time. `changes` was read before, so later changes are found next time.
    ///
    /// # Errors
    /// [`ServiceError`]
    /// [`ServiceError`]
    pub(crate) async fn follow_apps(&self, changes: String) -> Result<(), ServiceError> {
        if self.apps.is_as_of(&changes) {
            return Ok(());
        }
        let apps = Arc::new(self.apps().await?);
        let before = self.apps.replace(changes, Arc::clone(&apps));
        let is_there = |app: &AppView| {
            let place = apps.binary_search_by(|known| known.id.cmp(&app.id));
            place.is_ok_and(|place| apps.get(place) == Some(app))
        };
        for gone in before.iter().filter(|app| !is_there(app)) {
            let id = AppId::parse(&gone.id).map_err(|error| ServiceError::Internal(error.to_string()))?;
            self.placements.remove(&id);
            self.configs.forget(&id);
            self.versions.clear();
            self.policy_versions.clear();
        }
        self.configs.has_changed();
        Ok(())
    }

    /// The placement of an app. It never changes, so it is cached.
    ///
    /// # Errors
    /// [`ServiceError`]; not found without such an app.
    pub async fn placement(&self, app: &AppId) -> Result<Placement, ServiceError> {
        if let Some(placement) = self.placements.get(app) {
            return Ok(placement);
        }
        let Some(text) = self.store.registered(Register::Apps, app.as_str()).await? else {
            self.store.verify_identity().await?;
            return Err(ServiceError::NotFound(format!("App `{app}` not found.")));
        };
        let placement = read(&text)?.placement;
        self.placements.insert(app.clone(), placement);
        Ok(placement)
    }

    /// Checks that the mode exists. A sandbox is created with its first key.
    ///
    /// # Errors
    /// [`ServiceError`]; not found if there is no such sandbox.
    pub async fn check_mode(&self, app: &AppId, mode: &Mode) -> Result<(), ServiceError> {
        let Mode::Test(sandbox) = mode else {
            return Ok(());
        };
        let known = self.config(app).await?.sandboxes.contains(sandbox);
        if known || self.load_config(app).await?.sandboxes.contains(sandbox) {
            return Ok(());
        }
        Err(ServiceError::NotFound(format!(
            "Sandbox `{sandbox}` not found. A sandbox is created with its first test key."
        )))
    }

    /// Creates the default app if it does not exist.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn ensure_default_app(&self) -> Result<(), ServiceError> {
        let id = AppId::parse(DEFAULT_APP).map_err(|error| ServiceError::Internal(error.to_string()))?;
        let by = KeyId::parse("root").map_err(|error| ServiceError::Internal(error.to_string()))?;
        match self.create_app(&id, Placement::App, &by, None).await {
            Ok(_) | Err(ServiceError::Invalid(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn audit_entry(id: &AppId, action: &str, by: &KeyId) -> AuditEntry {
    AuditEntry {
        actor: by.to_string(),
        action: action.to_owned(),
        target: format!("app:{id}"),
        ..AuditEntry::default()
    }
}

fn read(text: &str) -> Result<AppView, ServiceError> {
    serde_json::from_str(text).map_err(|error| ServiceError::Internal(format!("a stored app: {error}")))
}

//! Apps: products of the operator, isolated from each other.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Gateway;
use super::error::ServiceError;
use super::tenant::Placement;
use crate::domain::ids::{AppId, Mode};
use crate::domain::window::{TimeMs, rfc3339};
use crate::store::keys::Register;
use crate::store::operation::{Idempotency, Operation};
use crate::store::register::{RegisterChange, RegisterReply};

/// The app that the root admin key works on unless it names another.
pub const DEFAULT_APP: &str = "default";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppView {
    pub id: String,
    pub placement: Placement,
    /// RFC 3339, UTC.
    pub created_at: String,
}

impl Gateway {
    /// # Errors
    /// [`ServiceError`]
    pub async fn create_app(
        &self,
        id: &AppId,
        placement: Placement,
        idempotency: Option<&Idempotency>,
    ) -> Result<AppView, ServiceError> {
        let now = TimeMs::try_from(self.store.time_us().await? / 1000).unwrap_or(TimeMs::MAX);
        let app = AppView { id: id.to_string(), placement, created_at: rfc3339(now / 1000 * 1000) };
        let text = serde_json::to_string(&app).map_err(|error| ServiceError::Internal(error.to_string()))?;
        let operation = Operation::new("apps", idempotency, false);
        let change = RegisterChange::Create { name: id.as_str(), value: &text };
        match self.store.register(Register::Apps, &operation, change, &text).await? {
            RegisterReply::Registered => Ok(app),
            RegisterReply::Before(first) => read(&first),
            RegisterReply::Reused => Err(ServiceError::IdempotencyKeyReused),
            RegisterReply::Exists | RegisterReply::Missing => {
                Err(ServiceError::invalid("id", format!("there is an app `{id}` already")))
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

    /// The placement of an app; it never changes, so it is asked for once.
    ///
    /// # Errors
    /// [`ServiceError`]; not found without such an app.
    pub async fn placement(&self, app: &AppId) -> Result<Placement, ServiceError> {
        if let Some(placement) = self.placements.get(app) {
            return Ok(placement);
        }
        let text = self.store.registered(Register::Apps, app.as_str()).await?;
        let text = text.ok_or_else(|| ServiceError::NotFound(format!("there is no app `{app}`")))?;
        let placement = read(&text)?.placement;
        self.placements.insert(app.clone(), placement);
        Ok(placement)
    }

    /// Is the mode one that the app has? A sandbox begins with a key for it.
    ///
    /// # Errors
    /// [`ServiceError`]; not found without such a sandbox.
    pub async fn check_mode(&self, app: &AppId, mode: &Mode) -> Result<(), ServiceError> {
        let Mode::Test(sandbox) = mode else {
            return Ok(());
        };
        let known = self.config(app).await?.sandboxes.contains(sandbox);
        if known || self.load_config(app).await?.sandboxes.contains(sandbox) {
            return Ok(());
        }
        Err(ServiceError::NotFound(format!(
            "there is no sandbox `{sandbox}`; it begins with a test key created for it"
        )))
    }

    /// Makes sure that the default app exists.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn ensure_default_app(&self) -> Result<(), ServiceError> {
        let id = AppId::parse(DEFAULT_APP).map_err(|error| ServiceError::Internal(error.to_string()))?;
        match self.create_app(&id, Placement::App, None).await {
            Ok(_) | Err(ServiceError::Invalid(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn read(text: &str) -> Result<AppView, ServiceError> {
    serde_json::from_str(text).map_err(|error| ServiceError::Internal(format!("a stored app: {error}")))
}

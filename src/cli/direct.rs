//! Common parts of commands that use Redis directly instead of a gateway: which Redis, app and mode.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Secret;
use crate::domain::values::ids::{AppId, Mode};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::Store;
use crate::store::client::claim::Claim;
use crate::store::client::migrate::is_convertible;
use crate::store::error::StoreError;
use crate::store::keys::LAYOUT_VERSION;

/// Where a gateway's data is.
#[derive(Clone, Debug, clap::Args)]
#[command(about = None, long_about = None)]
pub struct Direct {
    /// The Redis of the gateway; without it, the private one in the data directory
    #[arg(long, env = "QUOTAGATE_REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<Secret>,
    /// Data directory of a gateway that runs its own Redis
    #[arg(long, env = "QUOTAGATE_DATA_DIR", default_value = "./data", value_name = "DIR")]
    data_dir: PathBuf,
    /// The app
    #[arg(long, default_value = "default")]
    app: String,
    /// live, test, or test/<sandbox>
    #[arg(long, default_value = "live")]
    mode: String,
}

/// What to do if the data is somewhere else.
const WHERE: &str = "--data-dir names the gateway's data directory, --redis-url its Redis";

/// Why a command failed, in one line for each fault.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("{0}")]
    Message(String),
    #[error("{}", message(.0))]
    Service(ServiceError),
}

fn message(error: &ServiceError) -> String {
    match error {
        ServiceError::StoreUnavailable(what) => format!("Redis cannot be reached: {what}"),
        ServiceError::StoreRefused(what) => format!("Redis rejected the call: {what}"),
        ServiceError::Internal(what) => what.clone(),
        other => other.to_string(),
    }
}

impl From<ServiceError> for CommandError {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}

impl Direct {
    /// # Errors
    /// Invalid names, an app or sandbox that does not exist, or a Redis that cannot be reached.
    pub async fn open(&self) -> Result<(Gateway, Tenant), CommandError> {
        let input = |what: &str, error: String| CommandError::Message(format!("{what} {error}"));
        let app = AppId::parse(&self.app).map_err(|error| input("--app", error.to_string()))?;
        let mode = Mode::parse(&self.mode).map_err(|error| input("--mode", error))?;
        let url = match &self.redis_url {
            Some(url) => url.expose().to_owned(),
            None => crate::infra::embedded_redis::url_of(&self.data_dir)
                .map_err(|error| CommandError::Message(format!("{error}; {WHERE}")))?,
        };
        let store = Store::open(&url, Duration::from_secs(5))?;
        let gateway = Gateway::new(store, None);
        meet(&gateway).await.map_err(|error| self.explained(error))?;
        let placement = gateway.placement(&app).await?;
        gateway.check_mode(&app, &mode).await?;
        Ok((gateway, Tenant { app, mode, placement }))
    }
}

impl Direct {
    /// A private Redis that cannot be reached is one whose gateway does not run.
    fn explained(&self, error: CommandError) -> CommandError {
        let is_away = matches!(error, CommandError::Service(ServiceError::StoreUnavailable(_)));
        if is_away && self.redis_url.is_none() {
            return CommandError::Message(format!("{error}; the private Redis runs while its gateway does; {WHERE}"));
        }
        error
    }
}

/// Commands need existing data and never initialise Redis.
///
/// # Errors
/// Redis has no data, or data of another version.
pub async fn meet(gateway: &Gateway) -> Result<(), CommandError> {
    match gateway.store.meet().await? {
        Claim::Known | Claim::Initialised => Ok(()),
        Claim::Empty => Err(CommandError::Message(format!("Redis has no quotagate data; {WHERE}"))),
        Claim::Layout(found) if is_convertible(&found) => Err(CommandError::Message(format!(
            "Redis holds data of layout {found}, this version reads layout {LAYOUT_VERSION}: convert it with `quotagate \
             migrate`"
        ))),
        Claim::Layout(found) => Err(CommandError::Message(format!(
            "Redis holds data of layout {found}, this version reads layout {LAYOUT_VERSION}"
        ))),
    }
}

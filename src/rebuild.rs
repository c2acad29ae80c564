//! `quotagate rollup --rebuild`: the rows of reports, computed anew from the ledger.

use std::time::Duration;

use crate::config::{RollupArgs, Secret};
use crate::domain::ids::{AppId, Mode};
use crate::service::Gateway;
use crate::service::error::ServiceError;
use crate::service::tenant::Tenant;
use crate::store::Store;

#[derive(Clone, Debug, clap::Args)]
#[command(about = None, long_about = None)]
pub struct RebuildArgs {
    /// Compute the rows of all days anew that the ledger still covers, and replace those that there are
    ///
    /// With the labels of the present configuration: after a change of reportLabels also for days that are over. Gateways
    /// may go on serving.
    #[arg(long, required = true)]
    rebuild: bool,
    /// The Redis of the gateway; unset, the private one under the data directory
    #[arg(long, env = "QUOTAGATE_REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<Secret>,
    /// Data directory of a gateway that runs its own Redis
    #[arg(long, env = "QUOTAGATE_DATA_DIR", default_value = "./data", value_name = "DIR")]
    data_dir: std::path::PathBuf,
    #[arg(long, default_value = "default")]
    app: String,
    /// live, test, or test/<sandbox>
    #[arg(long, default_value = "live")]
    mode: String,
    #[command(flatten)]
    rollup: RollupArgs,
}

/// Why nothing, or not all, was rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("{0}")]
    Input(String),
    #[error("{}", told(.0))]
    Service(ServiceError),
}

fn told(error: &ServiceError) -> String {
    match error {
        ServiceError::StoreUnavailable(what) => format!("Redis cannot be used: {what}"),
        other => other.to_string(),
    }
}

impl From<ServiceError> for RebuildError {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

impl From<crate::store::error::StoreError> for RebuildError {
    fn from(error: crate::store::error::StoreError) -> Self {
        Self::Service(error.into())
    }
}

/// # Errors
/// [`RebuildError`]
pub async fn run(args: RebuildArgs) -> Result<(), RebuildError> {
    let input = |what: &str, error: String| RebuildError::Input(format!("{what} {error}"));
    let app = AppId::parse(&args.app).map_err(|error| input("--app", error.to_string()))?;
    let mode = Mode::parse(&args.mode).map_err(|error| input("--mode", error))?;
    let url = match &args.redis_url {
        Some(url) => url.expose().to_owned(),
        None => {
            crate::embedded_redis::url_of(&args.data_dir).map_err(|error| RebuildError::Input(error.to_string()))?
        }
    };
    let store = Store::open(&url, Duration::from_secs(5), 1).await?;
    let mut gateway = Gateway::new(store, None);
    gateway.rollup = args.rollup.options();
    let placement = gateway.placement(&app).await?;
    gateway.check_mode(&app, &mode).await?;
    let rebuilt = gateway.rebuild(&Tenant { app, mode, placement }).await?;
    println!("{} entries, {} days, {} rows", rebuilt.entries, rebuilt.days, rebuilt.rows);
    Ok(())
}

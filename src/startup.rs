//! Creates a node; the only place that puts its parts together.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::cli::apply;
use crate::cli::config_file::ConfigFile;
use crate::domain::values::document;
use crate::domain::values::ids::{AppId, KeyId, Mode, NameError};
use crate::http::middleware::limits::Limits;
use crate::http::{self, Listen, Served};
use crate::infra::journal::{Journal, JournalOptions};
use crate::infra::supervise::Parts;
use crate::service::access::known_apps::DEFAULT_APP;
use crate::service::configuration::apply::{ApplyRequest, Configuration};
use crate::service::configuration::plans::IfMatch;
use crate::service::degraded::state::Degraded;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::Store;
use crate::store::client::claim::Claim;
use crate::store::client::migrate::{MigrateOptions, is_convertible};
use crate::store::error::StoreError;
use crate::store::keys::LAYOUT_VERSION;
use crate::workers::catch_up::CatchUp;
use crate::workers::deliveries::{DeliverOptions, Deliverer};
use crate::workers::rollup::{RollUp, RollUpOptions};

/// Histogram samples are buffered until they are summed up; without this, only `GET /metrics` would do so.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// In addition to the time of a round trip: a background task without progress for this long counts as stalled.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// How long a starting node waits for a Redis that is starting, loading its file, electing a master or synchronizing
/// replicas. After that the node exits, and its supervisor may restart it.
const STORE_PATIENCE: Duration = Duration::from_secs(10);
/// How long an ending node tries to release its leases.
const GIVE_UP: Duration = Duration::from_secs(1);
/// With fewer keys, a start converts data of an older layout automatically.
const MOST_KEYS_AT_START: u64 = 10_000;
/// The pause between two attempts.
const STORE_PAUSE: Duration = Duration::from_millis(100);

/// What a node needs to run.
pub struct Options {
    pub bind: SocketAddr,
    pub redis_url: String,
    pub redis_timeout: Duration,
    /// How many replicas must acknowledge a write before it is answered.
    pub wait_replicas: u8,
    /// The maximum number of entries in a bucket's ledger.
    pub ledger_entries: u64,
    pub workers: usize,
    pub root_key: Option<String>,
    /// A configuration to apply to the default app.
    pub config_file: Option<PathBuf>,
    pub deliver: DeliverOptions,
    pub roll_up: RollUpOptions,
    /// The journal of reserves that are allowed while Redis is unavailable; None disables them.
    pub journal: Option<JournalOptions>,
    pub limits: Limits,
    /// Whether scripts may use their straight path. Only turned off by tests, to compare both paths.
    pub straight_path: bool,
    /// Whether an empty Redis may be initialised.
    pub may_initialise: bool,
    /// The background tasks that are running already.
    pub parts: Parts,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {error}; QUOTAGATE_BIND names another address, such as 127.0.0.1:8081")]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}: {cause}", cause = cause(.1))]
    Prepare(&'static str, ServiceError),
    #[error("Redis holds data of layout {0}, this version reads layout {1}: run the version that wrote it")]
    Layout(String, &'static str),
    #[error(
        "Redis holds data of layout {0}, this version reads layout {1}: stop all gateways, make a backup and run \
         `quotagate migrate`. A start converts fewer than {MOST_KEYS_AT_START} keys by itself"
    )]
    ToConvert(String, &'static str),
    #[error("data of layout {0} is not converted, because these keys cannot be read: {1}")]
    Unreadable(String, String),
    #[error(
        "Redis has no quotagate data, and QUOTAGATE_INIT=never: restore the data, or let QUOTAGATE_REDIS_URL or \
         QUOTAGATE_DATA_DIR name the right place; to initialise an empty one, start once with QUOTAGATE_INIT=auto"
    )]
    Empty,
    #[error("the HTTP server has ended unexpectedly")]
    ServerEnded,
    #[error("QUOTAGATE_CONFIG: {0}")]
    Configuration(String),
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
    #[error("webhooks: {0}")]
    Deliver(#[from] reqwest::Error),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl StartError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Store(error) => {
                matches!(error, StoreError::Unavailable(_) | StoreError::Refused(_) | StoreError::Full(_))
            }
            Self::Prepare(_, error) => {
                matches!(error, ServiceError::StoreUnavailable(_) | ServiceError::StoreRefused(_))
            }
            _ => false,
        }
    }
}

/// The details of an error, which clients do not see.
fn cause(error: &ServiceError) -> String {
    match error {
        ServiceError::StoreUnavailable(cause) | ServiceError::StoreRefused(cause) | ServiceError::Internal(cause) => {
            format!("{error}: {cause}")
        }
        other => other.to_string(),
    }
}

/// A node that listens and is ready to serve.
pub struct Node {
    pub address: SocketAddr,
    /// The root admin key that was created because there was none; shown once.
    pub new_root_key: Option<String>,
    gateway: web::Data<Gateway>,
    deliverer: Arc<Deliverer>,
    roll_up: RollUp,
    catch_up: Option<CatchUp>,
    listen: Listen,
    stalled_after: Duration,
}

impl Node {
    /// # Errors
    /// [`StartError`]
    pub async fn prepare(options: Options, metrics: PrometheusHandle) -> Result<Self, StartError> {
        let listener =
            TcpListener::bind(options.bind).map_err(|error| StartError::Listen { address: options.bind, error })?;
        let address = listener.local_addr()?;
        let mut store = Store::open(&options.redis_url, options.redis_timeout)?;
        store.wait_for(&options.redis_url, options.wait_replicas)?;
        store.ledger_entries = options.ledger_entries;
        store.straight_path = options.straight_path;
        let mut gateway = Gateway::new(store, options.root_key.as_deref());
        gateway.parts = options.parts;
        gateway.webhooks_may_be_private = options.deliver.allow_private;
        gateway.rollup = options.roll_up.rollup;
        if let Some(journal) = options.journal {
            gateway.degraded = Degraded::new(Journal::open(journal, &gateway.parts)?);
        }
        let root_key = Gateway::random_root_key();
        let config_file = options.config_file.as_deref();
        let is_root =
            patiently(async || prepare_store(&gateway, options.may_initialise, &root_key, config_file).await).await?;
        let gateway = web::Data::new(gateway);
        let deliverer = Arc::new(Deliverer::new(gateway.clone().into_inner(), options.deliver)?);
        let roll_up = RollUp::new(gateway.clone().into_inner(), options.roll_up);
        // Without a journal there is nothing to count.
        let catch_up = gateway.degraded.journal.is_some().then(|| CatchUp::new(gateway.clone().into_inner()));
        let stalled_after = options.redis_timeout + STALLED_AFTER;
        let listen = Listen { listener, workers: options.workers, metrics, limits: options.limits };
        let new_root_key = is_root.then_some(root_key);
        Ok(Self { address, new_root_key, gateway, deliverer, roll_up, catch_up, listen, stalled_after })
    }

    /// The state of the node's background tasks.
    pub fn parts(&self) -> Parts {
        self.gateway.parts.clone()
    }

    /// Serves until `stop` resolves, then drains.
    ///
    /// # Errors
    /// The listener cannot be used, or the server ended before.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), StartError> {
        let (parts, bound) = (self.gateway.parts.clone(), self.stalled_after);
        let follower = {
            let gateway = self.gateway.clone();
            parts.start("key_changes", bound, move |pulse| {
                let gateway = gateway.clone();
                async move { gateway.follow_changes(pulse).await }
            })
        };
        let deliverer = parts.start("webhooks", bound, move |pulse| Arc::clone(&self.deliverer).run(pulse));
        let roll_up = parts.start("rollups", bound, move |pulse| self.roll_up.clone().run(pulse));
        let catch_up = self.catch_up.map(|catch_up| {
            let worker = catch_up.clone();
            (parts.start("degraded_reserves", bound, move |pulse| worker.clone().run(pulse)), catch_up)
        });
        let teller = {
            let (gateway, address) = (self.gateway.clone(), self.address.to_string());
            parts.start("node_list", bound, move |pulse| {
                let (gateway, address) = (gateway.clone(), address.clone());
                async move { gateway.register_itself(host(), address, pulse).await }
            })
        };
        let estimates = {
            let gateway = self.gateway.clone();
            parts.start("estimates", bound, move |pulse| {
                let gateway = gateway.clone();
                async move { gateway.follow_estimates(pulse).await }
            })
        };
        let upkeep = {
            let metrics = self.listen.metrics.clone();
            parts.start("metrics", bound, move |pulse| {
                let metrics = metrics.clone();
                async move {
                    let mut turns = tokio::time::interval(METRICS_UPKEEP);
                    loop {
                        turns.tick().await;
                        pulse.beat().await;
                        metrics.run_upkeep();
                    }
                }
            })
        };
        let gateway = self.gateway.clone();
        let served = http::serve(self.listen, self.gateway, stop).await?;
        drop((follower, deliverer, roll_up, teller, estimates, upkeep));
        // If this fails, they expire.
        let _ = tokio::time::timeout(GIVE_UP, gateway.give_up_leases()).await;
        if !matches!(tokio::time::timeout(GIVE_UP, gateway.leave()).await, Ok(Ok(()))) {
            tracing::debug!("the list of nodes shows this node as silent: Redis did not answer");
        }
        if let Some((working, catch_up)) = catch_up {
            drop(working);
            catch_up.stopped().await;
        }
        match served {
            Served::UntilStopped => Ok(()),
            Served::EndedItself => Err(StartError::ServerEnded),
        }
    }
}

/// Writes what a node needs in Redis before it serves; repeating it changes nothing. Returns whether `root_key` is the
/// root admin key.
async fn prepare_store(
    gateway: &Gateway,
    may_initialise: bool,
    root_key: &str,
    config_file: Option<&Path>,
) -> Result<bool, StartError> {
    match gateway.store.claim(may_initialise).await? {
        Claim::Known => {}
        Claim::Initialised => tracing::warn!(
            "Redis held no quotagate data: it is initialised now, as at every first start. If there should have been \
             data, stop this node and restore it; QUOTAGATE_INIT=never refuses to start on an empty Redis"
        ),
        Claim::Empty => return Err(StartError::Empty),
        Claim::Layout(found) => {
            convert(gateway, found).await?;
            if let Claim::Layout(found) = gateway.store.claim(false).await? {
                return Err(StartError::Layout(found, LAYOUT_VERSION));
            }
        }
    }
    gateway.ensure_default_app().await.map_err(|error| StartError::Prepare("the default app", error))?;
    let is_root =
        gateway.bootstrap_root_key(root_key).await.map_err(|error| StartError::Prepare("the root key", error))?;
    if let Some(file) = config_file {
        apply_file(gateway, file).await?;
    }
    Ok(is_root)
}

/// Converts data of an older layout to the present one, unless there is much of it.
async fn convert(gateway: &Gateway, found: String) -> Result<(), StartError> {
    if !is_convertible(&found) {
        return Err(StartError::Layout(found, LAYOUT_VERSION));
    }
    let keys = gateway.store.count_keys(MOST_KEYS_AT_START).await?;
    if keys >= MOST_KEYS_AT_START {
        return Err(StartError::ToConvert(found, LAYOUT_VERSION));
    }
    tracing::warn!("converting data of layout {found}, {keys} keys, to layout {LAYOUT_VERSION}");
    let nodes = gateway.nodes_about_to_stop().await;
    for line in nodes.map_err(|error| StartError::Prepare("the list of nodes", error))? {
        tracing::warn!("{line}");
    }
    let done = gateway.store.migrate(MigrateOptions::default(), |_| {}).await?;
    for key in &done.strays {
        tracing::warn!(key, "a gateway of the old release wrote counters of a converted owner; they are deleted");
    }
    match done.unreadable.is_empty() {
        true => Ok(()),
        false => Err(StartError::Unreadable(found, done.unreadable.join(", "))),
    }
}

/// Retries after errors that may be temporary.
async fn patiently<T>(mut attempt: impl AsyncFnMut() -> Result<T, StartError>) -> Result<T, StartError> {
    let begun = tokio::time::Instant::now();
    let mut warned = false;
    loop {
        match attempt().await {
            Err(error) if error.may_pass() && begun.elapsed() < STORE_PATIENCE => {
                if !warned {
                    tracing::warn!("{error}; retrying for {} s", STORE_PATIENCE.as_secs());
                    warned = true;
                }
                tokio::time::sleep(STORE_PAUSE).await;
            }
            done => return done,
        }
    }
}

/// The machine's name, if the system provides it.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| String::new(), |name| name.trim().to_owned())
}

/// Applies a configuration file to the default app. If several nodes start with the same file, the first one writes it
/// and the others find no changes.
async fn apply_file(gateway: &Gateway, path: &Path) -> Result<(), StartError> {
    let name = path.display().to_string();
    let faulty = |faults: Vec<String>| StartError::Configuration(faults.join("\n"));
    let text = std::fs::read_to_string(path).map_err(|error| faulty(vec![format!("{name}: {error}")]))?;
    let file = ConfigFile::parse(&text).map_err(|error| faulty(vec![format!("{name}: {error}")]))?;
    let document = document::read_checked(file.document.to_string().as_bytes(), Configuration::faults);
    let document = document.map_err(|faults| faulty(apply::lines(&name, &file, faults)))?;
    let internal = |error: NameError| StartError::Configuration(error.to_string());
    let app = AppId::parse(DEFAULT_APP).map_err(internal)?;
    let by = KeyId::parse("config-file").map_err(internal)?;
    let fault = |error: ServiceError| match error {
        ServiceError::Invalid(faults) => faulty(apply::lines(&name, &file, faults)),
        other => faulty(vec![format!("{name}: {other}")]),
    };
    let placement = gateway.placement(&app).await.map_err(fault)?;
    let tenant = Tenant { app, mode: Mode::Live, placement };
    // A start cannot ask for confirmation, so it deletes nothing.
    let wanted = ApplyRequest { document: &document, prune: false, if_match: IfMatch::Absent };
    let applied = gateway.apply(&tenant, &wanted, &by, None).await.map_err(fault)?;
    tracing::info!(file = name, changes = applied.preview.changes.len(), "configuration applied");
    if !applied.unlisted.is_empty() {
        let unlisted = applied.unlisted.join(", ");
        tracing::info!(
            file = name,
            unlisted,
            "the configuration has more than the file; `quotagate apply --prune` deletes it"
        );
    }
    Ok(())
}

/// Installs the process's metrics recorder.
///
/// # Errors
/// There is one already.
pub fn install_metrics() -> Result<PrometheusHandle, StartError> {
    let buckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &buckets)?;
    let handle = builder.install_recorder()?;
    crate::infra::metrics::describe();
    Ok(handle)
}

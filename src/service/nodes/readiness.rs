//! Whether this node is ready, and whether Redis is configured to persist writes.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::ids::{AppId, Mode, NameError, UserId};
use crate::infra::supervise::{PartReport, Pulse};
use crate::service::access::known_apps::DEFAULT_APP;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::store::client::server::ServerCheck;
use crate::store::keys::Bucket;

/// How often a node checks for changed keys and configurations: well within the promised second.
const POLL: Duration = Duration::from_millis(300);
/// If the node's wall clock differs by more than this, there is a warning; decisions do not depend on it.
const SKEW_MS: TimeMs = 5_000;

/// The content of `/readyz`.
#[derive(Clone, Debug)]
pub struct Readiness {
    pub ready: bool,
    pub redis_version: String,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
}

/// The state of a background task of this node.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartView {
    /// `key_changes`, `webhooks`, `rollups`, `degraded_reserves`, `journal`, `node_list`, `estimates`,
    /// `metrics`, `embedded_redis`
    #[schema(value_type = String)]
    pub name: &'static str,
    pub ok: bool,
    /// Since when it has failed (RFC 3339, by this node's clock).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How often it has ended and was restarted.
    pub restarts: u64,
}

impl Gateway {
    /// # Errors
    /// [`ServiceError`] if Redis cannot be reached, or does not accept the scripts' calls.
    pub async fn readiness(&self) -> Result<Readiness, ServiceError> {
        self.store.verify_identity().await?;
        let found = self.store.check_server().await?;
        let internal = |error: NameError| ServiceError::Internal(error.to_string());
        let app = AppId::parse(DEFAULT_APP).map_err(internal)?;
        let nobody = UserId::parse("readyz").map_err(internal)?;
        self.store.check_functions(&Bucket::whole(&app, &Mode::Live), &nobody).await?;
        let mut warnings = Vec::new();
        if !found.is_master {
            warnings.push("Redis is a replica, which takes no writes: connect to its master".to_owned());
        }
        if !found.append_only {
            warnings
                .push("Redis keeps no append-only file: a restart loses counters since the last snapshot".to_owned());
        }
        warnings.extend(memory_warnings(&found));
        let waited = self.store.waited_replicas();
        if found.replicas < u64::from(waited) {
            warnings.push(format!(
                "Redis has {} replicas and every write waits for {waited}: all of them are answered 503",
                found.replicas
            ));
        }
        let major: Option<u32> = found.version.split('.').next().and_then(|major| major.parse().ok());
        let supported = major.is_some_and(|major| major >= 7);
        if !supported {
            warnings.push(format!("Redis {} is too old: 7.0 or later is needed", found.version));
        }
        let redis_ms = TimeMs::try_from(self.store.time_us().await? / 1000).unwrap_or(0);
        if (redis_ms - chrono::Utc::now().timestamp_millis()).abs() > SKEW_MS {
            warnings.push("this node's clock differs from Redis' by more than 5 s; decisions go by Redis".to_owned());
        }
        Ok(Readiness { ready: supported && found.is_master, redis_version: found.version, warnings })
    }

    /// The background tasks.
    pub fn part_views(&self) -> Vec<PartView> {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let view = |PartReport { name, silent_for, restarts }: PartReport| {
            let since_ms = |silent: Duration| now_ms - TimeMs::try_from(silent.as_millis()).unwrap_or(0);
            PartView { name, ok: silent_for.is_none(), since: silent_for.map(since_ms).map(rfc3339), restarts }
        };
        self.parts.report().into_iter().map(view).collect()
    }

    /// Sets the gauges of Redis' memory.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn gauge_memory(&self) -> Result<(), ServiceError> {
        let memory = self.store.memory_use().await?;
        metrics::gauge!("quotagate_redis_memory_used_bytes").set(memory.used as f64);
        metrics::gauge!("quotagate_redis_memory_max_bytes").set(memory.max as f64);
        Ok(())
    }

    /// Follows changes of keys and configurations until it is dropped.
    pub async fn follow_changes(&self, pulse: Pulse) {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reachable = true;
        loop {
            ticks.tick().await;
            pulse.beat().await;
            // Logged once per outage instead of once per check.
            match (self.look_for_changes(&pulse).await, reachable) {
                (Err(error), true) => {
                    tracing::warn!(%error, "cannot read changes of keys and configuration");
                    reachable = false;
                }
                (Ok(()), false) => {
                    tracing::info!("reading changes of keys and configuration again");
                    reachable = true;
                }
                _ => {}
            }
        }
    }

    async fn look_for_changes(&self, pulse: &Pulse) -> Result<(), ServiceError> {
        let changes = self.store.changes().await;
        self.keys.looked();
        let changes = changes?;
        pulse.beat().await;
        self.follow_keys(changes.keys).await?;
        self.follow_apps(changes.apps).await?;
        self.follow_configs(changes.configurations, pulse).await
    }
}

/// From this share of `maxmemory` on there is a warning.
const FULL_PERCENT: u64 = 90;

fn memory_warnings(found: &ServerCheck) -> Vec<String> {
    let mut warnings = Vec::new();
    if found.eviction_policy != "noeviction" {
        warnings
            .push(format!("maxmemory-policy is {}: Redis may drop counters; set noeviction", found.eviction_policy));
    }
    match found.memory.percent() {
        None => warnings.push("maxmemory is not set: Redis may grow until the system ends it; set a limit".to_owned()),
        Some(percent) if percent >= 100 => warnings.push(format!(
            "Redis uses {percent} % of maxmemory: it refuses reserves and new users; raise maxmemory or free memory"
        )),
        Some(percent) if percent >= FULL_PERCENT => warnings.push(format!(
            "Redis uses {percent} % of maxmemory: at 100 % it refuses reserves and new users; raise maxmemory"
        )),
        Some(_) => {}
    }
    warnings
}

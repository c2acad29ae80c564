//! Is this node ready, and is Redis set up to keep what it is told?

use std::time::Duration;

use super::Gateway;
use super::apps::DEFAULT_APP;
use super::error::ServiceError;
use crate::domain::ids::{AppId, Mode, NameError, UserId};
use crate::domain::window::TimeMs;
use crate::store::keys::Bucket;

/// How often a node looks for changed keys and configurations: well within the second that is promised.
const POLL: Duration = Duration::from_millis(300);
/// A node's wall clock further off than this is worth a warning; it changes no decision.
const SKEW_MS: TimeMs = 5_000;

/// What `/readyz` tells.
#[derive(Clone, Debug)]
pub struct Readiness {
    pub ready: bool,
    pub redis_version: String,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

impl Gateway {
    /// # Errors
    /// [`ServiceError`] if Redis cannot be reached, or takes no calls of the scripts.
    pub async fn readiness(&self) -> Result<Readiness, ServiceError> {
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
        if found.eviction_policy != "noeviction" {
            warnings.push(format!(
                "maxmemory-policy is {}: Redis may drop counters; set noeviction",
                found.eviction_policy
            ));
        }
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

    /// Follows changes of keys and configurations for the life of the node.
    pub async fn follow_changes(&self) {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reachable = true;
        loop {
            ticks.tick().await;
            let polled = match self.poll_keys().await {
                Ok(()) => match self.poll_apps().await {
                    Ok(()) => self.poll_configs().await,
                    failed => failed,
                },
                failed => failed,
            };
            // Told once per outage, not once per tick.
            match (polled, reachable) {
                (Err(error), true) => {
                    tracing::warn!(%error, "cannot follow changes of keys and configuration");
                    reachable = false;
                }
                (Ok(()), false) => {
                    tracing::info!("following changes again");
                    reachable = true;
                }
                _ => {}
            }
        }
    }
}

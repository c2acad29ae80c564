//! Rolling up: every node folds what the streams have that no row counts yet, and trims the streams by age. Nothing here
//! is in the way of a metering call, and reports don't wait for it: they fold what is new themselves.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ids::{AppId, Mode};
use crate::domain::window::TimeMs;
use crate::service::Gateway;
use crate::service::byte_bounds::ByteBounds;
use crate::service::error::ServiceError;
use crate::service::rollup::RollupOptions;
use crate::service::tenant::Tenant;
use crate::store::keys::Bucket;
use crate::store::ledger::{Stream, StreamInfo};
use crate::supervise::Pulse;

/// How rows are kept, and entries.
#[derive(Clone, Copy, Debug)]
pub struct RollUpOptions {
    pub rollup: RollupOptions,
    /// Days that entries of the ledger and denials stay, 1 to 3660.
    pub ledger_days: u16,
    /// Bytes that streams may take of Redis' memory.
    pub bytes: ByteBounds,
}

impl Default for RollUpOptions {
    fn default() -> Self {
        Self { rollup: RollupOptions::default(), ledger_days: 35, bytes: ByteBounds::default() }
    }
}

/// How often a node looks after a bucket that has something to fold; one that has nothing is looked after less and less
/// often.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_IDLE: Duration = Duration::from_secs(15);
/// How often it trims, and looks for apps and sandboxes.
const LOOK_FAR: Duration = Duration::from_secs(60);
/// Steps of one bucket and stream at a look, so that others have their turn: 10,000 entries.
const STEPS: usize = 100;
const STEPS_AT_ONCE: usize = 10;
/// A stream is measured once this part of its bound was folded, and whenever it is trimmed: a fortieth.
const MEASURED_SHARE: u64 = 40;
const DAY_MS: TimeMs = crate::domain::day::DAY_MS;

/// The folder of one node. Clones are the same.
#[derive(Clone)]
pub struct RollUp {
    gateway: Arc<Gateway>,
    options: RollUpOptions,
}

/// A bucket and when it is looked after next.
#[derive(Clone)]
struct Turn {
    tenant: Tenant,
    bucket: Bucket,
    at: Instant,
    wait: Duration,
    /// What was folded of each stream since it was measured, as text.
    unmeasured: [usize; 2],
}

/// What the gauges tell of an app in live mode, over its buckets.
#[derive(Clone, Copy, Default)]
struct Gauges {
    lag: u64,
    entries: u64,
    oldest_ms: TimeMs,
}

impl RollUp {
    pub fn new(gateway: Arc<Gateway>, options: RollUpOptions) -> Self {
        Self { gateway, options }
    }

    /// Runs until it is dropped.
    pub async fn run(self, pulse: Pulse) {
        let mut turns: Vec<Turn> = Vec::new();
        let mut far = Instant::now();
        let mut known = 0;
        loop {
            pulse.beat().await;
            // A change of a configuration may have brought a sandbox.
            let changed = self.gateway.configured();
            let look_far = far <= Instant::now();
            let looked = async {
                if look_far || changed != known {
                    turns = self.turns(&turns, &pulse).await?;
                }
                self.look(&mut turns, &pulse).await?;
                if look_far {
                    self.trim(&mut turns, &pulse).await?;
                    self.tell(&turns, &pulse).await?;
                }
                Ok::<_, ServiceError>(())
            }
            .await;
            match looked {
                Ok(()) => {
                    known = changed;
                    if look_far {
                        far = Instant::now() + LOOK_FAR;
                    }
                }
                Err(error) => tracing::debug!(?error, "rollups wait for the store"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The buckets that there are; a known one keeps its turn.
    async fn turns(&self, known: &[Turn], pulse: &Pulse) -> Result<Vec<Turn>, ServiceError> {
        let mut known: HashMap<&Bucket, &Turn> = known.iter().map(|turn| (&turn.bucket, turn)).collect();
        let mut turns = Vec::new();
        for app in self.gateway.apps().await? {
            pulse.beat().await;
            let id = AppId::parse(&app.id).map_err(|error| ServiceError::Internal(error.to_string()))?;
            let config = self.gateway.config(&id).await?;
            for mode in std::iter::once(Mode::Live).chain(config.sandboxes.iter().cloned().map(Mode::Test)) {
                let tenant = Tenant { app: id.clone(), mode, placement: app.placement };
                for bucket in tenant.buckets() {
                    let turn = known.remove(&bucket).cloned();
                    let turn = turn.unwrap_or_else(|| Turn {
                        tenant: tenant.clone(),
                        bucket,
                        at: Instant::now(),
                        wait: LOOK,
                        unmeasured: [0; 2],
                    });
                    turns.push(turn);
                }
            }
        }
        Ok(turns)
    }

    /// Folds what those buckets have whose turn it is.
    async fn look(&self, turns: &mut [Turn], pulse: &Pulse) -> Result<(), ServiceError> {
        for turn in turns.iter_mut().filter(|turn| turn.at <= Instant::now()) {
            pulse.beat().await;
            let entries = match self.fold(turn, pulse).await {
                Err(error @ (ServiceError::StoreUnavailable(_) | ServiceError::StoreRefused(_))) => return Err(error),
                Err(error) => {
                    // Others must not wait for it.
                    tracing::warn!(?error, app = %turn.tenant.app, mode = %turn.tenant.mode, "entries cannot be rolled up");
                    0
                }
                Ok(entries) => entries,
            };
            turn.wait = if entries > 0 { LOOK } else { (turn.wait * 2).min(LOOK_IDLE) };
            turn.at = Instant::now() + turn.wait;
        }
        Ok(())
    }

    async fn fold(&self, turn: &mut Turn, pulse: &Pulse) -> Result<usize, ServiceError> {
        let mut entries = 0;
        for (place, stream) in Stream::ALL.into_iter().enumerate() {
            // A few steps at a time, so that the node reports its progress in between.
            for _ in 0..STEPS / STEPS_AT_ONCE {
                pulse.beat().await;
                let folded = self.gateway.fold_stream(&turn.tenant, &turn.bucket, stream, STEPS_AT_ONCE).await?;
                entries += folded.entries;
                turn.unmeasured[place] += folded.bytes;
                if folded.whole {
                    break;
                }
            }
            let bound = self.options.bytes.of(stream);
            if u64::try_from(turn.unmeasured[place]).unwrap_or(u64::MAX) > bound / MEASURED_SHARE {
                self.gateway.bound_entries(&turn.tenant, &turn.bucket, stream, self.options.bytes).await?;
                turn.unmeasured[place] = 0;
            }
        }
        Ok(entries)
    }

    /// Drops entries that are too old, by real time, and those that are too much, in bytes.
    async fn trim(&self, turns: &mut [Turn], pulse: &Pulse) -> Result<(), ServiceError> {
        let now = self.now().await?;
        let mut bytes: HashMap<(AppId, Stream), u64> = HashMap::new();
        let mut apps: HashSet<AppId> = HashSet::new();
        for turn in turns {
            pulse.beat().await;
            for stream in Stream::ALL {
                let before = now - TimeMs::from(self.options.ledger_days) * DAY_MS;
                self.gateway.store.trim(&turn.bucket, stream, before).await?;
                let bounded =
                    self.gateway.bound_entries(&turn.tenant, &turn.bucket, stream, self.options.bytes).await?;
                if turn.tenant.mode == Mode::Live {
                    *bytes.entry((turn.tenant.app.clone(), stream)).or_default() += bounded.bytes;
                }
            }
            turn.unmeasured = [0; 2];
            self.gateway.bound_others(&turn.tenant, &turn.bucket, self.options.bytes).await?;
            if apps.insert(turn.tenant.app.clone()) {
                self.gateway.bound_app(&turn.tenant, self.options.bytes).await?;
            }
        }
        for ((app, stream), bytes) in bytes {
            let stream = stream.as_str().to_owned();
            let labels = [("app", app.to_string()), ("mode", Mode::Live.to_string()), ("stream", stream)];
            metrics::gauge!("quotagate_stream_bytes", &labels).set(bytes as f64);
        }
        Ok(())
    }

    /// Sets the gauges of the live modes.
    async fn tell(&self, turns: &[Turn], pulse: &Pulse) -> Result<(), ServiceError> {
        let now = self.now().await?;
        let mut apps: HashMap<&AppId, Gauges> = HashMap::new();
        for turn in turns.iter().filter(|turn| turn.tenant.mode == Mode::Live) {
            pulse.beat().await;
            let gauges = apps.entry(&turn.tenant.app).or_default();
            for stream in Stream::ALL {
                gauges.lag += self.gateway.rollup_lag(&turn.bucket, stream).await?;
            }
            let StreamInfo { length, first, .. } = self.gateway.store.stream_info(&turn.bucket, Stream::Ledger).await?;
            gauges.entries += length;
            let first_ms = first.and_then(|id| TimeMs::try_from(id.time_ms).ok());
            gauges.oldest_ms = gauges.oldest_ms.max(first_ms.map_or(0, |first_ms| now - first_ms));
        }
        for (app, gauges) in apps {
            let labels = [("app", app.to_string()), ("mode", Mode::Live.to_string())];
            metrics::gauge!("quotagate_rollup_lag_entries", &labels).set(gauges.lag as f64);
            metrics::gauge!("quotagate_ledger_entries", &labels).set(gauges.entries as f64);
            metrics::gauge!("quotagate_ledger_oldest_seconds", &labels).set(gauges.oldest_ms as f64 / 1000.0);
        }
        Ok(())
    }

    async fn now(&self) -> Result<TimeMs, ServiceError> {
        Ok(TimeMs::try_from(self.gateway.store.time_us().await? / 1000).unwrap_or(TimeMs::MAX))
    }
}

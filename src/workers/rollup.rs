//! Rolls up: a node folds the new entries in the streams of its buckets (`service/nodes/leases.rs`), trims the streams and
//! sets their gauges. It runs outside of metering calls. Reports do not wait for it, since they fold new entries
//! themselves.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::reporting::entry_id::EntryId;
use crate::domain::time::window::TimeMs;
use crate::domain::values::ids::{AppId, Mode};
use crate::infra::supervise::Pulse;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::nodes::leases::{Leases, Work};
use crate::service::reporting::byte_bounds::ByteBounds;
use crate::service::reporting::retention::Retention;
use crate::service::tenant::Tenant;
use crate::store::keys::Bucket;
use crate::store::reporting::ledger::StreamInfo;
use crate::store::reporting::stream::Stream;

/// How long rows and entries are stored.
#[derive(Clone, Copy, Debug)]
pub struct RollUpOptions {
    pub rollup: Retention,
    /// Days for which entries of the ledger and denials are stored, 1 to 3660.
    pub ledger_days: u16,
    /// The memory that streams may use in Redis.
    pub bytes: ByteBounds,
}

impl Default for RollUpOptions {
    fn default() -> Self {
        Self { rollup: Retention::default(), ledger_days: 35, bytes: ByteBounds::default() }
    }
}

/// How often a node checks a bucket with new entries. A bucket without new entries is checked less and less often.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_IDLE: Duration = Duration::from_secs(15);
/// How often it trims streams and sets gauges, and how soon after its set of buckets has changed.
const LOOK_AT_ALL: Duration = Duration::from_secs(60);
const LOOK_FAR_SOON: Duration = Duration::from_secs(5);
/// Steps per bucket and stream in one check, so that other buckets get their turn: 10,000 entries.
const STEPS: usize = 25;
const STEPS_AT_ONCE: usize = 5;
/// A stream is measured after this fraction of its limit was folded, and whenever it is trimmed: a fortieth.
const MEASURED_SHARE: u64 = 40;
const DAY_MS: TimeMs = crate::domain::time::day::DAY_MS;

/// The rollup worker of one node. Clones share its state.
#[derive(Clone)]
pub struct RollUp {
    gateway: Arc<Gateway>,
    options: RollUpOptions,
}

/// A bucket and the time of its next check.
#[derive(Clone)]
struct Turn {
    tenant: Tenant,
    bucket: Bucket,
    at: Instant,
    wait: Duration,
    /// The last folded entries of the streams, as far as this node knows; None before the first check.
    folded: Option<[EntryId; 2]>,
    /// The size of what was folded since each stream was measured, as text.
    unmeasured: [usize; 2],
}

/// The gauges of an app in live mode, over those of its buckets that are this node's.
#[derive(Clone, Copy, Default)]
struct Gauges {
    lag: u64,
    entries: u64,
    oldest_ms: TimeMs,
    /// Per stream.
    bytes: [u64; 2],
}

impl Gauges {
    fn set(self, app: &AppId) {
        let labels = [("app", app.to_string()), ("mode", Mode::Live.to_string())];
        metrics::gauge!("quotagate_rollup_lag_entries", &labels).set(self.lag as f64);
        metrics::gauge!("quotagate_ledger_entries", &labels).set(self.entries as f64);
        metrics::gauge!("quotagate_ledger_oldest_seconds", &labels).set(self.oldest_ms as f64 / 1000.0);
        for (stream, bytes) in Stream::ALL.into_iter().zip(self.bytes) {
            let [app, mode] = labels.clone();
            let labels = [app, mode, ("stream", stream.as_str().to_owned())];
            metrics::gauge!("quotagate_stream_bytes", &labels).set(bytes as f64);
        }
    }
}

impl RollUp {
    pub fn new(gateway: Arc<Gateway>, options: RollUpOptions) -> Self {
        Self { gateway, options }
    }

    /// Runs until it is dropped.
    pub async fn run(self, pulse: Pulse) {
        let leases = Leases::new(Arc::clone(&self.gateway), Work::Rollups, pulse);
        let mut turns: Vec<Turn> = Vec::new();
        let mut shown = BTreeSet::new();
        let mut far = Instant::now();
        let (mut known, mut held) = (None, 0);
        loop {
            leases.beat().await;
            // A change of a configuration may have added a sandbox.
            let changed = (leases.held(), self.gateway.configured());
            if held != changed.0 {
                let soon = if held == 0 { Duration::ZERO } else { LOOK_FAR_SOON };
                (held, far) = (changed.0, far.min(Instant::now() + soon));
            }
            let look_at_all = far <= Instant::now();
            let looked = async {
                if known != Some(changed) {
                    turns = self.turns(&turns, &leases).await?;
                }
                self.look(&mut turns, &leases).await?;
                if look_at_all {
                    self.look_at_all(&mut turns, &mut shown, &leases).await?;
                }
                Ok::<_, ServiceError>(())
            }
            .await;
            match looked {
                Ok(()) => {
                    known = Some(changed);
                    if look_at_all {
                        far = Instant::now() + LOOK_AT_ALL;
                    }
                }
                Err(error) => tracing::debug!(?error, "cannot roll up; retrying"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// This node's buckets; known ones keep the time of their next check.
    async fn turns(&self, known: &[Turn], leases: &Leases) -> Result<Vec<Turn>, ServiceError> {
        let mut known: HashMap<&Bucket, &Turn> = known.iter().map(|turn| (&turn.bucket, turn)).collect();
        let mut turns = Vec::new();
        for app in self.gateway.known_apps().await?.iter() {
            leases.beat().await;
            let id = AppId::parse(&app.id).map_err(|error| ServiceError::Internal(error.to_string()))?;
            let live = Tenant { app: id.clone(), mode: Mode::Live, placement: app.placement };
            if leases.buckets(&live).is_empty() {
                continue;
            }
            let config = self.gateway.config(&id).await?;
            let sandboxes = config.sandboxes.iter().cloned().map(Mode::Test);
            let sandboxes = sandboxes.map(|mode| Tenant { mode, ..live.clone() });
            for tenant in std::iter::once(live.clone()).chain(sandboxes) {
                for bucket in leases.buckets(&tenant) {
                    let turn = known.remove(&bucket).cloned();
                    let turn = turn.unwrap_or_else(|| Turn {
                        tenant: tenant.clone(),
                        bucket,
                        at: Instant::now(),
                        wait: LOOK,
                        folded: None,
                        unmeasured: [0; 2],
                    });
                    turns.push(turn);
                }
            }
        }
        Ok(turns)
    }

    /// Folds the entries of the buckets that are due.
    async fn look(&self, turns: &mut [Turn], leases: &Leases) -> Result<(), ServiceError> {
        for turn in turns.iter_mut().filter(|turn| turn.at <= Instant::now()) {
            leases.beat().await;
            if !leases.holds(&turn.tenant, &turn.bucket) {
                continue;
            }
            let entries = match self.fold(turn, leases).await {
                Err(error @ (ServiceError::StoreUnavailable(_) | ServiceError::StoreRefused(_))) => return Err(error),
                Err(error) => {
                    // Other buckets must not wait for it.
                    tracing::warn!(?error, app = %turn.tenant.app, mode = %turn.tenant.mode, "cannot roll up entries");
                    0
                }
                Ok(entries) => entries,
            };
            turn.wait = if entries > 0 { LOOK } else { (turn.wait * 2).min(LOOK_IDLE) };
            turn.at = Instant::now() + turn.wait;
        }
        Ok(())
    }

    async fn fold(&self, turn: &mut Turn, leases: &Leases) -> Result<usize, ServiceError> {
        // In the usual case this costs one read.
        if let Some(folded) = turn.folded
            && !self.gateway.store.has_entries_after(&turn.bucket, folded).await?
        {
            return Ok(0);
        }
        let (mut entries, mut last) = (0, [EntryId { time_ms: 0, number: 0 }; 2]);
        for (place, stream) in Stream::ALL.into_iter().enumerate() {
            // A few steps at a time, so that the node reports progress in between.
            for _ in 0..STEPS / STEPS_AT_ONCE {
                leases.beat().await;
                let folded = self.gateway.fold_stream(&turn.tenant, &turn.bucket, stream, STEPS_AT_ONCE).await?;
                entries += folded.entries;
                turn.unmeasured[place] += folded.bytes;
                last[place] = folded.last.unwrap_or(last[place]);
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
        turn.folded = Some(last);
        Ok(entries)
    }

    /// Trims streams and sets the gauges of the live modes; `shown` are the apps whose gauges were set before.
    async fn look_at_all(
        &self,
        turns: &mut [Turn],
        shown: &mut BTreeSet<AppId>,
        leases: &Leases,
    ) -> Result<(), ServiceError> {
        // Gauges that other nodes will set from now on.
        let mut gauges: HashMap<AppId, Gauges> = shown.iter().map(|app| (app.clone(), Gauges::default())).collect();
        let now = self.now().await?;
        let mut apps: HashSet<AppId> = HashSet::new();
        for turn in turns {
            leases.beat().await;
            if apps.insert(turn.tenant.app.clone()) && leases.holds_app(&turn.tenant.app) {
                self.gateway.bound_app(&turn.tenant, self.options.bytes).await?;
            }
            let of_app = gauges.entry(turn.tenant.app.clone()).or_default();
            let streams = [turn.bucket.ledger(), turn.bucket.denials(), turn.bucket.outbox(), turn.bucket.audit()];
            if !self.gateway.store.any_exists(&streams).await? {
                continue;
            }
            let bytes = self.trim(turn, now).await?;
            if turn.tenant.mode == Mode::Live {
                self.measure(&turn.bucket, now, of_app).await?;
                for (sum, bytes) in of_app.bytes.iter_mut().zip(bytes) {
                    *sum += bytes;
                }
            }
        }
        for (app, gauges) in gauges {
            gauges.set(&app);
            shown.insert(app);
        }
        Ok(())
    }

    /// Drops entries that are too old, by real time, or exceed the limit in bytes. Returns the size of the streams.
    async fn trim(&self, turn: &mut Turn, now: TimeMs) -> Result<[u64; 2], ServiceError> {
        let mut bytes = [0; 2];
        for (stream, bytes) in Stream::ALL.into_iter().zip(&mut bytes) {
            let before = now - TimeMs::from(self.options.ledger_days) * DAY_MS;
            self.gateway.store.trim(&turn.bucket, stream, before).await?;
            *bytes = self.gateway.bound_entries(&turn.tenant, &turn.bucket, stream, self.options.bytes).await?.bytes;
        }
        turn.unmeasured = [0; 2];
        self.gateway.bound_others(&turn.tenant, &turn.bucket, self.options.bytes).await?;
        Ok(bytes)
    }

    /// Adds a bucket to the gauges of its app.
    async fn measure(&self, bucket: &Bucket, now: TimeMs, gauges: &mut Gauges) -> Result<(), ServiceError> {
        for stream in Stream::ALL {
            gauges.lag += self.gateway.rollup_lag(bucket, stream).await?;
        }
        let StreamInfo { length, first, .. } = self.gateway.store.stream_info(bucket, Stream::Ledger).await?;
        gauges.entries += length;
        let first_ms = first.and_then(|id| TimeMs::try_from(id.time_ms).ok());
        gauges.oldest_ms = gauges.oldest_ms.max(first_ms.map_or(0, |first_ms| now - first_ms));
        Ok(())
    }

    async fn now(&self) -> Result<TimeMs, ServiceError> {
        Ok(TimeMs::try_from(self.gateway.store.time_us().await? / 1000).unwrap_or(TimeMs::MAX))
    }
}

//! Leases on background work, so that one node at a time does it for a bucket. They only save work: the results are
//! also correct if two nodes do it at once, and reports do themselves what no node has done yet.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::values::ids::AppId;
use crate::infra::supervise::Pulse;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::keys::{Bucket, hash};

/// The number of parts that all buckets are divided into; a node holds some of them.
pub const PARTS: u8 = 8;
/// How long a lease lasts without renewal, and how often nodes check and renew. When a node dies, its leases expire
/// after the first time, and another node takes them with one of its next two checks.
const STAYS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(1_500);

/// A kind of background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Folding, trimming and gauges.
    Rollups,
    Webhooks,
}

impl Work {
    pub const ALL: [Self; 2] = [Self::Rollups, Self::Webhooks];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rollups => "rollups",
            Self::Webhooks => "webhooks",
        }
    }
}

/// This node's leases on one kind of work. A worker renews them by reporting progress, so a stuck worker loses them.
pub struct Leases {
    gateway: Arc<Gateway>,
    work: Work,
    pulse: Pulse,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The parts that this node holds, as bits.
    held: u8,
    /// The parts without a holder at the last check.
    free: u8,
    /// When the last successful check began.
    renewed: Option<Instant>,
    /// When the last check began.
    looked: Option<Instant>,
}

impl Leases {
    pub fn new(gateway: Arc<Gateway>, work: Work, pulse: Pulse) -> Self {
        Self { gateway, work, pulse, state: Mutex::default() }
    }

    /// Reports progress, and checks the leases from time to time.
    pub async fn beat(&self) {
        self.pulse.beat().await;
        let now = Instant::now();
        if self.state().looked.is_some_and(|looked| now.duration_since(looked) < LOOK) {
            return;
        }
        self.state().looked = Some(now);
        match self.look().await {
            Ok((held, free)) => {
                *self.state() = State { held, free, renewed: Some(now), looked: Some(now) };
                metrics::gauge!("quotagate_leases_held", "work" => self.work.as_str()).set(held.count_ones());
            }
            Err(error) => tracing::debug!(?error, work = self.work.as_str(), "cannot renew leases"),
        }
    }

    /// Renews this node's leases and takes free ones. Returns the held parts and the free ones.
    async fn look(&self) -> Result<(u8, u8), ServiceError> {
        let (store, node, work) = (&self.gateway.store, &self.gateway.node, self.work.as_str());
        let holders = store.lease_holders(work, PARTS).await?;
        let of = |holder: Option<&str>| {
            let parts = (0..PARTS).zip(&holders).filter(move |(_, found)| found.as_deref() == holder);
            parts.map(|(part, _)| part).collect::<Vec<u8>>()
        };
        let (mut own, free_now) = (of(Some(node.as_str())), of(None));
        let share = usize::from(PARTS).div_ceil(self.gateway.active_nodes.load(Ordering::Relaxed).max(1));
        // Releases one at a time, for nodes with fewer.
        if own.len() > share
            && let Some(part) = own.pop()
        {
            store.free_lease(work, part).await?;
        }
        let mut held = store.renew_leases(work, own, STAYS).await?;
        let mut free = 0;
        for part in free_now {
            // A part that has been free since the last check is taken even above the share, because a node has
            // probably died.
            let is_wanted = held.len() < share || self.state().free & bit(part) > 0;
            if !is_wanted {
                free |= bit(part);
            } else if store.take_lease(work, part, node, STAYS).await? {
                held.push(part);
            }
        }
        Ok((held.into_iter().fold(0, |held, part| held | bit(part)), free))
    }

    /// The parts that this node holds now, as a number that changes with them.
    pub fn held(&self) -> u8 {
        let state = self.state();
        let lives = state.renewed.is_some_and(|renewed| renewed.elapsed() < STAYS);
        if lives { state.held } else { 0 }
    }

    /// Whether this node does the work for a bucket.
    pub fn holds(&self, tenant: &Tenant, bucket: &Bucket) -> bool {
        self.held() & bit(part_of(&tenant.app, bucket.number())) > 0
    }

    /// The buckets of an app's mode for which this node does the work.
    pub fn buckets(&self, tenant: &Tenant) -> Vec<Bucket> {
        let mut buckets = tenant.buckets();
        buckets.retain(|bucket| self.holds(tenant, bucket));
        buckets
    }

    /// Whether this node does the work for the app's data outside of buckets.
    pub fn holds_app(&self, app: &AppId) -> bool {
        self.held() & bit(part_of(app, 0)) > 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn bit(part: u8) -> u8 {
    1 << (part % PARTS)
}

/// The part of a bucket. The buckets of an app are spread over all parts.
pub fn part_of(app: &AppId, bucket: u8) -> u8 {
    ((hash(app.as_str()) % u64::from(PARTS)) as u8 + bucket) % PARTS
}

impl Gateway {
    /// Releases this node's leases, so that others need not wait until they expire.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn give_up_leases(&self) -> Result<(), ServiceError> {
        for work in Work::ALL.map(Work::as_str) {
            for (part, holder) in (0..PARTS).zip(self.store.lease_holders(work, PARTS).await?) {
                if holder.as_ref() == Some(&self.node) {
                    self.store.free_lease(work, part).await?;
                }
            }
        }
        Ok(())
    }
}

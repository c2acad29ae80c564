//! Leases on background work, so that one node at a time does it for a bucket. They only save work: whatever is done under
//! them is also exact when two nodes do it at once, and reports do themselves what nobody has done yet.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::values::ids::AppId;
use crate::infra::supervise::Pulse;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::keys::{Bucket, hash};

/// All buckets, in so many parts; a node holds some of them.
pub const PARTS: u8 = 8;
/// How long a lease stays without being renewed, and how often nodes look and renew. What a dead node held is free after
/// the former, and is another's at the look after the next at the latest.
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

/// This node's leases on one kind of work. Whoever works renews them by reporting progress: a worker that is stuck loses
/// them.
pub struct Leases {
    gateway: Arc<Gateway>,
    work: Work,
    pulse: Pulse,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What this node holds, a bit per part.
    held: u8,
    /// What nobody held at the last look.
    free: u8,
    /// When the last look that succeeded began.
    renewed: Option<Instant>,
    /// When the last one began.
    looked: Option<Instant>,
}

impl Leases {
    pub fn new(gateway: Arc<Gateway>, work: Work, pulse: Pulse) -> Self {
        Self { gateway, work, pulse, state: Mutex::default() }
    }

    /// Reports progress, and looks after the leases now and then.
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
            Err(error) => tracing::debug!(?error, work = self.work.as_str(), "leases are not renewed"),
        }
    }

    /// Renews what this node holds, and takes what is free. Answers what it holds and what nobody holds.
    async fn look(&self) -> Result<(u8, u8), ServiceError> {
        let (store, node, work) = (&self.gateway.store, &self.gateway.node, self.work.as_str());
        let holders = store.lease_holders(work, PARTS).await?;
        let of = |holder: Option<&str>| {
            let parts = (0..PARTS).zip(&holders).filter(move |(_, found)| found.as_deref() == holder);
            parts.map(|(part, _)| part).collect::<Vec<u8>>()
        };
        let (mut own, free_now) = (of(Some(node.as_str())), of(None));
        let share = usize::from(PARTS).div_ceil(self.gateway.nodes_heard.load(Ordering::Relaxed).max(1));
        // One at a time to those that have less.
        if own.len() > share
            && let Some(part) = own.pop()
        {
            store.free_lease(work, part).await?;
        }
        let mut held = store.renew_leases(work, own, STAYS).await?;
        let mut free = 0;
        for part in free_now {
            // What nobody has taken since the last look is taken beyond the share: a node has died lately.
            let is_wanted = held.len() < share || self.state().free & bit(part) > 0;
            if !is_wanted {
                free |= bit(part);
            } else if store.take_lease(work, part, node, STAYS).await? {
                held.push(part);
            }
        }
        Ok((held.into_iter().fold(0, |held, part| held | bit(part)), free))
    }

    /// The parts that this node holds now, as a number that changes when they do.
    pub fn held(&self) -> u8 {
        let state = self.state();
        let lives = state.renewed.is_some_and(|renewed| renewed.elapsed() < STAYS);
        if lives { state.held } else { 0 }
    }

    /// Is the work for a bucket this node's?
    pub fn holds(&self, tenant: &Tenant, bucket: &Bucket) -> bool {
        self.held() & bit(part_of(&tenant.app, bucket.number())) > 0
    }

    /// The buckets of an app's mode whose work is this node's.
    pub fn buckets(&self, tenant: &Tenant) -> Vec<Bucket> {
        let mut buckets = tenant.buckets();
        buckets.retain(|bucket| self.holds(tenant, bucket));
        buckets
    }

    /// Is what an app has outside of its buckets this node's work?
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

/// The part that a bucket belongs to: an app's are spread over all of them.
pub fn part_of(app: &AppId, bucket: u8) -> u8 {
    ((hash(app.as_str()) % u64::from(PARTS)) as u8 + bucket) % PARTS
}

impl Gateway {
    /// Frees this node's leases, so that others need not wait until they end.
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

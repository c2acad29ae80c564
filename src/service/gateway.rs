//! The state of a gateway node that all use cases share: the store and the node's caches.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use quick_cache::sync::Cache;

use super::access::key_record::random_text;
use super::access::key_ring::KeyRing;
use super::access::known_apps::KnownApps;
use super::configuration::cache::Configs;
use super::degraded::state::Degraded;
use super::metering::clocks::Clocks;
use super::metering::known_estimates::Estimates;
use super::reporting::retention::Retention;
use super::tenant::Placement;
use crate::domain::accounts::subscription::Subscribed;
use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::policy::Policy;
use crate::domain::values::ids::{AppId, PlanId, PolicyId};
use crate::infra::supervise::Parts;
use crate::store::Store;
use crate::store::metering::record::PackedReservation;

/// Cache sizes for subscriptions, reservations and plan versions. Scripts check cached facts, so the sizes only affect
/// how often a second round trip is needed.
const CACHED_SUBSCRIPTIONS: usize = 200_000;
const CACHED_RESERVATIONS: usize = 50_000;
const CACHED_APPS: usize = 2_000;
const CACHED_VERSIONS: usize = 2_000;
const CACHED_OWN_PLANS: usize = 10_000;

/// A gateway node: stateless except for caches, which no decision depends on.
pub struct Gateway {
    pub store: Store,
    /// The name of this node.
    pub node: String,
    /// The number of active nodes, including this one.
    pub(crate) active_nodes: AtomicUsize,
    /// The state of its background tasks.
    pub parts: Parts,
    pub keys: KeyRing,
    /// Whether webhooks may be sent to private addresses.
    pub webhooks_may_be_private: bool,
    /// How long rows of reports are stored.
    pub rollup: Retention,
    /// What is needed while Redis is unavailable.
    pub degraded: Degraded,
    pub(crate) clocks: Clocks,
    pub(crate) configs: Configs,
    /// What is learned about figures that calls do not have yet.
    pub(crate) estimates: Estimates,
    /// By the key of the user's counters.
    pub(crate) subscriptions: Cache<String, Arc<Subscribed>>,
    /// By the key of the reservation's record.
    pub(crate) reservations: Cache<String, PackedReservation>,
    pub(crate) placements: Cache<AppId, Placement>,
    /// The existing apps.
    pub(crate) apps: KnownApps,
    pub(crate) versions: Cache<(AppId, PlanId, u64), Arc<Plan>>,
    pub(crate) policy_versions: Cache<(AppId, PolicyId, u64), Arc<Policy>>,
    /// Custom plans of users, by the key of the user's counters, the user's version and the plan's version.
    pub(crate) own_plans: Cache<(String, String, u64), Arc<Plan>>,
}

impl Gateway {
    pub fn new(store: Store, root_key: Option<&str>) -> Self {
        Self {
            store,
            node: random_text()[..8].to_owned(),
            active_nodes: AtomicUsize::new(1),
            parts: Parts::default(),
            keys: KeyRing::new(root_key),
            webhooks_may_be_private: false,
            rollup: Retention::default(),
            degraded: Degraded::default(),
            clocks: Clocks::default(),
            configs: Configs::default(),
            estimates: Estimates::default(),
            subscriptions: Cache::new(CACHED_SUBSCRIPTIONS),
            reservations: Cache::new(CACHED_RESERVATIONS),
            placements: Cache::new(CACHED_APPS),
            apps: KnownApps::default(),
            versions: Cache::new(CACHED_VERSIONS),
            policy_versions: Cache::new(CACHED_VERSIONS),
            own_plans: Cache::new(CACHED_OWN_PLANS),
        }
    }
}

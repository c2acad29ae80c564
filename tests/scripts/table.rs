//! A bucket, and calls of its scripts.

use std::collections::BTreeMap;
use std::time::Duration;

use quotagate::domain::configuration::scope::OwnerName;
use quotagate::domain::metering::admission::Validity;
use quotagate::domain::metering::counter::CounterState;
use quotagate::domain::metering::idempotency::Idempotency;
use quotagate::domain::metering::reservation::{Item, ONE, RequestSnapshot, ReservationId, Total};
use quotagate::domain::reporting::ledger::EntryDetails;
use quotagate::domain::time::window::{TimeMs, Window, parse_rfc3339};
use quotagate::domain::values::amount::Amount;
use quotagate::domain::values::ids::{AppId, EventName, GroupId, IdempotencyKey, Mode, PlanId, UserId};
use quotagate::store::Store;
use quotagate::store::configuration::test_clock::SetClockReply;
use quotagate::store::error::StoreError;
use quotagate::store::keys::Bucket;
use quotagate::store::metering::admission::{Facts, OwnedGroup, Owner, UserExpiry};
use quotagate::store::metering::extend::{ExtendArgs, ExtendReply};
use quotagate::store::metering::operation::Operation;
use quotagate::store::metering::request_snapshot::snapshot_text;
use quotagate::store::metering::reserve::{ReserveArgs, ReserveReply};
use quotagate::store::metering::settle::{Measured, SettleReply, Settled, Target};
use quotagate::store::metering::track::{TrackArgs, TrackReply};
use quotagate::store::metering::usage::UsageReply;

use crate::support::cluster::Cluster;
use crate::support::stored::taken_apart;
use crate::support::{PATIENCE, Redis};

pub const MOST: u64 = Amount::MOST;
pub const DAY_1: &str = "daily/20270131/20270201";
pub const DAY_2: &str = "daily/20270201/20270202";
pub const FOR_EVER: &str = "lifetime/20270101/99991231T235959";
pub const IN_FLIGHT: &str = "concurrent/20270101/99991231T235959";
/// A time in [`DAY_1`].
pub const NOON: &str = "2027-01-31T12:00:00Z";

pub fn ms(text: &str) -> TimeMs {
    parse_rfc3339(text).unwrap()
}

pub fn amount(steps: u64) -> Amount {
    Amount::from_steps(steps).unwrap()
}

pub fn group(id: &str) -> GroupId {
    GroupId::parse(id).unwrap()
}

pub fn tally(used: u64, held: u64) -> CounterState {
    CounterState { used: amount(used), held: amount(held), ..CounterState::default() }
}

/// The same, with no room for the call.
pub fn full(used: u64, held: u64) -> CounterState {
    CounterState { over_limit: true, ..tally(used, held) }
}

/// Group id, window, amount, limit.
pub type Ask<'a> = (&'a str, &'a str, u64, u64);

/// What a call assumes about the stored state.
#[derive(Clone, Copy)]
pub struct Belief<'a> {
    pub revision: u64,
    pub version: &'a str,
    pub validity: Validity,
    pub verdict: &'a str,
    pub forget: Option<UserExpiry<'a>>,
}

pub const BELIEF: Belief<'static> =
    Belief { revision: 1, version: "0", validity: Validity::ALWAYS, verdict: "", forget: None };

impl Belief<'_> {
    /// Valid within the bounds of a window.
    pub fn within(self, window: &str) -> Self {
        let window = Window::parse(window).unwrap();
        let until_ms = window.end_ms.unwrap_or(TimeMs::MAX);
        Self { validity: Validity { from_ms: window.start_ms, until_ms }, ..self }
    }
}

pub struct Table {
    pub redis: Redis,
    pub store: Store,
    pub bucket: Bucket,
}

pub fn harmless() -> Operation {
    Operation::new("", None, false)
}

pub fn counted() -> Operation {
    Operation::new("", None, true)
}

pub fn keyed(key: &str, request: &str) -> Operation {
    let idempotency = Idempotency {
        key: IdempotencyKey::parse(key).unwrap(),
        request: request.to_owned(),
        replayed: Default::default(),
    };
    Operation::new("u", Some(&idempotency), true)
}

pub fn snapshot() -> RequestSnapshot {
    RequestSnapshot {
        user: UserId::parse("u").unwrap(),
        key: None,
        plan: Some(PlanId::parse("p").unwrap()),
        version: 1,
        rules: None,
        policies: Vec::new(),
        items: [Item {
            event: EventName::parse("image.render").unwrap(),
            quantity: ONE,
            metadata: Default::default(),
            estimated: Default::default(),
            drawn: None,
        }]
        .into(),
        fitted: None,
    }
}

impl Table {
    /// A sandbox whose clock is frozen at [`NOON`].
    pub async fn new() -> Self {
        let table = Self::of("test").await;
        let frozen = table.store.set_clock(&table.bucket, ms(NOON), true).await.unwrap();
        assert_eq!(frozen, SetClockReply::Frozen);
        table
    }

    /// In live mode, with the real time.
    pub async fn live() -> Self {
        Self::of("live").await
    }

    async fn of(mode: &str) -> Self {
        let redis = Redis::start().await;
        let store = Store::open(&redis.url(), PATIENCE).unwrap();
        Self::with(redis, store, mode).await
    }

    /// In live mode, in a cluster, with this time limit for a call. Its own Redis stays empty.
    pub async fn in_cluster(cluster: &Cluster, timeout: Duration) -> Self {
        let store = Store::open(&cluster.url(), timeout).unwrap();
        Self::with(Redis::start().await, store, "live").await
    }

    async fn with(redis: Redis, store: Store, mode: &str) -> Self {
        let bucket = Bucket::whole(&AppId::parse("acme").unwrap(), &Mode::parse(mode).unwrap());
        store.stamp(&bucket, BELIEF.revision).await.unwrap();
        Self { redis, store, bucket }
    }

    /// Number of calls of each command since the last reset.
    pub async fn commands(&self) -> BTreeMap<String, u64> {
        let info: String = self.redis.run(&["INFO", "commandstats"]).await;
        self.redis.run::<String>(&["CONFIG", "RESETSTAT"]).await;
        let counted = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        };
        info.lines().filter_map(counted).collect()
    }

    /// Sets the clock, back as well as forward.
    pub async fn clock(&self, now_ms: TimeMs) {
        self.redis.run::<()>(&["SET", &self.bucket.clock(), &now_ms.to_string()]).await;
    }

    pub async fn at(&self, now: &str) {
        self.clock(ms(now)).await;
    }

    pub fn owner(&self, name: &str, groups: &[Ask<'_>]) -> Owner {
        let owned = |(id, window, steps, limit): &Ask<'_>| OwnedGroup {
            id: group(id),
            window: Window::parse(window).unwrap_or_else(|| panic!("{window}")),
            amount: amount(*steps),
            limit: amount(*limit),
            quota: None,
            rollover: None,
            watch: None,
            observes: false,
            is_hard: true,
            balance: None,
        };
        Owner {
            keys: self.bucket.user(&UserId::parse(name).unwrap()),
            renew: None,
            groups: groups.iter().map(owned).collect(),
        }
    }

    pub fn facts<'a>(&self, belief: &Belief<'a>) -> Facts<'a> {
        Facts {
            sandbox: self.bucket.is_sandbox(),
            revision: belief.revision,
            version: belief.version,
            validity: belief.validity,
            reports_expiry: false,
            forget: belief.forget,
        }
    }

    pub async fn reserve_as(
        &self,
        operation: &Operation,
        belief: Belief<'_>,
        ttl_ms: TimeMs,
        owners: &[Owner],
    ) -> ReserveReply {
        self.try_reserve(operation, belief, ttl_ms, owners).await.unwrap()
    }

    pub async fn try_reserve(
        &self,
        operation: &Operation,
        belief: Belief<'_>,
        ttl_ms: TimeMs,
        owners: &[Owner],
    ) -> Result<ReserveReply, StoreError> {
        let args = ReserveArgs {
            bucket: &self.bucket,
            operation,
            facts: self.facts(&belief),
            verdict: belief.verdict,
            ttl_ms,
            call_label: "image.render key_1 u",
            snapshot: &snapshot_text(&snapshot()).unwrap(),
            owners,
            asked: None,
            observed: "",
            is_fitted: false,
            growth: None,
        };
        self.store.reserve(&args).await
    }

    /// A reserve of the user `u` for a minute, with correct assumptions.
    pub async fn reserve(&self, groups: &[Ask<'_>]) -> ReserveReply {
        self.reserve_as(&harmless(), BELIEF, 60_000, &[self.owner("u", groups)]).await
    }

    /// Holds for `ttl_ms` and returns the reservation.
    pub async fn hold_for(&self, ttl_ms: TimeMs, groups: &[Ask<'_>]) -> ReservationId {
        self.hold_of(ttl_ms, &[self.owner("u", groups)]).await
    }

    pub async fn hold(&self, groups: &[Ask<'_>]) -> ReservationId {
        self.hold_for(60_000, groups).await
    }

    pub async fn hold_of(&self, ttl_ms: TimeMs, owners: &[Owner]) -> ReservationId {
        let operation = harmless();
        match self.reserve_as(&operation, BELIEF, ttl_ms, owners).await {
            ReserveReply::Held { ran, .. } => {
                ReservationId { name: operation.name, created_at_ms: ran.now_ms, bucket: self.bucket.number() }
            }
            other => panic!("{other:?}"),
        }
    }

    fn target<'a>(&'a self, id: &'a ReservationId, operation: &'a Operation) -> Target<'a> {
        Target { bucket: &self.bucket, id, operation, reports_expiry: false }
    }

    pub async fn commit_as(&self, operation: &Operation, id: &ReservationId, how: How<'_>) -> SettleReply {
        self.try_commit(operation, id, how).await.unwrap()
    }

    pub async fn try_commit(
        &self,
        operation: &Operation,
        id: &ReservationId,
        how: How<'_>,
    ) -> Result<SettleReply, StoreError> {
        // A figure for an owner that has no hold in the group is ignored.
        let figures = ["u", "team"].into_iter().flat_map(|name| how.figures.iter().map(move |figure| (name, figure)));
        let total = |(name, (id, steps)): (&str, &(&str, u64))| Total {
            owner: OwnerName::of_user(&UserId::parse(name).unwrap()),
            group: group(id),
            amount: amount(*steps),
            overflow: None,
        };
        let totals = figures.map(total).collect();
        let measured = Measured { changes: how.changes, snapshot: None, totals };
        let measured = (!how.figures.is_empty()).then_some(&measured);
        self.store
            .commit(self.target(id, operation), how.is_final, how.reject_late, measured, &EntryDetails::default())
            .await
    }

    /// A commit of everything held.
    pub async fn commit(&self, id: &ReservationId) -> SettleReply {
        self.commit_as(&harmless(), id, ALL).await
    }

    pub async fn release(&self, id: &ReservationId) -> SettleReply {
        self.store.release(self.target(id, &harmless()), &EntryDetails::default(), None).await.unwrap()
    }

    pub async fn refund(&self, id: &ReservationId, figures: &[(&str, u64)]) -> SettleReply {
        let totals: Vec<_> = figures.iter().map(|(id, steps)| (group(id), amount(*steps))).collect();
        self.store.refund(self.target(id, &counted()), &totals, &[], &EntryDetails::default()).await.unwrap()
    }

    pub async fn extend(&self, id: &ReservationId, ttl_ms: TimeMs, changes: u64, owners: &[Owner]) -> ExtendReply {
        self.extend_as(&harmless(), BELIEF, id, ttl_ms, changes, owners).await
    }

    pub async fn extend_as(
        &self,
        operation: &Operation,
        belief: Belief<'_>,
        id: &ReservationId,
        ttl_ms: TimeMs,
        changes: u64,
        owners: &[Owner],
    ) -> ExtendReply {
        let measured = Measured { changes, snapshot: None, totals: Default::default() };
        let measured = (!owners.is_empty()).then_some(&measured);
        let (target, facts) = (self.target(id, operation), self.facts(&belief));
        let args = ExtendArgs { target, ttl_ms, measured, facts, verdict: "", owners, asked: None, observed: "" };
        self.store.extend(args).await.unwrap()
    }

    pub async fn track_as(
        &self,
        operation: &Operation,
        belief: Belief<'_>,
        (enforce, refund): (bool, bool),
        groups: &[Ask<'_>],
    ) -> TrackReply {
        let owners = [self.owner("u", groups)];
        let (facts, verdict) = (self.facts(&belief), belief.verdict);
        let bucket = &self.bucket;
        let (call_label, snapshot) = ("image.render key_1 u", &snapshot());
        let owners = &owners;
        let args = TrackArgs {
            bucket,
            operation,
            facts,
            verdict,
            enforce,
            refund,
            call_label,
            snapshot,
            match_facts: "",
            owners,
            asked: None,
            observed: "",
        };
        self.store.track(args).await.unwrap()
    }

    pub async fn usage_of(&self, name: &str, groups: &[Ask<'_>]) -> UsageReply {
        self.store.usage(&self.bucket, self.facts(&BELIEF), &[self.owner(name, groups)]).await.unwrap()
    }

    /// The used and held amounts of a counter of `u`, after expired holds are reclaimed.
    pub async fn stands(&self, id: &str, window: &str) -> (u64, u64) {
        self.stands_of("u", id, window).await
    }

    pub async fn stands_of(&self, name: &str, id: &str, window: &str) -> (u64, u64) {
        match self.usage_of(name, &[(id, window, 0, MOST)]).await {
            UsageReply::Usage { states, .. } => (states[0].used.steps(), states[0].held.steps()),
            other => panic!("{other:?}"),
        }
    }

    /// The account of `u`, with its counters decoded.
    pub async fn counters(&self) -> BTreeMap<String, String> {
        taken_apart(self.redis.run(&["HGETALL", &self.owner("u", &[]).keys.account]).await)
    }

    pub async fn past(&self) -> BTreeMap<String, String> {
        self.redis.run(&["HGETALL", &self.owner("u", &[]).keys.past()]).await
    }

    pub async fn dump(&self) -> Vec<(String, Vec<u8>)> {
        self.redis.dump("qg:*").await
    }
}

/// The parameters of a commit.
#[derive(Clone, Copy)]
pub struct How<'a> {
    pub is_final: bool,
    pub reject_late: bool,
    pub changes: u64,
    pub figures: &'a [(&'a str, u64)],
}

pub const ALL: How<'static> = How { is_final: true, reject_late: false, changes: 0, figures: &[] };

#[track_caller]
pub fn settled(reply: SettleReply) -> Settled {
    match reply {
        SettleReply::Settled(_, settled) => *settled,
        other => panic!("{other:?}"),
    }
}

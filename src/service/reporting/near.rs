//! Records which counters are near their limits. Folding the ledger processes every counter that is charged and every
//! one that a denial found full, and records their state from the entries. So reports do not have to search all users,
//! and counters of teams, keys and the app are included.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::Caller;
use crate::domain::metering::counter::Counter;
use crate::domain::reporting::ledger::{DenyingCounter, StoredEntry};
use crate::domain::time::day::DAY_MS;
use crate::domain::time::window::{TimeMs, Window, WindowKind};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{GroupId, UserId};
use crate::domain::values::metadata::Metadata;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::metering::call::CounterContext;
use crate::service::tenant::Tenant;
use crate::store::keys::Bucket;
use crate::store::reporting::near::{CounterName, NearCounter, StoredNearCounter};

/// From here on a counter is near its limit, in thousandths of the limit.
pub const NEAR: u64 = 750;
/// The limit is fully used.
pub const AT_LIMIT: u64 = 1_000;
/// How many counters are recorded at their limits, and how many near them, per mode. With placement `user`, all
/// buckets share this number.
const MOST: usize = 1_000;
const LEAST_PER_BUCKET: usize = 50;
/// Counters that are read concurrently.
const PARALLEL: usize = 32;

/// The number of counters of a group that are near or at their limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfGroup {
    pub at_limit: u64,
    pub near: u64,
}

/// Counters at and near their limits.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Their present state, the fullest first.
    pub at_limit: Vec<Counter>,
    pub near: Vec<Counter>,
    /// For all recorded counters: their present state if they were read for the lists, otherwise their recorded state.
    pub groups: BTreeMap<GroupId, OfGroup>,
    /// There may be more counters than are recorded.
    pub more: bool,
    /// All entries were folded.
    pub complete: bool,
    pub now_ms: TimeMs,
}

impl Limits {
    fn count(&mut self, group: &GroupId, share: u64) {
        let of_group = self.groups.entry(group.clone()).or_default();
        *(if share >= AT_LIMIT { &mut of_group.at_limit } else { &mut of_group.near }) += 1;
    }
}

fn most_of(tenant: &Tenant) -> usize {
    (MOST / tenant.buckets().len().max(1)).max(LEAST_PER_BUCKET)
}

/// Windows shorter than a day are left out.
fn is_long(window: &Window) -> bool {
    match window.kind {
        WindowKind::Minute | WindowKind::Hourly | WindowKind::Concurrent => false,
        WindowKind::Every => window.end_ms.is_none_or(|end| end - window.start_ms >= DAY_MS),
        WindowKind::Daily
        | WindowKind::Weekly
        | WindowKind::Monthly
        | WindowKind::Yearly
        | WindowKind::Lifetime
        | WindowKind::Fixed => true,
    }
}

/// Used thousandths of the limit; None without a limit or with a limit of 0.
fn share(used: Amount, limit: Option<Amount>) -> Option<u64> {
    let limit = limit.filter(|limit| *limit > Amount::ZERO)?;
    u64::try_from(u128::from(used.steps()) * u128::from(AT_LIMIT) / u128::from(limit.steps())).ok()
}

/// The counters that these entries charge or found full, with the used thousandths of the limit and the window if they are
/// near the limit.
fn mentioned(entries: &[StoredEntry]) -> impl Iterator<Item = (CounterName<'_>, Option<(u64, &Window)>)> {
    entries.iter().flat_map(|StoredEntry { entry, .. }| {
        let charged = entry.charges.iter().filter(|charge| !charge.closed).map(|charge| {
            let window = charge.window.as_ref();
            let near = window.and_then(|window| Some((share(charge.balance, charge.limit)?, window)));
            ((&charge.owner, &charge.group), near)
        });
        let full = entry.denying.iter().filter_map(|DenyingCounter { owner, group, used, limit, .. }| {
            // Holds may deny a call although `used` is not near the limit.
            let (used, window) = used.as_ref()?;
            Some(((owner, group), Some((share(*used, Some(*limit))?, window))))
        });
        charged.chain(full)
    })
}

/// Those near their limits according to the last entry of each: used thousandths, and the end of the window.
fn near(entries: &[StoredEntry]) -> HashMap<CounterName<'_>, (u64, Option<TimeMs>)> {
    let mut near = HashMap::new();
    for (name, state) in mentioned(entries) {
        match state.filter(|(share, window)| *share >= NEAR && is_long(window)) {
            Some((share, window)) => {
                near.insert(name, (share, window.end_ms));
            }
            // Usually there are none, so nothing needs to be hashed.
            None if near.is_empty() => {}
            None => {
                near.remove(&name);
            }
        }
    }
    near
}

impl Gateway {
    /// Records the state of the counters that these entries charge or found full.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(in crate::service) async fn record_near(
        &self,
        tenant: &Tenant,
        bucket: &Bucket,
        entries: &[StoredEntry],
    ) -> Result<(), ServiceError> {
        if mentioned(entries).next().is_none() {
            return Ok(());
        }
        let near = near(entries);
        if !near.is_empty() {
            let counter = |(name, (share, ends_at_ms)): (&_, &_)| NearCounter {
                name: *name,
                share: *share,
                ends_at_ms: *ends_at_ms,
            };
            let counters: Vec<NearCounter<'_>> = near.iter().map(counter).collect();
            self.store.record_near(bucket, most_of(tenant), &counters).await?;
        }
        let recorded = self.store.recorded_near(bucket).await?;
        // Usually none is, and then the others are not listed.
        if !recorded.is_empty() {
            let others = mentioned(entries).map(|(name, _)| name).filter(|name| !near.contains_key(name));
            let others: Vec<CounterName<'_>> = others.collect();
            self.store.drop_near(bucket, &recorded, &others).await?;
        }
        Ok(())
    }

    /// Counters at and near their limits, at most `count` of each, with their present state.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn limits(&self, tenant: &Tenant, count: usize) -> Result<Limits, ServiceError> {
        let complete = self.fold_all(tenant, tenant.buckets()).await?;
        let mut limits = Limits {
            at_limit: Vec::new(),
            near: Vec::new(),
            groups: BTreeMap::new(),
            more: false,
            complete,
            now_ms: self.mode_now(tenant).await?,
        };
        let mut known: Vec<StoredNearCounter> = Vec::new();
        for bucket in tenant.buckets() {
            // Removes counters whose windows are over.
            self.store.record_near(&bucket, most_of(tenant), &[]).await?;
            let found = self.store.near(&bucket).await?;
            let full = found.iter().filter(|near| near.share >= AT_LIMIT).count();
            limits.more |= full.max(found.len() - full) >= most_of(tenant);
            known.extend(found);
        }
        known.sort_by_key(|near| std::cmp::Reverse(near.share));
        let (mut full, mut rest): (Vec<StoredNearCounter>, Vec<StoredNearCounter>) =
            known.into_iter().partition(|near| near.share >= AT_LIMIT);
        // Some counters are no longer full because of a grant, another quota or a new window.
        let unread = [full.split_off(full.len().min(2 * count)), rest.split_off(rest.len().min(2 * count))];
        for near in unread.iter().flatten() {
            limits.count(&near.group, near.share);
        }
        let mut counters: Vec<(u64, Counter)> = stream::iter(full.into_iter().chain(rest))
            .map(async |near| self.stands(tenant, &near).await)
            .buffered(PARALLEL)
            .try_filter_map(async |found| Ok(found))
            .try_collect()
            .await?;
        counters.sort_by_key(|(share, _)| std::cmp::Reverse(*share));
        for (share, counter) in counters {
            limits.count(&counter.group.id, share);
            let list = if share >= AT_LIMIT { &mut limits.at_limit } else { &mut limits.near };
            if list.len() < count {
                list.push(counter);
            }
        }
        Ok(limits)
    }

    /// The present state of a counter, if it is still near its limit.
    async fn stands(&self, tenant: &Tenant, near: &StoredNearCounter) -> Result<Option<(u64, Counter)>, ServiceError> {
        let Some(counter) = self.counter_at(tenant, &near.owner, &near.group).await? else { return Ok(None) };
        let share = share(counter.used, counter.allowance());
        Ok(share.filter(|share| *share >= NEAR && counter.window.is_some()).map(|share| (share, counter)))
    }

    /// The counter of an owner and group, if a plan or policy still has the group.
    async fn counter_at(
        &self,
        tenant: &Tenant,
        owner: &OwnerName,
        group: &GroupId,
    ) -> Result<Option<Counter>, ServiceError> {
        if !owner.scope().is_user() {
            let known = self.config(&tenant.app).await?.group(group).cloned();
            return match known {
                Some(known) => self.counter_of(tenant, owner, &Arc::clone(&known)).await,
                None => Ok(None),
            };
        }
        let Some(user) = owner.user().and_then(|user| UserId::parse(user).ok()) else { return Ok(None) };
        let metadata = Metadata::default();
        let context =
            CounterContext { caller: Caller { user: &user, app: &tenant.app, key: None }, metadata: &metadata };
        let usage = self.usage(tenant, context, |known| known.id == *group).await?;
        Ok(usage.counters.into_iter().next())
    }
}

//! The windows of counters over time: closed ones and the current one.

use std::collections::HashSet;

use crate::domain::configuration::limit_group::LimitKind;
use crate::domain::configuration::scope::{OwnerName, Scope, Subject};
use crate::domain::metering::reservation::{GRACE_MS, LONGEST_LIFE_MS};
use crate::domain::time::window::{TimeMs, Window, WindowKind};
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::ids::GroupId;
use crate::service::configuration::app_config::{AppConfig, GroupKind};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::metering::call::CounterContext;
use crate::service::metering::usage::Usage;
use crate::service::tenant::Tenant;
use crate::store::accounts::users::{ClosedWindow, StoredCounter, StoredOwner};
use crate::store::keys::Bucket;

/// One window of one counter.
#[derive(Clone, Debug)]
pub struct PastWindow {
    pub group: GroupId,
    pub label: String,
    pub unit: Unit,
    pub owner: OwnerName,
    /// Sequence number among the counter's windows.
    pub window_seq: String,
    pub window: Window,
    pub used: Amount,
    /// The quota now, or at the last call in the window; None counts without limit.
    pub quota: Option<Amount>,
    /// The grants now, or when the window ended.
    pub granted: Amount,
    /// Extra quota that was unused in the window before.
    pub rolled: Amount,
    /// Nothing new is counted in it.
    pub is_over: bool,
    /// The window is over, and nothing can be charged to it or refunded any more.
    pub is_final: bool,
}

/// After this time since its end, nothing can be charged to a window or refunded, however often a reservation was
/// extended.
const LONGEST_OPEN_MS: TimeMs = LONGEST_LIFE_MS + GRACE_MS;

impl PastWindow {
    /// `max(0, used − quota − granted − rolled)`; 0 without a quota.
    pub fn overage(&self) -> Amount {
        let allowance = self.quota.map(|quota| quota.saturating_add(self.granted).saturating_add(self.rolled));
        allowance.map_or(Amount::ZERO, |allowance| self.used.saturating_sub(allowance))
    }
}

/// The data of one owner.
struct OwnerWindows {
    owner: OwnerName,
    stored: StoredOwner,
    closed: Vec<ClosedWindow>,
    /// Windows, by group and sequence number, whose holds may still be charged; None if there are too many.
    reachable: Option<HashSet<(GroupId, String)>>,
}

impl Gateway {
    /// The windows of the counters with the caller's names, newest first: the stored windows of all present and former
    /// groups that match the query.
    ///
    /// # Errors
    /// [`ServiceError`]
    /// [`ServiceError`]
    pub async fn history(
        &self,
        tenant: &Tenant,
        context: CounterContext<'_>,
        wanted: impl Fn(&GroupId, &GroupKind) -> bool,
    ) -> Result<Vec<PastWindow>, ServiceError> {
        let usage = self.usage(tenant, context, |_| true).await?;
        let config = self.config(&tenant.app).await?;
        let CounterContext { caller, metadata } = context;
        let subject = Subject { user: Some(caller.user), app: caller.app, key: caller.key, metadata };
        // A balance has credits instead of windows.
        let wanted = |group: &GroupId, kind: &GroupKind| kind.limit == LimitKind::Quota && wanted(group, kind);
        let kinds = config.groups.iter().filter(|(group, kind)| wanted(group, kind));
        let scopes: HashSet<&Scope> = kinds.map(|(_, kind)| &kind.scope).collect();
        let mut windows = Vec::new();
        for owner in scopes.into_iter().filter_map(|scope| scope.owner(subject)) {
            let bucket = match owner.scope().contains_user() {
                true => tenant.bucket_of(caller.user),
                false => tenant.shared_bucket()?,
            };
            let found = self.found(&bucket, owner, usage.now_ms).await?;
            windows.extend(found.windows(&config, &usage));
        }
        windows.retain(|window| config.groups.get(&window.group).is_some_and(|kind| wanted(&window.group, kind)));
        let number = |window: &PastWindow| window.window_seq.parse::<u64>().unwrap_or(0);
        windows.sort_by(|one, other| {
            let newest = other.window.start_ms.cmp(&one.window.start_ms);
            newest.then_with(|| one.group.cmp(&other.group)).then_with(|| number(other).cmp(&number(one)))
        });
        Ok(windows)
    }

    async fn found(&self, bucket: &Bucket, owner: OwnerName, now: TimeMs) -> Result<OwnerWindows, ServiceError> {
        // With this order of reads, a hold that is settled meanwhile is either found or has left its expiry, and a
        // window that is closed meanwhile is found twice rather than never.
        let reachable = self.store.held_after(bucket, &owner, now - GRACE_MS).await?;
        let stored = self.store.stored_owner(bucket, &owner).await?;
        let closed = self.store.closed_windows(bucket, &owner).await?;
        Ok(OwnerWindows { owner, stored, closed, reachable })
    }
}

fn is_over(counter: &StoredCounter, now: TimeMs) -> bool {
    counter.window.end_ms.is_some_and(|end| end <= now)
}

impl OwnerWindows {
    fn windows(self, config: &AppConfig, usage: &Usage) -> Vec<PastWindow> {
        let known: HashSet<(&GroupId, &str)> =
            self.closed.iter().map(|closed| (&closed.group, closed.window_seq.as_str())).collect();
        let open = self.stored.windows.iter().filter(|counter| {
            counter.window.kind != WindowKind::Concurrent
                && !known.contains(&(&counter.group, counter.window_seq.as_str()))
        });
        let open: Vec<PastWindow> = open.map(|counter| self.open(config, usage, counter)).collect();
        let closed = self.closed.iter().filter(|closed| closed.window.kind != WindowKind::Concurrent);
        let closed = closed.map(|closed| PastWindow {
            group: closed.group.clone(),
            label: label(config, &closed.group),
            unit: config.unit_of(&closed.group),
            owner: self.owner.clone(),
            window_seq: closed.window_seq.clone(),
            window: closed.window,
            used: closed.used,
            quota: closed.quota,
            granted: closed.granted,
            rolled: closed.rolled,
            is_over: true,
            is_final: self.is_final(closed, usage.now_ms),
        });
        closed.chain(open).collect()
    }

    /// A window that no call has closed: it is running, or there was no call since it ended.
    fn open(&self, config: &AppConfig, usage: &Usage, counter: &StoredCounter) -> PastWindow {
        let now = usage.now_ms;
        let end = counter.window.end_ms.filter(|_| is_over(counter, now));
        let mut found = PastWindow {
            group: counter.group.clone(),
            label: label(config, &counter.group),
            unit: config.unit_of(&counter.group),
            owner: self.owner.clone(),
            window_seq: counter.window_seq.clone(),
            window: counter.window,
            used: counter.used,
            quota: counter.quota,
            granted: self.stored.granted(counter, end.map_or(now, |end| end - 1)),
            rolled: counter.rolled,
            is_over: end.is_some(),
            is_final: end.is_some() && self.is_unreachable(counter, now),
        };
        // The quota of a running window is the present one, even if it changed since the last call.
        let mut live = usage.counters.iter().filter(|live| live.group.id == counter.group && *live.owner == self.owner);
        if let (false, Some(live)) = (found.is_over, live.next()) {
            found.quota = live.group.quota;
            (found.granted, found.rolled) = (live.granted, live.rolled);
            found.label = live.group.label.to_string();
            found.window = live.window.unwrap_or(counter.window);
        }
        found
    }

    /// For a closed window: even a hold of 0 may be charged more than it holds.
    fn is_final(&self, closed: &ClosedWindow, now: TimeMs) -> bool {
        is_long_over(closed.window, now)
            || now >= closed.keep_until_ms && !self.may_hold(&closed.group, &closed.window_seq)
    }

    /// For a window that no call has closed.
    fn is_unreachable(&self, counter: &StoredCounter, now: TimeMs) -> bool {
        // Every hold in it was made before it ended.
        let ended = counter.window.end_ms.unwrap_or(now);
        let last = (ended + self.stored.longest_ttl_ms).max(self.stored.extended_until_ms.unwrap_or(ended));
        let settled = now >= last + GRACE_MS;
        is_long_over(counter.window, now) || settled && !self.may_hold(&counter.group, &counter.window_seq)
    }

    /// Whether a reservation with a hold in it can still be committed.
    fn may_hold(&self, group: &GroupId, window_seq: &str) -> bool {
        let name = (group.clone(), window_seq.to_owned());
        self.reachable.as_ref().is_none_or(|reachable| reachable.contains(&name))
    }
}

fn is_long_over(window: Window, now: TimeMs) -> bool {
    window.end_ms.is_some_and(|end| now >= end + LONGEST_OPEN_MS)
}

fn label(config: &AppConfig, group: &GroupId) -> String {
    config.group(group).map_or_else(|| group.to_string(), |group| group.label.to_string())
}

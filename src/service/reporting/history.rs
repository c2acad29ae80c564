//! Windows of counters over time: those that are over, and the one that runs.

use std::collections::HashSet;

use crate::domain::configuration::scope::{OwnerName, Scope, Subject};
use crate::domain::metering::reservation::{GRACE_MS, LONGEST_LIFE_MS};
use crate::domain::time::window::{TimeMs, Window, WindowKind};
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::ids::GroupId;
use crate::service::configuration::app_config::{AppConfig, GroupKind};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::metering::reserve::Asker;
use crate::service::metering::usage::Usage;
use crate::service::tenant::Tenant;
use crate::store::accounts::users::{ClosedWindow, Stored, StoredCounter};
use crate::store::keys::Bucket;

/// One window of one counter.
#[derive(Clone, Debug)]
pub struct PastWindow {
    pub group: GroupId,
    pub label: String,
    pub unit: Unit,
    pub owner: OwnerName,
    /// Among those of its counter.
    pub serial: String,
    pub window: Window,
    pub used: Amount,
    /// Now, or that the last call in the window went by; None counts without limit.
    pub quota: Option<Amount>,
    /// Now, or when the window ended.
    pub granted: Amount,
    /// Nothing new is counted in it.
    pub is_over: bool,
    /// It is over, and nothing can be charged to it or given back any more.
    pub is_final: bool,
}

/// However often a reservation was extended: nothing is charged to a window or given back that long after its end.
const LONGEST_OPEN_MS: TimeMs = LONGEST_LIFE_MS + GRACE_MS;

impl PastWindow {
    /// `max(0, used − quota − granted)`; 0 without quota.
    pub fn overage(&self) -> Amount {
        let allowance = self.quota.map(|quota| quota.saturating_add(self.granted));
        allowance.map_or(Amount::ZERO, |allowance| self.used.saturating_sub(allowance))
    }
}

/// What is read of one owner.
struct Found {
    owner: OwnerName,
    stored: Stored,
    closed: Vec<ClosedWindow>,
    /// Counters, by group and serial, that a hold may still be charged to; None: too many to tell.
    reachable: Option<HashSet<(GroupId, String)>>,
}

impl Gateway {
    /// The windows of the counters that the asker's names lead to, newest first: of every group that there is or was and
    /// that is wanted, those that are kept.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn history(
        &self,
        tenant: &Tenant,
        asker: Asker<'_>,
        wanted: impl Fn(&GroupId, &GroupKind) -> bool,
    ) -> Result<Vec<PastWindow>, ServiceError> {
        let usage = self.usage(tenant, asker, |_| true).await?;
        let config = self.config(&tenant.app).await?;
        let Asker { caller, metadata } = asker;
        let subject = Subject { user: Some(caller.user), app: caller.app, key: caller.key, metadata };
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
        let number = |window: &PastWindow| window.serial.parse::<u64>().unwrap_or(0);
        windows.sort_by(|one, other| {
            let newest = other.window.start_ms.cmp(&one.window.start_ms);
            newest.then_with(|| one.group.cmp(&other.group)).then_with(|| number(other).cmp(&number(one)))
        });
        Ok(windows)
    }

    async fn found(&self, bucket: &Bucket, owner: OwnerName, now: TimeMs) -> Result<Found, ServiceError> {
        // In this order a hold that is settled meanwhile is found or has left its expiry, and a window that is closed
        // meanwhile is found twice and not never.
        let reachable = self.store.held_after(bucket, &owner, now - GRACE_MS).await?;
        let stored = self.store.stored_owner(bucket, &owner).await?;
        let closed = self.store.closed_windows(bucket, &owner).await?;
        Ok(Found { owner, stored, closed, reachable })
    }
}

fn is_over(counter: &StoredCounter, now: TimeMs) -> bool {
    counter.window.end_ms.is_some_and(|end| end <= now)
}

impl Found {
    fn windows(self, config: &AppConfig, usage: &Usage) -> Vec<PastWindow> {
        let known: HashSet<(&GroupId, &str)> =
            self.closed.iter().map(|closed| (&closed.group, closed.serial.as_str())).collect();
        let open = self.stored.windows.iter().filter(|counter| {
            counter.window.kind != WindowKind::Concurrent && !known.contains(&(&counter.group, counter.serial.as_str()))
        });
        let open: Vec<PastWindow> = open.map(|counter| self.open(config, usage, counter)).collect();
        let closed = self.closed.iter().filter(|closed| closed.window.kind != WindowKind::Concurrent);
        let closed = closed.map(|closed| PastWindow {
            group: closed.group.clone(),
            label: label(config, &closed.group),
            unit: config.unit_of(&closed.group),
            owner: self.owner.clone(),
            serial: closed.serial.clone(),
            window: closed.window,
            used: closed.used,
            quota: closed.quota,
            granted: closed.granted,
            is_over: true,
            is_final: self.is_final(closed, usage.now_ms),
        });
        closed.chain(open).collect()
    }

    /// A window that no call has closed: it runs, or nobody came since it ended.
    fn open(&self, config: &AppConfig, usage: &Usage, counter: &StoredCounter) -> PastWindow {
        let now = usage.now_ms;
        let end = counter.window.end_ms.filter(|_| is_over(counter, now));
        let mut found = PastWindow {
            group: counter.group.clone(),
            label: label(config, &counter.group),
            unit: config.unit_of(&counter.group),
            owner: self.owner.clone(),
            serial: counter.serial.clone(),
            window: counter.window,
            used: counter.used,
            quota: counter.quota,
            granted: self.stored.granted(counter, end.map_or(now, |end| end - 1)),
            is_over: end.is_some(),
            is_final: end.is_some() && self.is_unreachable(counter, now),
        };
        // The quota of a window that runs is the present one, also if it was changed since the last call.
        let mut live = usage.counters.iter().filter(|live| live.group.id == counter.group && *live.owner == self.owner);
        if let (false, Some(live)) = (found.is_over, live.next()) {
            found.quota = live.group.quota;
            found.granted = live.granted;
            found.label = live.group.label.to_string();
            found.window = live.window.unwrap_or(counter.window);
        }
        found
    }

    /// Of a closed window: also a hold of nothing may be charged more than it holds.
    fn is_final(&self, closed: &ClosedWindow, now: TimeMs) -> bool {
        is_long_over(closed.window, now) || now >= closed.keep_until_ms && !self.may_hold(&closed.group, &closed.serial)
    }

    /// Of a window that no call has closed.
    fn is_unreachable(&self, counter: &StoredCounter, now: TimeMs) -> bool {
        // Whatever held in it began before it ended.
        let ended = counter.window.end_ms.unwrap_or(now);
        let last = (ended + self.stored.longest_ttl_ms).max(self.stored.extended_until_ms.unwrap_or(ended));
        let settled = now >= last + GRACE_MS;
        is_long_over(counter.window, now) || settled && !self.may_hold(&counter.group, &counter.serial)
    }

    /// A reservation that holds there can still be committed.
    fn may_hold(&self, group: &GroupId, serial: &str) -> bool {
        let name = (group.clone(), serial.to_owned());
        self.reachable.as_ref().is_none_or(|reachable| reachable.contains(&name))
    }
}

fn is_long_over(window: Window, now: TimeMs) -> bool {
    window.end_ms.is_some_and(|end| now >= end + LONGEST_OPEN_MS)
}

fn label(config: &AppConfig, group: &GroupId) -> String {
    config.group(group).map_or_else(|| group.to_string(), |group| group.label.to_string())
}

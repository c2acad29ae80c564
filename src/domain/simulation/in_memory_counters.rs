//! Counters in memory that follow the rules of the scripts: windows turn, a hold settles in its own window, and limits
//! decide. Used to replay recorded calls; real counters are in Redis only.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::{Admission, Matched};
use crate::domain::metering::rollover::{EndingWindow, is_idle_between};
use crate::domain::reporting::ledger::DenyingCounter;
use crate::domain::time::window::{TimeMs, Window, WindowKind};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::GroupId;

/// The state of a counter before its first recorded event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// A time within the window in which this amount was used.
    pub at_ms: TimeMs,
    pub used: Amount,
}

/// A change of a counter's limit during `[from_ms, until_ms)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitChange {
    pub from_ms: TimeMs,
    /// None if it has no end.
    pub until_ms: Option<TimeMs>,
    pub amount: Amount,
    /// True if a plan change blocked the amount, false if it was granted.
    pub blocks: bool,
}

impl LimitChange {
    fn is_live(&self, now: TimeMs) -> bool {
        self.from_ms <= now && self.until_ms.is_none_or(|until| now < until)
    }
}

/// The quota that a counter's owner has instead of the group's, as `lua/lib/own_quota.lua` applies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnQuota {
    /// None counts without limit.
    pub quota: Option<Amount>,
    /// From this time on the group's quota applies; None if it has no end.
    pub until_ms: Option<TimeMs>,
}

impl OwnQuota {
    fn is_live(&self, now: TimeMs) -> bool {
        self.until_ms.is_none_or(|until_ms| now < until_ms)
    }
}

/// One counter in its present window.
#[derive(Clone, Debug)]
pub struct Account {
    pub owner: Arc<OwnerName>,
    pub group: GroupId,
    pub window: Window,
    pub used: Amount,
    pub held: Amount,
    /// The quota at the last call in the window.
    quota: Option<Amount>,
    /// What was rolled over into the window.
    rolled: Amount,
    /// Sequence number of the window. Holds of earlier windows do not change this one.
    window_seq: u64,
    /// `used` of the last closed windows by sequence number, since their holds may still settle.
    past: VecDeque<(u64, Amount)>,
    limit_changes: Vec<LimitChange>,
    own_quota: Option<OwnQuota>,
}

/// How many closed windows of a counter are remembered.
const PAST_WINDOWS: usize = 32;

/// The amounts that one reservation holds and was charged in one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Index of the counter in [`InMemoryCounters`].
    pub place: usize,
    window_seq: u64,
    pub amount: Amount,
    pub charged: Amount,
}

type Openings = HashMap<GroupId, HashMap<OwnerName, Opening>>;

/// Counters by group and owner, created when they are first needed.
#[derive(Debug, Default)]
pub struct InMemoryCounters {
    places: HashMap<GroupId, HashMap<OwnerName, usize>>,
    accounts: Vec<Account>,
    openings: Openings,
    /// What was rolled over into the window of a counter's first recorded event.
    rolled: Openings,
    limit_changes: HashMap<GroupId, HashMap<OwnerName, Vec<LimitChange>>>,
    own_quotas: HashMap<GroupId, HashMap<OwnerName, OwnQuota>>,
}

impl InMemoryCounters {
    /// Sets the opening of a counter; later calls for the same counter are ignored.
    pub fn open(&mut self, owner: &OwnerName, group: &GroupId, opening: Opening) {
        self.openings.entry(group.clone()).or_default().entry(owner.clone()).or_insert(opening);
    }

    /// Sets what was rolled over into a counter's first window, within which the opening's time is. Later calls for the
    /// same counter are ignored.
    pub fn open_rolled(&mut self, owner: &OwnerName, group: &GroupId, opening: Opening) {
        self.rolled.entry(group.clone()).or_default().entry(owner.clone()).or_insert(opening);
    }

    /// Must be called before the counter is first used.
    pub fn limit_change(&mut self, owner: &OwnerName, group: &GroupId, limit_change: LimitChange) {
        self.limit_changes.entry(group.clone()).or_default().entry(owner.clone()).or_default().push(limit_change);
    }

    /// Sets the quota that the owner has instead of the group's. Must be called before the counter is first used.
    pub fn own_quota(&mut self, owner: &OwnerName, group: &GroupId, own_quota: OwnQuota) {
        self.own_quotas.entry(group.clone()).or_default().insert(owner.clone(), own_quota);
    }

    pub fn into_accounts(self) -> Vec<Account> {
        self.accounts
    }

    pub fn account(&self, place: usize) -> Option<&Account> {
        self.accounts.get(place)
    }

    /// Moves the counters of an admission to their windows. Returns their indices, and the counters that are over
    /// their limits or would be if they did not only observe.
    pub fn ask(&mut self, admission: &Admission, now: TimeMs) -> (Vec<usize>, Vec<DenyingCounter>) {
        let mut denying = Vec::new();
        let places = admission.matched.iter().map(|matched| {
            let place = self.turn(&admission.owners[matched.owner], matched, now);
            let account = self.accounts.get(place).into_iter();
            denying.extend(account.flat_map(|account| account.denying_counters(matched, now)));
            place
        });
        (places.collect(), denying)
    }

    /// Holds the amounts of an admission in the counters that [`InMemoryCounters::ask`] returned.
    pub fn hold(&mut self, admission: &Admission, places: &[usize]) -> Vec<Hold> {
        let pairs = admission.matched.iter().zip(places);
        let holds = pairs.filter_map(|(matched, place)| {
            let account = self.accounts.get_mut(*place)?;
            account.held = account.held.saturating_add(matched.amount);
            Some(Hold { place: *place, window_seq: account.window_seq, amount: matched.amount, charged: Amount::ZERO })
        });
        holds.collect()
    }

    /// Releases a part of a hold.
    pub fn free(&mut self, hold: &Hold, amount: Amount) {
        if let Some(account) = self.current(hold) {
            account.held = account.held.saturating_sub(amount);
        }
    }

    /// Charges an amount in the window of the hold.
    pub fn charge(&mut self, hold: &mut Hold, amount: Amount) {
        hold.charged = hold.charged.saturating_add(amount);
        if let Some(used) = self.used_in_window_of(hold) {
            *used = used.saturating_add(amount);
        }
    }

    /// Refunds at most the charged amount. Returns the refund, and by how much `used` falls (never below 0).
    pub fn give_back(&mut self, hold: &mut Hold, amount: Amount) -> (Amount, Amount) {
        let given = amount.min(hold.charged);
        hold.charged = hold.charged.saturating_sub(given);
        let Some(used) = self.used_in_window_of(hold) else { return (given, given) };
        let taken = given.min(*used);
        *used = used.saturating_sub(taken);
        (given, taken)
    }

    /// Charges an amount in the present window, without a hold.
    pub fn add(&mut self, place: usize, amount: Amount) {
        if let Some(account) = self.accounts.get_mut(place) {
            account.used = account.used.saturating_add(amount);
        }
    }

    /// Refunds in the present window, never below 0. Returns the refunded amount.
    pub fn take(&mut self, place: usize, amount: Amount) -> Amount {
        let Some(account) = self.accounts.get_mut(place) else { return Amount::ZERO };
        let given = amount.min(account.used);
        account.used = account.used.saturating_sub(given);
        given
    }

    /// Resets the counter to 0; open holds settle in the closed window.
    pub fn reset(&mut self, owner: &OwnerName, group: &GroupId) {
        let place = self.places.get(group).and_then(|owners| owners.get(owner));
        if let Some(account) = place.and_then(|place| self.accounts.get_mut(*place)) {
            account.start_anew();
        }
    }

    /// The counter of a hold if the hold's window is the present one.
    fn current(&mut self, hold: &Hold) -> Option<&mut Account> {
        self.accounts.get_mut(hold.place).filter(|account| account.window_seq == hold.window_seq)
    }

    /// `used` in the window of a hold; None if the window is too old.
    fn used_in_window_of(&mut self, hold: &Hold) -> Option<&mut Amount> {
        let account = self.accounts.get_mut(hold.place)?;
        if account.window_seq == hold.window_seq {
            return Some(&mut account.used);
        }
        account.past.iter_mut().find(|(window_seq, _)| *window_seq == hold.window_seq).map(|(_, used)| used)
    }

    /// The index of a matched counter, moved to its window as in `lua/lib/window.lua`: a window that is over is
    /// closed, one that overlaps the proposed bounds takes them and keeps its amounts, and a future one stays.
    fn turn(&mut self, owner: &Arc<OwnerName>, matched: &Matched, now: TimeMs) -> usize {
        let (group, window) = (&matched.group, matched.window);
        let known = self.places.get(&group.id).and_then(|owners| owners.get(owner.as_ref())).copied();
        let Some(place) = known else {
            return self.create(owner, matched, now);
        };
        let stored = self.accounts[place].window;
        let quota = self.accounts[place].quota_at(group, now);
        if stored == window {
            self.accounts[place].quota = quota;
            return place;
        }
        let of_other_kind = (stored.kind == WindowKind::Concurrent) != (window.kind == WindowKind::Concurrent);
        let is_over = stored.end_ms.is_some_and(|end| end <= window.start_ms);
        let is_to_come = window.end_ms.is_some_and(|end| stored.start_ms >= end);
        if of_other_kind || is_over {
            let used = opening(&mut self.openings, owner, &group.id, window);
            let account = &mut self.accounts[place];
            account.rolled = if of_other_kind { Amount::ZERO } else { account.leaves(group, window) };
            account.start_anew();
            (account.window, account.used, account.quota) = (window, used, quota);
        } else if !is_to_come {
            (self.accounts[place].window, self.accounts[place].quota) = (window, quota);
        }
        place
    }

    fn create(&mut self, owner: &Arc<OwnerName>, matched: &Matched, now: TimeMs) -> usize {
        let (group, window) = (&matched.group, matched.window);
        let limit_changes = self.limit_changes.get_mut(&group.id).and_then(|owners| owners.remove(owner.as_ref()));
        let own_quota = self.own_quotas.get_mut(&group.id).and_then(|owners| owners.remove(owner.as_ref()));
        let used = opening(&mut self.openings, owner, &group.id, window);
        let rolled = opening(&mut self.rolled, owner, &group.id, window).min(group.rollover.unwrap_or_default());
        let mut account = Account {
            owner: Arc::clone(owner),
            group: group.id.clone(),
            window,
            used,
            held: Amount::ZERO,
            quota: None,
            rolled,
            window_seq: 0,
            past: VecDeque::new(),
            limit_changes: limit_changes.unwrap_or_default(),
            own_quota,
        };
        account.quota = account.quota_at(group, now);
        self.accounts.push(account);
        let place = self.accounts.len() - 1;
        self.places.entry(group.id.clone()).or_default().insert(owner.as_ref().clone(), place);
        place
    }
}

/// The amount of a counter in the window before the first recorded event.
fn opening(openings: &mut Openings, owner: &OwnerName, group: &GroupId, window: Window) -> Amount {
    let Some(owners) = openings.get_mut(group) else { return Amount::ZERO };
    let within =
        |opening: &Opening| window.start_ms <= opening.at_ms && window.end_ms.is_none_or(|end| opening.at_ms < end);
    match owners.get(owner).copied().filter(within) {
        Some(opening) => {
            owners.remove(owner);
            opening.used
        }
        None => Amount::ZERO,
    }
}

impl Account {
    /// The quota that applies to a call: the owner's own quota until it ends, then the group's.
    fn quota_at(&self, group: &LimitGroup, now: TimeMs) -> Option<Amount> {
        match self.own_quota.filter(|own_quota| own_quota.is_live(now)) {
            Some(own_quota) => own_quota.quota,
            None => group.quota,
        }
    }

    /// What the window leaves for the next one, `window`.
    fn leaves(&self, group: &LimitGroup, window: Window) -> Amount {
        let Some(max) = group.rollover else { return Amount::ZERO };
        let end_ms = self.window.end_ms.unwrap_or(window.start_ms);
        let ending = match is_idle_between(&self.window, &window) {
            true => EndingWindow { quota: self.quota, ..EndingWindow::default() },
            false => EndingWindow {
                quota: self.quota,
                rolled: self.rolled,
                used: self.used,
                held: self.held,
                blocked: self.sum(end_ms - 1, true),
            },
        };
        ending.leaves(max)
    }

    fn start_anew(&mut self) {
        self.past.truncate(PAST_WINDOWS - 1);
        self.past.push_front((self.window_seq, self.used));
        self.window_seq += 1;
        (self.used, self.held) = (Amount::ZERO, Amount::ZERO);
    }

    /// `used + held`; for a concurrent group only `held`.
    pub fn counted(&self) -> Amount {
        match self.window.kind == WindowKind::Concurrent {
            true => self.held,
            false => self.used.saturating_add(self.held),
        }
    }

    fn sum(&self, now: TimeMs, blocks: bool) -> Amount {
        let live =
            self.limit_changes.iter().filter(|limit_change| limit_change.blocks == blocks && limit_change.is_live(now));
        live.fold(Amount::ZERO, |sum, limit_change| sum.saturating_add(limit_change.amount))
    }

    /// What denies the call, and what would if the group did not only observe.
    fn denying_counters(&self, matched: &Matched, now: TimeMs) -> impl Iterator<Item = DenyingCounter> {
        let group = &matched.group;
        let quota = self.quota_at(group, now);
        let observed = quota.filter(|_| group.observes());
        let observed = observed.and_then(|quota| self.denying_counter(matched, quota, now));
        let observed = observed.map(|counter| DenyingCounter { observed: true, ..counter });
        // Credits are not recorded, so they are taken to cover what exceeds the quota.
        let limit = if group.overflow.is_some() { group.unit.most() } else { group.refuses_beyond_with(quota) };
        self.denying_counter(matched, limit, now).into_iter().chain(observed)
    }

    /// The decision of `lua/lib/counter.lua`: a limit of 0 denies every matching call, even with an amount of 0.
    fn denying_counter(&self, matched: &Matched, most: Amount, now: TimeMs) -> Option<DenyingCounter> {
        let group = &matched.group;
        let is_stopped = self.quota_at(group, now) == Some(Amount::ZERO);
        let rolled = if is_stopped { Amount::ZERO } else { self.rolled };
        let limit = most.saturating_add(self.sum(now, false)).saturating_add(rolled);
        let limit = limit.saturating_sub(self.sum(now, true));
        let count = self.counted();
        let fits = count.checked_add(matched.amount).is_some_and(|sum| sum <= limit) && limit > Amount::ZERO;
        (!fits).then(|| DenyingCounter {
            owner: self.owner.as_ref().clone(),
            group: group.id.clone(),
            requested: matched.amount,
            count,
            limit,
            used: None,
            observed: false,
        })
    }
}

#[cfg(test)]
mod tests;

//! The state of the model: users, counters with their windows, reservations, grants, and the amounts of each counter.

use std::collections::BTreeMap;

use super::alerts::Watch;
use super::call::{Call, Name, Reply, Stand};
use super::limits::OwnLimit;
use super::rules::{Anchor, Group, Item, Labels, Ms, Plan, Rules, Window};

pub const GRACE_MS: Ms = 15 * 60_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subscription {
    pub plan: &'static str,
    pub started_ms: Ms,
    pub cycle_ms: Option<Ms>,
    pub ends_ms: Option<Ms>,
    pub limits: Option<(&'static str, Option<u64>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct User {
    /// Also a subscription that has ended.
    pub subscription: Option<Subscription>,
    pub blocked: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    pub name: Name,
    pub amount: u64,
    /// The number of the window it ends with.
    pub window_seq: Option<u64>,
    pub ends_ms: Option<Ms>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestStatus {
    Open,
    Rejected,
    Approved,
}

/// The newest approval request of a counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub window_seq: u64,
    pub window: Window,
    pub status: RequestStatus,
}

/// Owner and group.
pub type CounterName = (String, &'static str);

/// The state of a counter. Its windows are numbered, and the accounts contain what was used in each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counter {
    /// 0: nothing was counted yet.
    pub window_seq: u64,
    pub blocked: Option<(u64, u64)>,
    pub grants: Vec<Grant>,
    pub request: Option<Request>,
    pub watch: Option<Watch>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    pub window: Window,
    pub used: u64,
    /// At the last call that counted in the window.
    pub quota: Option<u64>,
    /// What was rolled over into the window.
    pub rolled: u64,
}

impl Account {
    /// What was rolled over, as far as it counts: a quota of 0 stops its owner.
    pub fn rolled(&self) -> u64 {
        if self.quota.is_some_and(|quota| quota > 0) { self.rolled } else { 0 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    pub owner: String,
    pub group: &'static str,
    pub window_seq: u64,
    pub amount: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Held,
    Committed,
    Released,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reservation {
    pub user: String,
    pub items: Vec<Item>,
    /// The groups that it matched, as defined then.
    pub rules: Vec<Group>,
    pub created_ms: Ms,
    pub expires_ms: Ms,
    pub status: Status,
    pub late: bool,
    /// Quantity and steps that partial commits have charged to each item.
    pub drawn: Option<Vec<(u64, u64)>>,
    pub held: Vec<Entry>,
    pub charged: Vec<Entry>,
}

/// How a counter enters a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    New,
    Same,
    /// The bounds change, the amounts are kept.
    Moved,
    Turned,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Model {
    pub now_ms: Ms,
    pub rules: Rules,
    /// The app's initial rules, to restore groups from.
    pub first_rules: Rules,
    pub users: BTreeMap<String, User>,
    pub counters: BTreeMap<CounterName, Counter>,
    pub accounts: BTreeMap<(CounterName, u64), Account>,
    pub reservations: BTreeMap<Name, Reservation>,
    /// Also those that have ended.
    pub limits: BTreeMap<CounterName, OwnLimit>,
    /// First answers to calls with an idempotency key.
    pub done: BTreeMap<Name, (Call, Reply)>,
}

impl Model {
    pub fn new(now_ms: Ms, rules: Rules) -> Self {
        Self {
            now_ms,
            first_rules: rules.clone(),
            rules,
            users: BTreeMap::new(),
            counters: BTreeMap::new(),
            accounts: BTreeMap::new(),
            reservations: BTreeMap::new(),
            limits: BTreeMap::new(),
            done: BTreeMap::new(),
        }
    }

    pub fn running(&self, user: &str) -> Option<&Subscription> {
        let subscription = self.users.get(user)?.subscription.as_ref()?;
        subscription.ends_ms.is_none_or(|end| self.now_ms < end).then_some(subscription)
    }

    pub fn is_blocked(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.blocked)
    }

    /// The reference times for the windows of a user.
    pub fn anchor(&self, user: &str) -> Anchor {
        self.running(user).map_or(Anchor { started_ms: 0, cycle_ms: None }, Subscription::anchor)
    }

    /// The id of a user's current plan.
    pub fn plan_id(&self, user: &str) -> Option<&'static str> {
        self.running(user).map_or(self.rules.default_plan, |subscription| Some(subscription.plan))
    }

    /// The current plan with the user's custom limits.
    pub fn plan(&self, user: &str) -> Option<Plan> {
        let mut plan = self.rules.plans[self.plan_id(user)?].clone();
        if let Some((id, quota)) = self.running(user).and_then(|subscription| subscription.limits) {
            plan.groups.iter_mut().filter(|group| group.id == id).for_each(|group| group.quota = quota);
        }
        Some(plan)
    }

    pub fn policy_groups(&self) -> impl Iterator<Item = &Group> {
        self.rules.policies.values().flat_map(|policy| &policy.groups)
    }

    /// The groups that apply to a user: those of the plan, then those of the policies.
    pub fn standing(&self, user: &str) -> Vec<Group> {
        let of_plan = self.plan(user).map_or_else(Vec::new, |plan| plan.groups);
        of_plan.into_iter().chain(self.policy_groups().cloned()).collect()
    }

    pub fn counter(&mut self, name: &CounterName) -> &mut Counter {
        self.counters.entry(name.clone()).or_default()
    }

    pub fn window_seq(&self, name: &CounterName) -> u64 {
        self.counters.get(name).map_or(0, |counter| counter.window_seq)
    }

    pub fn used(&self, name: &CounterName, window_seq: u64) -> u64 {
        self.accounts.get(&(name.clone(), window_seq)).map_or(0, |account| account.used)
    }

    /// The live holds in a counter's window.
    pub fn held(&self, name: &CounterName, window_seq: u64) -> u64 {
        let live = self.reservations.values().filter(|it| it.status == Status::Held && it.expires_ms > self.now_ms);
        let entries = live.flat_map(|it| &it.held);
        let of_window =
            entries.filter(|entry| entry.window_seq == window_seq && entry.group == name.1 && entry.owner == name.0);
        of_window.map(|entry| entry.amount).sum()
    }

    /// The current window of a counter, which may have ended.
    pub fn stored(&self, name: &CounterName) -> Option<Window> {
        self.accounts.get(&(name.clone(), self.window_seq(name))).map(|account| account.window)
    }

    /// The number that a counter's window has or would get. Overlapping windows are the same window.
    pub fn resolve(&self, name: &CounterName, window: Window) -> (u64, Change) {
        let window_seq = self.window_seq(name);
        let Some(stored) = self.stored(name) else { return (1, Change::New) };
        let in_flight = |window: Window| window.kind == "concurrent";
        if stored == window {
            (window_seq, Change::Same)
        } else if in_flight(stored) != in_flight(window) || stored.end_ms.is_some_and(|end| end <= window.start_ms) {
            (window_seq + 1, Change::Turned)
        } else {
            (window_seq, Change::Moved)
        }
    }

    pub fn is_over(&self, window: Window) -> bool {
        window.end_ms.is_some_and(|end| end <= self.now_ms)
    }

    /// What live grants add in the window of this number. A grant that ends with its window has ended if the window
    /// was over before its bounds moved.
    pub fn granted(&self, name: &CounterName, (window_seq, change): (u64, Change)) -> u64 {
        let over = change == Change::Moved && self.stored(name).is_some_and(|stored| self.is_over(stored));
        let Some(counter) = self.counters.get(name) else { return 0 };
        let live = counter.grants.iter().filter(|grant| match grant.window_seq {
            Some(own) => own == window_seq && !over,
            None => grant.ends_ms.is_none_or(|end| self.now_ms < end),
        });
        live.map(|grant| grant.amount).sum()
    }

    pub fn blocked(&self, name: &CounterName, window_seq: u64) -> u64 {
        let blocked = self.counters.get(name).and_then(|counter| counter.blocked);
        blocked.filter(|(of, _)| *of == window_seq).map_or(0, |(_, amount)| amount)
    }

    /// What is rolled over into a group's window, or would be.
    pub fn rolled(&self, name: &CounterName, group: &Group, window: Window) -> u64 {
        match self.resolve(name, window).1 {
            Change::New => 0,
            Change::Same | Change::Moved => self.accounts[&(name.clone(), self.window_seq(name))].rolled,
            Change::Turned => self.leaves(name, group, window),
        }
    }

    /// What a counter's stored window leaves of its quota for the next one. A window without any call in between was not
    /// used at all. Rolled quota is used first, and held amounts count as used.
    pub fn leaves(&self, name: &CounterName, group: &Group, window: Window) -> u64 {
        let window_seq = self.window_seq(name);
        let before = &self.accounts[&(name.clone(), window_seq)];
        let (Some(max), Some(quota)) = (group.rollover, before.quota) else { return 0 };
        if before.window.kind == "concurrent" {
            return 0;
        }
        let gap_ms = before.window.end_ms.map_or(0, |end_ms| window.start_ms - end_ms);
        let length_ms = window.end_ms.map_or(0, |end_ms| end_ms - window.start_ms);
        // Seven eighths: months and days differ in length.
        let counted = match gap_ms > 0 && gap_ms * 8 >= length_ms * 7 {
            true => 0,
            false => {
                let counted = before.used + self.held(name, window_seq) + self.blocked(name, window_seq);
                counted.saturating_sub(before.rolled)
            }
        };
        quota.saturating_sub(counted).min(max)
    }

    /// Brings a counter into a window, as a counting call of a group does. Returns the window's number.
    pub fn enter(&mut self, name: &CounterName, window: Window, group: &Group) -> u64 {
        let (rolled, quota) = (self.rolled(name, group, window), group.quota);
        let (window_seq, change) = self.resolve(name, window);
        let over = change == Change::Moved && self.stored(name).is_some_and(|stored| self.is_over(stored));
        if over {
            self.counter(name).grants.retain(|grant| grant.window_seq != Some(window_seq));
        }
        self.counter(name).window_seq = window_seq;
        let account = self.accounts.entry((name.clone(), window_seq));
        let account = account.or_insert(Account { window, used: 0, quota, rolled });
        (account.window, account.quota) = (window, quota);
        window_seq
    }

    /// Begins a new window by hand, whatever the time, with the window, quota and rolled amount of `like`.
    pub fn start_anew(&mut self, name: &CounterName, like: Account) -> u64 {
        let counter = self.counter(name);
        counter.window_seq += 1;
        let window_seq = counter.window_seq;
        self.accounts.insert((name.clone(), window_seq), Account { used: 0, ..like });
        window_seq
    }

    /// A group's counter in a window. Outside of a fixed period it has no window.
    pub fn stand(&self, group: &Group, owner: &str, window: Option<Window>) -> Stand {
        let name = (owner.to_owned(), group.id);
        // Outside of the period nothing remains.
        let Some(window) = window else { return Stand { remaining: Some(0), ..stand(group, owner, [0; 5], None) } };
        let (window_seq, change) = self.resolve(&name, window);
        let figures = [
            self.used(&name, window_seq),
            self.held(&name, window_seq),
            self.granted(&name, (window_seq, change)),
            self.blocked(&name, window_seq),
            self.rolled(&name, group, window),
        ];
        stand(group, owner, figures, Some(window))
    }

    /// The account of an entry as settlements return it.
    pub fn account(&self, group: &Group, entry: &Entry) -> Stand {
        let name = (entry.owner.clone(), entry.group);
        let account = &self.accounts[&(name.clone(), entry.window_seq)];
        let (window, rolled) = (account.window, account.rolled());
        let used = self.used(&name, entry.window_seq);
        let figures = match self.window_seq(&name) == entry.window_seq {
            true => {
                let granted = self.granted(&name, (entry.window_seq, Change::Same));
                [used, self.held(&name, entry.window_seq), granted, self.blocked(&name, entry.window_seq), rolled]
            }
            // A closed window keeps only the used amount, and what was rolled over into it.
            false => [used, 0, 0, 0, rolled],
        };
        stand(&self.own(group, &entry.owner), &entry.owner, figures, Some(window))
    }

    /// The counters of a user's groups.
    pub fn stands(&self, user: &str, labels: Labels, wanted: impl Fn(&Group) -> bool) -> Vec<Stand> {
        let anchor = self.anchor(user);
        let groups = self.standing(user);
        let stands = groups.iter().filter(|group| wanted(group)).filter_map(|group| {
            let owner = group.owner(user, &self.rules.app, labels)?;
            Some(self.stand(&self.own(group, &owner), &owner, group.period.window(anchor, self.now_ms)))
        });
        let mut stands: Vec<Stand> = stands.collect();
        stands.sort();
        stands
    }
}

impl Subscription {
    pub fn anchor(&self) -> Anchor {
        Anchor { started_ms: self.started_ms, cycle_ms: self.cycle_ms }
    }
}

fn stand(group: &Group, owner: &str, figures: [u64; 5], window: Option<Window>) -> Stand {
    let [used, held, granted, blocked, rolled] = figures;
    let rolled = if group.quota.is_some_and(|quota| quota > 0) { rolled } else { 0 };
    let counted = if group.is_concurrent() { held } else { used + held };
    let allowance = group.quota.map(|quota| quota + granted + rolled);
    Stand {
        group: group.id.to_owned(),
        owner: owner.to_owned(),
        used,
        held,
        granted,
        rolled: (group.rollover.is_some() || rolled > 0).then_some(rolled),
        blocked,
        quota: group.quota,
        remaining: allowance.map(|allowance| allowance.saturating_sub(blocked + counted)),
        overage: allowance.map_or(0, |allowance| used.saturating_sub(allowance)),
        window: window.map(|window| (window.start_ms, window.end_ms)),
    }
}

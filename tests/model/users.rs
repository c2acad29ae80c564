//! The model's answers to changes of users and of the rules.

use std::collections::BTreeMap;

use super::call::{Edit, Name, Reply, subscription_word};
use super::rules::{Group, Ms, OnChange, SECOND_MS, Scope, Window};
use super::state::{Account, CounterName, Grant, Model, Request, RequestStatus, Subscription};

const MOST_GRANTS: usize = 8;

/// An update: `None` keeps the value, an inner `None` clears it.
#[derive(Clone, Copy, Debug)]
pub struct Upsert {
    pub plan: &'static str,
    pub started_ms: Option<Ms>,
    pub cycle_ms: Option<Option<Ms>>,
    pub ends_ms: Option<Option<Ms>>,
    pub limits: Option<Option<(&'static str, Option<u64>)>>,
    pub reset: bool,
}

pub(super) fn invalid() -> Reply {
    Reply::problem(400, "invalid_request")
}

fn whole(ms: Ms) -> Ms {
    ms.div_euclid(SECOND_MS) * SECOND_MS
}

fn reply(subscription: &Subscription, changed: bool) -> Reply {
    let Subscription { plan, started_ms, cycle_ms, ends_ms, limits } = *subscription;
    Reply { word: subscription_word(plan, started_ms, cycle_ms, ends_ms, limits, changed), ..Reply::ok() }
}

impl Model {
    pub fn subscribe(&mut self, user: &str, upsert: Upsert) -> Reply {
        let plan = &self.rules.plans[upsert.plan];
        let stranger = upsert.limits.flatten().is_some_and(|(group, _)| plan.group(group).is_none());
        if stranger || upsert.started_ms.is_some_and(|start| start > self.now_ms) {
            return invalid();
        }
        let first = self.users.get(user).is_none_or(|user| user.subscription.is_none());
        let same = self.running(user).filter(|running| running.plan == upsert.plan).cloned();
        let of_same = same.as_ref();
        let next = Subscription {
            plan: upsert.plan,
            started_ms: whole(upsert.started_ms.or(of_same.map(|old| old.started_ms)).unwrap_or(self.now_ms)),
            cycle_ms: upsert.cycle_ms.unwrap_or(of_same.and_then(|old| old.cycle_ms)).map(whole),
            ends_ms: upsert.ends_ms.unwrap_or(of_same.and_then(|old| old.ends_ms)).map(whole),
            limits: upsert.limits.unwrap_or(of_same.and_then(|old| old.limits)),
        };
        if next.ends_ms.is_some_and(|end| end <= next.started_ms) {
            return invalid();
        }
        if same.as_ref() == Some(&next) {
            return reply(&next, false);
        }
        let re_anchored = of_same.is_some_and(|old| old.anchor() != next.anchor());
        let reset = upsert.reset && (re_anchored || of_same.is_none());
        let acts = !first && of_same.is_none();
        let before = self.windows_of(user);
        self.move_counters(user, &next, acts, reset);
        if reset {
            self.start_anew_from(before, None);
        }
        self.users.entry(user.to_owned()).or_default().subscription = Some(next.clone());
        reply(&next, true)
    }

    /// The current windows of a user's own counters.
    fn windows_of(&self, user: &str) -> BTreeMap<CounterName, (u64, Account)> {
        let owner = format!("user={user}");
        let own = self.counters.iter().filter(|(name, counter)| name.0 == owner && counter.window_seq > 0);
        let account = |name: &CounterName, window_seq| self.accounts[&(name.clone(), window_seq)].clone();
        own.map(|(name, it)| (name.clone(), (it.window_seq, account(name, it.window_seq)))).collect()
    }

    /// Brings a user's own counters into the windows of the user's next plan.
    fn move_counters(&mut self, user: &str, next: &Subscription, acts: bool, reset: bool) {
        let mut groups: Vec<Group> = self.rules.plans[next.plan].groups.clone();
        if let Some((id, quota)) = next.limits {
            groups.iter_mut().filter(|group| group.id == id).for_each(|group| group.quota = quota);
        }
        for group in groups.iter().filter(|group| group.scope == Scope::User && !group.is_concurrent()) {
            let Some(window) = group.period.window(next.anchor(), self.now_ms) else { continue };
            let action = match group.on_change {
                // A group without a quota has nothing to block.
                OnChange::Block if group.quota.is_none() => OnChange::Carry,
                action if acts => action,
                _ => OnChange::Carry,
            };
            let name = (format!("user={user}"), group.id);
            let stored = self.stored(&name);
            if stored.is_none() && action != OnChange::Block {
                continue;
            }
            // A window that was over is not carried over, but the end of a fixed period may still move.
            let over = stored.is_some_and(|stored| stored != window && stored.kind != "fixed" && self.is_over(stored));
            let (window_seq, _) = self.resolve(&name, window);
            let turned = window_seq > self.window_seq(&name) && stored.is_some();
            let group = self.own(group, &name.0);
            let window_seq = match stored {
                Some(_) if turned || over || action == OnChange::Reset => {
                    let rolled =
                        if over { self.leaves(&name, &group, window) } else { self.rolled(&name, &group, window) };
                    self.start_anew(&name, Account { window, used: 0, quota: group.quota, rolled })
                }
                _ => self.enter(&name, window, &group),
            };
            if action == OnChange::Block && !reset {
                let rolled = self.accounts[&(name.clone(), window_seq)].rolled();
                let room = (group.quota.unwrap_or(0) + rolled).saturating_sub(self.used(&name, window_seq));
                self.counter(&name).blocked = Some((window_seq, room));
            }
        }
    }

    /// Restarts the windows of one group, or of all groups, at 0 at their current position; grants within them are
    /// kept.
    fn start_anew_from(&mut self, before: BTreeMap<CounterName, (u64, Account)>, group: Option<&'static str>) {
        let wanted = before.into_iter().filter(|(name, _)| group.is_none_or(|group| group == name.1));
        let resets = |account: &Account| {
            let is_over = account.window.kind != "fixed" && self.is_over(account.window);
            account.window.kind != "concurrent" && !is_over
        };
        let wanted: Vec<_> = wanted.filter(|(_, (_, account))| resets(account)).collect();
        for (name, (window_seq, account)) in wanted {
            self.counter(&name).window_seq = window_seq;
            // The window is closed with the bounds it had before it was moved.
            self.accounts.insert((name.clone(), window_seq), account.clone());
            let anew = self.start_anew(&name, account);
            for grant in &mut self.counter(&name).grants {
                if grant.window_seq == Some(window_seq) {
                    grant.window_seq = Some(anew);
                }
            }
        }
    }

    pub fn cancel(&mut self, user: &str, ends_ms: Option<Ms>) -> Reply {
        let Some(running) = self.running(user).cloned() else {
            return match self.users.get(user).is_some_and(|user| user.subscription.is_some()) {
                true => Reply::problem(409, "already_canceled"),
                false => Reply::problem(404, "not_found"),
            };
        };
        let end = whole(ends_ms.unwrap_or(self.now_ms));
        if end < running.started_ms {
            return invalid();
        }
        let changed = running.ends_ms != Some(end);
        let next = Subscription { ends_ms: Some(end), ..running };
        self.users.get_mut(user).unwrap().subscription = Some(next.clone());
        reply(&next, changed)
    }

    pub fn block(&mut self, user: &str, blocked: bool) -> Reply {
        let user = self.users.entry(user.to_owned()).or_default();
        let changed = user.blocked != blocked;
        user.blocked = blocked;
        Reply { word: format!("{blocked} {changed}"), ..Reply::ok() }
    }

    pub fn reset(&mut self, user: &str, group: Option<&'static str>) -> Reply {
        let rules = &self.first_rules;
        let mut known = rules.plans.values().chain(rules.policies.values());
        if group.is_some_and(|id| known.all(|plan| plan.group(id).is_none())) {
            return invalid();
        }
        // Only of the user's own counters.
        let before = self.windows_of(user);
        self.start_anew_from(before, group);
        Reply { word: format!("{} true", self.is_blocked(user)), ..Reply::ok() }
    }

    /// The group that applies to an owner: in the user's plan or the policies, or shared by several users.
    fn group_for(&self, owner: &str, id: &str) -> Option<Group> {
        let of_user = owner.split(',').find_map(|pair| pair.strip_prefix("user="));
        let mut known = match of_user {
            Some(user) => self.standing(user),
            None => self.policy_groups().cloned().collect(),
        };
        let shared = |group: &&Group| !matches!(group.scope, Scope::User | Scope::UserAndTeam);
        known.extend(self.rules.plans.values().flat_map(|plan| &plan.groups).filter(shared).cloned());
        known.into_iter().find(|group| group.id == id)
    }

    /// The group and its window, unless the grant is invalid whatever the state of its counter.
    fn drafted(&self, owner: &str, id: &str, expires_ms: Option<Ms>) -> Option<(Group, Option<Window>)> {
        let group = self.group_for(owner, id)?;
        let names = match group.scope {
            Scope::User => "user",
            Scope::App => "app",
            Scope::Team => "metadata.team",
            Scope::UserAndTeam => "metadata.team,user",
        };
        let given: Vec<&str> = owner.split(',').filter_map(|pair| pair.split('=').next()).collect();
        let user = owner.split(',').find_map(|pair| pair.strip_prefix("user="));
        let window = group.period.window(self.anchor(user.unwrap_or_default()), self.now_ms);
        let is_past = expires_ms.is_some_and(|end| end <= self.now_ms);
        let is_endless = window.is_none() && expires_ms.is_none();
        (given.join(",") == names && !is_past && !is_endless).then_some((group, window))
    }

    pub fn grant(&mut self, name: Name, owner: &str, id: &'static str, amount: u64, expires_ms: Option<Ms>) -> Reply {
        let Some((group, window)) = self.drafted(owner, id, expires_ms) else { return invalid() };
        let counter = (owner.to_owned(), id);
        if self.live_grants(&counter, window).len() >= MOST_GRANTS {
            return invalid();
        }
        let group = self.own(&group, owner);
        let window_seq = window.map(|window| self.enter(&counter, window, &group));
        let now_ms = self.now_ms;
        let grants = &mut self.counter(&counter).grants;
        grants.retain(|grant| match grant.window_seq {
            Some(own) => Some(own) == window_seq,
            None => grant.ends_ms.is_none_or(|end| now_ms < end),
        });
        let window_seq = window_seq.filter(|_| expires_ms.is_none());
        grants.push(Grant { name, amount, window_seq, ends_ms: expires_ms });
        Reply { status: 201, ..Reply::default() }
    }

    fn live_grants(&self, counter: &CounterName, window: Option<Window>) -> Vec<Name> {
        let here = window.map(|window| self.resolve(counter, window));
        let over = self.stored(counter).is_some_and(|stored| self.is_over(stored));
        let moved_over = here.is_some_and(|(_, change)| change == super::state::Change::Moved) && over;
        let Some(known) = self.counters.get(counter) else { return Vec::new() };
        let live = known.grants.iter().filter(|grant| match grant.window_seq {
            Some(own) => here.is_some_and(|(window_seq, _)| window_seq == own) && !moved_over,
            None => grant.ends_ms.is_none_or(|end| self.now_ms < end),
        });
        live.map(|grant| grant.name).collect()
    }

    /// The counter of a live grant, in the window in which it was last counted.
    pub fn grant_of(&self, of: Name) -> Option<CounterName> {
        let mut found =
            self.counters.iter().flat_map(|(name, counter)| counter.grants.iter().map(move |it| (name, it)));
        let (name, grant) = found.find(|(_, grant)| grant.name == of)?;
        let live = match grant.window_seq {
            Some(window_seq) => {
                window_seq == self.window_seq(name) && self.stored(name).is_some_and(|stored| !self.is_over(stored))
            }
            None => grant.ends_ms.is_none_or(|end| self.now_ms < end),
        };
        live.then(|| name.clone())
    }

    /// Revokes a live grant, see [`Model::grant_of`].
    pub fn revoke(&mut self, of: Name) -> Reply {
        let Some(name) = self.grant_of(of) else { return Reply::problem(404, "not_found") };
        self.counter(&name).grants.retain(|grant| grant.name != of);
        Reply { status: 204, ..Reply::default() }
    }

    /// Changes a group of a plan or policy.
    pub fn edit(&mut self, policy: bool, of: &'static str, id: &'static str, edit: Edit) -> Reply {
        let (now, first) = match policy {
            true => (&mut self.rules.policies, &self.first_rules.policies),
            false => (&mut self.rules.plans, &self.first_rules.plans),
        };
        let Some(plan) = now.get_mut(of) else { return invalid() };
        let at = plan.groups.iter().position(|group| group.id == id);
        match (edit, at) {
            (Edit::Toggle, Some(at)) => drop(plan.groups.remove(at)),
            (Edit::Toggle, None) => plan.groups.extend(first[of].group(id).cloned()),
            (Edit::Quota(quota), Some(at)) => plan.groups[at].quota = quota,
            (Edit::Period(period), Some(at)) => plan.groups[at].period = period,
            (Edit::Enforcement(enforcement), Some(at)) => plan.groups[at].enforcement = enforcement,
            (_, None) => {}
        }
        Reply::ok()
    }

    fn request(&self, counter: &CounterName) -> Option<&Request> {
        self.counters.get(counter)?.request.as_ref()
    }

    pub fn approve(&mut self, name: Name, owner: &str, id: &'static str, amount: u64, until_ms: Option<Ms>) -> Reply {
        let counter = (owner.to_owned(), id);
        if self.drafted(owner, id, until_ms).is_none() {
            return invalid();
        }
        if self.request(&counter).is_none_or(|request| request.status != RequestStatus::Open) {
            return Reply::problem(409, "already_decided");
        }
        let granted = self.grant(name, owner, id, amount, until_ms);
        if granted.status != 201 {
            return granted;
        }
        self.counter(&counter).request.as_mut().unwrap().status = RequestStatus::Approved;
        Reply { status: 200, ..Reply::default() }
    }

    pub fn reject(&mut self, owner: &str, id: &'static str) -> Reply {
        let counter = (owner.to_owned(), id);
        match self.counter(&counter).request.as_mut() {
            Some(request) if request.status == RequestStatus::Open => {
                request.status = RequestStatus::Rejected;
                Reply { word: "rejected".to_owned(), ..Reply::ok() }
            }
            _ => Reply::problem(409, "already_decided"),
        }
    }
}

//! The model's answers to calls that ask for capacity, and to calls that record what has happened.

use std::collections::{BTreeMap, BTreeSet};

use super::call::{Name, Reply};
use super::rules::{Enforcement, Group, Item, Measure, Ms, Period, Window};
use super::state::{Entry, Model, Request, RequestStatus, Reservation, Status};

const LONGEST_LIFE_MS: Ms = 24 * 60 * 60_000;

/// How a call counts.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub user: &'a str,
    pub items: &'a [Item],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Every group can refuse the call.
    Ask,
    /// The event has happened: groups that cannot count it are left out.
    Tell,
    /// A refund without a reservation.
    GiveBack,
}

pub(super) struct Matched {
    pub group: Group,
    pub owner: String,
    pub amount: u64,
    pub window: Window,
}

/// The parts of a call, before any counter is read.
#[derive(Default)]
pub(super) struct Admission {
    pub matched: Vec<Matched>,
    /// Groups outside of their fixed period, with the amount and the start of the period.
    closed: Vec<(Group, u64, Option<Ms>)>,
    pub refusal: Option<(&'static str, Vec<Group>)>,
    /// Groups that would refuse the call if they did not only observe: why, and the amount.
    pub observed: Vec<(Group, &'static str, u64)>,
}

impl Admission {
    /// The groups of which all items of the call together request more than one call may have.
    fn too_large(&self) -> Vec<Group> {
        let matched = self.matched.iter().map(|matched| (&matched.group, matched.amount));
        let wanted = matched.chain(self.closed.iter().map(|(group, amount, _)| (group, *amount)));
        let too_large = wanted.filter(|(group, amount)| group.most_per_call.is_some_and(|most| *amount > most));
        too_large.map(|(group, _)| group.clone()).collect()
    }

    /// Refuses the call because of its amounts, or of a period that is not running.
    fn refuse_amounts(&mut self) {
        let amount = |group: &Group| {
            let matched =
                self.matched.iter().find(|matched| matched.group.id == group.id).map(|matched| matched.amount);
            matched.or(self.closed.iter().find(|closed| closed.0.id == group.id).map(|closed| closed.1)).unwrap_or(0)
        };
        let (watched, too_large): (Vec<Group>, Vec<Group>) = self.too_large().into_iter().partition(Group::observes);
        let mut observed: Vec<_> =
            watched.into_iter().map(|group| (group.clone(), "call_too_large", amount(&group))).collect();
        let (watched, closed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.closed).into_iter().partition(|(group, ..)| group.observes());
        observed.extend(watched.into_iter().map(|(group, amount, _)| (group, "limit_reached", amount)));
        self.closed = closed;
        self.observed.extend(observed);
        if self.refusal.is_none() {
            self.refusal = match too_large.is_empty() {
                false => Some(("call_too_large", too_large)),
                true => (!self.closed.is_empty()).then_some(("limit_reached", Vec::new())),
            };
        }
    }

    /// Sets the groups apart that only observe.
    fn observe(&mut self, reason: &'static str, groups: Vec<Group>) -> Vec<Group> {
        let (watched, refusing): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(Group::observes);
        self.observed.extend(watched.into_iter().map(|group| (group, reason, 0)));
        refusing
    }
}

impl Model {
    pub(super) fn admission(&self, asked: Asked<'_>, purpose: Purpose) -> Admission {
        let mut admission = Admission::default();
        let plan = self.plan(asked.user);
        if purpose == Purpose::Ask {
            let reason = if self.is_blocked(asked.user) { Some("user_blocked") } else { None };
            let reason = reason.or(plan.is_none().then_some("no_subscription"));
            if let Some(reason) = reason {
                admission.refusal = Some((reason, Vec::new()));
                return admission;
            }
        }
        let (mut uncovered, mut missing) = (Vec::new(), Vec::new());
        let mut unmatched = false;
        let of_plan = plan.as_ref().map_or(0, |plan| plan.groups.len());
        for item in asked.items {
            let mut in_plan = false;
            for (place, group) in self.standing(asked.user).into_iter().enumerate() {
                let Some(rule) = group.rule(item.event, item.labels) else {
                    if group.covers(item.event) {
                        in_plan |= place < of_plan && !group.observes();
                        uncovered.push(group);
                    }
                    continue;
                };
                in_plan |= place < of_plan;
                let counts_calls = rule.measure == Measure::Event;
                let (apart, steps) = match purpose {
                    Purpose::Ask => (false, item.labels.estimated()),
                    Purpose::Tell => (group.is_concurrent(), item.labels.estimated()),
                    Purpose::GiveBack => (group.is_concurrent() || counts_calls, item.labels.steps.unwrap_or(0)),
                };
                if apart {
                    continue;
                }
                let Some(owner) = group.owner(asked.user, &self.rules.app, item.labels) else {
                    missing.push(group);
                    continue;
                };
                let amount = rule.measure.amount(item.quantity, steps);
                self.place(&mut admission, asked.user, group, owner, amount);
            }
            unmatched |= !in_plan;
        }
        if purpose == Purpose::Ask {
            let denies = plan.is_some_and(|plan| !plan.passes_unmatched);
            let uncovered = admission.observe("uncovered_event", uncovered);
            let missing = admission.observe("missing_scope", missing);
            let reasons = [
                ("unmatched_event", unmatched && denies, Vec::new()),
                ("uncovered_event", !uncovered.is_empty(), uncovered),
                ("missing_scope", !missing.is_empty(), missing),
            ];
            let first = reasons.into_iter().find(|(_, refuses, _)| *refuses);
            admission.refusal = first.map(|(reason, _, groups)| (reason, groups));
            admission.refuse_amounts();
        }
        admission
    }

    /// Adds an item's amount to those of the call's other items on the same counter.
    fn place(&self, admission: &mut Admission, user: &str, group: Group, owner: String, amount: u64) {
        if let Some(known) =
            admission.matched.iter_mut().find(|known| known.group.id == group.id && known.owner == owner)
        {
            known.amount += amount;
            return;
        }
        if let Some(known) = admission.closed.iter_mut().find(|known| known.0.id == group.id) {
            known.1 += amount;
            return;
        }
        let group = self.own(&group, &owner);
        match group.period.window(self.anchor(user), self.now_ms) {
            Some(window) => admission.matched.push(Matched { group, owner, amount, window }),
            None => {
                let opens = match group.period {
                    Period::Fixed(start, _) if self.now_ms < start => Some(start),
                    _ => None,
                };
                admission.closed.push((group, amount, opens));
            }
        }
    }

    pub(super) fn lacks(&self, matched: &Matched) -> bool {
        let passes = matches!(matched.group.enforcement, Enforcement::Soft | Enforcement::Observe);
        !passes && self.exceeds(matched)
    }

    /// The amount does not fit into the quota.
    pub(super) fn exceeds(&self, matched: &Matched) -> bool {
        let Some(quota) = matched.group.quota else { return false };
        let stand = self.stand(&matched.group, &matched.owner, Some(matched.window));
        let counted = if matched.group.is_concurrent() { stand.held } else { stand.used + stand.held };
        let limit = (quota + stand.granted + stand.rolled.unwrap_or(0)).saturating_sub(stand.blocked);
        limit == 0 || counted + matched.amount > limit
    }

    /// When the first hold expires of a group that limits reservations in flight.
    fn first_end(&self, matched: &Matched) -> Option<Ms> {
        let name = (matched.owner.clone(), matched.group.id);
        let (window_seq, _) = self.resolve(&name, matched.window);
        let live = self.reservations.values().filter(|it| it.status == Status::Held && it.expires_ms > self.now_ms);
        let of_it = live.filter(|it| {
            it.held.iter().any(|entry| entry.owner == name.0 && entry.group == name.1 && entry.window_seq == window_seq)
        });
        of_it.map(|it| it.expires_ms).min()
    }

    /// The denial, unless the amounts fit.
    pub(super) fn denial(&self, admission: &Admission) -> Option<Reply> {
        let lacking: Vec<&Matched> = admission.matched.iter().filter(|matched| self.lacks(matched)).collect();
        if lacking.is_empty() && admission.refusal.is_none() {
            return None;
        }
        let denied = |matched: &Matched| {
            let stand = self.stand(&matched.group, &matched.owner, Some(matched.window));
            (matched.group.id.to_owned(), (matched.amount, stand.remaining, String::new()))
        };
        let by_approval = lacking.iter().all(|matched| matched.group.enforcement == Enforcement::Approval);
        let reason = match &admission.refusal {
            Some((reason, _)) => reason,
            None if by_approval => "approval_required",
            None => "limit_reached",
        };
        let mut denied_by: BTreeMap<_, _> = BTreeMap::new();
        let mut lifts: Vec<Option<Ms>> = Vec::new();
        match &admission.refusal {
            Some((reason, groups)) if *reason != "limit_reached" => {
                for group in groups {
                    let known = admission.matched.iter().find(|matched| matched.group.id == group.id);
                    let (id, figures) = known.map_or((group.id.to_owned(), (0, None, String::new())), denied);
                    denied_by.insert(id, figures);
                }
                lifts.push(None);
            }
            _ => {
                let in_flight = lacking.iter().filter(|matched| matched.group.is_concurrent());
                let free = in_flight.filter_map(|matched| self.first_end(matched)).max();
                for matched in &lacking {
                    denied_by.extend([denied(matched)]);
                    let stand = self.stand(&matched.group, &matched.owner, Some(matched.window));
                    let quota = matched.group.quota.unwrap_or(0);
                    let rolls = matched.group.rollover.map_or(0, |max| {
                        let counted = stand.used + stand.held + stand.blocked;
                        quota.saturating_sub(counted.saturating_sub(stand.rolled.unwrap_or(0))).min(max)
                    });
                    let most = quota + stand.granted + rolls;
                    lifts.push(match most == 0 || matched.amount > most {
                        true => None,
                        false if matched.group.is_concurrent() => free,
                        false => matched.window.end_ms,
                    });
                }
                for (group, amount, opens) in &admission.closed {
                    denied_by.insert(group.id.to_owned(), (*amount, Some(0), String::new()));
                    lifts.push(*opens);
                }
            }
        }
        let lifted = lifts.into_iter().collect::<Option<Vec<Ms>>>().and_then(|lifts| lifts.into_iter().max());
        let closed = admission.closed.iter().map(|(group, ..)| group.id.to_owned());
        Some(Reply {
            allowed: Some(false),
            reasons: vec![(*reason).to_owned()],
            denied_by,
            observed: self.observed(admission),
            groups: admission.matched.iter().map(|matched| matched.group.id.to_owned()).chain(closed).collect(),
            retry_ms: lifted.map(|at| (at - self.now_ms).max(1)),
            counters: self.stands_of(admission),
            ..Reply::ok()
        })
    }

    /// Like [`Model::denial`]. If only an approval is missing, it is requested.
    fn deny(&mut self, admission: &Admission) -> Option<Reply> {
        let mut denial = self.denial(admission)?;
        if denial.reasons == ["approval_required"] {
            let lacking: Vec<&Matched> = admission.matched.iter().filter(|matched| self.lacks(matched)).collect();
            for matched in lacking {
                let status = self.open_request(matched);
                if let Some(denied) = denial.denied_by.get_mut(matched.group.id) {
                    denied.2 = status.to_owned();
                }
            }
        }
        Some(denial)
    }

    fn open_request(&mut self, matched: &Matched) -> &'static str {
        let name = (matched.owner.clone(), matched.group.id);
        let (window_seq, change) = self.resolve(&name, matched.window);
        let counted = matches!(change, super::state::Change::Same | super::state::Change::Moved);
        let counter = self.counter(&name);
        let known = counter.request.as_ref().filter(|request| {
            let here = request.window_seq == window_seq && (counted || request.window == matched.window);
            here && request.status != RequestStatus::Approved
        });
        match known.map(|request| request.status) {
            Some(RequestStatus::Rejected) => "rejected",
            Some(_) => "open",
            None => {
                counter.request = Some(Request { window_seq, window: matched.window, status: RequestStatus::Open });
                "open"
            }
        }
    }

    fn stands_of(&self, admission: &Admission) -> Vec<super::call::Stand> {
        let stand = |matched: &Matched| self.stand(&matched.group, &matched.owner, Some(matched.window));
        let mut stands: Vec<_> = admission.matched.iter().map(stand).collect();
        stands.sort();
        stands
    }

    fn enter_all(&mut self, admission: &Admission) -> Vec<Entry> {
        let matched = admission.matched.iter();
        matched
            .map(|it| {
                let name = (it.owner.clone(), it.group.id);
                let window_seq = self.enter(&name, it.window, &it.group);
                self.watch(&it.group, &name, window_seq);
                Entry { owner: it.owner.clone(), group: it.group.id, window_seq, amount: it.amount }
            })
            .collect()
    }

    fn passed(&self, admission: &Admission) -> Reply {
        let groups = admission.matched.iter().map(|matched| matched.group.id.to_owned()).collect();
        Reply { allowed: Some(true), groups, counters: self.stands_of(admission), ..Reply::ok() }
    }

    pub fn reserve(&mut self, name: Name, asked: Asked<'_>, ttl_ms: Ms) -> Reply {
        let admission = self.admission(asked, Purpose::Ask);
        if let Some(denial) = self.deny(&admission) {
            return denial;
        }
        let observed = self.observed(&admission);
        if admission.matched.is_empty() {
            return Reply { observed, ..self.passed(&admission) };
        }
        let held = self.enter_all(&admission);
        // The rules are those of the plan, without the user's own limits.
        let plan = self.plan_id(asked.user).map(|plan| &self.rules.plans[plan]);
        let groups = plan.into_iter().flat_map(|plan| &plan.groups).chain(self.policy_groups());
        let matches = |group: &&Group| asked.items.iter().any(|item| group.rule(item.event, item.labels).is_some());
        let rules = groups.filter(matches).cloned().collect();
        let expires_ms = self.now_ms + ttl_ms;
        let reservation = Reservation {
            user: asked.user.to_owned(),
            items: asked.items.to_vec(),
            rules,
            created_ms: self.now_ms,
            expires_ms,
            status: Status::Held,
            late: false,
            drawn: None,
            held,
            charged: Vec::new(),
        };
        self.reservations.insert(name, reservation);
        Reply { expires_ms: Some(expires_ms), observed, ..self.passed(&admission) }
    }

    pub fn can_use(&self, asked: Asked<'_>) -> Reply {
        let admission = self.admission(asked, Purpose::Ask);
        let reply = self.denial(&admission);
        let reply = reply.unwrap_or_else(|| Reply { observed: self.observed(&admission), ..self.passed(&admission) });
        // The answer contains nothing else.
        Reply { denied_by: BTreeMap::new(), counters: Vec::new(), retry_ms: None, ..reply }
    }

    pub fn track(&mut self, asked: Asked<'_>, enforce: bool) -> Reply {
        let mut admission = self.admission(asked, if enforce { Purpose::Ask } else { Purpose::Tell });
        admission.matched.retain(|matched| !matched.group.is_concurrent());
        if enforce && let Some(denial) = self.deny(&admission) {
            let code = denial.reasons[0].clone();
            return Reply { status: 429, code, allowed: None, ..denial };
        }
        let observed = if enforce { self.observed(&admission) } else { BTreeMap::new() };
        Reply { observed, ..self.count(asked.user, &admission, |used, amount| used + amount) }
    }

    pub fn give_back(&mut self, asked: Asked<'_>) -> Reply {
        let admission = self.admission(asked, Purpose::GiveBack);
        self.count(asked.user, &admission, u64::saturating_sub)
    }

    fn count(&mut self, user: &str, admission: &Admission, change: impl Fn(u64, u64) -> u64) -> Reply {
        let mut passed = BTreeSet::new();
        for (Entry { owner, group, window_seq, amount }, matched) in
            self.enter_all(admission).into_iter().zip(&admission.matched)
        {
            let name = (owner, group);
            let account = self.accounts.get_mut(&(name.clone(), window_seq)).unwrap();
            let before = account.used;
            account.used = change(before, amount);
            if matched.group.quota.is_some() && !matched.group.alerts.is_empty() {
                passed.extend(self.passed_since(&name, window_seq, before));
            }
        }
        let over = |matched: &Matched| {
            matched.group.enforcement == Enforcement::Hard
                && self.stand(&matched.group, &matched.owner, Some(matched.window)).overage > 0
        };
        let word = if self.plan_id(user).is_none() {
            "no_subscription"
        } else if admission.matched.is_empty() {
            "unmatched"
        } else if admission.matched.iter().any(over) {
            "over_limit"
        } else {
            "matched"
        };
        Reply { allowed: None, word: word.to_owned(), passed, ..self.passed(admission) }
    }

    /// Extends the expiry, the amount, or both.
    pub fn extend(&mut self, of: Name, quantity: Option<u64>, ttl_ms: Option<Ms>) -> Reply {
        let Some(before) = self.reservations.get(&of).cloned() else { return Self::unknown() };
        if before.status != Status::Held {
            return if self.is_gone(&before) { Self::expired() } else { Self::not_pending() };
        }
        if self.now_ms >= before.expires_ms {
            return Self::expired();
        }
        let admission = self.enlargement(&before, quantity);
        if let Some(denial) = self.deny(&admission) {
            return Reply { expires_ms: Some(before.expires_ms), ..denial };
        }
        let observed = self.observed(&admission);
        for new in self.enter_all(&admission) {
            let held = &mut self.reservations.get_mut(&of).unwrap().held;
            let same = |entry: &&mut Entry| {
                (&entry.owner, entry.group, entry.window_seq) == (&new.owner, new.group, new.window_seq)
            };
            match held.iter_mut().find(same) {
                Some(entry) => entry.amount += new.amount,
                None => held.push(new),
            }
        }
        let (now_ms, enlarged) = (self.now_ms, !admission.matched.is_empty());
        let it = self.reservations.get_mut(&of).unwrap();
        // Also if it changes no amount: the next extension is measured together with it.
        it.items[0].quantity += quantity.unwrap_or(0);
        if enlarged {
            // In the order of their owners, the user first.
            let place = |owner: &str| before.held.iter().position(|entry| entry.owner == owner);
            it.held.sort_by_key(|entry| place(&entry.owner));
        }
        if let Some(ttl_ms) = ttl_ms {
            it.expires_ms = it.expires_ms.max((it.created_ms + LONGEST_LIFE_MS).min(now_ms + ttl_ms));
        }
        let expires_ms = Some(it.expires_ms);
        if enlarged {
            return Reply { expires_ms, observed, ..self.passed(&admission) };
        }
        Reply { expires_ms, observed, allowed: Some(true), ..self.all_of(of) }
    }

    /// The current state of all groups of a reservation for its user.
    pub fn all_of(&self, of: Name) -> Reply {
        let it = &self.reservations[&of];
        let groups: std::collections::BTreeSet<String> =
            it.held.iter().chain(&it.charged).map(|entry| entry.group.to_owned()).collect();
        // All items of a call belong to one team.
        let counters = self.stands(&it.user, it.items[0].labels, |group| groups.contains(group.id));
        Reply { groups, counters, ..Reply::ok() }
    }

    fn enlargement(&self, it: &Reservation, quantity: Option<u64>) -> Admission {
        let mut admission = Admission::default();
        let Some(more) = quantity else { return admission };
        let reason = if self.is_blocked(&it.user) { Some("user_blocked") } else { None };
        let reason = reason.or(self.plan_id(&it.user).is_none().then_some("no_subscription"));
        if let Some(reason) = reason {
            admission.refusal = Some((reason, Vec::new()));
            return admission;
        }
        let standing = self.standing(&it.user);
        let item = it.items[0];
        for group in it.rules.iter().filter(|group| !group.is_concurrent()) {
            let (Some(rule), Some(owner)) =
                (group.rule(item.event, item.labels), group.owner(&it.user, &self.rules.app, item.labels))
            else {
                continue;
            };
            let amount = |quantity| rule.measure.amount(quantity, item.labels.estimated());
            let further = amount(item.quantity + more) - amount(item.quantity);
            if further > 0 {
                // With the current rules, if the group still exists.
                let group = standing.iter().find(|known| known.id == group.id).unwrap_or(group);
                self.place(&mut admission, &it.user, group.clone(), owner, further);
            }
        }
        admission.refuse_amounts();
        admission
    }
}

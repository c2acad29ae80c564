//! The model's answers to calls on a reservation: commit, partial commit, release, refund.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::call::{Name, Reply, Stand};
use super::rules::{Group, Labels, Measure};
use super::state::{Entry, GRACE_MS, Model, Reservation, Status};

/// The actual usage of one item in a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Actual {
    pub quantity: Option<u64>,
    pub size: Option<&'static str>,
    pub steps: Option<u64>,
}

impl Actual {
    pub fn of(quantity: Option<u64>) -> Self {
        Self { quantity, ..Self::default() }
    }

    pub fn metadata(self) -> Option<Value> {
        let labels = Labels { team: None, size: self.size, steps: self.steps };
        (labels != Labels::default()).then(|| labels.to_json())
    }

    pub fn to_json(self) -> Value {
        let mut body = json!({});
        if let Some(quantity) = self.quantity {
            body["quantity"] = json!(quantity);
        }
        if let Some(metadata) = self.metadata() {
            body["metadata"] = metadata;
        }
        body
    }
}

impl Model {
    pub fn unknown() -> Reply {
        Reply::problem(404, "not_found")
    }

    pub fn expired() -> Reply {
        Reply::problem(410, "reservation_expired")
    }

    pub fn not_pending() -> Reply {
        Reply::problem(409, "reservation_not_pending")
    }

    pub fn is_gone(&self, it: &Reservation) -> bool {
        self.now_ms >= it.expires_ms + GRACE_MS
    }

    /// The group's current definition, or the one at the time of the reserve.
    fn definition<'a>(it: &'a Reservation, standing: &'a [Group], id: &str) -> &'a Group {
        standing.iter().chain(&it.rules).find(|group| group.id == id).unwrap()
    }

    fn accounts_of(&self, it: &Reservation) -> Vec<Stand> {
        let standing = self.standing(&it.user);
        let mut seen: Vec<&Entry> = Vec::new();
        for entry in it.held.iter().chain(&it.charged) {
            let same = |known: &&Entry| {
                (&known.owner, known.group, known.window_seq) == (&entry.owner, entry.group, entry.window_seq)
            };
            if !seen.iter().any(same) {
                seen.push(entry);
            }
        }
        let account = |entry: &&Entry| self.account(Self::definition(it, &standing, entry.group), entry);
        let mut stands: Vec<Stand> = seen.iter().map(account).collect();
        stands.sort();
        stands
    }

    fn settled(&self, of: Name, counters: Vec<Stand>, replayed: bool) -> Reply {
        let it = &self.reservations[&of];
        let word = match it.status {
            Status::Held => "held",
            Status::Committed => "committed",
            Status::Released => "released",
        };
        Reply { word: word.to_owned(), late: it.late, replayed, counters, ..Reply::ok() }
    }

    /// What each held group is charged in total after this call, or `None` to charge everything that is held.
    fn totals(it: &mut Reservation, figures: &[Actual], is_final: bool) -> Option<BTreeMap<&'static str, u64>> {
        if figures.iter().all(|figures| *figures == Actual::default()) {
            return None;
        }
        let mut totals: BTreeMap<&'static str, u64> = BTreeMap::new();
        let counts_draws = it.drawn.is_some() || !is_final;
        for (place, (item, figures)) in it.items.iter().zip(figures).enumerate() {
            let (quantity, steps) = if counts_draws {
                let drawn = it.drawn.get_or_insert_with(|| vec![(0, 0); it.items.len()]);
                drawn[place].0 += figures.quantity.unwrap_or(0);
                drawn[place].1 += figures.steps.unwrap_or(0);
                drawn[place]
            } else {
                (figures.quantity.unwrap_or(item.quantity), figures.steps.unwrap_or(item.labels.estimated()))
            };
            let labels = Labels { size: figures.size.or(item.labels.size), ..item.labels };
            for group in it.rules.iter().filter(|group| !group.is_concurrent()) {
                let Some(reserved_by) = group.rule(item.event, item.labels) else { continue };
                let rule = group.rule(item.event, labels).unwrap_or(reserved_by);
                *totals.entry(group.id).or_default() += rule.measure.amount(quantity, steps);
            }
        }
        Some(totals)
    }

    pub fn commit(&mut self, of: Name, figures: &[Actual], is_final: bool, reject_late: bool) -> Reply {
        let Some(before) = self.reservations.get(&of).cloned() else { return Self::unknown() };
        let late = self.now_ms >= before.expires_ms;
        if self.is_gone(&before) {
            return Self::expired();
        }
        match before.status {
            Status::Committed if is_final => return self.settled(of, self.accounts_of(&before), true),
            Status::Committed | Status::Released => return Self::not_pending(),
            Status::Held if late && reject_late => return Self::expired(),
            Status::Held => {}
        }
        let mut after = before.clone();
        let totals = Self::totals(&mut after, figures, is_final);
        let accounts = after.held.iter().map(|entry| ((entry.owner.clone(), entry.group), entry.window_seq));
        let used: Vec<_> =
            accounts.map(|(name, window_seq)| (self.used(&name, window_seq), name, window_seq)).collect();
        // The part of each group's total that is not yet charged.
        let mut open: BTreeMap<(String, &str), u64> = BTreeMap::new();
        for place in 0..after.held.len() {
            let Entry { owner, group, window_seq, amount } = after.held[place].clone();
            let in_flight = after.rules.iter().any(|it| it.id == group && it.is_concurrent());
            let share = match totals.as_ref().and_then(|totals| totals.get(group)) {
                _ if in_flight => 0,
                None => amount,
                Some(total) => {
                    let mine = |entry: &&Entry| entry.group == group && entry.owner == owner;
                    let charged: u64 = before.charged.iter().filter(mine).map(|entry| entry.amount).sum();
                    let open = open.entry((owner.clone(), group)).or_insert(total.saturating_sub(charged));
                    // The amount above what was held is charged to the newest window.
                    let newest = !after.held[place + 1..].iter().any(|entry| mine(&entry));
                    let share = if newest { *open } else { amount.min(*open) };
                    *open -= share;
                    share
                }
            };
            self.accounts.get_mut(&((owner.clone(), group), window_seq)).unwrap().used += share;
            let same =
                |entry: &&mut Entry| entry.owner == owner && entry.group == group && entry.window_seq == window_seq;
            match after.charged.iter_mut().find(same) {
                Some(entry) => entry.amount += share,
                None => after.charged.push(Entry { owner, group, window_seq, amount: share }),
            }
            after.held[place].amount -= if is_final { amount } else { share.min(amount) };
        }
        after.late |= late;
        after.status = if is_final { Status::Committed } else { Status::Held };
        let reply = after.clone();
        if is_final {
            after.held.clear();
        }
        self.reservations.insert(of, after);
        // Closed windows trigger no alerts.
        let mut passed = BTreeSet::new();
        for (before, name, window_seq) in used {
            if self.window_seq(&name) == window_seq {
                passed.extend(self.passed_since(&name, window_seq, before));
            }
        }
        Reply { passed, ..self.settled(of, self.accounts_of(&reply), false) }
    }

    pub fn release(&mut self, of: Name) -> Reply {
        let Some(before) = self.reservations.get(&of).cloned() else { return Self::unknown() };
        if self.is_gone(&before) {
            return Self::expired();
        }
        match before.status {
            Status::Released => return self.settled(of, self.accounts_of(&before), true),
            Status::Committed => return Self::not_pending(),
            Status::Held if self.now_ms >= before.expires_ms => return Self::expired(),
            Status::Held => {}
        }
        let it = self.reservations.get_mut(&of).unwrap();
        it.status = Status::Released;
        it.held.clear();
        // A repetition returns the same counters.
        for entry in &before.held {
            let same = |known: &Entry| {
                (&known.owner, known.group, known.window_seq) == (&entry.owner, entry.group, entry.window_seq)
            };
            if !it.charged.iter().any(same) {
                it.charged.push(Entry { amount: 0, ..entry.clone() });
            }
        }
        let reply = it.clone();
        self.settled(of, self.accounts_of(&reply), false)
    }

    pub fn refund(&mut self, user: &str, of: Name, quantity: u64, steps: Option<u64>) -> Reply {
        let Some(it) = self.reservations.get(&of).cloned().filter(|it| it.user == user) else {
            return Self::unknown();
        };
        if self.is_gone(&it) {
            return Self::expired();
        }
        if it.status == Status::Held {
            return Self::not_pending();
        }
        let rule = |id: &str| {
            let group = it.rules.iter().find(|group| group.id == id).unwrap();
            it.items.iter().find_map(|item| group.rule(item.event, item.labels)).unwrap()
        };
        let mut charged = it.charged.clone();
        let mut left: BTreeMap<&str, u64> = BTreeMap::new();
        let whole = |entry: &Entry| rule(entry.group).measure == Measure::Event;
        for entry in charged.iter_mut().rev().filter(|entry| !whole(entry)) {
            let left = left
                .entry(entry.group)
                .or_insert_with(|| rule(entry.group).measure.amount(quantity, steps.unwrap_or(0)));
            let given = entry.amount.min(*left);
            *left -= given;
            self.take_back(entry, given);
        }
        // Call counts are returned only when everything else is refunded.
        if charged.iter().filter(|entry| !whole(entry)).all(|entry| entry.amount == 0) {
            for entry in charged.iter_mut().filter(|entry| whole(entry)) {
                self.take_back(entry, entry.amount);
            }
        }
        let it = self.reservations.get_mut(&of).unwrap();
        it.charged = charged;
        let mut reply = it.clone();
        let in_flight = |id: &str| reply.rules.iter().any(|group| group.id == id && group.is_concurrent());
        let kept: Vec<Entry> = reply.charged.iter().filter(|entry| !in_flight(entry.group)).cloned().collect();
        reply.charged = kept;
        let counters = self.accounts_of(&reply);
        let groups = counters.iter().map(|stand| stand.group.clone()).collect();
        Reply { word: "matched".to_owned(), groups, counters, ..Reply::ok() }
    }

    fn take_back(&mut self, entry: &mut Entry, given: u64) {
        entry.amount -= given;
        let account = self.accounts.get_mut(&((entry.owner.clone(), entry.group), entry.window_seq)).unwrap();
        account.used = account.used.saturating_sub(given);
    }
}

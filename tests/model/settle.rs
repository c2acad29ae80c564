//! What the model answers to calls on a reservation: commit, draw, release, refund.

use std::collections::BTreeMap;

use super::call::{Name, Stand, Told};
use super::rules::{Group, Labels, Measure};
use super::state::{Entry, GRACE_MS, Model, Reservation, Status};

/// What a commit says.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub quantity: Option<u64>,
    pub size: Option<&'static str>,
    pub is_final: bool,
    pub reject_late: bool,
}

impl Model {
    pub fn unknown() -> Told {
        Told::problem(404, "not_found")
    }

    pub fn expired() -> Told {
        Told::problem(410, "reservation_expired")
    }

    pub fn not_pending() -> Told {
        Told::problem(409, "reservation_not_pending")
    }

    pub fn is_gone(&self, it: &Reservation) -> bool {
        self.now_ms >= it.expires_ms + GRACE_MS
    }

    /// By the rules of today, or by those of the reserve.
    fn definition<'a>(it: &'a Reservation, standing: &'a [Group], id: &str) -> &'a Group {
        standing.iter().chain(&it.rules).find(|group| group.id == id).unwrap()
    }

    fn accounts_of(&self, it: &Reservation) -> Vec<Stand> {
        let standing = self.standing(&it.user);
        let mut seen: Vec<&Entry> = Vec::new();
        for entry in it.held.iter().chain(&it.charged) {
            let same =
                |known: &&Entry| (&known.owner, known.group, known.serial) == (&entry.owner, entry.group, entry.serial);
            if !seen.iter().any(same) {
                seen.push(entry);
            }
        }
        let account = |entry: &&Entry| self.account(Self::definition(it, &standing, entry.group), entry);
        let mut stands: Vec<Stand> = seen.iter().map(account).collect();
        stands.sort();
        stands
    }

    fn settled(&self, of: Name, counters: Vec<Stand>, replayed: bool) -> Told {
        let it = &self.reservations[&of];
        let word = match it.status {
            Status::Held => "held",
            Status::Committed => "committed",
            Status::Released => "released",
        };
        Told { word: word.to_owned(), late: it.late, replayed, counters, ..Told::ok() }
    }

    /// What each held group is charged in all, once this call is done; none for all that is held.
    fn totals(it: &mut Reservation, figures: Figures) -> Option<BTreeMap<&'static str, u64>> {
        if figures.quantity.is_none() && figures.size.is_none() {
            return None;
        }
        let quantity = match (it.drawn, figures.is_final) {
            (None, true) => figures.quantity.unwrap_or(it.quantity),
            (drawn, _) => {
                it.drawn = Some(drawn.unwrap_or(0) + figures.quantity.unwrap_or(0));
                it.drawn.unwrap_or(0)
            }
        };
        let labels = Labels { size: figures.size.or(it.labels.size), ..it.labels };
        let totals = it.rules.iter().filter(|group| !group.is_concurrent()).filter_map(|group| {
            let reserved_by = group.rule(it.event, it.labels)?;
            let rule = group.rule(it.event, labels).unwrap_or(reserved_by);
            Some((group.id, rule.measure.amount(quantity)))
        });
        Some(totals.collect())
    }

    pub fn commit(&mut self, of: Name, figures: Figures) -> Told {
        let Some(before) = self.reservations.get(&of).cloned() else { return Self::unknown() };
        let late = self.now_ms >= before.expires_ms;
        if self.is_gone(&before) {
            return Self::expired();
        }
        match before.status {
            Status::Committed if figures.is_final => return self.settled(of, self.accounts_of(&before), true),
            Status::Committed | Status::Released => return Self::not_pending(),
            Status::Held if late && figures.reject_late => return Self::expired(),
            Status::Held => {}
        }
        let mut after = before.clone();
        let totals = Self::totals(&mut after, figures);
        // What of a group's total is still to be charged.
        let mut open: BTreeMap<(String, &str), u64> = BTreeMap::new();
        for place in 0..after.held.len() {
            let Entry { owner, group, serial, amount } = after.held[place].clone();
            let in_flight = after.rules.iter().any(|it| it.id == group && it.is_concurrent());
            let share = match totals.as_ref().and_then(|totals| totals.get(group)) {
                _ if in_flight => 0,
                None => amount,
                Some(total) => {
                    let mine = |entry: &&Entry| entry.group == group && entry.owner == owner;
                    let charged: u64 = before.charged.iter().filter(mine).map(|entry| entry.amount).sum();
                    let open = open.entry((owner.clone(), group)).or_insert(total.saturating_sub(charged));
                    // What is over falls on the newest window.
                    let newest = !after.held[place + 1..].iter().any(|entry| mine(&entry));
                    let share = if newest { *open } else { amount.min(*open) };
                    *open -= share;
                    share
                }
            };
            self.accounts.get_mut(&((owner.clone(), group), serial)).unwrap().used += share;
            let same = |entry: &&mut Entry| entry.owner == owner && entry.group == group && entry.serial == serial;
            match after.charged.iter_mut().find(same) {
                Some(entry) => entry.amount += share,
                None => after.charged.push(Entry { owner, group, serial, amount: share }),
            }
            after.held[place].amount -= if figures.is_final { amount } else { share.min(amount) };
        }
        after.late |= late;
        after.status = if figures.is_final { Status::Committed } else { Status::Held };
        let told = after.clone();
        if figures.is_final {
            after.held.clear();
        }
        self.reservations.insert(of, after);
        self.settled(of, self.accounts_of(&told), false)
    }

    pub fn release(&mut self, of: Name) -> Told {
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
        // A repetition tells the same counters.
        for entry in &before.held {
            let same =
                |known: &Entry| (&known.owner, known.group, known.serial) == (&entry.owner, entry.group, entry.serial);
            if !it.charged.iter().any(same) {
                it.charged.push(Entry { amount: 0, ..entry.clone() });
            }
        }
        let told = it.clone();
        self.settled(of, self.accounts_of(&told), false)
    }

    pub fn refund(&mut self, user: &str, of: Name, quantity: u64) -> Told {
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
            group.rule(it.event, it.labels).unwrap()
        };
        let mut charged = it.charged.clone();
        let mut left: BTreeMap<&str, u64> = BTreeMap::new();
        let whole = |entry: &Entry| rule(entry.group).measure == Measure::Event;
        for entry in charged.iter_mut().rev().filter(|entry| !whole(entry)) {
            let left = left.entry(entry.group).or_insert(rule(entry.group).measure.amount(quantity));
            let given = entry.amount.min(*left);
            *left -= given;
            self.take_back(entry, given);
        }
        // Calls are given back with the last of all the rest.
        if charged.iter().filter(|entry| !whole(entry)).all(|entry| entry.amount == 0) {
            for entry in charged.iter_mut().filter(|entry| whole(entry)) {
                self.take_back(entry, entry.amount);
            }
        }
        let it = self.reservations.get_mut(&of).unwrap();
        it.charged = charged;
        let mut told = it.clone();
        let in_flight = |id: &str| told.rules.iter().any(|group| group.id == id && group.is_concurrent());
        let kept: Vec<Entry> = told.charged.iter().filter(|entry| !in_flight(entry.group)).cloned().collect();
        told.charged = kept;
        let counters = self.accounts_of(&told);
        let groups = counters.iter().map(|stand| stand.group.clone()).collect();
        Told { word: "matched".to_owned(), groups, counters, ..Told::ok() }
    }

    fn take_back(&mut self, entry: &mut Entry, given: u64) {
        entry.amount -= given;
        let account = self.accounts.get_mut(&((entry.owner.clone(), entry.group), entry.serial)).unwrap();
        account.used = account.used.saturating_sub(given);
    }
}

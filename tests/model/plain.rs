//! The model: what counters and holds of one user are, without Redis, Lua or nodes.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, TimeZone, Utc};
use serde_json::{Value, json};

pub type Ms = i64;
const GRACE_MS: Ms = 15 * 60_000;
const DAY_MS: Ms = 86_400_000;

/// In the order of the plan.
pub const GROUPS: [&str; 5] = ["month", "day", "all", "minute", "flight"];

pub fn plan() -> Value {
    let every = json!([{"event": "job.*"}]);
    let run = json!([{"event": "job.run"}]);
    json!({"periodAnchor": "calendar", "groups": [
        {"id": "month", "unit": "count", "quota": 60, "periodType": "monthly", "matches": every},
        {"id": "day", "unit": "count", "quota": 15, "periodType": "daily", "enforcement": "soft", "matches": run},
        {"id": "all", "unit": "count", "quota": null, "periodType": "lifetime", "matches": every},
        {"id": "minute", "unit": "count", "quota": 12, "periodType": "minute", "matches": run},
        {"id": "flight", "unit": "count", "quota": 4, "periodType": "concurrent", "measure": "event", "matches": run},
    ]})
}

pub fn ms(text: &str) -> Ms {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

pub fn text(ms: Ms) -> String {
    Utc.timestamp_millis_opt(ms).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn matched(event: &str) -> Vec<&'static str> {
    GROUPS.into_iter().filter(|group| event == "job.run" || matches!(*group, "month" | "all")).collect()
}

/// None counts without limit.
pub fn quota(group: &str) -> Option<u64> {
    match group {
        "month" => Some(60),
        "day" => Some(15),
        "minute" => Some(12),
        "flight" => Some(4),
        _ => None,
    }
}

fn is_hard(group: &str) -> bool {
    matches!(group, "month" | "minute" | "flight")
}

/// Where the window that contains `now` starts.
fn window(group: &str, now: Ms) -> Ms {
    match group {
        "month" => {
            let time = Utc.timestamp_millis_opt(now).unwrap();
            Utc.with_ymd_and_hms(time.year(), time.month(), 1, 0, 0, 0).unwrap().timestamp_millis()
        }
        "day" => now.div_euclid(DAY_MS) * DAY_MS,
        "minute" => now.div_euclid(60_000) * 60_000,
        _ => 0,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Held,
    Committed,
    Released,
}

#[derive(Clone, Debug)]
struct Entry {
    group: &'static str,
    window: Ms,
    amount: u64,
}

#[derive(Clone, Debug)]
pub struct Reservation {
    pub created_ms: Ms,
    pub expires_ms: Ms,
    pub status: Status,
    pub late: bool,
    drawn: Option<u64>,
    held: Vec<Entry>,
    charged: Vec<Entry>,
}

/// A group with used and held after a call.
pub type Stand = (&'static str, u64, u64);

/// What a call must answer: counters, or a problem's status and code, or the groups that lack room.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Done { status: Option<Status>, late: bool, replayed: bool, stands: Vec<Stand> },
    Denied { lacking: Vec<&'static str>, stands: Vec<Stand> },
    Problem(u16, &'static str),
}

pub struct Model {
    pub now_ms: Ms,
    pub reservations: Vec<Reservation>,
    used: BTreeMap<(&'static str, Ms), u64>,
    /// The window that each counter is at; a call that counts turns it.
    current: BTreeMap<&'static str, Ms>,
}

const EXPIRED: Outcome = Outcome::Problem(410, "reservation_expired");
const NOT_PENDING: Outcome = Outcome::Problem(409, "reservation_not_pending");

impl Model {
    pub fn new(now_ms: Ms) -> Self {
        Self { now_ms, reservations: Vec::new(), used: BTreeMap::new(), current: BTreeMap::new() }
    }

    fn used(&self, group: &'static str, window: Ms) -> u64 {
        self.used.get(&(group, window)).copied().unwrap_or(0)
    }

    fn held(&self, group: &'static str, window: Ms) -> u64 {
        let live = self.reservations.iter().filter(|it| it.status == Status::Held && it.expires_ms > self.now_ms);
        let entries = live.flat_map(|it| &it.held).filter(|entry| entry.group == group && entry.window == window);
        entries.map(|entry| entry.amount).sum()
    }

    pub fn used_in_current(&self, group: &'static str) -> u64 {
        self.current.get(group).map_or(0, |window| self.used(group, *window))
    }

    fn now(&self, group: &'static str) -> Stand {
        let window = window(group, self.now_ms);
        (group, self.used(group, window), self.held(group, window))
    }

    pub fn usage(&self) -> Vec<Stand> {
        GROUPS.into_iter().map(|group| self.now(group)).collect()
    }

    fn lacks(&self, group: &'static str, amount: u64) -> bool {
        let (_, used, held) = self.now(group);
        is_hard(group) && quota(group).is_some_and(|quota| used + held + amount > quota)
    }

    fn amounts(groups: &[&'static str], quantity: u64) -> Vec<(&'static str, u64)> {
        groups.iter().map(|group| (*group, if *group == "flight" { 1 } else { quantity })).collect()
    }

    fn denial(&self, amounts: &[(&'static str, u64)]) -> Option<Outcome> {
        let lacking: Vec<_> =
            amounts.iter().filter(|(group, amount)| self.lacks(group, *amount)).map(|(group, _)| *group).collect();
        let stands = amounts.iter().map(|(group, _)| self.now(group)).collect();
        (!lacking.is_empty()).then_some(Outcome::Denied { lacking, stands })
    }

    fn entries(&mut self, amounts: &[(&'static str, u64)]) -> Vec<Entry> {
        let entry = |(group, amount): &(&'static str, u64)| {
            let window = window(group, self.now_ms);
            self.current.insert(group, window);
            Entry { group, window, amount: *amount }
        };
        amounts.iter().map(entry).collect()
    }

    fn done(stands: Vec<Stand>) -> Outcome {
        Outcome::Done { status: None, late: false, replayed: false, stands }
    }

    pub fn reserve(&mut self, event: &str, quantity: u64, ttl_ms: Ms) -> Outcome {
        let amounts = Self::amounts(&matched(event), quantity);
        if let Some(denial) = self.denial(&amounts) {
            return denial;
        }
        let held = self.entries(&amounts);
        let (created_ms, expires_ms) = (self.now_ms, self.now_ms + ttl_ms);
        let (status, late, drawn, charged) = (Status::Held, false, None, Vec::new());
        self.reservations.push(Reservation { created_ms, expires_ms, status, late, drawn, held, charged });
        Self::done(amounts.iter().map(|(group, _)| self.now(group)).collect())
    }

    pub fn track(&mut self, event: &str, quantity: u64, enforce: bool) -> Outcome {
        let mut groups = matched(event);
        groups.retain(|group| *group != "flight");
        let amounts = Self::amounts(&groups, quantity);
        if let (true, Some(denial)) = (enforce, self.denial(&amounts)) {
            return denial;
        }
        for entry in self.entries(&amounts) {
            *self.used.entry((entry.group, entry.window)).or_default() += entry.amount;
        }
        Self::done(groups.iter().map(|group| self.now(group)).collect())
    }

    pub fn give_back(&mut self, event: &str, quantity: u64) -> Outcome {
        let mut groups = matched(event);
        groups.retain(|group| *group != "flight");
        for entry in self.entries(&Self::amounts(&groups, quantity)) {
            let used = self.used.entry((entry.group, entry.window)).or_default();
            *used = used.saturating_sub(entry.amount);
        }
        Self::done(groups.iter().map(|group| self.now(group)).collect())
    }

    /// The accounts of a reservation: each once, those it held before those it charged.
    fn accounts(&self, held: &[Entry], charged: &[Entry]) -> Vec<Stand> {
        let mut seen: Vec<(&'static str, Ms)> = Vec::new();
        for entry in held.iter().chain(charged) {
            if !seen.contains(&(entry.group, entry.window)) {
                seen.push((entry.group, entry.window));
            }
        }
        let stand = |(group, window): &(&'static str, Ms)| {
            let open = self.current.get(group) == Some(window);
            (*group, self.used(group, *window), if open { self.held(group, *window) } else { 0 })
        };
        seen.iter().map(stand).collect()
    }

    fn settled(&self, number: usize, held: &[Entry], charged: &[Entry], replayed: bool) -> Outcome {
        let it = &self.reservations[number];
        Outcome::Done { status: Some(it.status), late: it.late, replayed, stands: self.accounts(held, charged) }
    }

    fn is_over(&self, number: usize) -> bool {
        self.now_ms >= self.reservations[number].expires_ms + GRACE_MS
    }

    pub fn commit(&mut self, number: usize, figure: Option<u64>, is_final: bool, reject_late: bool) -> Outcome {
        let before = self.reservations[number].clone();
        let late = self.now_ms >= before.expires_ms;
        if self.is_over(number) {
            return EXPIRED;
        }
        match before.status {
            Status::Committed if is_final => return self.settled(number, &[], &before.charged, true),
            Status::Committed | Status::Released => return NOT_PENDING,
            Status::Held if late && reject_late => return EXPIRED,
            Status::Held => {}
        }
        let mut after = before.clone();
        let total = match (figure, before.drawn, is_final) {
            (None, ..) => None,
            (Some(figure), None, true) => Some(figure),
            (Some(figure), drawn, _) => {
                after.drawn = Some(drawn.unwrap_or(0) + figure);
                after.drawn
            }
        };
        let mut open: BTreeMap<&str, u64> = BTreeMap::new();
        for place in 0..after.held.len() {
            let Entry { group, window, amount } = after.held[place].clone();
            let share = match total {
                _ if group == "flight" => 0,
                None => amount,
                Some(total) => {
                    let charged: u64 =
                        before.charged.iter().filter(|entry| entry.group == group).map(|entry| entry.amount).sum();
                    let open = open.entry(group).or_insert(total.saturating_sub(charged));
                    let last = after.held[place + 1..].iter().all(|entry| entry.group != group);
                    let share = if last { *open } else { amount.min(*open) };
                    *open -= share;
                    share
                }
            };
            *self.used.entry((group, window)).or_default() += share;
            match after.charged.iter_mut().find(|entry| entry.group == group && entry.window == window) {
                Some(entry) => entry.amount += share,
                None => after.charged.push(Entry { group, window, amount: share }),
            }
            after.held[place].amount -= if is_final { amount } else { share.min(amount) };
        }
        after.late |= late;
        after.status = if is_final { Status::Committed } else { Status::Held };
        let (held, charged) = (after.held.clone(), after.charged.clone());
        self.reservations[number] = after;
        self.settled(number, &held, &charged, false)
    }

    pub fn release(&mut self, number: usize) -> Outcome {
        let before = self.reservations[number].clone();
        let replayed = match before.status {
            _ if self.is_over(number) => return EXPIRED,
            Status::Released => true,
            Status::Committed => return NOT_PENDING,
            Status::Held if self.now_ms >= before.expires_ms => return EXPIRED,
            Status::Held => false,
        };
        let held = if replayed { Vec::new() } else { before.held };
        let it = &mut self.reservations[number];
        it.status = Status::Released;
        it.held.clear();
        // A repetition tells the same counters.
        for Entry { group, window, .. } in held.clone() {
            if !it.charged.iter().any(|entry| entry.group == group && entry.window == window) {
                it.charged.push(Entry { group, window, amount: 0 });
            }
        }
        let charged = it.charged.clone();
        self.settled(number, &held, &charged, replayed)
    }

    pub fn refund(&mut self, number: usize, quantity: u64) -> Outcome {
        if self.is_over(number) {
            return EXPIRED;
        }
        if self.reservations[number].status == Status::Held {
            return NOT_PENDING;
        }
        let mut left: BTreeMap<&str, u64> = BTreeMap::new();
        for entry in self.reservations[number].charged.iter_mut().rev() {
            let left = left.entry(entry.group).or_insert(quantity);
            let given = entry.amount.min(*left);
            *left -= given;
            entry.amount -= given;
            let used = self.used.entry((entry.group, entry.window)).or_default();
            *used = used.saturating_sub(given);
        }
        let mut charged = self.reservations[number].charged.clone();
        charged.retain(|entry| entry.group != "flight");
        Self::done(self.accounts(&[], &charged))
    }

    pub fn extend(&mut self, number: usize, ttl_ms: Option<Ms>, quantity: Option<u64>) -> Outcome {
        let before = self.reservations[number].clone();
        if before.status != Status::Held {
            return if self.is_over(number) { EXPIRED } else { NOT_PENDING };
        }
        if self.now_ms >= before.expires_ms {
            return EXPIRED;
        }
        let mut groups: Vec<&'static str> = Vec::new();
        for entry in before.held.iter().filter(|entry| quantity.is_none() || entry.group != "flight") {
            if !groups.contains(&entry.group) {
                groups.push(entry.group);
            }
        }
        if let Some(quantity) = quantity {
            let amounts = Self::amounts(&groups, quantity);
            if let Some(denial) = self.denial(&amounts) {
                return denial;
            }
            for new in self.entries(&amounts) {
                let held = &mut self.reservations[number].held;
                match held.iter_mut().find(|entry| entry.group == new.group && entry.window == new.window) {
                    Some(entry) => entry.amount += new.amount,
                    None => held.push(new),
                }
            }
        }
        if let Some(ttl_ms) = ttl_ms {
            let longest = before.created_ms + DAY_MS;
            self.reservations[number].expires_ms = before.expires_ms.max(longest.min(self.now_ms + ttl_ms));
        }
        Self::done(groups.iter().map(|group| self.now(group)).collect())
    }
}

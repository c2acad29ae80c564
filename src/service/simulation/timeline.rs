//! The recorded calls as a timeline: an entry of the ledger says how a reservation ended and when it was made.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::reason::Reason;
use crate::domain::metering::reservation::{Actual, Item, RequestSnapshot};
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::reporting::ledger::{Charge, DeniedCall, Entry, EntryKind, StoredEntry};
use crate::domain::reporting::rollup;
use crate::domain::simulation::in_memory_counters::Opening;
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::ids::{EventName, GroupId, KeyId, PlanId, UserId};
use crate::store::reporting::stream::Stream;

/// Units of groups, to tell money from other amounts.
pub type Units = BTreeMap<GroupId, Unit>;

/// A recorded call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Index in [`Timeline::users`].
    pub user: usize,
    pub key: Option<KeyId>,
    pub event: Option<EventName>,
    /// Empty if only the held amounts are known, because the reservation expired without a commit or release.
    pub items: Arc<[Item]>,
    pub held: Vec<(GroupId, Amount)>,
    /// The user's plan at that time.
    pub plan: Option<PlanId>,
}

/// What happened to a call.
#[derive(Clone, Debug)]
pub enum CallAction {
    /// It was allowed and held.
    Reserve,
    Denied {
        call: Option<DeniedCall>,
        reason: Option<Reason>,
        groups: Vec<GroupId>,
    },
    Track,
    /// A refund without a reservation.
    GiveBack,
    Draw(Vec<Actual>),
    /// Empty to charge the held amounts.
    Commit(Vec<Actual>),
    Release,
    Expire,
    Refund(Vec<Actual>),
    /// Counters that an operator or a plan change reset.
    Reset(Vec<(OwnerName, GroupId)>),
}

/// A moment in the timeline.
#[derive(Clone, Debug)]
pub struct Moment {
    pub at_ms: TimeMs,
    /// Within the same millisecond, lower values come first.
    order: u64,
    /// Index in [`Timeline::calls`]; unused for a reset.
    pub call: usize,
    pub action: CallAction,
    /// The amount charged for it, in steps of a cent.
    pub cost: i64,
}

/// All recorded calls in the order in which they happened.
#[derive(Debug, Default)]
pub struct Timeline {
    pub users: Vec<UserId>,
    pub calls: Vec<Call>,
    pub moments: Vec<Moment>,
    pub openings: Vec<(OwnerName, GroupId, Opening)>,
    /// What was rolled over into the first windows of counters.
    pub rolled: Vec<(OwnerName, GroupId, Opening)>,
    /// The usage of each group since [`TimelineBuilder::since_ms`], in steps.
    pub used: BTreeMap<GroupId, i64>,
}

/// Builds a timeline from the entries of both streams, which may come in any order.
#[derive(Debug)]
pub struct TimelineBuilder {
    units: Units,
    /// Earlier moments are included, but not counted in the sums.
    since_ms: TimeMs,
    until_ms: TimeMs,
    timeline: Timeline,
    users: HashMap<UserId, usize>,
    /// By name and creation time.
    reservations: HashMap<(u128, TimeMs), usize>,
    opened: HashMap<GroupId, HashMap<OwnerName, ()>>,
    /// Nothing earlier is missing.
    whole: bool,
    /// The amounts that a counter's first denial found in it; only needed if earlier entries are missing.
    found_full: HashMap<(OwnerName, GroupId), Opening>,
}

impl TimelineBuilder {
    /// `whole`: nothing before the first entry is missing.
    pub fn new(units: Units, since_ms: TimeMs, until_ms: TimeMs, whole: bool) -> Self {
        Self {
            units,
            since_ms,
            until_ms,
            timeline: Timeline::default(),
            users: HashMap::new(),
            reservations: HashMap::new(),
            opened: HashMap::new(),
            whole,
            found_full: HashMap::new(),
        }
    }

    pub fn finish(mut self) -> Timeline {
        // A counter that was full all the time occurs in denials only.
        for ((owner, group), opening) in std::mem::take(&mut self.found_full) {
            if !self.opened.get(&group).is_some_and(|owners| owners.contains_key(&owner)) {
                self.timeline.openings.push((owner, group, opening));
            }
        }
        // A hold that expires at an instant is free at that instant.
        self.timeline
            .moments
            .sort_by_key(|moment| (moment.at_ms, !matches!(moment.action, CallAction::Expire), moment.order));
        self.timeline
    }

    /// Entries of one stream must come oldest first.
    pub fn add(&mut self, stream: Stream, StoredEntry { id, entry }: StoredEntry) {
        if entry.at_ms >= self.until_ms || entry.kind == EntryKind::Outcome || entry.kind.is_of_credits() {
            return;
        }
        let order = order(id, stream);
        let placed_at_ms = entry.created_at_ms.unwrap_or(entry.at_ms);
        self.open(&entry.charges, placed_at_ms);
        if !self.whole {
            self.note_full(&entry);
        }
        if entry.at_ms >= self.since_ms {
            for charge in &entry.charges {
                // A replay has no credits, so the group counts what its balance took over.
                let group = charge.from.as_ref().unwrap_or(&charge.group);
                *self.timeline.used.entry(group.clone()).or_default() += charge.change;
            }
        }
        for charge in &entry.charges {
            if let Some(rolled) = &charge.rolled {
                let opening = Opening { at_ms: entry.at_ms, used: rolled.amount };
                self.timeline.rolled.push((charge.owner.clone(), charge.group.clone(), opening));
            }
        }
        let (at_ms, cost) = (entry.at_ms, rollup::cost(&entry, &self.units));
        let Some((call, action)) = self.read(entry, order) else { return };
        self.timeline.moments.push(Moment { at_ms, order: order + 1, call, action, cost });
    }

    /// The call of an entry, and what happened to it; None if too little is known.
    fn read(&mut self, entry: Entry, order: u64) -> Option<(usize, CallAction)> {
        let kind = entry.kind;
        match kind {
            EntryKind::Reset => {
                let counters = entry.charges.into_iter().map(|charge| (charge.owner, charge.group));
                return Some((usize::MAX, CallAction::Reset(counters.collect())));
            }
            EntryKind::Rollover => return None,
            // The call was allowed, so other entries count it.
            EntryKind::Denial if entry.observed => return None,
            EntryKind::Denial => {
                let denying = entry.denying.iter().filter(|counter| !counter.observed);
                let groups = denying.map(|counter| counter.group.clone()).collect();
                let action = CallAction::Denied { call: entry.call, reason: entry.reason, groups };
                return Some((self.call(entry)?, action));
            }
            EntryKind::Track => return Some((self.call(entry)?, CallAction::Track)),
            EntryKind::Refund if entry.created_at_ms.is_none() => {
                return Some((self.call(entry)?, CallAction::GiveBack));
            }
            _ => {}
        }
        let actual = entry.details.actual.clone();
        let call = self.reservation(entry, order)?;
        let action = match kind {
            EntryKind::Commit => CallAction::Commit(actual),
            EntryKind::Draw => CallAction::Draw(actual),
            EntryKind::Release => CallAction::Release,
            EntryKind::Expire => CallAction::Expire,
            EntryKind::Refund => CallAction::Refund(actual),
            EntryKind::Track
            | EntryKind::Reset
            | EntryKind::Rollover
            | EntryKind::Outcome
            | EntryKind::Credit
            | EntryKind::Lapse
            | EntryKind::Void
            | EntryKind::Denial => return None,
        };
        Some((call, action))
    }

    /// The reservation of an entry. It was made at its creation time, whichever entry mentions it first.
    fn reservation(&mut self, entry: Entry, order: u64) -> Option<usize> {
        let created_at_ms = entry.created_at_ms?;
        let name = entry.operation.as_ref()?.number();
        if let Some(known) = self.reservations.get(&(name, created_at_ms)) {
            let call = self.timeline.calls.get_mut(*known)?;
            // An expiry has less information than a late commit that follows it.
            if let Some(snapshot) = entry.snapshot.filter(|_| call.items.is_empty()) {
                (call.items, call.plan) = (as_made(snapshot.items), snapshot.plan);
            }
            return Some(*known);
        }
        let call = self.call(entry)?;
        self.reservations.insert((name, created_at_ms), call);
        self.timeline.moments.push(Moment { at_ms: created_at_ms, order, call, action: CallAction::Reserve, cost: 0 });
        Some(call)
    }

    fn call(&mut self, entry: Entry) -> Option<usize> {
        let user = entry.user.or_else(|| entry.snapshot.as_ref().map(|snapshot| snapshot.user.clone()))?;
        let user = self.user(user);
        let event = entry.event.or_else(|| entry.snapshot.as_ref().and_then(RequestSnapshot::event).cloned());
        let (items, plan) = entry.snapshot.map(|snapshot| (as_made(snapshot.items), snapshot.plan)).unwrap_or_default();
        let held = entry.held.into_iter().map(|held| (held.group, held.amount)).collect();
        Some(self.push(Call { user, key: entry.key, event, items, held, plan }))
    }

    fn user(&mut self, user: UserId) -> usize {
        *self.users.entry(user).or_insert_with_key(|user| {
            self.timeline.users.push(user.clone());
            self.timeline.users.len() - 1
        })
    }

    fn push(&mut self, call: Call) -> usize {
        self.timeline.calls.push(call);
        self.timeline.calls.len() - 1
    }

    /// Adds a call that is in no stream, with what happened to it.
    pub fn made(&mut self, at_ms: TimeMs, user: UserId, item: Item, deeds: Vec<CallAction>) {
        let user = self.user(user);
        let event = Some(item.event.clone());
        let call = self.push(Call { user, key: None, event, items: [item].into(), held: Vec::new(), plan: None });
        for action in deeds {
            let order = self.timeline.moments.len() as u64;
            self.timeline.moments.push(Moment { at_ms, order, call, action, cost: 0 });
        }
    }

    /// A denial records the amounts in a counter; an expiry, that a part of them was held.
    fn note_full(&mut self, entry: &Entry) {
        for denying_counter in &entry.denying {
            let opening = Opening { at_ms: entry.at_ms, used: denying_counter.count };
            self.found_full.entry((denying_counter.owner.clone(), denying_counter.group.clone())).or_insert(opening);
        }
        if let Some(user) = entry.user.as_ref().filter(|_| !entry.held.is_empty()) {
            let owner = OwnerName::of_user(user);
            for held in &entry.held {
                self.opened.entry(held.group.clone()).or_default().insert(owner.clone(), ());
            }
        }
    }

    /// The first entry of a counter shows what was used before it.
    fn open(&mut self, charges: &[Charge], at_ms: TimeMs) {
        for charge in charges {
            let owners = self.opened.entry(charge.group.clone()).or_default();
            if owners.contains_key(&charge.owner) {
                continue;
            }
            owners.insert(charge.owner.clone(), ());
            let before = i64::try_from(charge.balance.steps()).unwrap_or(i64::MAX).saturating_sub(charge.change);
            let used = u64::try_from(before).ok().and_then(|steps| Amount::from_steps(steps).ok());
            if let Some(used) = used.filter(|used| *used > Amount::ZERO) {
                self.timeline.openings.push((charge.owner.clone(), charge.group.clone(), Opening { at_ms, used }));
            }
        }
    }
}

/// The items without what later draws added.
fn as_made(items: Arc<[Item]>) -> Arc<[Item]> {
    if items.iter().all(|item| item.drawn.is_none()) {
        return items;
    }
    items.iter().map(|item| Item { drawn: None, ..item.clone() }).collect()
}

/// Both streams have IDs of the same clock. The result is even, so that a reservation can be placed before its entry.
fn order(id: EntryId, stream: Stream) -> u64 {
    let apart = u64::from(stream == Stream::Denials);
    (((id.time_ms << 1 | apart) << 18) | id.number.min((1 << 18) - 1)) << 1
}

/// The largest of the changes in groups of cents, since several groups may count the same money.
pub fn cost<'a>(units: &Units, changes: impl Iterator<Item = (&'a GroupId, i64)>) -> i64 {
    let cents = changes.filter(|(group, _)| units.get(*group) == Some(&Unit::Cents)).map(|(_, change)| change);
    cents.max_by_key(|change| change.unsigned_abs()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_replayed_without_what_its_draws_added() {
        let item = |drawn: serde_json::Value| -> Item {
            serde_json::from_value(json!({"event": "llm.chat", "quantity": 1, "drawn": drawn})).unwrap()
        };
        let made = [item(json!(null)), item(json!(null))];
        let drawn = item(json!({"quantity": 2, "fields": {"tokens": 120}}));
        assert_ne!(drawn, made[0]);
        assert_eq!(*as_made([made[0].clone(), drawn].into()), made);
        assert_eq!(*as_made(made.clone().into()), made);
    }
}

//! Replays a timeline with given rules, call by call, with the same code as real decisions.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rules::{Position, Rules};
use super::timeline::{Call, CallAction, Moment, Timeline, Units, cost};
use crate::domain::configuration::limit_group::Enforcement;
use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::{Admission, Caller, Purpose, Request, prepare};
use crate::domain::metering::reason::Reason;
use crate::domain::metering::reservation::{Actual, RequestSnapshot, Total};
use crate::domain::reporting::ledger::{DeniedCall, DenyingCounter};
use crate::domain::simulation::in_memory_counters::{Hold, InMemoryCounters};
use crate::domain::time::window::{TimeMs, WindowKind};
use crate::domain::values::amount::Amount;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::{GroupId, UserId};
use crate::domain::values::metadata::Metadata;

/// Why a call would be denied.
#[derive(Clone, Debug, PartialEq)]
pub enum SimulatedDenial {
    For {
        reason: Reason,
        denying: Vec<DenyingCounter>,
    },
    /// The call would be invalid: a rule needs figures that it does not have.
    Invalid(FieldError),
}

/// The simulated decision on a call.
#[derive(Debug)]
pub struct SimulatedDecision<'a> {
    pub at_ms: TimeMs,
    pub call: &'a Call,
    pub user: &'a UserId,
    /// If the call was denied, the recorded reason and groups.
    pub was_denied: Option<(Option<Reason>, &'a [GroupId])>,
    pub refused: Option<SimulatedDenial>,
    /// If the call is allowed: what would have denied it if it did not only observe.
    pub observed: Option<SimulatedDenial>,
}

/// The sums of a replay.
#[derive(Debug, Default)]
pub struct SimulationSums {
    /// In steps, by group.
    pub used: BTreeMap<GroupId, i64>,
    /// In steps of a cent.
    pub cost: i64,
    /// By the user's index.
    pub cost_of: Vec<i64>,
    /// Commits whose figures these rules cannot measure; the held amounts were charged.
    pub unmeasured: u64,
}

/// An open reservation.
struct SimulatedReservation {
    plan: Option<Arc<Plan>>,
    holds: Vec<Hold>,
    /// Neither settled nor expired.
    live: bool,
    /// The request with the sums of its draws.
    drawn: Option<RequestSnapshot>,
}

pub struct Simulator<'a> {
    timeline: &'a Timeline,
    rules: Rules<'a>,
    units: &'a Units,
    /// Until this time recorded decisions are kept, and nothing is evaluated.
    since_ms: TimeMs,
    /// If false, calls over the limit are allowed too.
    refuses: bool,
    pub counters: InMemoryCounters,
    running: Vec<Option<SimulatedReservation>>,
    pub sums: SimulationSums,
}

type Changes = Vec<(GroupId, i64)>;

/// Which calls are decided.
#[derive(Clone, Copy)]
pub struct DecidedCalls {
    /// Earlier calls only fill the counters.
    pub since_ms: TimeMs,
    /// Whether calls are denied at all.
    pub refuses: bool,
}

impl<'a> Simulator<'a> {
    pub fn new(
        timeline: &'a Timeline,
        rules: Rules<'a>,
        units: &'a Units,
        mut counters: InMemoryCounters,
        enforcement: DecidedCalls,
    ) -> Self {
        let DecidedCalls { since_ms, refuses } = enforcement;
        for (owner, group, opening) in &timeline.openings {
            counters.open(owner, group, *opening);
        }
        for (owner, group, opening) in &timeline.rolled {
            counters.open_rolled(owner, group, *opening);
        }
        let running = std::iter::repeat_with(|| None).take(timeline.calls.len()).collect();
        let sums = SimulationSums { cost_of: vec![0; timeline.users.len()], ..SimulationSums::default() };
        Self { timeline, rules, units, since_ms, refuses, counters, running, sums }
    }

    /// Replays one moment. Returns the decision if it is a call to be decided.
    pub fn step(&mut self, moment: &'a Moment) -> Option<SimulatedDecision<'a>> {
        if let CallAction::Reset(counters) = &moment.action {
            for (owner, group) in counters {
                self.counters.reset(owner, group);
            }
            return None;
        }
        let call = self.timeline.calls.get(moment.call)?;
        let (was_denied, decided, changes) = match &moment.action {
            CallAction::Reserve => (None, self.reserve(moment, call), Changes::new()),
            CallAction::Denied { reason, groups, call: made } => {
                let (decided, changes) = self.ask_again(moment, call, *reason, *made);
                (Some((*reason, groups.as_slice())), decided, changes)
            }
            action => {
                let changes = self.settle(moment, call, action);
                self.count(moment, call, &changes);
                return None;
            }
        };
        self.count(moment, call, &changes);
        let user = self.timeline.users.get(call.user)?;
        let Decided { refused, observed } = decided;
        let decision = SimulatedDecision { at_ms: moment.at_ms, call, user, was_denied, refused, observed };
        (moment.at_ms >= self.since_ms).then_some(decision)
    }

    fn count(&mut self, moment: &Moment, call: &Call, changes: &Changes) {
        if moment.at_ms < self.since_ms {
            return;
        }
        for (group, change) in changes {
            match self.sums.used.get_mut(group) {
                Some(sum) => *sum += change,
                None => drop(self.sums.used.insert(group.clone(), *change)),
            }
        }
        let cost = cost(self.units, changes.iter().map(|(group, change)| (group, *change)));
        self.sums.cost += cost;
        if let Some(sum) = self.sums.cost_of.get_mut(call.user) {
            *sum += cost;
        }
    }

    /// The evaluation of the call with these rules.
    fn prepared(
        &mut self,
        moment: &Moment,
        call: &Call,
        purpose: Purpose,
    ) -> (Position, Result<Admission, FieldError>) {
        let position = self.rules.position(call.user, moment.at_ms, call.plan.as_ref());
        let Some(user) = self.timeline.users.get(call.user) else {
            return (position, Err(FieldError::new("userId", "must be a known user")));
        };
        let effective_limits = self.rules.effective_limits(&position);
        let caller = Caller { user, app: self.rules.app, key: call.key.as_ref() };
        let admission = match call.items.is_empty() {
            true => Ok(self.as_held(moment, call, &position, caller)),
            false => {
                let requests = call.items.iter().map(|item| Request {
                    event: &item.event,
                    quantity: item.quantity.0,
                    metadata: &item.metadata,
                    learned: &item.estimated,
                });
                prepare(effective_limits, caller, &requests.collect::<Vec<_>>(), moment.at_ms, purpose)
            }
        };
        (position, admission)
    }

    /// Of a reservation that expired, only the held amounts in the groups of its first owner are known.
    fn as_held(&self, moment: &Moment, call: &Call, position: &Position, caller: Caller<'_>) -> Admission {
        let effective_limits = self.rules.effective_limits(position);
        let mut admission = Admission::empty(effective_limits, OwnerName::of_user(caller.user));
        let nothing = Metadata::default();
        for (id, amount) in &call.held {
            let Some(group) = effective_limits.groups().find(|group| group.id == *id) else { continue };
            if let Some(owner) = admission.owner(&group.scope, caller, &nothing) {
                // Amounts cannot add up here, since each group has one owner.
                let _ = admission.place(group, owner, *amount, effective_limits.anchor, moment.at_ms);
            }
        }
        admission
    }

    fn reserve(&mut self, moment: &Moment, call: &Call) -> Decided {
        let (position, admission) = self.prepared(moment, call, Purpose::Ask);
        let admission = match admission {
            Ok(admission) => admission,
            Err(fault) => return Decided::denied(SimulatedDenial::Invalid(fault)),
        };
        let (places, denying) = self.counters.ask(&admission, moment.at_ms);
        let decided = Decided::of(&admission, denying);
        if decided.refused.is_none() || !self.refuses || moment.at_ms < self.since_ms {
            let holds = self.counters.hold(&admission, &places);
            let running = SimulatedReservation { plan: position.plan, holds, live: true, drawn: None };
            if let Some(place) = self.running.get_mut(moment.call) {
                *place = Some(running);
            }
        }
        decided
    }

    /// Decides a call that was denied. If it is allowed, the requested amount is charged at once, since the actual one
    /// is unknown.
    fn ask_again(
        &mut self,
        moment: &Moment,
        call: &Call,
        reason: Option<Reason>,
        made: Option<DeniedCall>,
    ) -> (Decided, Changes) {
        let stays = matches!(reason, Some(Reason::UserBlocked | Reason::NoSubscription));
        let known = !call.items.is_empty() && made != Some(DeniedCall::Extend);
        if let Some(reason) = reason.filter(|_| stays || !known) {
            return (Decided::denied(SimulatedDenial::For { reason, denying: Vec::new() }), Changes::new());
        }
        let admission = match self.prepared(moment, call, Purpose::Ask).1 {
            Ok(admission) => admission,
            Err(fault) => return (Decided::denied(SimulatedDenial::Invalid(fault)), Changes::new()),
        };
        let (places, denying) = self.counters.ask(&admission, moment.at_ms);
        let decided = Decided::of(&admission, denying);
        let passes = decided.refused.is_none() && moment.at_ms >= self.since_ms;
        (decided, if passes { self.use_at_once(&admission, &places) } else { Changes::new() })
    }

    fn use_at_once(&mut self, admission: &Admission, places: &[usize]) -> Changes {
        let mut changes = Changes::new();
        for (matched, place) in admission.matched.iter().zip(places) {
            if !matched.group.is_concurrent() {
                self.counters.add(*place, matched.amount);
                changes.push((matched.group.id.clone(), steps(matched.amount)));
            }
        }
        changes
    }

    /// What follows after an allowed call; nothing if these rules deny it.
    fn settle(&mut self, moment: &Moment, call: &Call, action: &CallAction) -> Changes {
        match action {
            CallAction::Track | CallAction::GiveBack => {
                return self.track(moment, call, matches!(action, CallAction::GiveBack));
            }
            CallAction::Reserve | CallAction::Denied { .. } | CallAction::Reset(_) => return Changes::new(),
            CallAction::Draw(_)
            | CallAction::Commit(_)
            | CallAction::Release
            | CallAction::Expire
            | CallAction::Refund(_) => {}
        }
        let Some(mut running) = self.running.get_mut(moment.call).and_then(Option::take) else {
            return Changes::new();
        };
        let changes = match action {
            CallAction::Draw(actual) => self.commit(&mut running, call, actual, false),
            CallAction::Commit(actual) => self.commit(&mut running, call, actual, true),
            CallAction::Refund(actual) => self.refund(&mut running, call, actual),
            _ => self.end(&mut running),
        };
        if let Some(place) = self.running.get_mut(moment.call) {
            *place = Some(running);
        }
        changes
    }

    fn track(&mut self, moment: &Moment, call: &Call, gives_back: bool) -> Changes {
        let purpose = if gives_back { Purpose::GiveBack } else { Purpose::Tell };
        let Ok(admission) = self.prepared(moment, call, purpose).1 else {
            self.sums.unmeasured += 1;
            return Changes::new();
        };
        let (places, _) = self.counters.ask(&admission, moment.at_ms);
        if !gives_back {
            return self.use_at_once(&admission, &places);
        }
        let pairs = admission.matched.iter().zip(places);
        pairs
            .map(|(matched, place)| (matched.group.id.clone(), -steps(self.counters.take(place, matched.amount))))
            .collect()
    }

    /// Release or expiry: everything that is held becomes free.
    fn end(&mut self, running: &mut SimulatedReservation) -> Changes {
        if running.live {
            for hold in &running.holds {
                self.counters.free(hold, hold.amount);
            }
        }
        running.live = false;
        self.holds_of(running).map(|(group, _)| (group, 0)).collect()
    }

    fn holds_of<'b>(&'b self, running: &'b SimulatedReservation) -> impl Iterator<Item = (GroupId, &'b Hold)> {
        running.holds.iter().filter_map(|hold| {
            let account = self.counters.account(hold.place)?;
            (account.window.kind != WindowKind::Concurrent).then(|| (account.group.clone(), hold))
        })
    }

    /// As in `lua/commit.lua`: counters without figures are charged the held amount.
    fn commit(&mut self, running: &mut SimulatedReservation, call: &Call, actual: &[Actual], last: bool) -> Changes {
        let totals = match actual.is_empty() || call.items.is_empty() {
            true => None,
            false => match self.measure(running, call, actual, last) {
                Ok(totals) => Some(totals),
                Err(_) => {
                    self.sums.unmeasured += 1;
                    None
                }
            },
        };
        let mut changes = Changes::new();
        for hold in &mut running.holds {
            let Some(account) = self.counters.account(hold.place) else { continue };
            let group = account.group.clone();
            let share = match account.window.kind == WindowKind::Concurrent {
                true => Amount::ZERO,
                false => match totals.iter().flatten().find(|it| it.group == group && it.owner == *account.owner) {
                    Some(total) => total.amount.saturating_sub(hold.charged),
                    None => hold.amount,
                },
            };
            let concurrent = account.window.kind == WindowKind::Concurrent;
            let freed = if last { hold.amount } else { share.min(hold.amount) };
            if running.live {
                self.counters.free(hold, freed);
            }
            self.counters.charge(hold, share);
            hold.amount = hold.amount.saturating_sub(freed);
            if !concurrent {
                changes.push((group, steps(share)));
            }
        }
        running.live &= !last;
        changes
    }

    fn measure(
        &self,
        running: &mut SimulatedReservation,
        call: &Call,
        actual: &[Actual],
        last: bool,
    ) -> Result<Vec<Total>, FieldError> {
        let rules = self.rules.of(running.plan.clone());
        if last && running.drawn.is_none() {
            return self.snapshot(call)?.settle(self.rules.app, &rules, actual);
        }
        let snapshot = running.drawn.take().map_or_else(|| self.snapshot(call), Ok)?;
        let (snapshot, totals) = snapshot.draw(self.rules.app, &rules, actual)?;
        running.drawn = Some(snapshot);
        Ok(totals)
    }

    fn refund(&mut self, running: &mut SimulatedReservation, call: &Call, actual: &[Actual]) -> Changes {
        let rules = self.rules.of(running.plan.clone());
        let given = actual.first().map(|actual| self.snapshot(call)?.refund(self.rules.app, &rules, actual));
        let Some(Ok((mut amounts, whole))) = given else { return Changes::new() };
        let mut changes = Changes::new();
        let mut open = Amount::ZERO;
        for last in [false, true] {
            for hold in &mut running.holds {
                let Some(group) = self.counters.account(hold.place).map(|account| account.group.clone()) else {
                    continue;
                };
                if whole.contains(&group) != last {
                    continue;
                }
                let amount = match last {
                    false => amounts.iter_mut().find(|(known, _)| *known == group).map(|(_, amount)| amount),
                    true => None,
                };
                let wanted = amount.as_ref().map_or(Amount::ZERO, |amount| **amount);
                let wanted = if last && open == Amount::ZERO { hold.charged } else { wanted };
                let (given, taken) = self.counters.give_back(hold, wanted);
                if let Some(amount) = amount {
                    *amount = amount.saturating_sub(given);
                    open = open.saturating_add(hold.charged);
                }
                changes.push((group, -steps(taken)));
            }
        }
        changes
    }

    fn snapshot(&self, call: &Call) -> Result<RequestSnapshot, FieldError> {
        let user = self.timeline.users.get(call.user).cloned();
        Ok(RequestSnapshot {
            user: user.ok_or_else(|| FieldError::new("userId", "must be a known user"))?,
            key: call.key.clone(),
            plan: None,
            version: 0,
            rules: None,
            policies: Vec::new(),
            items: call.items.clone(),
            fitted: None,
        })
    }
}

fn steps(amount: Amount) -> i64 {
    i64::try_from(amount.steps()).unwrap_or(i64::MAX)
}

/// The decision on a call.
struct Decided {
    refused: Option<SimulatedDenial>,
    observed: Option<SimulatedDenial>,
}

impl Decided {
    fn denied(refused: SimulatedDenial) -> Self {
        Self { refused: Some(refused), observed: None }
    }

    fn of(admission: &Admission, denying: Vec<DenyingCounter>) -> Self {
        let (observed, denying): (Vec<DenyingCounter>, Vec<DenyingCounter>) =
            denying.into_iter().partition(|counter| counter.observed);
        let refused = refusal(admission, denying);
        let early = admission.observed.first().map(|early| early.reason);
        let reason = early.or((!observed.is_empty()).then_some(Reason::LimitReached)).filter(|_| refused.is_none());
        Self { refused, observed: reason.map(|reason| SimulatedDenial::For { reason, denying: observed }) }
    }
}

/// The reason of a denial, in the same order of precedence as a gateway.
fn refusal(admission: &Admission, mut denying: Vec<DenyingCounter>) -> Option<SimulatedDenial> {
    if let Some(refusal) = &admission.refusal {
        let closed = admission.closed.iter().filter(|_| refusal.reason == Reason::LimitReached);
        denying.extend(closed.map(|closed| DenyingCounter {
            owner: admission.owners[closed.owner].as_ref().clone(),
            group: closed.group.id.clone(),
            requested: closed.amount,
            count: Amount::ZERO,
            limit: Amount::ZERO,
            used: None,
            observed: false,
        }));
        return Some(SimulatedDenial::For { reason: refusal.reason, denying });
    }
    if denying.is_empty() {
        return None;
    }
    let approvable = |denying_counter: &DenyingCounter| {
        let known = admission.matched.iter().find(|matched| matched.group.id == denying_counter.group);
        known.is_some_and(|matched| matched.group.enforcement == Enforcement::Approval)
    };
    let reason = if denying.iter().all(approvable) { Reason::ApprovalRequired } else { Reason::LimitReached };
    Some(SimulatedDenial::For { reason, denying })
}

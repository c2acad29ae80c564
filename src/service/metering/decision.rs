//! The result of a reserve, can-use, extend or enforcing track.

use std::sync::Arc;

use crate::domain::configuration::limit_group::{Enforcement, LimitGroup};
use crate::domain::configuration::policy::Policy;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::{Admission, Closed};
use crate::domain::metering::counter::{Counter, CounterState, Overflow, OverflowState};
use crate::domain::metering::fit::Fitted;
use crate::domain::metering::reason::Reason;
use crate::domain::metering::reservation::ReservationId;
use crate::domain::time::window::{OF_BALANCES, TimeMs, Window};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::GroupId;
use crate::store::metering::admission::{Denied, NOT_OPENED, OpenedApproval};

/// A decision with everything that the caller needs to act on it.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    pub allowed: bool,
    /// Redis was unavailable: allowed without a reservation, or denied by what the node knew.
    pub degraded: bool,
    /// False if the plan allows the event without counting it, or if the call was denied before groups were checked.
    pub matched: bool,
    pub matched_groups: Vec<GroupId>,
    pub reservation: Option<(ReservationId, TimeMs)>,
    /// The first category of refusal; empty if allowed.
    pub reasons: Vec<Reason>,
    pub denied_by: Vec<DeniedBy>,
    /// Groups that would have denied the call if they did not only observe.
    pub observed: Vec<Observed>,
    /// What balances took over, because it did not fit into a group's quota.
    pub overflow: Vec<Overflow>,
    /// For an allowed call with `fit`.
    pub fitted: Option<Fitted>,
    /// How the client may retry, by the strictest policy that matched.
    pub retry: Option<Retry>,
    /// Denying counters first, then the tightest.
    pub counters: Vec<Counter>,
    /// Until the last of the denying windows ends; None if waiting does not help.
    pub retry_after_ms: Option<TimeMs>,
    /// Redis' time when the counters were read; rate-limit headers count from it. 0 without counters.
    pub counters_at_ms: TimeMs,
    /// This is the stored answer of the same operation.
    pub replayed: bool,
}

/// A group that would have denied the call if it did not only observe.
#[derive(Clone, Debug)]
pub struct Observed {
    pub group: Arc<LimitGroup>,
    pub reason: Reason,
    pub requested: Amount,
    /// Before the call; None if the group does not count the call.
    pub remaining: Option<Amount>,
    /// Names in the group's scope that are missing in the call.
    pub missing_scope: Vec<String>,
}

/// Whether counters include the call's amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Before,
    After,
}

/// How the client may retry.
#[derive(Clone, Debug)]
pub struct Retry {
    pub policy: Arc<Policy>,
    /// None if the call names no action, so that attempts are not counted.
    pub attempts_left: Option<u64>,
}

/// A group that denied the call.
#[derive(Clone, Debug)]
pub struct DeniedBy {
    pub group: Arc<LimitGroup>,
    pub requested: Amount,
    pub remaining: Option<Amount>,
    pub resets_at_ms: Option<TimeMs>,
    /// Names in the group's scope that are missing in the call.
    pub missing_scope: Vec<String>,
    /// The scope has reached its maximum number of values.
    pub scope_full: bool,
    /// The approval request that was opened.
    pub approval: Option<OpenedApproval>,
    /// No approval request was opened because there are too many open ones.
    pub too_many_approvals: bool,
}

/// A matched group with its counter after the check.
#[derive(Clone, Debug)]
pub struct GroupOutcome {
    pub group: Arc<LimitGroup>,
    pub owner: Arc<OwnerName>,
    pub window: Window,
    pub amount: Amount,
    pub limit: Amount,
    pub state: CounterState,
}

impl GroupOutcome {
    pub fn counter(&self) -> Counter {
        Counter::of(Arc::clone(&self.group), Arc::clone(&self.owner), Some(self.window), &self.state)
    }

    /// The group denies the call because its scope has reached the maximum number of values.
    fn is_scope_full(&self) -> bool {
        let room = self.counter().remaining().is_none_or(|left| left > Amount::ZERO && left >= self.amount);
        self.state.over_limit && self.owner.scope().is_free() && room
    }

    /// What the group takes, with the balance onto which it overflows.
    fn remaining(&self) -> Option<Amount> {
        self.counter().remaining().map(|remaining| remaining.saturating_add(self.balance_left()))
    }

    /// What remains of the balance onto which the group overflows.
    fn balance_left(&self) -> Amount {
        self.state.overflow.map_or(Amount::ZERO, |overflow| overflow.balance.remaining)
    }

    /// Whether the group overflows onto this balance, and the call needed it.
    pub(super) fn needs(&self, balance: &GroupId) -> bool {
        self.state.overflow.is_some() && self.group.overflow.as_ref().is_some_and(|group| group.id == *balance)
    }

    /// The balance onto which the group overflows, if the call needed it.
    pub fn balance(&self) -> Option<Counter> {
        let OverflowState { used, held, balance, .. } = self.state.overflow?;
        let state = CounterState { used, held, balance: Some(balance), ..CounterState::default() };
        let group = self.group.overflow.as_ref()?;
        Some(Counter::of(Arc::clone(group), Arc::clone(&self.owner), Some(OF_BALANCES), &state))
    }

    fn overflow(&self) -> Option<Overflow> {
        let OverflowState { amount, .. } = self.state.overflow.filter(|overflow| overflow.amount > Amount::ZERO)?;
        let balance = self.group.overflow.as_ref()?.id.clone();
        Some(Overflow { balance, from: self.group.id.clone(), amount, unit: self.group.unit })
    }

    fn denied_by(&self) -> DeniedBy {
        DeniedBy {
            requested: self.amount,
            remaining: if self.is_scope_full() { Some(Amount::ZERO) } else { self.remaining() },
            scope_full: self.is_scope_full(),
            resets_at_ms: self.window.end_ms,
            ..DeniedBy::of(&self.group)
        }
    }

    /// What remained before the call's amount was counted.
    fn remaining_before(&self, counted: Counted) -> Option<Amount> {
        let counter = self.counter();
        let taken =
            counter.counted().saturating_sub(if counted == Counted::After { self.amount } else { Amount::ZERO });
        let allowance = counter.allowance()?;
        Some(allowance.saturating_sub(self.state.blocked.saturating_add(taken)))
    }

    /// When the limit has room again; None if never.
    fn lifts_at(&self, free_at_ms: Option<TimeMs>) -> Option<TimeMs> {
        let rolled = self.state.leaves(&self.group, self.group.quota);
        let fresh = self.limit.saturating_add(self.state.granted).saturating_add(rolled);
        // Credits stay when the window ends.
        let room = fresh.saturating_add(self.balance_left());
        if fresh == Amount::ZERO || self.amount > room || self.is_scope_full() {
            return None;
        }
        if self.group.is_concurrent() { free_at_ms } else { self.window.end_ms }
    }
}

/// The groups that would have denied the call if they did not only observe.
pub fn observed(outcomes: &[GroupOutcome], admission: &Admission, counted: Counted) -> Vec<Observed> {
    if admission.observed.is_empty() && !outcomes.iter().any(|outcome| outcome.state.observed) {
        return Vec::new();
    }
    let early = |outcome: &GroupOutcome| admission.observed.iter().find(|early| early.group.id == outcome.group.id);
    let counting = outcomes.iter().filter(|outcome| outcome.group.observes());
    let counting = counting.filter(|outcome| outcome.state.observed || early(outcome).is_some());
    let counting = counting.map(|outcome| Observed {
        group: Arc::clone(&outcome.group),
        reason: early(outcome).map_or(Reason::LimitReached, |early| early.reason),
        requested: outcome.amount,
        remaining: outcome.remaining_before(counted),
        missing_scope: Vec::new(),
    });
    let others =
        admission.observed.iter().filter(|early| outcomes.iter().all(|outcome| outcome.group.id != early.group.id));
    let others = others.map(|early| Observed {
        group: Arc::clone(&early.group),
        reason: early.reason,
        requested: early.requested,
        remaining: (early.reason == Reason::LimitReached).then_some(Amount::ZERO),
        missing_scope: match early.reason {
            Reason::MissingScope => missing_scope(&early.group, admission),
            _ => Vec::new(),
        },
    });
    counting.chain(others).collect()
}

/// The names in the group's scope that are missing in the call.
fn missing_scope(group: &LimitGroup, admission: &Admission) -> Vec<String> {
    group.scope.names().into_iter().filter(|name| admission.missing.contains(name)).collect()
}

/// Combines the groups of an admission with the counters that a script returned.
pub fn group_outcomes(
    admission: &Admission,
    states: &[CounterState],
    limit: impl Fn(&LimitGroup) -> Amount,
) -> Vec<GroupOutcome> {
    let pairs = admission.matched.iter().zip(states);
    pairs
        .map(|(matched, state)| {
            let group = state.group(&matched.group);
            GroupOutcome {
                owner: Arc::clone(&admission.owners[matched.owner]),
                window: matched.window,
                amount: matched.amount,
                limit: limit(&group),
                group,
                state: *state,
            }
        })
        .collect()
}

/// What balances took over.
pub fn overflow(outcomes: &[GroupOutcome]) -> Vec<Overflow> {
    outcomes.iter().filter_map(GroupOutcome::overflow).collect()
}

/// Sorts counters: denying ones first, then the tightest. The balances that the call needed come with them.
pub fn by_tightness(outcomes: &[GroupOutcome]) -> Vec<Counter> {
    let (mut denying, mut others) = (Vec::new(), Vec::with_capacity(outcomes.len()));
    for outcome in outcomes {
        let counters = if outcome.state.over_limit { &mut denying } else { &mut others };
        counters.push(outcome.counter());
    }
    for balance in outcomes.iter().filter_map(GroupOutcome::balance) {
        let is_known = |known: &Counter| known.group.id == balance.group.id && known.owner == balance.owner;
        if !denying.iter().chain(&others).any(is_known) {
            others.push(balance);
        }
    }
    denying.sort_by(Counter::by_tightness);
    others.sort_by(Counter::by_tightness);
    if denying.is_empty() {
        return others;
    }
    denying.append(&mut others);
    denying
}

/// What can end a denial, besides the end of a window.
#[derive(Clone, Copy)]
pub struct Relief<'a> {
    /// When the first hold of every full concurrent group ends.
    pub free_at_ms: Option<TimeMs>,
    /// Approval requests, if approval is the only reason.
    pub opened: &'a [OpenedApproval],
}

impl Denied {
    pub(super) fn relief(&self) -> Relief<'_> {
        Relief { free_at_ms: self.free_at_ms, opened: &self.opened }
    }
}

impl Decision {
    /// The decision of an allowed call.
    pub fn allowed(outcomes: &[GroupOutcome], now_ms: TimeMs) -> Self {
        Self {
            allowed: true,
            matched: !outcomes.is_empty(),
            matched_groups: distinct(outcomes.iter().map(|outcome| &outcome.group)),
            counters: by_tightness(outcomes),
            overflow: overflow(outcomes),
            counters_at_ms: now_ms,
            ..Self::default()
        }
    }

    /// With the groups that would have denied the call if they did not only observe.
    #[must_use]
    pub fn observing(self, outcomes: &[GroupOutcome], admission: &Admission, counted: Counted) -> Self {
        Self { observed: observed(outcomes, admission, counted), ..self }
    }

    /// The decision of a denied call: denied by the facts (`verdict`), or by groups whose limit is reached. `opened`
    /// are the approval requests that it opened.
    pub fn denied(outcomes: &[GroupOutcome], admission: &Admission, relief: Relief<'_>, now_ms: TimeMs) -> Self {
        let refusal = admission.refusal.as_ref();
        let approvable =
            |outcome: &GroupOutcome| outcome.group.enforcement == Enforcement::Approval && !outcome.is_scope_full();
        let by_groups = match outcomes.iter().filter(|outcome| outcome.state.over_limit).all(approvable) {
            true => Reason::ApprovalRequired,
            false => Reason::LimitReached,
        };
        let reason = refusal.map_or(by_groups, |refusal| refusal.reason);
        let mut denied_by = Vec::new();
        let mut lifts = Vec::new();
        match refusal.filter(|refusal| refusal.reason != Reason::LimitReached) {
            Some(refusal) => {
                for group in &refusal.groups {
                    let known = outcomes.iter().find(|outcome| outcome.group.id == group.id);
                    denied_by.push(DeniedBy {
                        missing_scope: missing_scope(group, admission),
                        ..known.map_or_else(|| DeniedBy::of(group), GroupOutcome::denied_by)
                    });
                }
                lifts.push(None);
            }
            None => {
                for denying in outcomes.iter().filter(|outcome| outcome.state.over_limit) {
                    let request = relief.opened.iter().find(|opened| opened.group == denying.group.id);
                    denied_by.push(DeniedBy {
                        approval: request.filter(|request| request.status != NOT_OPENED).cloned(),
                        too_many_approvals: request.is_some_and(|request| request.status == NOT_OPENED),
                        ..denying.denied_by()
                    });
                    lifts.push(denying.lifts_at(relief.free_at_ms));
                }
                for closed in &admission.closed {
                    denied_by.push(closed_group(closed));
                    lifts.push(closed.opens_at_ms);
                }
            }
        }
        let lifted_at = lifts.into_iter().collect::<Option<Vec<TimeMs>>>().and_then(|lifts| lifts.into_iter().max());
        let matched = outcomes.iter().map(|outcome| &outcome.group);
        Self {
            allowed: false,
            matched: !outcomes.is_empty() || !admission.closed.is_empty(),
            matched_groups: distinct(matched.chain(admission.closed.iter().map(|closed| &closed.group))),
            reasons: vec![reason],
            denied_by,
            observed: observed(outcomes, admission, Counted::Before),
            counters: by_tightness(outcomes),
            retry_after_ms: lifted_at.map(|at| (at - now_ms).max(1)),
            counters_at_ms: now_ms,
            ..Self::default()
        }
    }
}

/// The groups' IDs, each once: a group may have counters of several owners.
fn distinct<'a>(groups: impl Iterator<Item = &'a Arc<LimitGroup>>) -> Vec<GroupId> {
    let mut ids = Vec::with_capacity(groups.size_hint().0);
    for group in groups {
        if !ids.contains(&group.id) {
            ids.push(group.id.clone());
        }
    }
    ids
}

fn closed_group(closed: &Closed) -> DeniedBy {
    DeniedBy {
        requested: closed.amount,
        remaining: Some(Amount::ZERO),
        resets_at_ms: closed.opens_at_ms,
        ..DeniedBy::of(&closed.group)
    }
}

impl DeniedBy {
    fn of(group: &Arc<LimitGroup>) -> Self {
        Self {
            group: Arc::clone(group),
            requested: Amount::ZERO,
            remaining: None,
            resets_at_ms: None,
            missing_scope: Vec::new(),
            scope_full: false,
            approval: None,
            too_many_approvals: false,
        }
    }
}

//! The part of a decision that needs no counters: matched groups, amounts, windows, and denials that the facts alone
//! justify.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rust_decimal::Decimal;

use super::counter::{ClosedUntil, Counter};
use super::fit::Growth;
use super::reason::Reason;
use crate::domain::configuration::estimate::LearnedValues;
use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::configuration::measure::{Figures, Missing};
use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::plan_body::UnmatchedEvents;
use crate::domain::configuration::policy::Policy;
use crate::domain::configuration::scope::{OwnerName, Scope, Subject};
use crate::domain::time::period::{Located, SubscriptionAnchor};
use crate::domain::time::window::{TimeMs, Window};
use crate::domain::values::amount::{Amount, SUM_TOO_LARGE};
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::{AppId, EventName, KeyId, UserId};
use crate::domain::values::metadata::Metadata;

/// The maximum number of groups that one event may match, in plan and policies together.
const MOST_MATCHED: usize = 32;

/// The requested call.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub event: &'a EventName,
    pub quantity: Decimal,
    pub metadata: &'a Metadata,
    /// The learned estimates of figures that the call does not have.
    pub learned: &'a LearnedValues,
}

/// Whether the call happens before or after the usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reserve, can-use, enforcing track: every check may deny the call.
    Ask,
    /// Track: the usage has already happened, so groups that cannot count it are skipped.
    Tell,
    /// A refund without a reservation: only the given fields count, and groups that count calls are skipped.
    GiveBack,
}

/// The caller, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    pub user: &'a UserId,
    pub app: &'a AppId,
    pub key: Option<&'a KeyId>,
}

impl<'a> Caller<'a> {
    pub fn subject(self, metadata: &'a Metadata) -> Subject<'a> {
        Subject { user: Some(self.user), app: self.app, key: self.key, metadata }
    }
}

/// A matched group with its amount and window.
#[derive(Clone, Debug)]
pub struct Matched {
    pub group: Arc<LimitGroup>,
    /// Index in [`Admission::owners`].
    pub owner: usize,
    pub amount: Amount,
    pub window: Window,
}

/// A matched group whose fixed period is not running at the time of the call.
#[derive(Clone, Debug)]
pub struct Closed {
    pub group: Arc<LimitGroup>,
    pub owner: usize,
    pub amount: Amount,
    pub opens_at_ms: Option<TimeMs>,
}

/// The time range `[from_ms, until_ms)` in which windows and subscription are as computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from_ms: TimeMs,
    pub until_ms: TimeMs,
}

impl Validity {
    pub const ALWAYS: Self = Self { from_ms: TimeMs::MIN, until_ms: TimeMs::MAX };

    pub fn narrow(&mut self, from_ms: TimeMs, until_ms: TimeMs) {
        self.from_ms = self.from_ms.max(from_ms);
        self.until_ms = self.until_ms.min(until_ms);
    }
}

/// A denial that the facts alone justify.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub reason: Reason,
    /// The denying groups, for `uncovered_event`, `missing_scope` and `call_too_large`.
    pub groups: Vec<Arc<LimitGroup>>,
}

/// A group that would deny the call by the facts alone, if it did not only observe.
#[derive(Clone, Debug)]
pub struct Observation {
    pub group: Arc<LimitGroup>,
    pub reason: Reason,
    /// The call's amount; 0 if the group does not count it.
    pub requested: Amount,
}

/// The result of evaluating a call against the facts.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The owners of the counters to check; the first is the user.
    pub owners: Vec<Arc<OwnerName>>,
    /// Sorted by owner.
    pub matched: Vec<Matched>,
    pub closed: Vec<Closed>,
    pub refusal: Option<Refusal>,
    /// In the order of refusal.
    pub observed: Vec<Observation>,
    /// Names of scopes that are missing in the call.
    pub missing: Vec<String>,
    /// The user has a plan.
    pub subscribed: bool,
    pub validity: Validity,
    /// For a call with `fit`: how far its amounts may grow.
    pub growth: Option<Growth>,
    /// The learned estimates that were used, per request; empty if nothing is learned.
    pub learned: Vec<LearnedValues>,
}

/// The rules in effect for a user at an instant.
#[derive(Clone, Copy, Debug)]
pub struct EffectiveLimits<'a> {
    /// The plan with the user's custom limits; None without a subscription and a default plan.
    pub plan: Option<&'a Plan>,
    /// Policies apply with every plan.
    pub policies: &'a [Arc<Policy>],
    pub anchor: SubscriptionAnchor,
    /// These rules are in effect until this time.
    pub until_ms: TimeMs,
    pub blocked: bool,
}

impl<'a> EffectiveLimits<'a> {
    /// The groups of the plan, then those of the policies.
    pub fn groups(self) -> impl Iterator<Item = &'a Arc<LimitGroup>> {
        let policies = self.policies.iter().flat_map(|policy| &policy.groups);
        self.plan.into_iter().flat_map(|plan| &plan.groups).chain(policies)
    }
}

/// Groups that deny the call by the facts alone.
#[derive(Default)]
struct Refusing {
    unmatched: bool,
    uncovered: Vec<Arc<LimitGroup>>,
    missing: Vec<Arc<LimitGroup>>,
}

/// Evaluates a call: one request, or several that are allowed together or not at all.
///
/// # Errors
/// Figures that cannot be measured, naming group and field.
pub fn prepare(
    effective_limits: EffectiveLimits<'_>,
    caller: Caller<'_>,
    requests: &[Request<'_>],
    now: TimeMs,
    purpose: Purpose,
) -> Result<Admission, FieldError> {
    let mut admission = Admission::empty(effective_limits, OwnerName::of_user(caller.user));
    if effective_limits.blocked && purpose == Purpose::Ask {
        return Ok(admission.refused(Reason::UserBlocked, Vec::new()));
    }
    if effective_limits.plan.is_none() && purpose == Purpose::Ask {
        return Ok(admission.refused(Reason::NoSubscription, Vec::new()));
    }
    let mut refusing = Refusing::default();
    for (place, request) in requests.iter().enumerate() {
        let asked =
            admission.ask(effective_limits, ItemRequest { caller, request: *request, now, purpose }, &mut refusing);
        asked.map_err(|fault| match requests.len() {
            1 => fault,
            _ => fault.within(&format!("items[{place}]")),
        })?;
    }
    admission.matched.sort_by_key(|matched| matched.owner);
    if purpose != Purpose::Ask {
        return Ok(admission);
    }
    let Refusing { unmatched, uncovered, missing } = refusing;
    let uncovered = admission.observe_groups(Reason::UncoveredEvent, uncovered);
    let missing = admission.observe_groups(Reason::MissingScope, missing);
    let reason = [
        (unmatched, Reason::UnmatchedEvent, Vec::new()),
        (!uncovered.is_empty(), Reason::UncoveredEvent, uncovered),
        (!missing.is_empty(), Reason::MissingScope, missing),
    ];
    let refused = reason.into_iter().find(|(refuses, ..)| *refuses);
    admission.refuse_amounts();
    match refused {
        Some((_, reason, groups)) => Ok(admission.refused(reason, groups)),
        None => Ok(admission),
    }
}

/// One request of a call.
#[derive(Clone, Copy)]
struct ItemRequest<'a> {
    caller: Caller<'a>,
    request: Request<'a>,
    now: TimeMs,
    purpose: Purpose,
}

/// How one group treats a request.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::domain) enum Considered {
    /// None of its rules matches. If the group covers the event, it denies it.
    Unmatched { covers: bool },
    /// A rule matches, but the group does not count calls of this purpose.
    Apart { rule: usize },
    /// Names of the group's scope are missing in the call.
    Ownerless { rule: usize, missing: Vec<String> },
    /// The group counts `amount`, by the first rule that matches.
    Counts { rule: usize, amount: Amount, too_large: bool },
}

/// Decides what a group counts. Decisions and explanations both use this function.
///
/// # Errors
/// Figures that cannot be measured, naming group and field.
pub(in crate::domain) fn consider(
    group: &LimitGroup,
    caller: Caller<'_>,
    request: Request<'_>,
    purpose: Purpose,
) -> Result<Considered, FieldError> {
    let Some(rule) = group.matching_rule(request.event.as_str(), request.metadata) else {
        return Ok(Considered::Unmatched { covers: group.covers(request.event.as_str()) });
    };
    let apart = match purpose {
        Purpose::Ask => false,
        Purpose::Tell => group.is_concurrent(),
        Purpose::GiveBack => group.is_concurrent() || group.measure_of(rule).counts_calls(),
    };
    if apart {
        return Ok(Considered::Apart { rule });
    }
    let missing = match group.scope.is_user() {
        true => Vec::new(),
        false => group.scope.missing(caller.subject(request.metadata)),
    };
    if !missing.is_empty() {
        return Ok(Considered::Ownerless { rule, missing });
    }
    let amount = measure(group, rule, request, purpose)?;
    Ok(Considered::Counts { rule, amount, too_large: group.max_per_call.is_some_and(|most| amount > most) })
}

fn measure(group: &LimitGroup, rule: usize, request: Request<'_>, purpose: Purpose) -> Result<Amount, FieldError> {
    let Request { quantity, metadata, learned, .. } = request;
    let figures = Figures { quantity: Some(quantity), metadata, learned };
    let missing = if purpose == Purpose::GiveBack { Missing::Zero } else { Missing::Estimate };
    group
        .measure_of(rule)
        .amount(group.unit, figures, missing)
        .map_err(|error| FieldError::new(error.field, format!("{} (group `{}`)", error.message, group.id)))
}

impl Admission {
    fn refused(mut self, reason: Reason, groups: Vec<Arc<LimitGroup>>) -> Self {
        self.refusal = Some(Refusal { reason, groups });
        self
    }

    /// Denies the call if the sum of its requests exceeds the `maxPerCall` of a group, or if the fixed period of a group
    /// is not running.
    pub fn refuse_amounts(&mut self) {
        let exceeds = |group: &LimitGroup, amount: Amount| group.max_per_call.is_some_and(|most| amount > most);
        // As for most calls.
        if self.closed.is_empty() && !self.matched.iter().any(|matched| exceeds(&matched.group, matched.amount)) {
            return;
        }
        let matched = self.matched.iter().map(|matched| (&matched.group, matched.amount));
        let wanted = matched.chain(self.closed.iter().map(|closed| (&closed.group, closed.amount)));
        let too_large = wanted.filter(|(group, amount)| exceeds(group, *amount));
        let (observed, too_large): (Vec<_>, Vec<_>) = too_large.partition(|(group, _)| group.observes());
        let too_large: Vec<_> = too_large.into_iter().map(|(group, _)| Arc::clone(group)).collect();
        self.observed.extend(observed.into_iter().map(|(group, requested)| Observation {
            group: Arc::clone(group),
            reason: Reason::CallTooLarge,
            requested,
        }));
        let (observed, closed) =
            std::mem::take(&mut self.closed).into_iter().partition(|closed| closed.group.observes());
        self.closed = closed;
        let observed: Vec<Closed> = observed;
        self.observed.extend(observed.into_iter().map(|closed| Observation {
            group: closed.group,
            reason: Reason::LimitReached,
            requested: closed.amount,
        }));
        if !too_large.is_empty() {
            self.refusal = Some(Refusal { reason: Reason::CallTooLarge, groups: too_large });
        } else if !self.closed.is_empty() {
            self.refusal = Some(Refusal { reason: Reason::LimitReached, groups: Vec::new() });
        }
    }

    /// Returns those of the groups that deny the call; the others only observe.
    fn observe_groups(&mut self, reason: Reason, groups: Vec<Arc<LimitGroup>>) -> Vec<Arc<LimitGroup>> {
        if groups.is_empty() {
            return groups;
        }
        let (observed, refusing): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| group.observes());
        let observed = observed.into_iter().map(|group| Observation { group, reason, requested: Amount::ZERO });
        self.observed.extend(observed);
        refusing
    }

    /// Adds the amounts of one request to the groups that it matches.
    fn ask(
        &mut self,
        effective_limits: EffectiveLimits<'_>,
        asked: ItemRequest<'_>,
        refusing: &mut Refusing,
    ) -> Result<(), FieldError> {
        let ItemRequest { caller, request, now, purpose } = asked;
        let plans = effective_limits.plan.map_or(0, |plan| plan.groups.len());
        let (mut matches, mut in_plan) = (0, false);
        for (place, group) in effective_limits.groups().enumerate() {
            let considered = consider(group, caller, request, purpose)?;
            // A group that observes does not cover an event that no other group of the plan counts.
            let knows = match considered {
                Considered::Unmatched { covers } => covers && !group.observes(),
                _ => true,
            };
            in_plan |= place < plans && knows;
            match considered {
                Considered::Unmatched { covers } => refusing.uncovered.extend(covers.then(|| Arc::clone(group))),
                Considered::Apart { .. } => {}
                Considered::Ownerless { missing, .. } => {
                    if group.needs_scope {
                        refusing.missing.push(Arc::clone(group));
                        self.missing.extend(missing);
                    }
                }
                Considered::Counts { amount, .. } => {
                    let Some(owner) = self.owner(&group.scope, caller, request.metadata) else { continue };
                    self.place(group, owner, amount, effective_limits.anchor, now)?;
                    matches += 1;
                }
            }
        }
        if matches > MOST_MATCHED {
            return Err(FieldError::new("event", format!("must match at most {MOST_MATCHED} groups")));
        }
        let denies = effective_limits.plan.is_some_and(|plan| plan.unmatched_events == UnmatchedEvents::Deny);
        refusing.unmatched |= !in_plan && denies;
        Ok(())
    }

    /// The index of a counter's owner; None if a name of the scope is missing in the call.
    pub fn owner(&mut self, scope: &Scope, caller: Caller<'_>, metadata: &Metadata) -> Option<usize> {
        if scope.is_user() {
            return Some(0);
        }
        let name = scope.owner(caller.subject(metadata))?;
        Some(self.place_of(name))
    }

    /// The index of an owner.
    pub fn place_of(&mut self, name: OwnerName) -> usize {
        self.owners.iter().position(|known| **known == name).unwrap_or_else(|| {
            self.owners.push(Arc::new(name));
            self.owners.len() - 1
        })
    }

    /// Finds the group's window at `now`. Amounts of several requests for one counter are added.
    ///
    /// # Errors
    /// The sum exceeds what a counter can hold.
    pub fn place(
        &mut self,
        group: &Arc<LimitGroup>,
        owner: usize,
        amount: Amount,
        anchor: SubscriptionAnchor,
        now: TimeMs,
    ) -> Result<(), FieldError> {
        let is_same = |known: (usize, &Arc<LimitGroup>)| known.0 == owner && known.1.id == group.id;
        let matched = self.matched.iter_mut().find(|known| is_same((known.owner, &known.group)));
        let closed = self.closed.iter_mut().find(|known| is_same((known.owner, &known.group)));
        let known = matched.map(|known| &mut known.amount).or(closed.map(|known| &mut known.amount));
        if let Some(known) = known {
            let sum = known.checked_add(amount).filter(|sum| *sum <= group.unit.most());
            *known = sum.ok_or_else(|| FieldError::new("quantity", SUM_TOO_LARGE))?;
            return Ok(());
        }
        let group = Arc::clone(group);
        // A counter that users share has one window for all of them. The window of a balance never changes.
        let is_own = |group: &LimitGroup| group.scope.contains_user() && !group.is_balance();
        // Groups of a plan mostly have the same window as the one before.
        let before = self.matched.last().filter(|before| before.group.period == group.period);
        if let Some(&Matched { window, .. }) = before.filter(|before| is_own(&before.group) == is_own(&group)) {
            self.matched.push(Matched { group, owner, amount, window });
            return Ok(());
        }
        let anchor = if is_own(&group) { anchor } else { SubscriptionAnchor::NONE };
        match group.period.locate(now, anchor) {
            Located::Inside { window, valid_from_ms, valid_until_ms } => {
                self.validity.narrow(valid_from_ms, valid_until_ms);
                self.matched.push(Matched { group, owner, amount, window });
            }
            Located::Outside { next_start_ms, valid_from_ms, valid_until_ms } => {
                self.validity.narrow(valid_from_ms, valid_until_ms);
                self.closed.push(Closed { group, owner, amount, opens_at_ms: next_start_ms });
            }
        }
        Ok(())
    }

    /// The closed groups as counters.
    pub fn closed_counters(&self) -> impl Iterator<Item = Counter> + '_ {
        self.closed.iter().map(|closed| {
            let (group, owner) = (Arc::clone(&closed.group), Arc::clone(&self.owners[closed.owner]));
            Counter::closed(group, owner, ClosedUntil(closed.opens_at_ms))
        })
    }

    /// An evaluation without requests; `first` is the user whose facts are checked.
    pub fn empty(effective_limits: EffectiveLimits<'_>, first: OwnerName) -> Self {
        let validity = Validity { from_ms: TimeMs::MIN, until_ms: effective_limits.until_ms };
        Self {
            owners: vec![Arc::new(first)],
            matched: Vec::new(),
            closed: Vec::new(),
            refusal: None,
            observed: Vec::new(),
            missing: Vec::new(),
            subscribed: effective_limits.plan.is_some(),
            validity,
            growth: None,
            learned: Vec::new(),
        }
    }
}

/// Every group at `now` whose owner is known from the caller and metadata, with amounts of 0: for reading usage.
pub fn overview(
    effective_limits: EffectiveLimits<'_>,
    caller: Caller<'_>,
    metadata: &Metadata,
    now: TimeMs,
    wanted: impl Fn(&LimitGroup) -> bool,
) -> Admission {
    let mut admission = Admission::empty(effective_limits, OwnerName::of_user(caller.user));
    for group in effective_limits.groups().filter(|group| wanted(group)) {
        if let Some(owner) = admission.owner(&group.scope, caller, metadata) {
            // Amounts cannot add up here, since each group has one owner.
            let _ = admission.place(group, owner, Amount::ZERO, effective_limits.anchor, now);
        }
    }
    admission.matched.sort_by_key(|matched| matched.owner);
    admission
}

//! What a call asks for under given facts: matched groups, amounts, windows, and the refusals that need no counter.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::amount::Amount;
use super::field_error::FieldError;
use super::ids::{EventName, GroupId};
use super::limit_group::LimitGroup;
use super::measure::{Figures, Missing};
use super::metadata::Metadata;
use super::period::{Located, SubscriptionAnchor};
use super::plan::Plan;
use super::plan_body::UnmatchedEvents;
use super::reason::Reason;
use super::window::{TimeMs, Window};

/// The most groups that one event may match.
const MOST_MATCHED: usize = 32;

/// What the caller wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub event: &'a EventName,
    pub quantity: Decimal,
    pub metadata: &'a Metadata,
}

/// Whether the call asks beforehand or tells afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reserve, can-use, enforcing track: everything may refuse.
    Ask,
    /// Track: it happened; groups that cannot count it are left out.
    Tell,
    /// A refund without a reservation: only the fields sent count, and groups that count calls stay out.
    GiveBack,
}

/// A matched group with its amount and window.
#[derive(Clone, Debug)]
pub struct Matched {
    pub group: Arc<LimitGroup>,
    pub amount: Amount,
    pub window: Window,
}

/// A matched group whose fixed period does not cover the time of the call.
#[derive(Clone, Debug)]
pub struct Closed {
    pub group: Arc<LimitGroup>,
    pub amount: Amount,
    pub opens_at_ms: Option<TimeMs>,
}

/// The times for which an answer about windows and subscription holds: `[from_ms, until_ms)`.
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

/// A refusal that the facts alone decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// The groups that refuse, for `uncovered_event` and `call_too_large`.
    pub groups: Vec<GroupId>,
}

/// What a call comes to under the facts.
#[derive(Clone, Debug)]
pub struct Admission {
    pub matched: Vec<Matched>,
    pub closed: Vec<Closed>,
    pub refusal: Option<Refusal>,
    /// The user is on a plan.
    pub subscribed: bool,
    pub validity: Validity,
}

impl Admission {
    fn refused(mut self, reason: Reason, groups: Vec<GroupId>) -> Self {
        self.refusal = Some(Refusal { reason, groups });
        self
    }
}

/// What holds for a user at an instant.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The plan with the user's own limits; None without subscription and default plan.
    pub plan: Option<&'a Plan>,
    pub anchor: SubscriptionAnchor,
    /// Until when this is so.
    pub until_ms: TimeMs,
    pub blocked: bool,
}

/// # Errors
/// Figures that cannot be measured, naming group and field.
pub fn prepare(
    standing: Standing<'_>,
    request: Request<'_>,
    now: TimeMs,
    purpose: Purpose,
) -> Result<Admission, FieldError> {
    let mut admission = Admission::empty(standing);
    if standing.blocked && purpose == Purpose::Ask {
        return Ok(admission.refused(Reason::UserBlocked, Vec::new()));
    }
    let Some(plan) = standing.plan else {
        return Ok(admission.refused(Reason::NoSubscription, Vec::new()));
    };
    let mut uncovered = Vec::new();
    let mut too_large = Vec::new();
    for group in &plan.groups {
        let Some(rule) = group.matching_rule(request.event.as_str(), request.metadata) else {
            if group.covers(request.event.as_str()) {
                uncovered.push(group.id.clone());
            }
            continue;
        };
        if purpose != Purpose::Ask && group.is_concurrent() {
            continue;
        }
        if purpose == Purpose::GiveBack && group.measure_of(rule).counts_calls() {
            continue;
        }
        let amount = measure(group, rule, request, purpose)?;
        if group.max_per_call.is_some_and(|most| amount > most) {
            too_large.push(group.id.clone());
        }
        admission.place(group, amount, standing.anchor, now);
    }
    if admission.matched.len() + admission.closed.len() > MOST_MATCHED {
        return Err(FieldError::new("event", format!("matches more than {MOST_MATCHED} groups of plan `{}`", plan.id)));
    }
    if purpose != Purpose::Ask {
        return Ok(admission);
    }
    let unmatched = admission.matched.is_empty() && admission.closed.is_empty();
    if unmatched && uncovered.is_empty() && plan.unmatched_events == UnmatchedEvents::Deny {
        return Ok(admission.refused(Reason::UnmatchedEvent, Vec::new()));
    }
    if !uncovered.is_empty() {
        return Ok(admission.refused(Reason::UncoveredEvent, uncovered));
    }
    if !too_large.is_empty() {
        return Ok(admission.refused(Reason::CallTooLarge, too_large));
    }
    if !admission.closed.is_empty() {
        return Ok(admission.refused(Reason::LimitReached, Vec::new()));
    }
    Ok(admission)
}

fn measure(group: &LimitGroup, rule: usize, request: Request<'_>, purpose: Purpose) -> Result<Amount, FieldError> {
    let figures = Figures { quantity: Some(request.quantity), metadata: request.metadata };
    let missing = if purpose == Purpose::GiveBack { Missing::Zero } else { Missing::Estimate };
    group
        .measure_of(rule)
        .amount(group.unit, figures, missing)
        .map_err(|error| FieldError::new(error.field, format!("group `{}`: {}", group.id, error.message)))
}

impl Admission {
    /// Finds the group's window at `now`.
    pub fn place(&mut self, group: &Arc<LimitGroup>, amount: Amount, anchor: SubscriptionAnchor, now: TimeMs) {
        let group = Arc::clone(group);
        match group.period.locate(now, anchor) {
            Located::Inside { window, valid_from_ms, valid_until_ms } => {
                self.validity.narrow(valid_from_ms, valid_until_ms);
                self.matched.push(Matched { group, amount, window });
            }
            Located::Outside { next_start_ms, valid_from_ms, valid_until_ms } => {
                self.validity.narrow(valid_from_ms, valid_until_ms);
                self.closed.push(Closed { group, amount, opens_at_ms: next_start_ms });
            }
        }
    }

    /// Nothing asked yet.
    pub fn empty(standing: Standing<'_>) -> Self {
        let validity = Validity { from_ms: TimeMs::MIN, until_ms: standing.until_ms };
        let subscribed = standing.plan.is_some();
        Self { matched: Vec::new(), closed: Vec::new(), refusal: None, subscribed, validity }
    }
}

/// Every group of the plan at `now`, for reading usage; amounts are 0.
pub fn overview(standing: Standing<'_>, now: TimeMs, wanted: impl Fn(&LimitGroup) -> bool) -> Admission {
    let mut admission = Admission::empty(standing);
    for group in standing.plan.iter().flat_map(|plan| &plan.groups).filter(|group| wanted(group)) {
        admission.place(group, Amount::ZERO, standing.anchor, now);
    }
    admission
}

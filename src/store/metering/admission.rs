//! Arguments and replies that reserve, extend, track and usage share: facts, owners, stale facts, counters.

use std::sync::Arc;

use super::account::{ReadWindow, read_window};
use crate::domain::accounts::custom_limits::CustomLimits;
use crate::domain::accounts::subscription::{Subscribed, Subscription};
use crate::domain::configuration::limit_group::{Enforcement, LimitGroup, Limits};
use crate::domain::metering::admission::{Matched, Validity};
use crate::domain::metering::counter::{BalanceState, CounterState, CrossedThreshold, OverflowState};
use crate::domain::time::window::{TimeMs, Window, compact_time, parse_compact_time};
use crate::domain::values::amount::Amount;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::{GroupId, PlanId, UserId};
use crate::store::Arguments;
use crate::store::error::StoreError;
use crate::store::keys::OwnerKeys;
use crate::store::parts::Parts;
use crate::store::reply::Fields;

/// Facts that the node has cached, for the script to check.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub sandbox: bool,
    pub revision: u64,
    /// Version of the user's state. [`UNKNOWN_VERSION`] asks for it, [`NO_USER`] skips the check.
    pub version: &'a str,
    pub validity: Validity,
    /// A webhook subscribes to expired reservations.
    pub reports_expiry: bool,
    /// Only for a user who never had a subscription, in a call that counts.
    pub forget: Option<UserExpiry<'a>>,
}

/// When a user expires.
#[derive(Clone, Copy, Debug)]
pub struct UserExpiry<'a> {
    pub user: &'a UserId,
    /// None if never.
    pub at_ms: Option<TimeMs>,
}

/// A version that no user has, so that the script returns the correct one.
pub const UNKNOWN_VERSION: &str = "?";

/// For a call whose first owner is not a user.
pub const NO_USER: &str = "-";

/// An owner with the groups of its counters.
#[derive(Clone, Debug)]
pub struct Owner {
    pub keys: OwnerKeys,
    /// For an owner that is not a user.
    pub renew: Option<OwnerExpiry>,
    pub groups: Vec<OwnedGroup>,
}

/// When an owner that is not a user expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerExpiry {
    /// When no amount of the call matters any more; None if never.
    pub at_ms: Option<TimeMs>,
    /// The maximum number of owners of its scope.
    pub most: u64,
}

/// An approval request that a denied call may open.
#[derive(Clone, Debug)]
pub struct ApprovalRequest {
    pub id: String,
    /// Details of the call, as JSON.
    pub about: String,
}

/// The alerts and events of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Percent, ascending.
    pub alerts: Vec<u64>,
    /// A denied call opens an approval request.
    pub approval: bool,
    /// A webhook subscribes to denials.
    pub reports_limit: bool,
}

/// A group in the form of scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedGroup {
    pub id: GroupId,
    pub window: Window,
    pub amount: Amount,
    /// A call that exceeds it is denied.
    pub limit: Amount,
    /// None counts without limit.
    pub quota: Option<Amount>,
    /// How much is rolled over at most.
    pub rollover: Option<Amount>,
    pub watch: Option<Watch>,
    /// The group only observes.
    pub observes: bool,
    /// The quota is the limit.
    pub is_hard: bool,
    /// The balance that the group overflows onto, or that it is.
    pub balance: Option<OwnedBalance>,
}

/// A balance in the form of scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedBalance {
    pub id: GroupId,
    /// Descending.
    pub alerts_below: Vec<Amount>,
}

impl OwnedBalance {
    /// None for a group that has only a quota.
    fn of(group: &LimitGroup) -> Option<Self> {
        let balance = if group.is_balance() { group } else { group.overflow.as_deref()? };
        Some(Self { id: balance.id.clone(), alerts_below: balance.alerts_below.clone() })
    }
}

impl OwnedGroup {
    /// `reports_limit`: a webhook subscribes to denials.
    pub fn of(matched: &Matched, limits: Limits, reports_limit: bool) -> Self {
        let group = &matched.group;
        let approval = group.enforcement == Enforcement::Approval;
        let watched = approval || reports_limit || !group.alerts.is_empty();
        Self {
            id: group.id.clone(),
            window: matched.window,
            amount: matched.amount,
            limit: limits.of(group),
            quota: group.quota,
            rollover: group.rollover,
            watch: watched.then(|| Watch { alerts: group.alerts.clone(), approval, reports_limit }),
            observes: group.observes(),
            is_hard: limits == Limits::Enforced
                && matches!(group.enforcement, Enforcement::Hard | Enforcement::Approval),
            balance: OwnedBalance::of(group),
        }
    }
}

/// No approval request was opened, because the user or the app has too many open ones.
pub const NOT_OPENED: &str = "not_opened";

/// An approval request that a denied call opened or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedApproval {
    pub group: GroupId,
    pub id: String,
    /// `open`, `rejected`, or [`NOT_OPENED`], in which case there is no ID.
    pub status: String,
}

/// A stale fact with the correct value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The bucket has this revision.
    Configuration {
        stamp: u64,
    },
    /// The bucket does not have the node's revision yet.
    Stamp,
    User(Subscribed),
    /// The time is outside of a window.
    Time,
}

impl CounterState {
    /// `<used>+<held>[+<granted>+<blocked>[+<rolled>]][*<credits>][=<own quota|->][><overflow>][!][?]`
    pub(in crate::store) fn parse(text: &str) -> Option<Self> {
        let end = text.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'+').unwrap_or(text.len());
        let (amounts, marks) = text.split_at(end);
        let mut amounts = Parts::of(amounts, b'+').map(steps);
        let (used, held) = (amounts.next()??, amounts.next()??);
        let (granted, blocked, rolled) = match amounts.next() {
            None => (Amount::ZERO, Amount::ZERO, Amount::ZERO),
            Some(granted) => (granted?, amounts.next()??, amounts.next().unwrap_or(Some(Amount::ZERO))?),
        };
        if amounts.next().is_some() {
            return None;
        }
        let state = Self { used, held, granted, blocked, rolled, ..Self::default() };
        // Most counters have none.
        if marks.is_empty() { Some(state) } else { state.marked(marks) }
    }

    /// With what follows the amounts.
    fn marked(self, text: &str) -> Option<Self> {
        let (text, observed) = text.strip_suffix('?').map_or((text, false), |text| (text, true));
        let (text, over_limit) = text.strip_suffix('!').map_or((text, false), |text| (text, true));
        let (text, overflow) = match text.split_once('>') {
            None => (text, None),
            Some((text, overflow)) => (text, Some(read_overflow_state(overflow)?)),
        };
        let (text, quota) = match text.split_once('=') {
            None => (text, None),
            Some((text, "-")) => (text, Some(None)),
            Some((text, quota)) => (text, Some(Some(steps(quota)?))),
        };
        let balance = match text.strip_prefix('*') {
            None if text.is_empty() => None,
            None => return None,
            Some(credits) => Some(read_balance(credits)?),
        };
        Some(Self { over_limit, observed, quota, balance, overflow, ..self })
    }
}

fn steps(text: &str) -> Option<Amount> {
    Amount::from_steps(text.parse().ok()?).ok()
}

/// `<remaining>:<uncovered>[:<amount that expires next>:<at ms>]`
fn read_balance(text: &str) -> Option<BalanceState> {
    let mut parts = text.split(':');
    let (remaining, uncovered) = (steps(parts.next()?)?, steps(parts.next()?)?);
    let expires_next = match parts.next() {
        None => None,
        Some(amount) => Some((steps(amount)?, parts.next()?.parse().ok()?)),
    };
    Some(BalanceState { remaining, uncovered, expires_next })
}

/// `<amount>@<state of the balance>`
fn read_overflow_state(text: &str) -> Option<OverflowState> {
    let (amount, state) = text.split_once('@')?;
    let CounterState { used, held, balance, .. } = CounterState::parse(state)?;
    Some(OverflowState { amount: steps(amount)?, used, held, balance: balance? })
}

/// A denial; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The denial that the node found in the facts, or empty.
    pub verdict: String,
    /// When the first hold of every full concurrent group ends.
    pub free_at_ms: Option<TimeMs>,
    /// The approval requests, if approval is the only reason.
    pub opened: Vec<OpenedApproval>,
    /// Per group in the order of the arguments, and whether its limit was reached.
    pub states: Vec<CounterState>,
    /// The groups as proposed, if the answer is stored for its idempotency key.
    pub groups: Vec<OwnedGroup>,
}

/// The time at which a script ran, and the number of expired holds that it removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptRun {
    pub now_ms: TimeMs,
    pub reclaimed: u64,
}

impl Facts<'_> {
    /// For a call without a program: see `facts.read` in `lua/lib/facts.lua`.
    pub(in crate::store) fn write(&self, ledger_entries: u64, arguments: &mut Arguments) {
        arguments.text(format!("{} {} {ledger_entries}", u8::from(self.sandbox), self.revision)).text(self.version);
        arguments.int(self.validity.from_ms).int(self.validity.until_ms);
    }
}

/// Parses what follows a `stale_…` status.
pub(in crate::store) fn read_stale(status: &str, fields: &mut Fields) -> Result<(Stale, TimeMs), StoreError> {
    let now = fields.time()?;
    let stale = match status {
        "stale_configuration" => {
            let stamp = fields.int()?;
            Stale::Configuration { stamp: u64::try_from(stamp).map_err(|_| fields.unexpected("a negative stamp"))? }
        }
        "stale_stamp" => Stale::Stamp,
        "stale_user" => Stale::User(read_subscribed(fields)?),
        "stale_time" => Stale::Time,
        other => return Err(fields.unexpected(&format!("status {other}"))),
    };
    Ok((stale, now))
}

/// Version, `.plan`, `.limits` and `.block` of an account; missing ones are empty.
pub(in crate::store) fn read_subscribed(fields: &mut Fields) -> Result<Subscribed, StoreError> {
    let (version, subscription) = (fields.text()?, fields.text()?);
    let (limits, blocked) = (fields.text()?, !fields.text()?.is_empty());
    if version == "0" {
        return Ok(Subscribed::never());
    }
    if subscription.is_empty() {
        return Ok(Subscribed { version, subscription: None, blocked });
    }
    let limits = match limits.as_str() {
        "" => None,
        text => {
            let json = serde_json::from_str(text).map_err(|error| fields.unexpected(&error.to_string()))?;
            let unexpected = |faults: Vec<FieldError>| {
                fields.unexpected(faults.first().map_or("custom limits", |fault| fault.field.as_str()))
            };
            Some(Arc::new(CustomLimits::parse(&json).map_err(unexpected)?))
        }
    };
    let mut subscription = read_subscription(&subscription).ok_or_else(|| fields.unexpected("a subscription"))?;
    subscription.custom_limits = limits;
    Ok(Subscribed { version, subscription: Some(subscription), blocked })
}

/// A subscription without its custom limits: `<plan> <since>[ <cycle|-> <until|->]`, with times as in windows.
pub(in crate::store) fn subscription_text(subscription: &Subscription) -> String {
    let Subscription { plan, started_at_ms, cycle_start_ms, ends_at_ms, custom_limits: _ } = subscription;
    let mut text = format!("{plan} {}", compact_time(*started_at_ms));
    if cycle_start_ms.is_some() || ends_at_ms.is_some() {
        for time in [cycle_start_ms, ends_at_ms] {
            text.push(' ');
            text.push_str(&time.map_or_else(|| "-".to_owned(), compact_time));
        }
    }
    text
}

fn read_subscription(text: &str) -> Option<Subscription> {
    let mut words = text.split(' ');
    let plan = PlanId::parse(words.next()?).ok()?;
    let started_at_ms = parse_compact_time(words.next()?)?;
    let mut time = || match words.next() {
        None | Some("-") => Some(None),
        Some(text) => parse_compact_time(text).map(Some),
    };
    let (cycle_start_ms, ends_at_ms) = (time()?, time()?);
    Some(Subscription { plan, started_at_ms, cycle_start_ms, ends_at_ms, custom_limits: None })
}

/// The state of counters as [`CounterState::parse`] reads it, one per group; `!` marks those over their limits, `?` those
/// that would have denied the call if they did not only observe.
pub(in crate::store) fn read_states(fields: &mut Fields) -> Result<Vec<CounterState>, StoreError> {
    let text = fields.text()?;
    let mut states = Vec::new();
    for state in Parts::of(&text, b' ').filter(|state| !state.is_empty()) {
        states.push(CounterState::parse(state).ok_or_else(|| fields.unexpected("a counter"))?);
    }
    Ok(states)
}

pub(in crate::store) fn read_ran(fields: &mut Fields) -> Result<ScriptRun, StoreError> {
    let now_ms = fields.time()?;
    let reclaimed = fields.int()?;
    Ok(ScriptRun { now_ms, reclaimed: u64::try_from(reclaimed).map_err(|_| fields.unexpected("a negative count"))? })
}

pub(in crate::store) fn read_denied(fields: &mut Fields) -> Result<Denied, StoreError> {
    let verdict = fields.text()?;
    let free_at = fields.time()?;
    let opened = fields.text()?;
    let opened = words(&opened).map(|word| {
        let mut parts = word.splitn(3, ':');
        let group = GroupId::parse(parts.next()?).ok()?;
        Some(OpenedApproval { group, id: parts.next()?.to_owned(), status: parts.next()?.to_owned() })
    });
    let opened = opened.collect::<Option<_>>().ok_or_else(|| fields.unexpected("an approval request"))?;
    let states = read_states(fields)?;
    let groups = read_groups(fields)?;
    Ok(Denied { verdict, free_at_ms: (free_at > 0).then_some(free_at), opened, states, groups })
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|word| !word.is_empty())
}

/// `<group>:<percent>,…`
pub(in crate::store) fn read_crossed(fields: &mut Fields) -> Result<Vec<CrossedThreshold>, StoreError> {
    let text = fields.text()?;
    let crossed = words(&text).map(|word| {
        let (group, percent) = word.split_once(':')?;
        Some(CrossedThreshold { group: GroupId::parse(group).ok()?, percent: percent.parse().ok()? })
    });
    crossed.collect::<Option<_>>().ok_or_else(|| fields.unexpected("a threshold"))
}

/// `<id> <amount> <limit> <quota|-> <window>,…` at the end of a stored answer; otherwise empty.
pub(in crate::store) fn read_groups(fields: &mut Fields) -> Result<Vec<OwnedGroup>, StoreError> {
    if fields.len() == 0 {
        return Ok(Vec::new());
    }
    let text = fields.text()?;
    let parse = |group: &str| {
        let mut words = group.splitn(4, ' ');
        let id = GroupId::parse(words.next()?).ok()?;
        let mut amount = || Amount::from_steps(words.next()?.parse().ok()?).ok();
        let (amount, limit) = (amount()?, amount()?);
        let ReadWindow { window, quota, .. } = read_window(words.next()?)?;
        let (rollover, watch, balance) = (None, None, None);
        Some(OwnedGroup { id, amount, limit, window, quota, rollover, watch, observes: false, is_hard: false, balance })
    };
    let groups = text.split(',').filter(|group| !group.is_empty());
    groups.map(|group| parse(group).ok_or_else(|| fields.unexpected("a group of a kept answer"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_read_as_it_is_written() {
        for text in [
            "pro 20270131",
            "pro 20270131T1000",
            "pro 20270131T100007 20270115 -",
            "pro 20270131T100007 - 20270601",
            "pro 20270131T100007 20270115T0830 20270601",
        ] {
            assert_eq!(read_subscription(text).map(|found| subscription_text(&found)).as_deref(), Some(text));
        }
        for damaged in ["", "pro", "pro x", "pro 20270131 x -", "pro 20270131 - 2027-06-01", "p! 20270131"] {
            assert_eq!(read_subscription(damaged), None, "{damaged}");
        }
    }
}

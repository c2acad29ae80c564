//! Arguments and replies that reserve, extend, track and usage share: facts, owners, stale facts, tallies.

use std::sync::Arc;

use super::Arguments;
use super::error::StoreError;
use super::keys::{Bucket, OwnerKeys};
use super::reply::Fields;
use crate::domain::admission::{Matched, Validity};
use crate::domain::amount::Amount;
use crate::domain::custom_limits::CustomLimits;
use crate::domain::ids::{GroupId, PlanId, UserId};
use crate::domain::limit_group::LimitGroup;
use crate::domain::subscription::{Subscribed, Subscription};
use crate::domain::window::{TimeMs, Window, parse_rfc3339};

/// What the node believes, for the script to check.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub sandbox: bool,
    pub revision: u64,
    /// Version of what is true of the user; [`UNKNOWN_VERSION`] asks for it.
    pub version: &'a str,
    pub validity: Validity,
    /// Only of a user who never had a subscription, with a call that counts.
    pub forget: Option<Forget<'a>>,
}

/// When a user may be forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Forget<'a> {
    pub user: &'a UserId,
    /// None: never.
    pub at_ms: Option<TimeMs>,
}

/// A version that no subscription has: the script answers with the truth.
pub const UNKNOWN_VERSION: &str = "?";

/// An owner of counters with its groups.
#[derive(Clone, Debug)]
pub struct Owner {
    pub keys: OwnerKeys,
    pub groups: Vec<OwnedGroup>,
}

/// A group as a script sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedGroup {
    pub id: GroupId,
    pub window: Window,
    pub amount: Amount,
    /// Beyond it the call is refused.
    pub limit: Amount,
}

impl OwnedGroup {
    pub fn of(matched: &Matched, limit: impl Fn(&LimitGroup) -> Amount) -> Self {
        Self {
            id: matched.group.id.clone(),
            window: matched.window,
            amount: matched.amount,
            limit: limit(&matched.group),
        }
    }
}

/// A fact that turned out to be stale, with the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The bucket has seen this revision.
    Configuration {
        stamp: u64,
    },
    User(Subscribed),
    /// A window does not contain the time.
    Time,
}

/// What a counter stands at, after (or without) the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub used: Amount,
    pub held: Amount,
    pub granted: Amount,
    pub blocked: Amount,
}

impl Tally {
    pub(super) fn read(fields: &mut Fields) -> Result<Self, StoreError> {
        let (used, held) = (fields.amount()?, fields.amount()?);
        Ok(Self { used, held, granted: fields.amount()?, blocked: fields.amount()? })
    }
}

/// A denial: nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The node's own refusal, or empty.
    pub verdict: String,
    /// When the first hold of every full concurrent group ends.
    pub free_at_ms: Option<TimeMs>,
    /// Per group in the order of the arguments, and whether it lacked room.
    pub tallies: Vec<(Tally, bool)>,
    /// The groups as proposed, if the answer was kept for its idempotency key.
    pub groups: Vec<OwnedGroup>,
}

/// The time at which a script ran, and how many expired holds it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    pub now_ms: TimeMs,
    pub reclaimed: u64,
}

impl Facts<'_> {
    pub(super) fn write(&self, arguments: &mut Arguments) {
        arguments.flag(self.sandbox).int(self.revision).text(self.version);
        arguments.int(self.validity.from_ms).int(self.validity.until_ms);
        match self.forget {
            None => arguments.text("-"),
            Some(Forget { user, at_ms: None }) => arguments.text("never").text(user.as_str()),
            Some(Forget { user, at_ms: Some(at_ms) }) => arguments.int(at_ms).text(user.as_str()),
        };
    }

    /// Appends the index that a call of a user to be forgotten keeps.
    pub(super) fn push_index_keys(&self, bucket: &Bucket, keys: &mut Vec<String>) {
        if self.forget.is_some() {
            keys.extend([bucket.users(), bucket.leaving()]);
        }
    }
}

pub(super) fn write_owners(owners: &[Owner], arguments: &mut Arguments) {
    arguments.int(owners.len());
    for owner in owners {
        arguments.int(owner.groups.len());
        for group in &owner.groups {
            arguments.text(group.id.as_str()).text(group.window.to_text());
            arguments.int(group.amount.steps()).int(group.limit.steps());
        }
    }
}

pub(super) fn push_owner_keys(owners: &[Owner], keys: &mut Vec<String>) {
    for owner in owners {
        keys.extend([owner.keys.counters.clone(), owner.keys.holds.clone(), owner.keys.past.clone()]);
    }
}

pub(super) fn count_groups(owners: &[Owner]) -> usize {
    owners.iter().map(|owner| owner.groups.len()).sum()
}

/// Reads what follows a `stale_…` status.
pub(super) fn read_stale(status: &str, fields: &mut Fields) -> Result<(Stale, TimeMs), StoreError> {
    let now = fields.time()?;
    let stale = match status {
        "stale_configuration" => {
            let stamp = fields.int()?;
            Stale::Configuration { stamp: u64::try_from(stamp).map_err(|_| fields.unexpected("a negative stamp"))? }
        }
        "stale_user" => Stale::User(read_subscribed(fields)?),
        "stale_time" => Stale::Time,
        other => return Err(fields.unexpected(&format!("status {other}"))),
    };
    Ok((stale, now))
}

pub(super) fn read_subscribed(fields: &mut Fields) -> Result<Subscribed, StoreError> {
    let (version, plan) = (fields.text()?, fields.text()?);
    let (since, cycle, until) = (fields.text()?, fields.text()?, fields.text()?);
    let (limits, blocked) = (fields.text()?, !fields.text()?.is_empty());
    if version.is_empty() {
        return Ok(Subscribed::never());
    }
    if plan.is_empty() {
        return Ok(Subscribed { version, subscription: None, blocked });
    }
    let limits = match limits.as_str() {
        "" => None,
        text => {
            let json = serde_json::from_str(text).map_err(|error| fields.unexpected(&error.to_string()))?;
            Some(Arc::new(CustomLimits::parse(&json).map_err(|fault| fields.unexpected(&fault.field))?))
        }
    };
    let time = |text: &str| match text {
        "" => Ok(None),
        text => parse_rfc3339(text).map(Some).ok_or_else(|| fields.unexpected("a time of a subscription")),
    };
    let subscription = Subscription {
        plan: PlanId::parse(&plan).map_err(|error| fields.unexpected(&format!("plan: {error}")))?,
        started_at_ms: time(&since)?.ok_or_else(|| fields.unexpected("a subscription without a start"))?,
        cycle_start_ms: time(&cycle)?,
        ends_at_ms: time(&until)?,
        custom_limits: limits,
    };
    Ok(Subscribed { version, subscription: Some(subscription), blocked })
}

pub(super) fn read_tallies(count: usize, fields: &mut Fields) -> Result<Vec<Tally>, StoreError> {
    (0..count).map(|_| Tally::read(fields)).collect()
}

pub(super) fn read_ran(fields: &mut Fields) -> Result<Ran, StoreError> {
    let now_ms = fields.time()?;
    let reclaimed = fields.int()?;
    Ok(Ran { now_ms, reclaimed: u64::try_from(reclaimed).map_err(|_| fields.unexpected("a negative count"))? })
}

pub(super) fn read_denied(fields: &mut Fields) -> Result<Denied, StoreError> {
    let verdict = fields.text()?;
    let free_at = fields.time()?;
    let count = fields.int()?;
    let tallies = (0..count).map(|_| Ok((Tally::read(fields)?, fields.flag()?))).collect::<Result<_, StoreError>>()?;
    let groups = read_groups(fields)?;
    Ok(Denied { verdict, free_at_ms: (free_at > 0).then_some(free_at), tallies, groups })
}

/// `<id> <amount> <limit> <window>,…`, at the end of an answer that is kept; nothing otherwise.
pub(super) fn read_groups(fields: &mut Fields) -> Result<Vec<OwnedGroup>, StoreError> {
    if fields.len() == 0 {
        return Ok(Vec::new());
    }
    let text = fields.text()?;
    let parse = |group: &str| {
        let mut words = group.splitn(4, ' ');
        let id = GroupId::parse(words.next()?).ok()?;
        let mut amount = || Amount::from_steps(words.next()?.parse().ok()?).ok();
        let (amount, limit) = (amount()?, amount()?);
        Some(OwnedGroup { id, amount, limit, window: Window::parse(words.next()?)? })
    };
    let groups = text.split(',').filter(|group| !group.is_empty());
    groups.map(|group| parse(group).ok_or_else(|| fields.unexpected("a group of a kept answer"))).collect()
}

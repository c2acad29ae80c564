//! Arguments and replies that reserve, extend, track and usage share: facts, owners, stale facts, tallies.

use std::sync::Arc;

use super::account::read_window;
use crate::domain::accounts::custom_limits::CustomLimits;
use crate::domain::accounts::subscription::{Subscribed, Subscription};
use crate::domain::configuration::limit_group::{Enforcement, LimitGroup};
use crate::domain::metering::admission::{Matched, Validity};
use crate::domain::time::window::{TimeMs, Window, parse_rfc3339, rfc3339};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{GroupId, PlanId, UserId};
use crate::store::Arguments;
use crate::store::error::StoreError;
use crate::store::keys::OwnerKeys;
use crate::store::reply::Fields;

/// What the node believes, for the script to check.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub sandbox: bool,
    pub revision: u64,
    /// Version of what is true of the user; [`UNKNOWN_VERSION`] asks for it, [`NO_USER`] checks none.
    pub version: &'a str,
    pub validity: Validity,
    /// Somebody wants to hear of expired reservations.
    pub tells_expiry: bool,
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

/// The first owner is no user.
pub const NO_USER: &str = "-";

/// An owner of counters with its groups.
#[derive(Clone, Debug)]
pub struct Owner {
    pub keys: OwnerKeys,
    /// Of an owner that is no user.
    pub renew: Option<Renew>,
    pub groups: Vec<OwnedGroup>,
}

/// How long an owner that is no user is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renew {
    /// When nothing of what the call counts matters any more; None: never.
    pub at_ms: Option<TimeMs>,
    /// How many owners of its scope there may be.
    pub most: u64,
}

/// A request for approval that a denied call may open.
#[derive(Clone, Debug)]
pub struct ApprovalRequest {
    pub id: String,
    /// What is known of the call, as JSON.
    pub about: String,
}

/// How a group is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Percent, rising.
    pub alerts: Vec<u64>,
    /// A denied call asks for approval.
    pub approval: bool,
    /// Somebody wants to hear of denials.
    pub tells_limit: bool,
}

/// A group as a script sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedGroup {
    pub id: GroupId,
    pub window: Window,
    pub amount: Amount,
    /// Beyond it the call is refused.
    pub limit: Amount,
    /// None counts without limit.
    pub quota: Option<Amount>,
    pub watch: Option<Watch>,
}

impl OwnedGroup {
    /// `tells_limit`: somebody wants to hear of denials.
    pub fn of(matched: &Matched, limit: impl Fn(&LimitGroup) -> Amount, tells_limit: bool) -> Self {
        let group = &matched.group;
        let approval = group.enforcement == Enforcement::Approval;
        let watched = approval || tells_limit || !group.alerts.is_empty();
        Self {
            id: group.id.clone(),
            window: matched.window,
            amount: matched.amount,
            limit: limit(group),
            quota: group.quota,
            watch: group.quota.filter(|_| watched).map(|_| Watch {
                alerts: group.alerts.clone(),
                approval,
                tells_limit,
            }),
        }
    }
}

/// A threshold that a call passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    pub group: GroupId,
    pub percent: u64,
}

/// There are too many open requests for one more, of this user or in all.
pub const NOT_OPENED: &str = "not_opened";

/// A request for approval that a denied call opened or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub group: GroupId,
    pub id: String,
    /// `open`, `rejected`, or [`NOT_OPENED`]; then there is no id.
    pub status: String,
}

/// A fact that turned out to be stale, with the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The bucket has seen this revision.
    Configuration {
        stamp: u64,
    },
    /// The bucket has not seen the node's revision yet.
    Stamp,
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
    /// `<used>+<held>[+<granted>+<blocked>]`
    pub(in crate::store) fn parse(text: &str) -> Option<Self> {
        let (used, rest) = text.split_once('+')?;
        let steps = |text: &str| Amount::from_steps(text.parse().ok()?).ok();
        match rest.split_once('+') {
            None => Some(Self { used: steps(used)?, held: steps(rest)?, ..Self::default() }),
            Some((held, rest)) => {
                let (granted, blocked) = rest.split_once('+')?;
                let (used, held) = (steps(used)?, steps(held)?);
                Some(Self { used, held, granted: steps(granted)?, blocked: steps(blocked)? })
            }
        }
    }
}

/// A denial: nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The node's own refusal, or empty.
    pub verdict: String,
    /// When the first hold of every full concurrent group ends.
    pub free_at_ms: Option<TimeMs>,
    /// Approval is all that lacks: the requests for it.
    pub opened: Vec<Opened>,
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
    /// Of a call without a program: see `facts.read` in `lua/lib/facts.lua`.
    pub(in crate::store) fn write(&self, ledger_entries: u64, arguments: &mut Arguments) {
        arguments.text(format!("{} {} {ledger_entries}", u8::from(self.sandbox), self.revision)).text(self.version);
        arguments.int(self.validity.from_ms).int(self.validity.until_ms);
    }
}

/// Reads what follows a `stale_…` status.
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

/// Version, `.subscription`, `.limits` and `.block` of an account, empty where it has none.
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
            Some(Arc::new(CustomLimits::parse(&json).map_err(|fault| fields.unexpected(&fault.field))?))
        }
    };
    let mut subscription = read_subscription(&subscription).ok_or_else(|| fields.unexpected("a subscription"))?;
    subscription.custom_limits = limits;
    Ok(Subscribed { version, subscription: Some(subscription), blocked })
}

/// A subscription without its custom limits: `<plan> <since> <cycle|-> <until|->`, times in RFC 3339.
pub(in crate::store) fn subscription_text(subscription: &Subscription) -> String {
    let time = |ms: Option<TimeMs>| ms.map_or_else(|| "-".to_owned(), rfc3339);
    let Subscription { plan, started_at_ms, cycle_start_ms, ends_at_ms, custom_limits: _ } = subscription;
    [plan.to_string(), rfc3339(*started_at_ms), time(*cycle_start_ms), time(*ends_at_ms)].join(" ")
}

fn read_subscription(text: &str) -> Option<Subscription> {
    let mut words = text.split(' ');
    let plan = PlanId::parse(words.next()?).ok()?;
    let started_at_ms = parse_rfc3339(words.next()?)?;
    let mut time = || match words.next()? {
        "-" => Some(None),
        text => parse_rfc3339(text).map(Some),
    };
    let (cycle_start_ms, ends_at_ms) = (time()?, time()?);
    Some(Subscription { plan, started_at_ms, cycle_start_ms, ends_at_ms, custom_limits: None })
}

/// `<used>+<held>[+<granted>+<blocked>] …`, one per group.
pub(in crate::store) fn read_tallies(fields: &mut Fields) -> Result<Vec<Tally>, StoreError> {
    let text = fields.text()?;
    let tallies = text.split(' ').filter(|text| !text.is_empty()).map(Tally::parse);
    tallies.collect::<Option<_>>().ok_or_else(|| fields.unexpected("a counter"))
}

/// The same, each with `!` behind it if it is over its limit.
pub(in crate::store) fn read_marked_tallies(fields: &mut Fields) -> Result<Vec<(Tally, bool)>, StoreError> {
    let text = fields.text()?;
    let tallies = text.split(' ').filter(|text| !text.is_empty()).map(|text| match text.strip_suffix('!') {
        Some(text) => Some((Tally::parse(text)?, true)),
        None => Some((Tally::parse(text)?, false)),
    });
    tallies.collect::<Option<_>>().ok_or_else(|| fields.unexpected("a counter"))
}

pub(in crate::store) fn read_ran(fields: &mut Fields) -> Result<Ran, StoreError> {
    let now_ms = fields.time()?;
    let reclaimed = fields.int()?;
    Ok(Ran { now_ms, reclaimed: u64::try_from(reclaimed).map_err(|_| fields.unexpected("a negative count"))? })
}

pub(in crate::store) fn read_denied(fields: &mut Fields) -> Result<Denied, StoreError> {
    let verdict = fields.text()?;
    let free_at = fields.time()?;
    let opened = fields.text()?;
    let opened = words(&opened).map(|word| {
        let mut parts = word.splitn(3, ':');
        let group = GroupId::parse(parts.next()?).ok()?;
        Some(Opened { group, id: parts.next()?.to_owned(), status: parts.next()?.to_owned() })
    });
    let opened = opened.collect::<Option<_>>().ok_or_else(|| fields.unexpected("an approval request"))?;
    let tallies = read_marked_tallies(fields)?;
    let groups = read_groups(fields)?;
    Ok(Denied { verdict, free_at_ms: (free_at > 0).then_some(free_at), opened, tallies, groups })
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|word| !word.is_empty())
}

/// `<group>:<percent>,…`
pub(in crate::store) fn read_passed(fields: &mut Fields) -> Result<Vec<Passed>, StoreError> {
    let text = fields.text()?;
    let passed = words(&text).map(|word| {
        let (group, percent) = word.split_once(':')?;
        Some(Passed { group: GroupId::parse(group).ok()?, percent: percent.parse().ok()? })
    });
    passed.collect::<Option<_>>().ok_or_else(|| fields.unexpected("a threshold"))
}

/// `<id> <amount> <limit> <quota|-> <window>,…`, at the end of an answer that is kept; nothing otherwise.
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
        let (window, quota) = read_window(words.next()?)?;
        Some(OwnedGroup { id, amount, limit, window, quota, watch: None })
    };
    let groups = text.split(',').filter(|group| !group.is_empty());
    groups.map(|group| parse(group).ok_or_else(|| fields.unexpected("a group of a kept answer"))).collect()
}

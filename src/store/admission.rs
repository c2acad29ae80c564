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
use crate::domain::limit_group::{Enforcement, LimitGroup};
use crate::domain::subscription::{Subscribed, Subscription};
use crate::domain::window::{TimeMs, Window, WindowKind, parse_rfc3339};

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
pub struct Asked {
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
    pub(super) fn write(&self, ledger_entries: u64, arguments: &mut Arguments) {
        let flag = u8::from;
        let of_app = format!("{} {} {} {ledger_entries}", flag(self.sandbox), self.revision, flag(self.tells_expiry));
        arguments.text(of_app).text(self.version).int(self.validity.from_ms).int(self.validity.until_ms);
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

/// A window as scripts know it: `<kind> <start> <end> <quota|->`.
pub(super) fn window_text(window: &Window, quota: Option<Amount>) -> String {
    use std::fmt::Write as _;
    let mut text = window.to_text();
    // Writing to a String cannot fail.
    let _ = match quota {
        Some(quota) => write!(text, " {}", quota.steps()),
        None => write!(text, " -"),
    };
    text
}

/// Reads what [`window_text`] wrote, with more words behind it or not.
pub(super) fn read_window(text: &str) -> Option<(Window, Option<Amount>)> {
    let mut words = text.splitn(5, ' ');
    let bounds = [words.next()?, words.next()?, words.next()?].join(" ");
    let quota = match words.next()? {
        "-" => None,
        steps => Some(Amount::from_steps(steps.parse().ok()?).ok()?),
    };
    Some((Window::parse(&bounds)?, quota))
}

/// What is the same in every call under one plan, for the script to know by its text: see `lua/lib/terms.lua`.
fn terms(groups: &[OwnedGroup]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(40 * groups.len());
    for group in groups {
        let watch = group.watch.as_ref();
        let flags = [
            (group.window.kind == WindowKind::Concurrent, 'c'),
            (watch.is_some_and(|watch| watch.approval), 'a'),
            (watch.is_some_and(|watch| watch.tells_limit), 'l'),
        ];
        // Writing to a String cannot fail.
        let _ = write!(text, "{} {} ", group.id.as_str(), group.limit.steps());
        let _ = match group.quota {
            Some(quota) => write!(text, "{} -", quota.steps()),
            None => write!(text, "- -"),
        };
        text.extend(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| letter));
        match watch {
            Some(watch) if !watch.alerts.is_empty() => {
                for (place, percent) in watch.alerts.iter().enumerate() {
                    let _ = write!(text, "{}{percent}", if place == 0 { ' ' } else { ',' });
                }
            }
            _ => text.push_str(" -"),
        }
        text.push(';');
    }
    text
}

pub(super) fn write_owners(owners: &[Owner], arguments: &mut Arguments) {
    arguments.int(owners.len());
    for owner in owners {
        match (&owner.renew, &owner.keys.index) {
            (Some(renew), Some(index)) => {
                arguments.text(renew.at_ms.map_or_else(|| "never".to_owned(), |at_ms| at_ms.to_string()));
                arguments.text(index.name.as_str()).int(renew.most);
            }
            _ => {
                arguments.text("-");
            }
        }
        arguments.text(terms(&owner.groups));
        for group in &owner.groups {
            arguments.text(window_text(&group.window, group.quota)).int(group.amount.steps());
        }
    }
}

pub(super) fn push_owner_keys(owners: &[Owner], keys: &mut Vec<String>) {
    for owner in owners {
        keys.extend([owner.keys.counters.clone(), owner.keys.holds.clone(), owner.keys.past.clone()]);
        if let (Some(_), Some(index)) = (&owner.renew, &owner.keys.index) {
            keys.push(index.key.clone());
        }
    }
}

pub(super) fn write_asked(asked: Option<&Asked>, bucket: &Bucket, keys: &mut Vec<String>, arguments: &mut Arguments) {
    match asked {
        None => arguments.text("-").text(""),
        Some(asked) => {
            keys.extend([bucket.approvals(), bucket.open_approvals()]);
            arguments.text(asked.id.as_str()).text(asked.about.as_str())
        }
    };
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
        "stale_stamp" => Stale::Stamp,
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
    let opened = fields.text()?;
    let opened = words(&opened).map(|word| {
        let mut parts = word.splitn(3, ':');
        let group = GroupId::parse(parts.next()?).ok()?;
        Some(Opened { group, id: parts.next()?.to_owned(), status: parts.next()?.to_owned() })
    });
    let opened = opened.collect::<Option<_>>().ok_or_else(|| fields.unexpected("an approval request"))?;
    let count = fields.int()?;
    let tallies = (0..count).map(|_| Ok((Tally::read(fields)?, fields.flag()?))).collect::<Result<_, StoreError>>()?;
    let groups = read_groups(fields)?;
    Ok(Denied { verdict, free_at_ms: (free_at > 0).then_some(free_at), opened, tallies, groups })
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|word| !word.is_empty())
}

/// `<group>:<percent>,…`
pub(super) fn read_passed(fields: &mut Fields) -> Result<Vec<Passed>, StoreError> {
    let text = fields.text()?;
    let passed = words(&text).map(|word| {
        let (group, percent) = word.split_once(':')?;
        Some(Passed { group: GroupId::parse(group).ok()?, percent: percent.parse().ok()? })
    });
    passed.collect::<Option<_>>().ok_or_else(|| fields.unexpected("a threshold"))
}

/// `<id> <amount> <limit> <window> <quota>,…`, at the end of an answer that is kept; nothing otherwise.
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
        let (window, quota) = read_window(words.next()?)?;
        Some(OwnedGroup { id, amount, limit, window, quota, watch: None })
    };
    let groups = text.split(',').filter(|group| !group.is_empty());
    groups.map(|group| parse(group).ok_or_else(|| fields.unexpected("a group of a kept answer"))).collect()
}

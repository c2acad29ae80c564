//! The entries of the ledger: each change of `used` with the balance after it, expiries, outcomes, and denials.

use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::reason::Reason;
use crate::domain::metering::reservation::{Actual, Item, OperationName, RequestSnapshot};
use crate::domain::metering::rollover::EndingWindow;
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::time::window::{TimeMs, Window};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{EventName, GroupId, KeyId, UserId};
use crate::domain::values::metadata::Metadata;

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A final commit.
    Commit,
    /// A commit with `final:false`.
    Draw,
    Release,
    Track,
    /// A charge is refunded.
    Refund,
    /// A window was reset by an operator or by a plan change.
    Reset,
    /// Unused quota of a window became extra quota of the next one.
    Rollover,
    /// A hold expired.
    Expire,
    /// The outcome of a result, recorded after the commit.
    Outcome,
    /// A credit was added to a balance.
    Credit,
    /// What remained of a credit when it expired, or came back to it later.
    Lapse,
    /// What was removed of a credit, or came back to it later.
    Void,
    /// A denied call, which changed nothing; or a call that groups with the enforcement `observe` would have denied.
    Denial,
}

impl EntryKind {
    pub const ALL: [Self; 13] = [
        Self::Commit,
        Self::Draw,
        Self::Release,
        Self::Track,
        Self::Refund,
        Self::Reset,
        Self::Rollover,
        Self::Expire,
        Self::Outcome,
        Self::Credit,
        Self::Lapse,
        Self::Void,
        Self::Denial,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Draw => "draw",
            Self::Release => "release",
            Self::Track => "track",
            Self::Refund => "refund",
            Self::Reset => "reset",
            Self::Rollover => "rollover",
            Self::Expire => "expire",
            Self::Outcome => "outcome",
            Self::Credit => "credit",
            Self::Lapse => "lapse",
            Self::Void => "void",
            Self::Denial => "denial",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether the entry is about a credit and no call: its charges are not usage.
    pub const fn is_of_credits(self) -> bool {
        matches!(self, Self::Credit | Self::Lapse | Self::Void)
    }
}

/// How useful a result was to the end user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Accepted,
    Rejected,
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }
}

/// What a call brings in addition to the request that it settles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EntryDetails {
    /// Actual figures, one per item; empty if the reserved figures apply.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actual: Vec<Actual>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The outcome that was recorded before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// A reserve that was allowed while Redis was unavailable, and counted later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
}

impl EntryDetails {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A counter's change, in steps of its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub owner: OwnerName,
    pub group: GroupId,
    /// The limit group whose quota was exceeded, if the group is the balance that took over.
    pub from: Option<GroupId>,
    /// Sequence number of the counter's window; of a balance `b` and the number of the credit, with what the entry is
    /// about: `b2`, `b2.credited`, `b2.lapsed`, `b2.voided`.
    pub window_seq: Arc<str>,
    /// Negative for a refund; 0 if the group matched and was charged nothing.
    pub change: i64,
    /// `used` after the change.
    pub balance: Amount,
    /// Quota, grants and rolled quota at that time; None without a limit, or if it is unknown.
    pub limit: Option<Amount>,
    /// The window, if at least three quarters of the limit were used.
    pub window: Option<Window>,
    /// The charge went to a closed window, so the counter's present window did not change.
    pub closed: bool,
    /// The window begins, and something was rolled over into it.
    pub rolled: Option<Box<Rolled>>,
}

/// What was rolled over into a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rolled {
    pub amount: Amount,
    /// What it was computed from; None if it was kept from the same window before a reset.
    pub from: Option<RolledFrom>,
}

/// The window that ended, as the call found it that began the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledFrom {
    /// Sequence number of the window; None if there was no call in it, so that it has none.
    pub window_seq: Option<String>,
    pub ending: EndingWindow,
    /// The maximum of the group.
    pub max: Amount,
}

/// The call that was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeniedCall {
    Reserve,
    /// With `enforce`.
    Track,
    /// An extend with a quantity.
    Extend,
}

impl DeniedCall {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "reserve" => Some(Self::Reserve),
            "track" => Some(Self::Track),
            "extend" => Some(Self::Extend),
            _ => None,
        }
    }
}

/// A counter whose limit denied the call, or would have denied it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenyingCounter {
    pub owner: OwnerName,
    pub group: GroupId,
    pub requested: Amount,
    /// `used + held` at that time.
    pub count: Amount,
    /// The limit at that time: quota, grants and rolled quota, minus blocked amounts.
    pub limit: Amount,
    /// `used`, and the window, if at least three quarters of the limit were used.
    pub used: Option<(Amount, Window)>,
    /// The group only observes, so its limit denied nothing.
    pub observed: bool,
}

/// The amounts that an expired reservation held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub group: GroupId,
    pub window_seq: String,
    pub amount: Amount,
}

/// An entry of the ledger, or of the stream of denials.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub kind: EntryKind,
    /// When it happened: Redis time, or the test clock. For an expiry, when the hold ended.
    pub at_ms: TimeMs,
    /// The charge came after the reservation had expired.
    pub late: bool,
    /// Name of the reservation or tracked event; None for a denial or a reset.
    pub operation: Option<OperationName>,
    /// When the reservation was made.
    pub created_at_ms: Option<TimeMs>,
    pub user: Option<UserId>,
    /// The first event of the request.
    pub event: Option<EventName>,
    pub key: Option<KeyId>,
    pub charges: Vec<Charge>,
    /// The request as it was made; for a draw with the running sums after it.
    pub snapshot: Option<RequestSnapshot>,
    pub details: EntryDetails,
    /// For a denial.
    pub call: Option<DeniedCall>,
    /// For a denial.
    pub reason: Option<Reason>,
    /// For a denial: the call was allowed, since the groups that would have denied it only observe.
    pub observed: bool,
    pub denying: Vec<DenyingCounter>,
    /// For an expiry: holds of the reservation's first owner.
    pub held: Vec<Held>,
}

/// One item of an entry, for reports and exports.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryItem {
    pub event: EventName,
    pub quantity: Option<Decimal>,
    /// The request's metadata, overridden by the actual figures.
    pub metadata: Metadata,
    /// The numbers that this entry adds; a draw has only its own.
    pub figures: Metadata,
}

impl Entry {
    /// The items of the request with what this entry adds to them; none if the request is not known.
    pub fn entry_items(&self) -> impl Iterator<Item = EntryItem> {
        let items: &[Item] = self.snapshot.as_ref().map_or(&[], |snapshot| &snapshot.items);
        let nothing = Actual::default();
        items.iter().enumerate().map(move |(place, item)| {
            let actual = self.details.actual.get(place).unwrap_or(&nothing);
            let metadata = item.metadata.clone().merged(&actual.metadata);
            // After draws, every entry has increments. The figures of a reservation's refund are the refunded amounts.
            let refund = self.kind == EntryKind::Refund && !self.details.actual.is_empty();
            let increments = item.drawn.is_some() || refund;
            let (quantity, figures) = match increments {
                true => (actual.quantity.map(|quantity| quantity.0), actual.metadata.clone()),
                false => (Some(actual.quantity.unwrap_or(item.quantity).0), metadata.clone()),
            };
            EntryItem { event: item.event.clone(), quantity, metadata, figures }
        })
    }

    /// The metadata of the first item, overridden by the actual figures.
    pub fn metadata(&self) -> Metadata {
        self.entry_items().next().map(|entry_items| entry_items.metadata).unwrap_or_default()
    }
}

/// An entry with its ID in the stream. The ID has Redis time even if a test clock is frozen.
#[derive(Clone, Debug)]
pub struct StoredEntry {
    pub id: EntryId,
    pub entry: Entry,
}

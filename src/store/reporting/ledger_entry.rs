//! Parses an entry of the ledger or of the denials.

use std::borrow::Cow;

use super::ledger_items::{Names, known, read_charge, read_denying_counter, read_held, stated};
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::reason::Reason;
use crate::domain::metering::reservation::{OperationName, RequestSnapshot};
use crate::domain::reporting::ledger::{Charge, DeniedCall, DenyingCounter, Entry, EntryKind};
use crate::domain::values::digits::read_number;
use crate::domain::values::ids::{EventName, KeyId, UserId};
use crate::store::encoding::decoded;
use crate::store::keys::Bucket;
use crate::store::metering::request_snapshot::snapshot_of;
use crate::store::parts::{Parsed, Parts, cut_long};

/// The readable part of an unreadable entry: its charges, if any.
pub(super) type Damaged = Option<Vec<Charge>>;

/// What is readable of an unreadable entry.
pub(super) fn charges_alone(bucket: &Bucket, fields: &[(&str, &str)]) -> Damaged {
    let field = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    let charges = match field("entry") {
        Some(entry) if ["expire", "denial", "observed"].contains(&entry.split(' ').next()?) => None,
        Some(entry) => entry.split('\n').nth(1),
        None => field("charges"),
    };
    read_charges(bucket, charges?)
}

/// Reads the entries of a page. Most of them have the event, key, groups and snapshot of others, which are parsed once.
#[derive(Default)]
pub(super) struct EntryReader<'a> {
    events: Parsed<&'a str, Option<EventName>>,
    keys: Parsed<&'a str, Option<KeyId>>,
    names: Names<'a>,
    /// By the text and the event; of any user.
    snapshots: Parsed<(&'a str, &'a str), RequestSnapshot>,
}

/// A name `-`, encoded. Calls have an event and a user, so that there `-` is a name; elsewhere it stands for an unknown one.
const DASH: &str = "%2D";

/// A name of an entry's head; None if it is unknown.
fn name(word: &str) -> Option<Cow<'_, str>> {
    if word == "-" { None } else { decoded(word) }
}

impl<'a> EntryReader<'a> {
    /// None for a damaged entry.
    pub(super) fn read(&mut self, bucket: &Bucket, fields: &[(&'a str, &'a str)]) -> Option<Entry> {
        let field = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        let parts = match field("entry") {
            Some(entry) => EntryParts::parse(entry)?,
            None => EntryParts::of_layout_6(&field)?,
        };
        let head = parts.head;
        let is_call = parts.snapshot.is_some() || parts.held.is_some();
        let [event, key, user] = head.label;
        let [event, user] = [event, user].map(|word| if is_call && word == "-" { DASH } else { word });
        let event = self.events.get(event, |word| known(name(word).as_deref(), |it| EventName::parse(it).ok()))?;
        let key = self.keys.get(key, |word| known(name(word).as_deref(), |it| KeyId::parse(it).ok()))?;
        let user = known(name(user).as_deref(), |user| UserId::parse(user).ok())?;
        let snapshot = known(parts.snapshot, |text| {
            let (event, user) = (event.as_ref()?, user.as_ref()?);
            let known = (text, head.label[0]);
            let snapshot = self.snapshots.get(known, |_| snapshot_of(Some(event), user.clone(), text))?;
            Some(RequestSnapshot { user: user.clone(), ..snapshot })
        })?;
        let names = &mut self.names;
        let charges = lists(bucket, parts.charges, |of, item| read_charge(of, item, names))?;
        let mut denying = lists(bucket, parts.denying, |of, item| read_denying_counter(of, item, names))?;
        let observing = lists(bucket, parts.observed, |of, item| read_denying_counter(of, item, names))?;
        denying.extend(observing.into_iter().map(|counter| DenyingCounter { observed: true, ..counter }));
        let held = known(parts.held, |held| held.split(',').map(read_held).collect::<Option<Vec<_>>>())?;
        let observed = head.kind == "observed";
        Some(Entry {
            kind: EntryKind::parse(if observed { "denial" } else { head.kind })?,
            at_ms: read_number(head.at)?,
            late: head.late,
            operation: known(head.operation, OperationName::parse)?,
            created_at_ms: known(head.created, read_number)?,
            snapshot,
            user,
            event,
            key,
            charges,
            details: known(parts.details, |details| serde_json::from_str(details).ok())?.unwrap_or_default(),
            call: known(head.call, DeniedCall::parse)?,
            reason: known(head.reason, Reason::parse)?,
            observed,
            denying,
            held: held.unwrap_or_default(),
        })
    }
}

/// The lines of an entry.
struct EntryParts<'a> {
    head: EntryHead<'a>,
    charges: Option<&'a str>,
    held: Option<&'a str>,
    denying: Option<&'a str>,
    observed: Option<&'a str>,
    snapshot: Option<&'a str>,
    details: Option<&'a str>,
}

impl<'a> EntryParts<'a> {
    fn parse(entry: &'a str) -> Option<Self> {
        let mut rest = entry;
        let mut line = || {
            let (line, others) = cut_long(rest, b'\n').unwrap_or((rest, ""));
            rest = others;
            stated(Some(line))
        };
        let (head, list, snapshot) = (EntryHead::parse(line()?)?, line(), line());
        let details = stated(Some(rest));
        let none = Self { head, charges: None, held: None, denying: None, observed: None, snapshot, details };
        Some(match none.head.kind {
            "denial" | "observed" => Self { denying: list, observed: details, details: None, ..none },
            "expire" => Self { held: list, ..none },
            _ => Self { charges: list, ..none },
        })
    }

    /// Layout 6 has a separate field for each part.
    fn of_layout_6(field: &impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let [charges, held, denying, snapshot, details] =
            ["charges", "held", "lacks", "memo", "told"].map(|name| stated(field(name)));
        Some(Self { head: EntryHead::of_layout_6(field)?, charges, held, denying, observed: None, snapshot, details })
    }
}

/// The head of an entry; `-` where a value is unknown.
struct EntryHead<'a> {
    kind: &'a str,
    at: &'a str,
    late: bool,
    operation: Option<&'a str>,
    created: Option<&'a str>,
    /// Event, key and user.
    label: [&'a str; 3],
    call: Option<&'a str>,
    reason: Option<&'a str>,
}

impl<'a> EntryHead<'a> {
    /// `<type> <at> <late> <operation> <created> <event> <key> <user>`, or
    /// `denial <at> <call> <event> <key> <user> <reason>`; with `observed` instead of `denial` if the call was allowed.
    fn parse(entry: &'a str) -> Option<Self> {
        let mut parts = Parts::of(entry, b' ');
        // One more than there are, so that none follows.
        let words: [Option<&str>; 9] = std::array::from_fn(|_| parts.next());
        let [Some(kind), Some(at), words @ ..] = words else { return None };
        match words {
            [Some(call), Some(event), Some(key), Some(user), Some(reason), None, _]
                if matches!(kind, "denial" | "observed") =>
            {
                Some(Self {
                    kind,
                    at,
                    late: false,
                    operation: None,
                    created: None,
                    label: [event, key, user],
                    call: Some(call),
                    reason: Some(reason),
                })
            }
            [Some(late), Some(operation), Some(created), Some(event), Some(key), Some(user), None] => Some(Self {
                kind,
                at,
                late: late == "1",
                operation: stated(Some(operation)),
                created: stated(Some(created)),
                label: [event, key, user],
                call: None,
                reason: None,
            }),
            _ => None,
        }
    }

    /// From the fields of layout 6.
    fn of_layout_6(field: &impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let (operation, created) = field("op").and_then(|op| op.split_once(' ')).unzip();
        let mut label = stated(field("about")).unwrap_or("- - -").split(' ');
        Some(Self {
            kind: field("type")?,
            at: field("at")?,
            late: field("late") == Some("1"),
            operation: stated(operation),
            created: stated(created),
            label: [label.next()?, label.next()?, label.next()?],
            call: stated(field("call")),
            reason: stated(field("reason")),
        })
    }
}

/// Parses the field with an entry's charges.
pub(super) fn read_charges(bucket: &Bucket, text: &str) -> Option<Vec<Charge>> {
    let mut names = Names::default();
    lists(bucket, Some(text).filter(|text| *text != "-"), |owner, item| read_charge(owner, item, &mut names))
}

/// `<owner> <item>,<item>… <owner> …`
fn lists<'a, T>(
    bucket: &Bucket,
    text: Option<&'a str>,
    mut read: impl FnMut(&OwnerName, &'a str) -> Option<T>,
) -> Option<Vec<T>> {
    let mut found = Vec::new();
    let mut words = Parts::of(text.unwrap_or(""), b' ').filter(|word| !word.is_empty());
    while let Some(owner) = words.next() {
        let owner = bucket.owner_word(owner)?;
        for item in Parts::of(words.next()?, b',') {
            found.push(read(&owner, item)?);
        }
    }
    Some(found)
}

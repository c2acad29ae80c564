//! Reads the ledger and the denials, two streams per bucket that scripts write (`lua/lib/ledger.lua`).

use std::collections::HashMap;

use redis::Value;

use super::ledger_items::{decoded, known, read_charge, read_denying_counter, read_held, stated};
use super::stream::Stream;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::reason::Reason;
use crate::domain::metering::reservation::{OperationName, RequestSnapshot};
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::reporting::ledger::{
    Charge, DeniedCall, DenyingCounter, Entry, EntryDetails, EntryKind, StoredEntry,
};
use crate::domain::time::window::TimeMs;
use crate::domain::values::ids::{EventName, KeyId, UserId};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::metering::request_snapshot::{parse_snapshot, snapshot_of};

/// Entries in the requested order. Unreadable entries, which were changed manually or by a fault, are listed
/// separately, so that they do not block readers.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub entries: Vec<StoredEntry>,
    pub damaged: Vec<DamagedEntry>,
    /// The first of all entries, readable or not.
    pub first: Option<EntryId>,
    pub last: Option<EntryId>,
    /// The size of the names and values of all entries.
    pub bytes: usize,
}

/// An unreadable entry.
#[derive(Clone, Debug)]
pub struct DamagedEntry {
    pub id: EntryId,
    /// Its charges, if these can be read.
    pub charges: Option<Vec<Charge>>,
}

/// The maximum number of entries that one command drops.
const MOST_TRIMMED: usize = 10_000;
/// The approximate number of bytes that one read of a scan returns.
const PAGE_BYTES: usize = 128 * 1024;
/// The maximum number of entries per read of a scan; the page size depends on their size.
pub const MOST_PER_PAGE: usize = 200;
const LEAST_PER_PAGE: usize = 8;

impl Page {
    /// How many entries the next page may have, so that no read blocks Redis for long.
    pub fn next_count(&self) -> usize {
        match self.bytes / self.count().max(1) {
            0 => MOST_PER_PAGE,
            bytes => (PAGE_BYTES / bytes).clamp(LEAST_PER_PAGE, MOST_PER_PAGE),
        }
    }

    /// The number of entries, readable or not.
    pub fn count(&self) -> usize {
        self.entries.len() + self.damaged.len()
    }
}

/// The bounds of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    pub length: u64,
    pub first: Option<EntryId>,
    /// The last ID that was used; `0-0` before the first.
    pub last: EntryId,
    /// The number of entries that were ever added.
    pub added: u64,
    /// Nothing was ever trimmed.
    pub whole: bool,
}

fn unexpected(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unexpected(format!("ledger: {error}"))
}

/// JSON, or an empty text if there is nothing to store.
pub(in crate::store) fn details_text(details: &EntryDetails) -> Result<String, StoreError> {
    if details.is_empty() {
        return Ok(String::new());
    }
    serde_json::to_string(details).map_err(unexpected)
}

impl Store {
    /// At most `count` entries, oldest first, after `after` (None: from the oldest) up to and including `until` (None:
    /// to the newest).
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn entries_after(
        &self,
        bucket: &Bucket,
        stream: Stream,
        after: Option<EntryId>,
        until: Option<EntryId>,
        count: usize,
    ) -> Result<Page, StoreError> {
        let mut command = redis::cmd("XRANGE");
        command.arg(bucket.stream(stream));
        command.arg(after.map_or_else(|| "-".to_owned(), |id| format!("({}", id.text())));
        command.arg(until.map_or_else(|| "+".to_owned(), EntryId::text)).arg("COUNT").arg(count);
        read_entries(bucket, self.page(&command).await?)
    }

    /// Whether any stream of a bucket has later entries than these, in the order of [`Stream::ALL`].
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn has_entries_after(&self, bucket: &Bucket, after: [EntryId; 2]) -> Result<bool, StoreError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(1).arg("STREAMS").arg(&Stream::ALL.map(|stream| bucket.stream(stream)));
        command.arg(&after.map(EntryId::text));
        Ok(self.command(&command).await? != Value::Nil)
    }

    /// Whether any of these keys of one bucket exists.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn any_exists(&self, names: &[String]) -> Result<bool, StoreError> {
        let mut command = redis::cmd("EXISTS");
        command.arg(names);
        let found: u64 = redis::from_redis_value(self.command(&command).await?).map_err(unexpected)?;
        Ok(found > 0)
    }

    /// At most `count` entries, newest first, before `before` (None: from the newest).
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn entries_before(
        &self,
        bucket: &Bucket,
        stream: Stream,
        before: Option<EntryId>,
        count: usize,
    ) -> Result<Page, StoreError> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(bucket.stream(stream)).arg(before.map_or_else(|| "+".to_owned(), |id| format!("({}", id.text())));
        command.arg("-").arg("COUNT").arg(count);
        read_entries(bucket, self.page(&command).await?)
    }

    /// Real time in milliseconds on the bucket's server: no entry that is appended later has a smaller ID.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn stream_time_ms(&self, bucket: &Bucket) -> Result<u64, StoreError> {
        let value = self.command_at(&bucket.ledger(), &redis::cmd("TIME")).await?;
        let (seconds, micros): (u64, u64) = redis::from_redis_value(value).map_err(unexpected)?;
        Ok(seconds * 1_000 + micros / 1_000)
    }

    /// # Errors
    /// [`StoreError`]
    pub async fn stream_info(&self, bucket: &Bucket, stream: Stream) -> Result<StreamInfo, StoreError> {
        let mut command = redis::cmd("XINFO");
        command.arg("STREAM").arg(bucket.stream(stream));
        let last = EntryId { time_ms: 0, number: 0 };
        let nothing = StreamInfo { length: 0, first: None, last, added: 0, whole: true };
        let value = match self.command(&command).await {
            Err(StoreError::Unexpected(what) | StoreError::Unavailable(what)) if what.contains("no such key") => {
                return Ok(nothing);
            }
            other => other?,
        };
        let fields: HashMap<String, Value> = redis::from_redis_value(value).map_err(unexpected)?;
        let number = |name: &str| match fields.get(name) {
            Some(Value::Int(number)) => u64::try_from(*number).map_err(unexpected),
            _ => Err(unexpected(name)),
        };
        let last = match fields.get("last-generated-id") {
            Some(Value::BulkString(id)) => EntryId::parse(&String::from_utf8_lossy(id)),
            Some(Value::SimpleString(id)) => EntryId::parse(id),
            _ => None,
        };
        let first = match fields.get("first-entry") {
            Some(Value::Array(entry)) => match entry.first() {
                Some(Value::BulkString(id)) => EntryId::parse(&String::from_utf8_lossy(id)),
                _ => None,
            },
            _ => None,
        };
        let length = number("length")?;
        let added = number("entries-added")?;
        let last = last.ok_or_else(|| unexpected("last-generated-id"))?;
        Ok(StreamInfo { length, first, last, added, whole: added == length })
    }

    /// Memory in bytes that a key uses in Redis; 0 if it does not exist.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn memory_usage(&self, key: &str) -> Result<u64, StoreError> {
        let mut command = redis::cmd("MEMORY");
        // Includes all nodes of the stream, since entries may differ in size over time.
        command.arg("USAGE").arg(key).arg("SAMPLES").arg(0);
        let bytes: Option<u64> = redis::from_redis_value(self.command(&command).await?).map_err(unexpected)?;
        Ok(bytes.unwrap_or(0))
    }

    /// The number of entries of a stream, and the mean size of its oldest ones as text.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn oldest_entries(&self, key: &str, count: usize) -> Result<(u64, u64), StoreError> {
        let length = redis::from_redis_value(self.command(redis::cmd("XLEN").arg(key)).await?).map_err(unexpected)?;
        let mut command = redis::cmd("XRANGE");
        command.arg(key).arg("-").arg("+").arg("COUNT").arg(count);
        let Value::Array(entries) = self.page(&command).await? else { return Err(unexpected("no list of entries")) };
        let bytes: usize = entries.iter().map(bytes_of).sum();
        Ok((length, (bytes / entries.len().max(1)) as u64))
    }

    /// Drops the oldest entries so that about `keep` are left. Returns the number of dropped entries.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn trim_to(&self, key: &str, keep: u64) -> Result<u64, StoreError> {
        let mut command = redis::cmd("XTRIM");
        // Limited per step, so that other calls do not wait long.
        command.arg(key).arg("MAXLEN").arg("~").arg(keep).arg("LIMIT").arg(MOST_TRIMMED);
        redis::from_redis_value(self.command(&command).await?).map_err(unexpected)
    }

    /// Drops whole nodes of entries older than `before_ms` (real time).
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn trim(&self, bucket: &Bucket, stream: Stream, before_ms: TimeMs) -> Result<(), StoreError> {
        let mut command = redis::cmd("XTRIM");
        command.arg(bucket.stream(stream)).arg("MINID").arg("~").arg(before_ms.max(0));
        self.command(&command).await.map(|_| ())
    }
}

/// Parses the reply without copying its texts, since a report or a replay reads millions of entries.
pub(in crate::store) fn read_entries(bucket: &Bucket, value: Value) -> Result<Page, StoreError> {
    let Value::Array(entries) = value else { return Err(unexpected("no list of entries")) };
    let mut page = Page { entries: Vec::with_capacity(entries.len()), ..Page::default() };
    let mut snapshots = Snapshots::default();
    for stored in &entries {
        let (id, entry) = read_stored(bucket, stored, &mut snapshots)?;
        page.bytes += bytes_of(stored);
        page.first = page.first.or(Some(id));
        page.last = Some(id);
        match entry {
            Ok(entry) => page.entries.push(StoredEntry { id, entry }),
            Err(charges) => page.damaged.push(DamagedEntry { id, charges }),
        }
    }
    Ok(page)
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// The readable part of an unreadable entry: its charges, if any.
type Damaged = Option<Vec<Charge>>;

fn bytes_of(stored: &Value) -> usize {
    match stored {
        Value::BulkString(bytes) => bytes.len(),
        Value::Array(parts) => parts.iter().map(bytes_of).sum(),
        _ => 0,
    }
}

/// The snapshot that was parsed last. Calls of one plan and event without metadata all have the same text.
#[derive(Default)]
struct Snapshots<'a> {
    last: Option<(EventName, &'a str, RequestSnapshot)>,
}

impl<'a> Snapshots<'a> {
    fn parse(&mut self, event: &EventName, user: &UserId, text: &'a str) -> Option<RequestSnapshot> {
        let user = user.clone();
        if let Some((of_event, of_text, known)) = &self.last
            && (of_event, *of_text) == (event, text)
        {
            return Some(RequestSnapshot { user, ..known.clone() });
        }
        let snapshot = snapshot_of(Some(event), user, text)?;
        if snapshot.items.iter().all(|item| item.metadata.is_empty()) {
            self.last = Some((event.clone(), text, snapshot.clone()));
        }
        Some(snapshot)
    }
}

/// `[id, [name, value, …]]`
fn read_stored<'a>(
    bucket: &Bucket,
    stored: &'a Value,
    snapshots: &mut Snapshots<'a>,
) -> Result<(EntryId, Result<Entry, Damaged>), StoreError> {
    let Value::Array(parts) = stored else { return Err(unexpected("an entry without parts")) };
    let [id, Value::Array(fields)] = parts.as_slice() else { return Err(unexpected("an entry without fields")) };
    let name = text(id).unwrap_or_default();
    let id = EntryId::parse(name).ok_or_else(|| unexpected(format!("id {name}")))?;
    let pairs = fields.chunks_exact(2).filter_map(|pair| Some((text(&pair[0])?, text(&pair[1])?)));
    let known: Vec<(&str, &str)> = pairs.collect();
    // Texts that are not UTF-8 count as damage too.
    let entry = (2 * known.len() == fields.len()).then(|| read_entry(bucket, &known, snapshots)).flatten();
    Ok((id, entry.ok_or_else(|| charges_alone(bucket, &known))))
}

fn charges_alone(bucket: &Bucket, fields: &[(&str, &str)]) -> Damaged {
    let field = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    let charges = match field("entry") {
        Some(entry) if ["expire", "denial", "observed"].contains(&entry.split(' ').next()?) => None,
        Some(entry) => entry.split('\n').nth(1),
        None => field("charges"),
    };
    read_charges(bucket, charges?)
}

fn read_entry<'a>(bucket: &Bucket, fields: &[(&'a str, &'a str)], snapshots: &mut Snapshots<'a>) -> Option<Entry> {
    let field = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    let parts = match field("entry") {
        Some(entry) => EntryParts::parse(entry)?,
        None => EntryParts::of_layout_6(&field)?,
    };
    let head = parts.head;
    let [event, key, user] = head.label.map(|word| (word != "-").then(|| decoded(word)));
    let user = known(user.flatten().as_deref(), |user| UserId::parse(user).ok())?;
    let event = known(event.flatten().as_deref(), |event| EventName::parse(event).ok())?;
    let snapshot = |text| match (&event, &user) {
        (Some(event), Some(user)) => snapshots.parse(event, user, text),
        _ => parse_snapshot(head.label[0], head.label[2], text),
    };
    let observed = head.kind == "observed";
    let marked =
        |of: &OwnerName, item: &str| Some(DenyingCounter { observed: true, ..read_denying_counter(of, item)? });
    Some(Entry {
        kind: EntryKind::parse(if observed { "denial" } else { head.kind })?,
        at_ms: head.at.parse().ok()?,
        late: head.late,
        operation: known(head.operation, OperationName::parse)?,
        created_at_ms: known(head.created, |created| created.parse().ok())?,
        snapshot: known(parts.snapshot, snapshot)?,
        user,
        event,
        key: known(key.flatten().as_deref(), |key| KeyId::parse(key).ok())?,
        charges: lists(bucket, parts.charges, read_charge)?,
        details: known(parts.details, |details| serde_json::from_str(details).ok())?.unwrap_or_default(),
        call: known(head.call, DeniedCall::parse)?,
        reason: known(head.reason, Reason::parse)?,
        observed,
        denying: [lists(bucket, parts.denying, read_denying_counter)?, lists(bucket, parts.observed, marked)?].concat(),
        held: known(parts.held, |held| held.split(',').map(read_held).collect::<Option<Vec<_>>>())?.unwrap_or_default(),
    })
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
        let mut lines = entry.splitn(4, '\n').map(|line| stated(Some(line)));
        let head = EntryHead::parse(lines.next()??)?;
        let (list, snapshot, details) = (lines.next().flatten(), lines.next().flatten(), lines.next().flatten());
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
        let mut words = Vec::with_capacity(8);
        words.extend(entry.split(' '));
        match *words.as_slice() {
            [kind @ ("denial" | "observed"), at, call, event, key, user, reason] => Some(Self {
                kind,
                at,
                late: false,
                operation: None,
                created: None,
                label: [event, key, user],
                call: Some(call),
                reason: Some(reason),
            }),
            [kind, at, late, operation, created, event, key, user] => Some(Self {
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
pub(in crate::store) fn read_charges(bucket: &Bucket, text: &str) -> Option<Vec<Charge>> {
    lists(bucket, Some(text).filter(|text| *text != "-"), read_charge)
}

/// `<owner> <item>,<item>… <owner> …`
fn lists<T>(bucket: &Bucket, text: Option<&str>, read: impl Fn(&OwnerName, &str) -> Option<T>) -> Option<Vec<T>> {
    let mut found = Vec::new();
    let mut words = text.unwrap_or("").split(' ').filter(|word| !word.is_empty());
    while let Some(owner) = words.next() {
        let owner = bucket.owner_word(owner)?;
        for item in words.next()?.split(',') {
            found.push(read(&owner, item)?);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_was_parsed_before_is_that_of_its_own_user_and_event() {
        let (plain, labelled) = (r#"{"plan":"p","items":[{}]}"#, r#"{"items":[{"metadata":{"model":"m"}}]}"#);
        let mut snapshots = Snapshots::default();
        for (event, user, text) in
            [("a", "u", plain), ("a", "v", plain), ("b", "v", plain), ("b", "v", labelled), ("b", "u", plain)]
        {
            let (event_name, user_id) = (EventName::parse(event).unwrap(), UserId::parse(user).unwrap());
            let snapshot = snapshots.parse(&event_name, &user_id, text).unwrap();
            assert_eq!(Some(snapshot), parse_snapshot(event, user, text), "{event} {user} {text}");
        }
    }
}

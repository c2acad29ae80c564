//! Reads the ledger and the denials, two streams per bucket that scripts write (`lua/lib/ledger.lua`).

use std::collections::HashMap;

use redis::Value;

use super::ledger_entry::{EntryReader, charges_alone};
use super::stream::Stream;
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::reporting::ledger::{Charge, EntryDetails, StoredEntry};
use crate::domain::time::window::TimeMs;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;

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
    let mut reader = EntryReader::default();
    for stored in &entries {
        read_stored(bucket, stored, &mut reader, &mut page)?;
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

fn bytes_of(stored: &Value) -> usize {
    match stored {
        Value::BulkString(bytes) => bytes.len(),
        Value::Array(parts) => parts.iter().map(bytes_of).sum(),
        _ => 0,
    }
}

/// `[id, [name, value, …]]`
fn read_stored<'a>(
    bucket: &Bucket,
    stored: &'a Value,
    reader: &mut EntryReader<'a>,
    page: &mut Page,
) -> Result<(), StoreError> {
    let Value::Array(parts) = stored else { return Err(unexpected("an entry without parts")) };
    let [id, Value::Array(fields)] = parts.as_slice() else { return Err(unexpected("an entry without fields")) };
    let name = text(id).unwrap_or_default();
    let id = EntryId::parse(name).ok_or_else(|| unexpected(format!("id {name}")))?;
    let mut pairs = fields.chunks_exact(2).filter_map(|pair| Some((text(&pair[0])?, text(&pair[1])?)));
    // Entries of this layout have one field.
    let (one, several);
    let known: &[(&str, &str)] = if fields.len() == 2 {
        one = pairs.next();
        one.as_slice()
    } else {
        several = pairs.collect::<Vec<_>>();
        &several
    };
    // Texts that are not UTF-8 count as damage too.
    match (2 * known.len() == fields.len()).then(|| reader.read(bucket, known)).flatten() {
        Some(entry) => page.entries.push(StoredEntry { id, entry }),
        None => page.damaged.push(DamagedEntry { id, charges: charges_alone(bucket, known) }),
    }
    page.bytes += bytes_of(stored);
    page.first = page.first.or(Some(id));
    page.last = Some(id);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::values::ids::{AppId, Mode};

    const HEADS: [&str; 6] = [
        "commit 1795228389143 1 0123456789abcdef01234567 1795228329143",
        "track 1795228389144 0 0123456789abcdef01234567 -",
        "reset 1795228389145 0 - -",
        "expire 1795228389146 0 0123456789abcdef01234567 1795228329143",
        "commit 1795228389143 1 0123456789ABCDEF01234567 1795228329143",
        "denial 1795228389143 reserve",
    ];
    const EVENTS: [&str; 6] = ["a", "b", "a%20b", "%FF", "-", ""];
    const LISTS: [&str; 10] = [
        "user:u g:1:3:3:5,h:2:0:1:-:closed app:default g:1:3:9",
        "-",
        "user:v g:1:3:3:5:daily/20270131/20270201",
        "user:u%3Aw h>b:b1:3:3:-,g:1:-3:0:5",
        "user:u h>:b1:3:3:-",
        "user:u:w g:1:3:3:5",
        "user:%FF g:1:3:3:5",
        "user:u g:3:3:5:4:daily/20270131/20270201",
        "user:u g!:1:3:3:5",
        "g:1:3,h:2:1",
    ];
    const SNAPSHOTS: [&str; 7] = [
        "p 7 2 model=m",
        "{\"items\":[{}]}",
        "{\"plan\":\"p\",\"items\":[{\"metadata\":{\"model\":\"m\"}}]}",
        "{\"items\":[{\"event\":\"b\"},{\"metadata\":{\"model\":\"n\"},\"quantity\":2.5}]}",
        "{\"items\":[]}",
        "-",
        "{",
    ];
    const DETAILS: [&str; 4] = ["", "{\"actual\":[{\"quantity\":3}]}", "user:u g:1:3:3", "{"];

    /// Often the first, so that many entries are readable.
    fn select(texts: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
        prop_oneof![Just(texts[0]), prop::sample::select(texts)]
    }

    /// The names and values of a stored entry's fields: of this layout or the one before, some of them damaged.
    fn fields() -> impl Strategy<Value = Vec<String>> {
        let label = (select(&EVENTS), select(&["key_1", "-", "k!"]), select(&["u", "v", "u%3Aw", "-", ""]));
        let head = (select(&HEADS), label, prop_oneof![4 => Just(""), 1 => Just(" limit_reached")]);
        let parts = (select(&LISTS), select(&SNAPSHOTS), select(&DETAILS));
        (head, parts, any::<bool>()).prop_map(|((head, label, reason), (list, snapshot, details), is_old)| {
            let label = [label.0, label.1, label.2].join(" ");
            let words: Vec<&str> = head.split(' ').collect();
            let fields: Vec<(&str, String)> = match (is_old, words.as_slice()) {
                (true, &[kind, at, late, operation, created]) => vec![
                    ("type", kind.to_owned()),
                    ("at", at.to_owned()),
                    ("late", late.to_owned()),
                    ("op", format!("{operation} {created}")),
                    ("about", label),
                    ("charges", list.to_owned()),
                    ("memo", snapshot.to_owned()),
                    ("told", details.to_owned()),
                ],
                _ => vec![("entry", format!("{head} {label}{reason}\n{list}\n{snapshot}\n{details}"))],
            };
            fields.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
        })
    }

    /// The page with one entry after another.
    fn page(entries: &[(usize, Vec<String>)]) -> Page {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let stored = entries.iter().map(|(number, fields)| {
            let fields = fields.iter().map(|field| text(field)).collect();
            Value::Array(vec![text(&format!("1795228389143-{number}")), Value::Array(fields)])
        });
        let bucket = Bucket::whole(&AppId::parse("acme").unwrap(), &Mode::Live);
        read_entries(&bucket, Value::Array(stored.collect())).unwrap()
    }

    proptest! {
        #[test]
        fn an_entry_is_read_as_if_it_were_the_only_one_of_its_page(
            entries in prop::collection::vec(fields(), 1..12),
        ) {
            let entries: Vec<_> = entries.into_iter().enumerate().collect();
            let together = page(&entries);
            let alone: Vec<Page> = entries.chunks(1).map(page).collect();
            let read = alone.iter().flat_map(|page| &page.entries).map(|stored| (stored.id, &stored.entry));
            prop_assert_eq!(
                together.entries.iter().map(|stored| (stored.id, &stored.entry)).collect::<Vec<_>>(),
                read.collect::<Vec<_>>()
            );
            let damaged = alone.iter().flat_map(|page| &page.damaged).map(|damaged| (damaged.id, &damaged.charges));
            prop_assert_eq!(
                together.damaged.iter().map(|damaged| (damaged.id, &damaged.charges)).collect::<Vec<_>>(),
                damaged.collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn what_entries_have_in_common_is_read_with_their_own_users_and_events() {
        let entry = |head: &str, list: &str, snapshot: &str| {
            let head = format!("commit 1795228389143 0 0123456789abcdef01234567 1795228329143 {head}");
            vec!["entry".to_owned(), format!("{head}\n{list}\n{snapshot}")]
        };
        let labelled = "p 7 model=m";
        let entries = [
            entry("a key_1 u", "user:u g:1:3:3:5,h>b:b1:1:1:-", labelled),
            entry("a key_1 u%20v", "user:u%20v g:2:4:4:5", labelled),
            entry("b - u", "user:u b:1:5:5:5", labelled),
            entry("- key_1 -", "user:- g:1:3:3:5", labelled),
            entry("a key_1 u", "user:u:v g:1:3:3:5", labelled),
        ];
        let page = page(&entries.into_iter().enumerate().collect::<Vec<_>>());
        let said = page.entries.iter().map(|StoredEntry { entry, .. }| {
            let snapshot = entry.snapshot.as_ref().unwrap();
            let item = &snapshot.items[0];
            assert_eq!((Some(&item.event), Some(&snapshot.user)), (entry.event.as_ref(), entry.user.as_ref()));
            assert_eq!((snapshot.plan.is_some(), item.metadata.get("model")), (true, Some("m")));
            let charges = entry.charges.iter().map(|charge| {
                let from = charge.from.as_ref().map_or("", |from| from.as_str());
                format!("{} {from}>{} {}", charge.owner, charge.group, charge.change)
            });
            let key = entry.key.as_ref().map_or("-", |key| key.as_str());
            format!("{} {key} {}: {}", item.event, snapshot.user, charges.collect::<Vec<_>>().join(", "))
        });
        assert_eq!(
            said.collect::<Vec<_>>(),
            [
                "a key_1 u: user u >g 3, user u h>b 1",
                "a key_1 u v: user u v >g 4",
                "b - u: user u >b 5",
                "- key_1 -: user - >g 3"
            ]
        );
        assert_eq!(page.damaged.len(), 1, "a user has no second value");
    }
}

//! Cursors: the position at which the next page begins. A text that no page can have returned is rejected, including
//! positions that Redis would not accept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::reporting::entry_id::EntryId;
use crate::domain::time::day::Day;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::GroupId;
use crate::service::access::audit::AuditCursor;
use crate::service::tenant::BucketCursor;

/// No list is longer.
const MOST_OFFSET: usize = u32::MAX as usize;

/// Where a page begins, and how many items it holds: 1 to 200, default 50.
pub(in crate::http) fn page<T>(
    cursor: Option<&str>,
    limit: Option<usize>,
    parse: impl Fn(&str) -> Option<T>,
    faults: &mut Faults,
) -> (Option<T>, usize) {
    let start = cursor.map(|text| parse(text).ok_or("must be `nextCursor` of an earlier page"));
    let start = start.and_then(|start| faults.check("cursor", start));
    let size = limit.unwrap_or(50);
    if !(1..=200).contains(&size) {
        faults.add("limit", "must be between 1 and 200");
    }
    (start, size)
}

/// A page of what one group has, over all buckets: the group, where the page begins, and how many items it holds.
///
/// # Errors
/// All faults of `groupId`, `cursor` and `limit`.
pub(in crate::http) fn page_of_group(
    group_id: &str,
    cursor: Option<&str>,
    limit: Option<usize>,
) -> Result<(GroupId, BucketCursor, usize), Vec<FieldError>> {
    let mut faults = Faults::default();
    let group = faults.check("groupId", GroupId::parse(group_id));
    let (start, size) = page(cursor, limit, place, &mut faults);
    faults.or(group.map(|group| (group, start.unwrap_or_default(), size)))
}

/// A cursor of bucket and offset.
pub fn place(text: &str) -> Option<BucketCursor> {
    let (bucket, rest) = text.split_once('-')?;
    Some(BucketCursor { bucket: usize::from(bucket.parse::<u8>().ok()?), offset: offset(rest)? })
}

pub fn place_text(cursor: BucketCursor) -> String {
    format!("{}-{}", cursor.bucket, cursor.offset)
}

/// A cursor of an offset only.
pub fn offset(text: &str) -> Option<usize> {
    text.parse().ok().filter(|offset| *offset <= MOST_OFFSET)
}

/// The stream entry after which the page begins.
pub fn entry(text: &str) -> Option<EntryId> {
    // Redis has no entry with that id and refuses to read before it.
    EntryId::parse(text).filter(|id| *id > EntryId { time_ms: 0, number: 0 })
}

pub fn entry_text(id: EntryId) -> String {
    format!("{}-{}", id.time_ms, id.number)
}

/// The audit log entry after which the page begins.
pub fn audit(text: &str) -> Option<AuditCursor> {
    let (id, log) = text.rsplit_once('-')?;
    Some(AuditCursor { id: entry(id)?, log: log.parse().ok()? })
}

pub fn audit_text(cursor: AuditCursor) -> String {
    format!("{}-{}", entry_text(cursor.id), cursor.log)
}

/// The name after which the page begins.
pub fn name(text: &str) -> Option<String> {
    String::from_utf8(hex::decode(text).ok()?).ok()
}

pub fn name_text(name: impl AsRef<[u8]>) -> String {
    hex::encode(name)
}

/// The report line after which the page begins: its day and its values of `by`.
pub fn line(text: &str) -> Option<(Day, Vec<Option<String>>)> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (day, values): (String, Vec<Option<String>>) = serde_json::from_slice(&bytes).ok()?;
    Some((Day::parse(&day)?, values))
}

pub fn line_text(day: Day, values: &[Option<String>]) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::json!([day.to_string(), values]).to_string())
}

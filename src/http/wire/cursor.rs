//! Cursors: where a page begins, as the page before told it. A text that no page tells is refused, also one that would
//! ask Redis for what it does not have a place for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::problem::ApiError;
use crate::domain::time::day::Day;
use crate::service::access::audit::AuditCursor;
use crate::store::access::audit::EntryId;

/// No list is longer.
const MOST_OFFSET: usize = u32::MAX as usize;

/// # Errors
/// invalid_request for a cursor that `parse` does not know.
pub(in crate::http) fn read<T>(text: Option<&str>, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ApiError> {
    let wrong = || ApiError::invalid("cursor", "must be the nextCursor of an earlier page");
    text.map(|text| parse(text).ok_or_else(wrong)).transpose()
}

/// Where a page begins that is told by bucket and offset.
pub fn place(text: &str) -> Option<(usize, usize)> {
    let (bucket, rest) = text.split_once('-')?;
    Some((usize::from(bucket.parse::<u8>().ok()?), offset(rest)?))
}

pub fn place_text((bucket, offset): (usize, usize)) -> String {
    format!("{bucket}-{offset}")
}

/// Where a page begins that is told by offset alone.
pub fn offset(text: &str) -> Option<usize> {
    text.parse().ok().filter(|offset| *offset <= MOST_OFFSET)
}

/// The entry of a stream that a page begins behind.
pub fn entry(text: &str) -> Option<EntryId> {
    // Redis has no entry of that id, and refuses to look before it.
    EntryId::parse(text).filter(|id| *id > EntryId { time_ms: 0, number: 0 })
}

pub fn entry_text(id: EntryId) -> String {
    format!("{}-{}", id.time_ms, id.number)
}

/// The entry of one of the audit logs that a page begins behind.
pub fn audit(text: &str) -> Option<AuditCursor> {
    let (id, log) = text.rsplit_once('-')?;
    Some(AuditCursor { id: entry(id)?, log: log.parse().ok()? })
}

pub fn audit_text(cursor: AuditCursor) -> String {
    format!("{}-{}", entry_text(cursor.id), cursor.log)
}

/// The name that a page begins behind.
pub fn name(text: &str) -> Option<String> {
    String::from_utf8(hex::decode(text).ok()?).ok()
}

pub fn name_text(name: impl AsRef<[u8]>) -> String {
    hex::encode(name)
}

/// The line of a report that a page begins behind: its day and what tells it apart.
pub fn line(text: &str) -> Option<(Day, Vec<Option<String>>)> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (day, values): (String, Vec<Option<String>>) = serde_json::from_slice(&bytes).ok()?;
    Some((Day::parse(&day)?, values))
}

pub fn line_text(day: Day, values: &[Option<String>]) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::json!([day.to_string(), values]).to_string())
}

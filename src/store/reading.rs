//! Parses replies of Redis for the fuzz targets (`fuzz/parsers.rs`), which try replies that Redis never returns.

use redis::Value;

use super::accounts::{change_user, grants, users};
use super::error::StoreError;
use super::keys::Bucket;
use super::metering::{extend, reserve, settle, track, usage};
use super::reply::Fields;
use super::reporting::{ledger, rollup_text, survey};

/// Functions whose replies [`reply`] parses.
pub const FUNCTIONS: [&str; 10] =
    ["reserve", "track", "kept", "settle", "extend", "grant", "change_user", "usage", "survey", "row"];

fn text(field: &[u8]) -> Value {
    Value::BulkString(field.to_vec())
}

/// Parses the reply of one of [`FUNCTIONS`] for `count` owners, and returns the result as text.
///
/// # Errors
/// [`StoreError::Unexpected`] for a reply that scripts never return.
pub fn reply(function: &str, count: usize, bucket: &Bucket, fields: &[&[u8]]) -> Result<String, StoreError> {
    let reply = || Fields::new("tried", Value::Array(fields.iter().map(|field| text(field)).collect()));
    Ok(match function {
        "reserve" => {
            let fitted = reserve::read(reply()?, 60_000, true);
            format!("{:?} {fitted:?}", reserve::read(reply()?, 60_000, false)?)
        }
        "track" | "kept" => format!("{:?}", track::read(reply()?)?),
        "settle" => format!("{:?}", settle::read(bucket, reply()?)?),
        "extend" => format!("{:?}", extend::read(reply()?)?),
        "grant" => format!("{:?}", grants::read(reply()?)?),
        "change_user" => format!("{:?}", change_user::read(reply()?)?),
        "usage" => format!("{:?}", usage::read(reply()?)?),
        "survey" => format!("{:?}", survey::read(bucket, reply()?, count)?),
        "row" => {
            let mut reply = reply()?;
            let (name, metrics) = (reply.text()?, reply.text()?);
            format!("{:?} {:?}", rollup_text::read_name(&name), rollup_text::read_metrics(&metrics))
        }
        other => return Err(StoreError::Unexpected(other.to_owned())),
    })
}

/// Parses the entries of a stream, each the names and values of its fields in turn. Returns how many were readable.
///
/// # Errors
/// None: unreadable entries are skipped.
pub fn entries(bucket: &Bucket, entries: &[Vec<&[u8]>]) -> Result<usize, StoreError> {
    let stored = entries.iter().zip(1_u64..).map(|(fields, number)| {
        let fields = fields.iter().map(|field| text(field)).collect();
        Value::Array(vec![text(format!("1795228329143-{number}").as_bytes()), Value::Array(fields)])
    });
    let page = ledger::read_entries(bucket, Value::Array(stored.collect()))?;
    assert_eq!(page.count(), entries.len(), "each entry is either read or reported as damaged");
    Ok(page.entries.len())
}

/// Parses a user's hash, names and values in turn, and its active grants at that time (ms).
///
/// # Errors
/// [`StoreError::Unexpected`] for a text that scripts never write.
pub fn user(fields: &[&str], now_ms: i64) -> Result<String, StoreError> {
    let hash = fields.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned()));
    let stored = users::StoredOwner::read(hash.collect())?;
    let granted: Vec<_> = stored.windows.iter().map(|counter| stored.granted(counter, now_ms)).collect();
    Ok(format!("{stored:?} {granted:?} {:?}", stored.live_grants(now_ms)))
}

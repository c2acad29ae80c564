//! What Redis answers, read as the store reads it: for those who try it with answers that Redis does not give
//! (`fuzz/parsers.rs`). Nothing else needs it.

use redis::Value;

use super::accounts::{change_user, grants, users};
use super::error::StoreError;
use super::keys::Bucket;
use super::metering::{reserve, settle, track, usage};
use super::reply::Fields;
use super::reporting::{ledger, rollup_text, survey};

/// Functions whose replies [`reply`] reads.
pub const FUNCTIONS: [&str; 10] =
    ["reserve", "track", "kept", "settle", "extend", "grant", "change_user", "usage", "survey", "row"];

fn text(field: &[u8]) -> Value {
    Value::BulkString(field.to_vec())
}

/// Reads the reply of one of [`FUNCTIONS`], asked for `count` owners; answers what it was read as.
///
/// # Errors
/// [`StoreError::Unexpected`] for what no script answers.
pub fn reply(function: &str, count: usize, bucket: &Bucket, fields: &[&[u8]]) -> Result<String, StoreError> {
    let told = || Fields::new("tried", Value::Array(fields.iter().map(|field| text(field)).collect()));
    Ok(match function {
        "reserve" => format!("{:?}", reserve::read(told()?, 60_000)?),
        "track" | "kept" => format!("{:?}", track::read(told()?)?),
        "settle" => format!("{:?}", settle::read(bucket, told()?)?),
        "extend" => format!("{:?}", settle::read_extend(told()?)?),
        "grant" => format!("{:?}", grants::read(told()?)?),
        "change_user" => format!("{:?}", change_user::read(told()?)?),
        "usage" => format!("{:?}", usage::read(told()?)?),
        "survey" => format!("{:?}", survey::read(bucket, told()?, count)?),
        "row" => {
            let mut told = told()?;
            let (name, metrics) = (told.text()?, told.text()?);
            format!("{:?} {:?}", rollup_text::read_name(&name), rollup_text::read_metrics(&metrics))
        }
        other => return Err(StoreError::Unexpected(other.to_owned())),
    })
}

/// Reads the entries of a stream, each the names and values of its fields in turn. Answers how many could be read.
///
/// # Errors
/// None, whatever the fields are: an entry that cannot be read is left out.
pub fn entries(bucket: &Bucket, entries: &[Vec<&[u8]>]) -> Result<usize, StoreError> {
    let stored = entries.iter().zip(1_u64..).map(|(fields, number)| {
        let fields = fields.iter().map(|field| text(field)).collect();
        Value::Array(vec![text(format!("1795228329143-{number}").as_bytes()), Value::Array(fields)])
    });
    let page = ledger::read_entries(bucket, Value::Array(stored.collect()))?;
    assert_eq!(page.count(), entries.len(), "each entry is read or told");
    Ok(page.entries.len())
}

/// Reads a user's hash, names and values in turn, and what of its grants is live at that time (ms).
///
/// # Errors
/// [`StoreError::Unexpected`] for what no script writes.
pub fn user(fields: &[&str], now_ms: i64) -> Result<String, StoreError> {
    let hash = fields.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned()));
    let stored = users::Stored::read(hash.collect())?;
    let granted: Vec<_> = stored.windows.iter().map(|counter| stored.granted(counter, now_ms)).collect();
    Ok(format!("{stored:?} {granted:?} {:?}", stored.live_grants(now_ms)))
}

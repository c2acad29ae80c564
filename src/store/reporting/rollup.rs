//! `lua/rollup.lua` and `lua/replace_rollup.lua`: rows of rollups, and how far a stream is folded into them.

use std::collections::HashMap;

use super::ledger::Stream;
use super::rollup_text::{pattern_of_user, read_metrics, read_name, write_metrics, write_name};
use crate::domain::reporting::rollup::{Cube, Metrics, RowName};
use crate::domain::time::day::Day;
use crate::domain::values::ids::UserId;
use crate::store::access::audit::EntryId;
use crate::store::client::pace::Pace;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::reply::optional_text;
use crate::store::{Arguments, Store};

/// Rows asked for at a time.
const PAGE: usize = 500;
/// Fields of one write beside a script.
const CHUNK: usize = 200;
/// A rebuild writes each day's rows and puts them in place within this time.
const REBUILD_S: i64 = 6 * 60 * 60;

/// How far a stream is folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollupCursor {
    /// The last entry that is counted.
    pub id: EntryId,
    /// How many are.
    pub folded: u64,
    /// How often the rows were rebuilt: whoever read rows before must not write them after.
    pub rebuilt: u64,
}

impl RollupCursor {
    fn text(cursor: Option<Self>) -> String {
        cursor.map_or_else(String::new, |cursor| format!("{} {} {}", cursor.id.text(), cursor.folded, cursor.rebuilt))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (id, folded, rebuilt) = (words.next()?, words.next()?, words.next()?);
        Some(Self { id: EntryId::parse(id)?, folded: folded.parse().ok()?, rebuilt: rebuilt.parse().ok()? })
    }
}

/// Where rows lie: a day of a cube, of what one stream tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub cube: Cube,
    pub stream: Stream,
    pub day: Day,
}

/// Rows of one place, as they are to be.
#[derive(Clone, Debug)]
pub struct WrittenDay {
    pub place: Place,
    /// How long it stays from now on; at least 1.
    pub ttl_s: i64,
    pub rows: Vec<(RowName, Metrics)>,
}

/// As keys name it.
pub(in crate::store) const fn stream_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Ledger => "ledger",
        Stream::Denials => "denials",
    }
}

fn stream_key(bucket: &Bucket, stream: Stream) -> String {
    match stream {
        Stream::Ledger => bucket.ledger(),
        Stream::Denials => bucket.denials(),
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Unexpected(format!("rollup: {what}"))
}

fn unexpected(error: impl std::fmt::Display) -> StoreError {
    damaged(&error.to_string())
}

fn read_row(name: &str, metrics: &str) -> Result<(RowName, Metrics), StoreError> {
    let name = read_name(name).ok_or_else(|| damaged(&format!("row {name}")))?;
    Ok((name, read_metrics(metrics).ok_or_else(|| damaged("the sums of a row"))?))
}

impl Store {
    /// How far a stream is folded; None before the first time.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rollup_cursor(&self, bucket: &Bucket, stream: Stream) -> Result<Option<RollupCursor>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(bucket.rollup_cursor(stream_name(stream)));
        let text = optional_text(self.command(&command).await?)?;
        text.map(|text| RollupCursor::parse(&text).ok_or_else(|| damaged("a cursor"))).transpose()
    }

    /// How many rows there are in a place.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rollup_row_count(&self, bucket: &Bucket, place: Place) -> Result<usize, StoreError> {
        let mut command = redis::cmd("HLEN");
        command.arg(bucket.rollup(place));
        redis::from_redis_value(self.command(&command).await?).map_err(unexpected)
    }

    /// Those of the named rows that there are.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rollup_rows(
        &self,
        bucket: &Bucket,
        place: Place,
        names: &[RowName],
    ) -> Result<HashMap<RowName, Metrics>, StoreError> {
        let mut rows = HashMap::new();
        for names in names.chunks(PAGE) {
            let mut command = redis::cmd("HMGET");
            command.arg(bucket.rollup(place));
            for name in names {
                command.arg(write_name(name));
            }
            let values: Vec<Option<String>> =
                redis::from_redis_value(self.command(&command).await?).map_err(unexpected)?;
            for (name, value) in names.iter().zip(values) {
                if let Some(value) = value {
                    let metrics = read_metrics(&value).ok_or_else(|| damaged("the sums of a row"))?;
                    rows.insert(name.clone(), metrics);
                }
            }
        }
        Ok(rows)
    }

    /// Writes rows and moves the cursor from `before`. False: another node was first, and nothing was written.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn roll_up(
        &self,
        bucket: &Bucket,
        stream: Stream,
        before: Option<RollupCursor>,
        after: RollupCursor,
        days: &[WrittenDay],
    ) -> Result<bool, StoreError> {
        let mut keys = vec![bucket.rollup_cursor(stream_name(stream)), stream_key(bucket, stream)];
        let mut arguments = Arguments::default();
        arguments.text(RollupCursor::text(before)).text(RollupCursor::text(Some(after))).text(after.id.text());
        for day in days {
            keys.push(bucket.rollup(day.place));
            arguments.int(day.ttl_s).int(day.rows.len());
            for (name, metrics) in &day.rows {
                arguments.text(write_name(name)).text(write_metrics(metrics));
            }
        }
        let mut fields = self.call(&self.library.rollup, &keys, &arguments).await?;
        let status = fields.text()?;
        match status.as_str() {
            "rolled" => Ok(true),
            "moved" => Ok(false),
            other => Err(fields.unexpected(&format!("status {other}"))),
        }
    }

    /// The rows of a place, of one user only if given. A row that is written meanwhile comes as it was or as it is.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read_rollup(
        &self,
        bucket: &Bucket,
        place: Place,
        user: Option<&UserId>,
    ) -> Result<HashMap<RowName, Metrics>, StoreError> {
        let key = bucket.rollup(place);
        let mut rows = HashMap::new();
        let mut position = "0".to_owned();
        let mut pace = Pace::default();
        loop {
            pace.rest().await;
            let mut command = redis::cmd("HSCAN");
            command.arg(&key).arg(&position);
            if let Some(user) = user {
                command.arg("MATCH").arg(pattern_of_user(user.as_str()));
            }
            command.arg("COUNT").arg(PAGE);
            let (next, fields): (String, Vec<String>) =
                redis::from_redis_value(self.command(&command).await?).map_err(unexpected)?;
            // Redis may tell a field twice while it moves a hash to a larger table.
            for pair in fields.chunks_exact(2) {
                let (name, metrics) = read_row(&pair[0], &pair[1])?;
                rows.insert(name, metrics);
            }
            if next == "0" {
                return Ok(rows);
            }
            position = next;
        }
    }

    /// Writes rows of a day that is being rebuilt, beside those that there are and those of another rebuild.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn write_rebuilt(&self, bucket: &Bucket, rebuild: u64, day: &WrittenDay) -> Result<(), StoreError> {
        let key = bucket.rebuilt(rebuild, day.place);
        for rows in day.rows.chunks(CHUNK) {
            let mut command = redis::cmd("HSET");
            command.arg(&key);
            for (name, metrics) in rows {
                command.arg(write_name(name)).arg(write_metrics(metrics));
            }
            self.command(&command).await?;
        }
        // Of a rebuild that breaks off nothing stays.
        let mut command = redis::cmd("EXPIRE");
        command.arg(&key).arg(REBUILD_S);
        self.command(&command).await.map(|_| ())
    }

    /// Puts rebuilt days in the place of those that there are, to stay for so long (s); a place that nothing was written
    /// for becomes empty. False: the stream was folded further than `at` meanwhile, or rebuilt.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn replace_rollup(
        &self,
        bucket: &Bucket,
        stream: Stream,
        at: RollupCursor,
        (rebuild, places): (u64, &[(Place, i64)]),
    ) -> Result<bool, StoreError> {
        let after = RollupCursor { rebuilt: at.rebuilt + 1, ..at };
        let mut keys = vec![bucket.rollup_cursor(stream_name(stream))];
        keys.extend(places.iter().flat_map(|(place, _)| [bucket.rebuilt(rebuild, *place), bucket.rollup(*place)]));
        let mut arguments = Arguments::default();
        arguments.text(RollupCursor::text(Some(at))).text(RollupCursor::text(Some(after)));
        for (_, ttl_s) in places {
            arguments.int(ttl_s);
        }
        let mut fields = self.call(&self.library.replace_rollup, &keys, &arguments).await?;
        let status = fields.text()?;
        match status.as_str() {
            "replaced" => Ok(true),
            "moved" => Ok(false),
            other => Err(fields.unexpected(&format!("status {other}"))),
        }
    }
}

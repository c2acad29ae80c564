//! `lua/rollup.lua` and `lua/replace_rollup.lua`: rows of rollups, and the progress of folding a stream into them.

use std::collections::HashMap;

use redis::{Cmd, Pipeline, Value};

use super::rollup_text::{
    METRICS_BYTES, NAME_BYTES, add_metrics, pattern_of_user, read_metrics, read_name, write_metrics, write_name,
};
use super::stream::{Place, Stream};
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::reporting::rollup::{Metrics, RowName, RowSet};
use crate::domain::values::ids::UserId;
use crate::store::client::pace::Pace;
use crate::store::error::{StoreError, is_forbidden};
use crate::store::keys::Bucket;
use crate::store::reply::{Fields, optional_text};
use crate::store::{Arguments, Store};

/// Rows per read.
const PAGE: usize = 500;
/// The same for rows with sketches, which are larger.
const SKETCHES: usize = 50;
/// Fields per write without a script.
const CHUNK: usize = 200;
/// A rebuild must write and replace each day's rows within this time.
const REBUILD_S: i64 = 6 * 60 * 60;

/// The progress of folding a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollupCursor {
    /// The last counted entry.
    pub id: EntryId,
    /// The number of counted entries.
    pub folded: u64,
    /// How often the rows were rebuilt: rows that were read before a rebuild must not be written after it.
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

/// A row to write.
#[derive(Clone, Debug)]
pub struct WrittenRow {
    /// As text, since a step of folding first reads the row.
    name: String,
    metrics: Metrics,
}

impl From<(RowName, Metrics)> for WrittenRow {
    fn from(row: (RowName, Metrics)) -> Self {
        let (name, metrics) = row;
        Self { name: write_name(&name), metrics }
    }
}

/// New rows of one place.
#[derive(Clone, Debug)]
pub struct WrittenDay {
    pub place: Place,
    /// The TTL from now on; at least 1.
    pub ttl_s: i64,
    pub rows: Vec<WrittenRow>,
}

fn damaged(what: &str) -> StoreError {
    StoreError::Unexpected(format!("rollup: {what}"))
}

fn unexpected(error: impl std::fmt::Display) -> StoreError {
    damaged(&error.to_string())
}

/// The cursors before and after a step, and the last entry, as arguments of the script.
fn cursor_texts(before: Option<RollupCursor>, after: RollupCursor) -> [String; 3] {
    [RollupCursor::text(before), RollupCursor::text(Some(after)), after.id.text()]
}

/// False if another node was first.
fn is_rolled(mut reply: Fields) -> Result<bool, StoreError> {
    let status = reply.text()?;
    match status.as_str() {
        "rolled" => Ok(true),
        "moved" => Ok(false),
        other => Err(reply.unexpected(&format!("status {other}"))),
    }
}

/// None for a row that does not exist.
fn stored_text(value: &Value) -> Result<Option<&str>, StoreError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).map(Some).map_err(unexpected),
        _ => Err(damaged("a row that is no text")),
    }
}

fn read_row(name: &str, metrics: &str) -> Result<(RowName, Metrics), StoreError> {
    let name = read_name(name).ok_or_else(|| damaged(&format!("row {name}")))?;
    Ok((name, read_metrics(metrics).ok_or_else(|| damaged("the sums of a row"))?))
}

impl Store {
    /// The progress of folding a stream; None before the first time.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rollup_cursor(&self, bucket: &Bucket, stream: Stream) -> Result<Option<RollupCursor>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(bucket.rollup_cursor(stream));
        let text = optional_text(self.command(&command).await?)?;
        text.map(|text| RollupCursor::parse(&text).ok_or_else(|| damaged("a cursor"))).transpose()
    }

    /// The number of rows in a place.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rollup_row_count(&self, bucket: &Bucket, place: Place) -> Result<usize, StoreError> {
        let mut command = redis::cmd("HLEN");
        command.arg(bucket.rollup(place));
        redis::from_redis_value(self.command(&command).await?).map_err(unexpected)
    }

    /// Those of the named rows that exist.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rollup_rows(
        &self,
        bucket: &Bucket,
        place: Place,
        names: Vec<RowName>,
    ) -> Result<HashMap<RowName, Metrics>, StoreError> {
        let written: Vec<String> = names.iter().map(write_name).collect();
        let texts = self.row_texts(bucket, place, &written.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let mut rows = HashMap::with_capacity(names.len());
        for (name, text) in names.into_iter().zip(texts) {
            if let Some(text) = stored_text(&text)? {
                rows.insert(name, read_metrics(text).ok_or_else(|| damaged("the sums of a row"))?);
            }
        }
        Ok(rows)
    }

    /// Adds to each row what is stored of it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn add_stored_rows(
        &self,
        bucket: &Bucket,
        place: Place,
        rows: &mut [WrittenRow],
    ) -> Result<(), StoreError> {
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let texts = self.row_texts(bucket, place, &names).await?;
        for (row, text) in rows.iter_mut().zip(texts) {
            if let Some(text) = stored_text(&text)? {
                add_metrics(text, &mut row.metrics).ok_or_else(|| damaged("the sums of a row"))?;
            }
        }
        Ok(())
    }

    /// The stored sums of the named rows, as Redis returns them.
    async fn row_texts(&self, bucket: &Bucket, place: Place, names: &[&str]) -> Result<Vec<Value>, StoreError> {
        let mut texts = Vec::with_capacity(names.len());
        for page in names.chunks(PAGE) {
            let mut command = Cmd::with_capacity(page.len() + 2, page.len() * NAME_BYTES);
            command.arg("HMGET").arg(bucket.rollup(place)).arg(page);
            match self.command(&command).await? {
                Value::Array(values) => texts.extend(values),
                _ => return Err(damaged("no list of rows")),
            }
        }
        Ok(texts)
    }

    /// Writes rows and moves the cursor from `before`. False if another node was first; then nothing was written. Each
    /// day must have rows.
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
        let mut keys = vec![bucket.rollup_cursor(stream), bucket.stream(stream)];
        keys.extend(days.iter().flat_map(|day| [bucket.rollup(day.place), bucket.rollup_aside(day.place)]));
        let cursors = cursor_texts(before, after);
        match self.roll_up_in_transaction(&keys, &cursors, days).await {
            // A full Redis rejects transactions, and its user may lack the permission for them.
            Err(error) if matches!(error, StoreError::Full(_)) || is_forbidden(&error.to_string()) => {
                self.roll_up_in_script(&keys, &cursors, days).await
            }
            other => other,
        }
    }

    async fn roll_up_in_transaction(
        &self,
        keys: &[String],
        cursors: &[String; 3],
        days: &[WrittenDay],
    ) -> Result<bool, StoreError> {
        let function = &self.library.rollup;
        let part = |part: &str| {
            let mut command = redis::cmd("FCALL");
            command.arg(&function.registered).arg(keys.len()).arg(keys).arg(part).arg(cursors);
            command
        };
        let mut commands = Pipeline::new();
        commands.cmd("MULTI").add_command(part("begin"));
        for (day, names) in days.iter().zip(keys[2..].chunks_exact(2)) {
            let aside = &names[1];
            let rows = day.rows.len();
            let mut command = Cmd::with_capacity(2 * rows + 2, rows * (NAME_BYTES + METRICS_BYTES));
            command.arg("HSET").arg(aside);
            for WrittenRow { name, metrics } in &day.rows {
                command.arg(name).arg(write_metrics(metrics));
            }
            commands.add_command(command).cmd("EXPIRE").arg(aside).arg(day.ttl_s);
        }
        commands.add_command(part("end")).cmd("EXEC");
        let reply = self.transaction(function.round_trips(), &keys[0], &commands).await?;
        is_rolled(Fields::new(function.name, reply)?)
    }

    async fn roll_up_in_script(
        &self,
        keys: &[String],
        cursors: &[String; 3],
        days: &[WrittenDay],
    ) -> Result<bool, StoreError> {
        let mut arguments = Arguments::default();
        arguments.text("whole");
        for cursor in cursors {
            arguments.text(cursor);
        }
        for day in days {
            arguments.int(day.ttl_s).int(day.rows.len());
            for WrittenRow { name, metrics } in &day.rows {
                arguments.text(name).text(write_metrics(metrics));
            }
        }
        is_rolled(self.call(&self.library.rollup, keys, &arguments).await?)
    }

    /// The rows of a place, optionally of one user only. A row that changes meanwhile is returned in its old or new
    /// form.
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
        let page = if place.row_set == RowSet::Estimates { SKETCHES } else { PAGE };
        loop {
            pace.rest().await;
            let mut command = redis::cmd("HSCAN");
            command.arg(&key).arg(&position);
            if let Some(user) = user {
                command.arg("MATCH").arg(pattern_of_user(user.as_str()));
            }
            command.arg("COUNT").arg(page);
            let (next, fields): (String, Vec<String>) =
                redis::from_redis_value(self.page(&command).await?).map_err(unexpected)?;
            // Redis may return a field twice while it moves a hash to a larger table.
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

    /// Writes rows of a day that is being rebuilt, separately from the present rows and from those of other rebuilds.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn write_rebuilt(&self, bucket: &Bucket, rebuild: u64, day: &WrittenDay) -> Result<(), StoreError> {
        let key = bucket.rebuilt(rebuild, day.place);
        for rows in day.rows.chunks(CHUNK) {
            let mut command = redis::cmd("HSET");
            command.arg(&key);
            for WrittenRow { name, metrics } in rows {
                command.arg(name).arg(write_metrics(metrics));
            }
            self.command(&command).await?;
        }
        // The rows of an interrupted rebuild expire.
        let mut command = redis::cmd("EXPIRE");
        command.arg(&key).arg(REBUILD_S);
        self.command(&command).await.map(|_| ())
    }

    /// Replaces days with their rebuilt rows and sets their TTL (s); places without rebuilt rows become empty. False
    /// if the stream was folded beyond `at` meanwhile, or rebuilt.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn replace_rollup(
        &self,
        bucket: &Bucket,
        stream: Stream,
        at: RollupCursor,
        rebuild: u64,
        places: &[(Place, i64)],
    ) -> Result<bool, StoreError> {
        let after = RollupCursor { rebuilt: at.rebuilt + 1, ..at };
        let mut keys = vec![bucket.rollup_cursor(stream)];
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

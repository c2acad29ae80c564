//! Rebuilds report rows from the streams: after `reportLabels` has changed, or to verify the rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::events::id::EventId;
use super::rollup::{additions, real_ms};
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::reporting::rollup::{DayRows, RowSet};
use crate::domain::time::day::Day;
use crate::domain::time::window::TimeMs;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::keys::Bucket;
use crate::store::reporting::rollup::{WrittenDay, WrittenRow};
use crate::store::reporting::stream::{Place, Stream};

/// How often a rebuild continues after other nodes have folded further; each time less is left to do.
const ROUNDS: usize = 20;
/// Entries read at a time.
const BATCH: usize = 1_000;

/// The result of a rebuild.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Number of days, over all buckets and streams.
    pub days: usize,
    pub entries: u64,
    /// Unreadable entries, which are in no row.
    pub damaged: Vec<EventId>,
    pub rows: usize,
}

/// Rows while they are rebuilt, beginning with the oldest entry.
struct Work<'a> {
    tenant: &'a Tenant,
    bucket: &'a Bucket,
    stream: Stream,
    /// The first day without missing entries.
    first: Option<Day>,
    day_rows: BTreeMap<(Day, RowSet), DayRows>,
    /// The first existing entry.
    oldest: EntryId,
    read: Option<EntryId>,
    now_ms: TimeMs,
    entries: u64,
    damaged: Vec<EventId>,
}

impl Gateway {
    /// Recomputes the rows of all days that the streams of a mode still cover completely, and replaces the present
    /// rows. Calls are served meanwhile.
    ///
    /// # Errors
    /// [`ServiceError`]; the rows of a stream are replaced in one step or not at all.
    pub async fn rebuild(&self, tenant: &Tenant) -> Result<Rebuilt, ServiceError> {
        let mut rebuilt = Rebuilt::default();
        for bucket in tenant.buckets() {
            for stream in Stream::ALL {
                let one = self.rebuild_stream(tenant, &bucket, stream).await?;
                rebuilt.days += one.days;
                rebuilt.entries += one.entries;
                rebuilt.damaged.extend(one.damaged);
                rebuilt.rows += one.rows;
            }
        }
        Ok(rebuilt)
    }

    async fn rebuild_stream(&self, tenant: &Tenant, bucket: &Bucket, stream: Stream) -> Result<Rebuilt, ServiceError> {
        // Entries that are not folded yet have no rows to replace.
        self.fold_stream(tenant, bucket, stream, usize::MAX).await?;
        let info = self.store.stream_info(bucket, stream).await?;
        let Some(oldest) = info.first else { return Ok(Rebuilt::default()) };
        // An entry is never written before it happens. Of the first day, earlier entries may have been trimmed. The
        // days of a test clock do not say when entries were written.
        let now_ms = TimeMs::try_from(oldest.time_ms).unwrap_or(TimeMs::MAX);
        let first = match (info.whole, bucket.is_sandbox()) {
            (true, _) => None,
            (false, false) => Some(Day::of(now_ms).plus(1)),
            (false, true) => return Ok(Rebuilt::default()),
        };
        let day_rows = BTreeMap::new();
        let mut work = Work {
            tenant,
            bucket,
            stream,
            first,
            day_rows,
            oldest,
            read: None,
            now_ms,
            entries: 0,
            damaged: Vec::new(),
        };
        let rebuild: u64 = rand::random();
        for _ in 0..ROUNDS {
            let Some(cursor) = self.store.rollup_cursor(bucket, stream).await? else { break };
            self.read_up_to(&mut work, cursor.id).await?;
            for day in self.changed_days(&mut work) {
                self.store.write_rebuilt(bucket, rebuild, &day).await?;
            }
            let places = self.places(&work);
            if self.store.replace_rollup(bucket, stream, cursor, rebuild, &places).await? {
                let days: BTreeSet<Day> = places.iter().map(|(place, _)| place.day).collect();
                let rows = work.day_rows.values().map(|day_rows| day_rows.row_count()).sum();
                let Work { entries, damaged, .. } = work;
                return Ok(Rebuilt { days: days.len(), entries, damaged, rows });
            }
        }
        Err(ServiceError::StoreUnavailable(format!("{stream:?} was folded further whenever it was rebuilt")))
    }

    /// Reads entries up to `until` and adds them to the rows.
    async fn read_up_to(&self, work: &mut Work<'_>, until: EntryId) -> Result<(), ServiceError> {
        let fields = self.config(&work.tenant.app).await?.report_fields();
        loop {
            let page = self.store.entries_after(work.bucket, work.stream, work.read, Some(until), BATCH).await?;
            let Some(last) = page.last else { return Ok(()) };
            if work.read.is_none() && page.first != Some(work.oldest) {
                return Err(ServiceError::StoreUnavailable("entries were trimmed meanwhile: repeat it".to_owned()));
            }
            (work.read, work.now_ms) = (Some(last), real_ms(last));
            work.entries += page.entries.len() as u64;
            let (number, stream) = (work.bucket.number(), work.stream);
            work.damaged.extend(page.damaged.iter().map(|it| EventId { at: it.id, bucket: number, stream }));
            for ((day, row_set), additions) in additions(&page.entries, &fields) {
                if work.first.is_some_and(|first| day < first) {
                    continue;
                }
                let day_rows =
                    work.day_rows.entry((day, row_set)).or_insert_with(|| DayRows::new(row_set, 0, HashMap::new()));
                for (name, metrics) in &additions {
                    day_rows.add(name, metrics);
                }
            }
        }
    }

    /// The rows that are not written yet.
    fn changed_days(&self, work: &mut Work<'_>) -> Vec<WrittenDay> {
        let mut days = Vec::new();
        for ((day, row_set), day_rows) in &mut work.day_rows {
            let place = Place { row_set: *row_set, stream: work.stream, day: *day };
            let rows: Vec<WrittenRow> = day_rows.take_changed().into_iter().map(WrittenRow::from).collect();
            let ttl_s = self.rollup.ttl_s(work.bucket, place, work.now_ms).filter(|_| !rows.is_empty());
            days.extend(ttl_s.map(|ttl_s| WrittenDay { place, ttl_s, rows }));
        }
        days
    }

    /// The days to replace, with their TTL (s); in live mode including days without entries.
    fn places(&self, work: &Work<'_>) -> Vec<(Place, i64)> {
        let mut days: BTreeSet<Day> = work.day_rows.keys().map(|(day, _)| *day).collect();
        if let Some(first) = work.first {
            let today = Day::of(work.now_ms);
            days.extend((0..=today.since(first).max(-1)).map(|later| first.plus(later)));
        }
        let place = |day: Day| RowSet::ALL.map(|row_set| Place { row_set, stream: work.stream, day });
        let kept = |place: Place| Some((place, self.rollup.ttl_s(work.bucket, place, work.now_ms)?));
        days.into_iter().flat_map(place).filter_map(kept).collect()
    }
}

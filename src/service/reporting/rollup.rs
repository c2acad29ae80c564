//! Folds the ledger and the denials into rows per day. Any node may fold; each entry is counted once, by the node that
//! is first.

use std::borrow::Cow;
use std::collections::BTreeMap;

use futures::stream::{self, TryStreamExt};

use super::events::id::EventId;
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::reporting::ledger::StoredEntry;
use crate::domain::reporting::rollup::{DayRows, Fields, Folding, Metrics, RowName, RowSet, RowSums, learn};
use crate::domain::time::day::Day;
use crate::domain::time::window::TimeMs;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::keys::Bucket;
use crate::store::reporting::ledger::Page;
use crate::store::reporting::rollup::{RollupCursor, WrittenDay, WrittenRow};
use crate::store::reporting::stream::{Place, Stream};

/// Entries folded in one step. It usually writes at most 1,200 rows, so that other calls do not wait long.
const BATCH: usize = 400;
/// Steps per stream before a report is returned: 50,000 entries.
const STEPS_BEFORE_A_REPORT: usize = 125;
/// Buckets folded concurrently.
const BUCKETS_AT_ONCE: usize = 2;

/// The progress of folding a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Entries that this node has folded now.
    pub entries: usize,
    /// The size of these entries as text.
    pub bytes: usize,
    /// Nothing was left when it ended.
    pub whole: bool,
    /// The last entry that any node has folded.
    pub last: Option<EntryId>,
}

/// What entries add to the rows of each day and row set; none is empty.
pub(in crate::service) type Additions = BTreeMap<(Day, RowSet), Vec<(RowName, Metrics)>>;

pub(in crate::service) fn additions(entries: &[StoredEntry], fields: &Fields) -> Additions {
    let mut sums: BTreeMap<(Day, RowSet), RowSums> = BTreeMap::new();
    let mut folding = Folding::new(fields);
    for StoredEntry { entry, .. } in entries {
        let day = Day::of(entry.at_ms);
        folding.each_row(entry, |name, metrics| {
            let of_day = sums.entry((day, RowSet::Users));
            of_day.or_insert_with(|| RowSums::with_capacity(entries.len())).add(name, Cow::Owned(metrics));
        });
        for (name, metrics) in learn(entry, fields) {
            sums.entry((day, RowSet::Estimates)).or_default().add(name, Cow::Owned(metrics));
        }
    }
    let mut additions = Additions::new();
    for ((day, row_set), sums) in sums {
        if row_set == RowSet::Users {
            additions.insert((day, RowSet::Calls), sums.within(RowSet::Calls).into_rows());
        }
        additions.insert((day, row_set), sums.into_rows());
    }
    additions
}

/// The time in a stream ID.
pub(in crate::service) fn real_ms(id: EntryId) -> TimeMs {
    TimeMs::try_from(id.time_ms).unwrap_or(TimeMs::MAX)
}

/// Logs entries that cannot be read. Each is logged once, by the node that folds it.
fn report_damaged(tenant: &Tenant, bucket: &Bucket, stream: Stream, page: &Page) {
    for damaged in &page.damaged {
        metrics::counter!("quotagate_damaged_entries_total", "stream" => stream.as_str()).increment(1);
        let id = EventId { at: damaged.id, bucket: bucket.number(), stream };
        tracing::warn!(app = %tenant.app, mode = %tenant.mode, %id, "an entry cannot be read and is missing in reports");
    }
}

impl Gateway {
    /// Folds new entries of a stream, in at most this many steps.
    ///
    /// # Errors
    /// [`ServiceError`]; completed steps are kept.
    pub async fn fold_stream(
        &self,
        tenant: &Tenant,
        bucket: &Bucket,
        stream: Stream,
        steps: usize,
    ) -> Result<Folded, ServiceError> {
        let mut folded = Folded::default();
        let mut cursor = None;
        for _ in 0..steps {
            // The node knows the cursor after a step that it has made itself.
            if cursor.is_none() {
                cursor = self.store.rollup_cursor(bucket, stream).await?;
            }
            folded.last = cursor.map(|cursor| cursor.id);
            let page = self.store.entries_after(bucket, stream, folded.last, None, BATCH).await?;
            if page.count() == 0 {
                folded.whole = true;
                break;
            }
            // If another node was first, the next step begins where that node ended.
            cursor = self.fold_page(tenant, bucket, stream, cursor, &page).await?;
            if cursor.is_some() {
                report_damaged(tenant, bucket, stream, &page);
                folded.entries += page.count();
                folded.bytes += page.bytes;
                folded.last = page.last;
                if page.count() < BATCH {
                    folded.whole = true;
                    break;
                }
            }
        }
        Ok(folded)
    }

    /// One step. Returns the cursor after it; None if another node was first.
    async fn fold_page(
        &self,
        tenant: &Tenant,
        bucket: &Bucket,
        stream: Stream,
        before: Option<RollupCursor>,
        page: &Page,
    ) -> Result<Option<RollupCursor>, ServiceError> {
        let Some(last) = page.last else { return Ok(before) };
        // Before the cursor moves; if two nodes do this, they record the same.
        self.record_near(tenant, bucket, &page.entries).await?;
        let fields = self.config(&tenant.app).await?.report_fields();
        let mut days = Vec::new();
        for ((day, row_set), additions) in additions(&page.entries, &fields) {
            let place = Place { row_set, stream, day };
            let Some(ttl_s) = self.rollup.ttl_s(bucket, place, real_ms(last)) else { continue };
            days.push(WrittenDay { place, ttl_s, rows: self.new_rows(bucket, place, additions).await? });
        }
        let (folded, rebuilt) = before.map_or((0, 0), |before| (before.folded, before.rebuilt));
        let after = RollupCursor { id: last, folded: folded + page.count() as u64, rebuilt };
        let is_first = self.store.roll_up(bucket, stream, before, after, &days).await?;
        Ok(is_first.then_some(after))
    }

    /// The rows that change, with these additions.
    async fn new_rows(
        &self,
        bucket: &Bucket,
        place: Place,
        additions: Vec<(RowName, Metrics)>,
    ) -> Result<Vec<WrittenRow>, ServiceError> {
        let count = self.store.rollup_row_count(bucket, place).await?;
        if count + additions.len() < place.row_set.exact_rows() {
            let mut rows: Vec<WrittenRow> = additions.into_iter().map(WrittenRow::from).collect();
            if count > 0 {
                self.store.add_stored_rows(bucket, place, &mut rows).await?;
            }
            return Ok(rows);
        }
        let mut names: Vec<RowName> = additions.iter().map(|(name, _)| name.clone()).collect();
        names.extend(additions.iter().flat_map(|(name, _)| name.less_exact(place.row_set)));
        names.sort();
        names.dedup();
        let mut day_rows = DayRows::new(place.row_set, count, self.store.rollup_rows(bucket, place, names).await?);
        for (name, metrics) in &additions {
            day_rows.add(name, metrics);
        }
        Ok(day_rows.into_changed().into_iter().map(WrittenRow::from).collect())
    }

    /// Folds all new entries of a mode, so that a report includes them. False if there were too many.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(in crate::service) async fn fold_all(
        &self,
        tenant: &Tenant,
        buckets: Vec<Bucket>,
    ) -> Result<bool, ServiceError> {
        let left = std::sync::atomic::AtomicBool::new(false);
        stream::iter(buckets.into_iter().map(Ok::<_, ServiceError>))
            .try_for_each_concurrent(BUCKETS_AT_ONCE, async |bucket| {
                for stream in Stream::ALL {
                    let folded = self.fold_stream(tenant, &bucket, stream, STEPS_BEFORE_A_REPORT).await?;
                    left.fetch_or(!folded.whole, std::sync::atomic::Ordering::Relaxed);
                }
                Ok(())
            })
            .await?;
        Ok(!left.into_inner())
    }

    /// How many entries of a stream are not folded yet.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn rollup_lag(&self, bucket: &Bucket, stream: Stream) -> Result<u64, ServiceError> {
        let cursor = self.store.rollup_cursor(bucket, stream).await?;
        let info = self.store.stream_info(bucket, stream).await?;
        Ok(match cursor {
            Some(cursor) if cursor.id >= info.last => 0,
            Some(cursor) => info.added.saturating_sub(cursor.folded).min(info.length),
            None => info.length,
        })
    }
}

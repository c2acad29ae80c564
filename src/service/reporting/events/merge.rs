//! Merges the entries of several streams in the order of their IDs.

use std::collections::VecDeque;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::id::{EventId, just_before};
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::reporting::ledger::{Entry, StoredEntry};
use crate::store::Store;
use crate::store::client::pace::Pace;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::reporting::stream::Stream;

/// Streams that are read concurrently.
const PARALLEL: usize = 16;
/// Entries read ahead initially for all streams together, and at least for each stream.
const FIRST_READ: usize = 64;
const LEAST_READ: usize = 8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// Real time at which Redis recorded events, in milliseconds: `[from_ms, to_ms)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    pub from_ms: Option<u64>,
    pub to_ms: Option<u64>,
}

/// One stream, read up to a position.
struct Source {
    bucket: Bucket,
    stream: Stream,
    /// Exclusive bounds of the unread part.
    after: Option<EntryId>,
    before: Option<EntryId>,
    ahead: VecDeque<StoredEntry>,
    batch: usize,
    ended: bool,
    /// Unreadable entries that were skipped.
    damaged: Vec<EventId>,
}

/// Iterates over the entries of several streams.
pub struct Merge<'a> {
    store: &'a Store,
    order: Order,
    sources: Vec<Source>,
    pace: Pace,
}

/// Where and in which order to read.
#[derive(Clone, Copy)]
struct Start {
    order: Order,
    span: Span,
    cursor: Option<EventId>,
}

impl Source {
    fn new(bucket: Bucket, stream: Stream, start: Start, batch: usize) -> Self {
        let Start { order, span, cursor } = start;
        let first_at = |time_ms| EntryId { time_ms, number: 0 };
        let from = span.from_ms.map(|from| just_before(first_at(from)));
        let to = span.to_ms.map(first_at);
        let (floor, ceiling) = match (order, cursor) {
            (_, None) => (None, None),
            (Order::OldestFirst, Some(cursor)) => (Some(cursor.floor(bucket.number(), stream)), None),
            (Order::NewestFirst, Some(cursor)) => (None, Some(cursor.ceiling(bucket.number(), stream))),
        };
        // None sorts before any ID, but as an upper bound it means no bound.
        let after = from.max(floor);
        let before = [to, ceiling].into_iter().flatten().min();
        // There is nothing before the first possible ID or after the last, and Redis rejects such ranges.
        let (first, last) = (EntryId { time_ms: 0, number: 0 }, EntryId { time_ms: u64::MAX, number: u64::MAX });
        let ended = before == Some(first) || after == Some(last);
        Self { bucket, stream, after, before, ahead: VecDeque::new(), batch, ended, damaged: Vec::new() }
    }

    fn id(&self, entry: &StoredEntry) -> EventId {
        EventId { at: entry.id, bucket: self.bucket.number(), stream: self.stream }
    }

    async fn read_ahead(&mut self, store: &Store, order: Order) -> Result<(), StoreError> {
        // A page with unreadable entries only is not the end.
        while self.ahead.is_empty() && !self.ended {
            self.read_page(store, order).await?;
        }
        Ok(())
    }

    async fn read_page(&mut self, store: &Store, order: Order) -> Result<(), StoreError> {
        let (bucket, stream, count) = (&self.bucket, self.stream, self.batch);
        let mut page = match order {
            Order::OldestFirst => {
                store.entries_after(bucket, stream, self.after, self.before.map(just_before), count).await?
            }
            Order::NewestFirst => store.entries_before(bucket, stream, self.before, count).await?,
        };
        self.ended = page.count() < count;
        match order {
            Order::OldestFirst => self.after = page.last.or(self.after),
            Order::NewestFirst => {
                self.before = page.last.or(self.before);
                let wanted = |id: EntryId| self.after.is_none_or(|after| id > after);
                self.ended |= page.last.is_some_and(|last| !wanted(last));
                page.entries.retain(|entry| wanted(entry.id));
                page.damaged.retain(|entry| wanted(entry.id));
            }
        }
        let (bucket, stream) = (self.bucket.number(), self.stream);
        self.damaged.extend(page.damaged.iter().map(|entry| EventId { at: entry.id, bucket, stream }));
        self.batch = (self.batch * 4).min(page.next_count());
        self.ahead = page.entries.into();
        Ok(())
    }
}

impl<'a> Merge<'a> {
    /// Starts at the first entry in that order, or after the cursor.
    pub fn new(
        store: &'a Store,
        sources: Vec<(Bucket, Stream)>,
        order: Order,
        span: Span,
        cursor: Option<EventId>,
    ) -> Self {
        let batch = (FIRST_READ / sources.len().max(1)).max(LEAST_READ);
        let sources = sources
            .into_iter()
            .map(|(bucket, stream)| Source::new(bucket, stream, Start { order, span, cursor }, batch));
        Self { store, order, sources: sources.collect(), pace: Pace::default() }
    }

    /// The unreadable entries that were skipped so far.
    pub fn damaged(&self) -> impl Iterator<Item = EventId> {
        self.sources.iter().flat_map(|source| source.damaged.iter().copied())
    }

    /// # Errors
    /// [`StoreError`]; entries that were returned before stay valid.
    pub async fn next(&mut self) -> Result<Option<(EventId, Entry)>, StoreError> {
        let (store, order) = (self.store, self.order);
        let is_empty = |source: &Source| source.ahead.is_empty() && !source.ended;
        if self.sources.iter().any(is_empty) {
            self.pace.rest().await;
        }
        let empty = self.sources.iter_mut().filter(|source| is_empty(source));
        let reads = empty.map(|source| source.read_ahead(store, order));
        stream::iter(reads).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
        let fronts = self.sources.iter().enumerate();
        let fronts = fronts.filter_map(|(place, source)| Some((source.id(source.ahead.front()?), place)));
        let next = match order {
            Order::OldestFirst => fronts.min(),
            Order::NewestFirst => fronts.max(),
        };
        let Some((id, place)) = next else { return Ok(None) };
        Ok(self.sources[place].ahead.pop_front().map(|stored| (id, stored.entry)))
    }
}

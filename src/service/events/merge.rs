//! Entries of several streams as one, in the order of their ids.

use std::collections::VecDeque;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::id::{EventId, just_before};
use crate::domain::ledger::Entry;
use crate::store::Store;
use crate::store::audit::EntryId;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::ledger::{StoredEntry, Stream};

/// Streams that are read at the same time.
const PARALLEL: usize = 16;
/// Entries that are read ahead of all streams together at first, and of one stream at most.
const FIRST_READ: usize = 256;
const MOST_READ: usize = 1_000;
const LEAST_READ: usize = 8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// Real time, as Redis took events down, in milliseconds: `[from_ms, to_ms)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    pub from_ms: Option<u64>,
    pub to_ms: Option<u64>,
}

/// One stream, read up to some place.
struct Source {
    bucket: Bucket,
    stream: Stream,
    /// Exclusive bounds of what is still to be read.
    after: Option<EntryId>,
    before: Option<EntryId>,
    ahead: VecDeque<StoredEntry>,
    batch: usize,
    ended: bool,
}

/// Walks over streams, entry by entry.
pub struct Merge<'a> {
    store: &'a Store,
    order: Order,
    sources: Vec<Source>,
}

impl Source {
    fn new(
        (bucket, stream): (Bucket, Stream),
        order: Order,
        span: Span,
        cursor: Option<EventId>,
        batch: usize,
    ) -> Self {
        let start = |time_ms| EntryId { time_ms, number: 0 };
        let from = span.from_ms.map(|from| just_before(start(from)));
        let to = span.to_ms.map(start);
        let (floor, ceiling) = match (order, cursor) {
            (_, None) => (None, None),
            (Order::OldestFirst, Some(cursor)) => (Some(cursor.floor(bucket.number(), stream)), None),
            (Order::NewestFirst, Some(cursor)) => (None, Some(cursor.ceiling(bucket.number(), stream))),
        };
        // None is less than any id, but as an upper bound it is none.
        let after = from.max(floor);
        let before = [to, ceiling].into_iter().flatten().min();
        // Nothing lies before the first possible id, or after the last: Redis refuses to look there.
        let (first, last) = (EntryId { time_ms: 0, number: 0 }, EntryId { time_ms: u64::MAX, number: u64::MAX });
        let ended = before == Some(first) || after == Some(last);
        Self { bucket, stream, after, before, ahead: VecDeque::new(), batch, ended }
    }

    fn id(&self, entry: &StoredEntry) -> EventId {
        EventId { at: entry.id, bucket: self.bucket.number(), stream: self.stream }
    }

    async fn read_ahead(&mut self, store: &Store, order: Order) -> Result<(), StoreError> {
        if !self.ahead.is_empty() || self.ended {
            return Ok(());
        }
        let (bucket, stream, count) = (&self.bucket, self.stream, self.batch);
        let mut read = match order {
            Order::OldestFirst => {
                store.entries_after(bucket, stream, self.after, self.before.map(just_before), count).await?
            }
            Order::NewestFirst => store.entries_before(bucket, stream, self.before, count).await?,
        };
        self.ended = read.len() < count;
        match order {
            Order::OldestFirst => self.after = read.last().map(|entry| entry.id).or(self.after),
            Order::NewestFirst => {
                self.before = read.last().map(|entry| entry.id).or(self.before);
                let wanted = read.partition_point(|entry| self.after.is_none_or(|after| entry.id > after));
                self.ended |= wanted < read.len();
                read.truncate(wanted);
            }
        }
        self.ahead = read.into();
        self.batch = (self.batch * 4).min(MOST_READ);
        Ok(())
    }
}

impl<'a> Merge<'a> {
    /// From the first entry in that order, or behind the cursor.
    pub fn new(
        store: &'a Store,
        sources: Vec<(Bucket, Stream)>,
        order: Order,
        span: Span,
        cursor: Option<EventId>,
    ) -> Self {
        let batch = (FIRST_READ / sources.len().max(1)).max(LEAST_READ);
        let sources = sources.into_iter().map(|source| Source::new(source, order, span, cursor, batch));
        Self { store, order, sources: sources.collect() }
    }

    /// # Errors
    /// [`StoreError`]; what was answered before stays true.
    pub async fn next(&mut self) -> Result<Option<(EventId, Entry)>, StoreError> {
        let (store, order) = (self.store, self.order);
        let empty = self.sources.iter_mut().filter(|source| source.ahead.is_empty() && !source.ended);
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

//! Limits on reads, so that they never starve metering calls: how many reads of a kind a key and a node may run at
//! once, and separate threads and Redis connections for long reads. Batches of metering calls are limited in the same
//! way, since each costs as much as a hundred calls.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::web;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};

use super::limits::{Bounds, Reader};
use crate::domain::values::ids::KeyId;
use crate::http::wire::auth::Principal;
use crate::http::wire::problem::ApiError;
use crate::infra::threads::step_back;
use crate::service::error::ServiceError;

/// How many pages, and how many scans, are read at the same time; others wait.
const PAGES_AT_ONCE: usize = 2;
const SCANS_AT_ONCE: usize = 2;
/// Drafts that run at the same time; each uses up to about 100 MB.
const WHATIFS_AT_ONCE: usize = 1;
/// Streams of events that check for new ones at the same time.
const FOLLOWERS_AT_ONCE: usize = 2;
/// Threads for reads: pages, scans, streams of events, and the watch over users of usage streams.
const THREADS: usize = PAGES_AT_ONCE + SCANS_AT_ONCE + FOLLOWERS_AT_ONCE + 1;

type Counts = HashMap<(Reader, Option<KeyId>), usize>;

/// The readers of one node.
pub struct Readers {
    /// In addition to the limits of each kind.
    most_of_key: usize,
    counts: Arc<Mutex<Counts>>,
    /// Its threads have their own Redis connections; see `store/client/connection.rs`.
    runtime: Option<Runtime>,
    pages: Arc<Semaphore>,
    scans: Arc<Semaphore>,
    whatifs: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

/// Counts a read while it runs.
pub struct Permit {
    counts: Arc<Mutex<Counts>>,
    reader: Reader,
    key: KeyId,
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        for name in [(self.reader, Some(self.key.clone())), (self.reader, None)] {
            if let Some(count) = counts.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&name);
                }
            }
        }
    }
}

impl Readers {
    /// `most_of_key`: concurrent reads of a kind per key, in addition to the limit of that kind.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub fn start(most_of_key: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(THREADS)
            .thread_name("reader")
            .on_thread_start(step_back)
            .enable_all()
            .build()?;
        Ok(Self {
            most_of_key,
            counts: Arc::default(),
            runtime: Some(runtime),
            pages: Arc::new(Semaphore::new(PAGES_AT_ONCE)),
            scans: Arc::new(Semaphore::new(SCANS_AT_ONCE)),
            whatifs: Arc::new(Semaphore::new(WHATIFS_AT_ONCE)),
            followers: Arc::new(Semaphore::new(FOLLOWERS_AT_ONCE)),
        })
    }

    /// # Errors
    /// 429 if the key or the node has reached its limit of these reads.
    pub fn admit(&self, reader: Reader, key: &KeyId) -> Result<Permit, ApiError> {
        let Bounds { per_key, per_node } = reader.bounds();
        let mut counts = lock(&self.counts);
        let count = |key| counts.get(&(reader, key)).copied().unwrap_or(0);
        let of_key = count(Some(key.clone())) >= per_key.min(self.most_of_key);
        if of_key || count(None) >= per_node {
            let by = if of_key { "key" } else { "node" };
            metrics::counter!("quotagate_refused_reads_total", "code" => reader.code(), "bound" => by).increment(1);
            return Err(ApiError::TooManyReads { reader, of_key });
        }
        for name in [Some(key.clone()), None] {
            *counts.entry((reader, name)).or_default() += 1;
        }
        Ok(Permit { counts: Arc::clone(&self.counts), reader, key: key.clone() })
    }

    /// Admits a read and runs it in turn, outside of the threads that serve metering calls. It completes even if the
    /// caller disconnects.
    ///
    /// # Errors
    /// 429, or the error of the read.
    pub async fn run<T, F>(
        &self,
        reader: Reader,
        principal: Principal,
        read: impl FnOnce(Principal) -> F + Send + 'static,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ApiError>>,
    {
        let permit = self.admit(reader, &principal.key.id)?;
        let turns = match reader {
            Reader::Page => &self.pages,
            Reader::Scan => &self.scans,
            Reader::Whatif => &self.whatifs,
            // Streams and batches are only counted here and run elsewhere.
            Reader::UsageStream | Reader::EventStream | Reader::Batch => &self.followers,
        };
        self.offload(turns, async move || {
            let result = read(principal).await;
            drop(permit);
            result
        })
        .await?
    }

    /// Checks for new events of a stream.
    ///
    /// # Errors
    /// The error of the read.
    pub async fn follow<T, F>(&self, read: impl FnOnce() -> F + Send + 'static) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        self.offload(&self.followers, read).await
    }

    /// Starts a task on the threads for reads.
    pub fn background<F: Future<Output = ()>>(&self, task: impl FnOnce() -> F + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            let handle = runtime.handle().clone();
            drop(runtime.spawn_blocking(move || handle.block_on(task())));
        }
    }

    /// Each draft gets its own thread, because the allocator keeps freed memory until the thread ends. On permanent
    /// threads, the memory of several drafts would accumulate.
    async fn offload<T, F>(
        &self,
        turns: &Arc<Semaphore>,
        read: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        let failed = |what: &str| ServiceError::Internal(format!("a read {what}"));
        let turn = Arc::clone(turns).acquire_owned().await.map_err(|_| failed("had no turn"))?;
        let runtime = self.runtime.as_ref().ok_or_else(|| failed("has no thread"))?;
        let handle = runtime.handle().clone();
        let work = move || {
            let result = handle.block_on(read());
            drop(turn);
            result
        };
        let ended = |error: &dyn Display| failed(&format!("ended early: {error}"));
        if !Arc::ptr_eq(turns, &self.whatifs) {
            return Ok(runtime.spawn_blocking(work).await.map_err(|error| ended(&error))?);
        }
        let (sender, receiver) = oneshot::channel();
        std::thread::Builder::new()
            .name("whatif".to_owned())
            .spawn(move || {
                step_back();
                // The receiver may be gone already.
                drop(sender.send(work()));
            })
            .map_err(|error| failed(&format!("has no thread: {error}")))?;
        Ok(receiver.await.map_err(|error| ended(&error))?)
    }
}

impl Drop for Readers {
    /// A node ends inside another runtime, where it must not wait for threads. Reads whose callers have left keep
    /// running and need their timers until they end.
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let turns = [
            (Arc::clone(&self.pages), PAGES_AT_ONCE),
            (Arc::clone(&self.scans), SCANS_AT_ONCE),
            (Arc::clone(&self.whatifs), WHATIFS_AT_ONCE),
            (Arc::clone(&self.followers), FOLLOWERS_AT_ONCE),
        ];
        std::thread::spawn(move || {
            for (turns, count) in turns {
                // Fails only if the semaphore is closed, which never happens.
                let _ = futures::executor::block_on(turns.acquire_many(u32::try_from(count).unwrap_or(u32::MAX)));
            }
            runtime.shutdown_background();
        });
    }
}

/// The form in which handlers receive it.
pub type SharedReaders = web::Data<Readers>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_a_node_have_as_many_reads_of_a_kind_as_the_table_says() {
        let readers = Readers::start(usize::MAX).unwrap();
        for reader in
            [Reader::Page, Reader::Scan, Reader::Whatif, Reader::UsageStream, Reader::EventStream, Reader::Batch]
        {
            let Bounds { per_key, per_node } = reader.bounds();
            let key = |place: usize| KeyId::parse(&format!("key_{place}")).unwrap();
            let mut permits = Vec::new();
            for place in 0..per_node {
                permits.push(readers.admit(reader, &key(place / per_key)).ok().unwrap());
                if place + 1 == per_key {
                    let refused = readers.admit(reader, &key(0)).err();
                    assert!(matches!(refused, Some(ApiError::TooManyReads { of_key: true, .. })), "{reader:?}");
                }
            }
            let refused = readers.admit(reader, &key(per_node)).err();
            assert!(matches!(refused, Some(ApiError::TooManyReads { of_key: false, .. })), "{reader:?}");
            drop(permits);
            assert!(readers.admit(reader, &key(0)).is_ok(), "{reader:?}: places are given back");
            assert!(lock(&readers.counts).is_empty(), "{reader:?}: no state remains for keys without reads");
        }
    }
}

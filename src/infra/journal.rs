//! A journal on disk of tasks that must be done once. A record is written and synced before the caller continues, and
//! stays until it is done. One thread writes, so that concurrent records share one sync.
//!
//! Each process has its own files in the directory, and at its start takes over files of processes that have ended. A
//! file is removed when all its records are done. Completed records are not marked, so a process that takes a file
//! over does all of them again: doing a record twice must be harmless.

pub mod file;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::infra::supervise::{Parts, Pulse, next_wait};
use file::{JournalFile, Record, line, refuse};

/// A larger file gets no more records, even if many of its records are done.
const MOST_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// The maximum number of records that share one sync.
const MOST_AT_ONCE: usize = 256;
/// How often the thread reports progress, and after which time without a report it counts as stalled.
const REPORT: Duration = Duration::from_secs(1);
const STALLED_AFTER: Duration = Duration::from_secs(15);

/// The directory and the limit of a node's journal.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Created with mode 0700 when it is needed.
    pub directory: PathBuf,
    /// The maximum number of waiting records; 0 means none.
    pub most: usize,
}

/// The result of appending a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Appended {
    Written,
    /// A record with the same name and fingerprint is waiting already: this one.
    Known(Record),
    /// Another record with the same name is waiting.
    Reused,
}

/// Why a record is not in the journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error("the maximum number of records is waiting")]
    Full,
    #[error("cannot write the journal: {0}")]
    Unwritable(String),
}

enum Order {
    Prepare(oneshot::Sender<()>),
    Append(Record, oneshot::Sender<Result<Appended, JournalError>>),
    Find(String, oneshot::Sender<Option<Record>>),
    /// The oldest records, at most this many.
    Waiting(usize, oneshot::Sender<Vec<Record>>),
    Done(String),
    Refused(String),
}

/// A handle on the journal. Dropping it ends the thread; the next process takes over the waiting records.
pub struct Journal {
    orders: Sender<Order>,
    shared: Arc<Shared>,
    /// The maximum number of waiting records.
    pub most: usize,
}

#[derive(Default)]
struct Shared {
    waiting: AtomicUsize,
    fault: Mutex<Option<String>>,
}

impl Shared {
    fn report(&self, fault: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

/// The state of the thread.
struct Writer {
    directory: PathBuf,
    most: usize,
    shared: Arc<Shared>,
    /// In the order in which they were appended.
    records: BTreeMap<u64, Waiting>,
    places: HashMap<String, u64>,
    files: HashMap<u64, FileState>,
    /// The file to append to.
    current: Option<u64>,
    next: u64,
}

struct Waiting {
    record: Record,
    file: u64,
}

/// A file with the number of its waiting records.
struct FileState {
    file: JournalFile,
    waiting: usize,
    is_damaged: bool,
}

impl Journal {
    /// Takes over the files of processes that have ended, and starts the thread. Nothing is written yet.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn open(options: JournalOptions, parts: &Parts) -> io::Result<Self> {
        let JournalOptions { directory, most } = options;
        let (orders, received) = channel();
        let shared = Arc::new(Shared::default());
        let pulse = parts.add("journal", STALLED_AFTER);
        let mut writer = Writer::new(directory.clone(), most, Arc::clone(&shared));
        let kept = Arc::clone(&shared);
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
            let mut wait = Duration::ZERO;
            loop {
                let begun = Instant::now();
                pulse.ended(match catch_unwind(AssertUnwindSafe(|| writer.run(&received, &pulse))) {
                    Ok(End::Closed) => return,
                    Ok(End::Aborted) => "was aborted",
                    Err(_) => "panicked",
                });
                wait = next_wait(wait, begun.elapsed());
                std::thread::sleep(wait);
                // Its records are on disk, and its files are unlocked.
                writer = Writer::new(directory.clone(), most, Arc::clone(&kept));
            }
        })?;
        Ok(Self { orders, shared, most })
    }

    /// The number of waiting records.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// The error of the last write, if it failed.
    pub fn fault(&self) -> Option<String> {
        self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Creates the file, so that errors are found before the first record; [`Journal::fault`] returns them.
    pub async fn prepare(&self) {
        let _ = self.ask(Order::Prepare).await;
    }

    /// Returns when the record is on disk.
    ///
    /// # Errors
    /// [`JournalError`]: the record is not on disk.
    pub async fn append(&self, record: Record) -> Result<Appended, JournalError> {
        let gone = || JournalError::Unwritable("its thread has ended".to_owned());
        self.ask(|reply| Order::Append(record, reply)).await.unwrap_or_else(|| Err(gone()))
    }

    /// The waiting record with that name.
    pub async fn find(&self, name: &str) -> Option<Record> {
        self.ask(|reply| Order::Find(name.to_owned(), reply)).await.flatten()
    }

    /// The oldest waiting records.
    pub async fn oldest(&self, most: usize) -> Vec<Record> {
        self.ask(|reply| Order::Waiting(most, reply)).await.unwrap_or_default()
    }

    pub fn done(&self, name: &str) {
        let _ = self.orders.send(Order::Done(name.to_owned()));
    }

    /// Moves a record that can never be done to a file for inspection.
    pub fn refused(&self, name: &str) {
        let _ = self.orders.send(Order::Refused(name.to_owned()));
    }

    /// None if the thread has ended.
    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).ok()?;
        answer.await.ok()
    }
}

/// The result of an append.
type Outcome = Result<Appended, JournalError>;

/// Records that are written and synced together.
#[derive(Default)]
struct Batch {
    lines: String,
    /// The records of this batch, which are removed if it fails.
    places: Vec<u64>,
    answers: Vec<(oneshot::Sender<Outcome>, Outcome)>,
}

/// Why the thread's work ended.
enum End {
    /// All handles on the journal were dropped.
    Closed,
    Aborted,
}

impl Writer {
    /// Takes over the files that no process has locked.
    fn new(directory: PathBuf, most: usize, shared: Arc<Shared>) -> Self {
        let (records, places, files) = (BTreeMap::new(), HashMap::new(), HashMap::new());
        let mut writer = Self { directory, most, shared, records, places, files, current: None, next: 0 };
        writer.adopt();
        writer
    }

    fn run(mut self, received: &Receiver<Order>, pulse: &Pulse) -> End {
        loop {
            if pulse.beat_on_thread() {
                return End::Aborted;
            }
            let first = match received.recv_timeout(REPORT) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut batch = Batch::default();
            for order in std::iter::once(first).chain(received.try_iter().take(MOST_AT_ONCE - 1)) {
                self.take(order, &mut batch);
            }
            self.write(batch);
            self.count();
        }
        // An empty file need not be taken over.
        if let Some(kept) =
            self.current.and_then(|current| self.files.remove(&current)).filter(|kept| kept.waiting == 0)
        {
            let _ = kept.file.remove();
        }
        End::Closed
    }

    fn count(&self) {
        self.shared.waiting.store(self.records.len(), Ordering::Relaxed);
        metrics::gauge!("quotagate_degraded_waiting").set(self.records.len() as f64);
    }

    fn take(&mut self, order: Order, batch: &mut Batch) {
        // If the caller no longer waits, the answer is dropped.
        match order {
            Order::Prepare(reply) => {
                if let Err(error) = self.current() {
                    self.failed(&error);
                }
                let _ = reply.send(());
            }
            Order::Append(record, reply) => {
                let answer = self.stage(record, batch);
                batch.answers.push((reply, answer));
            }
            Order::Find(name, reply) => {
                let found = self.places.get(&name).and_then(|place| self.records.get(place));
                // Records that are not synced yet may still be removed.
                let found = found.filter(|_| !self.places.get(&name).is_some_and(|place| batch.places.contains(place)));
                let _ = reply.send(found.map(|waiting| waiting.record.clone()));
            }
            Order::Waiting(most, reply) => {
                let oldest = self.records.iter().filter(|(place, _)| !batch.places.contains(place)).take(most);
                let _ = reply.send(oldest.map(|(_, waiting)| waiting.record.clone()).collect());
            }
            Order::Done(name) => self.done(&name),
            Order::Refused(name) => self.refused(&name),
        }
    }

    fn stage(&mut self, record: Record, batch: &mut Batch) -> Result<Appended, JournalError> {
        if let Some(known) = self.places.get(&record.name).and_then(|place| self.records.get(place)) {
            return Ok(match known.record.fingerprint == record.fingerprint {
                true => Appended::Known(known.record.clone()),
                false => Appended::Reused,
            });
        }
        if self.records.len() >= self.most {
            return Err(JournalError::Full);
        }
        let unwritable = |error: io::Error| JournalError::Unwritable(error.to_string());
        let file = self.current().inspect_err(|error| self.failed(error)).map_err(unwritable)?;
        let line = line(&record).map_err(unwritable)?;
        let added = u64::try_from(batch.lines.len() + line.len()).unwrap_or(u64::MAX);
        let kept = self.files.get_mut(&file).ok_or(JournalError::Full)?;
        if kept.file.length().saturating_add(added) > MOST_FILE_BYTES {
            return Err(JournalError::Full);
        }
        kept.waiting += 1;
        batch.lines.push_str(&line);
        let place = self.number();
        self.places.insert(record.name.clone(), place);
        self.records.insert(place, Waiting { record, file });
        batch.places.push(place);
        Ok(Appended::Written)
    }

    fn write(&mut self, batch: Batch) {
        let written = match self.current.and_then(|current| self.files.get_mut(&current)) {
            Some(kept) if !batch.lines.is_empty() => kept.file.append(&batch.lines),
            _ => Ok(()),
        };
        if let Err(error) = &written {
            self.failed(error);
            for place in &batch.places {
                self.forget(*place);
            }
            // It may end within a line.
            self.current = None;
            self.drop_empty();
        } else if !batch.lines.is_empty() {
            self.shared.report(None);
        }
        self.count();
        for (reply, answer) in batch.answers {
            let answer = match (&written, answer) {
                (Err(error), Ok(_)) => Err(JournalError::Unwritable(error.to_string())),
                (_, answer) => answer,
            };
            let _ = reply.send(answer);
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The file to append to, created if there is none.
    fn current(&mut self) -> io::Result<u64> {
        if let Some(current) = self.current {
            return Ok(current);
        }
        let file = JournalFile::create(&self.directory)?;
        let number = self.number();
        self.files.insert(number, FileState { file, waiting: 0, is_damaged: false });
        self.current = Some(number);
        self.shared.report(None);
        Ok(number)
    }

    /// Logged once, not with every record.
    fn failed(&self, error: &io::Error) {
        let known = self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner).replace(error.to_string());
        if known == Some(error.to_string()) {
            return;
        }
        tracing::error!(directory = %self.directory.display(), %error, "cannot write the journal: reserves are refused while Redis is unavailable");
    }

    /// Removes a record; its file stays.
    fn forget(&mut self, place: u64) -> Option<Record> {
        let Waiting { record, file } = self.records.remove(&place)?;
        self.places.remove(&record.name);
        if let Some(kept) = self.files.get_mut(&file) {
            kept.waiting = kept.waiting.saturating_sub(1);
        }
        Some(record)
    }

    fn done(&mut self, name: &str) {
        if let Some(place) = self.places.get(name) {
            self.forget(*place);
            self.drop_empty();
            self.count();
        }
    }

    fn refused(&mut self, name: &str) {
        let Some(waiting) = self.places.get(name).and_then(|place| self.records.get(place)) else { return };
        match refuse(&self.directory, &waiting.record) {
            Ok(path) => {
                tracing::error!(name, file = %path.display(), "a degraded reserve cannot be counted; it was moved to this file for inspection");
                self.done(name);
            }
            // It keeps waiting and will be tried again.
            Err(error) => self.failed(&error),
        }
    }

    /// Removes files whose records are all done, except one that is ready for its first record.
    fn drop_empty(&mut self) {
        let current = self.current;
        let is_ready = |number: &u64, kept: &FileState| Some(*number) == current && kept.file.is_new();
        let done = self.files.iter().filter(|(number, kept)| kept.waiting == 0 && !is_ready(number, kept));
        let numbers: Vec<u64> = done.map(|(number, _)| *number).collect();
        for number in numbers {
            if self.current == Some(number) {
                self.current = None;
            }
            let Some(kept) = self.files.remove(&number) else { continue };
            let path = kept.file.path().display().to_string();
            let removed = match kept.is_damaged {
                true => kept.file.set_aside().map(|aside| {
                    tracing::error!(file = %aside.display(), "lines of this journal could not be read; it was moved to this file for inspection");
                }),
                false => kept.file.remove(),
            };
            if let Err(error) = removed {
                tracing::warn!(file = path, %error, "cannot remove a completed journal");
            }
        }
    }

    /// Takes over files that no process has locked.
    fn adopt(&mut self) {
        let paths = JournalFile::list(&self.directory).unwrap_or_else(|error| {
            tracing::error!(directory = %self.directory.display(), %error, "cannot list the journals");
            Vec::new()
        });
        for path in paths {
            let (file, found) = match JournalFile::adopt(&path) {
                Ok(Some(adopted)) => adopted,
                Ok(None) => continue,
                Err(error) => {
                    tracing::error!(file = %path.display(), %error, "cannot read a journal");
                    continue;
                }
            };
            if found.torn_bytes > 0 || found.damaged > 0 || !found.records.is_empty() {
                let (records, damaged, torn_bytes) = (found.records.len(), found.damaged, found.torn_bytes);
                tracing::warn!(file = %path.display(), records, damaged, torn_bytes, "took over the journal of an earlier process");
            }
            let number = self.number();
            let mut kept = FileState { file, waiting: 0, is_damaged: found.damaged > 0 };
            for record in found.records {
                // Two files may contain the same operation; one copy is enough.
                if self.places.contains_key(&record.name) {
                    continue;
                }
                let place = self.number();
                self.places.insert(record.name.clone(), place);
                self.records.insert(place, Waiting { record, file: number });
                kept.waiting += 1;
            }
            self.files.insert(number, kept);
        }
        self.drop_empty();
        self.count();
    }
}

#[cfg(test)]
mod tests;

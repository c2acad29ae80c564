//! A journal on disk of what is to be done once, later: a record is there, synced, before anybody is told so, and stays
//! until it is done. One thread writes, so that records which come together share one sync.
//!
//! Each process writes a file of its own in the directory and takes over, at its start, the files of processes that are
//! gone. A file is removed when all in it is done; what was done of it before is not marked, so whoever reads it again
//! does all of it again: doing a record twice must be harmless.

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

/// A file takes no more records beyond this, also while many of them are done already.
const MOST_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Records that share one sync, at most.
const MOST_AT_ONCE: usize = 256;
/// How often the thread reports that it works, and after how long without a report it is stalled.
const REPORT: Duration = Duration::from_secs(1);
const STALLED_AFTER: Duration = Duration::from_secs(15);

/// Where a node journals, and how much.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Made with mode 0700 when it is needed.
    pub directory: PathBuf,
    /// How many records may wait; 0: none.
    pub most: usize,
}

/// What became of a record that was to be journalled.
#[derive(Clone, Debug, PartialEq)]
pub enum Appended {
    Written,
    /// One of the same name and fingerprint waits already: this one.
    Known(Record),
    /// One of the same name waits that is another.
    Reused,
}

/// Why a record is not in the journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error("as many records wait as may wait")]
    Full,
    #[error("the journal cannot be written: {0}")]
    Unwritable(String),
}

enum Order {
    Prepare(oneshot::Sender<()>),
    Append(Record, oneshot::Sender<Result<Appended, JournalError>>),
    Find(String, oneshot::Sender<Option<Record>>),
    /// The oldest records, so many.
    Waiting(usize, oneshot::Sender<Vec<Record>>),
    Done(String),
    Refused(String),
}

/// A handle on the journal; dropping it ends the thread, and what waits is taken over by the next process.
pub struct Journal {
    orders: Sender<Order>,
    shared: Arc<Shared>,
    /// How many records may wait.
    pub most: usize,
}

#[derive(Default)]
struct Shared {
    waiting: AtomicUsize,
    fault: Mutex<Option<String>>,
}

impl Shared {
    fn tell(&self, fault: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

/// What the thread works on.
struct Writer {
    directory: PathBuf,
    most: usize,
    shared: Arc<Shared>,
    /// By the order in which they came.
    records: BTreeMap<u64, Waiting>,
    places: HashMap<String, u64>,
    files: HashMap<u64, Kept>,
    /// The file that is appended to.
    current: Option<u64>,
    next: u64,
}

struct Waiting {
    record: Record,
    file: u64,
}

/// A file with how many of its records wait.
struct Kept {
    file: JournalFile,
    waiting: usize,
    is_damaged: bool,
}

impl Journal {
    /// Takes over what processes that are gone have left, and starts the thread. Nothing is written yet.
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
                // What it had is on disk, and its files are nobody's.
                writer = Writer::new(directory.clone(), most, Arc::clone(&kept));
            }
        })?;
        Ok(Self { orders, shared, most })
    }

    /// How many records wait.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Why nothing could be written the last time.
    pub fn fault(&self) -> Option<String> {
        self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the file ready, so that the first record meets no surprise; [`Journal::fault`] tells of one.
    pub async fn prepare(&self) {
        let _ = self.ask(Order::Prepare).await;
    }

    /// Answers when the record is on disk.
    ///
    /// # Errors
    /// [`JournalError`]: it is not.
    pub async fn append(&self, record: Record) -> Result<Appended, JournalError> {
        let gone = || JournalError::Unwritable("its thread has ended".to_owned());
        self.ask(|reply| Order::Append(record, reply)).await.unwrap_or_else(|| Err(gone()))
    }

    /// The record of that name, if it waits.
    pub async fn find(&self, name: &str) -> Option<Record> {
        self.ask(|reply| Order::Find(name.to_owned(), reply)).await.flatten()
    }

    /// The oldest records that wait.
    pub async fn oldest(&self, most: usize) -> Vec<Record> {
        self.ask(|reply| Order::Waiting(most, reply)).await.unwrap_or_default()
    }

    pub fn done(&self, name: &str) {
        let _ = self.orders.send(Order::Done(name.to_owned()));
    }

    /// It can never be done: it goes to a file for people.
    pub fn refused(&self, name: &str) {
        let _ = self.orders.send(Order::Refused(name.to_owned()));
    }

    /// None: the thread has ended.
    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).ok()?;
        answer.await.ok()
    }
}

/// What becomes of an append.
type Outcome = Result<Appended, JournalError>;

/// Records that are written and synced together.
#[derive(Default)]
struct Batch {
    lines: String,
    /// The records of this batch, to be taken back if it fails.
    places: Vec<u64>,
    answers: Vec<(oneshot::Sender<Outcome>, Outcome)>,
}

/// Why the thread's work ended.
enum End {
    /// Nobody has a handle on the journal any more.
    Closed,
    Aborted,
}

impl Writer {
    /// Takes over the files that no process holds.
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
        // Whoever no longer waits for an answer misses nothing.
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
                // What is not synced yet may still be taken back.
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
            self.shared.tell(None);
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

    /// The file to append to, made if there is none.
    fn current(&mut self) -> io::Result<u64> {
        if let Some(current) = self.current {
            return Ok(current);
        }
        let file = JournalFile::create(&self.directory)?;
        let number = self.number();
        self.files.insert(number, Kept { file, waiting: 0, is_damaged: false });
        self.current = Some(number);
        self.shared.tell(None);
        Ok(number)
    }

    /// Told once, not with every record.
    fn failed(&self, error: &io::Error) {
        let known = self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner).replace(error.to_string());
        if known == Some(error.to_string()) {
            return;
        }
        tracing::error!(directory = %self.directory.display(), %error, "the journal of degraded reserves cannot be written: they are refused");
    }

    /// Takes a record out; its file stays.
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
                tracing::error!(name, file = %path.display(), "a degraded reserve cannot be counted: it is kept for people to look at");
                self.done(name);
            }
            // It waits on, and comes up again.
            Err(error) => self.failed(&error),
        }
    }

    /// Removes files in which all is done, but for one that is ready for its first record.
    fn drop_empty(&mut self) {
        let current = self.current;
        let is_ready = |number: &u64, kept: &Kept| Some(*number) == current && kept.file.is_new();
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
                    tracing::error!(file = %aside.display(), "lines of this journal could not be read: it is kept for people to look at");
                }),
                false => kept.file.remove(),
            };
            if let Err(error) = removed {
                tracing::warn!(file = path, %error, "a journal whose records are done cannot be removed");
            }
        }
    }

    /// Takes over files that no process holds.
    fn adopt(&mut self) {
        let paths = JournalFile::list(&self.directory).unwrap_or_else(|error| {
            tracing::error!(directory = %self.directory.display(), %error, "journals cannot be looked for");
            Vec::new()
        });
        for path in paths {
            let (file, found) = match JournalFile::adopt(&path) {
                Ok(Some(adopted)) => adopted,
                Ok(None) => continue,
                Err(error) => {
                    tracing::error!(file = %path.display(), %error, "a journal cannot be read");
                    continue;
                }
            };
            if found.torn_bytes > 0 || found.damaged > 0 || !found.records.is_empty() {
                let (records, damaged, torn_bytes) = (found.records.len(), found.damaged, found.torn_bytes);
                tracing::warn!(file = %path.display(), records, damaged, torn_bytes, "a journal of an earlier process is taken over");
            }
            let number = self.number();
            let mut kept = Kept { file, waiting: 0, is_damaged: found.damaged > 0 };
            for record in found.records {
                // Two files may hold the same operation: one is enough.
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

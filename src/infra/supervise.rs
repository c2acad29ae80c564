//! Background tasks ("parts") of a node. Each part has a name, is restarted after it ends or panics, and reports
//! progress, so that `/readyz` can name a part that has failed. This module does not know what the parts do.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{AbortHandle, Aborted, abortable};
use tokio::task::JoinHandle;

/// The shortest and the longest wait before a restart.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A part that ran for this long is restarted after the first wait.
const STEADY_AFTER: Duration = Duration::from_secs(60);
/// How often a paused part checks whether it may continue.
const HELD_LOOK: Duration = Duration::from_millis(10);

/// All parts of a node. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Parts(Arc<Mutex<Vec<Arc<Part>>>>);

#[derive(Debug)]
struct Part {
    name: &'static str,
    /// A part without progress for longer than this counts as stalled.
    bound: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The last report of progress.
    last_progress: Instant,
    /// It has ended and is not restarted yet.
    down: bool,
    restarts: u64,
    /// For tests: the part must pause.
    held: bool,
    /// For tests: the part must end.
    ends: bool,
    abort: Option<AbortHandle>,
}

/// The state of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartReport {
    pub name: &'static str,
    /// None if it works, otherwise the time since its last progress.
    pub silent_for: Option<Duration>,
    pub restarts: u64,
}

/// A part uses this to report progress.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Part>);

/// A part that runs until this is dropped.
#[derive(Debug)]
pub struct Supervised(JoinHandle<()>);

impl Drop for Supervised {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Part {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// A pulse without a part.
    pub fn unobserved() -> Self {
        Parts::default().add("unobserved", Duration::MAX)
    }

    /// Reports progress.
    pub async fn beat(&self) {
        while self.0.state().held {
            tokio::time::sleep(HELD_LOOK).await;
        }
        self.record_progress();
    }

    /// The same on a thread. Returns whether the part must end.
    #[must_use]
    pub fn beat_on_thread(&self) -> bool {
        while self.0.state().held {
            std::thread::sleep(HELD_LOOK);
        }
        self.record_progress();
        std::mem::take(&mut self.0.state().ends)
    }

    fn record_progress(&self) {
        let mut state = self.0.state();
        state.last_progress = Instant::now();
        state.down = false;
    }

    /// Records that the part has ended and will be restarted.
    pub fn ended(&self, how: &str) {
        let mut state = self.0.state();
        state.down = true;
        state.restarts += 1;
        drop(state);
        metrics::counter!("quotagate_task_restarts_total", "task" => self.0.name).increment(1);
        tracing::error!(task = self.0.name, "a background task {how}; it is restarted");
    }
}

impl Parts {
    /// Adds a part that runs elsewhere, for example on a thread.
    pub fn add(&self, name: &'static str, bound: Duration) -> Pulse {
        let (last_progress, abort) = (Instant::now(), None);
        let state = Mutex::new(State { last_progress, down: false, restarts: 0, held: false, ends: false, abort });
        let part = Arc::new(Part { name, bound, state });
        self.lock().push(Arc::clone(&part));
        Pulse(part)
    }

    /// Runs the future that `make` creates, and creates another one whenever it ends.
    pub fn start<F>(
        &self,
        name: &'static str,
        bound: Duration,
        mut make: impl FnMut(Pulse) -> F + Send + 'static,
    ) -> Supervised
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let pulse = self.add(name, bound);
        Supervised(tokio::spawn(async move {
            let mut wait = FIRST_WAIT;
            loop {
                let begun = Instant::now();
                let (work, abort) = abortable(AssertUnwindSafe(make(pulse.clone())).catch_unwind());
                pulse.0.state().abort = Some(abort);
                pulse.ended(match work.await {
                    Ok(Ok(())) => "ended",
                    Ok(Err(_)) => "panicked",
                    Err(Aborted) => "was aborted",
                });
                wait = next_wait(wait, begun.elapsed());
                tokio::time::sleep(wait).await;
            }
        }))
    }

    /// All parts, sorted by name.
    pub fn report(&self) -> Vec<PartReport> {
        let report = |part: &Arc<Part>| {
            let state = part.state();
            let silent_for = state.last_progress.elapsed();
            let is_silent = state.down || silent_for > part.bound;
            PartReport { name: part.name, silent_for: is_silent.then_some(silent_for), restarts: state.restarts }
        };
        let mut reports: Vec<PartReport> = self.lock().iter().map(report).collect();
        reports.sort_by_key(|report| report.name);
        reports
    }

    /// For tests: ends a part, as a fault would.
    #[doc(hidden)]
    pub fn end(&self, name: &str) {
        self.each_named(name, |state| match state.abort.take() {
            Some(abort) => abort.abort(),
            None => state.ends = true,
        });
    }

    /// For tests: pauses a part, or lets it continue.
    #[doc(hidden)]
    pub fn hold(&self, name: &str, held: bool) {
        self.each_named(name, |state| state.held = held);
    }

    fn each_named(&self, name: &str, act: impl Fn(&mut State)) {
        self.lock().iter().filter(|part| part.name == name).for_each(|part| act(&mut part.state()));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Part>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wait before a restart, after a last wait of `wait` and a run of `ran`.
pub fn next_wait(wait: Duration, ran: Duration) -> Duration {
    if ran > STEADY_AFTER { FIRST_WAIT } else { (wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT) }
}

/// Spawns a task that does one thing. A panic is logged and counted; the caller must be able to try again later.
pub fn once(name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(async move {
        if AssertUnwindSafe(work).catch_unwind().await.is_err() {
            metrics::counter!("quotagate_task_restarts_total", "task" => name).increment(1);
            tracing::error!(task = name, "a task panicked; its work is retried");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    const LONG: Duration = Duration::from_secs(600);

    async fn eventually(what: &str, condition: impl Fn() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < Duration::from_secs(60), "never came true: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn of(parts: &Parts) -> PartReport {
        parts.report()[0].clone()
    }

    #[tokio::test]
    async fn a_part_that_ends_or_panics_starts_again() {
        let (parts, runs) = (Parts::default(), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&runs);
        let _part = parts.start("part", LONG, move |pulse| {
            let run = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                pulse.beat().await;
                assert!(run > 0, "the first run fails");
                if run > 1 {
                    std::future::pending::<()>().await;
                }
            }
        });
        eventually("it runs for the third time", || {
            of(&parts) == PartReport { name: "part", silent_for: None, restarts: 2 }
        })
        .await;
        parts.end("part");
        eventually("it runs for the fourth time", || of(&parts).restarts == 3 && of(&parts).silent_for.is_none()).await;
        assert_eq!(runs.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn a_part_without_progress_is_reported_until_it_goes_on() {
        let parts = Parts::default();
        let _part = parts.start("part", Duration::from_millis(500), |pulse| async move {
            loop {
                pulse.beat().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        eventually("it works", || of(&parts).silent_for.is_none()).await;
        parts.hold("part", true);
        eventually("it is reported", || of(&parts).silent_for.is_some()).await;
        parts.hold("part", false);
        eventually("it works again", || of(&parts).silent_for.is_none()).await;
        assert_eq!(of(&parts).restarts, 0);
    }

    #[tokio::test]
    async fn a_part_ends_with_what_supervises_it() {
        let (parts, alive) = (Parts::default(), Arc::new(()));
        let kept = Arc::clone(&alive);
        let part = parts.start("part", LONG, move |pulse| {
            let kept = Arc::clone(&kept);
            async move {
                pulse.beat().await;
                std::future::pending::<()>().await;
                drop(kept);
            }
        });
        eventually("it runs", || Arc::strong_count(&alive) == 3).await;
        drop(part);
        eventually("it is gone", || Arc::strong_count(&alive) == 1).await;
    }

    #[test]
    fn waits_grow_to_a_bound_and_restart_after_a_steady_run() {
        let short = Duration::from_secs(1);
        let mut waits = vec![FIRST_WAIT];
        for place in 0..12 {
            waits.push(next_wait(waits[place], short));
        }
        assert!(waits.is_sorted() && waits[12] == LONGEST_WAIT, "{waits:?}");
        assert_eq!(next_wait(LONGEST_WAIT, STEADY_AFTER + short), FIRST_WAIT);
    }
}

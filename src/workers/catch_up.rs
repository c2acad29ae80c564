//! Catching up after an outage of Redis: what was allowed without it is counted as soon as it is back. Nothing here is in
//! the way of a metering call, and while Redis is there it only makes ready what an outage would need.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, oneshot};

use crate::infra::supervise::Pulse;
use crate::service::gateway::Gateway;

/// How often it is asked whether Redis is back, while it is away.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is looked whether everything is ready for an outage.
const LOOK_READY: Duration = Duration::from_secs(1);

/// The worker of one node. Clones are the same worker.
#[derive(Clone)]
pub struct CatchUp {
    gateway: Arc<Gateway>,
    /// Locked while a thread works.
    working: Arc<Mutex<()>>,
}

impl CatchUp {
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, working: Arc::default() }
    }

    /// Works until it is dropped, on a thread of its own with the runtime of the caller: what a use case borrows on its
    /// way cannot be shown to be good for any thread.
    pub async fn run(self, pulse: Pulse) {
        let working = Arc::clone(&self.working).lock_owned().await;
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel::<()>();
        let runtime = Handle::current();
        let thread = std::thread::Builder::new().name("catch-up".to_owned()).spawn(move || {
            let _working = working;
            runtime.block_on(async {
                tokio::select! {
                    () = self.work(&pulse) => {}
                    _ = stopped => {}
                }
            });
            drop(end);
        });
        match thread {
            // It ends with the thread, also with one that panics.
            Ok(_) => drop(ended.await),
            Err(error) => tracing::error!(%error, "the thread that counts degraded reserves cannot be started"),
        }
        drop(stop);
    }

    /// Returns when no thread works any more.
    pub async fn stopped(&self) {
        drop(self.working.lock().await);
    }

    async fn work(&self, pulse: &Pulse) {
        let mut ready = tokio::time::interval(LOOK_READY);
        ready.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pulse.beat().await;
            tokio::select! {
                () = self.gateway.degraded.engaged() => {
                    self.gateway.catch_up_after_outage(pulse).await;
                    tokio::time::sleep(LOOK).await;
                }
                _ = ready.tick() => {
                    if let Err(error) = self.gateway.prepare_for_outage().await {
                        tracing::debug!(?error, "cannot prepare for an outage");
                    }
                }
            }
        }
    }
}

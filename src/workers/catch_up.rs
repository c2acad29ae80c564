//! After an outage of Redis, counts the calls that were allowed meanwhile. It runs outside of metering calls. While
//! Redis is available, it prepares for an outage.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, oneshot};

use crate::infra::supervise::Pulse;
use crate::service::gateway::Gateway;

/// How often an unavailable Redis is probed.
const LOOK: Duration = Duration::from_millis(100);
/// How often the preparation for an outage is checked.
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

    /// Works until it is dropped, on a separate thread with the caller's runtime, because the futures of use cases are
    /// not `Send`.
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
            // Ends together with the thread, even if the thread panics.
            Ok(_) => drop(ended.await),
            Err(error) => tracing::error!(%error, "cannot start the thread that counts degraded reserves"),
        }
        drop(stop);
    }

    /// Returns when no thread is working any more.
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

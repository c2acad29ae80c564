//! Catching up after an outage of Redis: what was allowed without it is counted as soon as it is back. Nothing here is in
//! the way of a metering call, and while Redis is there it only makes ready what an outage would need.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::service::Gateway;

/// How often it is asked whether Redis is back, while it is away.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is looked whether everything is ready for an outage.
const LOOK_READY: Duration = Duration::from_secs(1);

/// The worker of one node.
pub struct CatchUp {
    gateway: Arc<Gateway>,
}

impl CatchUp {
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway }
    }

    /// Works on a thread of its own, with the runtime of the caller: what a use case borrows on its way cannot be shown to
    /// be good for any thread. None: without a journal there is nothing to do.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(self) -> io::Result<Option<CatchingUp>> {
        if self.gateway.degraded.journal.is_none() {
            return Ok(None);
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let runtime = Handle::current();
        std::thread::Builder::new().name("catch-up".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.run() => {}
                    _ = stopped => {}
                }
            });
            let _ = end.send(());
        })?;
        Ok(Some(CatchingUp { stop, ended }))
    }

    async fn run(self) {
        let mut ready = tokio::time::interval(LOOK_READY);
        ready.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.gateway.degraded.engaged() => {
                    self.gateway.catch_up_after_outage().await;
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

/// The worker at work.
pub struct CatchingUp {
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl CatchingUp {
    /// Ends it; what waits is taken over by the next process.
    pub async fn stop(self) {
        drop(self.stop);
        // It is gone as well if its thread is.
        let _ = self.ended.await;
    }
}

//! Restarts the server whenever it ends.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use super::{STOP_TIMEOUT, Server};
use crate::infra::supervise::Pulse;

const LONGEST_RESTART_DELAY: Duration = Duration::from_secs(5);
/// A server that ran at least this long is restarted without delay.
const STEADY_AFTER: Duration = Duration::from_secs(30);
/// How often the task that waits for the server's end reports progress.
const REPORT: Duration = Duration::from_secs(1);

impl Server {
    /// Restarts the server whenever it ends: at once, then with growing pauses if it keeps ending. `child` is None
    /// while no server runs.
    pub(super) async fn keep_alive(&self, child: &mut Option<Child>, pulse: &Pulse) {
        let mut delay = Duration::ZERO;
        loop {
            if let Some(running) = child {
                let running_since = Instant::now();
                match end_of(running, pulse).await {
                    Ok(status) => tracing::error!("embedded {} ended ({status})", self.program),
                    Err(error) => tracing::error!("cannot watch embedded {} ({error})", self.program),
                }
                *child = None;
                if running_since.elapsed() > STEADY_AFTER {
                    delay = Duration::ZERO;
                }
            }
            *child = loop {
                sleep(delay).await;
                delay = next_restart_delay(delay);
                match self.launch().await {
                    Ok(child) => break Some(child),
                    Err(error) => tracing::error!("embedded Redis does not start: {error}"),
                }
            };
            tracing::info!("embedded {} is running again", self.program);
        }
    }

    /// Shuts the server down with its data on disk; kills it if it does not end.
    pub(super) async fn shut_down(&self, child: Option<Child>) {
        if let Some(mut child) = child
            && !matches!(child.try_wait(), Ok(Some(_)))
        {
            // Every SHUTDOWN writes and syncs the append-only file. NOSAVE concerns the RDB file, and makes the
            // command work while a script runs.
            let answer = self.ask("SHUTDOWN NOSAVE").await;
            if timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
                tracing::warn!(?answer, "embedded {} does not shut down: killing it", self.program);
                if let Err(error) = child.kill().await {
                    tracing::error!("cannot kill the embedded {}: {error}", self.program);
                }
            }
        }
        if let Some(dir) = self.private_socket_dir() {
            // Only cleanup: the next start recreates the directory.
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

async fn end_of(child: &mut Child, pulse: &Pulse) -> io::Result<ExitStatus> {
    loop {
        pulse.beat().await;
        if let Ok(ended) = timeout(REPORT, child.wait()).await {
            return ended;
        }
    }
}

pub(super) fn next_restart_delay(delay: Duration) -> Duration {
    (delay * 2).clamp(Duration::from_millis(100), LONGEST_RESTART_DELAY)
}

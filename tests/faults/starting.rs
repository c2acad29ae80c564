//! A gateway that starts while its store cannot accept writes yet.

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::gateway::Process;
use crate::stage::HASTY_MS;
use crate::support::{Redis, eventually, folder};
use crate::waiting::replicated;

/// A gateway that is starting, with a generated root admin key.
struct Starting {
    directory: TempDir,
    process: JoinHandle<Process>,
}

impl Starting {
    fn begin(redis: &Redis, wait_replicas: u8) -> Self {
        let directory = folder();
        let data_dir = directory.path().to_owned();
        let log = data_dir.join("log");
        std::fs::write(&log, "").unwrap();
        let settings = [
            ("QUOTAGATE_REDIS_URL", redis.url()),
            ("QUOTAGATE_REDIS_TIMEOUT_MS", HASTY_MS.to_string()),
            ("QUOTAGATE_WAIT_REPLICAS", wait_replicas.to_string()),
        ];
        let process = tokio::task::spawn_blocking(move || {
            let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
            Process::start_with(&data_dir, &settings, &log)
        });
        Self { directory, process }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Waits until it has logged once why it is not ready, and keeps trying.
    async fn has_logged_why(&self) {
        eventually("it logs why it waits", || async { self.log().contains("retrying for 10 s") }).await;
        let log = self.log();
        assert!(log.contains("the store is unavailable: "), "{log}");
        assert!(!self.process.is_finished());
    }

    /// Waits until it is ready and has printed the generated root admin key.
    async fn becomes_ready(self) {
        let log = self.log();
        assert_eq!(log.matches("retrying for 10 s").count(), 1, "{log}");
        let gateway = self.process.await.unwrap();
        let key = gateway.welcome.split("export QUOTAGATE_KEY=").nth(1).unwrap().split_whitespace().next().unwrap();
        let made = gateway.call("POST", "keys", key, &json!({"kind": "secret", "mode": "live"})).await;
        let event = json!({"userId": "u", "event": "job.run"});
        let tracked: Value = gateway.call("POST", "track", made["key"].as_str().unwrap(), &event).await;
        assert_eq!(tracked["matchStatus"], "no_subscription", "{tracked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_starts_before_its_redis_waits_for_it() {
    let mut redis = Redis::start().await;
    redis.kill();
    let starting = Starting::begin(&redis, 0);
    starting.has_logged_why().await;
    redis.start_again().await;
    starting.becomes_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_starts_before_the_replica_that_it_waits_for_follows_waits_too() {
    let (master, replica) = replicated().await;
    replica.hang();
    let starting = Starting::begin(&master, 1);
    starting.has_logged_why().await;
    replica.wake();
    starting.becomes_ready().await;
}

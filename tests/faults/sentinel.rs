//! A master that dies in mid-traffic, and the replica that Sentinel puts in its place. Replication is not awaited, so what
//! was acknowledged just before may be lost; nothing else may.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;

use tempfile::TempDir;

use crate::outside::is_no_more_than_told;
use crate::stage::Stage;
use crate::support::{Redis, eventually, free_port};
use crate::traffic::Traffic;

/// One Sentinel, whose word is enough.
struct Sentinel {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl Sentinel {
    fn start(master: u16) -> Self {
        let (directory, port) = (TempDir::new().unwrap(), free_port());
        let file = directory.path().join("sentinel.conf");
        let lines = [
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("sentinel monitor quotagate 127.0.0.1 {master} 1"),
            "sentinel down-after-milliseconds quotagate 1000".to_owned(),
            "sentinel failover-timeout quotagate 3000".to_owned(),
        ];
        std::fs::write(&file, lines.join("\n")).unwrap();
        let program = crate::support::redis_program();
        let child = Command::new(program)
            .arg(&file)
            .arg("--sentinel")
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port, _directory: directory }
    }

    /// What it knows of the replicas: whether there is one that could be promoted.
    async fn has_replica(&self) -> bool {
        let Ok(client) = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)) else { return false };
        let Ok(mut connection) = client.get_multiplexed_async_connection().await else { return false };
        let mut command = redis::cmd("SENTINEL");
        command.arg("REPLICAS").arg("quotagate");
        let found: redis::RedisResult<Vec<std::collections::BTreeMap<String, String>>> =
            command.query_async(&mut connection).await;
        found.is_ok_and(|replicas| {
            replicas.iter().any(|replica| replica["flags"] == "slave" && replica["master-link-status"] == "ok")
        })
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kills the master; answers how many calls were answered before and lost with it.
async fn promoted() -> (u64, u64) {
    let (first_port, second_port) = (free_port(), free_port());
    let mut master = Redis::with(&["--port", &first_port.to_string()]).await;
    let first = first_port.to_string();
    let replica = Redis::with(&["--port", &second_port.to_string(), "--replicaof", "127.0.0.1", &first]).await;
    let sentinel = Sentinel::start(first_port);
    eventually("Sentinel knows the replica", || sentinel.has_replica()).await;
    let url = format!("redis-sentinel://127.0.0.1:{}/quotagate", sentinel.port);
    let stage = Stage::set(url, 2).await;
    let traffic = Traffic::that_may_lose(&stage).await;
    traffic.goes_on(300).await;
    master.kill();
    eventually("the replica is promoted", || async {
        // Sentinel cuts the replica's connections when it promotes it.
        let client = redis::Client::open(replica.url()).unwrap();
        let Ok(mut connection) = client.get_multiplexed_async_connection().await else { return false };
        let info = redis::cmd("INFO").arg("replication").query_async::<String>(&mut connection).await;
        info.is_ok_and(|info| info.contains("role:master"))
    })
    .await;
    traffic.goes_on(300).await;
    let (answered, gone) =
        (traffic.seen().answered.load(Ordering::Relaxed), traffic.seen().gone.load(Ordering::Relaxed));
    let book = traffic.stop("the master killed and the replica promoted").await;
    let lost = is_no_more_than_told(&replica, &book).await;
    println!("{lost} acknowledged events lost, {gone} reservations gone, with replication not awaited");
    (answered, lost + gone)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_goes_on_and_loses_at_most_what_was_not_yet_replicated() {
    let (answered, lost) = promoted().await;
    // Each caller has one call under way, and a replica that keeps up is behind by less than a moment's calls.
    assert!(lost <= answered / 10, "{lost} of {answered} lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_10_promoted_replicas_go_on_and_lose_at_most_what_was_not_yet_replicated() {
    for _ in 0..10 {
        let (answered, lost) = promoted().await;
        assert!(lost <= answered / 10, "{lost} of {answered} lost");
    }
}

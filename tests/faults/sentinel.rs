//! A master that is killed during traffic, and the replica that Sentinel promotes. Without waiting for replication,
//! the last acknowledged calls may be lost, but nothing else; with `QUOTAGATE_WAIT_REPLICAS` nothing is lost.

use std::process::{Child, Command};
use std::sync::atomic::Ordering;

use serde_json::json;
use tempfile::TempDir;

use crate::batches::Batches;
use crate::outside::{is_as_acknowledged, is_at_most_acknowledged};
use crate::preload::{Preload, clock_off, owned};
use crate::stage::{Build, Stage};
use crate::support::cluster::follows;
use crate::support::run;
use crate::support::slots::Slot;
use crate::support::{Redis, connect, eventually, folder, free_port};
use crate::traffic::Traffic;

const PATIENCE_MS: u64 = 1_000;

/// One Sentinel, which is a quorum by itself.
struct Sentinel {
    child: Child,
    port: u16,
    /// `:password@` of its user `default`, if it requires one.
    login: String,
    directory: TempDir,
}

/// The users and passwords of servers and Sentinels.
#[derive(Default)]
pub struct Guard<'a> {
    /// Of the user `default` at the master and its replica.
    pub password: Option<&'a str>,
    /// Another user at these servers, as an ACL rule.
    pub user: Option<&'a str>,
    /// Of the user `default` at the Sentinel.
    pub sentinel_password: Option<&'a str>,
    /// Another user at the Sentinel.
    pub sentinel_user: Option<&'a str>,
}

impl Guard<'_> {
    fn options(&self) -> Vec<&str> {
        let password = self.password.into_iter().flat_map(|it| ["--requirepass", it, "--masterauth", it]);
        let user = self.user.into_iter().flat_map(|it| std::iter::once("--user").chain(it.split_whitespace()));
        password.chain(user).collect()
    }

    fn lines(&self) -> Vec<String> {
        let lines = [
            self.password.map(|it| format!("sentinel auth-pass quotagate {it}")),
            self.sentinel_password.map(|it| format!("requirepass {it}")),
            self.sentinel_user.map(|it| format!("user {it}")),
        ];
        lines.into_iter().flatten().collect()
    }
}

impl Sentinel {
    fn start(master: u16, guard: &Guard<'_>) -> Self {
        let (directory, port) = (folder(), free_port());
        let file = directory.path().join("sentinel.conf");
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("sentinel monitor quotagate 127.0.0.1 {master} 1"),
            format!("sentinel down-after-milliseconds quotagate {PATIENCE_MS}"),
            "sentinel failover-timeout quotagate 3000".to_owned(),
        ];
        lines.extend(guard.lines());
        let login = guard.sentinel_password.map_or_else(String::new, |password| format!(":{password}@"));
        std::fs::write(&file, lines.join("\n")).unwrap();
        let program = crate::support::redis_program();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new(program);
        command.arg(&file).arg("--sentinel").current_dir(directory.path());
        let child = run::spawn(command.stdout(log.try_clone().unwrap()).stderr(log)).unwrap();
        Self { child, port, login, directory }
    }

    async fn connect(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        connect(&format!("redis://{}127.0.0.1:{}", self.login, self.port)).await
    }

    /// Sets after how long without an answer the Sentinel considers the master dead.
    async fn patience_ms(&self, ms: u64) {
        let mut connection = self.connect().await.unwrap();
        let mut command = redis::cmd("SENTINEL");
        command.arg("SET").arg("quotagate").arg("down-after-milliseconds").arg(ms);
        command.query_async::<()>(&mut connection).await.unwrap();
    }

    /// Whether the Sentinel knows a replica that could be promoted.
    async fn has_replica(&self) -> bool {
        let Ok(mut connection) = self.connect().await else { return false };
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
        run::print_log_of_failed_test("Sentinel", &self.directory.path().join("log"));
    }
}

/// A master, its replica, and a Sentinel that monitors both.
pub struct Group {
    pub master: Redis,
    pub replica: Redis,
    replica_port: u16,
    sentinel: Sentinel,
    _slot: Slot,
}

impl Group {
    /// With a replica in this environment.
    pub async fn start(environment: &[(String, String)]) -> Self {
        Self::build(environment, &Guard::default()).await
    }

    /// With users and passwords.
    pub async fn guarded(guard: &Guard<'_>) -> Self {
        Self::build(&[], guard).await
    }

    async fn build(environment: &[(String, String)], guard: &Guard<'_>) -> Self {
        let slot = Slot::take().await;
        let (first, replica_port) = (free_port(), free_port());
        let (first_text, replica_text, guards) = (first.to_string(), replica_port.to_string(), guard.options());
        let master = Redis::with(&[&["--port", &first_text][..], &guards].concat()).await;
        let options = ["--port", &replica_text, "--replicaof", "127.0.0.1", &first_text];
        let replica = Redis::in_environment(&[&options[..], &guards].concat(), environment).await;
        follows(&replica).await;
        let sentinel = Sentinel::start(first, guard);
        eventually("Sentinel knows the replica", || sentinel.has_replica()).await;
        Self { master, replica, replica_port, sentinel, _slot: slot }
    }

    pub fn url(&self) -> String {
        self.url_as("", "")
    }

    /// The URL with `user:password@` before the hosts and a suffix after the master's name.
    pub fn url_as(&self, login: &str, more: &str) -> String {
        format!("redis-sentinel://{login}127.0.0.1:{}/quotagate{more}", self.sentinel.port)
    }

    /// Kills the master once its replica has all data; no replica is promoted before [`Group::promote`].
    pub async fn lose_master(&mut self) {
        self.sentinel.patience_ms(3_600_000).await;
        assert_eq!(self.master.run::<u64>(&["WAIT", "1", "10000"]).await, 1);
        self.master.kill();
    }

    /// Kills the master if it is running, and waits until the replica is promoted.
    pub async fn promote(&mut self) {
        self.master.kill();
        self.sentinel.patience_ms(PATIENCE_MS).await;
        eventually("the replica is promoted", || async {
            // Sentinel cuts the replica's connections when it promotes it.
            let Ok(mut connection) = connect(&self.replica.url()).await else { return false };
            let info = redis::cmd("INFO").arg("replication").query_async::<String>(&mut connection).await;
            info.is_ok_and(|info| info.contains("role:master"))
        })
        .await;
    }

    /// A replica of the new master.
    async fn heir(&self) -> Redis {
        Redis::with(&["--replicaof", "127.0.0.1", &self.replica_port.to_string()]).await
    }
}

/// Kills the master under traffic. Only calls answered after the replica's last known acknowledgement may be lost.
async fn promoted() {
    let mut group = Group::start(&[]).await;
    let stage = Stage::set(group.url(), 2).await;
    let traffic = Traffic::that_may_lose(&stage).await;
    traffic.goes_on(300).await;
    let bound = traffic.bound_on_loss(&group.master).await;
    group.master.kill();
    let bound = bound.by_now(&traffic);
    group.promote().await;
    traffic.goes_on(300).await;
    let gone = traffic.seen().gone.load(Ordering::Relaxed);
    let book = traffic.stop("the master killed and the replica promoted").await;
    let lost = is_at_most_acknowledged(&group.replica.url(), &stage, &book).await;
    println!("{lost} acknowledged events lost, {gone} reservations gone, with replication not awaited");
    assert!(lost + gone <= bound, "{lost} and {gone} lost, of {bound} that may be");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_loses_at_most_what_was_not_yet_replicated() {
    promoted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_10_promoted_replicas_lose_at_most_what_was_not_yet_replicated() {
    for _ in 0..10 {
        promoted().await;
    }
}

/// The same when each call waits for the replica: everything acknowledged is kept.
async fn awaited(environment: &[(String, String)], what: &str) {
    let mut group = Group::start(environment).await;
    let stage = Stage::of(group.url(), 2, Build::that_waits().hasty()).await;
    let traffic = Traffic::start(&stage).await;
    let batches = Batches::beside(&stage, "app").await;
    traffic.goes_on(200).await;
    group.promote().await;
    let before = traffic.seen().unavailable.load(Ordering::Relaxed);
    traffic
        .until("callers learn that no replica has their calls", || {
            traffic.seen().unavailable.load(Ordering::Relaxed) >= before + 20
        })
        .await;
    let _heir = group.heir().await;
    traffic.goes_on(200).await;
    batches.goes_on(4).await;
    let book = traffic.stop(what).await;
    batches.stop(&stage).await;
    is_as_acknowledged(&group.replica.url(), &stage, &book).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_that_was_waited_for_has_all_that_was_acknowledged() {
    awaited(&[], "the master killed and the replica promoted, each call waiting for a replica").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_10_promoted_replicas_that_were_waited_for_have_all_that_was_acknowledged() {
    for _ in 0..10 {
        awaited(&[], "the master killed and the replica promoted, each call waiting for a replica").await;
    }
}

const STEP_BACK_MS: i64 = 5_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(target_os = "linux"), ignore = "the clock of one process is only shifted on Linux")]
async fn a_redis_clock_that_steps_back_at_a_promotion_loses_and_doubles_nothing() {
    let clock = Preload::build("shifted_clock");
    let environment = owned(&clock_off(&clock, -STEP_BACK_MS));
    awaited(&environment, "the replica promoted with a clock 5 s behind, each call waiting for a replica").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_a_redis_clock_that_steps_back_at_10_promotions_loses_and_doubles_nothing() {
    let clock = Preload::build("shifted_clock");
    let environment = owned(&clock_off(&clock, -STEP_BACK_MS));
    for _ in 0..10 {
        awaited(&environment, "the replica promoted with a clock 5 s behind, each call waiting for a replica").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(target_os = "linux"), ignore = "the clock of one process is only shifted on Linux")]
async fn a_redis_clock_two_days_back_reopens_no_closed_window_and_blocks_no_user() {
    let clock = Preload::build("shifted_clock");
    let mut group = Group::start(&owned(&clock_off(&clock, -2 * 24 * 3_600_000))).await;
    let stage = Stage::of(group.url(), 1, Build::that_waits()).await;
    let daily = json!({"periodType": "daily", "periodAnchor": "calendar", "groups": [
        {"id": "daily", "unit": "count", "quota": 5, "matches": [{"event": "mail.*"}]}]});
    stage.configure("PUT", "plans/daily", &daily).await;
    for user in ["full", "open"] {
        stage.call("POST", "subscriptions", &json!({"userId": user, "planId": "daily"})).await;
    }
    let call = |user: &str, quantity: u64| json!({"userId": user, "event": "mail.sent", "quantity": quantity});
    stage.call("POST", "track", &call("full", 5)).await;
    let held = stage.call("POST", "reserve", &call("open", 2)).await;
    let before = stage.call("GET", "usage?userId=full", &serde_json::Value::Null).await;
    group.promote().await;
    let _heir = group.heir().await;
    eventually("the new replica has joined", || async {
        stage.answer("track", "joined", &call("open", 1)).await.status() == 200
    })
    .await;
    // Otherwise, if the machine pauses for a moment, Sentinel considers the new master dead and names none.
    group.sentinel.patience_ms(3_600_000).await;
    let denied = stage.call("POST", "reserve", &call("full", 1)).await;
    assert_eq!((&denied["allowed"], &denied["counters"][0]["used"]), (&json!(false), &json!(5)), "{denied}");
    let after = stage.call("GET", "usage?userId=full", &serde_json::Value::Null).await;
    let whole = |usage: &serde_json::Value| {
        let counters = usage["counters"].as_array().unwrap();
        counters.iter().find(|counter| counter["groupId"] == "daily").unwrap().clone()
    };
    assert_eq!(whole(&after), whole(&before), "the day that stands, not the one before it");
    // A reservation made by the earlier clock is settled in its window, and the freed amount is available.
    let settled = stage.call("POST", "commit", &json!({"reservationId": held["reservationId"]})).await;
    assert_eq!((&settled["status"], &settled["counters"][0]["used"]), (&json!("committed"), &json!(3)), "{settled}");
    let more = stage.call("POST", "reserve", &call("open", 2)).await;
    assert_eq!(more["allowed"], true, "{more}");
}

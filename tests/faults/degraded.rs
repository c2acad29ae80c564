//! `onStoreFailure: allow`: answers while Redis is unavailable, and how those calls are counted afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{ADMIN_KEY, Process};
use crate::stage::{HASTY_MS, PATIENT_MS, exported};
use crate::support::proven::verified;
use crate::support::stored::amounts;
use crate::support::{Api, Redis, eventually, folder, monthly};

/// A node with its own data directory.
pub struct Node {
    pub process: Option<Process>,
    pub url: String,
    dir: TempDir,
    most: u32,
    redis_timeout_ms: u64,
}

impl Node {
    pub async fn start(redis_url: &str, most: u32) -> Self {
        Self::with(redis_url, most, PATIENT_MS).await
    }

    /// With [`HASTY_MS`] the node soon gives up on a hanging Redis, to which its one worker is connected before.
    pub async fn with(redis_url: &str, most: u32, redis_timeout_ms: u64) -> Self {
        let mut node = Self { process: None, url: String::new(), dir: folder(), most, redis_timeout_ms };
        node.start_again(redis_url).await;
        node
    }

    pub async fn start_again(&mut self, redis_url: &str) {
        let (dir, redis_url, most) = (self.dir.path().to_owned(), redis_url.to_owned(), self.most.to_string());
        let (log, timeout_ms) = (self.log_file(), self.redis_timeout_ms.to_string());
        let started = tokio::task::spawn_blocking(move || {
            let settings = [
                ("QUOTAGATE_REDIS_URL", redis_url.as_str()),
                ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY),
                ("QUOTAGATE_REDIS_TIMEOUT_MS", timeout_ms.as_str()),
                ("QUOTAGATE_DEGRADED_RESERVES", most.as_str()),
                ("QUOTAGATE_WORKERS", if timeout_ms == HASTY_MS.to_string() { "1" } else { "4" }),
            ];
            Process::start_with(&dir, &settings, &log)
        });
        let process = started.await.unwrap_or_else(|_| panic!("{}", self.log()));
        self.url.clone_from(&process.url);
        self.process = Some(process);
    }

    pub async fn kill(&mut self) {
        let process = self.process.take().unwrap();
        tokio::task::spawn_blocking(move || process.kill()).await.unwrap();
    }

    pub fn api(&self, key: &str) -> Api {
        Api::at(&self.url, key)
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap()
    }

    pub fn journals(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.dir.path().join("degraded")) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "journal")).collect()
    }

    /// One value of `/metrics`, or 0 if it is missing.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.api("").get("/metrics").await.text;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.map_or(0, |figure| figure.parse().unwrap())
    }

    /// Waits until no reserve is pending in the journal.
    pub async fn is_caught_up(&self) {
        eventually("all is counted", async || self.metric("quotagate_degraded_waiting").await == 0).await;
    }

    async fn logs(&self, text: &str) {
        eventually(text, async || self.log().contains(text)).await;
    }

    /// Waits until the node has what an outage requires: it knows the key and the app, and its journal is ready.
    pub async fn is_ready(&self, keys: &[&str]) {
        for key in keys {
            eventually("the key is known", async || {
                self.api(key).post("can-use", json!({"userId": "somebody", "event": "image.a"})).await.status == 200
            })
            .await;
        }
        eventually("the journal is ready", async || !self.journals().is_empty()).await;
    }
}

/// Configures the default app with this setting, a plan of 20 images a month, and a key; returns the key.
pub async fn configured(node: &Node, on_store_failure: &str, mode: &str) -> String {
    let admin = node.api(ADMIN_KEY);
    admin.plan("pro", monthly(20)).await;
    let settings = admin.put("app", json!({"onStoreFailure": on_store_failure})).await.expect(200);
    assert_eq!(settings["onStoreFailure"], on_store_failure);
    let key = admin.post("keys", json!({"kind": "secret", "mode": mode})).await.expect(201);
    key["key"].as_str().unwrap().to_owned()
}

pub fn images(user: &str, quantity: u64) -> Value {
    json!({"userId": user, "event": "image.a", "quantity": quantity})
}

pub async fn known(api: &Api, users: &[&str]) {
    for user in users {
        api.subscribe(user, "pro").await;
        api.post("can-use", images(user, 1)).await.expect(200);
    }
}

#[track_caller]
pub fn is_degraded(decision: &Value, groups: &[&str]) {
    assert_eq!(
        (&decision["allowed"], &decision["degraded"], &decision["matchedGroupIds"]),
        (&json!(true), &json!(true), &json!(groups)),
        "{decision}"
    );
    assert!(decision.get("reservationId").is_none() && decision["counters"] == json!([]), "{decision}");
}

pub async fn used(api: &Api, user: &str) -> u64 {
    let counter = api.counter(user, "images").await;
    assert_eq!(counter["held"], 0, "{counter}");
    counter["used"].as_u64().unwrap()
}

async fn no_drift(redis: &Redis, mode: &str) {
    let found = verified(&redis.url(), mode).await;
    assert!(found.drifts.is_empty(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_reserves_pass_up_to_a_number_and_are_counted_once_when_it_is_back() {
    let mut redis = Redis::with(&["--appendfsync", "always"]).await;
    let (node, other) = (Node::start(&redis.url(), 7).await, Node::start(&redis.url(), 7).await);
    let live = configured(&node, "allow", "live").await;
    let test = configured(&node, "allow", "test").await;
    node.is_ready(&[&live, &test]).await;
    other.is_ready(&[&live]).await;
    let (api, sandbox) = (node.api(&live), node.api(&test));
    known(&api, &["u", "blocked"]).await;
    known(&sandbox, &["u"]).await;
    node.api(ADMIN_KEY).post("users/blocked/block", json!({})).await.expect(200);
    api.post("can-use", images("blocked", 1)).await.expect(200);
    let open = api.reserved(images("u", 5)).await;
    redis.kill();

    is_degraded(&api.reserve(images("u", 2)).await, &["images"]);
    let first = api.once("k").post("reserve", images("u", 3)).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    let again = api.once("k").post("reserve", images("u", 3)).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(first.expect(200), again.expect(200));
    api.once("k").post("reserve", images("u", 4)).await.problem(409, "idempotency_key_reused");
    // The same idempotency key in another mode is another call.
    is_degraded(&sandbox.once("k").post("reserve", images("u", 4)).await.expect(200), &["images"]);
    // All events are allowed together, since the plan of an unseen user is unknown.
    let items = json!({"userId": "u", "items": [{"event": "image.a", "quantity": 2}, {"event": "image.b"}]});
    is_degraded(&api.reserve(items).await, &["images"]);
    is_degraded(&api.reserve(images("unseen", 1)).await, &[]);

    for (body, reason) in [
        (images("blocked", 1), "user_blocked"),
        (json!({"userId": "u", "event": "video.a"}), "unmatched_event"),
        (json!({"userId": "unseen", "event": "video.a"}), "no_subscription"),
        (images("u", 21), "limit_reached"),
    ] {
        let denied = api.reserve(body.clone()).await;
        assert_eq!((&denied["allowed"], &denied["degraded"]), (&json!(false), &json!(true)), "{body}: {denied}");
        assert_eq!((&denied["reasons"], &denied["counters"]), (&json!([reason]), &json!([])), "{body}: {denied}");
    }
    api.send("POST", "reserve?onDeny=429", Some(images("u", 21).to_string())).await.problem(429, "limit_reached");

    for (path, body) in [
        ("can-use", images("u", 1)),
        ("track", images("u", 1)),
        ("commit", json!({"reservationId": open})),
        ("release", json!({"reservationId": open})),
        ("extend", json!({"reservationId": open, "ttlSeconds": 60})),
    ] {
        api.post(path, body).await.problem(503, "store_unavailable");
    }
    api.get("usage?userId=u").await.problem(503, "store_unavailable");
    let unknown = node.api("sk_live_0123456789abcdefghijklmnopqrstuv");
    unknown.post("reserve", images("u", 1)).await.problem(503, "store_unavailable");

    assert_eq!(node.metric("quotagate_degraded_waiting").await, 5);
    for _ in 0..2 {
        is_degraded(&api.reserve(images("u", 1)).await, &["images"]);
    }
    api.post("reserve", images("u", 1)).await.problem(503, "store_unavailable");
    is_degraded(&api.once("k").post("reserve", images("u", 3)).await.expect(200), &["images"]);
    for (outcome, count) in [("allowed", 7), ("denied", 5), ("full", 1), ("replayed", 2)] {
        let name = format!("quotagate_degraded_decisions_total{{outcome=\"{outcome}\"}}");
        assert_eq!(node.metric(&name).await, count, "{outcome}");
    }
    let ready = node.api("").get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.text.contains("7 reserves were allowed without Redis and are not counted yet (at most 7)"),
        "{ready:?}"
    );
    // Each node has its own bound and its own journal; calls with one idempotency key are one call.
    is_degraded(&other.api(&live).once("k").post("reserve", images("u", 3)).await.expect(200), &[]);

    redis.start_again().await;
    node.is_caught_up().await;
    other.is_caught_up().await;
    assert_eq!(api.commit(&open).await["status"], "committed");
    assert_eq!(used(&api, "u").await, 5 + 2 + 3 + 3 + 2);
    assert_eq!(used(&sandbox, "u").await, 4);
    assert!(node.journals().is_empty() || node.journals().iter().all(|path| fs::metadata(path).unwrap().len() < 32));
    // A repetition finds its answer at every node, and counts nothing.
    for node in [&node, &other] {
        let again = node.api(&live).once("k").post("reserve", images("u", 3)).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        is_degraded(&again.expect(200), &["images"]);
        node.api(&live).once("k").post("reserve", images("u", 4)).await.problem(409, "idempotency_key_reused");
    }
    assert_eq!(used(&api, "u").await, 15);
    let events = api.get("events?type=track&userId=u").await.expect(200);
    let events = events["data"].as_array().unwrap();
    assert!(events.len() == 5 && events.iter().all(|event| event["degraded"] == true), "{events:?}");
    let report = node.api(ADMIN_KEY).get("reports/usage?userId=u").await.expect(200)["data"][0].clone();
    assert_eq!((&report["calls"], &report["degraded"]), (&json!(6), &json!(5)), "{report}");
    let reported = [("false", 1), ("true", 5)].map(|(is, calls)| (is.to_owned(), calls));
    assert_eq!(exported(&redis, "degraded").await, reported);
    let denied = api.reserve(images("u", 6)).await;
    assert_eq!((&denied["allowed"], denied.get("degraded")), (&json!(false), None), "{denied}");
    assert_eq!(node.api("").get("/readyz").await.status, 200);
    node.logs("Redis is unavailable: reserves of apps with `onStoreFailure: allow` are decided without it").await;
    node.logs("every degraded reserve is counted tracked=7 refused=0").await;
    no_drift(&redis, "live").await;
    no_drift(&redis, "test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_without_the_setting_and_a_full_redis_are_answered_503() {
    let mut redis = Redis::with(&["--maxmemory-policy", "noeviction"]).await;
    let node = Node::start(&redis.url(), 100).await;
    let allowing = configured(&node, "allow", "live").await;
    let root = node.api(ADMIN_KEY);
    root.post("apps", json!({"id": "strict"})).await.expect(201);
    let strict = root.with("X-App", "strict");
    strict.plan("pro", monthly(20)).await;
    let denying = strict.post("keys", json!({"kind": "secret", "mode": "live"})).await.expect(201);
    let denying = node.api(denying["key"].as_str().unwrap());
    node.is_ready(&[&allowing, &denying.key]).await;
    let allowing = node.api(&allowing);
    for api in [&allowing, &denying] {
        known(api, &["u"]).await;
    }
    redis.run::<String>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    allowing.post("reserve", images("u", 1)).await.problem(503, "store_unavailable");
    redis.run::<String>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert!(allowing.reserve(images("u", 1)).await.get("reservationId").is_some());
    redis.kill();
    denying.post("reserve", images("u", 1)).await.problem(503, "store_unavailable");
    is_degraded(&allowing.reserve(images("u", 1)).await, &["images"]);
    denying.post("reserve", images("u", 1)).await.problem(503, "store_unavailable");
    redis.start_again().await;
    node.is_caught_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_revoked_before_the_outage_passes_at_no_node() {
    let mut redis = Redis::with(&["--appendfsync", "always"]).await;
    let (node, other) = (Node::start(&redis.url(), 100).await, Node::start(&redis.url(), 100).await);
    let kept = configured(&node, "allow", "live").await;
    let admin = node.api(ADMIN_KEY);
    let revoked = admin.post("keys", json!({"kind": "secret", "mode": "live"})).await.expect(201);
    let key = revoked["key"].as_str().unwrap();
    node.is_ready(&[&kept, key]).await;
    other.is_ready(&[&kept, key]).await;
    admin.delete(&format!("keys/{}", revoked["id"].as_str().unwrap()), None).await.expect(204);
    eventually("the other node knows it", async || other.api(key).post("can-use", images("u", 1)).await.status == 401)
        .await;
    redis.kill();
    for node in [&node, &other] {
        node.api(key).post("reserve", images("u", 1)).await.problem(503, "store_unavailable");
        is_degraded(&node.api(&kept).reserve(images("unseen", 1)).await, &[]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reserve_that_a_hanging_redis_did_after_all_is_counted_once_and_leaves_no_hold() {
    let redis = Redis::start().await;
    let (node, other) = (Node::with(&redis.url(), 100, HASTY_MS).await, Node::start(&redis.url(), 100).await);
    let key = configured(&other, "allow", "live").await;
    let (api, patient) = (node.api(&key), other.api(&key));
    known(&patient, &["u"]).await;
    node.is_ready(&[&key]).await;
    eventually("the user is known", async || api.post("can-use", images("u", 1)).await.status == 200).await;
    patient.release(&patient.reserved(images("u", 1)).await).await;
    redis.hang();
    // These calls stay in the buffers of Redis, which runs them when it wakes up.
    let keyed = api.once("k");
    let first = futures::future::join_all([
        api.post("reserve", images("u", 1)),
        api.post("reserve", images("u", 2)),
        keyed.post("reserve", images("u", 3)),
    ]);
    for answer in first.await {
        is_degraded(&answer.expect(200), &["images"]);
    }
    for _ in 0..20 {
        is_degraded(&api.reserve(images("v", 1)).await, &[]);
    }
    redis.wake();
    node.is_caught_up().await;
    assert_eq!(used(&patient, "u").await, 6);
    let found: Vec<String> = redis.run(&["KEYS", "qg:{default:live}:op:*"]).await;
    let mut done_after_all = 0;
    for key in found {
        let record: String = redis.run(&["GET", &key]).await;
        done_after_all += u64::from(!record.starts_with("answer\n"));
    }
    assert_eq!(done_after_all, 1 + 3, "Redis ran them when it woke up, and none of the 20 whose callers had gone");
    let again = patient.once("k").post("reserve", images("u", 3)).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(200)["allowed"], true);
    assert_eq!(used(&patient, "u").await, 6);
    no_drift(&redis, "live").await;
}

/// Truncates the journal, as if the process had died during a write.
fn tear(journal: &Path) {
    let mut bytes = fs::read(journal).unwrap();
    bytes.extend(b"0123456789abcdef {\"name\":\"qg:{default:live}:op:0123");
    fs::write(journal, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_while_it_counts_counts_each_reserve_once_when_it_is_back() {
    const CALLS: u64 = 1_500;
    let mut redis = Redis::with(&["--appendfsync", "always"]).await;
    let mut node = Node::start(&redis.url(), 2_000).await;
    let key = configured(&node, "allow", "live").await;
    node.api(ADMIN_KEY).plan("pro", monthly(100_000)).await;
    node.is_ready(&[&key]).await;
    known(&node.api(&key), &["u"]).await;
    redis.kill();
    let api = node.api(&key);
    let calls = futures::stream::iter(0..CALLS).map(|_| api.post("reserve", images("u", 2)));
    let answers: Vec<_> = calls.buffer_unordered(64).collect().await;
    for answer in answers {
        is_degraded(&answer.expect(200), &["images"]);
    }
    let mut interrupted = 0;
    for place in 0..3 {
        node.kill().await;
        if place == 0 {
            tear(&node.journals()[0]);
        }
        if place > 0 {
            redis.kill();
        }
        redis.start_again().await;
        node.start_again(&redis.url()).await;
        let mut connection = redis.connect().await;
        let account = "qg:{default:live}:account:user:u";
        let before = interrupted;
        eventually("some more are counted", || {
            let mut connection = connection.clone();
            async move {
                let (used, _) = amounts(&mut connection, account, "images").await;
                used > before || used == 2 * CALLS
            }
        })
        .await;
        (interrupted, _) = amounts(&mut connection, account, "images").await;
    }
    println!("killed last at {interrupted} of {}", 2 * CALLS);
    node.kill().await;
    node.start_again(&redis.url()).await;
    node.is_caught_up().await;
    assert_eq!(used(&node.api(&key), "u").await, 2 * CALLS);
    node.logs("torn_bytes=51").await;
    no_drift(&redis, "live").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reserve_repeated_at_another_node_is_counted_by_its_outcome_there() {
    let mut redis = Redis::with(&["--appendfsync", "always"]).await;
    let mut node = Node::start(&redis.url(), 100).await;
    let other = Node::start(&redis.url(), 100).await;
    let key = configured(&node, "allow", "live").await;
    node.is_ready(&[&key]).await;
    let users = ["committed", "released", "held", "denied", "another_body"];
    known(&node.api(&key), &users).await;
    redis.kill();
    for user in users {
        is_degraded(&node.api(&key).once("k").post("reserve", images(user, 4)).await.expect(200), &["images"]);
    }
    node.kill().await;
    redis.start_again().await;
    let api = other.api(&key);
    eventually("Redis is back", async || api.get("usage?userId=held").await.status == 200).await;
    let again = async |user: &str| api.once("k").post("reserve", images(user, 4)).await.expect(200);
    let id = |decision: &Value| decision["reservationId"].as_str().unwrap().to_owned();
    let committed = id(&again("committed").await);
    api.post("commit", json!({"reservationId": committed, "quantity": 1})).await.expect(200);
    api.release(&id(&again("released").await)).await;
    let held = id(&again("held").await);
    api.post("track", images("denied", 20)).await.expect(200);
    assert_eq!(again("denied").await["allowed"], false);
    api.once("k").post("reserve", images("another_body", 5)).await.expect(200);

    node.start_again(&redis.url()).await;
    node.is_caught_up().await;
    assert_eq!(used(&api, "committed").await, 1, "as it was settled");
    assert_eq!(used(&api, "released").await, 0, "nothing was spent");
    assert_eq!(used(&api, "held").await, 4, "it may have been spent");
    assert_eq!(api.commit(&held).await["replayed"], true);
    assert_eq!(used(&api, "denied").await, 24, "it was answered as allowed too");
    let another = api.counter("another_body", "images").await;
    assert_eq!((&another["used"], &another["held"]), (&json!(4), &json!(5)), "two calls of one key");
    node.logs("every degraded reserve is counted tracked=5 refused=0").await;
    no_drift(&redis, "live").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_journal_nothing_is_allowed_and_the_node_says_why() {
    let mut redis = Redis::with(&["--appendfsync", "always"]).await;
    let node = Node::start(&redis.url(), 100).await;
    let in_the_way = node.dir.path().join("degraded");
    fs::write(&in_the_way, "").unwrap();
    let key = configured(&node, "allow", "live").await;
    let reported = "cannot write the journal";
    eventually("it is reported while Redis is available", async || {
        node.api("").get("/readyz").await.text.contains(reported)
    })
    .await;
    let api = node.api(&key);
    known(&api, &["u"]).await;
    redis.kill();
    let refused = api.post("reserve", images("u", 1)).await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.problem(503, "store_unavailable");
    node.logs(reported).await;
    assert_eq!(node.metric("quotagate_degraded_decisions_total{outcome=\"unwritable\"}").await, 1);
    fs::remove_file(in_the_way).unwrap();
    is_degraded(&api.reserve(images("u", 1)).await, &["images"]);
    redis.start_again().await;
    node.is_caught_up().await;
    assert_eq!(used(&api, "u").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reserves_that_cannot_be_measured_any_more_are_kept_and_delay_nothing() {
    let mut redis = Redis::with(&["--appendfsync", "always"]).await;
    let mut node = Node::start(&redis.url(), 100).await;
    let key = configured(&node, "allow", "live").await;
    node.is_ready(&[&key]).await;
    known(&node.api(&key), &["u", "v"]).await;
    redis.kill();
    for user in ["u", "v"] {
        is_degraded(&node.api(&key).reserve(images(user, 1)).await, &["images"]);
    }
    node.kill().await;
    redis.start_again().await;
    // Meanwhile the plan requires a value that the reserve of `u` did not contain.
    let other = Node::start(&redis.url(), 100).await;
    let needy = json!({"periodType": "monthly", "periodAnchor": "subscription_start", "groups": [
        {"id": "images", "unit": "count", "quota": 20, "matches": [{"event": "image.*"}], "measure": {"per": {"pixels": 1}}}]});
    other.api(ADMIN_KEY).plan("needy", monthly(20)).await;
    other.api(ADMIN_KEY).plan("needy", needy).await;
    other.api(&key).subscribe("u", "needy").await;
    node.start_again(&redis.url()).await;
    node.is_caught_up().await;
    assert_eq!(used(&node.api(&key), "v").await, 1);
    assert_eq!(used(&node.api(&key), "u").await, 0);
    assert_eq!(node.metric("quotagate_degraded_counted_total{outcome=\"refused\"}").await, 1);
    node.logs("a degraded reserve cannot be counted").await;
    // Once the value can be measured again, the reserve is retried under its own id.
    node.kill().await;
    other.api(&key).subscribe("u", "pro").await;
    let directory = node.dir.path().join("degraded");
    fs::rename(directory.join("refused"), directory.join("again.journal")).unwrap();
    node.start_again(&redis.url()).await;
    node.is_caught_up().await;
    assert_eq!(used(&node.api(&key), "u").await, 1);
    no_drift(&redis, "live").await;
}

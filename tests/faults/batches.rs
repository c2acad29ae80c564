//! Batches during faults. Callers repeat operations that were not answered, or answered 503, with the same idempotency
//! keys, in their order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::gateway::ADMIN_KEY;
use crate::stage::{Build, Nodes, Stage};
use crate::support::proven::verified_app;
use crate::support::seeds::choices;
use crate::support::{Redis, eventually, new_key};

const CALLERS: usize = 6;
/// Number of users in one batch.
const USERS: usize = 8;
/// Longer than a gateway may take to answer.
const HANGS: Duration = Duration::from_secs(150);
/// No fault lasts long enough that an operation fails for this long.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long a caller waits before it repeats operations.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a caller beside other traffic waits between its rounds.
const REST: Duration = Duration::from_millis(50);
/// The caller beside other traffic. Its users are on all three masters of a new cluster, four of them on the first.
const BESIDE: usize = 1;
/// The app of that caller.
const APP: &str = "spread";
/// A key in the bucket of a user on the first master.
pub const A_BUCKET_KEY: &str = "qg:{spread:live:01}:stamp";

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    /// Rounds of which everything was decided.
    rounds: AtomicU64,
    /// Batches that came to an end, with results or without.
    tried: AtomicU64,
    /// Batches of which something was decided.
    answered: AtomicU64,
    /// Requests without results.
    broken: AtomicU64,
    /// Batches in which some operations were answered 503 and others were decided.
    mixed: AtomicU64,
}

struct Caller {
    number: usize,
    nodes: Nodes,
    key: String,
    http: reqwest::Client,
    seen: Arc<Seen>,
    rest: Duration,
    attempts: usize,
}

impl Caller {
    /// Sends the operations, and repeats unanswered ones until all are answered.
    async fn until_answered(&mut self, operations: Vec<Value>) -> Vec<Value> {
        let mut results: Vec<Option<Value>> = vec![None; operations.len()];
        let began = Instant::now();
        while results.contains(&None) {
            assert!(began.elapsed() < PATIENCE, "repeated for {PATIENCE:?}: {operations:?}");
            let places: Vec<usize> = (0..results.len()).filter(|place| results[*place].is_none()).collect();
            let sent: Vec<&Value> = places.iter().map(|place| &operations[*place]).collect();
            let answers = self.send(&sent).await.unwrap_or_default();
            self.seen.tried.fetch_add(1, Ordering::Relaxed);
            let (sent, mut decided) = (sent.len(), 0);
            for (place, answer) in places.into_iter().zip(answers) {
                if answer["status"] != 503 {
                    results[place] = Some(answer);
                    decided += 1;
                }
            }
            if decided > 0 {
                self.seen.answered.fetch_add(1, Ordering::Relaxed);
            }
            if decided > 0 && decided < sent {
                self.seen.mixed.fetch_add(1, Ordering::Relaxed);
            }
            if decided < sent {
                tokio::time::sleep(PAUSE).await;
            }
        }
        results.into_iter().flatten().collect()
    }

    async fn send(&mut self, operations: &[&Value]) -> Option<Vec<Value>> {
        let node = {
            let nodes = self.nodes.read().unwrap();
            self.attempts += 1;
            nodes[(self.number + self.attempts) % nodes.len()].clone()
        };
        let request = self.http.post(format!("{node}/api/v1/batch")).bearer_auth(&self.key);
        let answered = async {
            let answer = request.json(&json!({"operations": operations})).send().await.ok()?;
            let status = answer.status().as_u16();
            let body: Value = answer.json().await.ok()?;
            assert!(status == 200 || status == 503, "{status}: {body}");
            body["results"].as_array().cloned()
        };
        let answers = answered.await;
        if answers.is_none() {
            self.seen.broken.fetch_add(1, Ordering::Relaxed);
        }
        answers
    }

    /// Tracks and reserves for each user, then commits and releases each reservation, in either order. The first of the
    /// two counts, also when they are repeated. Returns what each user was charged.
    async fn run(mut self) -> BTreeMap<String, u64> {
        let (mut charged, mut round, number) = (BTreeMap::new(), 0, self.number);
        while !self.seen.stop.load(Ordering::Relaxed) {
            round += 1;
            let key = |name: &str, user: usize| json!(format!("{name}-{number}-{round}-{user}"));
            let user = |place: usize| format!("batch_{number}_{place}");
            let mut first = Vec::new();
            for place in 0..USERS {
                let body = json!({"userId": user(place), "event": "job.a"});
                let with = |op: &str, quantity: usize| {
                    let mut operation = body.clone();
                    operation["op"] = json!(op);
                    operation["quantity"] = json!(quantity);
                    operation["idempotencyKey"] = key(op, place);
                    operation
                };
                first.push(with("track", 1 + place));
                first.push(with("reserve", 2 + place));
            }
            let mut second = Vec::new();
            for (place, pair) in self.until_answered(first).await.chunks(2).enumerate() {
                assert_eq!((&pair[0]["status"], &pair[1]["body"]["allowed"]), (&json!(200), &json!(true)), "{pair:?}");
                let is_committed = (round + place) % 3 > 0;
                let order = if is_committed { ["commit", "release"] } else { ["release", "commit"] };
                second.extend(order.map(|op| json!({"op": op, "reservationId": pair[1]["body"]["reservationId"]})));
                let more = 1 + place + if is_committed { 2 + place } else { 0 };
                *charged.entry(user(place)).or_default() += more as u64;
            }
            for pair in self.until_answered(second).await.chunks(2) {
                assert_eq!((&pair[0]["status"], &pair[1]["status"]), (&json!(200), &json!(409)), "{pair:?}");
                assert_eq!(pair[1]["body"]["code"], "reservation_not_pending", "{pair:?}");
            }
            self.seen.rounds.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(self.rest).await;
        }
        charged
    }
}

/// Callers that send batches.
pub struct Batches {
    app: &'static str,
    key: String,
    seen: Arc<Seen>,
    callers: Vec<JoinHandle<BTreeMap<String, u64>>>,
}

impl Batches {
    /// One caller in an app of its own with this placement, beside other traffic.
    pub async fn beside(stage: &Stage, placement: &str) -> Self {
        let root = stage.api(ADMIN_KEY).await;
        root.post("apps", json!({"id": APP, "placement": placement})).await.expect(201);
        let admin = root.with("x-app", APP);
        let plan = json!({"periodType": "lifetime", "periodAnchor": "calendar", "groups": [
            {"id": "jobs", "unit": "count", "quota": null, "matches": [{"event": "job.*"}]}]});
        admin.plan("jobs", plan).await;
        admin.put("app", json!({"defaultPlanId": "jobs"})).await.expect(200);
        let key = new_key(&admin, json!({"kind": "secret", "mode": "live"})).await;
        let batches = Self::start(stage, (APP, key), std::iter::once(BESIDE), REST);
        batches.until("all users are known", || batches.seen.rounds.load(Ordering::Relaxed) > 0).await;
        batches
    }

    /// Callers with these numbers, which use a key of an app and rest between their rounds.
    fn start(
        stage: &Stage,
        (app, key): (&'static str, String),
        numbers: impl Iterator<Item = usize>,
        rest: Duration,
    ) -> Self {
        let seen = Arc::new(Seen::default());
        let callers = numbers.map(|number| {
            let http = crate::support::http().timeout(HANGS).build().unwrap();
            let (nodes, key, seen) = (Arc::clone(&stage.nodes), key.clone(), Arc::clone(&seen));
            tokio::spawn(Caller { number, nodes, key, http, seen, rest, attempts: 0 }.run())
        });
        let callers = callers.collect();
        Self { app, key, seen, callers }
    }

    async fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        eventually(what, || {
            assert!(self.callers.iter().all(|caller| !caller.is_finished()), "a caller failed");
            std::future::ready(condition())
        })
        .await;
    }

    /// Waits until this many more batches were tried, whether anything was decided or not.
    pub async fn are_tried(&self, batches: u64) {
        let wanted = self.seen.tried.load(Ordering::Relaxed) + batches;
        self.until("batches are tried", || self.seen.tried.load(Ordering::Relaxed) >= wanted).await;
    }

    /// Waits until this many more batches are answered.
    pub async fn goes_on(&self, batches: u64) {
        let wanted = self.seen.answered.load(Ordering::Relaxed) + batches;
        self.until("batches are answered", || self.seen.answered.load(Ordering::Relaxed) >= wanted).await;
    }

    /// Waits until some operations of a batch are decided while others are answered 503.
    pub async fn are_decided_in_part(&self) {
        let wanted = self.seen.mixed.load(Ordering::Relaxed) + 1;
        self.until("a batch is decided in part", || self.seen.mixed.load(Ordering::Relaxed) >= wanted).await;
    }

    /// Lets every caller finish its round. Each user's counter must be what the callers were answered, and what the
    /// ledger says.
    pub async fn stop(self, stage: &Stage) {
        self.seen.stop.store(true, Ordering::Relaxed);
        let api = stage.api(&self.key).await;
        for caller in self.callers {
            for (user, charged) in caller.await.unwrap() {
                assert_eq!(api.stands(&user, "jobs").await, (charged as f64, 0.0), "{user}");
            }
        }
        let verified = verified_app(&stage.redis_url, self.app, "live").await;
        assert!(verified.entries > 0 && verified.drifts.is_empty(), "{:#?}", verified.drifts);
        let [answered, broken, mixed] =
            [&self.seen.answered, &self.seen.broken, &self.seen.mixed].map(|count| count.load(Ordering::Relaxed));
        println!("{answered} batches answered, {mixed} of them in part, {broken} without results");
    }
}

async fn killed(times: usize) {
    let redis = Redis::start().await;
    let mut stage = Stage::set(redis.url(), 2).await;
    let batches = Batches::start(&stage, ("default", stage.key.clone()), 0..CALLERS, Duration::ZERO);
    let mut random = choices();
    for _ in 0..times {
        let (place, count) = (random.random_range(0..2), random.random_range(1..30));
        batches.goes_on(count).await;
        stage.kill(place).await;
        stage.start(place).await;
    }
    batches.goes_on(20).await;
    assert!(batches.seen.broken.load(Ordering::Relaxed) > 0, "batches were cut");
    batches.stop(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_cut_by_a_killed_gateway_and_repeated_lose_and_double_nothing() {
    killed(5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_batches_cut_by_100_killed_gateways_lose_and_double_nothing() {
    killed(100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_503_the_later_operations_of_that_user_are_not_run() {
    const TRACKS: usize = 10;
    let redis = Redis::start().await;
    let stage = Stage::of(redis.url(), 1, Build::default().hasty()).await;
    let event = |user: &str| json!({"userId": user, "event": "job.run"});
    // Made at another gateway, so the one under test reads whose reservation it is.
    let held = stage.call("POST", "reserve", &event("u")).await;
    for user in ["u", "v"] {
        eventually("the gateway knows the user", async || {
            stage.answer("track", user, &event(user)).await.status() == 200
        })
        .await;
    }
    let track = |user: &str, key: String| {
        let mut operation = event(user);
        operation["op"] = json!("track");
        operation["idempotencyKey"] = json!(key);
        operation
    };
    let mut operations: Vec<Value> = (0..TRACKS).map(|number| track("v", format!("v{number}"))).collect();
    operations.push(json!({"op": "commit", "reservationId": held["reservationId"]}));
    operations.push(track("u", "after the commit".to_owned()));
    let batch = json!({"operations": operations});

    // What a gateway has sent to a hanging Redis runs when it wakes.
    redis.hang();
    let refused: Value = stage.answer("batch", "hung", &batch).await.json().await.unwrap();
    redis.wake();

    assert_eq!(refused["results"].as_array().map(Vec::len), Some(TRACKS + 2), "{refused}");
    for result in refused["results"].as_array().into_iter().flatten() {
        assert_eq!((&result["status"], &result["body"]["code"]), (&json!(503), &json!("store_unavailable")));
    }
    let repeated = stage.call("POST", "batch", &batch).await;
    let results = repeated["results"].as_array().unwrap();
    for (place, result) in results.iter().enumerate() {
        assert_eq!(result["status"], 200, "{result}");
        let may_have_run = place == 0 || place == TRACKS;
        assert!(may_have_run || result["replayed"] != true, "operation {place} ran after the 503: {result}");
    }
    let api = stage.api(&stage.key).await;
    assert_eq!(api.stands("v", "jobs").await, (1.0 + TRACKS as f64, 0.0));
    assert_eq!(api.stands("u", "jobs").await, (3.0, 0.0));
}

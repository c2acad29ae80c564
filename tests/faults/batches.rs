//! Gateways are killed while they process batches. Callers repeat unanswered operations with the same idempotency
//! keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::RngExt;
use serde_json::{Value, json};

use crate::stage::{Nodes, Stage};
use crate::support::seeds::choices;
use crate::support::{Redis, eventually};

const CALLERS: usize = 6;
/// Number of users in one batch.
const USERS: usize = 8;
/// Longer than a gateway may take to answer.
const HANGS: Duration = Duration::from_secs(150);

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    answered: AtomicU64,
    /// Requests without an answer.
    broken: AtomicU64,
}

struct Caller {
    number: usize,
    nodes: Nodes,
    key: String,
    http: reqwest::Client,
    seen: Arc<Seen>,
    attempts: usize,
}

impl Caller {
    /// Sends the operations, and repeats unanswered ones until all are answered.
    async fn until_answered(&mut self, operations: Vec<Value>) -> Vec<Value> {
        let mut results: Vec<Option<Value>> = vec![None; operations.len()];
        while results.contains(&None) {
            let places: Vec<usize> = (0..results.len()).filter(|place| results[*place].is_none()).collect();
            let sent: Vec<&Value> = places.iter().map(|place| &operations[*place]).collect();
            let Some(answers) = self.send(&sent).await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            for (place, answer) in places.into_iter().zip(answers) {
                if answer["status"] != 503 {
                    results[place] = Some(answer);
                }
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
        let count = if answers.is_some() { &self.seen.answered } else { &self.seen.broken };
        count.fetch_add(1, Ordering::Relaxed);
        answers
    }

    /// Tracks and reserves for each user, then commits and releases; returns what each user was charged.
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
                let op = if is_committed { "commit" } else { "release" };
                second.push(json!({"op": op, "reservationId": pair[1]["body"]["reservationId"]}));
                let more = 1 + place + if is_committed { 2 + place } else { 0 };
                *charged.entry(user(place)).or_default() += more as u64;
            }
            for result in self.until_answered(second).await {
                assert_eq!(result["status"], 200, "{result}");
            }
        }
        charged
    }
}

async fn killed(times: usize) {
    let redis = Redis::start().await;
    let mut stage = Stage::set(redis.url(), 2).await;
    let seen = Arc::new(Seen::default());
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let http = crate::support::http().timeout(HANGS).build().unwrap();
            let (nodes, key, seen) = (Arc::clone(&stage.nodes), stage.key.clone(), Arc::clone(&seen));
            tokio::spawn(Caller { number, nodes, key, http, seen, attempts: 0 }.run())
        })
        .collect();
    let goes_on = async |batches: u64| {
        let wanted = seen.answered.load(Ordering::Relaxed) + batches;
        eventually("batches are answered", async || {
            assert!(callers.iter().all(|caller| !caller.is_finished()), "a caller failed");
            seen.answered.load(Ordering::Relaxed) >= wanted
        })
        .await;
    };
    let mut random = choices();
    for _ in 0..times {
        let (place, batches) = (random.random_range(0..2), random.random_range(1..30));
        goes_on(batches).await;
        stage.kill(place).await;
        stage.start(place).await;
    }
    goes_on(20).await;
    seen.stop.store(true, Ordering::Relaxed);
    assert!(seen.broken.load(Ordering::Relaxed) > 0, "batches were cut");
    for caller in callers {
        for (user, charged) in caller.await.unwrap() {
            let usage = stage.call("GET", &format!("usage?userId={user}&event=job.*"), &Value::Null).await;
            let jobs =
                usage["counters"].as_array().unwrap().iter().find(|counter| counter["groupId"] == "jobs").unwrap();
            assert_eq!((&jobs["used"], &jobs["held"]), (&json!(charged), &json!(0)), "{user}: {jobs}");
        }
    }
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

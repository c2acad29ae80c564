//! Many callers on few users: each makes reservations and commits, partially commits, releases or abandons them, or
//! tracks. Every call has an idempotency key and is repeated at any gateway until it is answered.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::DateTime;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::book::Book;
use crate::stage::{Ended, Nodes, Stage};
use crate::support::seeds::seed;
use crate::support::{Redis, eventually};

const CALLERS: u64 = 16;
/// After this many calls the callers move on to another user.
const CALLS_PER_USER: u64 = 60;
/// No fault lasts long enough that a call fails for this long.
const PATIENCE: Duration = Duration::from_secs(180);
/// A call without an answer for this long hangs: a gateway answers within twice its Redis timeout.
const HANGS: Duration = Duration::from_secs(150);
/// How long responses of a terminated gateway may still be in transit.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// How long a caller waits before it repeats a call.
const PAUSE: Duration = Duration::from_millis(10);

/// Counts what happened to the calls.
#[derive(Debug, Default)]
pub struct Seen {
    pub answered: AtomicU64,
    pub allowed: AtomicU64,
    pub denied: AtomicU64,
    /// 503
    pub unavailable: AtomicU64,
    /// No response: the connection was refused or broke, or the gateway has ended.
    pub broken: AtomicU64,
    pub longest_503_ms: AtomicU64,
    /// Reservations that were made and are unknown later, where the test allows this.
    pub gone: AtomicU64,
}

struct Shared {
    nodes: Nodes,
    ended: Ended,
    key: String,
    /// Acknowledged calls may be lost with a master.
    may_lose: bool,
    stop: AtomicBool,
    started: AtomicU64,
    seen: Seen,
    book: Mutex<Book>,
}

pub struct Traffic {
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Starts all callers and waits until calls are answered.
    pub async fn start(stage: &Stage) -> Self {
        Self::begin(stage, false).await
    }

    /// The same, where reservations may be lost.
    pub async fn that_may_lose(stage: &Stage) -> Self {
        Self::begin(stage, true).await
    }

    async fn begin(stage: &Stage, may_lose: bool) -> Self {
        let shared = Arc::new(Shared {
            nodes: Arc::clone(&stage.nodes),
            ended: stage.ended.clone(),
            key: stage.key.clone(),
            may_lose,
            stop: AtomicBool::new(false),
            started: AtomicU64::new(0),
            seen: Seen::default(),
            book: Mutex::default(),
        });
        let seed = seed("TRAFFIC_SEED");
        let callers = (0..CALLERS).map(|number| {
            let random = StdRng::seed_from_u64(seed.wrapping_add(number));
            let http = crate::support::http().timeout(HANGS).build().unwrap();
            let mut caller = Caller { number, made: 0, http, random, shared: Arc::clone(&shared) };
            tokio::spawn(async move {
                while !caller.shared.stop.load(Ordering::Relaxed) {
                    caller.step().await;
                }
            })
        });
        let traffic = Self { callers: callers.collect(), shared };
        traffic.goes_on(50).await;
        traffic
    }

    pub fn seen(&self) -> &Seen {
        &self.shared.seen
    }

    /// Waits until this many more calls are answered.
    pub async fn goes_on(&self, calls: u64) {
        let wanted = self.shared.seen.answered.load(Ordering::Relaxed) + calls;
        self.until("calls are answered", || self.shared.seen.answered.load(Ordering::Relaxed) >= wanted).await;
    }

    /// Waits for a condition that traffic brings about; fails early if a caller has failed.
    pub async fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        eventually(what, || {
            assert!(self.callers.iter().all(|caller| !caller.is_finished()), "a caller failed");
            std::future::ready(condition())
        })
        .await;
    }

    /// Waits until a replica of this master has everything answered so far.
    pub async fn bound_on_loss(&self, master: &Redis) -> Bound {
        let answered = self.shared.seen.answered.load(Ordering::Relaxed);
        // `WAIT` covers the writes before it on its own connection, and thereby all earlier writes.
        let mut connection = master.connect().await;
        redis::cmd("SET").arg("{default:live}:mark").arg("").query_async::<()>(&mut connection).await.unwrap();
        let wait = redis::cmd("WAIT").arg(1).arg(PATIENCE.as_millis() as u64).to_owned();
        assert_eq!(wait.query_async::<u64>(&mut connection).await.unwrap(), 1, "the replica acknowledges");
        Bound { answered }
    }

    /// Lets every caller finish its current reservation; returns what they were answered.
    pub async fn stop(self, what: &str) -> Book {
        self.shared.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        let seen = &self.shared.seen;
        let book = std::mem::take(&mut *self.shared.book.lock().unwrap());
        let figures =
            [&seen.answered, &seen.allowed, &seen.denied, &seen.unavailable, &seen.broken, &seen.longest_503_ms]
                .map(|figure| figure.load(Ordering::Relaxed));
        let [answered, allowed, denied, unavailable, broken, longest_ms] = figures;
        println!(
            "{what}: {answered} calls answered ({allowed} reserves allowed, {denied} denied) for {} users, \
             {unavailable} times 503 (the slowest after {longest_ms} ms), {broken} times no answer",
            book.users.len()
        );
        book
    }
}

/// What the replica of a master is known to have.
pub struct Bound {
    answered: u64,
}

impl Bound {
    /// How many calls may be lost with a master that was just killed: those answered since then, and one per caller
    /// whose response is in transit.
    pub fn by_now(self, traffic: &Traffic) -> u64 {
        traffic.seen().answered.load(Ordering::Relaxed) - self.answered + CALLERS
    }
}

impl Shared {
    /// Resolves when a gateway has ended and none of its responses can still be in transit. A client does not always
    /// notice the end by itself: a request that is handed to a connection just as it closes can be lost between the
    /// two (hyperium/hyper#4122), and then it neither completes nor fails.
    async fn gone(&self, node: &str) {
        let mut ended = self.ended.subscribe();
        // This struct owns the sender, so the channel is open.
        drop(ended.wait_for(|ended| ended.contains(node)).await.unwrap());
        tokio::time::sleep(LAST_ANSWERS).await;
    }
}

struct Caller {
    number: u64,
    made: u64,
    http: reqwest::Client,
    random: StdRng,
    shared: Arc<Shared>,
}

impl Caller {
    async fn step(&mut self) {
        let user = format!("u_{}", self.shared.started.fetch_add(1, Ordering::Relaxed) / CALLS_PER_USER);
        let quantity = self.random.random_range(1..=3);
        if self.random.random_ratio(1, 4) {
            self.call("track", json!({"userId": user, "event": "job.run", "quantity": quantity})).await;
            self.note(&user, |account| {
                account.tracked += quantity;
                account.events += 1;
            });
            return;
        }
        let leave = self.random.random_ratio(1, 10);
        // A reservation that will be settled must not expire during a fault, since a late commit may exceed the quota.
        let ttl_s = if leave { self.random.random_range(1..=3) } else { 900 };
        let body = json!({"userId": user, "event": "image.render", "quantity": quantity, "ttlSeconds": ttl_s});
        let decision = self.call("reserve", body).await;
        if decision["allowed"] != true {
            assert_eq!(decision["reasons"], json!(["limit_reached"]), "{decision}");
            self.shared.seen.denied.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.shared.seen.allowed.fetch_add(1, Ordering::Relaxed);
        let id = decision["reservationId"].as_str().unwrap().to_owned();
        if leave {
            let end = DateTime::parse_from_rfc3339(decision["expiresAt"].as_str().unwrap()).unwrap();
            self.note(&user, |account| account.left.push((quantity, end.timestamp_millis())));
            return;
        }
        let (charged, settled) = match self.random.random_range(0..10) {
            0 | 1 => {
                self.call("release", json!({"reservationId": id})).await;
                return;
            }
            2 => {
                let drawn = self.call("commit", json!({"reservationId": id, "final": false, "quantity": 1})).await;
                if drawn.is_null() {
                    return;
                }
                // The reservation was lost after its partial commit was acknowledged.
                let settled = self.call("commit", json!({"reservationId": id})).await;
                if settled.is_null() { (1, drawn) } else { (quantity, settled) }
            }
            3 | 4 => {
                let actual = self.random.random_range(1..=quantity);
                (actual, self.call("commit", json!({"reservationId": id, "quantity": actual})).await)
            }
            _ => {
                let settled = self.call("commit", json!({"reservationId": id})).await;
                assert!(settled.is_null() || settled["status"] == "committed", "{settled}");
                (quantity, settled)
            }
        };
        if settled.is_null() {
            return;
        }
        self.note(&user, |account| {
            account.charged += charged;
            account.events += 1;
        });
    }

    fn note(&self, user: &str, change: impl FnOnce(&mut crate::book::Account)) {
        change(self.shared.book.lock().unwrap().of(user));
    }

    /// Repeats a call until it is answered. Until then only "unknown reservation" is an acceptable answer.
    async fn call(&mut self, path: &str, body: Value) -> Value {
        self.made += 1;
        let name = format!("{}-{}", self.number, self.made);
        let begun = Instant::now();
        loop {
            let node = {
                let nodes = self.shared.nodes.read().unwrap();
                nodes[self.random.random_range(0..nodes.len())].clone()
            };
            let request = self.http.post(format!("{node}/api/v1/{path}")).bearer_auth(&self.shared.key);
            let sent = Instant::now();
            let request = request.header("Idempotency-Key", &name).json(&body);
            let answer = tokio::select! {
                answer = answer_to(request) => Some(answer),
                () = self.shared.gone(&node) => None,
            };
            match answer {
                Some(Ok((200, text))) => {
                    self.shared.seen.answered.fetch_add(1, Ordering::Relaxed);
                    return serde_json::from_str(&text).unwrap();
                }
                Some(Ok((404, _))) if self.shared.may_lose => {
                    self.shared.seen.gone.fetch_add(1, Ordering::Relaxed);
                    return Value::Null;
                }
                Some(Ok((503, text))) => {
                    assert!(text.contains("store_unavailable"), "{text}");
                    self.shared.seen.unavailable.fetch_add(1, Ordering::Relaxed);
                    let took_ms = u64::try_from(sent.elapsed().as_millis()).unwrap();
                    self.shared.seen.longest_503_ms.fetch_max(took_ms, Ordering::Relaxed);
                }
                Some(Ok((status, text))) => panic!("{path} {body} {name}: {status} {text}"),
                Some(Err(error)) => {
                    let nodes = &self.shared.nodes;
                    assert!(
                        !error.is_timeout(),
                        "{path} {body} {name}: no answer within {HANGS:?} from {node}, which has not ended; the gateways \
                         are now {nodes:?}"
                    );
                    self.shared.seen.broken.fetch_add(1, Ordering::Relaxed);
                }
                None => {
                    println!("{path} {name}: no answer from {node}, which has ended");
                    self.shared.seen.broken.fetch_add(1, Ordering::Relaxed);
                }
            }
            assert!(begun.elapsed() < PATIENCE, "{path} {body}: repeated for {PATIENCE:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn answer_to(request: reqwest::RequestBuilder) -> reqwest::Result<(u16, String)> {
    let response = request.send().await?;
    Ok((response.status().as_u16(), response.text().await?))
}

/// A gateway that accepts a call and ends; the client of that call does not notice the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_gateway_has_ended_unnoticed_is_repeated_at_another() {
    let redis = Redis::start().await;
    let stage = Stage::set(redis.url(), 1).await;
    let traffic = Traffic::start(&stage).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    stage.nodes.write().unwrap().push(silent.clone());
    let _open = listener.accept().await.unwrap();
    stage.nodes.write().unwrap().pop();
    stage.ended.send_modify(|ended| _ = ended.insert(silent));
    let shared = Arc::clone(&traffic.shared);
    let book = traffic.stop("a gateway that ended unnoticed").await;
    assert!(shared.seen.broken.load(Ordering::Relaxed) > 0, "the call was given up");
    crate::outside::is_as_acknowledged(&redis.url(), &stage, &book).await;
}

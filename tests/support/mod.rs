//! Real components for tests: a separate Redis, gateway nodes on free ports, and a client.
// No test suite uses all of it.
#![allow(dead_code, unused_imports)]

pub mod cluster;
mod options;
pub mod proven;
pub mod receiver;
pub mod run;
pub mod seeds;
mod server;
pub mod slots;
pub mod stored;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use quotagate::http::middleware::limits::Limits;
use quotagate::infra::supervise::Parts;
use quotagate::startup::{Node, Options, install_metrics};
use serde_json::{Value, json};

pub use run::{folder, free_port};
pub use server::{Redis, connect, redis_program};

pub const ROOT_KEY: &str = "ak_test_root_0123456789abcdef";
/// The initial time of sandboxes: the end of a month, and before a leap year.
pub const START: &str = "2027-01-31T10:00:00Z";

/// How long a test waits for a condition before it fails.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for a condition instead of sleeping.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(2);
    while !condition().await {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(pause).await;
        // A long wait leaves the processor to what is waited for.
        pause = (pause * 3 / 2).min(Duration::from_millis(40));
    }
}

/// Waits for something that arrives by itself, such as the next event of a stream.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain until {what}"))
}

fn metrics() -> PrometheusHandle {
    static METRICS: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    METRICS.get_or_init(|| install_metrics().unwrap()).clone()
}

/// The log of nodes in this process is printed with a failed test.
fn log_to_test_output() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_test_writer()
            .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
            .init()
    });
}

/// A gateway node in this process, listening on a free port.
pub struct Running {
    pub url: String,
    /// Its background tasks.
    pub parts: Parts,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    served: Option<tokio::task::JoinHandle<()>>,
}

impl Running {
    /// With a long Redis timeout, since Redis may answer slowly on a busy machine.
    pub async fn start(redis_url: &str) -> Self {
        Self::with(redis_url, PATIENCE).await
    }

    pub async fn with(redis_url: &str, redis_timeout: Duration) -> Self {
        Self::launch(Self::options(redis_url, redis_timeout)).await
    }

    /// With other limits than those of a production node.
    pub async fn with_limits(redis_url: &str, limits: Limits) -> Self {
        Self::launch(Options { limits, ..Self::options(redis_url, PATIENCE) }).await
    }

    /// With `QUOTAGATE_CONFIG`.
    pub async fn with_configuration(redis_url: String, file: PathBuf) -> Self {
        Self::launch(Options { config_file: Some(file), ..Self::options(&redis_url, PATIENCE) }).await
    }

    /// With this timeout for webhook deliveries.
    pub async fn with_attempts_of(redis_url: &str, timeout: Duration) -> Self {
        let mut options = Self::options(redis_url, PATIENCE);
        options.deliver.timeout = timeout;
        Self::launch(options).await
    }

    /// The options, for tests that change some of them.
    pub fn options(redis_url: &str, redis_timeout: Duration) -> Options {
        options::options(redis_url, redis_timeout)
    }

    pub async fn launch(options: Options) -> Self {
        log_to_test_output();
        let node = Node::prepare(options, metrics()).await.unwrap();
        let parts = node.parts();
        let url = format!("http://{}", node.address);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let served = tokio::spawn(async move {
            node.run(async move {
                let _ = stopped.await;
            })
            .await
            .unwrap();
        });
        Self { url, parts, stop: Some(stop), served: Some(served) }
    }

    /// Drains the node and waits until it has stopped.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.served.take().unwrap().await.unwrap();
    }

    pub fn client(&self, key: &str) -> Api {
        Api::at(&self.url, key)
    }
}

/// A response: status, headers, JSON (null if the body is empty).
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Fails unless the status is as expected.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json
    }

    /// Fails unless it is a problem response with this status and code.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.json["code"].as_str()), (status, Some(code)), "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.json["status"], status);
        assert!(!self.json["requestId"].as_str().unwrap().is_empty());
        self.json
    }

    /// The first field that a 400 names.
    #[track_caller]
    pub fn bad_field(self) -> String {
        let problem = self.problem(400, "invalid_request");
        problem["errors"][0]["field"].as_str().unwrap().to_owned()
    }
}

/// Test servers use no TLS, and reading the system's certificates would take longer than most calls.
pub fn http() -> reqwest::ClientBuilder {
    quotagate::infra::http_client::builder().tls_certs_only([])
}

/// A client with one key for one node.
#[derive(Clone)]
pub struct Api {
    pub base: String,
    pub key: String,
    pub headers: Vec<(String, String)>,
    http: reqwest::Client,
}

impl Api {
    pub fn at(url: &str, key: &str) -> Self {
        let http = http().build().unwrap();
        Self { base: url.to_owned(), key: key.to_owned(), headers: Vec::new(), http }
    }

    /// The same client with another header.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut api = self.clone();
        api.headers.push((name.to_owned(), value.to_owned()));
        api
    }

    pub fn once(&self, idempotency_key: &str) -> Self {
        self.with("Idempotency-Key", idempotency_key)
    }

    /// Sends the text unchanged. `path` is relative to `/api/v1/`, unless it begins with `/`.
    pub async fn send(&self, method: &str, path: &str, body: Option<String>) -> Answer {
        let url =
            if path.starts_with('/') { format!("{}{path}", self.base) } else { format!("{}/api/v1/{path}", self.base) };
        let mut request = self.http.request(method.parse().unwrap(), url);
        if !self.key.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.key));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status, headers, text, json }
    }

    /// A response whose body is read piece by piece.
    pub async fn open(&self, path: &str) -> reqwest::Response {
        let url = format!("{}/api/v1/{path}", self.base);
        self.http.get(url).header("authorization", format!("Bearer {}", self.key)).send().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(body.to_string())).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, Some(body.to_string())).await
    }

    pub async fn delete(&self, path: &str, body: Option<Value>) -> Answer {
        self.send("DELETE", path, body.map(|body| body.to_string())).await
    }

    pub async fn plan(&self, id: &str, body: Value) {
        self.put(&format!("plans/{id}"), body).await.expect(200);
    }

    pub async fn subscribe(&self, user: &str, plan: &str) {
        self.post("subscriptions", json!({"userId": user, "planId": plan})).await.expect(200);
    }

    pub async fn reserve(&self, body: Value) -> Value {
        self.post("reserve", body).await.expect(200)
    }

    /// Reserves and fails unless it is allowed; returns the reservation's id.
    #[track_caller]
    pub fn reserved(&self, body: Value) -> impl Future<Output = String> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let decision = self.reserve(body).await;
            assert_eq!(decision["allowed"], true, "at {caller}: {decision}");
            decision["reservationId"].as_str().unwrap().to_owned()
        }
    }

    pub async fn commit(&self, id: &str) -> Value {
        self.post("commit", json!({"reservationId": id})).await.expect(200)
    }

    pub async fn release(&self, id: &str) -> Value {
        self.post("release", json!({"reservationId": id})).await.expect(200)
    }

    /// One counter of a user.
    pub async fn counter(&self, user: &str, group: &str) -> Value {
        let usage = self.get(&format!("usage?userId={user}")).await.expect(200);
        let counters = usage["counters"].as_array().unwrap();
        counters
            .iter()
            .find(|counter| counter["groupId"] == group)
            .unwrap_or_else(|| panic!("no {group} in {usage}"))
            .clone()
    }

    /// `[used, held]` of one counter, in whole units.
    pub async fn stands(&self, user: &str, group: &str) -> (f64, f64) {
        let counter = self.counter(user, group).await;
        (counter["used"].as_f64().unwrap(), counter["held"].as_f64().unwrap())
    }

    pub async fn freeze(&self, now: &str) {
        self.put("test-clock", json!({"now": now})).await.expect(200);
    }
}

/// A Redis, a node, and keys of the default app.
pub struct World {
    pub redis: Redis,
    pub node: Running,
    /// The root admin key, in live mode.
    pub admin: Api,
    /// A secret key of the sandbox `main`.
    pub app: Api,
}

impl World {
    /// With real time.
    pub async fn new() -> Self {
        let redis = Redis::start().await;
        let node = Running::start(&redis.url()).await;
        let admin = node.client(ROOT_KEY);
        let key = new_key(&admin, json!({"kind": "secret", "mode": "test"})).await;
        let app = node.client(&key);
        Self { redis, node, admin, app }
    }

    /// With the sandbox's clock frozen at [`START`].
    pub async fn frozen() -> Self {
        let world = Self::new().await;
        world.app.freeze(START).await;
        world
    }

    /// With this timeout for webhook deliveries.
    pub async fn with_attempts_of(mut self, timeout: Duration) -> Self {
        let node = Running::with_attempts_of(&self.redis.url(), timeout).await;
        (self.admin, self.app) = (node.client(ROOT_KEY), node.client(&self.app.key));
        std::mem::replace(&mut self.node, node).stop().await;
        self
    }

    /// Another node on the same Redis, with the same sandbox key.
    pub async fn another_node(&self) -> (Running, Api) {
        let node = Running::start(&self.redis.url()).await;
        let app = node.client(&self.app.key);
        (node, app)
    }
}

pub async fn new_key(admin: &Api, body: Value) -> String {
    admin.post("keys", body).await.expect(201)["key"].as_str().unwrap().to_owned()
}

/// A plan with one group, monthly from the subscription's start.
pub fn monthly(quota: u64) -> Value {
    json!({
        "periodType": "monthly", "periodAnchor": "subscription_start",
        "groups": [{"id": "images", "unit": "count", "quota": quota, "matches": [{"event": "image.*"}]}],
    })
}

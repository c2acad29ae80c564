//! Real parts for tests: a Redis of their own, gateway nodes on free ports, and a client.
#![allow(dead_code)]

pub mod cluster;
pub mod proven;
pub mod receiver;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use quotagate::deliver::DeliverOptions;
use quotagate::http::limits::Limits;
use quotagate::roll_up::RollUpOptions;
use quotagate::startup::{Node, Options, install_metrics};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const ROOT_KEY: &str = "ak_test_root_0123456789abcdef";
/// A frozen start for sandboxes: a month-end, before a leap year.
pub const START: &str = "2027-01-31T10:00:00Z";

/// A Redis server on a Unix socket in a temporary directory.
pub struct Redis {
    child: Child,
    directory: TempDir,
    options: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Redis {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(options: &[&str]) -> Self {
        Self::in_environment(options, &[]).await
    }

    pub async fn in_environment(options: &[&str], environment: &[(String, String)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let environment = environment.to_vec();
        let child = spawn(&directory, &options, &environment);
        let redis = Self { child, directory, options, environment };
        redis.wait_until_ready().await;
        redis
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// With the password that it was started with, if any.
    pub fn url(&self) -> String {
        let password = self.options.iter().skip_while(|option| *option != "--requirepass").nth(1);
        let login = password.map_or_else(String::new, |password| format!("?pass={password}"));
        format!("redis+unix://{}{login}", self.socket().display())
    }

    pub async fn connect(&self) -> redis::aio::MultiplexedConnection {
        // On a busy machine an answer may take long; a test waits for it.
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }

    pub async fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut self.connect().await).await.unwrap()
    }

    /// Every key under a pattern with its serialized value: equal dumps are equal states.
    pub async fn dump(&self, pattern: &str) -> Vec<(String, Vec<u8>)> {
        let mut keys: Vec<String> = self.run(&["KEYS", pattern]).await;
        keys.retain(|key| is_told(key, pattern));
        keys.sort();
        let mut dump = Vec::new();
        for key in keys {
            let value: Vec<u8> = self.run(&["DUMP", &key]).await;
            dump.push((key, value));
        }
        dump
    }

    /// Every key under a pattern with what it holds, sorted. Unlike [`Redis::dump`] it does not depend on where Redis
    /// stands with rehashing a large hash, which even reads move on.
    pub async fn contents(&self, pattern: &str) -> Vec<(String, Vec<String>)> {
        let mut connection = self.connect().await;
        let mut keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap();
        keys.retain(|key| is_told(key, pattern));
        keys.sort();
        let mut contents = Vec::new();
        for key in keys {
            let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut connection).await.unwrap();
            if kind == "stream" {
                let length: i64 = redis::cmd("XLEN").arg(&key).query_async(&mut connection).await.unwrap();
                contents.push((key, vec![length.to_string()]));
                continue;
            }
            let mut command = match kind.as_str() {
                "string" => redis::cmd("MGET"),
                "hash" => redis::cmd("HGETALL"),
                "zset" => redis::cmd("ZRANGE"),
                "set" => redis::cmd("SMEMBERS"),
                other => panic!("{key} is a {other}"),
            };
            command.arg(&key);
            if kind == "zset" {
                command.arg(0).arg(-1).arg("WITHSCORES");
            }
            let mut parts: Vec<String> = command.query_async(&mut connection).await.unwrap();
            if kind != "string" {
                parts = parts.chunks(if kind == "set" { 1 } else { 2 }).map(|pair| pair.join(" = ")).collect();
                parts.sort();
            }
            contents.push((key, parts));
        }
        contents
    }

    /// As if the machine lost power.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// It keeps its connections and answers nothing, until [`Redis::wake`].
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    pub fn wake(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    pub async fn start_again(&mut self) {
        self.child = spawn(&self.directory, &self.options, &self.environment);
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&self) {
        eventually("Redis answers", || async {
            let client = redis::Client::open(self.url()).unwrap();
            let Ok(mut connection) = client.get_multiplexed_async_connection().await else { return false };
            redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
        })
        .await;
    }
}

/// What is refused is told among the denials, and changes nothing else. Rollups are written beside all calls, some time
/// after them: only those that ask for them compare them.
fn is_told(key: &str, pattern: &str) -> bool {
    let rollup = pattern.contains("rollup");
    // Nodes tell of themselves every few seconds.
    (rollup || !key.contains("}:rollup:"))
        && !key.contains("}:near:")
        && !key.ends_with("}:denials")
        && key != "qg:{quotagate}:nodes"
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on now, below those that the system gives to outgoing connections, which could take it
/// before its server does.
pub fn free_port() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| rand::random_range(10_000..30_000)).find(is_free).unwrap()
}

pub fn redis_program() -> &'static str {
    let program = ["redis-server", "valkey-server"].into_iter().find(|name| {
        Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    });
    program.expect("redis-server is installed by `make test`")
}

fn spawn(directory: &TempDir, options: &[String], environment: &[(String, String)]) -> Child {
    Command::new(redis_program())
        // A replica is sent the data at once, and not after 5 s in which others might ask for them too.
        .args(["--port", "0", "--save", "", "--appendonly", "yes", "--repl-diskless-sync-delay", "0", "--unixsocket"])
        .arg(directory.path().join("redis.sock"))
        .current_dir(directory.path())
        .args(options)
        .envs(environment.iter().cloned())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits for a condition, not for a time; fails after 60 s.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn metrics() -> PrometheusHandle {
    static METRICS: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    METRICS.get_or_init(|| install_metrics().unwrap()).clone()
}

/// A gateway node in this process, listening on a free port.
pub struct Running {
    pub url: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    served: Option<tokio::task::JoinHandle<()>>,
}

impl Running {
    /// On a busy machine an answer of Redis may take long; a test waits for it.
    pub async fn start(redis_url: &str) -> Self {
        Self::with(redis_url, Duration::from_secs(30)).await
    }

    pub async fn with(redis_url: &str, redis_timeout: Duration) -> Self {
        Self::launch(redis_url, redis_timeout, None, Limits::default()).await
    }

    /// With other bounds than those of a node in use.
    pub async fn with_limits(redis_url: &str, limits: Limits) -> Self {
        Self::launch(redis_url, Duration::from_secs(5), None, limits).await
    }

    /// With `QUOTAGATE_CONFIG`.
    pub async fn with_configuration(redis_url: String, file: PathBuf) -> Self {
        Self::launch(&redis_url, Duration::from_secs(5), Some(file), Limits::default()).await
    }

    async fn launch(redis_url: &str, redis_timeout: Duration, config_file: Option<PathBuf>, limits: Limits) -> Self {
        let options = Options {
            bind: "127.0.0.1:0".parse().unwrap(),
            redis_url: redis_url.to_owned(),
            redis_timeout,
            wait_replicas: 0,
            ledger_entries: quotagate::store::LEDGER_ENTRIES,
            workers: 1,
            root_key: Some(ROOT_KEY.to_owned()),
            config_file,
            // Receivers of tests are on this machine, and nobody waits for seconds.
            deliver: DeliverOptions {
                allow_private: true,
                timeout: Duration::from_secs(2),
                first_wait: Duration::from_millis(10),
                ..DeliverOptions::default()
            },
            roll_up: RollUpOptions::default(),
            journal: None,
            limits,
        };
        let node = Node::prepare(options, metrics()).await.unwrap();
        let url = format!("http://{}", node.address);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let served = tokio::spawn(async move {
            node.run(async move {
                let _ = stopped.await;
            })
            .await
            .unwrap();
        });
        Self { url, stop: Some(stop), served: Some(served) }
    }

    /// Drains and waits until the node is gone.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.served.take().unwrap().await.unwrap();
    }

    pub fn client(&self, key: &str) -> Api {
        Api::at(&self.url, key)
    }
}

/// An answer: status, headers, JSON (null if there is none).
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

    /// Fails unless it is a problem of that status and code.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.json["code"].as_str()), (status, Some(code)), "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.json["status"], status);
        assert!(!self.json["requestId"].as_str().unwrap().is_empty());
        self.json
    }

    /// The field that a 400 names first.
    #[track_caller]
    pub fn bad_field(self) -> String {
        let problem = self.problem(400, "invalid_request");
        problem["errors"][0]["field"].as_str().unwrap().to_owned()
    }
}

/// A client with one key on one node.
#[derive(Clone)]
pub struct Api {
    pub base: String,
    pub key: String,
    pub headers: Vec<(String, String)>,
    http: reqwest::Client,
}

impl Api {
    pub fn at(url: &str, key: &str) -> Self {
        let http = quotagate::http_client::builder().build().unwrap();
        Self { base: url.to_owned(), key: key.to_owned(), headers: Vec::new(), http }
    }

    /// The same client with one more header.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut api = self.clone();
        api.headers.push((name.to_owned(), value.to_owned()));
        api
    }

    pub fn once(&self, idempotency_key: &str) -> Self {
        self.with("Idempotency-Key", idempotency_key)
    }

    /// Sends text as it is. `path` is what follows `/api/v1/`, or begins with `/`.
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

    /// An answer whose body is still to come, piece by piece.
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

    /// Reserves and fails unless it is allowed; answers the reservation's id.
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
    /// Root admin, live mode.
    pub admin: Api,
    /// A secret key of the sandbox `main`.
    pub app: Api,
}

impl World {
    /// On real time.
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

/// A plan of one monthly group on the subscription's start.
pub fn monthly(quota: u64) -> Value {
    json!({
        "periodType": "monthly", "periodAnchor": "subscription_start",
        "groups": [{"id": "images", "unit": "count", "quota": quota, "matches": [{"event": "image.*"}]}],
    })
}

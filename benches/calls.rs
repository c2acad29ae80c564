//! What one machine does with 64 connections: reserve and commit beside a call that decides nothing, in one run.
//! Figures are ratios within the run; absolute numbers depend on the machine. `make bench`

// The layout of the futures that the service makes is deeper than the default of 128.
#![recursion_limit = "256"]

use std::time::{Duration, Instant};

use quotagate::startup::{Node, Options, install_metrics};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[path = "../tests/support/mod.rs"]
mod support;

const CONNECTIONS: usize = 64;
const USERS: usize = 10_000;
const RUN: Duration = Duration::from_secs(5);

/// One keep-alive connection that speaks just enough HTTP.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    key: String,
}

impl Connection {
    async fn open(address: &str, key: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::with_capacity(8192), key: key.to_owned() }
    }

    async fn post(&mut self, path: &str, body: &str) -> Value {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.buffer.clear();
        loop {
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "the connection was closed");
            let Some(head) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(&self.buffer[..head]).unwrap().to_lowercase();
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            let length: usize = length.unwrap().parse().unwrap();
            if self.buffer.len() >= head + 4 + length {
                return serde_json::from_slice(&self.buffer[head + 4..]).unwrap_or(Value::Null);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Scenario {
    /// A 404 for an unknown reservation id: HTTP, JSON and authentication, no Redis.
    Undecided,
    Reserve,
    ReserveAndCommit,
}

/// Calls per second and the median latency of one turn.
async fn run(address: &str, key: &str, scenario: Scenario) -> (f64, Duration) {
    let started = Instant::now();
    let tasks = (0..CONNECTIONS).map(|number| {
        let (address, key) = (address.to_owned(), key.to_owned());
        tokio::spawn(async move {
            let mut connection = Connection::open(&address, &key).await;
            let mut latencies = Vec::new();
            let mut turn = number;
            while started.elapsed() < RUN {
                let user = format!("bench_{}", turn * 7919 % USERS);
                let body = json!({"userId": user, "event": "llm.chat", "metadata": {"prompt_tokens": 374, "completion_tokens": 44}}).to_string();
                let before = Instant::now();
                match scenario {
                    Scenario::Undecided => {
                        connection.post("/api/v1/commit", "{\"reservationId\":\"none\",\"metadata\":{\"prompt_tokens\":374,\"completion_tokens\":44}}").await;
                    }
                    Scenario::Reserve | Scenario::ReserveAndCommit => {
                        let decision = connection.post("/api/v1/reserve", &body).await;
                        assert_eq!(decision["allowed"], true, "{decision}");
                        if scenario == Scenario::ReserveAndCommit {
                            let id = decision["reservationId"].as_str().unwrap();
                            let settled = connection.post("/api/v1/commit", &format!("{{\"reservationId\":\"{id}\"}}")).await;
                            assert_eq!(settled["status"], "committed", "{settled}");
                        }
                    }
                }
                latencies.push(before.elapsed());
                turn += CONNECTIONS;
            }
            latencies
        })
    });
    let mut latencies: Vec<Duration> = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        latencies.extend(task.await.unwrap());
    }
    latencies.sort();
    (latencies.len() as f64 / started.elapsed().as_secs_f64(), latencies[latencies.len() / 2])
}

/// Microseconds of Redis per call of a command since the last reset, also where scripts call it.
async fn redis_us_per_call(redis: &support::Redis, command: &str) -> f64 {
    let info: String = redis.run(&["INFO", "commandstats"]).await;
    let line = info.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:"))).unwrap_or_default();
    let figure = line.split("usec_per_call=").nth(1).and_then(|rest| rest.split(',').next());
    figure.and_then(|figure| figure.parse().ok()).unwrap_or(0.0)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let redis = support::Redis::start().await;
        let options = Options {
            deliver: Default::default(),
            limits: Default::default(),
            bind: "127.0.0.1:0".parse().unwrap(),
            redis_url: redis.url(),
            redis_timeout: Duration::from_secs(5),
            wait_replicas: 0,
            ledger_entries: quotagate::store::LEDGER_ENTRIES,
            workers: 2,
            root_key: Some(support::ROOT_KEY.to_owned()),
            config_file: None,
            roll_up: quotagate::roll_up::RollUpOptions::default(),
        };
        let node = Node::prepare(options, install_metrics().unwrap()).await.unwrap();
        let address = node.address.to_string();
        tokio::spawn(node.run(std::future::pending()));

        let mut admin = Connection::open(&address, support::ROOT_KEY).await;
        let key = admin.post("/api/v1/keys", "{\"kind\":\"secret\",\"mode\":\"live\"}").await;
        let key = key["key"].as_str().unwrap().to_owned();
        let plan = json!({"periodType": "monthly", "periodAnchor": "subscription_start", "groups": [
            {"id": "tokens", "unit": "tokens", "quota": 1_000_000_000_u64, "matches": [{"event": "llm.*"}],
                "measure": {"per": {"prompt_tokens": 1, "completion_tokens": 1}}},
            {"id": "cents", "unit": "cents", "quota": 1_000_000, "matches": [{"event": "llm.*"}],
                "measure": {"per": {"prompt_tokens": "0.00025", "completion_tokens": "0.001"}}},
            {"id": "calls", "unit": "count", "quota": 1_000_000, "measure": "event", "matches": [{"event": "*"}]},
        ]});
        let client = quotagate::http_client::builder().build().unwrap();
        let url = format!("http://{address}/api/v1/plans/bench");
        client.put(url).bearer_auth(support::ROOT_KEY).body(plan.to_string()).send().await.unwrap().error_for_status().unwrap();
        let mut app = Connection::open(&address, &key).await;
        for user in 0..USERS {
            app.post("/api/v1/subscriptions", &format!("{{\"userId\":\"bench_{user}\",\"planId\":\"bench\"}}")).await;
        }

        println!("{CONNECTIONS} connections, {USERS} users, 3 matched groups, server, Redis and load on the same cores");
        let (undecided, median) = run(&address, &key, Scenario::Undecided).await;
        println!("{:<22} {undecided:>9.0}/s   median {median:>9.2?}", "undecided (no Redis)");
        for (name, scenario) in [("reserve", Scenario::Reserve), ("reserve + commit", Scenario::ReserveAndCommit)] {
            redis.run::<String>(&["CONFIG", "RESETSTAT"]).await;
            let (rate, median) = run(&address, &key, scenario).await;
            let us = redis_us_per_call(&redis, "evalsha").await;
            println!("{name:<22} {rate:>9.0}/s   median {median:>9.2?}   {:.2} of undecided   {us:.1} us of Redis per script", rate / undecided);
        }
        // What the ledger adds to a commit: one XADD, and the memory of its entry.
        let us = redis_us_per_call(&redis, "xadd").await;
        const LEDGER: &str = "qg:{default:live}:ledger";
        let bytes: f64 = redis.run(&["MEMORY", "USAGE", LEDGER, "SAMPLES", "0"]).await;
        let entries: f64 = redis.run(&["XLEN", LEDGER]).await;
        println!("ledger, per commit: {us:.1} us of Redis, {:.0} bytes of Redis memory", bytes / entries);
    });
}

//! Where a fault happens: a Redis, one or two gateway processes, and a plan with tight limits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, RwLock};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{ADMIN_KEY, Process};
use crate::support::Redis;

/// Quota of a user's images, of which many callers try to get more at once.
pub const QUOTA: u64 = 40;
/// Calls of a user that may be under way.
pub const IN_FLIGHT: u64 = 12;
/// The bound on one round trip between gateway and Redis.
pub const REDIS_TIMEOUT_MS: u64 = 500;

/// The gateways that run now, by their URLs.
pub type Nodes = Arc<RwLock<Vec<String>>>;

/// What a gateway is started as, where it is not the usual one.
#[derive(Clone, Default)]
pub struct Build {
    /// A program that is another gateway, or becomes the usual one.
    pub program: Option<PathBuf>,
    pub settings: Vec<(&'static str, String)>,
}

impl Build {
    /// Each write waits until one replica has acknowledged it.
    pub fn that_waits() -> Self {
        Self { settings: vec![("QUOTAGATE_WAIT_REPLICAS", "1".to_owned())], ..Self::default() }
    }

    /// Where nothing hangs, so that only a machine that stands still can make a call wait for Redis.
    pub fn patient(mut self) -> Self {
        self.settings.push(("QUOTAGATE_REDIS_TIMEOUT_MS", "20000".to_owned()));
        self
    }
}

pub struct Stage {
    /// Also of the Redis that the gateway starts itself.
    pub redis_url: String,
    pub key: String,
    pub nodes: Nodes,
    build: Build,
    embedded: bool,
    gateways: Vec<Option<Process>>,
    directory: TempDir,
}

impl Stage {
    /// Without a URL the gateway starts a Redis of its own.
    pub async fn set(redis_url: String, gateways: usize) -> Self {
        Self::of(redis_url, gateways, Build::default()).await
    }

    /// With gateways of another build.
    pub async fn of(redis_url: String, gateways: usize, build: Build) -> Self {
        let mut stage = Self {
            key: String::new(),
            nodes: Nodes::default(),
            build,
            embedded: redis_url.is_empty(),
            redis_url,
            gateways: Vec::new(),
            directory: TempDir::new().unwrap(),
        };
        for place in 0..gateways {
            stage.gateways.push(None);
            stage.nodes.write().unwrap().push(String::new());
            stage.start(place).await;
        }
        if stage.embedded {
            stage.redis_url = format!("redis+unix://{}", stage.directory.path().join("redis.sock").display());
        }
        let first = stage.gateways[0].as_ref().unwrap();
        let plan = json!({"periodType": "lifetime", "periodAnchor": "calendar", "groups": [
            {"id": "images", "unit": "count", "quota": QUOTA, "matches": [{"event": "image.*"}]},
            {"id": "in_flight", "unit": "count", "measure": "event", "quota": IN_FLIGHT, "periodType": "concurrent",
                "matches": [{"event": "image.*"}]},
            {"id": "jobs", "unit": "count", "quota": null, "matches": [{"event": "job.*"}]},
        ]});
        first.call("PUT", "plans/tight", ADMIN_KEY, &plan).await;
        let whole = json!({"periodType": "lifetime", "groups": [
            {"id": "whole", "unit": "count", "measure": "event", "quota": null, "scope": ["app"], "matches": [{"event": "*"}]},
        ]});
        first.call("PUT", "policies/whole", ADMIN_KEY, &whole).await;
        first.call("PUT", "app", ADMIN_KEY, &json!({"defaultPlanId": "tight"})).await;
        let key = first.call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": "live"})).await;
        stage.key = key["key"].as_str().unwrap().to_owned();
        stage
    }

    /// Starts a gateway in that place; answers when it is ready.
    pub async fn start(&mut self, place: usize) {
        self.start_as(place, self.build.clone()).await;
    }

    /// Starts a gateway of that build in that place; answers when it is ready.
    pub async fn start_as(&mut self, place: usize, build: Build) {
        let directory = self.directory.path().to_owned();
        let redis_url = (!self.embedded).then(|| self.redis_url.clone());
        let log = self.log(place);
        let gateway = tokio::task::spawn_blocking(move || {
            let mut settings = vec![
                ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY.to_owned()),
                ("QUOTAGATE_REDIS_TIMEOUT_MS", REDIS_TIMEOUT_MS.to_string()),
            ];
            settings.extend(redis_url.map(|url| ("QUOTAGATE_REDIS_URL", url)));
            settings.extend(build.settings);
            let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let program = build.program.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_quotagate")));
            let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
            Process::start_program(program, &directory, &settings, Stdio::from(log))
        });
        let gateway = gateway.await.unwrap();
        self.nodes.write().unwrap()[place].clone_from(&gateway.url);
        self.gateways[place] = Some(gateway);
    }

    /// What the gateways in that place have written to standard error.
    pub fn log(&self, place: usize) -> PathBuf {
        self.directory.path().join(format!("gateway-{place}.log"))
    }

    /// Where the gateways keep files of their own.
    pub fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    pub fn process_id(&self, place: usize) -> u32 {
        self.gateways[place].as_ref().unwrap().id()
    }

    /// SIGKILL: calls under way are cut wherever they are.
    pub async fn kill(&mut self, place: usize) {
        let gateway = self.gateways[place].take().unwrap();
        tokio::task::spawn_blocking(move || gateway.kill()).await.unwrap();
    }

    /// SIGTERM: calls under way are answered.
    pub async fn stop(&mut self, place: usize) {
        let gateway = self.gateways[place].take().unwrap();
        let ended = tokio::task::spawn_blocking(move || gateway.terminate()).await.unwrap();
        assert!(ended.success(), "{ended}");
    }

    /// One call that has to succeed, at the first gateway.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.gateways[0].as_ref().unwrap().call(method, path, &self.key, body).await
    }

    /// The same with the key of an operator.
    pub async fn configure(&self, method: &str, path: &str, body: &Value) -> Value {
        self.gateways[0].as_ref().unwrap().call(method, path, ADMIN_KEY, body).await
    }

    /// One call, whatever it answers.
    pub async fn answer(&self, path: &str, idempotency_key: &str, body: &Value) -> reqwest::Response {
        let node = self.nodes.read().unwrap()[0].clone();
        let http = quotagate::http_client::builder().build().unwrap();
        let request = http.post(format!("{node}/api/v1/{path}")).bearer_auth(&self.key);
        request.header("Idempotency-Key", idempotency_key).json(body).send().await.unwrap()
    }
}

impl Drop for Stage {
    /// Of a test that failed: why its gateways refused a call, which no answer tells.
    fn drop(&mut self) {
        for place in (0..self.gateways.len()).filter(|_| std::thread::panicking()) {
            let log = std::fs::read_to_string(self.log(place)).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            println!("gateway {place}, its last lines first:\n{}", last.join("\n"));
        }
    }
}

/// The values of a column of the exported calls of live mode, each with how often it is there.
pub async fn exported(redis: &Redis, column: &str) -> Vec<(String, usize)> {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_quotagate"))
        .args(["export", "--out", "-", "--format", "csv", "--types", "commit,track", "--redis-url", &redis.url()])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut reader = csv::Reader::from_reader(output.stdout.as_slice());
    let place = |name: &str, header: &csv::StringRecord| header.iter().position(|known| known == name).unwrap();
    let header = reader.headers().unwrap().clone();
    let (column, row) = (place(column, &header), place("row", &header));
    let mut found = BTreeMap::new();
    for record in reader.records().map(Result::unwrap).filter(|record| &record[row] == "1") {
        *found.entry(record[column].to_owned()).or_default() += 1;
    }
    found.into_iter().collect()
}

//! The setup of a fault test: a Redis, one or two gateway processes, and a plan with tight limits.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{OnceCell, watch};

use crate::gateway::{ADMIN_KEY, Process};
use crate::support::{Api, Redis, folder};

/// Quota of images per user, which the callers together try to exceed.
pub const QUOTA: u64 = 40;
/// Number of concurrent calls per user.
pub const IN_FLIGHT: u64 = 12;
/// Timeout for one round trip between gateway and Redis, in tests where Redis deliberately stops answering.
pub const HASTY_MS: u64 = 500;
/// The timeout everywhere else: the longest allowed, so that only a fault makes a call fail, not a busy machine.
pub const PATIENT_MS: u64 = 60_000;

/// The URLs of the gateways that currently run.
pub type Nodes = Arc<RwLock<Vec<String>>>;

/// The URLs of the gateways whose processes have ended.
pub type Ended = watch::Sender<HashSet<String>>;

/// How to start a gateway that differs from the default.
#[derive(Clone, Default)]
pub struct Build {
    /// A program to start instead: another build of the gateway, or a script that executes the normal one.
    pub program: Option<PathBuf>,
    pub settings: Vec<(&'static str, String)>,
    /// Gateways use the short timeout ([`HASTY_MS`]).
    pub hasty: bool,
}

impl Build {
    /// Each write waits until one replica has acknowledged it.
    pub fn that_waits() -> Self {
        Self { settings: vec![("QUOTAGATE_WAIT_REPLICAS", "1".to_owned())], ..Self::default() }
    }

    /// For tests in which Redis or a replica deliberately stops answering, and callers wait for the error.
    pub fn hasty(self) -> Self {
        Self { hasty: true, ..self }
    }
}

pub struct Stage {
    /// Also set for an embedded Redis.
    pub redis_url: String,
    pub key: String,
    pub nodes: Nodes,
    pub ended: Ended,
    build: Build,
    embedded: bool,
    gateways: Vec<Option<Process>>,
    /// For tests with short timeouts: a patient gateway for calls that must succeed.
    patient: OnceCell<Process>,
    directory: TempDir,
}

impl Stage {
    /// Without a URL the gateway starts its embedded Redis.
    pub async fn set(redis_url: String, gateways: usize) -> Self {
        Self::of(redis_url, gateways, Build::default()).await
    }

    /// With gateways of another build.
    pub async fn of(redis_url: String, gateways: usize, build: Build) -> Self {
        let mut stage = Self {
            key: String::new(),
            nodes: Nodes::default(),
            ended: Ended::default(),
            build,
            embedded: redis_url.is_empty(),
            redis_url,
            gateways: Vec::new(),
            patient: OnceCell::new(),
            directory: folder(),
        };
        for place in 0..gateways {
            stage.gateways.push(None);
            stage.nodes.write().unwrap().push(String::new());
            stage.start(place).await;
        }
        if stage.embedded {
            stage.redis_url = format!("redis+unix://{}", stage.directory.path().join("redis.sock").display());
        }
        let plan = json!({"periodType": "lifetime", "periodAnchor": "calendar", "groups": [
            {"id": "images", "unit": "count", "quota": QUOTA, "matches": [{"event": "image.*"}]},
            {"id": "in_flight", "unit": "count", "measure": "event", "quota": IN_FLIGHT, "periodType": "concurrent",
                "matches": [{"event": "image.*"}]},
            {"id": "jobs", "unit": "count", "quota": null, "matches": [{"event": "job.*"}]},
        ]});
        stage.configure("PUT", "plans/tight", &plan).await;
        let whole = json!({"periodType": "lifetime", "groups": [
            {"id": "whole", "unit": "count", "measure": "event", "quota": null, "scope": ["app"], "matches": [{"event": "*"}]},
        ]});
        stage.configure("PUT", "policies/whole", &whole).await;
        stage.configure("PUT", "app", &json!({"defaultPlanId": "tight"})).await;
        let key = stage.configure("POST", "keys", &json!({"kind": "secret", "mode": "live"})).await;
        stage.key = key["key"].as_str().unwrap().to_owned();
        stage
    }

    /// Starts a gateway at this index; returns when it is ready.
    pub async fn start(&mut self, place: usize) {
        self.start_as(place, self.build.clone()).await;
    }

    /// Starts a gateway of this build at this index; returns when it is ready.
    pub async fn start_as(&mut self, place: usize, build: Build) {
        let redis_url = (!self.embedded).then(|| self.redis_url.clone());
        let gateway = gateway(self.directory.path().to_owned(), redis_url, build, self.log(place)).await;
        // The new gateway may get the port of an earlier one.
        self.ended.send_modify(|ended| _ = ended.remove(&gateway.url));
        self.nodes.write().unwrap()[place].clone_from(&gateway.url);
        self.gateways[place] = Some(gateway);
    }

    /// The standard error of the gateways at this index.
    pub fn log(&self, place: usize) -> PathBuf {
        self.directory.path().join(format!("gateway-{place}.log"))
    }

    /// The directory of the gateways' own files.
    pub fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    pub fn process_id(&self, place: usize) -> u32 {
        self.gateways[place].as_ref().unwrap().id()
    }

    /// SIGKILL: calls in progress are aborted at any point.
    pub async fn kill(&mut self, place: usize) {
        let gateway = self.gateways[place].take().unwrap();
        let url = gateway.url.clone();
        tokio::task::spawn_blocking(move || gateway.kill()).await.unwrap();
        self.ended.send_modify(|ended| _ = ended.insert(url));
    }

    /// SIGTERM: calls in progress are answered.
    pub async fn stop(&mut self, place: usize) {
        let gateway = self.gateways[place].take().unwrap();
        let url = gateway.url.clone();
        let status = tokio::task::spawn_blocking(move || gateway.terminate()).await.unwrap();
        assert!(status.success(), "{status}");
        self.ended.send_modify(|ended| _ = ended.insert(url));
    }

    /// The gateway for calls that must succeed: the first one, or a patient one if the first has a short timeout.
    async fn patient(&self) -> &Process {
        if !self.build.hasty {
            return self.gateways[0].as_ref().unwrap();
        }
        let start = || {
            let directory = self.directory.path().join("patient");
            let log = self.directory.path().join("patient.log");
            gateway(directory, Some(self.redis_url.clone()), Build::default(), log)
        };
        self.patient.get_or_init(start).await
    }

    /// A client for calls that must succeed.
    pub async fn api(&self, key: &str) -> Api {
        Api::at(&self.patient().await.url, key)
    }

    /// One call that must succeed.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.patient().await.call(method, path, &self.key, body).await
    }

    /// The same with an admin key.
    pub async fn configure(&self, method: &str, path: &str, body: &Value) -> Value {
        self.patient().await.call(method, path, ADMIN_KEY, body).await
    }

    /// A read at the first gateway; `None` unless it succeeds.
    pub async fn read(&self, path: &str) -> Option<Value> {
        let node = self.nodes.read().unwrap()[0].clone();
        let http = crate::support::http().build().unwrap();
        let answer = http.get(format!("{node}/api/v1/{path}")).bearer_auth(&self.key).send().await.unwrap();
        if answer.status() == 200 { Some(answer.json().await.unwrap()) } else { None }
    }

    /// One call, whatever its status.
    pub async fn answer(&self, path: &str, idempotency_key: &str, body: &Value) -> reqwest::Response {
        let node = self.nodes.read().unwrap()[0].clone();
        let http = crate::support::http().build().unwrap();
        let request = http.post(format!("{node}/api/v1/{path}")).bearer_auth(&self.key);
        request.header("Idempotency-Key", idempotency_key).json(body).send().await.unwrap()
    }
}

/// Starts a gateway; returns when it is ready.
async fn gateway(data_dir: PathBuf, redis_url: Option<String>, build: Build, log: PathBuf) -> Process {
    let start = move || {
        let timeout_ms = if build.hasty { HASTY_MS } else { PATIENT_MS };
        let mut settings =
            vec![("QUOTAGATE_ADMIN_KEY", ADMIN_KEY.to_owned()), ("QUOTAGATE_REDIS_TIMEOUT_MS", timeout_ms.to_string())];
        settings.extend(redis_url.map(|url| ("QUOTAGATE_REDIS_URL", url)));
        settings.extend(build.settings);
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let program = build.program.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_quotagate")));
        Process::start_program(program, &data_dir, &settings, &log)
    };
    tokio::task::spawn_blocking(start).await.unwrap()
}

/// The values of a column of the exported live calls, each with its number of occurrences.
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

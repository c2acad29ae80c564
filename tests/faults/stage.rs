//! Where a fault happens: a Redis, one or two gateway processes, and a plan with tight limits.

use std::sync::{Arc, RwLock};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{ADMIN_KEY, Process};

/// Quota of a user's images, of which many callers try to get more at once.
pub const QUOTA: u64 = 40;
/// Calls of a user that may be under way.
pub const IN_FLIGHT: u64 = 12;
/// The bound on one round trip between gateway and Redis.
pub const REDIS_TIMEOUT_MS: u64 = 500;

/// The gateways that run now, by their URLs.
pub type Nodes = Arc<RwLock<Vec<String>>>;

pub struct Stage {
    pub redis_url: String,
    pub key: String,
    pub nodes: Nodes,
    gateways: Vec<Option<Process>>,
    directory: TempDir,
}

impl Stage {
    pub async fn set(redis_url: String, gateways: usize) -> Self {
        let mut stage = Self {
            redis_url,
            key: String::new(),
            nodes: Nodes::default(),
            gateways: Vec::new(),
            directory: TempDir::new().unwrap(),
        };
        for place in 0..gateways {
            stage.gateways.push(None);
            stage.nodes.write().unwrap().push(String::new());
            stage.start(place).await;
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
        let (directory, redis_url) = (self.directory.path().to_owned(), self.redis_url.clone());
        let timeout_ms = REDIS_TIMEOUT_MS.to_string();
        let gateway = tokio::task::spawn_blocking(move || {
            let settings = [
                ("QUOTAGATE_REDIS_URL", redis_url.as_str()),
                ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY),
                ("QUOTAGATE_REDIS_TIMEOUT_MS", timeout_ms.as_str()),
            ];
            Process::start(&directory, &settings)
        });
        let gateway = gateway.await.unwrap();
        self.nodes.write().unwrap()[place].clone_from(&gateway.url);
        self.gateways[place] = Some(gateway);
    }

    /// SIGKILL: calls under way are cut wherever they are.
    pub async fn kill(&mut self, place: usize) {
        let gateway = self.gateways[place].take().unwrap();
        tokio::task::spawn_blocking(move || gateway.kill()).await.unwrap();
    }

    /// One call that has to succeed, at the first gateway.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.gateways[0].as_ref().unwrap().call(method, path, &self.key, body).await
    }
}

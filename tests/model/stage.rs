//! The setup on which histories are played: two nodes on one Redis, and a new app for each history.

use std::sync::atomic::{AtomicUsize, Ordering};

use quotagate::domain::values::ids::{AppId, Mode};
use quotagate::service::gateway::Gateway;
use quotagate::service::reporting::verify::Verified;
use quotagate::service::tenant::Tenant;
use quotagate::startup::Options;
use quotagate::store::Store;
use serde_json::{Value, json};

use super::rules::{Rules, text};
use super::setup::{self, start_ms};
use crate::support::{Api, PATIENCE, ROOT_KEY, Redis, Running, new_key};

pub struct Stage {
    pub redis: Redis,
    nodes: [Running; 2],
    /// One for each node. Other clients are derived from these, since a new client reads all root certificates.
    clients: [Api; 2],
    gateway: Gateway,
    apps: AtomicUsize,
}

/// An app with a sandbox whose clock is set to [`start_ms`].
pub struct Scene {
    pub rules: Rules,
    /// A secret key, used at either node.
    pub apps: [Api; 2],
    /// An admin key for the same sandbox, used at either node.
    pub operators: [Api; 2],
}

impl Stage {
    pub async fn new() -> Self {
        let redis = Redis::start().await;
        // One node uses the scripts' fast path where possible, the other never does: their answers must agree.
        let general = Options { straight_path: false, ..Running::options(&redis.url(), PATIENCE) };
        let nodes = [Running::start(&redis.url()).await, Running::launch(general).await];
        let clients = [0, 1].map(|node: usize| nodes[node].client(ROOT_KEY));
        let store = Store::open(&redis.url(), crate::support::PATIENCE).unwrap();
        Self { redis, nodes, clients, gateway: Gateway::new(store, None), apps: AtomicUsize::new(0) }
    }

    /// A new app with its plans and policies. With `shared`, some counters belong to several users; with `spread`,
    /// users are spread over the buckets, which excludes shared counters.
    pub async fn scene(&self, shared: bool, spread: bool, default_plan: bool) -> Scene {
        let app = format!("app{}", self.apps.fetch_add(1, Ordering::Relaxed));
        let rules = setup::rules(&app, shared, default_plan);
        let [root, _] = &self.clients;
        let placement = if spread { "user" } else { "app" };
        root.post("apps", json!({"id": app, "placement": placement})).await.expect(201);
        let operators = [0, 1].map(|node: usize| self.clients[node].with("x-app", &app).with("x-mode", "test"));
        let operator = &operators[0];
        for (id, plan) in &rules.plans {
            operator.put(&format!("plans/{id}"), plan.plan_body()).await.expect(200);
        }
        for (id, policy) in &rules.policies {
            operator.put(&format!("policies/{id}"), policy.policy_body()).await.expect(200);
        }
        if let Some(plan) = rules.default_plan {
            operator.put("app", json!({"defaultPlanId": plan})).await.expect(200);
        }
        let key = new_key(&root.with("x-app", &app), json!({"kind": "secret", "mode": "test"})).await;
        let apps = [0, 1].map(|node: usize| {
            let mut api = self.clients[node].clone();
            api.key.clone_from(&key);
            api
        });
        apps[0].freeze(&text(start_ms())).await;
        Scene { rules, apps, operators }
    }

    /// What `quotagate verify` finds in an app.
    pub async fn verified(&self, app: &str) -> Verified {
        let app = AppId::parse(app).unwrap();
        let placement = self.gateway.placement(&app).await.unwrap();
        let tenant = Tenant { app, mode: Mode::parse("test/main").unwrap(), placement };
        self.gateway.verify(&tenant, None, |_, _| ()).await.unwrap()
    }

    pub async fn end(self) {
        let [one, other] = self.nodes;
        one.stop().await;
        other.stop().await;
    }
}

impl Scene {
    /// The whole plan or policy after an edit.
    pub fn body(rules: &Rules, policy: bool, of: &str) -> Value {
        if policy { rules.policies[of].policy_body() } else { rules.plans[of].plan_body() }
    }
}

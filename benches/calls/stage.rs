//! A Redis, gateway processes and subscribed users.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{ADMIN_KEY, Process};
use crate::load::{Connection, each};
use crate::no_op::NoOp;
use crate::support::Redis;

pub const USERS: usize = 100_000;

pub struct Stage {
    pub nodes: Vec<Process>,
    pub redis: Redis,
    pub no_op: NoOp,
    /// Of live mode.
    pub key: String,
    _data: TempDir,
}

/// `host:port` of a node.
pub fn address(node: &Process) -> &str {
    node.url.strip_prefix("http://").unwrap()
}

/// A plan whose groups all match `llm.chat`; event `denied` matches a group without room.
pub fn plan(groups: usize) -> Value {
    let per =
        |prompt: Value, completion: Value| json!({"per": {"prompt_tokens": prompt, "completion_tokens": completion}});
    let group = |place: usize| match place % 3 {
        0 => json!({"id": format!("tokens_{place}"), "unit": "tokens", "quota": 1_000_000_000_u64,
            "matches": [{"event": "llm.*"}], "measure": per(json!(1), json!(1))}),
        1 => json!({"id": format!("cents_{place}"), "unit": "cents", "quota": 1_000_000,
            "matches": [{"event": "llm.*"}], "measure": per(json!("0.00025"), json!("0.001"))}),
        _ => json!({"id": format!("calls_{place}"), "unit": "count", "quota": 1_000_000, "measure": "event",
            "matches": [{"event": "llm.*"}]}),
    };
    json!({"periodType": "monthly", "periodAnchor": "subscription_start", "groups": (0..groups).map(group).collect::<Vec<_>>()})
}

/// The body of a reserve.
pub fn reserve(user: &str) -> String {
    format!(
        "{{\"userId\":\"{user}\",\"event\":\"llm.chat\",\"metadata\":{{\"model\":\"chat-large\",\"prompt_tokens\":374,\"completion_tokens\":44}}}}"
    )
}

pub fn user(number: usize) -> String {
    format!("user_{number:06}")
}

impl Stage {
    /// With [`USERS`] on a plan of three groups.
    pub async fn set(nodes: usize) -> Self {
        let stage = Self::with(nodes, 3).await;
        stage.subscribe(0..USERS).await;
        stage
    }

    /// Without users.
    pub async fn with(nodes: usize, groups: usize) -> Self {
        let redis = Redis::start().await;
        let url = redis.url();
        let settings =
            [("QUOTAGATE_ADMIN_KEY", ADMIN_KEY), ("QUOTAGATE_REDIS_URL", url.as_str()), ("QUOTAGATE_WORKERS", "2")];
        let data = TempDir::new().unwrap();
        let nodes: Vec<_> = (0..nodes).map(|_| Process::start(data.path(), &settings)).collect();
        let key = nodes[0].call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": "live"})).await;
        let key = key["key"].as_str().unwrap().to_owned();
        nodes[0].call("PUT", "plans/bench", ADMIN_KEY, &plan(groups)).await;
        let mut first = Connection::open(address(&nodes[0])).await;
        first.post("subscriptions", &key, "{\"userId\":\"first\",\"planId\":\"bench\"}").await;
        let answer = first.post("reserve", &key, &reserve("first")).await;
        let no_op = NoOp::start(&answer);
        Self { nodes, redis, no_op, key, _data: data }
    }

    pub async fn subscribe(&self, users: std::ops::Range<usize>) {
        each(address(&self.nodes[0]), users, async |connection, number| {
            let body = format!("{{\"userId\":\"{}\",\"planId\":\"bench\"}}", user(number));
            connection.post("subscriptions", &self.key, &body).await;
        })
        .await;
    }
}

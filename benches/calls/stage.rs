//! A Redis or a cluster, gateway processes and subscribed users.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{ADMIN_KEY, Process};
use crate::load::{Connection, each, field};
use crate::no_op::NoOp;
use crate::rollup;
use crate::support::cluster::Cluster;
use crate::support::{Api, Redis, new_key};
use quotagate::infra::embedded_redis::COMPACT;

const MASTERS: usize = 3;
const DEFAULT_APP: &str = "default";
pub const USERS: usize = 100_000;

pub struct Stage {
    pub nodes: Vec<Process>,
    pub redis: Redis,
    /// The other masters, if it is a cluster.
    pub others: Vec<Redis>,
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

/// A plan of three groups that count calls, which match `llm.chat`.
pub fn calls_plan() -> Value {
    let group = |id: &str, period: &str| {
        json!({"id": id, "unit": "count", "quota": 1_000_000, "measure": "event", "periodType": period,
            "matches": [{"event": "llm.*"}]})
    };
    json!({"periodType": "monthly", "groups":
        [group("month", "monthly"), group("also_month", "monthly"), group("day", "daily")]})
}

/// The body of a reserve. Its hold outlives the bench: what a call costs that finds expired holds is another question.
pub fn reserve(user: &str) -> String {
    format!(
        "{{\"userId\":\"{user}\",\"event\":\"llm.chat\",\"ttlSeconds\":3600,\"metadata\":{{\"model\":\"chat-large\",\"prompt_tokens\":374,\"completion_tokens\":44}}}}"
    )
}

pub fn user(number: usize) -> String {
    format!("user_{number:06}")
}

impl Stage {
    /// With [`USERS`] on a plan of three groups, who have called before.
    pub async fn set(nodes: usize) -> Self {
        Self::set_on(nodes, plan(3)).await
    }

    /// With [`USERS`] on that plan, who have called before.
    pub async fn set_on(nodes: usize, plan: Value) -> Self {
        let stage = Self::with_plan(nodes, plan).await;
        stage.subscribe(0..USERS).await;
        stage.warm_up().await;
        rollup::wait_until_folded(&stage).await;
        stage
    }

    /// Without users.
    pub async fn with(nodes: usize, groups: usize) -> Self {
        Self::with_plan(nodes, plan(groups)).await
    }

    async fn with_plan(nodes: usize, plan: Value) -> Self {
        let redis = Redis::with(&COMPACT).await;
        let url = redis.url();
        Self::on(redis, Vec::new(), &url, nodes, plan, DEFAULT_APP).await
    }

    /// On a cluster of three masters, for an app whose users are spread over it. Without users.
    pub async fn on_cluster(nodes: usize, groups: usize) -> Self {
        let mut cluster = Cluster::start(MASTERS, false).await;
        let url = cluster.url();
        let redis = cluster.servers.remove(0);
        Self::on(redis, cluster.servers, &url, nodes, plan(groups), "spread").await
    }

    async fn on(redis: Redis, others: Vec<Redis>, url: &str, nodes: usize, plan: Value, app: &str) -> Self {
        let settings = [("QUOTAGATE_ADMIN_KEY", ADMIN_KEY), ("QUOTAGATE_REDIS_URL", url)];
        let data = TempDir::new().unwrap();
        let nodes: Vec<_> = (0..nodes).map(|_| Process::start(data.path(), &settings)).collect();
        let admin = Api::at(&nodes[0].url, ADMIN_KEY);
        if app != DEFAULT_APP {
            admin.post("apps", json!({"id": app, "placement": "user"})).await.expect(201);
        }
        let admin = admin.with("x-app", app);
        let key = new_key(&admin, json!({"kind": "secret", "mode": "live"})).await;
        admin.plan("bench", plan).await;
        let mut first = Connection::open(address(&nodes[0])).await;
        first.post("subscriptions", &key, "{\"userId\":\"first\",\"planId\":\"bench\"}").await;
        let answer = first.post("reserve", &key, &reserve("first")).await;
        let no_op = NoOp::start(&answer);
        Self { nodes, redis, others, no_op, key, _data: data }
    }

    pub async fn subscribe(&self, users: std::ops::Range<usize>) {
        each(address(&self.nodes[0]), users, async |connection, number| {
            let body = format!("{{\"userId\":\"{}\",\"planId\":\"bench\"}}", user(number));
            connection.post("subscriptions", &self.key, &body).await;
        })
        .await;
    }

    /// One reserve and commit of each of [`USERS`], since a user's first call in a window creates the counters.
    pub async fn warm_up(&self) {
        each(address(&self.nodes[0]), 0..USERS, async |connection, number| {
            let answer = connection.post("reserve", &self.key, &reserve(&user(number))).await;
            let body = format!("{{\"reservationId\":\"{}\"}}", field(&answer, "reservationId"));
            connection.post("commit", &self.key, &body).await;
        })
        .await;
    }
}

//! The list of nodes that use this Redis, from their heartbeats. It is informational; no decision depends on it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::time::window::{TimeMs, parse_rfc3339, rfc3339};
use crate::infra::supervise::Pulse;
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;

/// The interval of heartbeats.
const TELL: Duration = Duration::from_secs(5);
/// A node without a heartbeat for this long has ended or cannot reach Redis.
const SILENT_MS: TimeMs = 15_000;
/// After this time the node is removed from the list.
const FORGOTTEN_MS: TimeMs = 60 * 60 * 1000;

/// The heartbeat of a node.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeAbout {
    pub id: String,
    /// The machine's name, if it has one.
    pub host: String,
    /// Where it listens.
    pub address: String,
    pub version: String,
    /// RFC 3339, by Redis time.
    pub started_at: String,
    pub seen_at: String,
}

/// A node, and whether its heartbeat is recent.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    #[serde(flatten)]
    pub about: NodeAbout,
    /// There was no heartbeat for 15 seconds.
    pub silent: bool,
}

fn age_ms(about: &NodeAbout, now: TimeMs) -> TimeMs {
    parse_rfc3339(&about.seen_at).map_or(TimeMs::MAX, |seen| now.saturating_sub(seen))
}

impl Gateway {
    /// Writes heartbeats of this node until it is dropped. If Redis is unavailable, they follow later.
    pub async fn register_itself(&self, host: String, address: String, pulse: Pulse) {
        let mut about = NodeAbout {
            id: self.node.clone(),
            host,
            address,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: String::new(),
            seen_at: String::new(),
        };
        loop {
            pulse.beat().await;
            if let Err(error) = self.store_node(&mut about).await {
                tracing::debug!(?error, "cannot write this node's heartbeat; retrying");
            }
            tokio::time::sleep(TELL).await;
        }
    }

    /// Takes this node off the list: it ends, and is not missing. One that cannot do so is silent until it is forgotten.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn leave(&self) -> Result<(), ServiceError> {
        Ok(self.store.forget_node(&self.node).await?)
    }

    async fn store_node(&self, about: &mut NodeAbout) -> Result<(), ServiceError> {
        let now = self.redis_now_ms().await?;
        about.seen_at = rfc3339(now);
        if about.started_at.is_empty() {
            about.started_at.clone_from(&about.seen_at);
        }
        self.store.store_node(&about.id, &json(about)?).await?;
        let mut active = 0;
        for (id, text) in self.store.nodes().await? {
            let known: Option<NodeAbout> = serde_json::from_str(&text).ok();
            active += usize::from(known.as_ref().is_some_and(|known| age_ms(known, now) <= SILENT_MS));
            if known.is_none_or(|known| age_ms(&known, now) > FORGOTTEN_MS) {
                self.store.forget_node(&id).await?;
            }
        }
        self.active_nodes.store(active, Ordering::Relaxed);
        Ok(())
    }

    async fn redis_now_ms(&self) -> Result<TimeMs, ServiceError> {
        Ok(TimeMs::try_from(self.store.time_us().await? / 1000).unwrap_or(TimeMs::MAX))
    }

    /// The nodes with a heartbeat within the last hour, by machine and address.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn nodes(&self) -> Result<Vec<NodeView>, ServiceError> {
        let now = self.redis_now_ms().await?;
        let stored = self.store.nodes().await?.into_values();
        let known = stored.filter_map(|text| serde_json::from_str::<NodeAbout>(&text).ok());
        let mut nodes: Vec<NodeView> = known
            .filter(|about| age_ms(about, now) <= FORGOTTEN_MS)
            .map(|about| NodeView { silent: age_ms(&about, now) > SILENT_MS, about })
            .collect();
        nodes.sort_by(|one, other| {
            let name = |node: &NodeView| (node.about.host.clone(), node.about.address.clone(), node.about.id.clone());
            name(one).cmp(&name(other))
        });
        Ok(nodes)
    }

    /// One line per node with a recent heartbeat, before the layout of its data is converted.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn nodes_about_to_stop(&self) -> Result<Vec<String>, ServiceError> {
        let nodes = self.nodes().await?.into_iter().filter(|node| !node.silent).map(|node| node.about);
        let line = |node: NodeAbout| {
            let NodeAbout { host, address, seen_at, .. } = node;
            format!("gateway {address} on {host} was seen at {seen_at}: stop it, it cannot read the converted data")
        };
        Ok(nodes.map(line).collect())
    }
}

//! Reads the counters of the replayed users.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use rust_decimal::Decimal;
use serde::Deserialize;

use super::exact::Exact;
use super::gateway::{CallError, Gateway};

/// One user's counters.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    pub user_id: String,
    pub plan_id: Option<String>,
    pub counters: Vec<Counter>,
}

/// The fields of a counter that the replay needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counter {
    pub group_id: String,
    pub unit: String,
    pub quota: Option<Exact>,
    #[serde(default)]
    pub granted: Exact,
    #[serde(default)]
    pub rolled: Exact,
    pub used: Exact,
    pub held: Exact,
    pub period: Option<Period>,
    #[serde(default)]
    pub scope: serde_json::Value,
}

/// A counter's window.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Period {
    pub start: Option<String>,
}

impl Counter {
    /// Quota, grants and rolled quota; `None` counts without limit.
    pub fn limit(&self) -> Option<Decimal> {
        self.quota.map(|quota| quota.0 + self.granted.0 + self.rolled.0)
    }

    /// Whether usage and holds exceed the limit.
    pub fn is_above_quota(&self) -> bool {
        self.limit().is_some_and(|limit| self.used.0 + self.held.0 > limit)
    }

    /// Whether the counter belongs to this user alone; shared ones must not be summed over users.
    pub fn is_per_user(&self) -> bool {
        match &self.scope {
            serde_json::Value::Object(names) => names.contains_key("user"),
            serde_json::Value::Array(names) => names.iter().any(|name| name == "user"),
            _ => true,
        }
    }
}

/// Reads the usage of all users in order, with limited concurrency.
pub async fn read_all(gateway: &Gateway, users: &[String], concurrency: usize) -> Result<Vec<Usage>, CallError> {
    // By index instead of reference, so that the future stays `Send`.
    stream::iter(0..users.len())
        .map(|number| async move { gateway.get("usage", &[("userId", users[number].as_str())]).await })
        .buffered(concurrency)
        .try_collect()
        .await
}

#[derive(Deserialize)]
struct Plan {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    id: String,
    enforcement: Option<String>,
}

/// The groups in the users' plans that may be exceeded by design, by plan.
pub async fn soft_groups(gateway: &Gateway, usages: &[Usage]) -> Result<BTreeMap<String, BTreeSet<String>>, CallError> {
    let plan_ids: BTreeSet<&str> = usages.iter().filter_map(|usage| usage.plan_id.as_deref()).collect();
    let mut soft = BTreeMap::new();
    for plan_id in plan_ids {
        let plan: Plan = gateway.get(&format!("plans/{plan_id}"), &[]).await?;
        let groups = plan
            .groups
            .into_iter()
            .filter(|group| matches!(group.enforcement.as_deref(), Some("soft" | "observe")))
            .map(|group| group.id)
            .collect();
        soft.insert(plan_id.to_owned(), groups);
    }
    Ok(soft)
}

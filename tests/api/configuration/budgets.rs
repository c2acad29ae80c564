//! Shared helpers of policy tests.

use serde_json::{Value, json};

use crate::support::World;

/// A daily group that counts calls of `llm.chat`, per `scope`.
pub fn group(id: &str, scope: &[&str], quota: Value, more: Value) -> Value {
    let mut group = json!({"id": id, "unit": "count", "measure": "event", "quota": quota, "scope": scope,
        "matches": [{"event": "llm.chat"}]});
    group.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    group
}

pub async fn policy(world: &World, id: &str, groups: Value) {
    world.admin.put(&format!("policies/{id}"), json!({"periodType": "daily", "groups": groups})).await.expect(200);
}

/// A plan that allows every event, with users on it.
pub async fn open_plan(world: &World, users: &[&str]) {
    let group = json!({"id": "all", "unit": "count", "measure": "event", "quota": null, "matches": [{"event": "*"}]});
    world.admin.plan("open", json!({"periodType": "monthly", "groups": [group]})).await;
    for user in users {
        world.app.subscribe(user, "open").await;
    }
}

pub fn call(user: &str, metadata: Value) -> Value {
    json!({"userId": user, "event": "llm.chat", "metadata": metadata})
}

pub fn names(decision: &Value) -> Vec<&str> {
    decision["deniedBy"].as_array().unwrap().iter().map(|denied| denied["groupId"].as_str().unwrap()).collect()
}

/// `[used, held]` of each counter of a group, by its scope's values.
pub async fn standings(world: &World, group: &str) -> Vec<(String, f64, f64)> {
    let admin = world.admin.with("x-mode", "test");
    let listed = admin.get(&format!("counters?groupId={group}")).await.expect(200);
    let line = |counter: &Value| {
        let scope = counter["scope"].as_object().unwrap().values().map(|value| value.as_str().unwrap());
        (scope.collect::<Vec<_>>().join("/"), counter["used"].as_f64().unwrap(), counter["held"].as_f64().unwrap())
    };
    let mut found: Vec<_> = listed["data"].as_array().unwrap().iter().map(line).collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

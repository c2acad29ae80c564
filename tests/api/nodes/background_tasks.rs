//! Background tasks that end or make no progress.

use std::time::Duration;

use quotagate::infra::journal::JournalOptions;
use quotagate::service::nodes::leases::{self, Work};
use quotagate::startup::Options;
use quotagate::store::keys;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{ROOT_KEY, Redis, Running, World, eventually, new_key};

const PARTS: [&str; 8] =
    ["degraded_reserves", "estimates", "journal", "key_changes", "metrics", "node_list", "rollups", "webhooks"];

async fn parts(node: &Running) -> Vec<Value> {
    let ready = node.client("").get("/readyz").await.expect(200);
    ready["parts"].as_array().unwrap().clone()
}

/// Short waits, so that a stalled task is reported soon.
async fn node(redis: &Redis, dir: &TempDir) -> Running {
    let journal = Some(JournalOptions { directory: dir.path().join("journal"), most: 10 });
    Running::launch(Options { journal, ..Running::options(&redis.url(), Duration::from_secs(1)) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_background_task_that_ends_starts_again_and_is_counted() {
    let (redis, dir) = (Redis::start().await, TempDir::new().unwrap());
    let node = node(&redis, &dir).await;
    let names: Vec<Value> = parts(&node).await.iter().map(|part| part["name"].clone()).collect();
    assert_eq!(json!(names), json!(PARTS));
    for name in PARTS {
        node.parts.end(name);
        eventually(name, || async {
            let wanted = json!({"name": name, "ok": true, "restarts": 1});
            parts(&node).await.contains(&wanted)
        })
        .await;
        let metric = format!("quotagate_task_restarts_total{{task=\"{name}\"}} ");
        assert!(node.client("").get("/metrics").await.text.contains(&metric), "{name}");
    }
    let admin = node.client(ROOT_KEY);
    let key = new_key(&admin, json!({"kind": "secret", "mode": "test"})).await;
    node.client(&key).post("track", json!({"userId": "u", "event": "e"})).await.expect(200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_background_task_that_makes_no_progress_is_named() {
    let (redis, dir) = (Redis::start().await, TempDir::new().unwrap());
    let node = node(&redis, &dir).await;
    eventually("all run", || async { parts(&node).await.len() == PARTS.len() }).await;
    PARTS.iter().for_each(|name| node.parts.hold(name, true));
    for name in PARTS {
        eventually(name, || async {
            let found = parts(&node).await;
            found.iter().any(|part| part["name"] == name && part["ok"] == false && part["since"].is_string())
        })
        .await;
    }
    let ready = node.client("").get("/readyz").await.expect(200);
    for name in PARTS {
        let warning = format!("the background task {name} has failed");
        assert!(ready["warnings"].to_string().contains(&warning), "{ready}");
    }
    PARTS.iter().for_each(|name| node.parts.hold(name, false));
    eventually("all work again", || async { parts(&node).await.iter().all(|part| part["ok"] == true) }).await;
    assert!(parts(&node).await.iter().all(|part| part["restarts"] == 0));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_background_task_is_stuck_leaves_the_work_to_another() {
    let world = World::new().await;
    let (second, _) = world.another_node().await;
    let names: Vec<String> = (0..leases::PARTS).map(|part| keys::lease(Work::Rollups.as_str(), part)).collect();
    let mut command = vec!["MGET"];
    command.extend(names.iter().map(String::as_str));
    let holders = async || world.redis.run::<Vec<Option<String>>>(&command).await;
    let all_hold_one = async || {
        let holders = holders().await;
        holders[0].is_some() && holders.iter().all(|holder| *holder == holders[0])
    };
    second.parts.hold("rollups", true);
    eventually("one node does it all", async || all_hold_one().await).await;
    let first = holders().await[0].clone();
    second.parts.hold("rollups", false);
    eventually("both do it", async || !all_hold_one().await).await;
    world.node.parts.hold("rollups", true);
    eventually("the other node does it all", async || all_hold_one().await && holders().await[0] != first).await;
    world.node.parts.hold("rollups", false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hears_of_no_changes_accepts_no_revoked_key() {
    let world = World::new().await;
    let node = Running::with(&world.redis.url(), Duration::from_millis(500)).await;
    let made = world.admin.post("keys", json!({"kind": "secret", "mode": "test"})).await.expect(201);
    let api = node.client(made["key"].as_str().unwrap());
    let call = async || api.post("can-use", json!({"userId": "u", "event": "e"})).await.status;
    eventually("the key is known", || async { call().await == 200 }).await;
    node.parts.hold("key_changes", true);
    // It takes at most one check until the task is paused.
    let mut stream = api.open("usage/stream?userId=u").await;
    world.admin.delete(&format!("keys/{}", made["id"].as_str().unwrap()), None).await.expect(204);
    eventually("it is refused", || async { call().await == 401 }).await;
    while stream.chunk().await.unwrap().is_some() {}
    node.parts.hold("key_changes", false);
    eventually("it is refused as well", || async { call().await == 401 }).await;
}

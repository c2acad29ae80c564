//! The list of nodes that use one Redis, as operators see it.

use serde_json::{Value, json};

use crate::support::{ROOT_KEY, World, eventually};

async fn nodes(world: &World) -> Vec<Value> {
    world.admin.get("nodes").await.expect(200)["data"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_registers_itself_and_a_silent_one_is_marked_until_it_is_removed() {
    let world = World::new().await;
    let (second, _) = world.another_node().await;
    eventually("both nodes are listed", async || nodes(&world).await.len() == 2).await;
    let reported = nodes(&world).await;
    for url in [&world.node.url, &second.url] {
        let known = reported.iter().find(|node| url.ends_with(node["address"].as_str().unwrap())).unwrap();
        assert_eq!((&known["silent"], &known["version"]), (&json!(false), &json!(env!("CARGO_PKG_VERSION"))));
    }
    let ago = |seconds: i64| {
        let at = chrono::Utc::now() - chrono::TimeDelta::seconds(seconds);
        at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    };
    for (id, seconds) in [("quiet", 60), ("gone", 2 * 60 * 60)] {
        let about = json!({"id": id, "host": "h", "address": "a", "version": "1", "startedAt": ago(seconds), "seenAt": ago(seconds)});
        world.redis.run::<i64>(&["HSET", "qg:{quotagate}:nodes", id, &about.to_string()]).await;
    }
    let reported = second.client(ROOT_KEY).get("nodes").await.expect(200);
    let of = |id: &str| reported["data"].as_array().unwrap().iter().find(|node| node["id"] == id).cloned();
    assert_eq!(of("quiet").unwrap()["silent"], true);
    assert_eq!(of("gone"), None);
    // The next heartbeat of any node removes it.
    let (_third, _) = world.another_node().await;
    eventually("what is long gone is forgotten", async || {
        world.redis.run::<i64>(&["HEXISTS", "qg:{quotagate}:nodes", "gone"]).await == 0
    })
    .await;
    assert_eq!(world.redis.run::<i64>(&["HEXISTS", "qg:{quotagate}:nodes", "quiet"]).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_shuts_down_leaves_the_list() {
    let world = World::new().await;
    let (second, _) = world.another_node().await;
    eventually("both nodes are listed", async || nodes(&world).await.len() == 2).await;
    second.stop().await;
    let left = nodes(&world).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(world.node.url.ends_with(left[0]["address"].as_str().unwrap()));
}

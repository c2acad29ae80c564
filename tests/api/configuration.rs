//! Configuration and its stamps.

use serde_json::json;

use crate::support::{World, monthly};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_lost_below_its_stamp_is_published_anew_above_it() {
    let world = World::frozen().await;
    let config = "qg:{default}:config";
    let field = async |name: &str| world.redis.run::<String>(&["HGET", config, name]).await;
    world.admin.plan("p", monthly(2)).await;
    world.app.subscribe("u", "p").await;
    let (plan, revision) = (field("plan:p").await, field("revision").await);
    world.admin.plan("p", monthly(5)).await;
    let stamp: u64 = world.redis.run(&["GET", "qg:{default:test/main}:stamp"]).await;
    // As after a failover to a replica that had not heard of the last change.
    world.redis.run::<()>(&["HSET", config, "plan:p", &plan, "revision", &revision]).await;
    let (_second, other) = world.another_node().await;
    let decision = other.reserve(json!({"userId": "u", "event": "image.a"})).await;
    assert_eq!(decision["counters"][0]["quota"], 2, "the document that is there counts");
    assert!(field("revision").await.parse::<u64>().unwrap() > stamp);
    let third = world.app.reserve(json!({"userId": "u", "event": "image.a"})).await;
    assert_eq!(third["counters"][0]["remaining"], 0, "for every node");
}

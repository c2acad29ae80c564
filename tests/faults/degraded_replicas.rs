//! `onStoreFailure: allow` where Redis is several servers: while a master is lost and nobody is in its place yet, a node
//! allows reserves up to its number, and they count once on whoever is master then.

use serde_json::json;

use crate::cluster::MASTERS;
use crate::degraded::{Node, configured, images, is_degraded, known, used};
use crate::sentinel::Group;
use crate::support::Api;
use crate::support::cluster::Cluster;
use crate::support::proven::verified;

const MOST: u32 = 4;

/// A node that knows a user who has used 2, and a client of it.
async fn staged(redis_url: &str) -> (Node, Api) {
    let node = Node::start(redis_url, MOST).await;
    let key = configured(&node, "allow", "live").await;
    let api = node.api(&key);
    known(&api, &["u"]).await;
    node.is_ready(&[&key]).await;
    api.post("track", images("u", 2)).await.expect(200);
    (node, api)
}

/// Reserves 3 each, up to the node's number.
async fn allowed(api: &Api) {
    for number in 0..MOST {
        let decision = api.once(&format!("call-{number}")).post("reserve", images("u", 3)).await.expect(200);
        is_degraded(&decision, &["images"]);
    }
    api.post("reserve", images("u", 1)).await.problem(503, "store_unavailable");
}

async fn counted_once(node: &Node, api: &Api, redis_url: &str) {
    node.is_caught_up().await;
    assert_eq!(used(api, "u").await, 2 + 3 * u64::from(MOST));
    // The repetition finds what was counted.
    is_degraded(&api.once("call-0").post("reserve", images("u", 3)).await.expect(200), &["images"]);
    assert_eq!(used(api, "u").await, 2 + 3 * u64::from(MOST));
    let over = api.reserve(images("u", 7)).await;
    assert_eq!((&over["allowed"], &over["reasons"]), (&json!(false), &json!(["limit_reached"])), "{over}");
    let found = verified(redis_url, "live").await;
    assert!(found.drifts.is_empty(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_sentinel_has_no_master_reserves_pass_up_to_a_number_and_are_counted_once() {
    let mut group = Group::start(&[]).await;
    let (node, api) = staged(&group.url()).await;
    group.lose_master().await;
    allowed(&api).await;
    group.promote().await;
    counted_once(&node, &api, &group.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_slot_of_the_cluster_has_no_master_reserves_pass_up_to_a_number_and_are_counted_once() {
    let mut cluster = Cluster::start(MASTERS, true).await;
    let (node, api) = staged(&cluster.url()).await;
    cluster.lose_master().await;
    allowed(&api).await;
    cluster.promote().await;
    counted_once(&node, &api, &cluster.url()).await;
}

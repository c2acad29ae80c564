//! `onStoreFailure: allow` with several Redis servers: between the loss of a master and the promotion of a replica, a
//! node allows reserves up to its bound. They are counted once at the new master.

use serde_json::json;

use crate::cluster::MASTERS;
use crate::degraded::{Node, configured, images, is_degraded, known, used};
use crate::sentinel::Group;
use crate::stage::HASTY_MS;
use crate::support::cluster::Cluster;
use crate::support::proven::verified;
use crate::support::{Api, eventually};

const MOST: u32 = 4;

/// A node with a short timeout that knows a user who has used 2, and a patient node for calls that must succeed.
struct Staged {
    node: Node,
    hasty: Api,
    patient: Api,
    _other: Node,
}

async fn staged(redis_url: &str) -> Staged {
    let (node, other) = (Node::with(redis_url, MOST, HASTY_MS).await, Node::start(redis_url, MOST).await);
    let key = configured(&other, "allow", "live").await;
    let (hasty, patient) = (node.api(&key), other.api(&key));
    known(&patient, &["u"]).await;
    patient.post("track", images("u", 2)).await.expect(200);
    node.is_ready(&[&key]).await;
    eventually("the user is known", async || hasty.post("can-use", images("u", 1)).await.status == 200).await;
    Staged { node, hasty, patient, _other: other }
}

/// Reserves 3 at a time, up to the node's bound.
async fn allowed(api: &Api) {
    for number in 0..MOST {
        let decision = api.once(&format!("call-{number}")).post("reserve", images("u", 3)).await.expect(200);
        is_degraded(&decision, &["images"]);
    }
    api.post("reserve", images("u", 1)).await.problem(503, "store_unavailable");
}

async fn counted_once(staged: &Staged, redis_url: &str) {
    staged.node.is_caught_up().await;
    let api = &staged.patient;
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
    let staged = staged(&group.url()).await;
    group.lose_master().await;
    allowed(&staged.hasty).await;
    group.promote().await;
    counted_once(&staged, &group.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_slot_of_the_cluster_has_no_master_reserves_pass_up_to_a_number_and_are_counted_once() {
    let mut cluster = Cluster::start(MASTERS, true).await;
    let staged = staged(&cluster.url()).await;
    cluster.lose_master().await;
    allowed(&staged.hasty).await;
    cluster.promote().await;
    counted_once(&staged, &cluster.url()).await;
}

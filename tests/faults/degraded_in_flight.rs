//! What a reserve that was allowed without Redis counts: nothing in groups that limit reservations in flight, since it
//! is never settled, the least value of a figure that may be reduced, credits beyond the quota, and the learned estimate
//! with which it was allowed.

use serde_json::json;

use crate::degraded::{Node, configured, images, is_degraded, known};
use crate::gateway::ADMIN_KEY;
use crate::support::proven::verified;
use crate::support::{Redis, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reserves_allowed_without_redis_are_not_in_flight() {
    let mut redis = Redis::with(&["--appendfsync", "always"]).await;
    let node = Node::start(&redis.url(), 5).await;
    let key = configured(&node, "allow", "live").await;
    let plan = json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
        {"id": "images", "unit": "count", "quota": 20, "matches": [{"event": "image.*"}]},
        {"id": "in_flight", "unit": "count", "measure": "event", "quota": 2, "periodType": "concurrent",
            "matches": [{"event": "image.*"}]}]});
    node.api(ADMIN_KEY).plan("busy", plan).await;
    let api = node.api(&key);
    api.subscribe("u", "busy").await;
    api.post("can-use", images("u", 1)).await.expect(200);
    api.subscribe("v", "busy").await;
    let held = api.reserved(images("v", 1)).await;
    node.is_ready(&[&key]).await;
    redis.kill();
    // In a batch too, also after an operation of the same user that needs Redis.
    let mut reserve = images("v", 1);
    reserve["op"] = json!("reserve");
    let commit = json!({"op": "commit", "reservationId": held});
    let answer = api.post("batch", json!({"operations": [commit, reserve]})).await.expect(200);
    let [commit, reserve] = [0, 1].map(|place| &answer["results"][place]);
    assert_eq!((&commit["status"], &reserve["status"]), (&json!(503), &json!(200)), "{answer}");
    assert_eq!(reserve["body"]["degraded"], true, "{answer}");
    for _ in 0..3 {
        let decision = api.reserve(images("u", 1)).await;
        assert_eq!((&decision["allowed"], &decision["degraded"]), (&json!(true), &json!(true)), "{decision}");
    }
    redis.start_again().await;
    node.is_caught_up().await;
    assert_eq!(api.stands("u", "images").await, (3.0, 0.0));
    assert_eq!(api.stands("u", "in_flight").await, (0.0, 0.0));
    assert_eq!(api.stands("v", "images").await, (1.0, 1.0));
    api.reserved(images("u", 1)).await;
    api.reserved(images("u", 1)).await;
    assert_eq!(api.reserve(images("u", 1)).await["reasons"], json!(["limit_reached"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_a_fitted_figure_is_the_least_one() {
    let mut redis = Redis::with(&["--appendfsync", "always"]).await;
    let node = Node::start(&redis.url(), 5).await;
    let key = configured(&node, "allow", "live").await;
    let api = node.api(&key);
    known(&api, &["u"]).await;
    node.is_ready(&[&key]).await;
    let mut call = images("u", 15);
    call["fit"] = json!({"field": "quantity", "min": 4});
    redis.kill();
    for replayed in [None, Some("true")] {
        let answer = api.once("k").post("reserve", call.clone()).await;
        assert_eq!(answer.header("idempotent-replayed"), replayed);
        let decision = answer.expect(200);
        assert_eq!((&decision["degraded"], &decision["fitted"]), (&json!(true), &json!({"quantity": 4})), "{decision}");
    }
    // What is 400 with Redis is not allowed without it.
    call["fit"]["field"] = json!("note");
    call["metadata"] = json!({"note": 9});
    assert_eq!(api.post("reserve", call.clone()).await.status, 503);
    redis.start_again().await;
    node.is_caught_up().await;
    assert_eq!(api.post("reserve", call.clone()).await.bad_field(), "fit.field");
    assert_eq!(api.stands("u", "images").await, (4.0, 0.0));
    let mut call = images("u", 15);
    call["fit"] = json!({"field": "quantity", "min": 4});
    let again = api.once("k").post("reserve", call).await.expect(200);
    assert_eq!((&again["degraded"], &again["fitted"]), (&json!(true), &json!({"quantity": 4})), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reserves_allowed_without_redis_are_covered_by_the_quota_then_by_credits_and_the_rest_is_overage() {
    let mut redis = Redis::with(&["--appendfsync", "always"]).await;
    let node = Node::start(&redis.url(), 5).await;
    let key = configured(&node, "allow", "live").await;
    let plan = json!({"periodType": "monthly", "groups": [
        {"id": "images", "unit": "count", "quota": 3, "overflow": "packs", "matches": [{"event": "image.*"}]},
        {"id": "packs", "kind": "balance", "unit": "count"}]});
    node.api(ADMIN_KEY).plan("packed", plan).await;
    let api = node.api(&key);
    api.subscribe("u", "packed").await;
    api.post("credits", json!({"groupId": "packs", "scope": {"user": "u"}, "amount": 4})).await.expect(201);
    api.post("can-use", images("u", 1)).await.expect(200);
    node.is_ready(&[&key]).await;
    redis.kill();
    // What credits cover is not known now, so more than the quota passes too.
    for quantity in [2, 4, 3] {
        let decision = api.reserve(images("u", quantity)).await;
        assert_eq!((&decision["allowed"], &decision["degraded"]), (&json!(true), &json!(true)), "{decision}");
        assert_eq!(decision.get("overflow"), None, "{decision}");
    }
    redis.start_again().await;
    node.is_caught_up().await;
    let counter = api.counter("u", "images").await;
    assert_eq!((&counter["used"], &counter["overage"]), (&json!(5), &json!(2)), "{counter}");
    let balance = api.counter("u", "packs").await;
    assert_eq!((&balance["used"], &balance["remaining"]), (&json!(4), &json!(0)), "{balance}");
    let found = verified(&redis.url(), "live").await;
    assert!(found.drifts.is_empty(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reserve_allowed_without_redis_is_counted_with_the_learned_estimate_of_its_answer() {
    let mut redis = Redis::with(&["--appendfsync", "always"]).await;
    let (mut node, other) = (Node::start(&redis.url(), 5).await, Node::start(&redis.url(), 5).await);
    let key = configured(&other, "allow", "live").await;
    let plan = json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
        {"id": "tokens", "unit": "tokens", "quota": 1_000_000, "matches": [{"event": "llm.*"}],
            "measure": {"per": {"completion_tokens": 1},
                "estimate": {"completion_tokens": {"quantile": 0.95, "start": 4000}}}}]});
    other.api(ADMIN_KEY).plan("learning", plan).await;
    let api = other.api(&key);
    api.subscribe("u", "learning").await;
    let call = json!({"userId": "u", "event": "llm.chat"});
    let track = json!({"op": "track", "userId": "u", "event": "llm.chat", "metadata": {"completion_tokens": 700}});
    api.post("batch", json!({"operations": vec![track; 100]})).await.expect(200);
    let list = api.get("estimates").await.expect(200);
    assert_eq!((&list["data"][0]["value"], &list["data"][0]["samples"]), (&json!(704), &json!(100)), "{list}");

    // A node reads the estimates soon after its first call.
    node.is_ready(&[&key]).await;
    let api = node.api(&key);
    eventually("the node knows it", async || {
        let explained = api.get("explain?userId=u&event=llm.chat").await.expect(200);
        explained["call"]["estimated"] == json!({"completion_tokens": 704})
    })
    .await;
    api.post("can-use", call.clone()).await.expect(200);
    redis.kill();
    is_degraded(&api.reserve(call).await, &["tokens"]);

    // Now it does not know them any more.
    node.kill().await;
    redis.start_again().await;
    node.start_again(&redis.url()).await;
    node.is_caught_up().await;
    assert_eq!(node.api(&key).stands("u", "tokens").await, (70_704.0, 0.0));
    assert!(verified(&redis.url(), "live").await.drifts.is_empty());
}

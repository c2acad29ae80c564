//! Exact under any concurrency, on any number of nodes.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{World, monthly};

fn allowed(decisions: &[Value]) -> usize {
    decisions.iter().filter(|decision| decision["allowed"] == true).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_500_parallel_reserves_over_two_nodes_exactly_the_quota_is_allowed_in_every_round() {
    let world = World::new().await;
    let (_second, other) = world.another_node().await;
    world.admin.plan("one", monthly(20)).await;
    world
        .admin
        .plan(
            "three",
            json!({"periodType": "monthly", "periodAnchor": "subscription_start", "groups": [
                {"id": "s_month", "unit": "count", "quota": 20, "matches": [{"event": "image.*"}]},
                {"id": "s_year", "unit": "count", "quota": 30, "matches": [{"event": "*"}], "periodType": "yearly"},
                {"id": "s_life", "unit": "count", "quota": 25, "matches": [{"event": "image.render"}], "periodType": "lifetime"},
            ]}),
        )
        .await;
    for round in 0..12 {
        let plan = if round % 2 == 0 { "one" } else { "three" };
        let user = format!("u_{round}");
        world.app.subscribe(&user, plan).await;
        let body = json!({"userId": user, "event": "image.render"});
        let calls =
            (0..500).map(|call| if call % 2 == 0 { &world.app } else { &other }).map(|api| api.reserve(body.clone()));
        let decisions = join_all(calls).await;
        assert_eq!(allowed(&decisions), 20, "round {round}");
        let usage = other.get(&format!("usage?userId={user}")).await.expect(200);
        for counter in usage["counters"].as_array().unwrap() {
            assert_eq!(counter["held"], 20, "{counter}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_call_changes_no_counter_hold_or_reservation() {
    let world = World::new().await;
    world
        .admin
        .plan(
            "p",
            json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
                {"id": "wide", "unit": "count", "quota": 100, "matches": [{"event": "*"}]},
                {"id": "narrow", "unit": "count", "quota": 2, "matches": [{"event": "image.*"}], "periodType": "daily"},
            ]}),
        )
        .await;
    world.app.subscribe("u", "p").await;
    world.app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    let before = world.redis.dump("qg:{default:test/main}:*").await;
    for body in
        [json!({"userId": "u", "event": "image.a", "quantity": 2}), json!({"userId": "stranger", "event": "image.a"})]
    {
        assert_eq!(world.app.reserve(body.clone()).await["allowed"], false, "{body}");
        assert_eq!(world.app.post("can-use", body).await.expect(200)["allowed"], false);
    }
    assert_eq!(
        world
            .app
            .post("track", json!({"userId": "u", "event": "image.a", "quantity": 2, "enforce": true}))
            .await
            .status,
        429
    );
    assert_eq!(world.redis.dump("qg:{default:test/main}:*").await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn function_flush_in_mid_traffic_changes_nothing() {
    let world = World::new().await;
    world.admin.plan("one", monthly(40)).await;
    world.app.subscribe("u", "one").await;
    let call = async |number: usize| {
        if number.is_multiple_of(10) {
            world.redis.run::<String>(&["FUNCTION", "FLUSH"]).await;
        }
        let decision = world.app.reserve(json!({"userId": "u", "event": "image.render"})).await;
        match decision["reservationId"].as_str() {
            Some(id) => world.app.commit(id).await["status"] == "committed",
            None => false,
        }
    };
    let committed = join_all((0..100).map(call)).await.into_iter().filter(|committed| *committed).count();
    assert_eq!(committed, 40);
    assert_eq!(world.app.stands("u", "images").await, (40.0, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_draws_and_commits_of_one_reservation_charge_once() {
    let world = World::new().await;
    let (_second, other) = world.another_node().await;
    world.admin.plan("one", monthly(100)).await;
    world.app.subscribe("u", "one").await;
    let id = world.app.reserved(json!({"userId": "u", "event": "image.render", "quantity": 50})).await;
    let draw = json!({"reservationId": id, "final": false, "quantity": 1});
    let draws = (0..40)
        .map(|number| if number % 2 == 0 { &world.app } else { &other })
        .map(|api| api.post("commit", draw.clone()));
    for answer in join_all(draws).await {
        answer.expect(200);
    }
    assert_eq!(world.app.stands("u", "images").await, (40.0, 10.0));
    let ends = (0..20).map(|number| if number % 2 == 0 { &world.app } else { &other }).map(|api| api.commit(&id));
    let replays = join_all(ends).await.iter().filter(|settled| settled["replayed"] == true).count();
    assert_eq!(replays, 19);
    assert_eq!(world.app.stands("u", "images").await, (50.0, 0.0));
}

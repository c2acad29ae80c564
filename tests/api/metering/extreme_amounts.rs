//! Counters at their maximum, and clocks at their latest time.

use serde_json::{Value, json};

use crate::support::{World, new_key};

const MOST: u64 = 9_007_199_254_740_991;

fn plan(unit: &str) -> Value {
    json!({"periodType": "monthly", "periodAnchor": "calendar",
        "groups": [{"id": format!("g_{unit}"), "unit": unit, "quota": null, "matches": [{"event": "x"}]}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_fits_into_the_fullest_counter() {
    let world = World::frozen().await;
    world.admin.plan("p", plan("count")).await;
    world.app.subscribe("u", "p").await;
    world.app.post("track", json!({"userId": "u", "event": "x", "quantity": MOST})).await.expect(200);
    let more = json!({"userId": "u", "event": "x"});
    assert_eq!(world.app.post("track", more.clone()).await.bad_field(), "quantity");
    let back = json!({"userId": "u", "event": "x.refund", "quantity": 5});
    world.app.post("track", back).await.expect(200);
    assert_eq!(world.app.counter("u", "g_count").await["used"], MOST - 5);
    world.app.post("track", more).await.expect(200);
    world.app.post("track", json!({"userId": "u", "event": "x.refund", "quantity": MOST})).await.expect(200);
    assert_eq!(world.app.counter("u", "g_count").await["used"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_spent_beyond_a_units_bound_does_not_keep_later_use_from_being_counted() {
    let world = World::frozen().await;
    world.admin.plan("p", plan("cents")).await;
    world.app.subscribe("u", "p").await;
    for _ in 0..2 {
        let id = world.app.reserved(json!({"userId": "u", "event": "x"})).await;
        world.app.post("commit", json!({"reservationId": id, "quantity": 700_000_000})).await.expect(200);
    }
    assert_eq!(world.app.counter("u", "g_cents").await["used"], 1_400_000_000);
    world.app.post("track", json!({"userId": "u", "event": "x", "quantity": "0.000001"})).await.expect(200);
    assert_eq!(world.app.counter("u", "g_cents").await["used"].to_string(), "1400000000.000001");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_clock_stays_within_the_time_that_ids_can_carry() {
    let world = World::new().await;
    let key = new_key(&world.admin, json!({"kind": "secret", "mode": "test", "sandbox": "far"})).await;
    let app = world.node.client(&key);
    for late in ["2500-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
        assert_eq!(app.put("test-clock", json!({"now": late})).await.bad_field(), "now", "{late}");
    }
    world.admin.plan("p", plan("count")).await;
    app.freeze("2499-12-31T23:00:00Z").await;
    app.subscribe("u", "p").await;
    let id = app.reserved(json!({"userId": "u", "event": "x"})).await;
    app.commit(&id).await;
}

//! Large data is returned completely or rejected with an error.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use crate::support::{START, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_extended_over_many_windows_is_refused_more_and_still_settles() {
    let world = World::frozen().await;
    let group = |number: u32| {
        json!({"id": format!("g{number}"), "unit": "count", "quota": 10, "periodType": "minute",
            "periodAnchor": "calendar", "matches": [{"event": "image.*"}]})
    };
    let groups: Vec<Value> = (0..32).map(group).collect();
    world.admin.plan("p", json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": groups})).await;
    world.app.subscribe("u", "p").await;
    let id = world.app.reserved(json!({"userId": "u", "event": "image.a", "ttlSeconds": 3600})).await;
    let mut now: DateTime<Utc> = START.parse().unwrap();
    let more = json!({"reservationId": id, "quantity": 1, "ttlSeconds": 3600});
    // 32 groups in 64 windows each.
    for window in 2..=65 {
        now += Duration::minutes(1);
        world.app.freeze(&now.to_rfc3339()).await;
        let answer = world.app.post("extend", more.clone()).await;
        match window {
            65 => assert_eq!(answer.bad_field(), "quantity"),
            _ => assert_eq!(answer.expect(200)["allowed"], true, "{window}"),
        }
    }
    assert_eq!(world.app.stands("u", "g31").await, (0.0, 0.0), "the refused call holds nothing");
    world.app.post("extend", json!({"reservationId": id, "ttlSeconds": 3600})).await.expect(200);
    let settled = world.app.commit(&id).await;
    assert_eq!((&settled["status"], settled["counters"].as_array().unwrap().len()), (&json!("committed"), 2048));
    assert!(settled["counters"].as_array().unwrap().iter().all(|counter| counter["used"] == 1 && counter["held"] == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_of_many_groups_is_written_in_one_step() {
    let world = World::frozen().await;
    let plan = |number: u32| {
        let group = |place: u32| json!({"id": format!("g{number}_{place}"), "unit": "count", "quota": 1, "matches": [{"event": format!("x{place}")}]});
        let groups: Vec<Value> = (0..60).map(group).collect();
        json!({"id": format!("p{number}"), "periodType": "monthly", "periodAnchor": "calendar", "groups": groups})
    };
    let plans: Vec<Value> = (0..70).map(plan).collect();
    assert_eq!(world.admin.put("configuration", json!({"plans": plans})).await.expect(200)["applied"], true);
    assert_eq!(world.app.get("plans").await.expect(200)["data"].as_array().unwrap().len(), 70);
    world.app.subscribe("u", "p69").await;
    world.app.reserved(json!({"userId": "u", "event": "x59"})).await;
}

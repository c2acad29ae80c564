//! Operators release a reservation that is stuck.

use serde_json::{Value, json};

use crate::support::{Api, World, monthly, new_key};

/// A key that may work on users in the sandbox, with its ID.
async fn support_key(world: &World) -> (Api, String) {
    let made = world.admin.post("keys", json!({"kind": "admin", "role": "support"})).await.expect(201);
    let api = world.node.client(made["key"].as_str().unwrap()).with("x-mode", "test");
    (api, made["id"].as_str().unwrap().to_owned())
}

async fn world() -> World {
    let world = World::frozen().await;
    world.admin.plan("one", monthly(5)).await;
    let policy = json!({"groups": [{"id": "team", "unit": "count", "quota": 9, "scope": ["metadata.team"],
        "periodType": "monthly", "matches": [{"event": "image.*"}]}]});
    world.admin.put("policies/teams", policy).await.expect(200);
    world.app.subscribe("u", "one").await;
    world
}

fn image() -> Value {
    json!({"userId": "u", "event": "image.a", "quantity": 3, "metadata": {"team": "red"}})
}

async fn audit_entries(api: &Api) -> Vec<Value> {
    let found = api.get("audit?action=reservation.release").await.expect(200);
    found["data"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_releases_what_a_reservation_holds_and_ledger_and_audit_log_say_why() {
    let world = world().await;
    let (support, key) = support_key(&world).await;
    let id = world.app.reserved(image()).await;
    assert_eq!(world.app.stands("u", "images").await, (0.0, 3.0));
    let path = format!("reservations/{id}/release");
    let released = support.post(&path, json!({"reason": "its worker hangs"})).await.expect(200);
    assert_eq!((&released["status"], &released["replayed"]), (&json!("released"), &Value::Null));
    assert_eq!(released["counters"].as_array().unwrap().len(), 2);
    assert_eq!(world.app.stands("u", "images").await, (0.0, 0.0));
    let team = support.get("counters?groupId=team").await.expect(200);
    assert!(team["data"].as_array().unwrap().iter().all(|counter| counter["held"] == 0), "{team}");
    // When the application commits later, it gets an error.
    let late = world.app.post("commit", json!({"reservationId": id})).await;
    assert_eq!(late.problem(409, "reservation_not_pending")["reservationStatus"], "released");
    let events = support.get("events?type=release").await.expect(200);
    assert_eq!(events["data"][0]["reason"], "its worker hangs", "{events}");
    let audit_entry = audit_entries(&support).await.remove(0);
    assert_eq!((&audit_entry["actor"], &audit_entry["target"]), (&json!(key), &json!("user:u")));
    assert_eq!((&audit_entry["note"], &audit_entry["after"]), (&json!("its worker hangs"), &Value::Null));
    assert_eq!(
        (&audit_entry["before"]["reservationId"], &audit_entry["before"]["event"]),
        (&json!(id), &json!("image.a"))
    );
    // A repetition changes nothing and is not logged.
    assert_eq!(support.post(&path, json!({})).await.expect(200)["replayed"], true);
    assert_eq!(audit_entries(&support).await.len(), 1);
    assert_eq!(support.get("events?type=release").await.expect(200)["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_ended_is_not_released_by_hand_and_leaves_no_trace() {
    let world = world().await;
    let (support, _) = support_key(&world).await;
    let release = async |id: &str, body: Value| support.post(&format!("reservations/{id}/release"), body).await;
    let committed = world.app.reserved(image()).await;
    world.app.commit(&committed).await;
    release(&committed, json!({})).await.problem(409, "reservation_not_pending");
    let expired = world.app.reserved(json!({"userId": "u", "event": "image.a", "metadata": {"team": "red"}})).await;
    for (body, field) in [
        (json!({"reason": "x".repeat(257)}), "reason"),
        (json!({"reason": "a\nb"}), "reason"),
        (json!({"why": 1}), "why"),
    ] {
        assert_eq!(release(&expired, body).await.bad_field(), field);
    }
    world.app.freeze("2027-01-31T10:01:00Z").await;
    release(&expired, json!({})).await.problem(410, "reservation_expired");
    release("rsv_0", json!({})).await.problem(404, "not_found");
    assert_eq!(audit_entries(&support).await, Vec::<Value>::new());
    assert_eq!(world.app.stands("u", "images").await, (3.0, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_by_hand_is_repeated_by_its_idempotency_key_on_any_node() {
    let world = world().await;
    let (support, _) = support_key(&world).await;
    let id = world.app.reserved(image()).await;
    let path = format!("reservations/{id}/release");
    let (second, _) = world.another_node().await;
    let again = second.client(&support.key).with("x-mode", "test");
    for api in [&support, &again] {
        let answer = api.once("one click").post(&path, json!({"reason": "hangs"})).await.expect(200);
        assert_eq!(answer["status"], "released");
    }
    again.once("one click").post(&path, json!({"reason": "other"})).await.problem(409, "idempotency_key_reused");
    assert_eq!(audit_entries(&support).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sandboxes_are_listed_with_their_clocks() {
    let world = World::new().await;
    let viewer = world.node.client(&new_key(&world.admin, json!({"kind": "admin", "role": "viewer"})).await);
    let listed = async || viewer.get("sandboxes").await.expect(200)["data"].clone();
    assert_eq!(listed().await, json!([{"sandbox": "main", "mode": "test/main", "now": null}]));
    let key = new_key(&world.admin, json!({"kind": "secret", "mode": "test", "sandbox": "ci"})).await;
    world.node.client(&key).freeze("2030-01-31T10:00:00Z").await;
    assert_eq!(
        listed().await,
        json!([{"sandbox": "ci", "mode": "test/ci", "now": "2030-01-31T10:00:00Z"}, {"sandbox": "main", "mode": "test/main", "now": null}])
    );
    let mode = listed().await[0]["mode"].as_str().unwrap().to_owned();
    viewer.with("x-mode", &mode).get("users").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_a_subscription_was_changed_is_in_the_audit_log() {
    let world = World::frozen().await;
    world.admin.plan("one", crate::support::monthly(5)).await;
    let operator = world.admin.with("x-mode", "test");
    let put = |note: &str| json!({"userId": "u", "planId": "one", "note": note});
    operator.post("subscriptions", put("trial")).await.expect(200);
    // Nothing changes, so nothing is logged.
    operator.post("subscriptions", put("again")).await.expect(200);
    operator.delete("subscriptions", Some(json!({"userId": "u", "note": "refund"}))).await.expect(200);
    let reported = operator.get("audit?target=user:u").await.expect(200)["data"].clone();
    let reported: Vec<&str> =
        reported.as_array().unwrap().iter().map(|entry| entry["note"].as_str().unwrap()).collect();
    assert_eq!(reported, ["refund", "trial"]);
    let long = "x".repeat(1025);
    assert_eq!(operator.post("subscriptions", put(&long)).await.bad_field(), "note");
    assert_eq!(operator.post("subscriptions?dryRun=true", put(&long)).await.bad_field(), "note");
    assert_eq!(operator.delete("subscriptions", Some(json!({"userId": "u", "note": long}))).await.bad_field(), "note");
}

//! Features for agents: attempts of one action, and several budgets in one reservation.

use serde_json::{Value, json};

use crate::configuration::budgets::{call, group, names, open_plan, standings};
use crate::support::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_of_one_action_are_counted_and_returned_with_the_decision() {
    let world = World::frozen().await;
    open_plan(&world, &["u", "v"]).await;
    let body = json!({
    "periodType": "daily",
    "retry": {"maxAttempts": 3, "backoff": {"initialMs": 250, "maxMs": 4000}, "nonRetryable": ["content_filter"]},
    "groups": [
        group("calls", &["app"], json!(100), json!({})),
        // Fallbacks have a separate budget.
        {"id": "fallbacks", "unit": "cents", "quota": 5, "scope": ["user"], "measure": {"per": {"cents": 1}},
            "matches": [{"event": "llm.chat", "metadata": {"fallback": "true"}}]},
    ]});
    world.admin.put("policies/retries", body).await.expect(200);
    let action = |user: &str, action: &str| call(user, json!({"action": action}));
    for left in [2, 1, 0] {
        let decision = world.app.reserve(action("u", "a1")).await;
        assert_eq!(decision["allowed"], true);
        assert_eq!(
            decision["retry"],
            json!({"policyId": "retries", "maxAttempts": 3, "attemptsLeft": left,
            "backoff": {"initialMs": 250, "maxMs": 4000}, "nonRetryable": ["content_filter"]})
        );
        world.app.commit(decision["reservationId"].as_str().unwrap()).await;
    }
    let fourth = world.app.reserve(action("u", "a1")).await;
    assert_eq!((names(&fourth), &fourth["retry"]["attemptsLeft"]), (vec!["attempts_retries"], &json!(0)));
    // Other actions, other users and calls without an action are not affected.
    world.app.reserved(action("u", "a2")).await;
    world.app.reserved(action("v", "a1")).await;
    let plain = world.app.reserve(call("u", json!({}))).await;
    assert_eq!((&plain["allowed"], &plain["retry"]["attemptsLeft"]), (&json!(true), &Value::Null));
    // A fallback has a limit in money.
    let fallback = |cents: f64| call("v", json!({"fallback": true, "cents": cents.to_string()}));
    let held = world.app.reserved(fallback(4.0)).await;
    assert_eq!(names(&world.app.reserve(fallback(1.5)).await), ["fallbacks"]);
    world.app.commit(&held).await;
    world.app.reserved(fallback(1.0)).await;
    // Without a matching policy there is no retry information.
    let other = world.app.reserve(json!({"userId": "u", "event": "image.a"})).await;
    assert!(other.get("retry").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_events_pass_together_in_one_reservation_or_not_at_all() {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    let tokens = |id: &str, event: &str, quota: u64| {
        json!({"id": id, "unit": "tokens", "quota": quota, "scope": ["metadata.team"],
        "matches": [{"event": event}]})
    };
    world
        .admin
        .put(
            "policies/agents",
            json!({"periodType": "daily", "groups": [
        tokens("chat", "llm.chat", 100), tokens("search", "llm.search", 10)]}),
        )
        .await
        .expect(200);
    let run = |chat: u64, search: u64| {
        json!({"userId": "u", "items": [
        {"event": "llm.chat", "quantity": chat, "metadata": {"team": "red"}},
        {"event": "llm.search", "quantity": search, "metadata": {"team": "red"}},
        {"event": "llm.chat", "quantity": chat, "metadata": {"team": "blue"}}]})
    };
    let denied = world.app.reserve(run(60, 11)).await;
    assert_eq!((&denied["allowed"], names(&denied)), (&json!(false), vec!["search"]));
    assert_eq!(standings(&world, "chat").await, []);
    let held = world.app.reserved(run(60, 5)).await;
    let both = |used: f64, held: f64| vec![("blue".to_owned(), used, held), ("red".to_owned(), used, held)];
    assert_eq!(standings(&world, "chat").await, both(0.0, 60.0));
    let counter = world.app.counter("u", "all").await;
    assert_eq!(counter["held"], 3, "three events in one counter");
    // As held, with figures per item, and in draws.
    world.app.commit(&held).await;
    assert_eq!(standings(&world, "chat").await, both(60.0, 0.0));
    let held = world.app.reserved(run(30, 5)).await;
    let figures = json!({"reservationId": held, "items": [{"quantity": 10}, {}, {"quantity": 20}]});
    world.app.post("commit", figures).await.expect(200);
    assert_eq!(standings(&world, "chat").await, [("blue".to_owned(), 80.0, 0.0), ("red".to_owned(), 70.0, 0.0)]);
    assert_eq!(standings(&world, "search").await, [("red".to_owned(), 10.0, 0.0)]);
    world
        .admin
        .put(
            "policies/agents",
            json!({"periodType": "daily", "groups": [
        tokens("chat", "llm.chat", 1000), tokens("search", "llm.search", 1000)]}),
        )
        .await
        .expect(200);
    let held = world.app.reserved(run(30, 5)).await;
    let draw = json!({"reservationId": held, "final": false, "items": [{"quantity": 10}, {}, {"quantity": 5}]});
    world.app.post("commit", draw).await.expect(200);
    assert_eq!(standings(&world, "chat").await, [("blue".to_owned(), 85.0, 25.0), ("red".to_owned(), 80.0, 20.0)]);
    world.app.release(&held).await;
    assert_eq!(standings(&world, "chat").await, [("blue".to_owned(), 85.0, 0.0), ("red".to_owned(), 80.0, 0.0)]);
    // The number of figures must fit; a reservation of several items cannot be enlarged.
    let held = world.app.reserved(run(1, 1)).await;
    for (path, body, field) in [
        ("commit", json!({"reservationId": held, "quantity": 3}), "items"),
        ("commit", json!({"reservationId": held, "items": [{"quantity": 3}]}), "items"),
        ("commit", json!({"reservationId": held, "items": [{}, {}, {}], "quantity": 1}), "items"),
        ("extend", json!({"reservationId": held, "quantity": 3}), "quantity"),
        ("reserve", json!({"userId": "u", "items": []}), "items"),
        ("reserve", json!({"userId": "u"}), "event"),
        ("reserve", json!({"userId": "u", "event": "llm.chat", "items": [{"event": "llm.chat"}]}), "items"),
        (
            "reserve",
            json!({"userId": "u", "items": [{"event": "llm.chat"}, {"event": "llm.chat", "quantity": 0}]}),
            "items[1].quantity",
        ),
        (
            "reserve",
            json!({"userId": "u", "items": (0..11).map(|_| json!({"event": "llm.chat"})).collect::<Vec<_>>()}),
            "items",
        ),
    ] {
        assert_eq!(world.app.post(path, body.clone()).await.bad_field(), field, "{path} {body}");
    }
    world.app.post("extend", json!({"reservationId": held, "ttlSeconds": 120})).await.expect(200);
    let asked = world.app.post("can-use", run(2000, 1)).await.expect(200);
    assert_eq!(asked["reasons"], json!(["limit_reached"]));
    // A repetition finds the same reservation; another order of items is another request.
    let once = world.app.once("run-1");
    let first = once.reserve(run(1, 1)).await;
    assert_eq!(once.reserve(run(1, 1)).await["reservationId"], first["reservationId"]);
    once.post("reserve", run(1, 2)).await.problem(409, "idempotency_key_reused");
}

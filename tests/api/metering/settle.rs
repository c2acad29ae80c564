//! commit, release, extend, refund: amounts, repetitions, and their order.

use serde_json::{Value, json};

use crate::support::{World, monthly};

/// A plan with three groups for one LLM call.
fn llm() -> Value {
    json!({"periodType": "monthly", "periodAnchor": "subscription_start", "groups": [
        {"id": "tokens", "unit": "tokens", "quota": 100_000, "matches": [{"event": "llm.*"}]},
        {"id": "spend", "unit": "cents", "quota": 100, "matches": [{"event": "llm.*"}],
            "measure": {"per": {"prompt_tokens": "0.0000004", "event": "0.1"}, "estimate": {"prompt_tokens": 1000}}},
        {"id": "calls", "unit": "count", "quota": 10, "measure": "event", "matches": [{"event": "*"}]},
    ]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actual_figures_return_the_rest_or_are_recorded_in_full() {
    let world = World::frozen().await;
    let app = &world.app;
    world.admin.plan("p", monthly(10)).await;
    app.subscribe("u", "p").await;
    for (held, actual, used, overage) in [(5, 2, 2.0, 0), (5, 0, 2.0, 0), (8, 8, 10.0, 0)] {
        let id = app.reserved(json!({"userId": "u", "event": "image.a", "quantity": held})).await;
        let settled = app.post("commit", json!({"reservationId": id, "quantity": actual})).await.expect(200);
        assert_eq!(settled["counters"][0]["overage"], overage);
        assert_eq!(app.stands("u", "images").await, (used, 0.0));
    }
    app.subscribe("v", "p").await;
    let id = app.reserved(json!({"userId": "v", "event": "image.a"})).await;
    let settled = app.post("commit", json!({"reservationId": id, "quantity": 14})).await.expect(200);
    assert_eq!((&settled["counters"][0]["used"], &settled["counters"][0]["overage"]), (&json!(14), &json!(4)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draws_charge_the_measure_of_the_running_sums() {
    let world = World::frozen().await;
    let (_second, other) = world.another_node().await;
    let app = &world.app;
    world.admin.plan("p", llm()).await;
    app.subscribe("u", "p").await;
    let id = app.reserved(json!({"userId": "u", "event": "llm.chat", "quantity": 1000})).await;
    assert_eq!(app.stands("u", "spend").await, (0.0, 0.1004));
    // Each draw alone would round 0.0000004 up to a step of 0.000001; the sums do not.
    for (api, tokens, spend, calls) in
        [(app, 1.0, 0.100_001, 1.0), (&other, 2.0, 0.100_001, 1.0), (app, 3.0, 0.100_002, 1.0)]
    {
        let draw = json!({"reservationId": id, "final": false, "quantity": 1, "metadata": {"prompt_tokens": 1}});
        assert_eq!(api.post("commit", draw).await.expect(200)["status"], "held");
        assert_eq!((app.stands("u", "tokens").await.0, app.stands("u", "spend").await.0), (tokens, spend));
        assert_eq!(app.stands("u", "calls").await, (calls, 0.0), "a call is charged once");
    }
    // The last call charges the rest, releases it, or adds an increment.
    let last = json!({"reservationId": id, "quantity": 10});
    other.post("commit", last.clone()).await.expect(200);
    assert_eq!(app.stands("u", "tokens").await, (13.0, 0.0));
    let repeated = json!({"reservationId": id, "quantity": 77});
    assert_eq!(app.post("commit", repeated).await.expect(200)["replayed"], true);
    assert_eq!(app.stands("u", "tokens").await, (13.0, 0.0));

    let id = app.reserved(json!({"userId": "u", "event": "llm.chat", "quantity": 100})).await;
    app.post("commit", json!({"reservationId": id, "final": false, "quantity": 40})).await.expect(200);
    assert_eq!(other.release(&id).await["status"], "released");
    assert_eq!(app.stands("u", "tokens").await, (53.0, 0.0));
    assert_eq!(app.release(&id).await["replayed"], true);
    let problem = app.post("commit", json!({"reservationId": id})).await.problem(409, "reservation_not_pending");
    assert_eq!(problem["reservationStatus"], "released");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_gives_time_or_checked_amount_or_changes_nothing() {
    let world = World::frozen().await;
    let (_second, other) = world.another_node().await;
    let app = &world.app;
    world.admin.plan("p", monthly(10)).await;
    app.subscribe("u", "p").await;
    let id = app.reserved(json!({"userId": "u", "event": "image.a", "quantity": 4})).await;
    let extend = |changes: Value| {
        let mut body = json!({"reservationId": id});
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        body
    };
    let longer = app.post("extend", extend(json!({"ttlSeconds": 300}))).await.expect(200);
    assert_eq!(longer["expiresAt"], "2027-01-31T10:05:00Z");
    let shorter = app.post("extend", extend(json!({"ttlSeconds": 10}))).await.expect(200);
    assert_eq!(shorter["expiresAt"], "2027-01-31T10:05:00Z", "never shorter");
    // A node that has not seen this user or reservation.
    let more = other.post("extend", extend(json!({"quantity": 5}))).await.expect(200);
    assert_eq!((&more["allowed"], &more["counters"][0]["held"]), (&json!(true), &json!(9)));
    let before = world.redis.dump("qg:{default:test/main}:*").await;
    let denied = app.post("extend", extend(json!({"quantity": 2, "ttlSeconds": 900}))).await.expect(200);
    assert_eq!((&denied["allowed"], &denied["deniedBy"][0]["remaining"]), (&json!(false), &json!(1)));
    assert_eq!(world.redis.dump("qg:{default:test/main}:*").await, before);
    app.freeze("2027-01-31T10:02:00Z").await;
    assert_eq!(app.stands("u", "images").await, (0.0, 9.0), "it lives on past its first 60 seconds");
    assert_eq!(app.commit(&id).await["counters"][0]["used"], 9);
    app.post("extend", extend(json!({"ttlSeconds": 60}))).await.problem(409, "reservation_not_pending");
    let id = app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    app.freeze("2027-01-31T10:03:00Z").await;
    let over = json!({"reservationId": id, "ttlSeconds": 60});
    app.post("extend", over).await.problem(410, "reservation_expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_amount_after_the_window_turned_settles_in_its_own_window() {
    let world = World::new().await;
    let app = &world.app;
    app.freeze("2027-01-31T23:59:30Z").await;
    let mut plan = monthly(10);
    plan["periodAnchor"] = json!("calendar");
    world.admin.plan("p", plan).await;
    app.subscribe("u", "p").await;
    let id = app.reserved(json!({"userId": "u", "event": "image.a", "quantity": 3})).await;
    app.freeze("2027-02-01T00:00:10Z").await;
    app.post("extend", json!({"reservationId": id, "quantity": 2})).await.expect(200);
    app.post("commit", json!({"reservationId": id, "quantity": 4})).await.expect(200);
    assert_eq!(app.stands("u", "images").await, (1.0, 0.0), "January first, the rest in February");
    let past: String = world.redis.run(&["HGET", "qg:{default:test/main}:past:user:u", "images.1"]).await;
    assert!(past.starts_with("3 10 monthly/20270101/"), "{past}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_give_back_at_most_what_was_charged() {
    let world = World::frozen().await;
    let app = &world.app;
    world.admin.plan("p", llm()).await;
    app.subscribe("u", "p").await;
    app.subscribe("v", "p").await;
    let id = app.reserved(json!({"userId": "u", "event": "llm.chat", "quantity": 100})).await;
    let refund = |user: &str, quantity: u32, prompt_tokens: u32| {
        json!({"userId": user, "event": "llm.chat.refund", "quantity": quantity,
            "metadata": {"reservationId": id, "prompt_tokens": prompt_tokens}})
    };
    app.post("track", refund("u", 1, 0)).await.problem(409, "reservation_not_pending");
    app.post("commit", json!({"reservationId": id, "metadata": {"prompt_tokens": 500_000}})).await.expect(200);
    assert_eq!(app.stands("u", "spend").await.0, 0.3);
    app.post("track", refund("v", 1, 0)).await.problem(404, "not_found");
    // A refund's `event` weight refunds the flat part; 0.1 + 250,000 × 0.0000004 = 0.2
    app.post("track", refund("u", 60, 250_000)).await.expect(200);
    assert_eq!((app.stands("u", "tokens").await.0, app.stands("u", "spend").await.0), (40.0, 0.1));
    assert_eq!(app.stands("u", "calls").await.0, 1.0, "not everything is given back yet");
    app.post("track", refund("u", 60, 250_000)).await.expect(200);
    for group in ["tokens", "spend", "calls"] {
        assert_eq!(app.stands("u", group).await, (0.0, 0.0), "{group}");
    }
    app.freeze("2027-01-31T10:16:00Z").await;
    app.post("track", refund("u", 1, 0)).await.problem(410, "reservation_expired");

    app.post("track", json!({"userId": "u", "event": "llm.chat", "quantity": 5})).await.expect(200);
    let without = json!({"userId": "u", "event": "llm.chat.refund", "quantity": 7});
    app.post("track", without).await.expect(200);
    assert_eq!((app.stands("u", "tokens").await.0, app.stands("u", "calls").await.0), (0.0, 1.0), "never below 0");
    let reserve = json!({"userId": "u", "event": "llm.chat.refund"});
    assert_eq!(app.post("reserve", reserve).await.bad_field(), "event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_write_gets_the_first_answer_on_any_node_and_never_counts_twice() {
    let world = World::frozen().await;
    let (_second, other) = world.another_node().await;
    let app = &world.app;
    world.admin.plan("p", monthly(10)).await;
    app.subscribe("u", "p").await;
    let call = json!({"userId": "u", "event": "image.a", "quantity": 4});
    let first = app.once("r1").post("reserve", call.clone()).await.expect(200);
    // The order of fields makes no difference.
    let repeated = other
        .once("r1")
        .send("POST", "reserve", Some(r#"{"quantity":4,"event":"image.a","userId":"u"}"#.to_owned()))
        .await;
    assert_eq!(repeated.header("idempotent-replayed"), Some("true"));
    assert_eq!(repeated.expect(200), first);
    let id = first["reservationId"].as_str().unwrap();

    let calls = (0..100).map(|number| if number % 2 == 0 { app.once("r2") } else { other.once("r2") });
    let answers = futures::future::join_all(calls.map(|api| {
        let call = call.clone();
        async move { api.post("reserve", call).await.expect(200)["reservationId"].clone() }
    }))
    .await;
    assert!(answers.iter().all(|id| *id == answers[0]));
    assert_eq!(app.stands("u", "images").await, (0.0, 8.0));

    let denied = app.once("r3").post("reserve", call.clone()).await.expect(200);
    assert_eq!(denied["allowed"], false);
    app.post("release", json!({"reservationId": answers[0]})).await.expect(200);
    let again = other.once("r3").post("reserve", call.clone()).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let again = again.expect(200);
    assert_eq!((&again["allowed"], &again["deniedBy"]), (&json!(false), &denied["deniedBy"]), "the stored decision");
    assert_eq!(again["counters"][0]["held"], 4, "with counters as of now");

    for (path, key, body) in [
        ("commit", "c1", json!({"reservationId": id, "final": false, "quantity": 1})),
        ("extend", "e1", json!({"reservationId": id, "quantity": 1})),
        ("track", "t1", json!({"userId": "u", "event": "image.a"})),
        ("commit", "c2", json!({"reservationId": id})),
        ("track", "t2", json!({"userId": "u", "event": "image.a.refund", "metadata": {"reservationId": id}})),
        ("track", "t3", json!({"userId": "u", "event": "image.a.refund"})),
    ] {
        let first = app.once(key).post(path, body.clone()).await.expect(200);
        let stands = app.stands("u", "images").await;
        let repeated = other.once(key).post(path, body.clone()).await;
        assert_eq!(repeated.header("idempotent-replayed"), Some("true"), "{path} {key}");
        let repeated = repeated.expect(200);
        for field in ["eventId", "reservationId", "status", "allowed", "matchStatus", "expiresAt"] {
            assert_eq!(repeated[field], first[field], "{path} {key} {field}");
        }
        assert_eq!(app.stands("u", "images").await, stands, "{path} {key}");
        let mut changed = body.clone();
        changed["quantity"] = json!(3);
        other.once(key).post(path, changed).await.problem(409, "idempotency_key_reused");
    }
    let full = json!({"userId": "u", "event": "image.a", "quantity": 50, "enforce": true});
    app.once("t4").post("track", full.clone()).await.problem(429, "limit_reached");
    other.once("t4").post("track", full).await.problem(429, "limit_reached");

    let subscription = json!({"userId": "w", "planId": "p"});
    let first = app.once("s1").post("subscriptions", subscription.clone()).await.expect(200);
    app.freeze("2027-01-31T10:05:00Z").await;
    assert_eq!(other.once("s1").post("subscriptions", subscription).await.expect(200), first);
    other
        .once("s1")
        .post("subscriptions", json!({"userId": "w", "planId": "q"}))
        .await
        .problem(409, "idempotency_key_reused");
    let first = world.admin.once("k1").post("keys", json!({"kind": "admin", "role": "viewer"})).await.expect(201);
    let repeated = world.admin.once("k1").post("keys", json!({"kind": "admin", "role": "viewer"})).await.expect(201);
    assert_eq!((&repeated["id"], &repeated["key"]), (&first["id"], &Value::Null), "a key is shown once");
}

//! The same `Idempotency-Key` again: the first answer, on any node, and nothing counted twice.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{Answer, Api, World, monthly};

/// The present counters of both users.
async fn standing(app: &Api) -> Vec<Value> {
    let mut all = Vec::new();
    for user in ["u", "v"] {
        all.push(app.get(&format!("usage?userId={user}")).await.expect(200));
    }
    all
}

/// What a repetition must return again; it may also be marked as a repetition.
fn substance(answer: &Answer) -> (u16, Value) {
    let mut json = answer.json.clone();
    if let Some(fields) = json.as_object_mut() {
        fields.remove("replayed");
        fields.remove("requestId");
    }
    (answer.status, json)
}

const LIMITS: [&str; 6] =
    ["ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after"];

async fn prepared() -> World {
    let world = World::frozen().await;
    let group = |id: &str, quota: u64, event: &str, period: &str| json!({"id": id, "unit": "count", "quota": quota, "periodType": period, "matches": [{"event": event}]});
    world
        .admin
        .plan(
            "one",
            json!({"periodAnchor": "calendar", "unmatchedEvents": "allow", "groups": [
                group("wide", 1000, "image.*", "monthly"), group("narrow", 100, "image.*", "daily"), group("other", 5, "image.*.big", "minute"),
            ]}),
        )
        .await;
    world.admin.plan("two", monthly(7)).await;
    world.app.subscribe("u", "one").await;
    world.app.subscribe("v", "one").await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_repeats_its_first_answer_on_another_node_and_counts_once() {
    let world = prepared().await;
    let (second, other) = world.another_node().await;
    let other_admin = second.client(&world.admin.key);
    let call = |quantity: u64| json!({"userId": "u", "event": "image.a", "quantity": quantity});
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(world.app.reserved(call(10)).await);
    }
    let [a, b, c, d] = ids.try_into().unwrap();
    let on = |id: &str, more: Value| {
        let mut body = json!({"reservationId": id});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let with = |mut body: Value, name: &str, value: Value| {
        body[name] = value;
        body
    };
    let refund = |quantity: u64| json!({"userId": "u", "event": "image.a.refund", "quantity": quantity, "metadata": {"reservationId": a}});
    let track = |quantity: u64| json!({"userId": "u", "event": "image.a", "quantity": quantity});
    let plan = |quota: u64| with(monthly(quota), "name", json!("Three"));
    let metering = true;
    let outcome = format!("reservations/{a}/outcome");
    for (name, method, path, body, wrong, status, metered) in [
        ("reserve", "POST", "reserve", call(2), call(3), 200, metering),
        ("reserve denied", "POST", "reserve", call(500), call(501), 200, metering),
        ("reserve denied as a 429", "POST", "reserve?onDeny=429", call(502), call(503), 429, metering),
        (
            "reserve denied, never to fit",
            "POST",
            "reserve",
            json!({"userId": "u", "event": "image.a.big", "quantity": 6}),
            call(1),
            200,
            metering,
        ),
        (
            "reserve of a stranger",
            "POST",
            "reserve",
            json!({"userId": "stranger", "event": "image.a"}),
            json!({"userId": "stranger", "event": "image.b"}),
            200,
            metering,
        ),
        (
            "reserve unmetered",
            "POST",
            "reserve",
            json!({"userId": "u", "event": "x"}),
            json!({"userId": "u", "event": "y"}),
            200,
            metering,
        ),
        (
            "draw",
            "POST",
            "commit",
            on(&a, json!({"final": false, "quantity": 3})),
            on(&a, json!({"final": false, "quantity": 4})),
            200,
            metering,
        ),
        (
            "extend time",
            "POST",
            "extend",
            on(&a, json!({"ttlSeconds": 600})),
            on(&a, json!({"ttlSeconds": 601})),
            200,
            metering,
        ),
        (
            "extend amount",
            "POST",
            "extend",
            on(&b, json!({"quantity": 2})),
            on(&b, json!({"quantity": 3})),
            200,
            metering,
        ),
        (
            "extend denied",
            "POST",
            "extend",
            on(&b, json!({"quantity": 500})),
            on(&b, json!({"quantity": 501})),
            200,
            metering,
        ),
        (
            "commit with figures",
            "POST",
            "commit",
            on(&a, json!({"quantity": 2})),
            on(&a, json!({"quantity": 5})),
            200,
            metering,
        ),
        ("outcome", "POST", &*outcome, json!({"outcome": "accepted"}), json!({"outcome": "rejected"}), 200, false),
        ("commit without", "POST", "commit", on(&b, json!({})), on(&b, json!({"quantity": 1})), 200, metering),
        ("commit of more", "POST", "commit", on(&c, json!({"quantity": 20})), on(&c, json!({})), 200, metering),
        ("release", "POST", "release", on(&d, json!({"reason": "x"})), on(&d, json!({})), 200, metering),
        ("track", "POST", "track", track(4), track(5), 200, metering),
        ("track past the quota", "POST", "track", track(60), track(61), 200, metering),
        ("track enforced, denied", "POST", "track", with(track(70), "enforce", json!(true)), track(70), 429, metering),
        (
            "track of a stranger",
            "POST",
            "track",
            json!({"userId": "stranger", "event": "image.a"}),
            json!({"userId": "stranger", "event": "image.b"}),
            200,
            metering,
        ),
        ("refund of a reservation", "POST", "track", refund(1), refund(2), 200, metering),
        (
            "refund of an event",
            "POST",
            "track",
            json!({"userId": "u", "event": "image.a.refund", "quantity": 7}),
            track(7),
            200,
            metering,
        ),
        (
            "subscribe",
            "POST",
            "subscriptions",
            json!({"userId": "v", "planId": "two"}),
            json!({"userId": "v", "planId": "one"}),
            200,
            false,
        ),
        (
            "cancel later",
            "DELETE",
            "subscriptions",
            json!({"userId": "v", "endsAt": "2027-05-01T00:00:00Z"}),
            json!({"userId": "v"}),
            200,
            false,
        ),
        (
            "cancel",
            "DELETE",
            "subscriptions",
            json!({"userId": "v"}),
            json!({"userId": "v", "endsAt": "2027-05-01T00:00:00Z"}),
            200,
            false,
        ),
        ("put a plan", "PUT", "plans/three", plan(3), plan(4), 200, false),
        ("make an app", "POST", "apps", json!({"id": "acme"}), json!({"id": "acme2"}), 201, false),
    ] {
        let configures = path.starts_with("plans") || path == "apps";
        let (one, two) = if configures { (&world.admin, &other_admin) } else { (&world.app, &other) };
        let (one, two) = (one.once(name), two.once(name));
        let first = one.send(method, path, Some(body.to_string())).await;
        assert_eq!(first.status, status, "{name}: {}", first.text);
        assert_eq!(first.header("idempotent-replayed"), None, "{name}");
        let before = standing(&world.app).await;
        for again in [&two, &one, &two] {
            let repeated = again.send(method, path, Some(body.to_string())).await;
            assert_eq!(substance(&repeated), substance(&first), "{name}");
            assert_eq!(repeated.header("idempotent-replayed"), Some("true"), "{name}");
            if metered {
                assert_eq!(
                    LIMITS.map(|header| repeated.header(header)),
                    LIMITS.map(|header| first.header(header)),
                    "{name}"
                );
            }
        }
        assert_eq!(standing(&other).await, before, "{name} counted twice");
        for api in [&two, &one] {
            let reused = api.send(method, path, Some(wrong.to_string())).await;
            assert_eq!(reused.status, 409, "{name}: {}", reused.text);
            reused.problem(409, "idempotency_key_reused");
        }
        assert_eq!(standing(&world.app).await, before, "{name} with another body");
    }
    // wide: 5 of a, 12 of b, 20 of c, 64 tracked, 8 refunded; 2 still held.
    assert_eq!(world.app.stands("u", "wide").await, (93.0, 2.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100_parallel_reserves_with_one_key_over_two_nodes_one_holds() {
    let world = World::new().await;
    let (_second, other) = world.another_node().await;
    world.admin.plan("one", monthly(20)).await;
    world.app.subscribe("u", "one").await;
    let apis = [world.app.once("the same"), other.once("the same")];
    let body = json!({"userId": "u", "event": "image.a"});
    let answers = join_all((0..100).map(|call| apis[call % 2].post("reserve", body.clone()))).await;
    let replayed = answers.iter().filter(|answer| answer.header("idempotent-replayed") == Some("true")).count();
    assert_eq!(replayed, 99);
    let id = answers[0].json["reservationId"].as_str().unwrap().to_owned();
    for answer in answers {
        let (expires, first) = (answer.json["expiresAt"].clone(), answer.expect(200));
        assert_eq!((&first["reservationId"], &first["expiresAt"]), (&json!(id), &expires));
    }
    assert_eq!(world.app.stands("u", "images").await, (0.0, 1.0));
    let tracks = [world.app.once("a track"), other.once("a track")];
    let answers = join_all((0..100).map(|call| tracks[call % 2].post("track", body.clone()))).await;
    assert!(answers.iter().all(|answer| answer.json["eventId"] == answers[0].json["eventId"]), "one event");
    assert_eq!(world.app.stands("u", "images").await, (1.0, 1.0));
    let draws = [world.app.once("a draw"), other.once("a draw")];
    let draw = json!({"reservationId": id, "final": false, "quantity": 1});
    join_all((0..100).map(|call| draws[call % 2].post("commit", draw.clone()))).await.into_iter().for_each(|answer| {
        answer.expect(200);
    });
    assert_eq!(world.app.stands("u", "images").await, (2.0, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_fields_in_another_order_are_the_same_request() {
    let world = prepared().await;
    let app = world.app.once("order");
    let bodies = [
        r#"{"userId":"u","event":"image.a","quantity":2,"metadata":{"b":1,"a":"x"}}"#,
        r#"{"metadata":{"a":"x","b":1},"quantity":2,"event":"image.a","userId":"u"}"#,
        "{ \"quantity\" : 2,\n \"userId\": \"u\", \"metadata\": {\"b\":1, \"a\":\"\\u0078\"}, \"event\": \"image.a\" }",
    ];
    let first = app.send("POST", "reserve", Some(bodies[0].to_owned())).await.expect(200);
    for body in bodies {
        let again = app.send("POST", "reserve", Some(body.to_owned())).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{body}");
        assert_eq!(again.expect(200)["reservationId"], first["reservationId"]);
    }
    assert_eq!(app.stands("u", "wide").await, (0.0, 2.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_belongs_to_one_user_of_one_app_and_mode_and_to_one_call() {
    let world = prepared().await;
    let elsewhere =
        crate::support::new_key(&world.admin, json!({"kind": "secret", "mode": "test", "sandbox": "ci"})).await;
    let elsewhere = world.node.client(&elsewhere);
    elsewhere.freeze(crate::support::START).await;
    elsewhere.subscribe("u", "one").await;
    let mut ids = Vec::new();
    for (api, user) in [(&world.app, "u"), (&world.app, "v"), (&elsewhere, "u")] {
        let answer = api.once("k").post("reserve", json!({"userId": user, "event": "image.a"})).await;
        assert_eq!(answer.header("idempotent-replayed"), None);
        ids.push(answer.expect(200)["reservationId"].as_str().unwrap().to_owned());
    }
    let app = world.app.once("k");
    for (path, body) in [
        ("commit", json!({"reservationId": ids[0]})),
        ("commit", json!({"reservationId": ids[0], "quantity": 1})),
        ("release", json!({"reservationId": ids[0]})),
        ("extend", json!({"reservationId": ids[0], "ttlSeconds": 60})),
        ("track", json!({"userId": "u", "event": "image.a"})),
        ("subscriptions", json!({"userId": "u", "planId": "two"})),
    ] {
        app.post(path, body).await.problem(409, "idempotency_key_reused");
    }
    app.post("can-use", json!({"userId": "u", "event": "image.b"})).await.expect(200);
    for api in [&world.app, &elsewhere] {
        assert_eq!(api.stands("u", "wide").await, (0.0, 1.0));
    }
    world.app.once(&"k".repeat(255)).post("reserve", json!({"userId": "u", "event": "image.a"})).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repetition_is_answered_although_by_now_the_call_would_be_refused() {
    let world = prepared().await;
    let admin = world.admin.once("a");
    let tag = world.admin.get("plans/two").await.header("etag").unwrap().to_owned();
    let put = admin.with("if-match", &tag);
    let first = put.put("plans/two", monthly(8)).await.expect(200);
    assert_eq!(put.put("plans/two", monthly(8)).await.expect(200), first, "the tag was right the first time");
    put.put("plans/two", monthly(9)).await.problem(409, "idempotency_key_reused");
    let same = world.admin.once("b");
    same.put("plans/two", monthly(8)).await.expect(200);
    same.put("plans/two", monthly(9)).await.problem(409, "idempotency_key_reused");
    let app = world.app.once("c");
    let canceled = app.delete("subscriptions", Some(json!({"userId": "v"}))).await.expect(200);
    assert_eq!(app.delete("subscriptions", Some(json!({"userId": "v"}))).await.expect(200), canceled);
    // The hold has expired and the quota is full by now.
    let reserve = json!({"userId": "u", "event": "image.a", "quantity": 90});
    let first = world.app.once("d").post("reserve", reserve.clone()).await.expect(200);
    world.app.post("reserve", json!({"userId": "u", "event": "image.a", "quantity": 10})).await.expect(200);
    let again = world.app.once("d").post("reserve", reserve.clone()).await.expect(200);
    assert_eq!((&again["allowed"], &again["reservationId"]), (&json!(true), &first["reservationId"]));
    let denied = world.app.once("e").post("reserve", reserve.clone()).await.expect(200);
    world.app.release(first["reservationId"].as_str().unwrap()).await;
    let again = world.app.once("e").post("reserve", reserve).await.expect(200);
    assert_eq!(
        (&again["allowed"], &again["deniedBy"]),
        (&json!(false), &denied["deniedBy"]),
        "denials are replayed too"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_deletion_is_answered_as_the_first_and_deletes_nothing_more() {
    let world = prepared().await;
    let (second, _) = world.another_node().await;
    let there = second.client(&world.admin.key);
    let test = world.admin.with("x-mode", "test");
    let one = |id: &str| {
        json!({"periodType": "daily", "groups": [
        {"id": id, "unit": "count", "quota": 1, "scope": ["app"], "matches": [{"event": "other"}]}]})
    };
    let key = json!({"kind": "secret", "mode": "live"});
    let grant = json!({"scope": {"user": "u"}, "groupId": "wide", "amount": 5});
    let id_of = |answer: Answer, name: &str| answer.json[name].as_str().unwrap().to_owned();
    let mut paths = vec!["plans/gone?moveTo=two".to_owned(), "policies/gone".to_owned(), "webhooks/gone".to_owned()];
    world.admin.plan("gone", monthly(3)).await;
    world.admin.put("policies/gone", one("capped")).await.expect(200);
    world
        .admin
        .put("webhooks/gone", json!({"url": "http://127.0.0.1:9/", "events": ["limit.reached"]}))
        .await
        .expect(200);
    paths.push(format!("keys/{}", id_of(world.admin.post("keys", key).await, "id")));
    paths.push(format!("grants/{}", id_of(test.post("grants", grant).await, "id")));
    world.admin.post("apps", json!({"id": "gone"})).await.expect(201);
    paths.push("apps/gone".to_owned());
    for path in &paths {
        let (here, there) = match path.starts_with("grants") {
            true => (test.clone(), there.with("x-mode", "test")),
            false => (world.admin.clone(), there.clone()),
        };
        let (here, there) = (here.once(path), there.once(path));
        let first = here.delete(path, None).await;
        assert_eq!((first.status, first.header("idempotent-replayed")), (204, None), "{path}: {}", first.text);
        for again in [&there, &here] {
            let repeated = again.delete(path, None).await;
            assert_eq!((repeated.status, repeated.header("idempotent-replayed")), (204, Some("true")), "{path}");
        }
        // Without the key, or with it for another call.
        test.delete(path, None).await.problem(404, "not_found");
        let kind = path.split('/').next().unwrap();
        let other = match kind {
            "grants" => format!("grants/grt_{}{}", if path.as_bytes()[11] == b'0' { '1' } else { '0' }, &path[12..]),
            _ => format!("{kind}/other"),
        };
        there.delete(&other, None).await.problem(409, "idempotency_key_reused");
    }
    assert_eq!(world.app.counter("u", "wide").await["granted"], 0);
}

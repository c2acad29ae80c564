//! `POST batch`: many operations in one request, each decided as if it had been sent alone.

use serde_json::{Value, json};

use crate::support::{Api, ROOT_KEY, Redis, Running, World, monthly, new_key};
use quotagate::http::middleware::limits::Limits;

/// The results of a batch.
async fn batch(app: &Api, operations: Value) -> Vec<Value> {
    let count = operations.as_array().unwrap().len();
    let answer = app.post("batch", json!({"operations": operations})).await.expect(200);
    let results = answer["results"].as_array().unwrap().clone();
    assert_eq!(results.len(), count, "{answer}");
    results
}

fn statuses(results: &[Value]) -> Vec<u64> {
    results.iter().map(|result| result["status"].as_u64().unwrap()).collect()
}

/// An operation: the body with its name added.
fn op(name: &str, mut body: Value) -> Value {
    body["op"] = json!(name);
    body
}

fn once(key: &str, mut operation: Value) -> Value {
    operation["idempotencyKey"] = json!(key);
    operation
}

async fn with_quota(quota: u64, users: &[&str]) -> World {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(quota)).await;
    for user in users {
        world.app.subscribe(user, "p").await;
    }
    world
}

fn image(user: &str, quantity: u64) -> Value {
    json!({"userId": user, "event": "image.a", "quantity": quantity})
}

/// An answer without the values that differ between two otherwise equal calls.
fn substance(mut answer: Value, user: &str) -> Value {
    for name in ["reservationId", "eventId", "requestId"] {
        if let Some(field) = answer.get_mut(name) {
            *field = json!("some");
        }
    }
    serde_json::from_str(&answer.to_string().replace(&format!("\"{user}\""), "\"user\"")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_operation_is_answered_as_if_it_had_been_sent_alone() {
    let world = with_quota(20, &["alone", "together"]).await;
    let mut reserved = Vec::new();
    for user in ["alone", "together"] {
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(world.app.reserved(image(user, 3)).await);
        }
        reserved.push(ids);
    }
    let calls = |user: &str, ids: &[String]| {
        let on = |id: &str| json!({"reservationId": id});
        let with = |mut body: Value, name: &str, value: Value| {
            body[name] = value;
            body
        };
        vec![
            ("reserve", image(user, 4)),
            ("reserve", image(user, 50)),
            ("reserve", json!({"userId": user, "items": [{"event": "image.a"}, {"event": "image.b", "quantity": 2}]})),
            ("reserve", json!({"userId": user, "event": "text.a"})),
            ("reserve", json!({"userId": user, "event": "image.a.refund"})),
            ("reserve", with(image(user, 1), "ttlSeconds", json!(4000))),
            ("can-use", image(user, 1)),
            ("can-use", image(user, 21)),
            ("track", image(user, 1)),
            ("track", with(image(user, 21), "enforce", json!(true))),
            ("track", json!({"userId": user, "event": "image.a", "metadata": {"a": [1]}})),
            ("extend", with(on(&ids[0]), "ttlSeconds", json!(600))),
            ("extend", on(&ids[0])),
            ("commit", with(on(&ids[0]), "quantity", json!("2"))),
            ("commit", with(on(&ids[0]), "quantity", json!("2"))),
            ("release", on(&ids[0])),
            ("release", on(&ids[1])),
            ("commit", on(&ids[1])),
            ("commit", with(on(&ids[2]), "final", json!(false))),
            ("commit", on("rsv_nothing")),
            ("release", json!({"reservationId": ids[2], "reason": "x".repeat(300)})),
        ]
    };
    let mut alone = Vec::new();
    for (path, body) in calls("alone", &reserved[0]) {
        let answer = world.app.post(path, body).await;
        alone.push((u64::from(answer.status), substance(answer.json, "alone")));
    }
    let operations: Vec<Value> =
        calls("together", &reserved[1]).into_iter().map(|(path, body)| op(path, body)).collect();
    let results = batch(&world.app, json!(operations)).await;
    for ((alone, result), operation) in alone.into_iter().zip(results).zip(operations) {
        let together = (result["status"].as_u64().unwrap(), substance(result["body"].clone(), "together"));
        assert_eq!(alone, together, "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_in_one_operation_is_a_problem_in_its_own_result() {
    let world = with_quota(20, &["u", "v"]).await;
    let id = world.app.reserved(image("u", 1)).await;
    let twice = json!({"operations": "here"}).to_string().replace(
        "\"here\"",
        r#"[{"op":"reserve","op":"track","userId":"u","event":"image.a"},
            {"op":"track","userId":"u","userId":"v","event":"image.a"}]"#,
    );
    let results = batch(
        &world.app,
        json!([
            op("reserve", image("u", 2)),
            op("refund", image("u", 2)),
            op("RESERVE", image("u", 2)),
            image("u", 2),
            5,
            null,
            [],
            {"op": 7, "userId": "u"},
            op("reserve", json!({"userId": "u", "event": "image.a", "colour": "red"})),
            op("reserve", json!({"userId": "u"})),
            op("reserve", json!({"event": "image.a"})),
            op("track", image("u", 0)),
            op("commit", json!({"reservationId": 7})),
            once("", op("track", image("u", 1))),
            once(&"k".repeat(256), op("track", image("u", 1))),
            {"op": "track", "userId": "u", "event": "image.a", "idempotencyKey": null},
            op("commit", json!({"reservationId": "rsv_nothing"})),
            op("track", image("v", 3)),
            op("commit", json!({"reservationId": id})),
        ]),
    )
    .await;
    let fields = [
        None,
        Some("op"),
        Some("op"),
        Some("op"),
        Some("body"),
        Some("body"),
        Some("body"),
        Some("op"),
        Some("colour"),
        Some("event"),
        Some("userId"),
        Some("quantity"),
        Some("reservationId"),
        Some("idempotencyKey"),
        Some("idempotencyKey"),
        Some("idempotencyKey"),
    ];
    for (result, field) in results.iter().zip(fields) {
        match field {
            None => assert_eq!((&result["status"], &result["body"]["allowed"]), (&json!(200), &json!(true))),
            Some(field) => {
                let body = &result["body"];
                assert_eq!((&result["status"], &body["status"]), (&json!(400), &json!(400)), "{result}");
                assert_eq!((&body["code"], &body["errors"][0]["field"]), (&json!("invalid_request"), &json!(field)));
                assert!(!body["requestId"].as_str().unwrap().is_empty());
            }
        }
    }
    assert_eq!(statuses(&results[16..]), [404, 200, 200]);
    assert_eq!(world.app.stands("u", "images").await, (1.0, 2.0), "what is faulty counts nothing");
    assert_eq!(world.app.stands("v", "images").await, (3.0, 0.0));
    let answer = world.app.send("POST", "batch", Some(twice)).await.expect(200);
    let fields: Vec<&str> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            assert_eq!(result["status"], 400);
            result["body"]["errors"][0]["field"].as_str().unwrap()
        })
        .collect();
    assert_eq!(fields, ["op", "userId"]);
    assert_eq!(world.app.stands("u", "images").await, (1.0, 2.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_has_1_to_100_operations_in_at_most_256_kib() {
    let world = with_quota(1_000_000, &["u"]).await;
    let tracks = |count: usize| json!({"operations": vec![op("track", image("u", 1)); count]});
    for count in [0, 101] {
        assert_eq!(world.app.post("batch", tracks(count)).await.bad_field(), "operations", "{count}");
    }
    for body in [json!({}), json!({"operations": {}}), json!({"operations": null}), json!({"operations": "x"})] {
        assert_eq!(world.app.post("batch", body.clone()).await.bad_field(), "operations", "{body}");
    }
    let more = json!({"operations": [op("track", image("u", 1))], "mode": "x"});
    assert_eq!(world.app.post("batch", more).await.bad_field(), "mode");
    for text in ["[]", "5", "{", ""] {
        let field = if text.is_empty() { "operations" } else { "body" };
        assert_eq!(world.app.send("POST", "batch", Some(text.to_owned())).await.bad_field(), field, "{text}");
    }
    assert_eq!(world.app.stands("u", "images").await, (0.0, 0.0), "nothing of a refused batch is done");
    let padded = |bytes: usize| {
        let text = tracks(100).to_string();
        format!("{}{}", " ".repeat(bytes - text.len()), text)
    };
    let exact = world.app.send("POST", "batch", Some(padded(256 * 1024))).await.expect(200);
    let results = exact["results"].as_array().unwrap();
    assert!(results.len() == 100 && results.iter().all(|result| result["status"] == 200), "{exact}");
    assert_eq!(world.app.stands("u", "images").await, (100.0, 0.0));
    for bytes in [256 * 1024 + 1, 300 * 1024] {
        let problem = world.app.send("POST", "batch", Some(padded(bytes))).await.problem(413, "payload_too_large");
        assert!(problem["detail"].as_str().unwrap().contains("262144"), "{problem}");
    }
    assert_eq!(world.app.stands("u", "images").await, (100.0, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_secret_key_may_send_a_batch() {
    let world = with_quota(20, &["u"]).await;
    let publishable = new_key(&world.admin, json!({"kind": "publishable", "mode": "test"})).await;
    let body = json!({"operations": [op("can-use", image("u", 1))]});
    for (key, status, code) in
        [(publishable.as_str(), 403, "forbidden_key"), (ROOT_KEY, 403, "forbidden_key"), ("", 401, "invalid_key")]
    {
        world.node.client(key).post("batch", body.clone()).await.problem(status, code);
    }
    world.app.post("batch", body).await.expect(200);
    world.app.get("batch").await.problem(405, "method_not_allowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_that_comes_twice_in_a_batch_counts_once() {
    let world = with_quota(20, &["u", "v"]).await;
    let results = batch(
        &world.app,
        json!([
            once("k", op("track", image("u", 2))),
            once("k", op("track", image("u", 2))),
            once("k", op("track", image("u", 3))),
            once("k", op("track", image("v", 2))),
            once("r", op("reserve", image("u", 1))),
            once("r", op("reserve", json!({"quantity": 1, "event": "image.a", "userId": "u"}))),
        ]),
    )
    .await;
    assert_eq!(statuses(&results), [200, 200, 409, 200, 200, 200], "{results:?}");
    assert_eq!(results[0]["body"]["eventId"], results[1]["body"]["eventId"]);
    assert_eq!(results[2]["body"]["code"], "idempotency_key_reused");
    assert_eq!(results[4]["body"]["reservationId"], results[5]["body"]["reservationId"]);
    let replayed: Vec<bool> = results.iter().map(|result| result["replayed"] == true).collect();
    assert_eq!(replayed, [false, true, false, false, false, true], "a key is its user's");
    assert_eq!(world.app.stands("u", "images").await, (2.0, 1.0));
    assert_eq!(world.app.stands("v", "images").await, (2.0, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_alone_and_an_operation_with_the_same_key_are_the_same_write() {
    let world = with_quota(20, &["u"]).await;
    let (_second, other) = world.another_node().await;
    let alone = world.app.once("k1").post("track", image("u", 2)).await.expect(200);
    let denied = json!({"userId": "u", "event": "image.a", "quantity": 30, "enforce": true});
    let alone_denied = world.app.once("k2").post("track", denied.clone()).await.problem(429, "limit_reached");
    let operations = json!([once("k1", op("track", image("u", 2))), once("k2", op("track", denied.clone()))]);
    let results = batch(&other, operations).await;
    assert_eq!(statuses(&results), [200, 429]);
    assert_eq!(results[0]["body"]["eventId"], alone["eventId"]);
    assert_eq!(results[1]["body"]["decision"], alone_denied["decision"]);
    assert!(results.iter().all(|result| result["replayed"] == true), "{results:?}");
    batch(&world.app, json!([once("k3", op("track", image("u", 5)))])).await;
    let repeated = other.once("k3").post("track", image("u", 5)).await;
    assert_eq!(repeated.header("idempotent-replayed"), Some("true"));
    other.once("k3").post("track", image("u", 6)).await.problem(409, "idempotency_key_reused");
    assert_eq!(world.app.stands("u", "images").await, (7.0, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_of_a_batch_covers_each_operation_without_its_own_key() {
    let world = with_quota(20, &["u"]).await;
    let operations =
        json!([op("track", image("u", 1)), once("own", op("track", image("u", 2))), op("reserve", image("u", 3))]);
    let keyed = world.app.once("whole");
    let first = batch(&keyed, operations.clone()).await;
    let second = batch(&keyed, operations).await;
    for (first, second) in first.iter().zip(&second) {
        assert!(first.get("replayed").is_none() && second["replayed"] == true, "{second}");
        assert_eq!(
            (&first["body"]["eventId"], &first["body"]["reservationId"]),
            (&second["body"]["eventId"], &second["body"]["reservationId"])
        );
    }
    assert_eq!(world.app.stands("u", "images").await, (3.0, 3.0));
    let changed = batch(&keyed, json!([op("track", image("u", 4))])).await;
    assert_eq!(changed[0]["body"]["code"], "idempotency_key_reused");
    let long = world.app.once(&"k".repeat(255));
    let refused = long.post("batch", json!({"operations": [op("track", image("u", 1))]})).await;
    assert_eq!(refused.bad_field(), "Idempotency-Key");
    assert_eq!(world.app.stands("u", "images").await, (3.0, 3.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_of_a_commit_and_a_release_of_one_reservation_counts() {
    let world = with_quota(20, &["u"]).await;
    let (_second, other) = world.another_node().await;
    for api in [&world.app, &other] {
        let (a, b) = (world.app.reserved(image("u", 1)).await, world.app.reserved(image("u", 1)).await);
        let on = |name: &str, id: &str| op(name, json!({"reservationId": id}));
        let order = json!([on("commit", &a), on("release", &a), on("commit", &a), on("release", &b), on("commit", &b)]);
        let results = batch(api, order).await;
        assert_eq!(statuses(&results), [200, 409, 200, 200, 409], "{results:?}");
        assert_eq!(results[1]["body"]["code"], "reservation_not_pending");
        assert_eq!(results[1]["body"]["reservationStatus"], "committed");
        assert_eq!((&results[2]["body"]["replayed"], &results[2]["replayed"]), (&json!(true), &json!(true)));
        assert_eq!(results[4]["body"]["reservationStatus"], "released");
    }
    assert_eq!(world.app.stands("u", "images").await, (2.0, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_reservation_does_not_hold_up_other_users() {
    let world = with_quota(20, &["u", "v"]).await;
    let id = world.app.reserved(image("u", 1)).await;
    let record = world.redis.run::<Vec<String>>(&["KEYS", "qg:*:op:*"]).await;
    world.redis.run::<()>(&["SET", &record[0], "damaged"]).await;
    // This node has not cached whose reservation it is.
    let (_node, other) = world.another_node().await;
    let results = batch(&other, json!([op("commit", json!({"reservationId": id})), op("track", image("v", 1))])).await;
    assert_eq!(statuses(&results), [500, 200], "{results:?}");
    assert_eq!(world.app.stands("v", "images").await, (1.0, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_of_one_user_keep_their_order_also_where_the_node_has_to_ask_first() {
    let users: Vec<String> = (0..12).map(|number| format!("u{number}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let world = with_quota(20, &names).await;
    for round in 0..4 {
        // The node has cached neither reservations nor users: a commit with figures takes more round trips than a
        // reserve.
        let (node, other) = world.another_node().await;
        let mut operations = Vec::new();
        for user in &names {
            let id = world.app.reserved(image(user, 15)).await;
            operations.push([
                op("reserve", image(user, 11)),
                op("commit", json!({"reservationId": id, "quantity": 0})),
                op("reserve", image(user, 11)),
                op("release", json!({"reservationId": id})),
                op("reserve", image(user, 11)),
            ]);
        }
        // Users alternate, so that operations of one user are not adjacent.
        let operations: Vec<Value> =
            (0..5).flat_map(|place| operations.iter().map(move |of| of[place].clone())).collect();
        let results = batch(&other, json!(operations)).await;
        for (place, user) in names.iter().enumerate() {
            let of: Vec<&Value> = (0..5).map(|step| &results[step * names.len() + place]).collect();
            let reported: Vec<&Value> = [0, 2, 4].iter().map(|step| &of[*step]["body"]["allowed"]).collect();
            assert_eq!(reported, [false, true, false], "{user} in round {round}: {of:?}");
            assert_eq!((&of[1]["status"], &of[3]["status"]), (&json!(200), &json!(409)));
            world.app.release(of[2]["body"]["reservationId"].as_str().unwrap()).await;
        }
        node.stop().await;
    }
}

/// How often Redis has read from its connections.
async fn reads(redis: &Redis) -> u64 {
    let text: String = redis.run(&["INFO", "stats"]).await;
    let count = text.lines().find_map(|line| line.strip_prefix("total_reads_processed:")).unwrap();
    count.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operations_of_a_batch_reach_redis_together() {
    let users: Vec<String> = (0..100).map(|number| format!("u{number}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let world = with_quota(1_000, &names).await;
    let reserves = || json!(names.iter().map(|user| op("reserve", image(user, 1))).collect::<Vec<_>>());
    batch(&world.app, reserves()).await;
    let before = reads(&world.redis).await;
    let results = batch(&world.app, reserves()).await;
    let commits: Vec<Value> =
        results.iter().map(|result| op("commit", json!({"reservationId": result["body"]["reservationId"]}))).collect();
    batch(&world.app, json!(commits)).await;
    let reads = reads(&world.redis).await - before;
    // Redis reads at most 16 KiB at a time; the remaining reads come from background work of the nodes.
    assert!(reads < 60, "{reads} reads of Redis for 200 operations");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_many_items_is_decided_in_parts_and_in_order() {
    let users: Vec<String> = (0..100).map(|number| format!("u{}", number % 40)).collect();
    let mut names: Vec<&str> = users.iter().map(String::as_str).collect();
    let world = with_quota(60, &names[..40]).await;
    let items = vec![json!({"event": "image.a", "quantity": 2}); 10];
    let operations: Vec<Value> =
        names.iter().map(|user| json!({"op": "reserve", "userId": user, "items": items})).collect();
    let results = batch(&world.app, json!(operations)).await;
    assert!(results.iter().all(|result| result["body"]["allowed"] == true), "{results:?}");
    names.truncate(20);
    for user in names {
        assert_eq!(world.app.stands(user, "images").await, (0.0, 60.0), "{user}: its three reserves");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_are_under_way_are_bounded_per_key() {
    let redis = Redis::start().await;
    let node = Running::with_limits(&redis.url(), Limits { reads_of_key: 0, ..Limits::default() }).await;
    let key = new_key(&node.client(ROOT_KEY), json!({"kind": "secret", "mode": "test"})).await;
    let answer = node.client(&key).post("batch", json!({"operations": [op("can-use", image("u", 1))]})).await;
    assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), (Some("1"), Some("true")));
    let problem = answer.problem(429, "too_many_batches");
    assert_eq!(problem["detail"], "At most 16 batches can run at the same time per key. Retry later.");
}

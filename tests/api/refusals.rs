//! Every row of the error table whose feature exists, and bad input that writes nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{ROOT_KEY, Redis, Running, START, World, eventually, monthly, new_key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_code_of_the_error_table_is_reached() {
    let world = World::frozen().await;
    let (app, admin) = (&world.app, &world.admin);
    admin.plan("p", monthly(2)).await;
    app.subscribe("u", "p").await;
    let nobody = world.node.client("");

    nobody.post("reserve", json!({})).await.problem(401, "invalid_key");
    world.node.client("sk_test_guess").get("plans").await.problem(401, "invalid_key");
    admin.post("reserve", json!({"userId": "u", "event": "image.a"})).await.problem(403, "forbidden_key");
    app.put("plans/p", monthly(3)).await.problem(403, "forbidden_key");
    app.get("nothing").await.problem(404, "not_found");
    nobody.get("/nothing").await.problem(404, "not_found");
    app.get("plans/none").await.problem(404, "not_found");
    app.get("reserve").await.problem(405, "method_not_allowed");
    app.post("reserve", json!({"userId": "u"})).await.problem(400, "invalid_request");
    let large = json!({"userId": "u", "event": "image.a", "metadata": {"x": "y".repeat(1 << 20)}});
    app.post("reserve", large).await.problem(413, "payload_too_large");
    let now = chrono::DateTime::parse_from_rfc3339(START).unwrap().timestamp_millis();
    let forged = format!("rsv_{:024x}{now:011x}00", 7);
    for never in ["none", "rsv_", forged.as_str()] {
        app.post("commit", json!({"reservationId": never})).await.problem(404, "not_found");
    }

    let id = app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    app.commit(&id).await;
    app.post("release", json!({"reservationId": id})).await.problem(409, "reservation_not_pending");
    let other = app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    let denied = app.post("reserve?onDeny=429", json!({"userId": "u", "event": "image.a"})).await;
    assert_eq!((denied.header("x-should-retry"), denied.header("retry-after")), (Some("false"), Some("2419200")));
    let denied = denied.problem(429, "limit_reached");
    assert_eq!(denied["decision"]["deniedBy"][0]["remaining"], 0);
    app.post("reserve?onDeny=429", json!({"userId": "v", "event": "image.a"})).await.problem(429, "no_subscription");
    let enforced = json!({"userId": "u", "event": "image.a", "enforce": true});
    app.post("track", enforced).await.problem(429, "limit_reached");

    let once = app.once("key-1");
    once.post("track", json!({"userId": "u", "event": "image.a"})).await.expect(200);
    once.post("track", json!({"userId": "u", "event": "image.b"})).await.problem(409, "idempotency_key_reused");

    let in_use = admin.delete("plans/p", None).await.problem(409, "plan_in_use");
    assert!(in_use["detail"].as_str().unwrap().starts_with("1 user is on plan"), "{in_use}");
    app.delete("subscriptions", Some(json!({"userId": "u"}))).await.expect(200);
    app.delete("subscriptions", Some(json!({"userId": "u"}))).await.problem(409, "already_canceled");
    app.delete("subscriptions", Some(json!({"userId": "v"}))).await.problem(404, "not_found");
    admin.with("If-Match", "\"1\"").put("plans/p", monthly(5)).await.problem(412, "version_conflict");
    assert_eq!(admin.delete("plans/p", None).await.status, 204);
    app.get("plans/p").await.problem(404, "not_found");

    app.freeze("2027-01-31T10:01:00Z").await;
    app.post("release", json!({"reservationId": other})).await.problem(410, "reservation_expired");
    app.post("commit", json!({"reservationId": other, "ifExpired": "reject"}))
        .await
        .problem(410, "reservation_expired");
    app.freeze("2027-01-31T10:16:00Z").await;
    app.post("commit", json!({"reservationId": other})).await.problem(410, "reservation_expired");
    app.post("commit", json!({"reservationId": id})).await.problem(410, "reservation_expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_callers_get_503_in_bounded_time_and_the_node_recovers_by_itself() {
    let mut redis = Redis::start().await;
    let node = Running::with(&redis.url(), Duration::from_millis(300)).await;
    let admin = node.client(ROOT_KEY);
    admin.plan("p", monthly(5)).await;
    let app = node.client(&new_key(&admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "p").await;
    let reserve = json!({"userId": "u", "event": "image.a"});
    app.reserved(reserve.clone()).await;
    redis.kill();
    for (path, body) in [("reserve", reserve.clone()), ("can-use", reserve.clone()), ("track", reserve.clone())] {
        let started = Instant::now();
        let refused = app.post(path, body).await;
        assert!(started.elapsed() < Duration::from_secs(5), "{path} took {:?}", started.elapsed());
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert!(!refused.text.contains("redis.sock"), "{}", refused.text);
        refused.problem(503, "store_unavailable");
    }
    app.get("usage?userId=u").await.problem(503, "store_unavailable");
    assert_eq!(app.get("/readyz").await.status, 503);
    assert_eq!(app.get("/healthz").await.status, 200);
    redis.start_again().await;
    eventually("the node answers again", || async { app.post("reserve", reserve.clone()).await.status == 200 }).await;
    assert_eq!(app.get("/readyz").await.status, 200);
}

/// The request with one field changed.
fn with(base: &Value, field: &str, value: Value) -> String {
    let mut body = base.clone();
    body[field] = value;
    body.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_names_the_field_and_writes_nothing() {
    let world = World::frozen().await;
    let plan = json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
        {"id": "images", "unit": "count", "quota": 9, "matches": [{"event": "image.*"}]},
        {"id": "tokens", "unit": "tokens", "quota": 9, "matches": [{"event": "llm.*"}]},
    ]});
    world.admin.plan("p", plan).await;
    world.app.subscribe("u", "p").await;
    let id = world.app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    let call = json!({"userId": "u", "event": "llm.chat"});
    let commit = json!({"reservationId": id});
    let subscription = json!({"userId": "u", "planId": "p"});
    let many: serde_json::Map<String, Value> = (0..33).map(|number| (format!("k{number}"), json!(1))).collect();
    let before = world.redis.dump("qg:*").await;
    let mut cases: Vec<(&str, String, &str)> = vec![
        ("reserve", "{".to_owned(), "body"),
        ("reserve", "[\"u\",\"image.a\",1,{},60]".to_owned(), "body"),
        ("reserve", "{\"userId\":\"u\",\"event\":\"llm.chat\",\"quantity\":NaN}".to_owned(), "body"),
        ("reserve", "{\"event\":\"llm.chat\"}".to_owned(), "userId"),
        ("commit", with(&commit, "quantity", json!(-1)), "quantity"),
        ("commit", with(&commit, "final", json!("no")), "final"),
        ("commit", with(&commit, "ifExpired", json!("pay")), "ifExpired"),
        ("commit", with(&commit, "final", json!(false)), "quantity"),
        ("extend", commit.to_string(), "ttlSeconds"),
        ("extend", with(&commit, "ttlSeconds", json!(0)), "ttlSeconds"),
        ("extend", with(&commit, "quantity", json!(0)), "quantity"),
        ("release", with(&commit, "reason", json!("x".repeat(300))), "reason"),
        ("subscriptions", with(&subscription, "planId", json!("none")), "planId"),
        ("subscriptions", with(&subscription, "startedAt", json!("soon")), "startedAt"),
        ("subscriptions", with(&subscription, "startedAt", json!("2030-01-01T00:00:00Z")), "startedAt"),
        ("subscriptions", with(&subscription, "trial", json!(true)), "trial"),
    ];
    for path in ["reserve", "can-use", "track"] {
        for (field, value) in [
            ("quantity", json!(0)),
            ("quantity", json!(-1)),
            ("quantity", json!(0.5)),
            ("quantity", json!("many")),
            ("quantity", json!(9_007_199_254_740_992_u64)),
            ("quantity", json!("1e400")),
            ("userId", json!("a\nb")),
            ("userId", json!("x".repeat(300))),
            ("userId", json!("")),
            ("userId", json!(7)),
            ("event", json!("x".repeat(129))),
            ("metadata", Value::Object(many.clone())),
            ("metadata", json!({"a": {"b": 1}})),
            ("metadata", json!({"a": "x".repeat(257)})),
            ("surprise", json!(1)),
        ] {
            cases.push((path, with(&call, field, value), field));
        }
        cases.push((path, "{\"userId\":\"u\",\"event\":\"llm.chat\",\"quantity\":1e400}".to_owned(), "quantity"));
    }
    for (path, body, field) in cases {
        let answer = world.app.send("POST", path, Some(body.clone())).await;
        assert_eq!(answer.bad_field(), field, "{path} {body}");
    }
    let ttl = |seconds: u64| with(&call, "ttlSeconds", json!(seconds));
    for body in [ttl(0), ttl(3601)] {
        assert_eq!(world.app.send("POST", "reserve", Some(body)).await.bad_field(), "ttlSeconds");
    }
    assert_eq!(world.redis.dump("qg:*").await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_user_ids_never_share_a_counter() {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(9)).await;
    let users = ["a}:b{", "a:b", "a%3Ab", "a b", "{x}", "2001:db8::1", "ä"];
    for (number, user) in users.iter().enumerate() {
        world.app.subscribe(user, "p").await;
        let call = json!({"userId": user, "event": "image.a", "quantity": number + 1});
        world.app.post("track", call).await.expect(200);
    }
    for (number, user) in users.iter().enumerate() {
        let used = world.app.stands(&urlencode(user), "images").await.0;
        assert_eq!(used, (number + 1) as f64, "{user}");
    }
}

fn urlencode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modes_sandboxes_and_apps_never_meet() {
    let world = World::new().await;
    world.admin.plan("p", monthly(9)).await;
    world.admin.post("apps", json!({"id": "acme"})).await.expect(201);
    let acme = world.admin.with("X-App", "acme");
    acme.plan("p", monthly(9)).await;
    world.admin.with("X-App", "none").get("plans").await.problem(404, "not_found");
    let mut apps = Vec::new();
    for (admin, key) in [
        (&world.admin, json!({"kind": "secret", "mode": "live"})),
        (&world.admin, json!({"kind": "secret", "mode": "test"})),
        (&world.admin, json!({"kind": "secret", "mode": "test", "sandbox": "ci"})),
        (&acme, json!({"kind": "secret", "mode": "live"})),
        (&acme, json!({"kind": "secret", "mode": "test"})),
    ] {
        apps.push(world.node.client(&new_key(admin, key).await));
    }
    for (number, app) in apps.iter().enumerate() {
        app.post("reserve?onDeny=429", json!({"userId": "u", "event": "image.a"}))
            .await
            .problem(429, "no_subscription");
        app.subscribe("u", "p").await;
        app.post("track", json!({"userId": "u", "event": "image.a", "quantity": number + 1})).await.expect(200);
    }
    for (number, app) in apps.iter().enumerate() {
        assert_eq!(app.stands("u", "images").await.0, (number + 1) as f64);
    }
    apps[0].with("X-Mode", "test").get("plans").await.problem(403, "forbidden_key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_known_at_once_and_revoked_everywhere_within_a_second() {
    let world = World::new().await;
    let (second, _) = world.another_node().await;
    let created =
        world.admin.post("keys", json!({"kind": "secret", "mode": "test", "metadata": {"team": "red"}})).await;
    let created = created.expect(201);
    let key = created["key"].as_str().unwrap();
    let there = second.client(key);
    there.get("plans").await.expect(200);
    let listed = world.admin.get("keys").await;
    assert!(!listed.text.contains(key), "only a prefix is listed");
    // The poll has taken it over, so that the revocation is tested and not the first look.
    eventually("the other node has polled", || async { there.get("plans").await.status == 200 }).await;
    let path = format!("keys/{}", created["id"].as_str().unwrap());
    assert_eq!(world.admin.delete(&path, None).await.status, 204);
    let revoked = Instant::now();
    world.node.client(key).get("plans").await.problem(401, "invalid_key");
    eventually("the key is revoked there", || async { there.get("plans").await.status == 401 }).await;
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_key_may_do_what_it_is_meant_for() {
    let world = World::new().await;
    world.admin.plan("p", monthly(9)).await;
    let key = async |body: Value| world.node.client(&new_key(&world.admin, body).await);
    let role = |role: &str| json!({"kind": "admin", "role": role});
    let secret = key(json!({"kind": "secret", "mode": "test"})).await;
    let publishable = key(json!({"kind": "publishable", "mode": "test"})).await;
    let (viewer, support, approver, admin) =
        (key(role("viewer")).await, key(role("support")).await, key(role("approver")).await, key(role("admin")).await);
    let nobody = world.node.client("");
    let callers = [&nobody, &secret, &publishable, &viewer, &support, &approver, &admin, &world.admin];
    // none, sk, pk, viewer, support, approver, admin, root: 1 may, 0 may not
    for (method, path, allowed) in [
        ("POST", "reserve", "01000000"),
        ("POST", "commit", "01000000"),
        ("POST", "release", "01000000"),
        ("POST", "extend", "01000000"),
        ("POST", "track", "01000000"),
        ("POST", "can-use", "01000000"),
        ("GET", "usage?userId=u", "01111111"),
        ("POST", "subscriptions", "01001111"),
        ("DELETE", "subscriptions", "01001111"),
        ("GET", "plans", "01111111"),
        ("GET", "plans/p", "01111111"),
        ("PUT", "plans/q", "00000011"),
        ("DELETE", "plans/none", "00000011"),
        ("GET", "keys", "00011111"),
        ("POST", "keys", "00000011"),
        ("DELETE", "keys/none", "00000011"),
        ("GET", "apps", "00000001"),
        ("POST", "apps", "00000001"),
    ] {
        let body = match (method, path) {
            ("GET", _) => None,
            (_, "reserve" | "track" | "can-use") => Some(json!({"userId": "u", "event": "image.a"})),
            (_, "commit" | "release") => Some(json!({"reservationId": "none"})),
            (_, "extend") => Some(json!({"reservationId": "none", "ttlSeconds": 5})),
            ("POST", "subscriptions") => Some(json!({"userId": "u", "planId": "p"})),
            (_, "subscriptions") => Some(json!({"userId": "v"})),
            (_, "keys") => Some(json!({"kind": "admin", "role": "viewer"})),
            (_, "apps") => Some(json!({"id": "acme"})),
            ("PUT", _) => Some(json!({"periodType": "daily", "groups": []})),
            _ => None,
        };
        for (caller, allowed) in callers.iter().zip(allowed.chars()) {
            let answer = caller.send(method, path, body.as_ref().map(Value::to_string)).await;
            let code = answer.json["code"].as_str().unwrap_or_default();
            let refused = matches!(code, "invalid_key" | "forbidden_key");
            assert_eq!(refused, allowed == '0', "{method} {path} with {}: {}", caller.key, answer.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_read_from_their_origins_and_with_the_users_token() {
    use hmac::{Hmac, KeyInit, Mac};
    let world = World::new().await;
    let new = json!({"kind": "publishable", "mode": "test", "origins": ["https://app.example.com"], "requireUserToken": true});
    let created = world.admin.post("keys", new).await.expect(201);
    let browser = world.node.client(created["key"].as_str().unwrap());
    let at_home = browser.with("Origin", "https://app.example.com");
    let mut mac =
        Hmac::<sha2::Sha256>::new_from_slice(created["userTokenSecret"].as_str().unwrap().as_bytes()).unwrap();
    mac.update(b"u_42");
    let token = hex::encode(mac.finalize().into_bytes());
    let read = at_home.with("X-User-Token", &token).get("usage?userId=u_42").await;
    assert_eq!(read.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(read.expect(200)["planId"], Value::Null);
    at_home.with("X-User-Token", &token).get("usage?userId=u_43").await.problem(403, "forbidden_key");
    at_home.get("usage?userId=u_42").await.problem(403, "forbidden_key");
    let elsewhere = browser.with("Origin", "https://evil.example").with("X-User-Token", &token);
    elsewhere.get("usage?userId=u_42").await.problem(403, "forbidden_key");
    let preflight =
        world.node.client("").with("Origin", "https://app.example.com").send("OPTIONS", "usage", None).await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (204, Some("GET")));
}

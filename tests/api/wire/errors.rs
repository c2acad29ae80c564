//! Every error code of the specification, over HTTP.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, ROOT_KEY, Running, World, eventually, in_time, monthly, new_key};

async fn refused(api: &Api, method: &str, path: &str, body: Value, status: u16, code: &str) -> Value {
    let body = (!body.is_null()).then(|| body.to_string());
    let answer = api.send(method, path, body).await;
    assert_eq!((answer.status, answer.json["code"].as_str()), (status, Some(code)), "{method} {path}: {}", answer.text);
    let problem = answer.problem(status, code);
    assert_eq!(problem["type"], format!("https://quotagate.dev/problems/{code}"));
    assert!(!problem["title"].as_str().unwrap().is_empty() && !problem["detail"].as_str().unwrap().is_empty());
    problem
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_that_need_no_history() {
    let world = World::frozen().await;
    world.admin.plan("one", monthly(20)).await;
    world.app.subscribe("u", "one").await;
    let created = world.admin.post("keys", json!({"kind": "secret", "mode": "test"})).await.expect(201);
    let revoked = world.node.client(created["key"].as_str().unwrap());
    revoked.get("plans").await.expect(200);
    world.admin.delete(&format!("keys/{}", created["id"].as_str().unwrap()), None).await.expect(204);
    let [nobody, garbage, unknown, long] =
        ["", "garbage", "sk_test_0123456789abcdef0123456789abcdef", &format!("sk_{}", "x".repeat(5000))]
            .map(|key| world.node.client(key));
    let x_api_key = nobody.with("x-api-key", "sk_live_nobody");
    let publishable = world.node.client(&new_key(&world.admin, json!({"kind": "publishable", "mode": "test"})).await);
    let (app, admin) = (&world.app, &world.admin);
    let reserve = json!({"userId": "u", "event": "image.a"});
    let now_ms = 1_801_389_600_000_i64;
    let never = json!({"reservationId": format!("rsv_0123456789abcdef01234567{now_ms:011x}00")});
    for (api, method, path, body, status, code) in [
        (app, "POST", "reserve", json!({}), 400, "invalid_request"),
        (&nobody, "POST", "reserve", reserve.clone(), 401, "invalid_key"),
        (&nobody, "GET", "usage?userId=u", Value::Null, 401, "invalid_key"),
        (&garbage, "POST", "reserve", reserve.clone(), 401, "invalid_key"),
        (&unknown, "POST", "reserve", reserve.clone(), 401, "invalid_key"),
        (&long, "POST", "reserve", reserve.clone(), 401, "invalid_key"),
        (&x_api_key, "GET", "plans", Value::Null, 401, "invalid_key"),
        (&revoked, "POST", "reserve", reserve.clone(), 401, "invalid_key"),
        (&revoked, "GET", "plans", Value::Null, 401, "invalid_key"),
        (&publishable, "POST", "reserve", reserve.clone(), 403, "forbidden_key"),
        (app, "PUT", "plans/two", monthly(1), 403, "forbidden_key"),
        (admin, "POST", "reserve", reserve.clone(), 403, "forbidden_key"),
        (admin, "PUT", "test-clock", json!({"now": "2030-01-01T00:00:00Z"}), 403, "forbidden_key"),
        (app, "GET", "/nowhere", Value::Null, 404, "not_found"),
        (app, "GET", "/api/v1", Value::Null, 404, "not_found"),
        (app, "GET", "/api/v2/usage?userId=u", Value::Null, 404, "not_found"),
        (app, "POST", "reserves", reserve.clone(), 404, "not_found"),
        (app, "POST", "reserve/", reserve.clone(), 404, "not_found"),
        (app, "GET", "plans/nowhere", Value::Null, 404, "not_found"),
        (app, "GET", "plans/a%20b", Value::Null, 404, "not_found"),
        (admin, "DELETE", "plans/nowhere", Value::Null, 404, "not_found"),
        (admin, "DELETE", "keys/nowhere", Value::Null, 404, "not_found"),
        (app, "POST", "commit", never.clone(), 404, "not_found"),
        (app, "POST", "release", never.clone(), 404, "not_found"),
        (app, "POST", "extend", json!({"reservationId": never["reservationId"], "ttlSeconds": 5}), 404, "not_found"),
        (app, "POST", "commit", json!({"reservationId": ""}), 404, "not_found"),
        (app, "POST", "commit", json!({"reservationId": "u"}), 404, "not_found"),
        (app, "POST", "commit", json!({"reservationId": "rsv_\u{0}"}), 404, "not_found"),
        (app, "POST", "commit", json!({"reservationId": "x".repeat(50_000)}), 404, "not_found"),
        (app, "DELETE", "subscriptions", json!({"userId": "stranger"}), 404, "not_found"),
        (&admin.with("x-app", "nowhere"), "GET", "plans", Value::Null, 404, "not_found"),
        (&admin.with("x-mode", "test/nowhere"), "GET", "usage?userId=u", Value::Null, 404, "not_found"),
        (app, "GET", "reserve", Value::Null, 405, "method_not_allowed"),
        (app, "PUT", "reserve", reserve.clone(), 405, "method_not_allowed"),
        (app, "POST", "plans/one", json!({}), 405, "method_not_allowed"),
        (app, "DELETE", "usage", Value::Null, 405, "method_not_allowed"),
        (app, "POST", "/healthz", Value::Null, 405, "method_not_allowed"),
    ] {
        refused(api, method, path, body, status, code).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_nothing_said_is_done_by_a_bare_call_and_what_is_missing_of_others_is_named() {
    let world = World::frozen().await;
    let cap = json!({"id": "cap", "unit": "count", "quota": 0, "enforcement": "approval", "matches": [{"event": "*"}]});
    world.admin.put("policies/cap", json!({"periodType": "monthly", "groups": [cap]})).await.expect(200);
    world.admin.plan("one", monthly(20)).await;
    world.app.subscribe("u", "one").await;
    let denied = world.app.reserve(json!({"userId": "u", "event": "image.a"})).await;
    let request = denied["deniedBy"][0]["approval"]["id"].as_str().unwrap().to_owned();
    world.admin.delete("policies/cap", None).await.expect(204);
    world.admin.put("policies/other", json!({"groups": []})).await.expect(200);
    let id = world.app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    let operator = world.admin.with("x-mode", "test");
    let bare =
        async |path: &str, body: &str| operator.send("POST", path, (!body.is_empty()).then(|| body.into())).await;
    for path in ["users/u/block", "users/u/unblock", "users/u/reset"] {
        assert_eq!(bare(path, "").await.expect(200)["changed"], true, "{path}");
    }
    assert_eq!(bare(&format!("reservations/{id}/release"), "").await.expect(200)["status"], "released");
    assert_eq!(bare(&format!("approvals/{request}/reject"), " \n").await.expect(200)["status"], "rejected");
    assert_eq!(bare(&format!("approvals/{request}/reopen"), "").await.expect(200)["status"], "open");
    bare("policies/other/review", "").await.expect(200);
    for (path, field) in [("grants", "groupId"), ("subscriptions", "userId"), ("keys", "kind")] {
        assert_eq!(bare(path, "").await.bad_field(), field);
    }
    assert_eq!(operator.send("DELETE", "subscriptions", None).await.bad_field(), "userId");
    let once = operator.once("bare or not");
    once.send("POST", "users/u/block", None).await.expect(200);
    let repeated = once.post("users/u/block", json!({})).await;
    assert_eq!((repeated.status, repeated.header("idempotent-replayed")), (200, Some("true")), "{}", repeated.text);
    let app = world.admin.put("app", json!({"defaultPlanId": null, "maxScopeValues": 77})).await.expect(200);
    for path in ["app", "configuration", "plans/one", "policies/other"] {
        assert_eq!(world.admin.send("PUT", path, None).await.bad_field(), "body", "{path}");
    }
    assert_eq!(world.admin.get("app").await.expect(200), app, "nothing said leaves a whole thing as it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_method_is_answered_with_the_allowed_ones() {
    let world = World::new().await;
    for (method, path, allowed) in [
        ("GET", "reserve", "POST"),
        ("POST", "plans/p", "DELETE, GET, OPTIONS, PUT"),
        ("PATCH", "usage", "GET, OPTIONS"),
        ("PUT", "subscriptions", "DELETE, POST"),
        ("POST", "/healthz", "GET"),
    ] {
        let answer = world.app.send(method, path, None).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_ids_are_unknown_and_old_ones_have_expired() {
    let world = World::frozen().await;
    world.admin.plan("one", monthly(20)).await;
    world.app.subscribe("u", "one").await;
    let id = world.app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    let created_ms = i64::from_str_radix(&id[20..31], 16).unwrap();
    let (name, bucket) = (&id[4..20], &id[31..]);
    let forged = |name: &str, ms: i64, bucket: &str| format!("rsv_{name}{ms:011x}{bucket}");
    // As random names are written, and as those that are derived from an idempotency key.
    let (stranger, derived) = ("0123-abcXYZ_4567", "0123456789abcdef01234567");
    for (id, status, code) in [
        (forged(derived, created_ms, bucket), 404, "not_found"),
        (forged(derived, 0, bucket), 410, "reservation_expired"),
        (forged(&derived.to_uppercase(), 0, bucket), 404, "not_found"),
        (forged(&stranger.replace('-', "+"), 0, bucket), 404, "not_found"),
        (forged(stranger, created_ms, bucket), 404, "not_found"),
        (forged(stranger, created_ms - 15 * 60 * 1000, bucket), 404, "not_found"),
        (forged(stranger, created_ms - 15 * 60 * 1000 - 1, bucket), 410, "reservation_expired"),
        (forged(stranger, 0, bucket), 410, "reservation_expired"),
        (forged(stranger, 0xfff_ffff_ffff, bucket), 404, "not_found"),
        (forged(name, created_ms, "01"), 404, "not_found"),
        (forged(name, created_ms, "ff"), 404, "not_found"),
        (forged(name, created_ms + 1, bucket), 404, "not_found"),
        (id.to_uppercase(), 404, "not_found"),
        (format!("{id}0"), 404, "not_found"),
        (format!("{id} "), 404, "not_found"),
    ] {
        for (path, body) in [
            ("commit", json!({"reservationId": id})),
            ("commit", json!({"reservationId": id, "quantity": 1})),
            ("release", json!({"reservationId": id})),
            ("extend", json!({"reservationId": id, "ttlSeconds": 60})),
            ("track", json!({"userId": "u", "event": "image.a.refund", "metadata": {"reservationId": id}})),
        ] {
            refused(&world.app, "POST", path, body, status, code).await;
        }
    }
    assert_eq!(world.app.stands("u", "images").await, (0.0, 1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_beyond_64_kib_is_refused_whatever_is_in_it() {
    let world = World::new().await;
    let mib = 1 << 20;
    let call = r#""userId":"u","event":"image.a""#;
    for (api, method, path, body) in [
        (&world.app, "POST", "reserve", format!(r#"{{{call},"metadata":{{"a":"{}"}}}}"#, "x".repeat(mib))),
        (&world.app, "POST", "reserve", format!(r#"{{"metadata":{{"a":"{}"}},{call}}}"#, "x".repeat(mib))),
        (&world.app, "POST", "track", format!("{{{}{call}}}", " ".repeat(mib))),
        (&world.app, "POST", "commit", "[".repeat(mib)),
        (&world.app, "POST", "can-use", "\0".repeat(64 * 1024 + 1)),
        (&world.app, "POST", "subscriptions", "x".repeat(64 * 1024 + 1)),
        (&world.app, "DELETE", "subscriptions", "x".repeat(mib)),
        (&world.admin, "PUT", "plans/p", "{".repeat(mib)),
        (&world.admin, "POST", "keys", "\"".repeat(mib)),
    ] {
        for _ in 0..3 {
            api.send(method, path, Some(body.clone())).await.problem(413, "payload_too_large");
        }
    }
    let plan = monthly(1).to_string();
    let largest = format!("{plan}{}", " ".repeat(64 * 1024 - plan.len()));
    world.admin.send("PUT", "plans/p", Some(largest)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_ends_once() {
    let world = World::frozen().await;
    world.admin.plan("one", monthly(20)).await;
    world.app.subscribe("u", "one").await;
    let app = &world.app;
    let [committed, released, held] = [
        app.reserved(json!({"userId": "u", "event": "image.a"})).await,
        app.reserved(json!({"userId": "u", "event": "image.a"})).await,
        app.reserved(json!({"userId": "u", "event": "image.a"})).await,
    ];
    app.commit(&committed).await;
    app.release(&released).await;
    let refund =
        |id: &str| json!({"userId": "u", "event": "image.a.refund", "quantity": 1, "metadata": {"reservationId": id}});
    for (path, body) in [
        ("release", json!({"reservationId": committed})),
        ("commit", json!({"reservationId": released})),
        ("commit", json!({"reservationId": released, "quantity": 1})),
        ("commit", json!({"reservationId": committed, "quantity": 1, "final": false})),
        ("extend", json!({"reservationId": committed, "ttlSeconds": 60})),
        ("extend", json!({"reservationId": released, "quantity": 1})),
        ("track", refund(&held)),
    ] {
        refused(app, "POST", path, body, 409, "reservation_not_pending").await;
    }
    assert_eq!(app.stands("u", "images").await, (1.0, 1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_can_only_be_charged_and_only_within_the_grace() {
    let world = World::frozen().await;
    world.admin.plan("one", monthly(20)).await;
    world.app.subscribe("u", "one").await;
    let app = &world.app;
    let id = app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    let late = app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    let kept = app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    app.commit(&kept).await;
    let gone = |path: &'static str, body: Value| async move {
        refused(app, "POST", path, body, 410, "reservation_expired").await
    };
    let refund = json!({"userId": "u", "event": "image.a.refund", "metadata": {"reservationId": kept}});
    app.freeze("2027-01-31T10:01:00Z").await;
    for (path, body) in [
        ("release", json!({"reservationId": id})),
        ("extend", json!({"reservationId": id, "ttlSeconds": 60})),
        ("extend", json!({"reservationId": id, "quantity": 1})),
        ("commit", json!({"reservationId": id, "ifExpired": "reject"})),
        ("commit", json!({"reservationId": id, "ifExpired": "reject", "quantity": 3})),
    ] {
        let problem = gone(path, body).await;
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("is still charged, as late") && !detail.contains("are over"), "{detail}");
    }
    assert_eq!(app.stands("u", "images").await, (1.0, 0.0), "expired holds count no more");
    app.freeze("2027-01-31T10:15:59Z").await;
    let settled = app.commit(&late).await;
    assert_eq!((&settled["status"], &settled["late"]), (&json!("committed"), &json!(true)));
    app.freeze("2027-01-31T10:16:00Z").await;
    for (path, body) in [
        ("commit", json!({"reservationId": id})),
        ("commit", json!({"reservationId": id, "quantity": 2})),
        ("release", json!({"reservationId": id})),
        ("extend", json!({"reservationId": id, "ttlSeconds": 60})),
        ("track", refund),
    ] {
        gone(path, body).await;
    }
    app.freeze("2027-03-01T00:00:00Z").await;
    gone("commit", json!({"reservationId": id})).await;
    gone("release", json!({"reservationId": late})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_with_users_is_not_deleted() {
    let world = World::frozen().await;
    let (admin, app) = (&world.admin, &world.app);
    admin.plan("one", monthly(20)).await;
    let live = world.node.client(&new_key(admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "one").await;
    app.subscribe("v", "one").await;
    live.subscribe("u", "one").await;
    for (cancels, expected) in [(app, "3 users are"), (app, "2 users are"), (&live, "1 user is")] {
        let problem = refused(admin, "DELETE", "plans/one", Value::Null, 409, "plan_in_use").await;
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{problem}");
        let user = if expected.starts_with('2') { "v" } else { "u" };
        app.reserve(json!({"userId": "v", "event": "image.a"})).await;
        cancels.delete("subscriptions", Some(json!({"userId": user}))).await.expect(200);
    }
    admin.delete("plans/one", None).await.expect(204);
    refused(admin, "GET", "plans/one", Value::Null, 404, "not_found").await;
    assert_eq!(app.post("subscriptions", json!({"userId": "u", "planId": "one"})).await.bad_field(), "planId");
    admin.plan("one", monthly(3)).await;
    app.subscribe("u", "one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_ends_once() {
    let world = World::frozen().await;
    world.admin.plan("one", monthly(20)).await;
    world.app.subscribe("u", "one").await;
    world.app.subscribe("v", "one").await;
    let app = &world.app;
    app.delete("subscriptions", Some(json!({"userId": "u"}))).await.expect(200);
    refused(app, "DELETE", "subscriptions", json!({"userId": "u"}), 409, "already_canceled").await;
    let later = json!({"userId": "v", "endsAt": "2027-02-01T00:00:00Z"});
    app.delete("subscriptions", Some(later.clone())).await.expect(200);
    assert_eq!(app.delete("subscriptions", Some(later.clone())).await.expect(200)["changed"], false);
    app.freeze("2027-02-01T00:00:00Z").await;
    refused(app, "DELETE", "subscriptions", later, 409, "already_canceled").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_match_keeps_writers_from_overwriting_each_other() {
    let world = World::new().await;
    let admin = &world.admin;
    let put = |tag: &str, quota: u64| {
        let api = admin.with("if-match", tag);
        async move { api.put("plans/one", monthly(quota)).await }
    };
    put("*", 1).await.problem(412, "version_conflict");
    put("\"7\"", 1).await.problem(412, "version_conflict");
    let first = admin.put("plans/one", monthly(1)).await;
    let first = first.header("etag").unwrap().to_owned();
    let second = put(&first, 2).await;
    assert_eq!(second.status, 200, "{}", second.text);
    let second = second.header("etag").unwrap().to_owned();
    assert_ne!(first, second);
    for stale in [first.as_str(), "\"0\"", "7"] {
        put(stale, 3).await.problem(412, "version_conflict");
        admin.with("if-match", stale).delete("plans/one", None).await.problem(412, "version_conflict");
    }
    for wrong in ["nonsense", "", "\"\"", "\"7", "\"7\", \"8\"", "W/\"7\"", "-7", "99999999999999999999999"] {
        assert_eq!(put(wrong, 3).await.bad_field(), "If-Match", "{wrong}");
        assert_eq!(admin.with("if-match", wrong).delete("plans/one", None).await.bad_field(), "If-Match", "{wrong}");
    }
    let answer = admin.get("plans/one").await;
    assert_eq!((answer.header("etag"), &answer.json["groups"][0]["quota"]), (Some(second.as_str()), &json!(2)));
    put("*", 4).await.expect(200);
    let tag = admin.get("plans/one").await.header("etag").unwrap().to_owned();
    admin.with("if-match", &tag).delete("plans/one", None).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_is_a_429_if_the_caller_asks_for_it() {
    let world = World::frozen().await;
    let group = |id: &str, event: &str, period: &str, more: Value| {
        let mut group =
            json!({"id": id, "unit": "count", "quota": 1, "periodType": period, "matches": [{"event": event}]});
        group.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        group
    };
    world
        .admin
        .plan(
            "p",
            json!({"periodAnchor": "calendar", "groups": [
                group("minute", "minute.*", "minute", json!({})),
                group("monthly", "monthly.*", "monthly", json!({})),
                group("life", "life.*", "lifetime", json!({})),
                group("flight", "flight.*", "concurrent", json!({})),
                group("zero", "zero.*", "minute", json!({"quota": 0})),
                group("small", "small.*", "minute", json!({"quota": 100, "maxPerCall": 2})),
                group("priced", "llm.*", "minute", json!({"covers": ["llm.*"], "matches": [{"event": "llm.*", "metadata": {"model": "a"}}]})),
            ]}),
        )
        .await;
    world.app.subscribe("u", "p").await;
    for event in ["minute.a", "monthly.a", "life.a", "flight.a"] {
        world.app.reserved(json!({"userId": "u", "event": event})).await;
    }
    let denied = "limit_reached";
    for (user, event, quantity, code, retry_after, should_retry) in [
        ("u", "minute.a", 1, denied, Some("60"), "true"),
        ("u", "minute.a", 2, denied, None, "false"),
        ("u", "monthly.a", 1, denied, Some("50400"), "false"),
        ("u", "life.a", 1, denied, None, "false"),
        ("u", "flight.a", 1, denied, Some("60"), "true"),
        ("u", "zero.a", 1, denied, None, "false"),
        ("u", "small.a", 3, "call_too_large", None, "false"),
        ("u", "llm.a", 1, "uncovered_event", None, "false"),
        ("u", "typo.a", 1, "unmatched_event", None, "false"),
        ("stranger", "minute.a", 1, "no_subscription", None, "false"),
    ] {
        let body = json!({"userId": user, "event": event, "quantity": quantity});
        let reported = world.app.post("reserve?onDeny=200", body.clone()).await;
        assert_eq!((reported.status, &reported.json["reasons"]), (200, &json!([code])), "{event}");
        let answer = world.app.post("reserve?onDeny=429", body).await;
        let headers = (answer.header("retry-after"), answer.header("x-should-retry"));
        assert_eq!(headers, (retry_after, Some(should_retry)), "{event} {quantity}");
        assert_eq!(reported.header("retry-after"), retry_after, "{event} {quantity}");
        let problem = answer.problem(429, code);
        assert_eq!(problem["decision"], reported.json, "{event}");
    }
    let body = json!({"userId": "u", "event": "monthly.a", "enforce": true});
    let answer = world.app.post("track", body).await;
    assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), (Some("50400"), Some("false")));
    answer.problem(429, denied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_every_call_answers_503_and_works_again_when_it_is_back() {
    let mut world = World::new().await;
    world.admin.plan("one", monthly(20)).await;
    world.app.subscribe("u", "one").await;
    let node = Running::with(&world.redis.url(), Duration::from_millis(300)).await;
    let (app, admin) = (node.client(&world.app.key), node.client(ROOT_KEY));
    let id = world.app.reserved(json!({"userId": "u", "event": "image.a", "ttlSeconds": 3600})).await;
    // This node waits only briefly for Redis, so any pause of the machine can make a call fail.
    eventually("the node answers", || async { app.get("plans").await.status == 200 }).await;
    let calls = [
        (&app, "POST", "reserve", json!({"userId": "u", "event": "image.a"})),
        (&app, "POST", "reserve", json!({"userId": "new", "event": "image.a"})),
        (&app, "POST", "can-use", json!({"userId": "u", "event": "image.a"})),
        (&app, "POST", "track", json!({"userId": "u", "event": "image.a"})),
        (&app, "POST", "commit", json!({"reservationId": id, "quantity": 1})),
        (&app, "POST", "release", json!({"reservationId": id})),
        (&app, "POST", "extend", json!({"reservationId": id, "ttlSeconds": 60})),
        (&app, "GET", "usage?userId=u", Value::Null),
        (&app, "POST", "subscriptions", json!({"userId": "u", "planId": "one"})),
        (&app, "DELETE", "subscriptions", json!({"userId": "u"})),
        (&app, "GET", "plans", Value::Null),
        (&app, "GET", "test-clock", Value::Null),
        (&admin, "PUT", "plans/two", monthly(1)),
        (&admin, "DELETE", "plans/one", Value::Null),
        (&admin, "POST", "keys", json!({"kind": "secret", "mode": "live"})),
        (&admin, "GET", "keys", Value::Null),
        (&admin, "POST", "apps", json!({"id": "other"})),
        (&node.client("sk_live_unknown"), "GET", "plans", Value::Null),
    ];
    for how in ["hangs", "is gone"] {
        if how == "hangs" {
            world.redis.hang()
        } else {
            world.redis.kill()
        }
        for (api, method, path, body) in &calls {
            let body = (!body.is_null()).then(|| body.to_string());
            let answer =
                in_time(&format!("{path} is answered although Redis {how}"), api.send(method, path, body)).await;
            assert_eq!(answer.header("retry-after"), Some("1"), "{how}: {path} {}", answer.text);
            let text = answer.text.clone();
            answer.problem(503, "store_unavailable");
            assert!(!text.contains("redis.sock") && !text.contains("unix"), "{text}");
        }
        assert_eq!(app.get("/healthz").await.status, 200);
        assert_eq!(app.get("/readyz").await.status, 503);
        if how == "hangs" {
            world.redis.wake()
        } else {
            world.redis.start_again().await
        }
        eventually("the node works again", || async { app.get("usage?userId=u").await.status == 200 }).await;
        eventually("the node is ready again", || async { app.get("/readyz").await.status == 200 }).await;
        let track = app.once(how);
        let event = json!({"userId": "u", "event": "image.a"});
        eventually("it counts again", || async { track.post("track", event.clone()).await.status == 200 }).await;
    }
}

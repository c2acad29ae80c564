//! Windows, anchors and holds over time, with the sandbox's test clock.

use serde_json::{Value, json};

use crate::support::stored::tamper;
use crate::support::{Running, World, monthly, new_key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vanished_workers_hold_counts_until_it_expires_and_not_after_with_no_gateway_in_between() {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(1)).await;
    world.app.subscribe("u", "p").await;
    let call = json!({"userId": "u", "event": "image.a"});
    world.app.reserved(call.clone()).await;
    let World { redis, node, app, .. } = world;
    node.stop().await;
    for (now, expected) in [("2027-01-31T10:00:59.999Z", false), ("2027-01-31T10:01:00Z", true)] {
        let ms = chrono::DateTime::parse_from_rfc3339(now).unwrap().timestamp_millis();
        redis.run::<()>(&["SET", "qg:{default:test/main}:clock", &ms.to_string()]).await;
        let node = Running::start(&redis.url()).await;
        let decision = node.client(&app.key).reserve(call.clone()).await;
        assert_eq!(decision["allowed"], expected, "{now}");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_in_the_next_month_settles_in_the_month_of_the_reserve_and_a_late_one_is_flagged() {
    let world = World::new().await;
    let app = &world.app;
    app.freeze("2027-01-31T23:59:30Z").await;
    let mut plan = monthly(3);
    plan["periodAnchor"] = json!("calendar");
    world.admin.plan("p", plan).await;
    app.subscribe("u", "p").await;
    let id = app.reserved(json!({"userId": "u", "event": "image.a", "quantity": 3})).await;
    app.freeze("2027-02-01T00:00:10Z").await;
    app.reserved(json!({"userId": "u", "event": "image.a", "quantity": 2})).await;
    let settled = app.commit(&id).await;
    assert_eq!(settled["counters"][0]["period"]["start"], "2027-01-01T00:00:00Z");
    assert_eq!((settled["counters"][0]["used"].as_u64(), settled.get("late")), (Some(3), None));
    assert_eq!(app.stands("u", "images").await, (0.0, 2.0), "February is untouched");
    let past: String = world.redis.run(&["HGET", "qg:{default:test/main}:past:user:u", "images.1"]).await;
    assert!(past.starts_with("3 3 monthly/20270101/20270201 "), "{past}");

    let id = app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    app.freeze("2027-02-01T00:10:00Z").await;
    app.post("track", json!({"userId": "u", "event": "image.a", "quantity": 3})).await.expect(200);
    let settled = app.commit(&id).await;
    assert_eq!((&settled["late"], settled["counters"][0]["overage"].as_u64()), (&json!(true), Some(1)), "{settled}");
    assert_eq!(app.commit(&id).await["replayed"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anchors_of_31_january_walk_through_a_leap_year() {
    let world = World::new().await;
    let app = &world.app;
    app.freeze("2028-01-31T10:00:00Z").await;
    world.admin.plan("p", monthly(1)).await;
    app.subscribe("u", "p").await;
    let call = json!({"userId": "u", "event": "image.a"});
    for (start, before_end, end) in [
        ("2028-01-31T10:00:00Z", "2028-02-29T09:59:59.999Z", "2028-02-29T10:00:00Z"),
        ("2028-02-29T10:00:00Z", "2028-03-31T09:59:59.999Z", "2028-03-31T10:00:00Z"),
        ("2028-03-31T10:00:00Z", "2028-04-30T09:59:59.999Z", "2028-04-30T10:00:00Z"),
        ("2028-04-30T10:00:00Z", "2028-05-31T09:59:59.999Z", "2028-05-31T10:00:00Z"),
        ("2028-05-31T10:00:00Z", "2028-06-30T09:59:59.999Z", "2028-06-30T10:00:00Z"),
    ] {
        app.freeze(start).await;
        let id = app.reserved(call.clone()).await;
        app.commit(&id).await;
        app.freeze(before_end).await;
        let denied = app.reserve(call.clone()).await;
        assert_eq!((&denied["allowed"], &denied["counters"][0]["resetsAt"]), (&json!(false), &json!(end)));
        assert_eq!(denied["retryAfterMs"], 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fixed_campaigns_deny_outside_and_concurrent_limits_only_what_is_in_flight() {
    let world = World::frozen().await;
    let app = &world.app;
    let group = |id: &str, changes: Value| {
        let mut group = json!({"id": id, "unit": "count", "quota": 2, "measure": "event", "matches": [{"event": format!("{id}.*")}]});
        group.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        group
    };
    world
        .admin
        .plan(
            "p",
            json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
                group("campaign", json!({"periodType": "fixed", "start": "2027-02-01T00:00:00Z", "end": "2027-03-01T00:00:00Z"})),
                group("jobs", json!({"periodType": "concurrent"})),
                group("soft", json!({"enforcement": "soft"})),
                group("large", json!({"measure": "quantity", "quota": null, "maxPerCall": 10})),
                group("every", json!({"periodType": "every", "every": "P30D", "periodAnchor": "subscription_start"})),
            ]}),
        )
        .await;
    app.subscribe("u", "p").await;
    let call = |event: &str| json!({"userId": "u", "event": event});

    let early = app.reserve(call("campaign.x")).await;
    assert_eq!((&early["reasons"], early["retryAfterMs"].as_i64()), (&json!(["limit_reached"]), Some(14 * 3_600_000)));

    let closed = app.counter("u", "campaign").await;
    let reported = (&closed["remaining"], &closed["resetsAt"], &closed["period"]);
    assert_eq!(reported, (&json!(0), &json!("2027-02-01T00:00:00Z"), &Value::Null), "nothing is left before it opens");
    let can = app.post("can-use", call("campaign.x")).await.expect(200);
    assert_eq!(
        (&can["allowed"], &can["details"][0]["groupId"], &can["details"][0]["resetsAt"]),
        (&json!(false), &json!("campaign"), &json!("2027-02-01T00:00:00Z"))
    );

    let one = app.reserved(call("jobs.x")).await;
    app.freeze("2027-01-31T10:00:10Z").await;
    app.reserved(call("jobs.x")).await;
    let full = app.reserve(call("jobs.x")).await;
    assert_eq!(
        (&full["allowed"], &full["retryAfterMs"], &full["counters"][0]["resetsAt"]),
        (&json!(false), &json!(50_000), &Value::Null)
    );
    assert_eq!(app.post("track", call("jobs.x")).await.expect(200)["matchStatus"], "unmatched");
    app.commit(&one).await;
    assert_eq!(app.stands("u", "jobs").await, (0.0, 1.0));
    app.reserved(call("jobs.x")).await;
    app.freeze("2027-01-31T10:01:10Z").await;
    assert_eq!(app.stands("u", "jobs").await, (0.0, 0.0), "slots free by themselves");

    for _ in 0..3 {
        let id = app.reserved(call("soft.x")).await;
        app.commit(&id).await;
    }
    let soft = app.counter("u", "soft").await;
    assert_eq!((&soft["overage"], &soft["remaining"], &soft["percentUsed"]), (&json!(1), &json!(0), &json!(150)));

    let large = json!({"userId": "u", "event": "large.x", "quantity": 11});
    assert_eq!(app.reserve(large).await["reasons"], json!(["call_too_large"]));
    // Together they are one call; an extension is a separate one.
    let item = |quantity: u64| json!({"event": "large.x", "quantity": quantity});
    let together = |one, other| json!({"userId": "u", "items": [item(one), item(other)]});
    assert_eq!(app.reserve(together(5, 6)).await["reasons"], json!(["call_too_large"]));
    let id = app.reserved(json!({"userId": "u", "event": "large.x", "quantity": 10})).await;
    let extended = app.post("extend", json!({"reservationId": id, "quantity": 11})).await.expect(200);
    assert_eq!((&extended["allowed"], &extended["reasons"]), (&json!(false), &json!(["call_too_large"])));
    assert_eq!(app.post("extend", json!({"reservationId": id, "quantity": 10})).await.expect(200)["allowed"], true);
    app.release(&id).await;
    let unlimited = app.counter("u", "large").await;
    assert_eq!(
        (&unlimited["quota"], &unlimited["remaining"], &unlimited["percentUsed"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(
        app.counter("u", "every").await["period"],
        json!({"start": "2027-01-31T10:00:00Z", "end": "2027-03-02T10:00:00Z"})
    );

    app.freeze("2027-02-10T00:00:00Z").await;
    app.reserved(call("campaign.x")).await;
    app.freeze("2027-03-01T00:00:00Z").await;
    let over = app.reserve(call("campaign.x")).await;
    assert_eq!((&over["reasons"], &over["retryAfterMs"]), (&json!(["limit_reached"]), &Value::Null));
    let closed = app.counter("u", "campaign").await;
    assert_eq!((&closed["remaining"], &closed["resetsAt"]), (&json!(0), &Value::Null), "it opens no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_quota_binds_on_the_next_call_on_another_node() {
    let world = World::frozen().await;
    let (_second, other) = world.another_node().await;
    world.admin.plan("p", monthly(20)).await;
    world.app.subscribe("u", "p").await;
    let call = json!({"userId": "u", "event": "image.a"});
    other.post("track", json!({"userId": "u", "event": "image.a", "quantity": 20})).await.expect(200);
    assert_eq!(other.reserve(call.clone()).await["allowed"], false);
    world.admin.plan("p", monthly(40)).await;
    assert_eq!(other.reserve(call.clone()).await["counters"][0]["remaining"], 19);
    world.admin.plan("p", monthly(10)).await;
    let lowered = other.reserve(call.clone()).await;
    assert_eq!(
        (&lowered["allowed"], &lowered["counters"][0]["remaining"], &lowered["counters"][0]["overage"]),
        (&json!(false), &json!(0), &json!(10))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_idempotent_and_end_by_themselves() {
    let world = World::frozen().await;
    let app = &world.app;
    world.admin.plan("p", monthly(5)).await;
    let upsert = json!({"userId": "u", "planId": "p", "endsAt": "2027-03-01T00:00:00Z"});
    app.post("subscriptions", upsert.clone()).await.expect(200);
    app.post("track", json!({"userId": "u", "event": "image.a", "quantity": 2})).await.expect(200);
    let before = world.redis.dump("qg:{default:test/main}:account:*").await;
    for _ in 0..10 {
        assert_eq!(app.post("subscriptions", upsert.clone()).await.expect(200)["changed"], false);
    }
    assert_eq!(world.redis.dump("qg:{default:test/main}:account:*").await, before);
    // A moved anchor carries over what was used, unless the request says otherwise.
    let moved = json!({"userId": "u", "planId": "p", "cycleStart": "2027-02-05T00:00:00Z"});
    app.post("subscriptions", moved).await.expect(200);
    let counter = app.counter("u", "images").await;
    assert_eq!((counter["used"].as_u64(), &counter["period"]["start"]), (Some(2), &json!("2027-01-05T00:00:00Z")));
    let reset = json!({"userId": "u", "planId": "p", "cycleStart": null, "resetUsage": true});
    app.post("subscriptions", reset).await.expect(200);
    assert_eq!(app.stands("u", "images").await, (0.0, 0.0));
    app.freeze("2027-03-01T00:00:00Z").await;
    let lapsed = app.reserve(json!({"userId": "u", "event": "image.a"})).await;
    assert_eq!(lapsed["reasons"], json!(["no_subscription"]), "no version had to change");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_test_clock_moves_forward_only_and_emptying_keeps_plans_and_keys() {
    let world = World::new().await;
    let app = &world.app;
    world.admin.plan("p", monthly(5)).await;
    app.freeze("2020-01-31T10:00:00Z").await;
    app.subscribe("u", "p").await;
    assert_eq!(app.put("test-clock", json!({"now": "2020-01-01T00:00:00Z"})).await.bad_field(), "now");
    assert_eq!(app.delete("test-clock", None).await.status, 204);
    assert_eq!(app.get("usage?userId=u").await.expect(200)["planId"], Value::Null);
    assert_eq!(app.get("test-clock").await.expect(200)["now"], Value::Null);
    app.subscribe("u", "p").await;
    assert_eq!(app.put("test-clock", json!({"now": "2020-01-01T00:00:00Z"})).await.bad_field(), "now");
    let live = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    live.put("test-clock", json!({"now": "2030-01-01T00:00:00Z"})).await.problem(403, "forbidden_key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_spread_over_buckets_works_the_same() {
    let world = World::new().await;
    world.admin.post("apps", json!({"id": "big", "placement": "user"})).await.expect(201);
    let admin = world.admin.with("X-App", "big");
    admin.plan("p", monthly(2)).await;
    let app = world.node.client(&new_key(&admin, json!({"kind": "secret", "mode": "test"})).await);
    app.freeze("2027-01-31T10:00:00Z").await;
    for number in 0..40 {
        let user = format!("u_{number}");
        app.subscribe(&user, "p").await;
        let id = app.reserved(json!({"userId": user, "event": "image.a", "quantity": 2})).await;
        app.commit(&id).await;
    }
    admin.plan("p", monthly(3)).await;
    for number in 0..40 {
        let user = format!("u_{number}");
        assert_eq!(app.stands(&user, "images").await, (2.0, 0.0));
        app.reserved(json!({"userId": user, "event": "image.a"})).await;
    }
    let keys: Vec<String> = world.redis.run(&["KEYS", "qg:{big:test/main:*}:account:*"]).await;
    let buckets: std::collections::BTreeSet<&str> =
        keys.iter().filter_map(|key| key.split(['{', '}']).nth(1)).collect();
    assert!(keys.len() == 40 && buckets.len() > 10, "{buckets:?}");
    assert_eq!(
        admin.delete("plans/p", None).await.problem(409, "plan_in_use")["detail"].as_str().unwrap().split(' ').next(),
        Some("40")
    );
    assert_eq!(app.delete("test-clock", None).await.status, 204);
    let left: Vec<String> = world.redis.run(&["KEYS", "qg:{big:test/main:*}:[chopu]*"]).await;
    assert!(left.is_empty(), "{left:?}");
}

/// 100,000 holds of one user expire at the same instant: every call stays short, and every answer is correct.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_holds_that_expire_at_once_delay_no_other_user() {
    let world = World::frozen().await;
    let app = &world.app;
    world.admin.plan("p", monthly(100_001)).await;
    app.subscribe("u", "p").await;
    app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    let holds = "qg:{default:test/main}:holds:user:u";
    let expiry = 1_801_389_660_000_u64;
    let first: Vec<String> = world.redis.run(&["ZRANGE", holds, "0", "0", "WITHSCORES"]).await;
    assert_eq!(first[1], expiry.to_string(), "written in the same format");
    let mut connection = world.redis.connect().await;
    for chunk in 0..100 {
        let mut add = redis::cmd("ZADD");
        add.arg(holds);
        for number in 0..1000 {
            add.arg(expiry).arg(format!("{:024x} images:1:1 image.a key_x", chunk * 1000 + number));
        }
        add.query_async::<()>(&mut connection).await.unwrap();
    }
    tamper(&mut world.redis.connect().await, "qg:{default:test/main}:account:user:u", "images", 0, 100_000).await;
    assert_eq!(app.reserve(json!({"userId": "u", "event": "image.a"})).await["allowed"], false);
    world.redis.run::<()>(&["CONFIG", "RESETSTAT"]).await;
    app.freeze("2027-01-31T10:01:00Z").await;
    app.subscribe("v", "p").await;
    let fits = app.reserve(json!({"userId": "u", "event": "image.a"})).await;
    assert_eq!(fits["allowed"], true);
    app.reserved(json!({"userId": "v", "event": "image.a"})).await;
    let whole = app.reserve(json!({"userId": "u", "event": "image.a", "quantity": 100_000})).await;
    assert_eq!(whole["allowed"], true, "all expired holds had to go first");
    assert_eq!(app.stands("u", "images").await, (0.0, 100_001.0));
    // No call processed more than one batch of 64, which limits its time on any machine (docs/architecture.md has the
    // figure).
    let stats: String = world.redis.run(&["INFO", "commandstats"]).await;
    let batches = stats.lines().find_map(|line| line.strip_prefix("cmdstat_zremrangebyrank:calls=")?.split(',').next());
    assert_eq!(batches, Some("1563"), "100,001 holds in batches of 64");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_begins_or_ends_now_does_so_by_the_time_of_redis_and_not_by_what_a_node_has_heard() {
    let world = World::frozen().await;
    let (_second, elsewhere) = world.another_node().await;
    world.admin.plan("p", monthly(5)).await;
    let user = json!({"userId": "u", "planId": "p"});
    world.app.freeze("2027-01-31T12:00:00.800Z").await;
    elsewhere.freeze("2027-01-31T12:00:01.300Z").await;
    let begun = world.app.post("subscriptions", user).await.expect(200);
    assert_eq!(begun["startedAt"], "2027-01-31T12:00:01Z", "{begun}");
    elsewhere.freeze("2027-01-31T12:00:02.100Z").await;
    let ended = world.app.delete("subscriptions", Some(json!({"userId": "u"}))).await.expect(200);
    assert_eq!(ended["endsAt"], "2027-01-31T12:00:02Z", "{ended}");
}

//! Alerts: which thresholds and denials are reported, and when they are reported again.

use serde_json::{Value, json};

use crate::support::{Api, World};

fn plan(quota: u64, alerts: &[u64]) -> Value {
    json!({"periodType": "daily", "groups": [{"id": "g", "unit": "tokens", "quota": quota, "enforcement": "soft",
        "alerts": alerts, "matches": [{"event": "llm"}]}]})
}

/// The percentages that one call crossed.
fn percents(answer: &Value) -> Vec<u64> {
    let passed = answer["thresholds"].as_array();
    passed.into_iter().flatten().map(|passed| passed["percent"].as_u64().unwrap()).collect()
}

async fn track(api: &Api, quantity: u64) -> Vec<u64> {
    percents(&api.post("track", json!({"userId": "u", "event": "llm", "quantity": quantity})).await.expect(200))
}

async fn refund(api: &Api, quantity: u64) {
    let body = json!({"userId": "u", "event": "llm.refund", "quantity": quantity});
    assert_eq!(percents(&api.post("track", body).await.expect(200)), [0; 0], "giving back passes nothing");
}

async fn hold(api: &Api, quantity: u64) -> String {
    api.reserved(json!({"userId": "u", "event": "llm", "quantity": quantity})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_threshold_is_reported_once_per_window_and_limit_upward_only() {
    let world = World::frozen().await;
    let (_node, elsewhere) = world.another_node().await;
    world.admin.plan("p", plan(100, &[50, 75, 90, 100, 150])).await;
    world.app.subscribe("u", "p").await;
    assert_eq!(track(&world.app, 49).await, [0; 0]);
    assert_eq!(track(&elsewhere, 1).await, [50]);
    assert_eq!(track(&world.app, 1).await, [0; 0]);
    // Below and above again: it was reported before.
    refund(&world.app, 20).await;
    assert_eq!(track(&world.app, 30).await, [0; 0]);
    // Holds cross nothing; commits do, even several at once.
    let held = hold(&elsewhere, 60).await;
    let settled = world.app.commit(&held).await;
    assert_eq!(percents(&settled), [75, 90, 100]);
    assert_eq!(settled["counters"][0]["used"], 121);
    assert_eq!(percents(&world.app.commit(&held).await), [0; 0], "a replay reports no alert");
    // A raised limit enables higher thresholds: 121 of 200 are 60 percent, and 50 was crossed before.
    world.admin.plan("p", plan(200, &[50, 75, 90, 100, 150])).await;
    assert_eq!(track(&world.app, 1).await, [0; 0]);
    assert_eq!(track(&world.app, 28).await, [75]);
    // So does a grant: 150 of 300.
    let admin = world.admin.with("x-mode", "test");
    let grant = json!({"groupId": "g", "scope": {"user": "u"}, "amount": 100});
    let grant = admin.post("grants", grant).await.expect(201);
    assert_eq!(track(&world.app, 74).await, [0; 0]);
    assert_eq!(track(&world.app, 1).await, [75]);
    // Back to an earlier limit, which is a change too: 225 of 200 exceed all thresholds already.
    admin.delete(&format!("grants/{}", grant["id"].as_str().unwrap()), None).await.expect(204);
    assert_eq!(track(&world.app, 1).await, [0; 0]);
    assert_eq!(track(&world.app, 74).await, [150]);
    // A new window starts again; other thresholds apply from the next call on.
    world.app.freeze("2027-02-01T00:00:00Z").await;
    assert_eq!(track(&world.app, 100).await, [50]);
    world.admin.plan("p", plan(200, &[60])).await;
    assert_eq!(track(&world.app, 20).await, [60]);
    world.admin.plan("p", plan(200, &[])).await;
    assert_eq!(track(&world.app, 200).await, [0; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_that_a_users_new_limits_do_not_have_are_not_reported() {
    let world = World::frozen().await;
    world.admin.plan("p", plan(10, &[50])).await;
    world.admin.plan("silent", plan(100, &[])).await;
    for user in ["other", "same"] {
        world.app.subscribe(user, "p").await;
        let held = world.app.reserved(json!({"userId": user, "event": "llm"})).await;
        assert_eq!(percents(&world.app.commit(&held).await), [0; 0]);
    }
    world.app.subscribe("other", "silent").await;
    let endless = json!({"userId": "same", "planId": "p", "customLimits": {"g": {"quota": null}}});
    world.app.post("subscriptions", endless).await.expect(200);
    for user in ["other", "same"] {
        let held = world.app.reserved(json!({"userId": user, "event": "llm", "quantity": 5})).await;
        assert_eq!(percents(&world.app.commit(&held).await), [0; 0], "{user}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draws_late_commits_and_repetitions_return_crossed_thresholds_of_open_windows() {
    let world = World::frozen().await;
    world.admin.plan("p", plan(10, &[50, 100])).await;
    world.app.subscribe("u", "p").await;
    let held = hold(&world.app, 10).await;
    let draw = async |quantity: u64| {
        let body = json!({"reservationId": held, "quantity": quantity, "final": false});
        percents(&world.app.post("commit", body).await.expect(200))
    };
    assert_eq!(draw(4).await, [0; 0]);
    assert_eq!(draw(1).await, [50]);
    let once = world.app.once("t-1");
    let body = json!({"userId": "u", "event": "llm", "quantity": 5});
    for _ in 0..2 {
        assert_eq!(
            percents(&once.post("track", body.clone()).await.expect(200)),
            [100],
            "returned again to the same caller"
        );
    }
    assert_eq!(world.app.counter("u", "g").await["used"], 10);
    // Late, in the window in which it was held.
    world.app.freeze("2027-02-01T10:00:00Z").await;
    let late = hold(&world.app, 6).await;
    world.app.freeze("2027-02-01T10:05:00Z").await;
    let settled = world.app.commit(&late).await;
    assert_eq!((&settled["late"], percents(&settled)), (&json!(true), vec![50]));
    // A closed window: an alert would be too late.
    let body = json!({"userId": "u", "event": "llm", "quantity": 4, "ttlSeconds": 3600});
    world.app.freeze("2027-02-01T23:50:00Z").await;
    let over = world.app.reserved(body).await;
    world.app.freeze("2027-02-02T00:10:00Z").await;
    track(&world.app, 1).await;
    assert_eq!(percents(&world.app.commit(&over).await), [0; 0]);
    assert_eq!(world.app.counter("u", "g").await["used"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thresholds_are_exact_for_large_limits_and_none_is_reported_for_a_limit_of_0() {
    let world = World::frozen().await;
    let most: u64 = (1 << 53) - 1;
    for (quota, below, at, percent) in [
        // 7 % of 99 are 6.93: the seventh crosses it.
        (99, 6, 1, 7),
        (most, most / 2, 1, 50),
        (1, 0, 1, 100),
    ] {
        world.admin.plan("p", plan(quota, &[percent])).await;
        world.app.post("subscriptions", json!({"userId": "u", "planId": "p", "resetUsage": true})).await.expect(200);
        let admin = world.admin.with("x-mode", "test");
        admin.post("users/u/reset", json!({})).await.expect(200);
        if below > 0 {
            assert_eq!(track(&world.app, below).await, [0; 0], "{quota}");
        }
        assert_eq!(track(&world.app, at).await, [percent], "{quota}");
    }
    world.admin.plan("p", plan(0, &[1, 100])).await;
    world.admin.with("x-mode", "test").post("users/u/reset", json!({})).await.expect(200);
    assert_eq!(track(&world.app, 5).await, [0; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_alerts_are_not_triggered_by_settlements_either() {
    let world = World::frozen().await;
    // A group with its own alerts keeps the user watched.
    let groups = |alerts: &[u64]| {
        let mut groups = vec![json!({"id": "own", "unit": "tokens", "quota": 100, "alerts": [1],
            "matches": [{"event": "*"}]})];
        groups.push(plan(10, alerts)["groups"][0].clone());
        json!({"periodType": "daily", "groups": groups})
    };
    world.admin.plan("p", groups(&[50])).await;
    world.app.subscribe("u", "p").await;
    assert_eq!(track(&world.app, 4).await, [1]);
    world.admin.plan("p", groups(&[])).await;
    let held = hold(&world.app, 1).await;
    assert_eq!(percents(&world.app.commit(&held).await), [0; 0]);
    // Nothing else was stored about this group.
    world.admin.plan("p", plan(20, &[50])).await;
    assert_eq!(track(&world.app, 4).await, [0; 0]);
    world.admin.plan("p", plan(20, &[])).await;
    let held = hold(&world.app, 1).await;
    assert_eq!(percents(&world.app.commit(&held).await), [0; 0]);
    // When alerts come back, they report what is crossed from then on.
    world.admin.plan("p", plan(20, &[75])).await;
    let held = hold(&world.app, 5).await;
    assert_eq!(percents(&world.app.commit(&held).await), [75]);
    world.admin.plan("p", plan(20, &[])).await;
    assert_eq!(track(&world.app, 1).await, [0; 0]);
    world.admin.plan("p", plan(20, &[75])).await;
    assert_eq!(track(&world.app, 1).await, [0; 0], "once per window and limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_and_draws_return_crossed_thresholds_with_their_period_like_tracks() {
    let world = World::frozen().await;
    let admin = world.admin.with("x-mode", "test");
    world.admin.plan("p", plan(10, &[20, 50, 100])).await;
    world.app.subscribe("u", "p").await;
    assert_eq!(track(&world.app, 2).await, [20]);
    let held = hold(&world.app, 8).await;
    let draw = json!({"reservationId": held, "quantity": 3, "final": false});
    assert_eq!(percents(&world.app.post("commit", draw).await.expect(200)), [50]);
    assert_eq!(percents(&world.app.commit(&held).await), [100]);
    let reported = admin.get("alerts").await.expect(200);
    let reported: Vec<&Value> =
        reported["data"].as_array().unwrap().iter().filter(|event| event["type"] == "threshold.reached").collect();
    assert_eq!(reported.len(), 3);
    for event in reported {
        let (period, end) = (&event["data"]["period"], &event["data"]["resetsAt"]);
        let day = json!({"start": "2027-01-31T00:00:00Z", "end": "2027-02-01T00:00:00Z"});
        assert_eq!((period, end), (&day, &day["end"]), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_shared_lifetime_counter_is_reported_whichever_user_calls() {
    let world = World::frozen().await;
    let admin = world.admin.with("x-mode", "test");
    let hook = json!({"url": "https://example.com/hook", "events": ["limit.reached"]});
    world.admin.put("webhooks/ops", hook).await.expect(200);
    world.admin.plan("open", json!({"unmatchedEvents": "allow", "groups": []})).await;
    let group = |id: &str, period: &str| {
        json!({"id": id, "unit": "count", "measure": "event", "quota": 1, "periodType": period, "scope": ["app"],
            "matches": [{"event": id}]})
    };
    let caps = json!({"groups": [group("whole", "lifetime"), group("flight", "concurrent")]});
    world.admin.put("policies/caps", caps).await.expect(200);
    for (user, now) in [("a", "2027-01-31T10:00:00Z"), ("b", "2027-01-31T10:00:10Z"), ("c", "2027-01-31T10:00:20Z")] {
        world.app.freeze(now).await;
        world.app.subscribe(user, "open").await;
    }
    let call = |user: &str, event: &str| json!({"userId": user, "event": event, "ttlSeconds": 3600});
    for event in ["whole", "flight"] {
        let held = world.app.reserve(call("a", event)).await;
        // As stored by releases whose windows began with the subscription of the calling user.
        let account = "qg:{default:test/main}:account:app:default";
        let stored: String = world.redis.run(&["HGET", account, event]).await;
        let older = stored.replace("19700101", "20270131T1000");
        world.redis.run::<()>(&["HSET", account, event, &older]).await;
        for user in ["b", "c", "a", "b"] {
            let denied = world.app.reserve(call(user, event)).await;
            assert_eq!(denied["counters"], held["counters"], "{user} sees the same counter");
        }
    }
    let reported = admin.get("alerts").await.expect(200);
    let reported: Vec<&Value> =
        reported["data"].as_array().unwrap().iter().filter(|event| event["type"] == "limit.reached").collect();
    let groups: Vec<&Value> = reported.iter().map(|event| &event["data"]["groupId"]).collect();
    assert_eq!(groups, ["flight", "whole"], "each once");
    for event in reported {
        assert_eq!(event["data"]["period"], json!({"start": "1970-01-01T00:00:00Z", "end": null}));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_reached_by_open_reservations_is_reported_with_their_amount() {
    let world = World::frozen().await;
    let hook = json!({"url": "https://example.com/hook", "events": ["limit.reached"]});
    world.admin.put("webhooks/ops", hook).await.expect(200);
    let group = json!({"id": "g", "label": "Images", "unit": "count", "quota": 20, "matches": [{"event": "llm"}]});
    world.admin.plan("p", json!({"periodType": "daily", "groups": [group]})).await;
    for user in ["holding", "used"] {
        world.app.subscribe(user, "p").await;
    }
    let call = |user: &str, quantity: u64| json!({"userId": user, "event": "llm", "quantity": quantity});
    world.app.post("track", call("holding", 9)).await.expect(200);
    world.app.reserved(call("holding", 10)).await;
    world.app.post("track", call("used", 20)).await.expect(200);
    for user in ["holding", "used"] {
        assert_eq!(world.app.reserve(call(user, 5)).await["allowed"], false);
    }
    let reported = world.admin.with("x-mode", "test").get("alerts").await.expect(200);
    let texts: Vec<&Value> = reported["data"].as_array().unwrap().iter().map(|alert| &alert["text"]).collect();
    let wanted = [
        "Images: user used has reached the limit (20 of 20 used)",
        "Images: user holding has reached the limit (9 used + 10 held of 20)",
    ];
    assert_eq!(texts, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_a_plan_change_blocks_is_reported_with_the_blocked_amount() {
    let world = World::frozen().await;
    let hook = json!({"url": "https://example.com/hook", "events": ["limit.reached"]});
    world.admin.put("webhooks/ops", hook).await.expect(200);
    let group = json!({"id": "g", "label": "Images", "unit": "count", "quota": 20, "onPlanChange": "block",
        "matches": [{"event": "llm"}]});
    let plan = json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [group]});
    world.admin.plan("p", plan).await;
    world.app.subscribe("u", "p").await;
    world.app.post("track", json!({"userId": "u", "event": "llm", "quantity": 5})).await.expect(200);
    // Canceling and coming back is a change.
    world.app.delete("subscriptions", Some(json!({"userId": "u"}))).await.expect(200);
    world.app.freeze("2027-01-31T11:00:00Z").await;
    world.app.subscribe("u", "p").await;
    assert_eq!(world.app.reserve(json!({"userId": "u", "event": "llm"})).await["allowed"], false);

    let counter = world.app.counter("u", "g").await;
    let (used, blocked) = (&counter["used"], &counter["blocked"]);
    assert!(blocked.as_u64() > Some(0), "{counter}");
    assert_eq!(used.as_u64().unwrap() + blocked.as_u64().unwrap(), 20);
    let reported = world.admin.with("x-mode", "test").get("alerts").await.expect(200);
    let alerts = reported["data"].as_array().unwrap();
    let alert = alerts.iter().find(|alert| alert["type"] == "limit.reached").unwrap();
    let text = format!("Images: user u has reached the limit ({used} used + {blocked} blocked of 20)");
    assert_eq!((&alert["text"], &alert["data"]["blocked"]), (&json!(text), blocked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_name_the_whole_limit_with_what_was_granted_and_rolled_over() {
    let world = World::frozen().await;
    let admin = world.admin.with("x-mode", "test");
    let hook = json!({"url": "https://example.com/hook", "events": ["limit.reached"]});
    world.admin.put("webhooks/ops", hook).await.expect(200);
    let groups = json!([
        {"id": "images", "label": "Images", "unit": "count", "quota": 20, "rollover": {"max": 8}, "alerts": [50],
            "matches": [{"event": "image"}]},
        {"id": "audio", "label": "Audio", "unit": "seconds", "quota": 2.5, "alerts": [50],
            "matches": [{"event": "audio"}]},
        {"id": "premium", "label": "Premium", "unit": "count", "quota": 2, "enforcement": "approval",
            "matches": [{"event": "premium"}]},
    ]);
    world.admin.plan("p", json!({"periodType": "daily", "groups": groups})).await;
    world.app.subscribe("u", "p").await;
    let call = |event: &str, quantity: Value| json!({"userId": "u", "event": event, "quantity": quantity});
    let used = async |event: &str, quantity: Value| {
        world.app.post("track", call(event, quantity)).await.expect(200);
    };
    let grant = async |group: &str, amount: Value| {
        let body = json!({"groupId": group, "scope": {"user": "u"}, "amount": amount});
        admin.post("grants", body).await.expect(201);
    };
    let denied = async |event: &str, quantity: u64| {
        assert_eq!(world.app.reserve(call(event, json!(quantity))).await["allowed"], false, "{quantity} of {event}");
    };
    used("image", json!(9)).await;
    // 8 of the 11 that are left are rolled over.
    world.app.freeze("2027-02-01T10:00:00Z").await;
    used("image", json!(14)).await;
    grant("images", json!(2)).await;
    denied("image", 17).await;
    world.app.reserved(call("image", json!(10))).await;
    grant("images", json!(1)).await;
    denied("image", 8).await;
    used("audio", json!(0.1)).await;
    grant("audio", json!(0.005)).await;
    used("audio", json!(1.3)).await;
    used("premium", json!(1)).await;
    grant("premium", json!(3)).await;
    denied("premium", 5).await;

    let reported = admin.get("alerts").await.expect(200);
    let reported = reported["data"].as_array().unwrap();
    let mut texts: Vec<&str> = reported
        .iter()
        .filter(|alert| alert["type"] != "subscription.changed")
        .map(|alert| alert["text"].as_str().unwrap())
        .collect();
    texts.sort_unstable();
    let wanted = [
        "Audio: 50 % used by user u (1.4 of 2.505 seconds)",
        "Images: 50 % used by user u (14 of 28)",
        "Images: user u has reached the limit (14 of 30 used)",
        "Images: user u has reached the limit (14 used + 10 held of 31)",
        "Premium: user u has reached the limit (1 of 5 used)",
        "Premium: user u requests 5 (1 of 5 used)",
    ];
    assert_eq!(texts, wanted);
    let threshold = reported.iter().find(|alert| alert["text"] == wanted[1]).unwrap();
    let amounts = ["used", "quota", "granted", "rolled", "limit"].map(|name| threshold["data"][name].clone());
    assert_eq!(json!(amounts), json!([14, 20, 0, 8, 28]));
}

//! Windows over time: usage, quota, and when they become final.

use serde_json::{Value, json};

use crate::support::{Api, World, new_key};

fn plan(quota: u64) -> Value {
    json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
        {"id": "calls", "label": "Calls", "unit": "count", "quota": quota, "enforcement": "soft", "matches": [{"event": "llm"}]},
        {"id": "days", "unit": "count", "quota": 5, "periodType": "daily", "matches": [{"event": "day"}]}]})
}

async fn track(api: &Api, quantity: u64) {
    api.post("track", json!({"userId": "u", "event": "llm", "quantity": quantity})).await.expect(200);
}

/// `month: used of quota + granted, overage[, final]`, newest first.
async fn calls(api: &Api) -> Vec<String> {
    let history = api.get("usage/history?userId=u&groupId=calls").await.expect(200);
    assert_eq!(history["nextCursor"], Value::Null);
    let line = |window: &Value| {
        let end = if window["final"] == true { ", final" } else { "" };
        let month = &window["period"]["start"].as_str().unwrap()[..7];
        let (used, quota) = (&window["used"], &window["quota"]);
        format!("{month}: {used} of {quota} + {}, {}{end}", window["granted"], window["overage"])
    };
    history["data"].as_array().unwrap().iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_months_keep_the_quota_they_went_by_and_become_final_when_nothing_can_come_any_more() {
    let world = World::frozen().await;
    let (app, operator) = (&world.app, world.admin.with("x-mode", "test"));
    world.admin.plan("p", plan(10)).await;
    app.subscribe("u", "p").await;
    assert_eq!(calls(app).await, [""; 0], "what was never touched is not listed");
    track(app, 12).await;
    assert_eq!(calls(app).await, ["2027-01: 12 of 10 + 0, 2"]);
    // A running window has the present quota, with or without a call since the change.
    world.admin.plan("p", plan(11)).await;
    assert_eq!(calls(app).await, ["2027-01: 12 of 11 + 0, 1"]);
    let grant = json!({"groupId": "calls", "scope": {"user": "u"}, "amount": 1});
    operator.post("grants", grant).await.expect(201);
    track(app, 1).await;
    assert_eq!(calls(app).await, ["2027-01: 13 of 11 + 1, 1"]);
    app.freeze("2027-01-31T23:59:30Z").await;
    let late = app.reserved(json!({"userId": "u", "event": "llm", "quantity": 2})).await;
    let vanished = app.reserved(json!({"userId": "u", "event": "llm", "quantity": 1, "ttlSeconds": 120})).await;
    // A quota of February does not apply to January.
    app.freeze("2027-02-01T00:00:00Z").await;
    world.admin.plan("p", plan(20)).await;
    for (now, expected) in
        [("2027-02-01T00:00:00Z", "2027-01: 13 of 11 + 1, 1"), ("2027-02-01T00:05:00Z", "2027-01: 13 of 11 + 1, 1")]
    {
        app.freeze(now).await;
        assert_eq!(calls(app).await, [expected], "{now}");
    }
    // Late, to a window that no call has closed. This call removes the other expired hold, which may still be
    // committed.
    assert_eq!(app.post("commit", json!({"reservationId": late, "quantity": 4})).await.expect(200)["late"], true);
    for (now, expected) in [
        ("2027-02-01T00:15:30Z", "2027-01: 17 of 11 + 1, 5"),
        ("2027-02-01T00:16:59.999Z", "2027-01: 17 of 11 + 1, 5"),
        // The longest reservation of this user lasted 120 s.
        ("2027-02-01T00:17:00Z", "2027-01: 17 of 11 + 1, 5, final"),
    ] {
        app.freeze(now).await;
        assert_eq!(calls(app).await, [expected], "{now}");
    }
    app.post("commit", json!({"reservationId": vanished})).await.problem(410, "reservation_expired");
    // The first call of February closes it, and it stays the same.
    track(app, 3).await;
    assert_eq!(calls(app).await, ["2027-02: 3 of 20 + 0, 0", "2027-01: 17 of 11 + 1, 5, final"]);
    // A hold across the end of February: March closes the window, but it is not final while the hold may be charged or
    // refunded.
    app.freeze("2027-02-28T23:59:50Z").await;
    let over = app.reserved(json!({"userId": "u", "event": "llm", "quantity": 20, "ttlSeconds": 600})).await;
    app.freeze("2027-03-01T00:00:10Z").await;
    track(app, 1).await;
    let february = |text: &str| {
        vec!["2027-03: 1 of 20 + 0, 0".to_owned(), text.to_owned(), "2027-01: 17 of 11 + 1, 5, final".to_owned()]
    };
    assert_eq!(calls(app).await, february("2027-02: 3 of 20 + 0, 0"));
    app.commit(&over).await;
    assert_eq!(calls(app).await, february("2027-02: 23 of 20 + 0, 3"));
    let refund = json!({"userId": "u", "event": "llm.refund", "quantity": 5, "metadata": {"reservationId": over}});
    app.post("track", refund).await.expect(200);
    for (now, expected) in [
        ("2027-03-01T00:00:10Z", "2027-02: 18 of 20 + 0, 0"),
        ("2027-03-02T00:14:59.999Z", "2027-02: 18 of 20 + 0, 0"),
        ("2027-03-02T00:15:00Z", "2027-02: 18 of 20 + 0, 0, final"),
    ] {
        app.freeze(now).await;
        assert_eq!(calls(app).await, february(expected), "{now}");
    }
    // Operators see the same windows, without the running one.
    let user = operator.get("users/u").await.expect(200);
    let all = app.get("usage/history?userId=u").await.expect(200);
    assert_eq!(user["history"].as_array().unwrap().as_slice(), &all["data"].as_array().unwrap()[1..]);
    let january = &user["history"][1];
    assert_eq!(
        *january,
        json!({"groupId": "calls", "label": "Calls", "unit": "count", "scope": {"user": "u"}, "window": "1",
            "period": {"start": "2027-01-01T00:00:00Z", "end": "2027-02-01T00:00:00Z"},
            "used": 17, "quota": 11, "granted": 1, "overage": 5, "final": true})
    );
    // Windows of a time range: those that overlap it.
    for (query, months) in [
        ("from=2027-02-01T00:00:00Z", "03 02"),
        ("to=2027-02-01T00:00:00Z", "01"),
        ("from=2027-01-31T23:59:59Z&to=2027-02-28T00:00:00Z", "02 01"),
        ("from=2028-01-01T00:00:00Z", ""),
    ] {
        let found = app.get(&format!("usage/history?userId=u&groupId=calls&{query}")).await.expect(200);
        let found =
            found["data"].as_array().unwrap().iter().map(|it| it["period"]["start"].as_str().unwrap()[5..7].to_owned());
        assert_eq!(found.collect::<Vec<_>>().join(" "), months, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extended_reservation_keeps_what_it_has_drawn_open() {
    let world = World::frozen().await;
    let app = &world.app;
    world.admin.plan("p", plan(10)).await;
    app.subscribe("u", "p").await;
    app.freeze("2027-01-31T23:59:30Z").await;
    let id = app.reserved(json!({"userId": "u", "event": "llm", "quantity": 1})).await;
    app.post("commit", json!({"reservationId": id, "quantity": 1, "final": false})).await.expect(200);
    app.post("extend", json!({"reservationId": id, "ttlSeconds": 3600})).await.expect(200);
    for (now, expected) in [
        ("2027-02-01T01:14:29.999Z", "2027-01: 1 of 10 + 0, 0"),
        ("2027-02-01T01:14:30Z", "2027-01: 1 of 10 + 0, 0, final"),
    ] {
        app.freeze(now).await;
        assert_eq!(calls(app).await, [expected], "{now}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_closed_windows_are_kept_and_a_reset_closes_one() {
    let world = World::frozen().await;
    let (app, operator) = (&world.app, world.admin.with("x-mode", "test"));
    world.admin.plan("p", plan(10)).await;
    app.subscribe("u", "p").await;
    for day in 1..=16 {
        app.freeze(&format!("2027-02-{day:02}T12:00:00Z")).await;
        app.post("track", json!({"userId": "u", "event": "day", "quantity": 3})).await.expect(200);
    }
    operator.post("users/u/reset", json!({"groupId": "days"})).await.expect(200);
    let history = app.get("usage/history?userId=u&groupId=days").await.expect(200);
    let windows: Vec<(u64, u64)> = history["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|window| (window["window"].as_str().unwrap().parse().unwrap(), window["used"].as_u64().unwrap()))
        .collect();
    let expected: Vec<(u64, u64)> = (5..=17).rev().map(|number| (number, if number == 17 { 0 } else { 3 })).collect();
    assert_eq!(windows, expected);
    assert_eq!(history["data"][1]["final"], true, "nothing was held in the restarted window");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_of_other_owners_are_named_except_to_end_users() {
    let world = World::frozen().await;
    let app = &world.app;
    let group = |id: &str, scope: Value| json!({"id": id, "unit": "count", "quota": 100, "periodType": "daily", "scope": scope, "matches": [{"event": "llm"}]});
    world.admin.plan("p", plan(10)).await;
    let policy = json!({"groups": [group("team", json!(["metadata.team"])), group("own_team", json!(["user", "metadata.team"])), group("all", json!(["app"]))]});
    world.admin.put("policies/caps", policy).await.expect(200);
    app.subscribe("u", "p").await;
    for team in ["red", "blue"] {
        let call = json!({"userId": "u", "event": "llm", "quantity": 2, "metadata": {"team": team}});
        app.post("track", call).await.expect(200);
    }
    let reader = new_key(&world.admin, json!({"kind": "publishable", "mode": "test"})).await;
    let reader = world.node.client(&reader);
    for (api, query, expected) in [
        (app, "", "all calls"),
        (app, "&metadata.team=red", "all calls own_team team"),
        (&reader, "", "calls"),
        (&reader, "&metadata.team=red", "calls own_team"),
    ] {
        let history = api.get(&format!("usage/history?userId=u{query}")).await.expect(200);
        let mut groups: Vec<&str> =
            history["data"].as_array().unwrap().iter().map(|it| it["groupId"].as_str().unwrap()).collect();
        groups.sort_unstable();
        assert_eq!(groups.join(" "), expected, "{query}");
        let used = |group: &str| {
            history["data"].as_array().unwrap().iter().find(|it| it["groupId"] == group).map(|it| it["used"].clone())
        };
        assert_eq!(used("own_team").unwrap_or(json!(2)), 2);
        assert_eq!(used("all").unwrap_or(json!(4)), 4);
    }
    let guarded = json!({"kind": "publishable", "mode": "test", "requireUserToken": true});
    let guarded = world.node.client(&new_key(&world.admin, guarded).await);
    guarded.get("usage/history?userId=u").await.problem(403, "forbidden_key");
    for (query, field) in [
        ("usage/history", "userId"),
        ("usage/history?userId=u&from=yesterday", "from"),
        ("usage/history?userId=u&to=1", "to"),
        ("usage/history?userId=u&groupId=a%20b", "groupId"),
        ("usage/history?userId=u&nonsense=1", "nonsense"),
    ] {
        assert_eq!(app.get(query).await.bad_field(), field, "{query}");
    }
}

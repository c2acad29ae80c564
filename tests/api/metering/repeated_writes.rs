//! A repeated write gets its first answer, on any node and whatever has changed since.

use serde_json::{Value, json};

use crate::support::{Api, ROOT_KEY, World, monthly, new_key};

/// The parts of an answer that must be the same in a repetition. Counters have their present state.
fn reported(answer: &Value) -> Vec<Value> {
    ["allowed", "matched", "matchedGroupIds", "reservationId", "reasons", "eventId", "matchStatus", "grantId"]
        .iter()
        .map(|name| answer[*name].clone())
        .collect()
}

fn image(user: &str, quantity: u64) -> Value {
    json!({"userId": user, "event": "image.a", "quantity": quantity})
}

async fn staged() -> World {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(3)).await;
    world.app.subscribe("u", "p").await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repetitions_outlive_a_plan_under_which_they_would_be_refused() {
    let world = staged().await;
    let reserved = world.app.once("r").post("reserve", image("u", 1)).await.expect(200);
    let tracked = world.app.once("t").post("track", image("u", 1)).await.expect(200);
    let denied = world.app.once("d").post("reserve", image("u", 9)).await.expect(200);
    let mut unmeasurable = monthly(3);
    unmeasurable["groups"][0]["measure"] = json!({"per": {"steps": "1"}});
    world.admin.plan("p", unmeasurable).await;
    let (_second, there) = world.another_node().await;
    for app in [&world.app, &there] {
        app.post("reserve", image("u", 1)).await.problem(400, "invalid_request");
        for (key, path, quantity, first) in
            [("r", "reserve", 1, &reserved), ("t", "track", 1, &tracked), ("d", "reserve", 9, &denied)]
        {
            let again = app.once(key).post(path, image("u", quantity)).await;
            assert_eq!(again.header("idempotent-replayed"), Some("true"), "{key}: {}", again.text);
            assert_eq!(reported(&again.expect(200)), reported(first), "{key}");
            app.once(key).post(path, image("u", 2)).await.problem(409, "idempotency_key_reused");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_keeps_its_reason_when_its_group_is_gone_or_enforced_otherwise() {
    let world = staged().await;
    let group = |id: &str, event: &str, enforcement: &str| json!({"id": id, "unit": "count", "quota": 1, "enforcement": enforcement, "matches": [{"event": event}]});
    let plan = |groups: Value| json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": groups});
    world.admin.plan("p", plan(json!([group("firm", "firm", "hard"), group("asked", "asked", "approval")]))).await;
    world.admin.plan("q", plan(json!([group("other", "other", "hard")]))).await;
    let call = |event: &str| json!({"userId": "u", "event": event, "quantity": 5});
    let enforced = |event: &str| json!({"userId": "u", "event": event, "quantity": 5, "enforce": true});
    let (_second, there) = world.another_node().await;
    let repeated = async |first: bool| {
        for (event, reason) in [("firm", "limit_reached"), ("asked", "approval_required")] {
            let here = if first { &world.app } else { &there };
            let again = here.once(&format!("r-{event}")).post("reserve", call(event)).await;
            assert_eq!(again.header("idempotent-replayed").is_some(), !first);
            assert_eq!(again.expect(200)["reasons"], json!([reason]), "{event}");
            here.once(&format!("t-{event}")).post("track", enforced(event)).await.problem(429, reason);
        }
    };
    repeated(true).await;
    world.admin.plan("p", plan(json!([group("firm", "firm", "approval"), group("asked", "asked", "hard")]))).await;
    repeated(false).await;
    world.app.subscribe("u", "q").await;
    repeated(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_by_the_facts_alone_is_repeated_with_its_groups() {
    let world = staged().await;
    let group = |id: &str, event: &str, more: Value| {
        let mut group = json!({"id": id, "unit": "count", "quota": 50, "matches": [{"event": event}]});
        group.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        group
    };
    let groups = [
        group("team", "team.*", json!({"scope": ["metadata.team"]})),
        group("big", "big.*", json!({"maxPerCall": 3})),
        group("covers", "covered.one", json!({"covers": ["covered.*"]})),
        group(
            "campaign",
            "later.*",
            json!({"periodType": "fixed", "start": "2030-01-01T00:00:00Z", "end": "2031-01-01T00:00:00Z"}),
        ),
    ];
    world.admin.plan("p", json!({"periodType": "monthly", "groups": groups})).await;
    let (_second, there) = world.another_node().await;
    let cases = [
        ("team.x", "missing_scope", "team"),
        ("big.x", "call_too_large", "big"),
        ("covered.two", "uncovered_event", "covers"),
        ("later.x", "limit_reached", "campaign"),
    ];
    for (event, reason, denying) in cases {
        for (path, denied) in [("reserve", 200), ("track", 429)] {
            let mut body = json!({"userId": "u", "event": event, "quantity": 4});
            if path == "track" {
                body["enforce"] = json!(true);
            }
            let key = format!("{path} {event}");
            let first = world.app.once(&key).post(path, body.clone()).await;
            let after = first.header("retry-after").map(str::to_owned);
            let first = first.expect(denied);
            // A problem has the decision as one of its fields.
            let decision = |answer: Value| if path == "track" { answer["decision"].clone() } else { answer };
            let told = |answer: &Value| {
                ["reasons", "deniedBy", "matched", "matchedGroupIds", "retryAfterMs"].map(|name| answer[name].clone())
            };
            let first = decision(first);
            assert_eq!((&first["reasons"][0], &first["deniedBy"][0]["groupId"]), (&json!(reason), &json!(denying)));
            for app in [&world.app, &there] {
                let again = app.once(&key).post(path, body.clone()).await;
                assert_eq!(again.header("retry-after"), after.as_deref(), "{key}");
                assert_eq!(told(&decision(again.expect(denied))), told(&first), "{key}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_by_an_amount_is_repeated_with_the_groups_that_it_enlarged() {
    let world = staged().await;
    let group = |id: &str, measure: &str| json!({"id": id, "unit": "count", "quota": 50, "measure": measure, "matches": [{"event": "image.*"}]});
    let groups = [group("amounts", "quantity"), group("calls", "event")];
    world.admin.plan("p", json!({"periodType": "monthly", "groups": groups})).await;
    let id = world.app.reserved(image("u", 1)).await;
    for (key, change, groups) in [
        ("more", json!({"reservationId": id, "quantity": 2}), &["amounts"][..]),
        ("longer", json!({"reservationId": id, "ttlSeconds": 90}), &["amounts", "calls"]),
    ] {
        for replayed in [None, Some("true")] {
            let answer = world.app.once(key).post("extend", change.clone()).await;
            assert_eq!(answer.header("idempotent-replayed"), replayed, "{key}");
            let answer = answer.expect(200);
            assert_eq!(answer["matchedGroupIds"], json!(groups), "{key} {replayed:?}");
            let counters = answer["counters"].as_array().unwrap().iter().map(|counter| &counter["groupId"]);
            let mut counters: Vec<_> = counters.collect();
            counters.sort_by_key(|id| id.as_str());
            assert_eq!(counters, groups.iter().collect::<Vec<_>>(), "{key} {replayed:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_track_keeps_its_match_status_when_quotas_or_the_plan_change() {
    let world = staged().await;
    let (_second, there) = world.another_node().await;
    let track = async |api: &Api, user: &str, quantity: u64| {
        let body = json!({"userId": user, "event": "image.a", "quantity": quantity});
        let answer = api.once(&format!("{user}-{quantity}")).post("track", body).await;
        answer.expect(200)["matchStatus"].as_str().unwrap().to_owned()
    };
    let all = async |api: &Api| [track(api, "u", 2).await, track(api, "u", 3).await, track(api, "nobody", 1).await];
    let first = ["matched", "over_limit", "no_subscription"];
    assert_eq!(all(&world.app).await, first);
    for quota in [1, 90] {
        world.admin.plan("p", monthly(quota)).await;
        assert_eq!(all(&there).await, first);
    }
    let mut soft = monthly(3);
    soft["groups"][0]["enforcement"] = json!("soft");
    world.admin.plan("p", soft).await;
    assert_eq!(all(&there).await, first);
    world.app.subscribe("nobody", "p").await;
    world.app.delete("subscriptions", Some(json!({"userId": "u"}))).await.expect(200);
    assert_eq!(all(&world.app).await, first);
    assert_eq!(all(&there).await, first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_knows_nothing_of_the_user_repeats_the_same() {
    let world = staged().await;
    let denied = world.app.once("d").post("reserve", image("u", 4)).await.expect(200);
    let tracked = world.app.once("t").post("track", image("u", 4)).await.expect(200);
    let enforced = json!({"userId": "u", "event": "image.a", "quantity": 4, "enforce": true});
    let refused = world.app.once("e").post("track", enforced.clone()).await.problem(429, "limit_reached");
    for node in 0..2 {
        let (_node, there) = world.another_node().await;
        // Each on a node that has not learnt from the previous one.
        let (_other, second) = world.another_node().await;
        let (_third, third) = world.another_node().await;
        let again = there.once("d").post("reserve", image("u", 4)).await.expect(200);
        assert_eq!(again["deniedBy"], denied["deniedBy"], "{node}");
        assert_eq!(reported(&again), reported(&denied));
        let again = second.once("t").post("track", image("u", 4)).await.expect(200);
        assert_eq!(reported(&again), reported(&tracked), "{node}");
        assert_eq!(again["counters"], tracked["counters"]);
        let again = third.once("e").post("track", enforced.clone()).await.problem(429, "limit_reached");
        assert_eq!(again["deniedBy"], refused["deniedBy"], "{node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_reservation_still_shows_its_matched_groups() {
    let world = staged().await;
    for ending in ["release", "commit"] {
        let first = world.app.once(ending).post("reserve", image("u", 1)).await.expect(200);
        let id = &first["reservationId"];
        let figures =
            if ending == "commit" { json!({"reservationId": id, "quantity": 0}) } else { json!({"reservationId": id}) };
        let settled = world.app.post(ending, figures.clone()).await.expect(200);
        let again = world.app.once(ending).post("reserve", image("u", 1)).await.expect(200);
        assert_eq!(reported(&again), reported(&first), "{ending}");
        assert_eq!(again["counters"].as_array().unwrap().len(), 1);
        let repeated = world.app.post(ending, figures).await.expect(200);
        assert_eq!((&repeated["replayed"], &repeated["counters"]), (&json!(true), &settled["counters"]), "{ending}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_is_repeated_and_an_ended_reservation_refused_also_for_a_blocked_user() {
    let world = staged().await;
    let key = new_key(&world.admin, json!({"kind": "admin", "role": "support"})).await;
    let support = world.node.client(&key).with("x-mode", "test");
    let id = world.app.reserved(image("u", 1)).await;
    let more = json!({"reservationId": id, "quantity": 1});
    let first = world.app.once("e").post("extend", more.clone()).await.expect(200);
    assert_eq!(first["allowed"], true);
    support.post("users/u/block", json!({})).await.expect(200);
    assert_eq!(reported(&world.app.once("e").post("extend", more.clone()).await.expect(200)), reported(&first));
    let denied = world.app.once("b").post("extend", more.clone()).await.expect(200);
    assert_eq!((&denied["allowed"], &denied["reasons"]), (&json!(false), &json!(["user_blocked"])));
    world.app.commit(&id).await;
    world.app.post("extend", more.clone()).await.problem(409, "reservation_not_pending");
    support.post("users/u/unblock", json!({})).await.expect(200);
    assert_eq!(reported(&world.app.once("b").post("extend", more).await.expect(200)), reported(&denied));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_repeated_after_it_has_ended_and_an_overflow_as_what_it_was() {
    let world = staged().await;
    let key = new_key(&world.admin, json!({"kind": "admin", "role": "support"})).await;
    let support = world.node.client(&key).with("x-mode", "test");
    let body = json!({"groupId": "images", "scope": {"user": "u"}, "amount": 2, "expiresAt": "2027-01-31T11:00:00Z"});
    let first = support.once("g").post("grants", body.clone()).await.expect(201);
    world.app.post("track", image("u", 9_007_199_254_740_991)).await.expect(200);
    let over = world.app.once("o").post("track", image("u", 9_007_199_254_740_991)).await;
    assert_eq!(over.bad_field(), "quantity");
    world.app.freeze("2027-01-31T12:00:00Z").await;
    assert_eq!(support.once("g").post("grants", body.clone()).await.expect(201), first);
    assert_eq!(support.post("grants", body).await.bad_field(), "expiresAt");
    let over = world.app.once("o").post("track", image("u", 9_007_199_254_740_991)).await;
    assert_eq!(over.bad_field(), "quantity");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_rests_on_the_time_goes_by_a_clock_that_another_node_has_moved() {
    let world = staged().await;
    let (_second, there) = world.another_node().await;
    there.subscribe("v", "p").await;
    world.app.freeze("2027-06-01T00:00:00Z").await;
    let later = json!({"userId": "v", "planId": "p", "startedAt": "2027-05-31T00:00:00Z"});
    there.post("subscriptions", later).await.expect(200);
}

/// A commit with figures, or a refund, may come at the end of the reservation's grace; its repetition is found through
/// the record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_stays_at_least_as_long_as_the_answers_to_calls_with_a_key() {
    let world = World::new().await;
    world.admin.plan("p", monthly(9)).await;
    let live = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    live.subscribe("u", "p").await;
    let time_to_live = async |key: &str| world.redis.run::<i64>(&["PTTL", key]).await;
    for path in ["commit", "draw", "refund"] {
        let mut asked = image("u", 2);
        asked["ttlSeconds"] = json!(1);
        let id = live.reserved(asked).await;
        let record = format!("qg:{{default:live}}:op:{}", &id[4..id.len() - 13]);
        let answer = match path {
            "refund" => {
                live.commit(&id).await;
                let refund = json!({"userId": "u", "event": "image.a.refund", "metadata": {"reservationId": id}});
                live.once(path).post("track", refund).await
            }
            _ => {
                let body = json!({"reservationId": id, "quantity": 1, "final": path == "commit"});
                live.once(path).post("commit", body).await
            }
        };
        answer.expect(200);
        let left = time_to_live(&record).await;
        let mut answers = 0;
        for key in world.redis.run::<Vec<String>>(&["KEYS", "qg:{default:live}:op:*"]).await {
            if world.redis.run::<String>(&["GET", &key]).await.starts_with("answer\n") {
                answers += 1;
                assert!(time_to_live(&key).await <= left, "{path}: {key} outlives {record}");
                world.redis.run::<()>(&["DEL", &key]).await;
            }
        }
        assert_eq!(answers, 1, "{path}");
    }
}

/// An amount that rounds to nothing is remembered: the next amount is measured together with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_enlargements_add_up() {
    let world = World::frozen().await;
    let mut plan = monthly(100);
    plan["groups"][0]["measure"] = json!({"per": {"quantity": "0.001"}});
    world.admin.plan("p", plan).await;
    world.app.subscribe("u", "p").await;
    let id = world.app.reserved(image("u", 1)).await;
    let (_second, there) = world.another_node().await;
    for place in 0..10 {
        let app = if place % 2 == 0 { &world.app } else { &there };
        let extended = app.post("extend", json!({"reservationId": id, "quantity": 500})).await.expect(200);
        assert_eq!(extended["allowed"], true);
    }
    assert_eq!(world.app.stands("u", "images").await, (0.0, 6.0));
    there.commit(&id).await;
    assert_eq!(world.app.stands("u", "images").await, (6.0, 0.0));
}

/// Even on a node that does not know of a block, or of an end, yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_by_no_amount_is_decided_on_the_users_current_state() {
    let world = World::frozen().await;
    let mut plan = monthly(100);
    plan["groups"][0]["measure"] = json!({"per": {"quantity": "0.001"}});
    world.admin.plan("p", plan).await;
    world.app.subscribe("u", "p").await;
    let more = json!({"reservationId": world.app.reserved(image("u", 1)).await, "quantity": 1});
    let (second, there) = world.another_node().await;
    let operator = second.client(ROOT_KEY).with("x-mode", "test");
    let extended = async || world.app.post("extend", more.clone()).await.expect(200)["reasons"].clone();
    assert_eq!(extended().await, json!([]));
    operator.post("users/u/block", json!({})).await.expect(200);
    assert_eq!(extended().await, json!(["user_blocked"]));
    operator.post("users/u/unblock", json!({})).await.expect(200);
    assert_eq!(extended().await, json!([]));
    there.delete("subscriptions", Some(json!({"userId": "u"}))).await.expect(200);
    assert_eq!(extended().await, json!(["no_subscription"]));
    there.subscribe("u", "p").await;
    assert_eq!(extended().await, json!([]));
}

//! Policies and scopes: every budget owner, in one step.

use serde_json::{Value, json};

use crate::support::{Api, START, World, monthly, new_key};

/// A daily group that counts calls of `llm.chat`, per `scope`.
fn group(id: &str, scope: &[&str], quota: Value, more: Value) -> Value {
    let mut group = json!({"id": id, "unit": "count", "measure": "event", "quota": quota, "scope": scope,
        "matches": [{"event": "llm.chat"}]});
    group.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    group
}

async fn policy(world: &World, id: &str, groups: Value) {
    world.admin.put(&format!("policies/{id}"), json!({"periodType": "daily", "groups": groups})).await.expect(200);
}

/// A plan that lets everything pass, with a user on it.
async fn open_plan(world: &World, users: &[&str]) {
    let group = json!({"id": "all", "unit": "count", "measure": "event", "quota": null, "matches": [{"event": "*"}]});
    world.admin.plan("open", json!({"periodType": "monthly", "groups": [group]})).await;
    for user in users {
        world.app.subscribe(user, "open").await;
    }
}

fn call(user: &str, metadata: Value) -> Value {
    json!({"userId": user, "event": "llm.chat", "metadata": metadata})
}

fn names(decision: &Value) -> Vec<&str> {
    decision["deniedBy"].as_array().unwrap().iter().map(|denied| denied["groupId"].as_str().unwrap()).collect()
}

/// `[used, held]` of each counter of a group, by its scope's values.
async fn standings(world: &World, group: &str) -> Vec<(String, f64, f64)> {
    let admin = world.admin.with("x-mode", "test");
    let listed = admin.get(&format!("counters?groupId={group}")).await.expect(200);
    let line = |counter: &Value| {
        let scope = counter["scope"].as_object().unwrap().values().map(|value| value.as_str().unwrap());
        (scope.collect::<Vec<_>>().join("/"), counter["used"].as_f64().unwrap(), counter["held"].as_f64().unwrap())
    };
    let mut found: Vec<_> = listed["data"].as_array().unwrap().iter().map(line).collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

/// The control matrix: whoever owns the budget, a cap denies, a soft alert counts on and is told, an approval is asked
/// for; and the same owner's counter is shared by all users, another owner's is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_budget_owner_can_be_capped_watched_or_asked_for() {
    let world = World::frozen().await;
    open_plan(&world, &["u", "v"]).await;
    let other_key = new_key(&world.admin, json!({"kind": "secret", "mode": "test"})).await;
    let other = world.node.client(&other_key);
    let cases: [(&str, &[&str], Value, Value); 7] = [
        ("customer", &["user"], json!({}), json!({})),
        ("key", &["key"], json!({}), json!({})),
        ("team", &["metadata.team"], json!({"team": "red"}), json!({"team": "blue"})),
        ("workflow", &["metadata.workflow"], json!({"workflow": "summary"}), json!({"workflow": "search"})),
        ("environment", &["metadata.environment"], json!({"environment": "prod"}), json!({"environment": "dev"})),
        ("family", &["metadata.model_family"], json!({"model_family": "opus"}), json!({"model_family": "nano"})),
        ("app", &["app"], json!({}), Value::Null),
    ];
    for (name, scope, mine, others) in cases {
        for (kind, more) in [
            ("hard", json!({"enforcement": "hard"})),
            ("soft", json!({"enforcement": "soft", "alerts": [50, 100]})),
            ("approval", json!({"enforcement": "approval"})),
        ] {
            let id = format!("{name}_{kind}");
            policy(&world, "under_test", json!([group(&id, scope, json!(2), more)])).await;
            let user = |place: usize| if name == "customer" { "u" } else { ["u", "v"][place % 2] };
            for place in 0..2 {
                let held = world.app.reserved(call(user(place), mine.clone())).await;
                let settled = world.app.commit(&held).await;
                let told = match (kind, place) {
                    ("soft", 0) => json!([{"groupId": id, "percent": 50}]),
                    ("soft", _) => json!([{"groupId": id, "percent": 100}]),
                    _ => Value::Null,
                };
                assert_eq!(settled["thresholds"], told, "{id} {place}");
            }
            let third = world.app.reserve(call("u", mine.clone())).await;
            let expected = match kind {
                "hard" => json!(["limit_reached"]),
                "approval" => json!(["approval_required"]),
                _ => json!([]),
            };
            assert_eq!((&third["allowed"], &third["reasons"]), (&json!(kind == "soft"), &expected), "{id}: {third}");
            let counters = third["counters"].as_array().unwrap();
            let counter = counters.iter().find(|counter| counter["groupId"] == id.as_str()).unwrap();
            assert_eq!(counter["used"], 2, "{id}");
            if kind == "soft" {
                world.app.commit(third["reservationId"].as_str().unwrap()).await;
                let counted = world.app.reserved(call("u", mine.clone())).await;
                let settled = world.app.commit(&counted).await;
                let over = settled["counters"].as_array().unwrap().iter().find(|it| it["groupId"] == id.as_str());
                assert_eq!(over.unwrap()["overage"], 2, "{id}");
                assert_eq!(settled["thresholds"], Value::Null, "{id}: each is told once");
            } else if others != Value::Null {
                // Another owner has room: another value, another key, another user.
                let (api, user) = match name {
                    "key" => (&other, "u"),
                    "customer" => (&world.app, "v"),
                    _ => (&world.app, "u"),
                };
                assert_eq!(api.reserve(call(user, others.clone())).await["allowed"], true, "{id}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_hits_seven_counters_or_none() {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    let scopes: [(&str, &[&str]); 6] = [
        ("of_user", &["user"]),
        ("of_app", &["app"]),
        ("of_key", &["key"]),
        ("of_team", &["metadata.team"]),
        ("of_workflow", &["metadata.workflow"]),
        ("of_pair", &["user", "metadata.team"]),
    ];
    let groups: Vec<Value> = scopes.iter().map(|(id, scope)| group(id, scope, json!(10), json!({}))).collect();
    policy(&world, "budgets", json!(groups)).await;
    let metadata = json!({"team": "red", "workflow": "summary"});
    let before = eval_calls(&world).await;
    let decision = world.app.reserve(call("u", metadata.clone())).await;
    assert_eq!(decision["matchedGroupIds"].as_array().unwrap().len(), 7);
    assert_eq!(eval_calls(&world).await, before + 2, "one script for the call, once more for the user it did not know");
    let again = world.app.reserve(call("u", metadata.clone())).await;
    assert_eq!(eval_calls(&world).await, before + 3, "always one script");
    world.app.release(again["reservationId"].as_str().unwrap()).await;
    world.app.commit(decision["reservationId"].as_str().unwrap()).await;
    for (id, scope) in [("of_app", "default"), ("of_team", "red"), ("of_workflow", "summary"), ("of_pair", "red/u")] {
        assert_eq!(standings(&world, id).await, [(scope.to_owned(), 1.0, 0.0)], "{id}");
    }
    // The last of seven has no room: nothing changes anywhere.
    let state = world.redis.contents("qg:*counters*").await;
    policy(
        &world,
        "budgets",
        json!(
            groups
                .iter()
                .map(|it| {
                    let mut group = it.clone();
                    if group["id"] == "of_pair" {
                        group["quota"] = json!(1)
                    }
                    group
                })
                .collect::<Vec<_>>()
        ),
    )
    .await;
    let denied = world.app.reserve(call("u", metadata)).await;
    assert_eq!((&denied["allowed"], names(&denied)), (&json!(false), vec!["of_pair"]));
    assert_eq!(world.redis.contents("qg:*counters*").await, state);
}

async fn eval_calls(world: &World) -> u64 {
    let stats: String = world.redis.run(&["INFO", "commandstats"]).await;
    let calls = |name: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.and_then(|line| line.split(',').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    calls("evalsha") + calls("eval")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_needed_name_that_is_missing_is_told_and_a_key_brings_its_own() {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    policy(&world, "teams", json!([group("of_team", &["user", "metadata.team"], json!(1), json!({}))])).await;
    for metadata in [json!({}), json!({"team": ""})] {
        let denied = world.app.reserve(call("u", metadata.clone())).await;
        assert_eq!((&denied["reasons"], &denied["allowed"]), (&json!(["missing_scope"]), &json!(false)));
        assert_eq!(denied["deniedBy"][0]["missingScope"], json!(["metadata.team"]));
        let asked = world.app.post("can-use", call("u", metadata)).await.expect(200);
        assert_eq!(asked["reasons"], json!(["missing_scope"]));
    }
    // What has happened counts where it can.
    let tracked = world.app.post("track", call("u", json!({}))).await.expect(200);
    assert_eq!(tracked["matchedGroupIds"], json!(["all"]));
    let body = json!({"kind": "secret", "mode": "test", "metadata": {"team": "red"}});
    let red = world.node.client(&new_key(&world.admin, body).await);
    red.reserved(call("u", json!({"team": "blue"}))).await;
    assert_eq!(standings(&world, "of_team").await, [("red/u".to_owned(), 0.0, 1.0)], "the key's word counts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_hold_whatever_the_plan_and_without_one_for_what_has_happened() {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    policy(&world, "cap", json!([group("capped", &["user"], json!(1), json!({}))])).await;
    let tracked = world.app.post("track", call("nobody", json!({}))).await.expect(200);
    assert_eq!((&tracked["matchStatus"], &tracked["matchedGroupIds"]), (&json!("no_subscription"), &json!(["capped"])));
    let usage = world.app.get("usage?userId=nobody").await.expect(200);
    assert_eq!((&usage["planId"], &usage["period"]), (&Value::Null, &Value::Null));
    assert_eq!((&usage["counters"][0]["groupId"], &usage["counters"][0]["used"]), (&json!("capped"), &json!(1)));
    assert_eq!(world.app.reserve(call("nobody", json!({}))).await["reasons"], json!(["no_subscription"]));
    // An event that no group of the plan matches, and a policy does.
    let rest = json!({"id": "own", "unit": "count", "quota": 5, "matches": [{"event": "image.*"}]});
    for (unmatched, allowed) in [("deny", false), ("allow", true)] {
        let body = json!({"periodType": "monthly", "unmatchedEvents": unmatched, "groups": [rest]});
        world.admin.plan("images", body).await;
        world.app.subscribe(unmatched, "images").await;
        let first = world.app.reserve(call(unmatched, json!({}))).await;
        assert_eq!(first["allowed"], allowed, "{unmatched}");
        if allowed {
            assert_eq!(world.app.reserve(call(unmatched, json!({}))).await["reasons"], json!(["limit_reached"]));
        } else {
            assert_eq!(first["reasons"], json!(["unmatched_event"]));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_a_policy_binds_on_the_next_call_on_every_node() {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    let (_node, elsewhere) = world.another_node().await;
    for (quota, allowed) in [(1, true), (1, false), (2, true), (2, false), (0, false), (5, true)] {
        policy(&world, "cap", json!([group("capped", &["app"], json!(quota), json!({}))])).await;
        let decision = elsewhere.reserve(call("u", json!({}))).await;
        assert_eq!(decision["allowed"], allowed, "{quota}: {decision}");
    }
    // What is held settles after its policy is gone; made anew within the window, the counter goes on.
    let held = world.app.reserved(call("u", json!({}))).await;
    world.admin.delete("policies/cap", None).await.expect(204);
    assert_eq!(world.app.reserve(call("u", json!({}))).await["matchedGroupIds"], json!(["all"]));
    let settled = elsewhere.commit(&held).await;
    assert!(settled["counters"].as_array().unwrap().iter().any(|counter| counter["groupId"] == "capped"));
    policy(&world, "cap", json!([group("capped", &["app"], json!(5), json!({}))])).await;
    assert_eq!(standings(&world, "capped").await, [("default".to_owned(), 1.0, 3.0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_cannot_work_is_refused_with_the_reason() {
    let world = World::new().await;
    world.admin.plan("one", monthly(5)).await;
    policy(&world, "cap", json!([group("capped", &["metadata.team"], json!(1), json!({}))])).await;
    for (path, body, field) in [
        ("policies/p", json!({"groups": [group("g", &["team"], json!(1), json!({}))]}), "groups[0].scope"),
        (
            "policies/p",
            json!({"periodType": "daily", "groups": [group("g", &[], json!(1), json!({}))]}),
            "groups[0].scope",
        ),
        (
            "policies/p",
            json!({"periodType": "lifetime", "groups": [group("g", &["metadata.team"], json!(1), json!({}))]}),
            "groups[0].periodType",
        ),
        (
            "policies/p",
            json!({"periodType": "daily", "groups": [group("g", &["user"], json!(1), json!({"periodAnchor": "subscription_start"}))]}),
            "groups[0].periodAnchor",
        ),
        (
            "plans/p",
            json!({"periodType": "daily", "groups": [group("g", &["app"], json!(1), json!({"periodAnchor": "subscription_start"}))]}),
            "groups[0].periodAnchor",
        ),
        (
            "plans/p",
            json!({"periodType": "daily", "groups": [group("g", &["app"], json!(1), json!({"onPlanChange": "reset"}))]}),
            "groups[0].onPlanChange",
        ),
        (
            "plans/p",
            json!({"periodType": "daily", "groups": [group("g", &["user"], json!(1), json!({"alerts": [90, 50]}))]}),
            "groups[0].alerts",
        ),
        // An id belongs to plans or to one policy, and its unit and scope never change.
        (
            "policies/p",
            json!({"periodType": "daily", "groups": [group("images", &["user"], json!(1), json!({}))]}),
            "groups[0].id",
        ),
        (
            "policies/p",
            json!({"periodType": "daily", "groups": [group("capped", &["metadata.team"], json!(1), json!({}))]}),
            "groups[0].id",
        ),
        (
            "plans/p",
            json!({"periodType": "daily", "groups": [group("capped", &["metadata.team"], json!(1), json!({}))]}),
            "groups[0].id",
        ),
        (
            "policies/cap",
            json!({"periodType": "daily", "groups": [group("capped", &["user"], json!(1), json!({}))]}),
            "groups[0].scope",
        ),
        // 4,000 tokens are not 4,000 images, also between a plan and a policy.
        (
            "policies/p",
            json!({"periodType": "daily", "groups": [{"id": "t", "unit": "tokens", "quota": 1, "matches": [{"event": "*"}]}]}),
            "groups[0].measure",
        ),
        ("policies/p", json!({"id": "q", "groups": []}), "id"),
        ("policies/p", json!({"groups": [], "retry": {"maxAttempts": 0}}), "retry.maxAttempts"),
        ("policies/p", json!({"groups": [], "reviewCadence": "sometimes"}), "reviewCadence"),
        ("policies/p", json!({"groups": [], "unmatchedEvents": "deny"}), "unmatchedEvents"),
    ] {
        assert_eq!(world.admin.put(path, body.clone()).await.bad_field(), field, "{path} {body}");
    }
    // A counter of several users has one period in all plans.
    let shared =
        |period: &str| json!({"periodType": period, "groups": [group("shared", &["app"], json!(5), json!({}))]});
    world.admin.plan("a", shared("daily")).await;
    world.admin.plan("b", shared("daily")).await;
    assert_eq!(world.admin.put("plans/b", shared("weekly")).await.bad_field(), "groups[0].periodType");
    // An app that spreads its users over a cluster has no place for a counter of several users.
    world.admin.post("apps", json!({"id": "spread", "placement": "user"})).await.expect(201);
    let spread = world.admin.with("x-app", "spread");
    let refused = spread.put("plans/p", shared("daily")).await.problem(400, "invalid_request");
    assert!(refused["errors"][0]["message"].as_str().unwrap().contains("placement"), "{refused}");
    let per_user = group("g", &["user", "metadata.team"], json!(1), json!({}));
    spread.put("policies/p", json!({"periodType": "daily", "groups": [per_user]})).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn placement_user_counts_per_user_and_team_in_the_users_slot() {
    let world = World::new().await;
    world.admin.post("apps", json!({"id": "spread", "placement": "user"})).await.expect(201);
    let admin = world.admin.with("x-app", "spread");
    let key = new_key(&admin, json!({"kind": "secret", "mode": "test"})).await;
    let app = world.node.client(&key);
    app.freeze(START).await;
    admin
        .plan(
            "open",
            json!({"periodType": "monthly", "groups": [
        {"id": "all", "unit": "count", "measure": "event", "quota": null, "matches": [{"event": "*"}]}]}),
        )
        .await;
    let groups = json!([group("pair", &["user", "metadata.team"], json!(1), json!({}))]);
    admin.put("policies/p", json!({"periodType": "daily", "groups": groups})).await.expect(200);
    for user in ["u", "v", "w"] {
        app.subscribe(user, "open").await;
        app.reserved(call(user, json!({"team": "red"}))).await;
        assert_eq!(app.reserve(call(user, json!({"team": "red"}))).await["reasons"], json!(["limit_reached"]));
        app.reserved(call(user, json!({"team": "blue"}))).await;
    }
    let keys: Vec<String> = world.redis.run(&["KEYS", "qg:*counters*"]).await;
    for user in ["u", "v", "w"] {
        let of_user = |key: &&String| key.ends_with(&format!(":{user}")) || key.contains(&format!(":{user}:"));
        let tags: Vec<&str> = keys.iter().filter(of_user).map(|key| key.split('}').next().unwrap()).collect();
        assert_eq!(tags.len(), 3, "{keys:?}");
        assert!(tags.windows(2).all(|pair| pair[0] == pair[1]), "all of {user} lies in one slot: {keys:?}");
    }
    let listed = admin.with("x-mode", "test").get("counters?groupId=pair&limit=4").await.expect(200);
    let next = admin.with("x-mode", "test");
    let next = next
        .get(&format!("counters?groupId=pair&limit=4&cursor={}", listed["nextCursor"].as_str().unwrap()))
        .await
        .expect(200);
    assert_eq!((listed["data"].as_array().unwrap().len(), next["data"].as_array().unwrap().len()), (4, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_of_free_values_expire_and_a_flood_of_them_is_bounded_and_seen() {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    policy(
        &world,
        "teams",
        json!([
            group("of_team", &["metadata.team"], json!(100), json!({})),
            group("of_app", &["app"], json!(1000), json!({"periodType": "lifetime"})),
        ]),
    )
    .await;
    world.admin.put("app", json!({"maxScopeValues": 5})).await.expect(200);
    for place in 0..5 {
        let held = world.app.reserved(call("u", json!({"team": format!("t{place}")}))).await;
        if place == 0 {
            world.app.commit(&held).await;
        }
    }
    let state = world.redis.contents("qg:*counters*").await;
    let denied = world.app.reserve(call("u", json!({"team": "one too many"}))).await;
    assert_eq!((&denied["reasons"], names(&denied)), (&json!(["limit_reached"]), vec!["of_team"]));
    assert_eq!((&denied["deniedBy"][0]["scopeFull"], &denied["deniedBy"][0]["remaining"]), (&json!(true), &json!(0)));
    assert!(denied["retryAfterMs"].is_null());
    assert_eq!(world.redis.contents("qg:*counters*").await, state, "a denied call makes no counter");
    // Known values go on; what has happened counts elsewhere; the flood shows in the metrics.
    world.app.reserved(call("u", json!({"team": "t3"}))).await;
    let tracked = world.app.post("track", call("u", json!({"team": "one more"}))).await.expect(200);
    assert_eq!(tracked["matchStatus"], "matched");
    assert_eq!(standings(&world, "of_app").await[0].1, 2.0);
    assert_eq!(standings(&world, "of_team").await.len(), 5);
    let metrics = world.node.client("").get("/metrics").await.text;
    assert!(metrics.contains("quotagate_crowded_scopes_total{"), "{metrics}");
    // Whatever callers name has an end, the app's own counter has none.
    let keys: Vec<String> = world.redis.run(&["KEYS", "qg:*:metadata.team:*"]).await;
    assert!(keys.len() == 9, "{keys:?}");
    for key in keys {
        let ttl: i64 = world.redis.run(&["PTTL", &key]).await;
        assert!(ttl > 24 * 3_600_000, "{key} {ttl}");
    }
    let app: i64 = world.redis.run(&["PTTL", "qg:{default:test/main}:counters:app:default"]).await;
    assert_eq!(app, -1);
    // As if their time had come: a new value takes the place of those that are over.
    for (place, key) in
        world.redis.run::<Vec<String>>(&["KEYS", "qg:*counters:metadata.team:*"]).await.iter().enumerate()
    {
        if place < 2 {
            let name = key.rsplit(':').next().unwrap();
            world.redis.run::<()>(&["DEL", key]).await;
            world.redis.run::<()>(&["ZADD", "qg:{default:test/main}:owners:metadata.team", "1", name]).await;
        }
    }
    world.app.reserved(call("u", json!({"team": "fresh"}))).await;
    assert_eq!(standings(&world, "of_team").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_in_flight_are_limited_per_any_scope_and_a_slot_is_never_stuck() {
    let world = World::frozen().await;
    open_plan(&world, &["u", "v"]).await;
    let in_flight =
        |id: &str, scope: &[&str], quota: u64| group(id, scope, json!(quota), json!({"periodType": "concurrent"}));
    policy(&world, "jobs", json!([in_flight("of_team", &["metadata.team"], 2), in_flight("of_app", &["app"], 3)]))
        .await;
    let red = |user: &str| {
        let mut call = call(user, json!({"team": "red"}));
        call["ttlSeconds"] = json!(30);
        call
    };
    let first = world.app.reserved(red("u")).await;
    let second = world.app.reserved(red("v")).await;
    let denied = world.app.reserve(red("u")).await;
    assert_eq!((names(&denied), &denied["retryAfterMs"]), (vec!["of_team"], &json!(30_000)));
    let blue = world.app.reserved(call("u", json!({"team": "blue"}))).await;
    assert_eq!(names(&world.app.reserve(call("v", json!({"team": "green"}))).await), ["of_app"]);
    // Commit, release and expiry free a slot each.
    world.app.commit(&first).await;
    let third = world.app.reserved(red("u")).await;
    world.app.release(&blue).await;
    world.app.freeze("2027-01-31T10:00:29Z").await;
    assert_eq!(names(&world.app.reserve(red("u")).await), ["of_team"]);
    world.app.freeze("2027-01-31T10:00:30Z").await;
    for id in [&second, &third] {
        world.app.post("release", json!({"reservationId": id})).await.problem(410, "reservation_expired");
    }
    world.app.reserved(red("u")).await;
    world.app.reserved(red("v")).await;
    assert_eq!(standings(&world, "of_team").await, [("red".to_owned(), 0.0, 2.0)]);
    assert_eq!(standings(&world, "of_app").await, [("default".to_owned(), 0.0, 2.0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_of_one_action_are_counted_and_told_with_the_decision() {
    let world = World::frozen().await;
    open_plan(&world, &["u", "v"]).await;
    let body = json!({
    "periodType": "daily",
    "retry": {"maxAttempts": 3, "backoff": {"initialMs": 250, "maxMs": 4000}, "nonRetryable": ["content_filter"]},
    "groups": [
        group("calls", &["app"], json!(100), json!({})),
        // Fallbacks have a budget of their own.
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
    // Another action, another user, no action: nothing of this.
    world.app.reserved(action("u", "a2")).await;
    world.app.reserved(action("v", "a1")).await;
    let plain = world.app.reserve(call("u", json!({}))).await;
    assert_eq!((&plain["allowed"], &plain["retry"]["attemptsLeft"]), (&json!(true), &Value::Null));
    // A fallback is capped in money.
    let fallback = |cents: f64| call("v", json!({"fallback": true, "cents": cents.to_string()}));
    let held = world.app.reserved(fallback(4.0)).await;
    assert_eq!(names(&world.app.reserve(fallback(1.5)).await), ["fallbacks"]);
    world.app.commit(&held).await;
    world.app.reserved(fallback(1.0)).await;
    // Without a policy that matches there is nothing to tell.
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
    // Figures must fit; a composite is not enlarged.
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
            "quantity",
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
    // A repetition finds the same reservation, and another order is another request.
    let once = world.app.once("run-1");
    let first = once.reserve(run(1, 1)).await;
    assert_eq!(once.reserve(run(1, 1)).await["reservationId"], first["reservationId"]);
    once.post("reserve", run(1, 2)).await.problem(409, "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_register_of_policies_tells_owners_and_reviews() {
    let world = World::new().await;
    let body = json!({"name": "Premium route", "owner": "ml-platform", "environment": "production", "route": "opus",
        "reviewCadence": "quarterly", "notes": "Agreed with finance.\nSee the sheet.",
        "approval": {"approvers": ["finance"], "condition": "above 100 a day"}, "periodType": "daily",
        "groups": [group("premium", &["metadata.team"], json!(100), json!({"enforcement": "approval"}))]});
    let put = world.admin.put("policies/premium", body.clone()).await;
    let etag = put.header("etag").unwrap().to_owned();
    let put = put.expect(200);
    world.admin.put("policies/free", json!({"groups": []})).await.expect(200);
    let listed = world.admin.get("policies").await.expect(200);
    let ids: Vec<&str> = listed["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["free", "premium"]);
    let read = world.admin.get("policies/premium").await.expect(200);
    assert_eq!(read, listed["data"][1]);
    for field in ["owner", "environment", "route", "reviewCadence", "notes", "approval"] {
        assert_eq!(read[field], body[field], "{field}");
    }
    assert_eq!((&read["reviewDue"], read["reviewDueAt"].is_string()), (&json!(false), true));
    assert_eq!(listed["data"][0]["reviewDueAt"], Value::Null);
    // As if the last look were long ago.
    let long_ago = json!({"at": "2020-01-31T10:00:00Z", "by": "key_1"}).to_string();
    world.redis.run::<()>(&["HSET", "qg:{default}:config", "review:premium", &long_ago]).await;
    let due = world.admin.get("policies/premium").await.expect(200);
    assert_eq!((&due["reviewDue"], &due["reviewDueAt"]), (&json!(true), &json!("2020-04-30T10:00:00Z")));
    let reviewed = world.admin.post("policies/premium/review", json!({"note": "still right"})).await.expect(200);
    assert_eq!((&reviewed["reviewDue"], &reviewed["reviewed"]["note"]), (&json!(false), &json!("still right")));
    assert_eq!(reviewed["version"], put["version"], "a review is no new version");
    // Versions, a preview, a rollback, a lost race.
    let mut raised = body.clone();
    raised["groups"][0]["quota"] = json!(50);
    let preview = world.admin.put("policies/premium?dryRun=true", raised.clone()).await.expect(200);
    assert_eq!(preview["changes"][0]["fields"][0]["path"], "groups.premium.quota");
    world
        .admin
        .with("If-Match", "\"1\"")
        .put("policies/premium", raised.clone())
        .await
        .problem(412, "version_conflict");
    world.admin.with("If-Match", &etag).put("policies/premium", raised).await.expect(200);
    let versions = world.admin.get("policies/premium/versions").await.expect(200);
    assert_eq!(versions["data"].as_array().unwrap().len(), 2);
    let back = world.admin.post("policies/premium/rollback", json!({"version": put["version"]})).await.expect(200);
    assert_eq!(back["groups"][0]["quota"], 100);
    world.admin.delete("policies/premium", None).await.expect(204);
    world.admin.get("policies/premium").await.problem(404, "not_found");
    let audit = world.admin.get("audit?target=policy:premium").await.expect(200);
    let actions: Vec<&str> =
        audit["data"].as_array().unwrap().iter().map(|it| it["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["policy.delete", "policy.put", "policy.put", "policy.review", "policy.put"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_users_do_not_see_what_others_use_too() {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    policy(
        &world,
        "budgets",
        json!([
            group("of_app", &["app"], json!(10), json!({})),
            group("of_team", &["metadata.team"], json!(10), json!({})),
            group("of_pair", &["user", "metadata.team"], json!(10), json!({})),
        ]),
    )
    .await;
    world.app.reserved(call("u", json!({"team": "red"}))).await;
    let seen = async |api: &Api, query: &str| -> Vec<String> {
        let usage = api.get(&format!("usage?userId=u{query}")).await.expect(200);
        let ids = usage["counters"].as_array().unwrap().iter().map(|it| it["groupId"].as_str().unwrap().to_owned());
        ids.collect()
    };
    assert_eq!(seen(&world.app, "").await, ["all", "of_app"]);
    assert_eq!(seen(&world.app, "&metadata.team=red").await, ["all", "of_app", "of_team", "of_pair"]);
    let public = new_key(&world.admin, json!({"kind": "publishable", "mode": "test"})).await;
    let browser = world.node.client(&public);
    assert_eq!(seen(&browser, "").await, ["all"]);
    assert_eq!(seen(&browser, "&metadata.team=red").await, ["all", "of_pair"]);
    assert_eq!(world.app.get("usage?userId=u&team=red").await.bad_field(), "team");
}

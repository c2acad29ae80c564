//! Scopes: who owns the counter of an event.

use serde_json::{Value, json};

use crate::configuration::budgets::{call, group, names, open_plan, policy, standings};
use crate::support::{Api, START, World, new_key};

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
    // The first call of a node defines the program in Redis.
    let first = world.app.reserved(call("u", metadata.clone())).await;
    world.app.release(&first).await;
    let before = function_calls(&world).await;
    let decision = world.app.reserve(call("u", metadata.clone())).await;
    assert_eq!(decision["matchedGroupIds"].as_array().unwrap().len(), 7);
    assert_eq!(function_calls(&world).await, before + 1, "one script");
    let again = world.app.reserve(call("u", metadata.clone())).await;
    assert_eq!(function_calls(&world).await, before + 2, "always one script");
    world.app.release(again["reservationId"].as_str().unwrap()).await;
    world.app.commit(decision["reservationId"].as_str().unwrap()).await;
    for (id, scope) in [("of_app", "default"), ("of_team", "red"), ("of_workflow", "summary"), ("of_pair", "red/u")] {
        assert_eq!(standings(&world, id).await, [(scope.to_owned(), 1.0, 0.0)], "{id}");
    }
    // The last of seven is at its limit: nothing changes anywhere.
    let state = world.redis.contents("qg:*account*").await;
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
    assert_eq!(world.redis.contents("qg:*account*").await, state);
}

async fn function_calls(world: &World) -> u64 {
    let stats: String = world.redis.run(&["INFO", "commandstats"]).await;
    let calls = |name: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.and_then(|line| line.split(',').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    calls("fcall")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_scope_name_is_reported_and_a_key_can_provide_it() {
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
    // Usage that has already happened counts wherever it can.
    let tracked = world.app.post("track", call("u", json!({}))).await.expect(200);
    assert_eq!(tracked["matchedGroupIds"], json!(["all"]));
    let body = json!({"kind": "secret", "mode": "test", "metadata": {"team": "red"}});
    let red = world.node.client(&new_key(&world.admin, body).await);
    red.reserved(call("u", json!({"team": "blue"}))).await;
    assert_eq!(standings(&world, "of_team").await, [("red/u".to_owned(), 0.0, 1.0)], "the key's word counts");
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
    let keys: Vec<String> = world.redis.run(&["KEYS", "qg:*account*"]).await;
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
    for wrong in [0, 10_000_001] {
        assert_eq!(world.admin.put("app", json!({"maxScopeValues": wrong})).await.bad_field(), "maxScopeValues");
    }
    world.admin.put("app", json!({"maxScopeValues": 5})).await.expect(200);
    for place in 0..5 {
        let held = world.app.reserved(call("u", json!({"team": format!("t{place}")}))).await;
        if place == 0 {
            world.app.commit(&held).await;
        }
    }
    let state = world.redis.contents("qg:*account*").await;
    let denied = world.app.reserve(call("u", json!({"team": "one too many"}))).await;
    assert_eq!((&denied["reasons"], names(&denied)), (&json!(["limit_reached"]), vec!["of_team"]));
    assert_eq!((&denied["deniedBy"][0]["scopeFull"], &denied["deniedBy"][0]["remaining"]), (&json!(true), &json!(0)));
    assert!(denied["retryAfterMs"].is_null());
    assert_eq!(world.redis.contents("qg:*account*").await, state, "a denied call makes no counter");
    // Known values still work; usage that has already happened counts in the other groups; the flood shows in the
    // metrics.
    world.app.reserved(call("u", json!({"team": "t3"}))).await;
    let tracked = world.app.post("track", call("u", json!({"team": "one more"}))).await.expect(200);
    assert_eq!(tracked["matchStatus"], "matched");
    assert_eq!(standings(&world, "of_app").await[0].1, 2.0);
    assert_eq!(standings(&world, "of_team").await.len(), 5);
    let metrics = world.node.client("").get("/metrics").await.text;
    assert!(metrics.contains("quotagate_crowded_scopes_total{"), "{metrics}");
    // All owners that callers name expire; the app's own counter does not.
    let keys: Vec<String> = world.redis.run(&["KEYS", "qg:*:metadata.team:*"]).await;
    assert!(keys.len() == 9, "{keys:?}");
    for key in keys {
        let ttl: i64 = world.redis.run(&["PTTL", &key]).await;
        assert!(ttl > 24 * 3_600_000, "{key} {ttl}");
    }
    let app: i64 = world.redis.run(&["PTTL", "qg:{default:test/main}:account:app:default"]).await;
    assert_eq!(app, -1);
    // As if they had expired: a new value takes the place of an expired one.
    for (place, key) in
        world.redis.run::<Vec<String>>(&["KEYS", "qg:*account:metadata.team:*"]).await.iter().enumerate()
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

/// Nothing keeps them from expiring: neither their own counters nor those that they share with a key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_counts_for_a_user_and_something_else_is_forgotten_with_the_user() {
    let world = World::frozen().await;
    world
        .admin
        .plan(
            "free",
            json!({"periodType": "daily", "periodAnchor": "calendar", "groups": [
        {"id": "all", "unit": "count", "quota": null, "matches": [{"event": "*"}]}]}),
        )
        .await;
    // Users do not count towards the maximum number of scope values.
    world.admin.put("app", json!({"defaultPlanId": "free", "maxScopeValues": 1})).await.expect(200);
    world
        .admin
        .put(
            "policies/pairs",
            json!({"periodType": "daily", "groups": [
        {"id": "pair", "unit": "count", "quota": 9, "scope": ["user", "key"], "matches": [{"event": "*"}]}]}),
        )
        .await
        .expect(200);
    let keys = async |kind: &str, user: &str| -> Vec<String> {
        world.redis.run(&["KEYS", &format!("qg:{{default:test/main}}:{kind}:*{user}*")]).await
    };
    let times = async |user: &str| {
        let mut times = Vec::new();
        for key in keys("account", user).await.into_iter().chain(keys("holds", user).await) {
            times.push(world.redis.run::<i64>(&["PTTL", &key]).await);
        }
        times
    };
    for user in ["visitor", "customer", "guest"] {
        if user == "customer" {
            world.app.subscribe(user, "free").await;
        }
        world.app.reserved(json!({"userId": user, "event": "x"})).await;
        let times = times(user).await;
        assert_eq!(times.len(), 4, "{user}");
        assert!(times.iter().all(|ttl| (*ttl == -1) == (user == "customer")), "{user}: {times:?}");
    }
    world.app.subscribe("visitor", "free").await;
    world.app.reserved(json!({"userId": "visitor", "event": "x"})).await;
    assert_eq!(times("visitor").await, [-1; 4], "who has a subscription stays, with all that counts");
}

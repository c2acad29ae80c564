//! Limits of single owners: another quota for one team, key, user or combination.

use serde_json::{Value, json};

use crate::configuration::budgets::{call, group, names, open_plan, policy};
use crate::support::proven::drifts;
use crate::support::{Api, World, monthly, new_key};

fn red() -> Value {
    json!({"metadata.team": "red"})
}

fn of(team: &str) -> Value {
    call("u", json!({"team": team}))
}

/// A world whose teams may make two calls a day.
async fn teams() -> World {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    policy(&world, "teams", json!([group("team", &["metadata.team"], json!(2), json!({"alerts": [50]}))])).await;
    world
}

async fn put(api: &Api, group: &str, body: Value) -> Value {
    api.put(&format!("limits/{group}"), body).await.expect(200)
}

async fn remove(api: &Api, group: &str, scope: Value) -> u16 {
    api.delete(&format!("limits/{group}"), Some(json!({"scope": scope}))).await.status
}

async fn listed(api: &Api, group: &str) -> Vec<(Value, Value)> {
    let list = api.get(&format!("limits?groupId={group}")).await.expect(200);
    list["data"].as_array().unwrap().iter().map(|limit| (limit["scope"].clone(), limit["quota"].clone())).collect()
}

/// Whether a call is allowed, with the quota of its team's counter.
async fn asked(api: &Api, body: Value) -> (bool, Value) {
    let answer = api.reserve(body).await;
    let counter = answer["counters"].as_array().unwrap().iter().find(|counter| counter["groupId"] != "all").unwrap();
    (answer["allowed"] == true, counter["quota"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_teams_limit_applies_to_the_next_call_on_every_node_until_it_is_removed() {
    let world = teams().await;
    let (other, second) = world.another_node().await;
    for api in [&world.app, &second] {
        assert_eq!(asked(api, of("red")).await, (true, json!(2)));
    }
    assert_eq!(asked(&second, of("red")).await, (false, json!(2)));
    let limit = put(&world.app, "team", json!({"scope": red(), "quota": 3, "note": "launch, week 1"})).await;
    let expected = json!({"groupId": "team", "scope": red(), "unit": "count", "quota": 3, "until": null,
        "note": "launch, week 1"});
    assert_eq!(limit, expected);
    assert_eq!(asked(&second, of("red")).await, (true, json!(3)), "on the other node too");
    let denied = second.reserve(of("red")).await;
    assert_eq!((names(&denied), &denied["deniedBy"][0]["remaining"]), (vec!["team"], &json!(0)));
    assert_eq!(asked(&world.app, of("blue")).await, (true, json!(2)), "others keep the quota of the group");
    // 0 stops the team, null counts without limit.
    put(&second, "team", json!({"scope": red(), "quota": 0})).await;
    assert_eq!(asked(&world.app, of("red")).await, (false, json!(0)));
    put(&second, "team", json!({"scope": red(), "quota": null})).await;
    let answer = world.app.reserve(of("red")).await;
    assert_eq!(answer["allowed"], true);
    let counter = answer["counters"].as_array().unwrap().iter().find(|it| it["groupId"] == "team").unwrap();
    assert_eq!((&counter["quota"], &counter["remaining"], &counter["held"]), (&Value::Null, &Value::Null, &json!(4)));
    assert_eq!(listed(&world.app, "team").await, [(red(), Value::Null)]);
    // It is shown with the counters.
    let admin = world.admin.with("x-mode", "test");
    let counters = admin.get("counters?groupId=team").await.expect(200);
    let quotas: Vec<&Value> = counters["data"].as_array().unwrap().iter().map(|counter| &counter["quota"]).collect();
    assert!(quotas.contains(&&Value::Null) && quotas.contains(&&json!(2)), "{counters}");
    let usage = world.app.get("usage?userId=u&metadata.team=red").await.expect(200);
    assert!(usage["counters"].as_array().unwrap().iter().any(|it| it["groupId"] == "team" && it["quota"].is_null()));
    let explained = admin.get("explain?userId=u&event=llm.chat&metadata.team=red").await.expect(200);
    let groups = explained["call"]["groups"].as_array().unwrap();
    let shown = groups.iter().find(|group| group["groupId"] == "team").unwrap();
    assert_eq!((&shown["counter"]["quota"], &shown["refuses"]), (&Value::Null, &json!(false)), "{shown}");

    assert_eq!(remove(&second, "team", red()).await, 204);
    assert_eq!(remove(&second, "team", red()).await, 404);
    assert_eq!(asked(&world.app, of("red")).await, (false, json!(2)));
    assert_eq!(listed(&world.app, "team").await, []);
    let audit = admin.get("audit?target=metadata.team:red").await.expect(200);
    let actions: Vec<&Value> = audit["data"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["limit.delete", "limit.put", "limit.put", "limit.put"]);
    let first = audit["data"].as_array().unwrap().last().unwrap();
    assert_eq!((&first["after"], &first["note"]), (&expected, &json!("launch, week 1")));
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_a_user_and_a_group_of_plans_it_is_the_quota_in_custom_limits() {
    let world = World::frozen().await;
    world.admin.plan("free", monthly(2)).await;
    world.admin.plan("pro", monthly(9)).await;
    world.app.subscribe("u", "free").await;
    let user = json!({"user": "u"});
    put(&world.app, "images", json!({"scope": user, "quota": 5, "note": "vip"})).await;
    let admin = world.admin.with("x-mode", "test");
    let custom = async || admin.get("users/u").await.expect(200)["subscription"]["customLimits"].clone();
    assert_eq!(custom().await, json!({"images": {"quota": 5, "note": "vip"}}));
    assert_eq!(world.app.counter("u", "images").await["quota"], 5);
    // And the other way round.
    let body = json!({"userId": "u", "planId": "free", "customLimits": {"images": {"quota": 7}}});
    world.app.post("subscriptions", body).await.expect(200);
    assert_eq!(listed(&world.app, "images").await, [(user.clone(), json!(7))]);
    assert_eq!(remove(&world.app, "images", user.clone()).await, 204);
    assert_eq!((custom().await, remove(&world.app, "images", user.clone()).await), (Value::Null, 404));
    // One that ends, by itself.
    let body = json!({"scope": user, "quota": 0, "until": "2027-02-01T00:00:00Z"});
    let limit = put(&world.app, "images", body).await;
    assert_eq!(limit["until"], "2027-02-01T00:00:00Z");
    let image = json!({"userId": "u", "event": "image.render"});
    assert_eq!(asked(&world.app, image.clone()).await, (false, json!(0)));
    let (other, second) = world.another_node().await;
    assert_eq!(asked(&second, image.clone()).await, (false, json!(0)));
    world.app.freeze("2027-02-01T00:00:00Z").await;
    for api in [&world.app, &second] {
        assert_eq!(asked(api, image.clone()).await, (true, json!(2)));
    }
    assert_eq!(listed(&second, "images").await, []);
    // It belongs to the subscription, so it ends with the plan.
    put(&world.app, "images", json!({"scope": user, "quota": 5})).await;
    world.app.subscribe("u", "pro").await;
    assert_eq!(world.app.counter("u", "images").await["quota"], 9);
    let audit = admin.get("audit?target=user:u").await.expect(200);
    let actions: Vec<&str> =
        audit["data"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions.iter().filter(|action| action.starts_with("limit.")).count(), 4, "{actions:?}");
    // A whole custom plan is changed as a whole.
    let mut own = monthly(3);
    own["groups"][0]["id"] = json!("images");
    let body = json!({"userId": "u", "planId": "pro", "customLimits": own});
    world.app.post("subscriptions", body).await.expect(200);
    let refused = world.app.put("limits/images", json!({"scope": user, "quota": 5})).await;
    assert_eq!(refused.bad_field(), "scope.user");
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scope_of_a_policy_can_have_limits_of_single_owners() {
    let world = World::frozen().await;
    open_plan(&world, &["u", "v"]).await;
    let key = world.admin.get("keys").await.expect(200)["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["kind"] == "secret")
        .unwrap()["id"]
        .clone();
    for (id, scope, owner, stranger) in [
        ("of_user", json!(["user"]), json!({"user": "u"}), Some(call("v", json!({})))),
        ("of_key", json!(["key"]), json!({"key": key}), None),
        ("of_app", json!(["app"]), json!({"app": "default"}), None),
        (
            "of_run",
            json!(["user", "metadata.run"]),
            json!({"user": "u", "metadata.run": "r1"}),
            Some(call("u", json!({"run": "r2"}))),
        ),
    ] {
        let names: Vec<&str> = scope.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        policy(&world, "one", json!([group(id, &names, json!(1), json!({}))])).await;
        let body = call("u", json!({"run": "r1"}));
        assert_eq!(asked(&world.app, body.clone()).await, (true, json!(1)), "{scope}");
        assert_eq!(asked(&world.app, body.clone()).await, (false, json!(1)), "{scope}");
        put(&world.app, id, json!({"scope": owner, "quota": 2})).await;
        assert_eq!(asked(&world.app, body.clone()).await, (true, json!(2)), "{scope}");
        assert_eq!(asked(&world.app, body.clone()).await, (false, json!(2)), "{scope}");
        if let Some(stranger) = stranger {
            assert_eq!(asked(&world.app, stranger).await.1, json!(1), "{scope}");
        }
        assert_eq!(listed(&world.app, id).await, [(owner.clone(), json!(2))]);
        assert_eq!(remove(&world.app, id, owner).await, 204);
        assert_eq!(asked(&world.app, body).await, (false, json!(1)), "{scope}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_ends_by_itself_and_its_owner_stays_until_then() {
    let world = teams().await;
    put(&world.app, "team", json!({"scope": red(), "quota": 5, "until": "2027-03-01T00:00:00Z"})).await;
    let key = "qg:{default:test/main}:account:metadata.team:red";
    let ttl = async || world.redis.run::<i64>(&["PTTL", key]).await;
    // In a sandbox no key expires earlier than in a week of real time.
    assert!(ttl().await > 28 * 24 * 3_600_000, "{}", ttl().await);
    world.app.freeze("2027-02-28T23:59:59Z").await;
    assert_eq!(asked(&world.app, of("red")).await, (true, json!(5)));
    world.app.freeze("2027-03-01T00:00:00Z").await;
    assert_eq!(asked(&world.app, of("red")).await, (true, json!(2)));
    assert_eq!(listed(&world.app, "team").await, []);
    // Without an end it stays, until it is removed.
    put(&world.app, "team", json!({"scope": red(), "quota": 5})).await;
    assert_eq!(ttl().await, -1);
    assert_eq!(remove(&world.app, "team", red()).await, 204);
    assert!(ttl().await > 0, "a team without a limit is forgotten after its last window");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_may_change_between_reserve_and_commit_and_fall_below_what_is_used() {
    let world = teams().await;
    put(&world.app, "team", json!({"scope": red(), "quota": 4})).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(world.app.reserved(of("red")).await);
    }
    put(&world.app, "team", json!({"scope": red(), "quota": 1})).await;
    for (place, id) in ids.iter().enumerate() {
        let settled = world.app.commit(id).await;
        let counters = settled["counters"].as_array().unwrap();
        let team = counters.iter().find(|counter| counter["groupId"] == "team").unwrap();
        assert_eq!((&team["quota"], &team["overage"]), (&json!(1), &json!(place)), "{team}");
    }
    assert_eq!(asked(&world.app, of("red")).await, (false, json!(1)));
    let admin = world.admin.with("x-mode", "test");
    let near = admin.get("reports/limits").await.expect(200);
    assert!(near.to_string().contains("\"team\""), "{near}");
    assert!(drifts(&world.redis.url(), "test/main").await.is_empty());
    // The commits alerted by the quota of the last reserve.
    let alerts = admin.get("alerts").await.expect(200);
    assert_eq!(alerts["data"][0]["data"]["percent"], 50, "{alerts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_names_its_field_and_changes_nothing() {
    let world = teams().await;
    world.admin.plan("free", monthly(2)).await;
    let state = world.redis.contents("qg:*account*").await;
    let app = &world.app;
    for (body, field) in [
        (json!({"scope": red()}), "quota"),
        (json!({"scope": red(), "quota": -1}), "quota"),
        (json!({"scope": red(), "quota": 0.5}), "quota"),
        (json!({"scope": red(), "quota": "x"}), "quota"),
        (json!({"quota": 1}), "scope"),
        (json!({"scope": {}, "quota": 1}), "scope"),
        (json!({"scope": {"user": "u"}, "quota": 1}), "scope"),
        (json!({"scope": {"metadata.team": ""}, "quota": 1}), "scope"),
        (json!({"scope": red(), "quota": 1, "until": "soon"}), "until"),
        (json!({"scope": red(), "quota": 1, "until": "2027-01-31T10:00:00Z"}), "until"),
        (json!({"scope": red(), "quota": 1, "note": "x".repeat(1025)}), "note"),
        (json!({"scope": red(), "quota": 1, "amount": 1}), "amount"),
    ] {
        assert_eq!(app.put("limits/team", body.clone()).await.bad_field(), field, "{body}");
    }
    let nobody = json!({"scope": {"user": "nobody"}, "quota": 1});
    assert_eq!(app.put("limits/images", nobody).await.bad_field(), "scope.user");
    let other_plan = json!({"scope": {"user": "u"}, "quota": 1});
    assert_eq!(app.put("limits/images", other_plan).await.bad_field(), "scope.user");
    app.put("limits/none", json!({"scope": red(), "quota": 1})).await.problem(404, "not_found");
    assert_eq!(app.put("limits/a.b", json!({"scope": red(), "quota": 1})).await.bad_field(), "groupId");
    app.get("limits?groupId=none").await.problem(404, "not_found");
    assert_eq!(app.get("limits").await.bad_field(), "groupId");
    assert_eq!(world.redis.contents("qg:*account*").await, state);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_write_gets_the_first_answer_and_lists_have_pages() {
    let world = teams().await;
    let body = json!({"scope": red(), "quota": 5});
    let first = world.app.once("k").put("limits/team", body.clone()).await;
    assert_eq!(remove(&world.app, "team", red()).await, 204);
    let again = world.app.once("k").put("limits/team", body).await;
    assert_eq!((&again.json, again.header("idempotent-replayed")), (&first.json, Some("true")));
    assert_eq!(listed(&world.app, "team").await, [], "a repetition sets nothing");
    let other = json!({"scope": red(), "quota": 6});
    world.app.once("k").put("limits/team", other).await.problem(409, "idempotency_key_reused");
    for team in ["a", "b", "c"] {
        put(&world.app, "team", json!({"scope": {"metadata.team": team}, "quota": 1})).await;
    }
    let mut found = Vec::new();
    let mut query = "limits?groupId=team&limit=1".to_owned();
    loop {
        let page = world.app.get(&query).await.expect(200);
        found.extend(page["data"].as_array().unwrap().iter().map(|limit| limit["scope"]["metadata.team"].clone()));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        query = format!("limits?groupId=team&limit=1&cursor={cursor}");
    }
    assert_eq!(found, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_spreads_its_users_has_limits_of_users_and_combinations() {
    let world = World::new().await;
    world.admin.post("apps", json!({"id": "spread", "placement": "user"})).await.expect(201);
    let admin = world.admin.with("x-app", "spread");
    let key = new_key(&admin, json!({"kind": "secret", "mode": "test"})).await;
    let app = world.node.client(&key);
    admin.plan("free", monthly(2)).await;
    let runs = group("run", &["user", "metadata.run"], json!(1), json!({"matches": [{"event": "image.*"}]}));
    admin.put("policies/runs", json!({"periodType": "daily", "groups": [runs]})).await.expect(200);
    for number in 0..5 {
        let user = format!("u{number}");
        app.subscribe(&user, "free").await;
        put(&app, "images", json!({"scope": {"user": user}, "quota": number})).await;
        put(&app, "run", json!({"scope": {"user": user, "metadata.run": "r"}, "quota": number})).await;
    }
    for group in ["images", "run"] {
        let mut quotas: Vec<u64> = listed(&app, group).await.iter().map(|(_, quota)| quota.as_u64().unwrap()).collect();
        quotas.sort_unstable();
        assert_eq!(quotas, [0, 1, 2, 3, 4], "{group}");
    }
    let reserve = |user: &str| json!({"userId": user, "event": "image.render", "metadata": {"run": "r"}});
    let denied = app.reserve(reserve("u0")).await;
    assert_eq!(names(&denied), ["images", "run"]);
    app.reserved(reserve("u1")).await;
    assert_eq!(names(&app.reserve(reserve("u1")).await), ["images", "run"]);
}

//! `POST whatif` with limits of single owners.

use serde_json::{Value, json};

use crate::configuration::budgets::{call, group, open_plan, policy};
use crate::support::{Api, World, monthly};

/// Limits a team.
async fn limit(world: &World, team: &str, quota: Value) {
    let body = json!({"scope": {"metadata.team": team}, "quota": quota});
    world.app.put("limits/team", body).await.expect(200);
}

/// Reserves and, if that is allowed, commits. Returns how many calls were allowed.
async fn calls(world: &World, count: usize, body: Value) -> usize {
    let mut allowed = 0;
    for _ in 0..count {
        let answer = world.app.reserve(body.clone()).await;
        if answer["allowed"] == true {
            world.app.commit(answer["reservationId"].as_str().unwrap()).await;
            allowed += 1;
        }
    }
    allowed
}

fn team(name: &str) -> Value {
    call("u", json!({"team": name}))
}

async fn ask(world: &World, draft: Value) -> Value {
    let admin: Api = world.admin.with("x-mode", "test");
    admin.post("whatif", draft).await.expect(200)
}

/// A draft of the policy `teams`.
fn draft(groups: Value) -> Value {
    json!({"policy": {"id": "teams", "periodType": "daily", "groups": groups}})
}

fn of_teams(id: &str, quota: u64) -> Value {
    group(id, &["metadata.team"], json!(quota), json!({}))
}

/// The newly denied and the newly allowed calls.
fn changed(report: &Value) -> (u64, u64) {
    let calls = |field: &str| report[field]["calls"].as_u64().unwrap();
    (calls("newlyDenied"), calls("newlyAllowed"))
}

/// The present rules decide every call as it was decided.
fn assert_exact(report: &Value, calls: u64) {
    let expected = json!({"calls": calls, "agree": calls, "deniedOtherwise": 0});
    assert_eq!((&report["presentRules"], &report["unreadOwners"]), (&expected, &json!(0)), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_calls_of_an_owner_are_replayed_with_its_own_quota() {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    policy(&world, "teams", json!([of_teams("team", 2)])).await;
    for (name, quota) in [("red", json!(4)), ("blue", json!(1)), ("grey", Value::Null)] {
        limit(&world, name, quota).await;
    }
    for (name, count, allowed) in [("red", 5, 4), ("blue", 2, 1), ("grey", 3, 3), ("white", 3, 2)] {
        assert_eq!(calls(&world, count, team(name)).await, allowed, "{name}");
    }
    let before = world.redis.contents("qg:*").await;
    let same = ask(&world, draft(json!([of_teams("team", 2)]))).await;
    assert_exact(&same, 13);
    assert_eq!(changed(&same), (0, 0), "{same}");
    // Another quota of the group is another one for the team without its own only.
    let tight = ask(&world, draft(json!([of_teams("team", 1)]))).await;
    assert_eq!(changed(&tight), (1, 0), "{tight}");
    let wide = ask(&world, draft(json!([of_teams("team", 9)]))).await;
    assert_eq!(changed(&wide), (0, 1), "{wide}");
    // A group that does not exist yet has no limits of single owners.
    let other = ask(&world, draft(json!([of_teams("crew", 2)]))).await;
    assert_eq!(changed(&other), (3, 1), "{other}");
    assert_eq!(world.redis.contents("qg:*").await, before, "nothing is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_quota_applies_to_the_calls_before_its_end() {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    policy(&world, "teams", json!([of_teams("team", 2)])).await;
    let body = json!({"scope": {"metadata.team": "red"}, "quota": 4, "until": "2027-02-01T00:00:00Z"});
    world.app.put("limits/team", body).await.expect(200);
    assert_eq!(calls(&world, 5, team("red")).await, 4);
    world.app.freeze("2027-02-01T00:00:00Z").await;
    assert_eq!(calls(&world, 3, team("red")).await, 2);
    let same = ask(&world, draft(json!([of_teams("team", 2)]))).await;
    assert_exact(&same, 8);
    let tight = ask(&world, draft(json!([of_teams("team", 1)]))).await;
    assert_eq!(changed(&tight), (1, 0), "{tight}");
    assert_eq!(tight["newlyDenied"]["examples"][0]["at"], "2027-02-01T00:00:00Z");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_in_custom_limits_applies_to_the_calls_before_its_end() {
    let world = World::frozen().await;
    world.admin.plan("basic", monthly(2)).await;
    world.app.subscribe("ada", "basic").await;
    let body = json!({"scope": {"user": "ada"}, "quota": 0, "until": "2027-02-01T00:00:00Z"});
    world.app.put("limits/images", body).await.expect(200);
    let image = json!({"userId": "ada", "event": "image.a"});
    assert_eq!(calls(&world, 1, image.clone()).await, 0);
    world.app.freeze("2027-02-01T00:00:00Z").await;
    assert_eq!(calls(&world, 3, image).await, 2);
    let of_plan = |quota: u64| {
        let mut plan = monthly(quota);
        plan["id"] = json!("basic");
        json!({"plan": plan})
    };
    let same = ask(&world, of_plan(2)).await;
    assert_exact(&same, 4);
    // The call of January is denied by the user's own quota, whatever the plan's is.
    let wide = ask(&world, of_plan(9)).await;
    assert_eq!((changed(&wide), &wide["underDraft"]["denied"]), ((0, 1), &json!(1)), "{wide}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_of_every_scope_are_replayed_with_their_own_quotas() {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    let keys = world.admin.get("keys").await.expect(200);
    let key = keys["data"].as_array().unwrap().iter().find(|key| key["kind"] == "secret").unwrap()["id"].clone();
    let owners = [
        ("of_user", vec!["user"], json!({"user": "u"})),
        ("of_key", vec!["key"], json!({"key": key})),
        ("of_app", vec!["app"], json!({"app": "default"})),
        ("of_run", vec!["user", "metadata.run"], json!({"user": "u", "metadata.run": "r1"})),
    ];
    let matching = |id: &str| json!({"matches": [{"event": id}]});
    let groups: Vec<Value> = owners.iter().map(|(id, scope, _)| group(id, scope, json!(1), matching(id))).collect();
    policy(&world, "teams", json!(groups)).await;
    for (id, _, owner) in &owners {
        let body = json!({"scope": owner, "quota": 2});
        world.app.put(&format!("limits/{id}"), body).await.expect(200);
        let body = json!({"userId": "u", "event": id, "metadata": {"run": "r1"}});
        assert_eq!(calls(&world, 3, body).await, 2, "{id}");
    }
    let same = ask(&world, draft(json!(groups))).await;
    assert_exact(&same, 12);
    assert_eq!(changed(&same), (0, 0), "{same}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_that_only_the_draft_counts_for_have_their_own_quotas_too() {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    let mut pro = json!({"periodType": "daily", "groups": [of_teams("team", 1)]});
    world.admin.plan("pro", pro.clone()).await;
    limit(&world, "red", json!(3)).await;
    for name in ["red", "blue"] {
        assert_eq!(calls(&world, 3, team(name)).await, 3, "the plan of the user has no teams");
    }
    pro["id"] = json!("pro");
    let report = ask(&world, json!({"plan": pro, "usersOf": "open"})).await;
    assert_exact(&report, 6);
    assert_eq!(changed(&report), (2, 0), "{report}");
    assert_eq!(report["newlyDenied"]["byGroup"], json!({"team": 2}));
}

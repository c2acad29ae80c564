//! Policies: every kind of budget owner, and validation of configurations.

use serde_json::{Value, json};

use crate::configuration::budgets::{call, group, open_plan, policy, standings};
use crate::support::{World, monthly, new_key};

/// The control matrix: for every kind of budget owner, a hard limit denies, a soft limit counts and raises an alert,
/// and an approval can be requested. All users share the counter of the same owner; another owner has a separate one.
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
                let reported = match (kind, place) {
                    ("soft", 0) => json!([{"groupId": id, "percent": 50}]),
                    ("soft", _) => json!([{"groupId": id, "percent": 100}]),
                    _ => Value::Null,
                };
                assert_eq!(settled["thresholds"], reported, "{id} {place}");
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
                assert_eq!(settled["thresholds"], Value::Null, "{id}: each is reported once");
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
    // An event that no group of the plan matches, but a policy does.
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
    // A hold can be settled after its policy was deleted; if the policy is created again within the window, the
    // counter continues.
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
        // A group ID belongs to plans or to one policy, and its unit and scope never change.
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
        // 4,000 tokens are not 4,000 images; this also applies between a plan and a policy.
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
    // A shared counter has the same period in all plans.
    let shared =
        |period: &str| json!({"periodType": period, "groups": [group("shared", &["app"], json!(5), json!({}))]});
    world.admin.plan("a", shared("daily")).await;
    world.admin.plan("b", shared("daily")).await;
    assert_eq!(world.admin.put("plans/b", shared("weekly")).await.bad_field(), "groups[0].periodType");
    // An app that spreads its users over a cluster cannot have shared counters.
    world.admin.post("apps", json!({"id": "spread", "placement": "user"})).await.expect(201);
    let spread = world.admin.with("x-app", "spread");
    let refused = spread.put("plans/p", shared("daily")).await.problem(400, "invalid_request");
    assert!(refused["errors"][0]["message"].as_str().unwrap().contains("placement"), "{refused}");
    let per_user = group("g", &["user", "metadata.team"], json!(1), json!({}));
    spread.put("policies/p", json!({"periodType": "daily", "groups": [per_user]})).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_register_of_policies_shows_owners_and_reviews() {
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
    // As if the last review were long ago.
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

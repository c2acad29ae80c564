//! Deleting plans that have users.

use serde_json::{Value, json};

use crate::support::{World, monthly};

fn with_id(id: &str) -> Value {
    let mut plan = monthly(3);
    plan["id"] = json!(id);
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_configuration_closes_no_plan_that_was_made_after_it() {
    let world = World::frozen().await;
    let admin = world.admin.once("k");
    let document = json!({"plans": [with_id("a")]});
    let first = admin.put("configuration", document.clone()).await.expect(200);
    let mut later = monthly(3);
    later["groups"][0]["id"] = json!("images_b");
    world.admin.plan("b", later).await;
    assert_eq!(admin.put("configuration", document).await.expect(200), first);
    world.app.subscribe("u", "b").await;
    let other = json!({"plans": [with_id("b")]});
    admin.put("configuration", other).await.problem(409, "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_whose_deletion_broke_off_takes_users_again_after_ten_minutes() {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(3)).await;
    let stored: String = world.redis.run(&["HGET", "qg:{default}:config", "plan:p"]).await;
    let time: Vec<u64> = world.redis.run(&["TIME"]).await;
    let now_us = time[0] * 1_000_000 + time[1];
    for (minutes, status) in [(1, 409), (9, 409), (11, 200)] {
        let mut plan: Value = serde_json::from_str(&stored).unwrap();
        plan["closed_us"] = json!(now_us - minutes * 60_000_000);
        let _: i64 = world.redis.run(&["HSET", "qg:{default}:config", "plan:p", &plan.to_string()]).await;
        let (_node, there) = world.another_node().await;
        let answer = there.post("subscriptions", json!({"userId": "u", "planId": "p"})).await;
        assert_eq!(answer.status, status, "{minutes} minutes: {}", answer.text);
    }
    // A deletion must close the plan itself; an earlier closing does not count.
    world.admin.delete("plans/p", None).await.problem(409, "plan_in_use");
    world.app.subscribe("v", "p").await;
    world.app.delete("subscriptions", Some(json!({"userId": "u"}))).await.expect(200);
    world.app.delete("subscriptions", Some(json!({"userId": "v"}))).await.expect(200);
    assert_eq!(world.admin.delete("plans/p", None).await.status, 204);
}

/// A group in addition to `images`, which requires approval.
fn with_team(quota: u64) -> Value {
    json!({"groups": [{"id": "team", "unit": "count", "quota": quota, "scope": ["metadata.team"], "enforcement": "approval",
        "periodType": "monthly", "periodAnchor": "calendar", "matches": [{"event": "video.*"}]}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_what_depends_on_a_plan_and_deletes_nothing() {
    let world = World::frozen().await;
    let admin = &world.admin;
    let mut old = monthly(5);
    old["groups"].as_array_mut().unwrap().push(json!({"id": "extra", "label": "Extra", "unit": "count", "quota": 5,
        "periodType": "monthly", "periodAnchor": "calendar", "matches": [{"event": "extra"}]}));
    admin.plan("old", old).await;
    admin.plan("new", monthly(9)).await;
    let preview = admin.delete("plans/old?dryRun=true", None).await.expect(200);
    assert_eq!(
        (&preview["refusal"], &preview["users"], &preview["complete"]),
        (&json!(null), &json!([]), &json!(true))
    );
    let left = json!([{"groupId": "images", "label": "images", "alsoIn": ["new"]}, {"groupId": "extra", "label": "Extra", "alsoIn": []}]);
    assert_eq!(preview["groups"], left);

    let live = admin.with("x-mode", "live");
    for (api, user) in [(&world.app, "a"), (&world.app, "b"), (&live, "c")] {
        api.post("subscriptions", json!({"userId": user, "planId": "old"})).await.expect(200);
    }
    let own = json!({"userId": "b", "planId": "old", "customLimits": {"images": {"quota": 7}}});
    world.app.post("subscriptions", own).await.expect(200);
    world.app.subscribe("other", "new").await;
    for (group, user) in [("extra", "a"), ("images", "a"), ("extra", "b")] {
        let grant = json!({"groupId": group, "scope": {"user": user}, "amount": 2});
        admin.with("x-mode", "test").post("grants", grant).await.expect(201);
    }
    for (id, filter) in [
        ("idle", json!({"groupIds": ["extra"]})),
        ("busy", json!({"groupIds": ["extra", "images"]})),
        ("all", json!({})),
    ] {
        let webhook = json!({"url": "https://example.com/hook", "events": ["limit.reached"], "filter": filter});
        admin.put(&format!("webhooks/{id}"), webhook).await.expect(200);
    }
    let preview = admin.delete("plans/old?dryRun=true", None).await.expect(200);
    let users =
        json!([{"mode": "live", "users": 1, "ownLimits": 0}, {"mode": "test/main", "users": 2, "ownLimits": 1}]);
    assert_eq!(preview["users"], users);
    assert_eq!((&preview["grants"], &preview["webhooks"]), (&json!(2), &json!(["idle"])));
    let refused = admin.delete("plans/old", None).await.problem(409, "plan_in_use");
    assert_eq!(preview["refusal"], refused["detail"]);
    assert!(preview["refusal"].as_str().unwrap().starts_with("3 users are on plan `old`"), "{preview}");
    let moved = admin.delete("plans/old?dryRun=true&moveTo=new", None).await.expect(200);
    assert_eq!((&moved["refusal"], &moved["users"]), (&json!(null), &users));
    assert_eq!(admin.delete("plans/old?dryRun=true&moveTo=old", None).await.bad_field(), "moveTo");
    assert_eq!(admin.delete("plans/old?dryRun=perhaps", None).await.status, 400);
    admin.with("if-match", "\"1\"").delete("plans/old?dryRun=true", None).await.problem(412, "version_conflict");
    admin.delete("plans/nowhere?dryRun=true", None).await.problem(404, "not_found");
    // No user was moved, and the plan accepts users.
    assert_eq!(world.app.get("usage?userId=a").await.expect(200)["planId"], "old");
    world.app.subscribe("d", "old").await;

    admin.plan("fallback", json!({"groups": []})).await;
    admin.put("app", json!({"defaultPlanId": "fallback"})).await.expect(200);
    let preview = admin.delete("plans/fallback?dryRun=true", None).await.expect(200);
    assert_eq!(
        (&preview["isDefault"], &preview["refusal"]),
        (&json!(true), &json!("Plan `fallback` is the app's default plan."))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_what_depends_on_a_policy() {
    let world = World::frozen().await;
    let admin = &world.admin;
    admin.plan("p", json!({"unmatchedEvents": "allow", "groups": []})).await;
    admin.put("policies/caps", with_team(1)).await.expect(200);
    admin.put("policies/other", json!({"groups": []})).await.expect(200);
    for (id, filter) in [("idle", json!({"policyIds": ["caps"]})), ("busy", json!({"policyIds": ["caps", "other"]}))] {
        let webhook = json!({"url": "https://example.com/hook", "events": ["limit.reached"], "filter": filter});
        admin.put(&format!("webhooks/{id}"), webhook).await.expect(200);
    }
    world.app.subscribe("u", "p").await;
    let call = json!({"userId": "u", "event": "video.a", "metadata": {"team": "red"}});
    world.app.reserved(call.clone()).await;
    assert_eq!(world.app.reserve(call).await["reasons"], json!(["approval_required"]));
    let preview = admin.delete("policies/caps?dryRun=true", None).await.expect(200);
    assert_eq!((&preview["openApprovals"], &preview["webhooks"]), (&json!(1), &json!(["idle"])), "{preview}");
    assert_eq!(
        (&preview["refusal"], &preview["isDefault"], &preview["users"]),
        (&json!(null), &json!(false), &json!([]))
    );
    admin.with("if-match", "\"1\"").delete("policies/caps?dryRun=true", None).await.problem(412, "version_conflict");
    admin.delete("policies/nowhere?dryRun=true", None).await.problem(404, "not_found");
    admin.get("policies/caps").await.expect(200);
    assert_eq!(admin.delete("policies/caps", None).await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_who_leave_a_plan_while_it_is_deleted_are_not_moved_with_the_others() {
    let world = World::frozen().await;
    for plan in ["old", "new", "better"] {
        world.admin.plan(plan, monthly(3)).await;
    }
    let users: Vec<String> = (0..400).map(|number| format!("u{number:03}")).collect();
    let each = users.iter().map(|user| world.app.subscribe(user, "old"));
    futures::future::join_all(each).await;
    let (_second, there) = world.another_node().await;
    // In reverse order, so that they are on the page that was read first.
    let leave = async {
        for (place, user) in users.iter().enumerate().rev().take(200) {
            match place % 2 {
                0 => there.subscribe(user, "better").await,
                _ => drop(there.delete("subscriptions", Some(json!({"userId": user}))).await.expect(200)),
            }
        }
    };
    let (deleted, ()) = tokio::join!(world.admin.delete("plans/old?moveTo=new", None), leave);
    assert_eq!(deleted.status, 204, "{}", deleted.text);
    for (place, user) in users.iter().enumerate() {
        let plan = world.app.get(&format!("usage?userId={user}")).await.expect(200)["planId"].clone();
        let expected = match place {
            0..200 => json!("new"),
            _ if place % 2 == 0 => json!("better"),
            _ => Value::Null,
        };
        assert_eq!(plan, expected, "{user}");
    }
}

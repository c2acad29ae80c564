//! Plans that are being deleted, and the users on them.

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
    // A deletion goes by its own closing, not by an old one.
    world.admin.delete("plans/p", None).await.problem(409, "plan_in_use");
    world.app.subscribe("v", "p").await;
    world.app.delete("subscriptions", Some(json!({"userId": "u"}))).await.expect(200);
    world.app.delete("subscriptions", Some(json!({"userId": "v"}))).await.expect(200);
    assert_eq!(world.admin.delete("plans/p", None).await.status, 204);
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
    // From behind, so that they meet the page that was read at the start.
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

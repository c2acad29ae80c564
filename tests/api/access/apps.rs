//! Creating and deleting apps: data of one app never reaches another, whatever its name.

use serde_json::json;

use crate::support::{World, eventually, monthly, new_key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_an_app_of_the_gateways_own_name_leaves_what_all_apps_share() {
    let world = World::new().await;
    assert_eq!(world.admin.post("apps", json!({"id": "quotagate"})).await.bad_field(), "id");
    // As it was created before the name was reserved.
    let stored = json!({"id": "quotagate", "placement": "app", "createdAt": "2026-01-01T00:00:00Z"}).to_string();
    let _: i64 = world.redis.run(&["HSET", "qg:{quotagate}:apps", "quotagate", &stored]).await;
    let admin = world.admin.with("x-app", "quotagate");
    admin.plan("p", monthly(3)).await;
    let shared = async || {
        let keys = world.redis.run::<Vec<String>>(&["KEYS", "qg:{quotagate}:*"]).await;
        keys.into_iter().filter(|key| !key.contains(":audit:quotagate")).collect::<std::collections::BTreeSet<_>>()
    };
    let before = shared().await;
    assert_eq!(world.admin.delete("apps/quotagate", None).await.status, 204);
    let gone: Vec<String> = before.difference(&shared().await).cloned().collect();
    let own = ["audit", "config", "versions:plan:p"].map(|key| format!("qg:{{quotagate}}:{key}"));
    assert_eq!(gone, own);
    let apps = world.admin.get("apps").await.expect(200);
    assert_eq!(apps["data"][0]["id"], "default");
    world.app.get("plans").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreated_app_has_nothing_of_the_deleted_one_on_any_node() {
    let world = World::new().await;
    let (second, _) = world.another_node().await;
    let root = &world.admin;
    for round in 0..2 {
        root.post("apps", json!({"id": "acme"})).await.expect(201);
        let admin = root.with("x-app", "acme");
        let key = new_key(&admin, json!({"kind": "secret", "mode": "live"})).await;
        let there = second.client(&key);
        eventually("the other node knows the key", || async { there.get("plans").await.status == 200 }).await;
        let denied = there.reserve(json!({"userId": "u", "event": "image.a"})).await;
        assert_eq!(denied["reasons"], json!(["no_subscription"]), "round {round}");
        let unknown = there.post("subscriptions", json!({"userId": "u", "planId": "old"})).await;
        assert_eq!(unknown.bad_field(), "planId", "round {round}");
        admin.plan("old", monthly(3)).await;
        admin.put("app", json!({"defaultPlanId": null})).await.expect(200);
        there.subscribe("u", "old").await;
        there.reserved(json!({"userId": "u", "event": "image.a"})).await;
        assert_eq!(root.delete("apps/acme", None).await.status, 204);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_lower_than_the_one_at_hand_is_taken_over_by_polling() {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(3)).await;
    let (_second, there) = world.another_node().await;
    there.subscribe("u", "p").await;
    // As if the app had been deleted and created again by a node that died before it published anything.
    let _: i64 = world.redis.run(&["DEL", "qg:{default}:config", "qg:{default:test/main}:stamp"]).await;
    eventually("the other node forgets the plan", || async {
        there.reserve(json!({"userId": "u", "event": "image.a"})).await["reasons"] == json!(["no_subscription"])
    })
    .await;
}

//! Grants whose windows are moved or reset: counters and lists agree.

use serde_json::{Value, json};

use crate::support::{Api, World, new_key};

fn plan(period: &str) -> Value {
    json!({"periodType": period, "periodAnchor": "calendar",
        "groups": [{"id": "images", "unit": "count", "quota": 3, "matches": [{"event": "image.*"}]}]})
}

/// A frozen world, users on a daily plan, and an operator in the sandbox.
async fn staged() -> (World, Api) {
    let world = World::frozen().await;
    world.admin.plan("p", plan("daily")).await;
    for user in ["u", "v"] {
        world.app.subscribe(user, "p").await;
    }
    let key = new_key(&world.admin, json!({"kind": "admin", "role": "support"})).await;
    let support = world.node.client(&key).with("x-mode", "test");
    (world, support)
}

async fn grant(support: &Api, user: &str) -> String {
    let body = json!({"groupId": "images", "scope": {"user": user}, "amount": 2});
    support.post("grants", body).await.expect(201)["id"].as_str().unwrap().to_owned()
}

/// The granted amount of the counter, and the ends of the grants in both lists.
async fn reported(world: &World, support: &Api, user: &str) -> (u64, Vec<Value>) {
    let granted = world.app.counter(user, "images").await["granted"].as_u64().unwrap();
    let own = support.get(&format!("grants?userId={user}")).await.expect(200)["data"].clone();
    let mut whole = support.get("grants").await.expect(200)["data"].as_array().unwrap().clone();
    whole.retain(|grant| grant["scope"]["user"] == user);
    assert_eq!(own, json!(whole));
    (granted, whole.into_iter().map(|grant| grant["endsAt"].clone()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_whose_window_is_moved_is_listed_and_taken_back_until_the_new_end() {
    let (world, support) = staged().await;
    let id = grant(&support, "u").await;
    assert_eq!(reported(&world, &support, "u").await, (2, vec![json!("2027-02-01T00:00:00Z")]));
    world.admin.plan("p", plan("weekly")).await;
    world.app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    world.admin.plan("p", plan("monthly")).await;
    world.app.freeze("2027-01-31T23:00:00Z").await;
    world
        .admin
        .plan(
            "p",
            json!({"periodType": "every", "every": "P30D", "start": "2027-01-30T00:00:00Z",
        "groups": plan("daily")["groups"]}),
        )
        .await;
    world.app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    world.app.freeze("2027-02-10T00:00:00Z").await;
    // It takes the place of a grant that has ended.
    grant(&support, "v").await;
    assert_eq!(reported(&world, &support, "u").await, (2, vec![json!("2027-03-01T00:00:00Z")]));
    assert_eq!(support.delete(&format!("grants/{id}"), None).await.status, 204);
    assert_eq!(reported(&world, &support, "u").await, (0, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_ends_with_a_window_that_was_over_before_it_was_moved() {
    let (world, support) = staged().await;
    let id = grant(&support, "u").await;
    world.app.freeze("2027-02-01T00:00:00Z").await;
    world
        .admin
        .plan("p", json!({"periodType": "yearly", "periodAnchor": "calendar", "groups": plan("daily")["groups"]}))
        .await;
    assert_eq!(reported(&world, &support, "u").await, (0, vec![]));
    world.app.reserved(json!({"userId": "u", "event": "image.a", "quantity": 3})).await;
    assert_eq!(reported(&world, &support, "u").await, (0, vec![]), "nor does moving the window bring it back");
    assert_eq!(world.app.reserve(json!({"userId": "u", "event": "image.a"})).await["allowed"], false);
    support.delete(&format!("grants/{id}"), None).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarting_windows_keeps_all_grants() {
    let (world, support) = staged().await;
    let id = grant(&support, "u").await;
    let held = world.app.reserved(json!({"userId": "u", "event": "image.a", "quantity": 5})).await;
    support.post("users/u/reset", json!({"groupId": "images"})).await.expect(200);
    support.post("users/u/reset", json!({})).await.expect(200);
    assert_eq!(reported(&world, &support, "u").await, (2, vec![json!("2027-02-01T00:00:00Z")]));
    world.app.reserved(json!({"userId": "u", "event": "image.a", "quantity": 5})).await;
    world.app.commit(&held).await;
    assert_eq!(world.app.stands("u", "images").await, (0.0, 5.0));
    assert_eq!(support.delete(&format!("grants/{id}"), None).await.status, 204);
    assert_eq!(reported(&world, &support, "u").await, (0, vec![]));
}

//! Plans of a user's own (`customLimits` with groups) beside policies and the plans of others.

use serde_json::{Value, json};

use crate::budgets::{call, group, names, open_plan, policy, standings};
use crate::support::{Api, World};

fn own(groups: Value) -> Value {
    json!({"periodType": "daily", "periodAnchor": "calendar", "groups": groups})
}

async fn put(app: &Api, user: &str, limits: &Value, query: &str) -> crate::support::Answer {
    let body = json!({"userId": user, "planId": "open", "customLimits": limits});
    app.post(&format!("subscriptions{query}"), body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_own_plan_takes_no_group_of_a_policy_and_no_other_period_for_a_shared_counter() {
    let world = World::frozen().await;
    open_plan(&world, &["u", "v"]).await;
    world
        .admin
        .plan("team", json!({"periodType": "monthly", "groups": [group("shared", &["app"], json!(1), json!({}))]}))
        .await;
    policy(&world, "caps", json!([group("cap", &["metadata.team"], json!(2), json!({}))])).await;
    let tokens =
        json!([{"id": "cost", "unit": "tokens", "quota": 9, "scope": ["app"], "matches": [{"event": "embed"}]}]);
    policy(&world, "costs", tokens).await;
    for (groups, field) in [
        (json!([group("cap", &["metadata.team"], Value::Null, json!({}))]), "customLimits.groups[0].id"),
        (json!([group("shared", &["app"], json!(5), json!({}))]), "customLimits.groups[0].periodType"),
        (
            json!([{"id": "embeds", "unit": "count", "quota": 9, "matches": [{"event": "embed"}]}]),
            "customLimits.groups[0].measure",
        ),
    ] {
        for query in ["", "?dryRun=true"] {
            assert_eq!(put(&world.app, "u", &own(groups.clone()), query).await.bad_field(), field, "{query}");
        }
    }
    // Of the same period it is taken, and counts with all others.
    let same = own(json!([group("shared", &["app"], json!(5), json!({"periodType": "monthly"}))]));
    put(&world.app, "u", &same, "").await.expect(200);
    let of = |team: &str| json!({"team": team});
    for _ in 0..2 {
        let held = world.app.reserved(call("u", of("red"))).await;
        world.app.commit(&held).await;
    }
    world.app.subscribe("v", "team").await;
    assert_eq!(names(&world.app.reserve(call("v", of("blue"))).await), ["shared"]);
}

/// They were set before: what the configuration came to say of a counter that others share comes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_made_later_holds_for_users_whose_own_plans_have_its_group() {
    let world = World::frozen().await;
    open_plan(&world, &["u", "v"]).await;
    let limits = own(json!([
        group("cap", &["metadata.team"], Value::Null, json!({})),
        group("shared", &["app"], Value::Null, json!({})),
    ]));
    put(&world.app, "u", &limits, "").await.expect(200);
    policy(&world, "caps", json!([group("cap", &["metadata.team"], json!(2), json!({}))])).await;
    world
        .admin
        .plan("team", json!({"periodType": "monthly", "groups": [group("shared", &["app"], json!(9), json!({}))]}))
        .await;
    world.app.subscribe("v", "team").await;
    let of = |team: &str| json!({"team": team});
    for user in ["u", "v"] {
        let held = world.app.reserved(call(user, of("red"))).await;
        world.app.commit(&held).await;
    }
    for user in ["u", "v"] {
        assert_eq!(names(&world.app.reserve(call(user, of("red"))).await), ["cap"], "{user}");
    }
    assert_eq!(standings(&world, "cap").await, [("red".to_owned(), 2.0, 0.0)], "each call counts once");
    // The month goes on for all.
    world.app.freeze("2027-01-31T23:59:00Z").await;
    let before = standings(&world, "shared").await;
    world.app.reserved(call("u", of("blue"))).await;
    world.app.reserved(call("v", of("blue"))).await;
    assert_eq!(before[0].1, 2.0);
    assert_eq!(standings(&world, "shared").await[0].2, 2.0);
    let counter = world.app.counter("u", "shared").await;
    assert_eq!(counter["period"], json!({"start": "2027-01-01T00:00:00Z", "end": "2027-02-01T00:00:00Z"}), "{counter}");
}

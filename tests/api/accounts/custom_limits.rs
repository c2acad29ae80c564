//! Custom plans of users (`customLimits` with groups) together with policies and the plans of others.

use serde_json::{Value, json};

use crate::configuration::budgets::{call, group, names, open_plan, policy, standings};
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
    // With the same period it is accepted, and counts together with all others.
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

/// Limits that were set earlier: later changes of a shared counter's configuration take precedence.
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
    // The month continues for all.
    world.app.freeze("2027-01-31T23:59:00Z").await;
    let before = standings(&world, "shared").await;
    world.app.reserved(call("u", of("blue"))).await;
    world.app.reserved(call("v", of("blue"))).await;
    assert_eq!(before[0].1, 2.0);
    assert_eq!(standings(&world, "shared").await[0].2, 2.0);
    let counter = world.app.counter("u", "shared").await;
    assert_eq!(counter["period"], json!({"start": "2027-01-01T00:00:00Z", "end": "2027-02-01T00:00:00Z"}), "{counter}");
}

/// How custom rules for a quantity behave with a policy that counts it in another unit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quantity_that_a_policy_made_later_counts_as_tokens_is_neither_calls_nor_cents_in_a_users_own_plan() {
    let world = World::frozen().await;
    open_plan(&world, &["u", "v"]).await;
    let requests = json!([{"id": "requests", "unit": "count", "quota": 9, "matches": [
        {"event": "llm.chat"}, {"event": "image.*"}]}]);
    put(&world.app, "u", &own(requests), "").await.expect(200);
    let spend = json!([{"id": "spend", "unit": "cents", "quota": 900, "covers": ["llm.*"], "matches": [
        {"event": "llm.chat", "metadata": {"model": "m"}, "measure": {"per": {"quantity": "0.01"}}},
        {"event": "llm.chat"}, {"event": "image.*"}]}]);
    put(&world.app, "v", &own(spend), "").await.expect(200);
    let used = async |user: &str, group: &str| world.app.counter(user, group).await["used"].clone();
    let asked = |user: &str, event: &str, metadata: Value| json!({"userId": user, "event": event, "quantity": 5, "metadata": metadata});
    world.app.post("track", asked("v", "llm.chat", json!({}))).await.expect(200);
    assert_eq!(used("v", "spend").await, json!(5));

    let tokens = json!([{"id": "tokens", "unit": "tokens", "quota": 100_000, "matches": [{"event": "llm.*"}]}]);
    policy(&world, "costs", tokens).await;
    let chat = json!({"userId": "u", "event": "llm.chat", "quantity": 4000});
    for quantity in [4000, 5000] {
        let held = world.app.reserved(chat.clone()).await;
        world.app.post("commit", json!({"reservationId": held, "quantity": quantity})).await.expect(200);
    }
    assert_eq!((used("u", "requests").await, used("u", "tokens").await), (json!(2), json!(9000)));
    // Events that the policy does not match are counted as before.
    world.app.post("track", asked("u", "image.a", json!({}))).await.expect(200);
    assert_eq!(used("u", "requests").await, json!(7));
    world.app.post("track", asked("v", "image.a", json!({}))).await.expect(200);
    world.app.post("track", asked("v", "llm.chat", json!({"model": "m"}))).await.expect(200);
    assert_eq!((used("v", "spend").await, used("v", "tokens").await), (json!(10.05), json!(5)));
    let unpriced = world.app.reserve(asked("v", "llm.chat", json!({}))).await;
    assert_eq!(
        (&unpriced["allowed"], &unpriced["reasons"]),
        (&json!(false), &json!(["uncovered_event"])),
        "{unpriced}"
    );

    // If the group's measure is explicit, it counts the quantity again; so it does without the policy.
    let said = json!([{"id": "tokens", "unit": "tokens", "quota": 100_000, "measure": "quantity",
        "matches": [{"event": "llm.*"}]}]);
    policy(&world, "costs", said).await;
    world.app.post("track", asked("v", "llm.chat", json!({}))).await.expect(200);
    assert_eq!(used("v", "spend").await, json!(15.05));
    world.admin.delete("policies/costs", None).await.expect(204);
    world.app.post("track", json!({"userId": "u", "event": "llm.chat", "quantity": 2})).await.expect(200);
    assert_eq!(used("u", "requests").await, json!(9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reservations_of_an_own_plan_that_gave_way_to_a_policy_settle_by_the_groups_that_are_left() {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    let limits = own(json!([
        group("cap", &["metadata.team"], Value::Null, json!({})),
        {"id": "pages", "unit": "count", "quota": 9, "measure": {"per": {"pages": "1"}, "estimate": {"pages": "4"}},
            "matches": [{"event": "llm.chat"}]},
    ]));
    put(&world.app, "u", &limits, "").await.expect(200);
    policy(&world, "caps", json!([group("cap", &["metadata.team"], json!(2), json!({}))])).await;
    let held = world.app.reserved(call("u", json!({"team": "red"}))).await;
    world.app.post("commit", json!({"reservationId": held, "metadata": {"pages": 3}})).await.expect(200);
    assert_eq!(standings(&world, "cap").await, [("red".to_owned(), 1.0, 0.0)]);
    let pages = world.app.counter("u", "pages").await;
    assert_eq!((&pages["used"], &pages["held"]), (&json!(3), &json!(0)), "{pages}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moving_the_windows_of_an_own_plan_leaves_those_of_a_later_policy_alone() {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    let monthly = json!({"periodType": "monthly", "periodAnchor": "subscription_start"});
    let groups = json!([group("cap", &["user"], json!(5), monthly), group("rest", &["user"], json!(9), json!({}))]);
    put(&world.app, "u", &own(groups), "").await.expect(200);
    policy(&world, "caps", json!([group("cap", &["user"], json!(2), json!({}))])).await;
    let held = world.app.reserved(call("u", json!({}))).await;
    world.app.commit(&held).await;
    let moved = json!({"userId": "u", "planId": "open", "cycleStart": "2027-01-20T00:00:00Z"});
    // Existing limits are not validated again, and the preview shows the actual result.
    world.app.post("subscriptions?dryRun=true", moved.clone()).await.expect(200);
    world.app.post("subscriptions", moved).await.expect(200);
    let stored: Vec<String> = world.redis.run(&["HVALS", "qg:{default:test/main}:account:user:u"]).await;
    assert!(stored.iter().any(|value| value.contains(" daily/")), "{stored:?}");
    assert!(!stored.iter().any(|value| value.contains(" monthly/")), "{stored:?}");
}

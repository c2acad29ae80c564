//! The recipes of the documentation.

use serde_json::{Value, json};

use crate::support::{Api, World};

async fn allowed(app: &Api, user: &str, event: &str, metadata: Value) -> bool {
    let decision = app.reserve(json!({"userId": user, "event": event, "metadata": metadata})).await;
    match decision["reservationId"].as_str() {
        Some(id) => {
            app.commit(id).await;
            true
        }
        None => {
            assert_eq!(decision["allowed"], false);
            false
        }
    }
}

fn group(id: &str, quota: u64, matches: Value) -> Value {
    json!({"id": id, "unit": "count", "quota": quota, "matches": matches})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freemium_image_generator() {
    let world = World::frozen().await;
    let model_a = json!([{"event": "image.model_a", "metadata": {"variant": "1k"}}]);
    let model_b = json!([{"event": "image.model_b", "metadata": {"variant": "2k"}}]);
    world
        .admin
        .plan(
            "free",
            json!({"periodType": "lifetime", "groups": [
                group("free_a", 2, model_a.clone()), group("free_b", 0, json!([{"event": "image.model_b"}])),
            ]}),
        )
        .await;
    world
        .admin
        .plan(
            "paid",
            json!({"periodType": "monthly", "periodAnchor": "subscription_start",
                "groups": [group("paid_a", 20, model_a), group("paid_b", 20, model_b)]}),
        )
        .await;
    let app = &world.app;
    app.subscribe("u", "free").await;
    assert!(!allowed(app, "u", "image.model_b", json!({})).await, "quota 0 denies whatever matches");
    for expected in [true, true, false] {
        assert_eq!(allowed(app, "u", "image.model_a", json!({"variant": "1k"})).await, expected);
    }
    app.freeze("2028-01-31T10:00:00Z").await;
    assert!(!allowed(app, "u", "image.model_a", json!({"variant": "1k"})).await, "a lifetime has no end");
    app.subscribe("u", "paid").await;
    for _ in 0..20 {
        assert!(allowed(app, "u", "image.model_a", json!({"variant": "1k"})).await);
    }
    assert!(!allowed(app, "u", "image.model_a", json!({"variant": "1k"})).await);
    assert!(allowed(app, "u", "image.model_b", json!({"variant": "2k"})).await, "the buckets are independent");
    // 31 January 2028 + 1 month is 29 February, at the time of day at which the subscription started.
    app.freeze("2028-02-29T10:00:00Z").await;
    assert!(allowed(app, "u", "image.model_a", json!({"variant": "1k"})).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_pool_over_two_events_and_a_fallback() {
    let world = World::frozen().await;
    world
        .admin
        .plan(
            "pool",
            json!({"periodType": "monthly", "periodAnchor": "calendar",
                "groups": [group("pool", 4, json!([{"event": "image.model_a"}, {"event": "image.model_b"}]))]}),
        )
        .await;
    let mut exhausted = group("first", 1, json!([{"event": "image.model_a"}]));
    exhausted["onLimit"] = json!({"message": "Try B", "fallback": {"event": "image.model_b"}});
    world
        .admin
        .plan(
            "fallback",
            json!({"periodType": "monthly", "periodAnchor": "calendar",
                "groups": [exhausted, group("second", 1, json!([{"event": "image.model_b"}]))]}),
        )
        .await;
    let app = &world.app;
    app.subscribe("pooled", "pool").await;
    for (event, expected) in [
        ("image.model_a", true),
        ("image.model_b", true),
        ("image.model_a", true),
        ("image.model_b", true),
        ("image.model_a", false),
    ] {
        assert_eq!(allowed(app, "pooled", event, json!({})).await, expected);
    }
    app.subscribe("u", "fallback").await;
    assert!(allowed(app, "u", "image.model_a", json!({})).await);
    let denied = app.reserve(json!({"userId": "u", "event": "image.model_a"})).await;
    let fallback = denied["deniedBy"][0]["onLimit"]["fallback"]["event"].as_str().unwrap();
    assert!(allowed(app, "u", fallback, json!({})).await);
    assert!(!allowed(app, "u", fallback, json!({})).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_groups_hit_by_one_event_either_one_blocking() {
    let world = World::frozen().await;
    world
        .admin
        .plan(
            "p",
            json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
                group("total", 3, json!([{"event": "image.*"}])), group("premium", 1, json!([{"event": "image.premium"}])),
            ]}),
        )
        .await;
    let app = &world.app;
    app.subscribe("u", "p").await;
    assert!(allowed(app, "u", "image.premium", json!({})).await);
    let denied = app.reserve(json!({"userId": "u", "event": "image.premium"})).await;
    assert_eq!(
        (&denied["deniedBy"][0]["groupId"], denied["deniedBy"].as_array().unwrap().len()),
        (&json!("premium"), 1)
    );
    assert_eq!(denied["counters"][0]["groupId"], "premium", "refused ones first");
    assert!(allowed(app, "u", "image.plain", json!({})).await);
    assert!(allowed(app, "u", "image.plain", json!({})).await);
    let denied = app.reserve(json!({"userId": "u", "event": "image.premium"})).await;
    assert_eq!(denied["deniedBy"].as_array().unwrap().len(), 2);
    assert_eq!(app.reserve(json!({"userId": "u", "event": "image.plain"})).await["deniedBy"][0]["groupId"], "total");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unmatched_event_is_denied_unless_the_plan_lets_it_pass() {
    let world = World::frozen().await;
    let mut open = json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [group("x", 1, json!([{"event": "image.*"}]))]});
    world.admin.plan("strict", open.clone()).await;
    open["unmatchedEvents"] = json!("allow");
    world.admin.plan("open", open).await;
    world.app.subscribe("u", "strict").await;
    world.app.subscribe("v", "open").await;
    let denied = world.app.reserve(json!({"userId": "u", "event": "vidoe.render"})).await;
    assert_eq!((&denied["allowed"], &denied["reasons"]), (&json!(false), &json!(["unmatched_event"])));
    let passed = world.app.reserve(json!({"userId": "v", "event": "vidoe.render"})).await;
    assert_eq!(
        (&passed["allowed"], &passed["matched"], &passed["reservationId"]),
        (&json!(true), &json!(false), &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_stacked_limits_with_calls_of_4000_tokens() {
    let world = World::frozen().await;
    world
        .admin
        .plan(
            "stacked",
            json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
                {"id": "calls", "unit": "count", "quota": 60, "measure": "event", "periodType": "minute", "matches": [{"event": "*"}]},
                {"id": "images", "unit": "count", "quota": 100, "matches": [{"event": "image.*"}]},
                {"id": "tokens", "unit": "tokens", "quota": 100_000, "matches": [{"event": "llm.*"}]},
            ]}),
        )
        .await;
    let app = &world.app;
    app.subscribe("u", "stacked").await;
    for call in 0..25 {
        let id = app.reserved(json!({"userId": "u", "event": "llm.chat", "quantity": 4000})).await;
        let settled = app.commit(&id).await;
        assert_eq!(settled["counters"].as_array().unwrap().len(), 2, "call {call}");
    }
    let denied = app.reserve(json!({"userId": "u", "event": "llm.chat", "quantity": 4000})).await;
    assert_eq!(denied["deniedBy"][0]["groupId"], "tokens");
    assert_eq!(app.stands("u", "calls").await, (25.0, 0.0), "a call counts one, whatever its tokens");
    for _ in 0..35 {
        assert!(allowed(app, "u", "image.render", json!({})).await);
    }
    let denied = app.reserve(json!({"userId": "u", "event": "image.render"})).await;
    assert_eq!(denied["deniedBy"][0]["groupId"], "calls");
    app.freeze("2027-01-31T10:01:00Z").await;
    assert!(allowed(app, "u", "image.render", json!({})).await, "the next minute");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn llm_calls_reserve_with_the_model_alone_and_commit_real_token_counts() {
    let world = World::frozen().await;
    let priced = |model: &str, prompt: &str, completion: &str| {
        json!({"event": "llm.*", "metadata": {"model": model},
            "measure": {"per": {"prompt_tokens": prompt, "completion_tokens": completion}, "estimate": {"prompt_tokens": 1000, "completion_tokens": 4000}}})
    };
    world
        .admin
        .plan(
            "llm",
            json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
                {"id": "spend", "unit": "cents", "quota": 10, "covers": ["llm.*"],
                    "matches": [priced("large", "0.00025", "0.001"), priced("small", "0.000015", "0.00006")]},
                {"id": "tokens", "unit": "tokens", "quota": null, "matches": [{"event": "llm.*"}],
                    "measure": {"per": {"prompt_tokens": 1, "completion_tokens": 1}, "estimate": {"prompt_tokens": 1000, "completion_tokens": 4000}}},
            ]}),
        )
        .await;
    let app = &world.app;
    app.subscribe("u", "llm").await;
    let id = app.reserved(json!({"userId": "u", "event": "llm.chat", "metadata": {"model": "large"}})).await;
    assert_eq!(app.stands("u", "spend").await, (0.0, 4.25));
    assert_eq!(app.stands("u", "tokens").await, (0.0, 5000.0));
    app.post("commit", json!({"reservationId": id, "metadata": {"prompt_tokens": 374, "completion_tokens": 44}}))
        .await
        .expect(200);
    assert_eq!(app.stands("u", "spend").await, (0.1375, 0.0));
    assert_eq!(app.stands("u", "tokens").await, (418.0, 0.0));
    // The cheaper model answered in the end: its rule decides.
    let id = app.reserved(json!({"userId": "u", "event": "llm.chat", "metadata": {"model": "large"}})).await;
    app.post(
        "commit",
        json!({"reservationId": id, "metadata": {"model": "small", "prompt_tokens": 1000, "completion_tokens": 0}}),
    )
    .await
    .expect(200);
    assert_eq!(app.stands("u", "spend").await, (0.1525, 0.0));
    let uncovered = app.reserve(json!({"userId": "u", "event": "llm.chat", "metadata": {"model": "new"}})).await;
    assert_eq!(uncovered["reasons"], json!(["uncovered_event"]));
}

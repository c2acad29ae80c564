//! `GET explain`: the same verdict as can-use, with everything that led to it.

use serde_json::{Value, json};

use crate::support::{Api, World, new_key};

fn plan() -> Value {
    json!({
        "name": "Pro", "periodType": "monthly", "periodAnchor": "subscription_start",
        "groups": [
            {"id": "images", "label": "Images", "unit": "count", "quota": 5, "maxPerCall": 4, "matches": [
                {"event": "image.*", "metadata": {"variant": ["1k", "2k"]}}, {"event": "picture"}]},
            {"id": "spend", "label": "Spend", "unit": "cents", "quota": 10, "covers": ["llm.*"],
                "measure": {"per": {"prompt_tokens": "0.01"}}, "matches": [{"event": "llm.*", "metadata": {"model": "m"}}]}],
    })
}

fn policy() -> Value {
    json!({"periodType": "daily", "groups": [{"id": "team_cap", "label": "Team", "unit": "count", "quota": 9,
        "measure": "event", "scope": ["metadata.team"], "matches": [{"event": "image.*"}]}]})
}

async fn world() -> World {
    let world = World::frozen().await;
    world.admin.plan("pro", plan()).await;
    world.admin.put("policies/teams", policy()).await.expect(200);
    world.app.subscribe("u", "pro").await;
    world
}

async fn explain(api: &Api, query: &str) -> Value {
    api.get(&format!("explain?{query}")).await.expect(200)["call"].clone()
}

fn group<'a>(explained: &'a Value, id: &str) -> &'a Value {
    explained["groups"].as_array().unwrap().iter().find(|group| group["groupId"] == id).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_group_says_why_it_counts_a_call_or_does_not() {
    let world = world().await;
    world.app.reserved(json!({"userId": "u", "event": "picture", "quantity": 2})).await;
    let explained =
        explain(&world.app, "userId=u&event=image.a&quantity=3&metadata.variant=2k&metadata.team=red").await;
    assert_eq!((&explained["allowed"], &explained["reasons"]), (&json!(true), &json!([])));
    assert_eq!(explained["subscription"]["planId"], "pro");
    assert_eq!(explained["plan"]["unmatchedEvents"], "deny");
    let images = group(&explained, "images");
    assert_eq!((&images["planId"], &images["matches"], &images["amount"]), (&json!("pro"), &json!(true), &json!(3)));
    assert_eq!((&images["rule"], &images["limit"], &images["lacksRoom"]), (&json!(0), &json!(5), &json!(false)));
    assert_eq!((&images["counter"]["held"], &images["counter"]["remaining"]), (&json!(2), &json!(3)));
    assert_eq!(images["counter"]["period"]["end"], "2027-02-28T10:00:00Z");
    let spend = group(&explained, "spend");
    assert_eq!((&spend["matches"], &spend["counter"]), (&json!(false), &Value::Null));
    let mismatches = &spend["rules"][0]["mismatches"];
    assert_eq!(mismatches[0]["message"], "the event `image.a` is not `llm.*`");
    assert_eq!(mismatches[1]["message"], "metadata `model` is missing");
    let team = group(&explained, "team_cap");
    assert_eq!((&team["policyId"], &team["counter"]["scope"]), (&json!("teams"), &json!({"metadata.team": "red"})));

    let explained = explain(&world.app, "userId=u&event=image.a&metadata.variant=4k").await;
    assert_eq!((&explained["allowed"], &explained["reasons"]), (&json!(false), &json!(["unmatched_event"])));
    let told = &group(&explained, "images")["rules"][0]["mismatches"][0];
    assert_eq!(told["message"], "metadata `variant` is `4k`; the rule wants `1k` or `2k`");
    assert_eq!(group(&explained, "team_cap")["missingScope"], json!(["metadata.team"]));

    let explained = explain(&world.app, "userId=u&event=llm.chat&metadata.model=other").await;
    assert_eq!(
        (&explained["reasons"], &group(&explained, "spend")["uncovered"]),
        (&json!(["uncovered_event"]), &json!(true))
    );
    let explained = explain(&world.app, "userId=u&event=llm.chat&metadata.model=m").await;
    assert_eq!(explained["errors"][0]["field"], "metadata.prompt_tokens");
    assert_eq!(group(&explained, "spend")["error"]["field"], "metadata.prompt_tokens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_verdict_is_that_of_can_use_and_nothing_is_written() {
    let world = world().await;
    world
        .admin
        .plan(
            "basic",
            json!({"periodType": "monthly", "unmatchedEvents": "allow", "groups": [
        {"id": "basics", "unit": "count", "quota": 2, "matches": [{"event": "image.*"}]}]}),
        )
        .await;
    let operator = world.admin.with("X-Mode", "test");
    for user in ["blocked", "full", "granted"] {
        world.app.subscribe(user, "pro").await;
        world.app.post("track", json!({"userId": user, "event": "picture", "quantity": 5})).await.expect(200);
    }
    operator.post("users/blocked/block", json!({})).await.expect(200);
    let grant = json!({"groupId": "images", "scope": {"user": "granted"}, "amount": 2});
    operator.post("grants", grant).await.expect(201);
    world
        .app
        .post("subscriptions", json!({"userId": "own", "planId": "pro", "customLimits": {"images": {"quota": 1}}}))
        .await
        .expect(200);
    world.app.get("explain?userId=u&event=picture").await.expect(200);
    let before = world.redis.contents("qg:{default:test/main}*").await;
    for (user, event, quantity, metadata) in [
        ("u", "picture", 1, json!({})),
        ("u", "picture", 5, json!({})),
        ("u", "image.a", 1, json!({"variant": "1k"})),
        ("u", "image.a", 1, json!({"variant": "1k", "team": "red"})),
        ("u", "other", 1, json!({})),
        ("u", "llm.x", 1, json!({})),
        ("u", "llm.x", 1, json!({"model": "m", "prompt_tokens": "99"})),
        ("u", "llm.x", 1, json!({"model": "m", "prompt_tokens": "1001"})),
        ("own", "picture", 2, json!({})),
        ("blocked", "picture", 1, json!({})),
        ("full", "picture", 1, json!({})),
        ("granted", "picture", 2, json!({})),
        ("granted", "picture", 3, json!({})),
        ("nobody", "picture", 1, json!({})),
    ] {
        let call = json!({"userId": user, "event": event, "quantity": quantity, "metadata": metadata});
        let decided = world.app.post("can-use", call.clone()).await.expect(200);
        let fields: String = metadata
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("&metadata.{name}={}", value.as_str().unwrap()))
            .collect();
        let query = format!("userId={user}&event={event}&quantity={quantity}{fields}");
        for api in [&world.app, &operator] {
            let explained = explain(api, &query).await;
            assert_eq!(explained["allowed"], decided["allowed"], "{call} {explained}");
            assert_eq!(explained["reasons"], decided["reasons"], "{call} {explained}");
        }
    }
    assert_eq!(world.redis.contents("qg:{default:test/main}*").await, before);
    let blocked = explain(&operator, "userId=blocked&event=picture").await;
    assert_eq!((&blocked["blocked"], &group(&blocked, "images")["lacksRoom"]), (&json!(true), &json!(true)));
    let granted = explain(&operator, "userId=granted&event=picture").await;
    let images = group(&granted, "images");
    assert_eq!((&images["limit"], &images["grants"][0]["amount"]), (&json!(7), &json!(2)));
    let own = explain(&operator, "userId=own&event=picture").await;
    assert_eq!((&own["plan"]["ownLimits"], &group(&own, "images")["limit"]), (&json!(true), &json!(1)));
    assert_eq!(explain(&operator, "userId=nobody&event=picture").await["plan"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_default_plan_is_told_as_such_and_a_key_brings_what_it_fixes() {
    let world = World::frozen().await;
    world.admin.plan("free", json!({"periodType": "daily", "groups": [
        {"id": "by_key", "unit": "count", "quota": 3, "scope": ["key"], "matches": [{"event": "x", "metadata": {"team": "red"}}]}]})).await;
    world.admin.put("app", json!({"defaultPlanId": "free"})).await.expect(200);
    let key = new_key(&world.admin, json!({"kind": "secret", "mode": "test", "metadata": {"team": "red"}})).await;
    let explained = explain(&world.node.client(&key), "userId=u&event=x").await;
    assert_eq!((&explained["allowed"], &explained["plan"]["isDefault"]), (&json!(true), &json!(true)));
    assert_eq!(explained["metadata"], json!({"team": "red"}));
    let operator = world.admin.with("X-Mode", "test");
    let explained = explain(&operator, "userId=u&event=x&metadata.team=red").await;
    assert_eq!(group(&explained, "by_key")["missingScope"], json!(["key"]));
    let explained = explain(&operator, "userId=u&event=x&metadata.team=red&key=key_1").await;
    assert_eq!(
        (&explained["allowed"], &group(&explained, "by_key")["counter"]["scope"]),
        (&json!(true), &json!({"key": "key_1"}))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_parameters_are_named_and_browsers_keys_may_not_ask() {
    let world = world().await;
    for (query, field) in [
        ("event=x", "userId"),
        ("userId=u", "event"),
        ("userId=u&event=x&quantity=many", "quantity"),
        ("userId=u&event=x&quantity=0", "quantity"),
        ("userId=u&event=x&limit=3", "limit"),
        ("userId=u&event=x.refund", "event"),
        ("userId=u&event=x&key=a%20b", "key"),
    ] {
        assert_eq!(world.app.get(&format!("explain?{query}")).await.bad_field(), field, "{query}");
    }
    let key = new_key(&world.admin, json!({"kind": "publishable", "mode": "test"})).await;
    world.node.client(&key).get("explain?userId=u&event=x").await.problem(403, "forbidden_key");
    let key = new_key(&world.admin, json!({"kind": "admin", "role": "viewer"})).await;
    world.node.client(&key).with("X-Mode", "test").get("explain?userId=u&event=picture").await.expect(200);
}

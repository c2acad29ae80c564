//! Learned estimates: from which figures they are learned, who uses them, and what remembers them.

use serde_json::{Value, json};

use crate::support::proven::{gateway, tenant};
use crate::support::{Api, World, eventually, new_key};

const EVENT: &str = "llm.chat";

fn plan(changes: &Value) -> Value {
    let mut estimate = json!({"quantile": 0.95, "by": ["model"], "start": 4000, "max": 16000});
    estimate.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
        {"id": "tokens", "unit": "tokens", "quota": 100_000_000, "matches": [{"event": "llm.*"}],
            "measure": {"per": {"completion_tokens": 1}, "estimate": {"completion_tokens": estimate}}},
        {"id": "spend", "unit": "cents", "quota": null, "matches": [{"event": "llm.*"}],
            "measure": {"per": {"completion_tokens": "0.001"}, "estimate": {"completion_tokens": 9000}}}]})
}

async fn prepare(world: &World) {
    world.admin.plan("p", plan(&json!({}))).await;
    world.app.subscribe("u", "p").await;
}

/// Tracks calls with these figures.
async fn learn(app: &Api, calls: impl IntoIterator<Item = (String, u64)>) {
    let operations: Vec<Value> = calls
        .into_iter()
        .map(|(model, tokens)| {
            let metadata = json!({"model": model, "completion_tokens": tokens});
            json!({"op": "track", "userId": "u", "event": EVENT, "quantity": 1, "metadata": metadata})
        })
        .collect();
    for part in operations.chunks(100) {
        let answer = app.post("batch", json!({"operations": part})).await.expect(200);
        let results = answer["results"].as_array().unwrap();
        assert!(results.iter().all(|result| result["status"] == 200), "{answer}");
    }
}

/// So many calls of one model.
fn calls(model: &str, count: usize, tokens: u64) -> Vec<(String, u64)> {
    vec![(model.to_owned(), tokens); count]
}

/// All pages.
async fn listed(api: &Api) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("estimates?limit=200{cursor}")).await.expect(200);
        found.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["nextCursor"].as_str() {
            None => return found,
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
}

async fn of_model(api: &Api, model: &str) -> Value {
    let all = listed(api).await;
    let found = all.iter().find(|line| line["by"]["model"] == model);
    found.unwrap_or_else(|| panic!("no {model} in {all:?}")).clone()
}

fn call(model: &str) -> Value {
    json!({"userId": "u", "event": EVENT, "metadata": {"model": model}})
}

/// Used and held tokens.
async fn tokens(app: &Api) -> [u64; 2] {
    let counter = app.counter("u", "tokens").await;
    ["used", "held"].map(|name| counter[name].as_u64().unwrap())
}

/// What a reserve of the model holds.
async fn held(app: &Api, model: &str) -> u64 {
    let [_, before] = tokens(app).await;
    let id = app.reserved(call(model)).await;
    let [_, after] = tokens(app).await;
    app.release(&id).await;
    after - before
}

#[tokio::test]
async fn a_reserve_is_held_with_what_its_model_has_used_and_charged_with_the_same_if_no_figure_comes() {
    let world = World::new().await;
    prepare(&world).await;
    learn(&world.app, calls("large", 99, 700)).await;
    let line = of_model(&world.app, "large").await;
    assert_eq!((&line["value"], &line["learned"], &line["samples"]), (&json!(4000), &json!(false), &json!(99)));
    assert_eq!((line["event"].as_str(), line["field"].as_str()), (Some(EVENT), Some("completion_tokens")));
    learn(&world.app, calls("large", 1, 90)).await;
    let line = of_model(&world.app, "large").await;
    // At most 2 % more than 700.
    assert_eq!((&line["value"], &line["learned"], &line["samples"]), (&json!(704), &json!(true), &json!(100)));
    assert_eq!((&line["quantile"], &line["start"], &line["max"]), (&json!(0.95), &json!(4000), &json!(16000)));

    // The first call of a node finds nothing yet, and does not wait for it.
    let (node, app) = world.another_node().await;
    eventually("the node knows it", async || held(&app, "large").await == 704).await;
    assert_eq!(held(&app, "small").await, 4000);
    let id = app.reserved(call("large")).await;
    let explained = app.get(&format!("explain?reservationId={id}")).await.expect(200);
    let item = &explained["reservation"]["items"][0];
    assert_eq!(item["estimated"], json!({"completion_tokens": 704}), "{explained}");
    assert_eq!(item["groups"][0]["amount"], 704, "{explained}");
    let asked = app.get("explain?userId=u&event=llm.chat&metadata.model=large").await.expect(200);
    assert_eq!(asked["call"]["estimated"], json!({"completion_tokens": 704}), "{asked}");
    // The number of the other group stays.
    assert_eq!(asked["call"]["groups"][1]["amount"], 9, "{asked}");

    // Whatever was learned meanwhile, and on a node that knows nothing.
    learn(&app, calls("large", 100, 2000)).await;
    let [before, _] = tokens(&app).await;
    let commit = json!({"reservationId": id, "metadata": {"finish": "stop"}});
    world.app.post("commit", commit).await.expect(200);
    assert_eq!(tokens(&app).await[0] - before, 704);
    node.stop().await;
}

#[tokio::test]
async fn the_estimate_is_the_wish_of_a_call_with_fit() {
    let world = World::new().await;
    prepare(&world).await;
    learn(&world.app, calls("large", 100, 700)).await;
    assert_eq!(of_model(&world.app, "large").await["learned"], true);
    let (node, app) = world.another_node().await;
    let mut asked = call("large");
    asked["fit"] = json!({"field": "completion_tokens", "min": 100});
    let wish = async || {
        let decision = app.reserve(asked.clone()).await;
        app.release(decision["reservationId"].as_str().unwrap()).await;
        decision["fitted"]["completion_tokens"].as_u64()
    };
    // The other group has a larger estimate.
    assert_eq!(wish().await, Some(9000));
    let mut learned = plan(&json!({}));
    learned["groups"][1]["measure"]["estimate"] = learned["groups"][0]["measure"]["estimate"].clone();
    world.admin.plan("p", learned).await;
    eventually("the node knows it", async || wish().await == Some(704)).await;

    // Whoever reaches the fitted value would have needed more, so the estimate can rise again.
    for (tokens, exceeded) in [(703, 0), (704, 1)] {
        let id = app.reserved(asked.clone()).await;
        let figures = json!({"reservationId": id, "metadata": {"completion_tokens": tokens}});
        app.post("commit", figures).await.expect(200);
        let line = of_model(&app, "large").await;
        assert_eq!(line["exceeded"], exceeded, "{tokens}: {line}");
    }
    node.stop().await;
}

#[tokio::test]
async fn figures_above_the_estimate_of_their_reserve_are_counted() {
    let world = World::new().await;
    prepare(&world).await;
    for (tokens, exceeded) in [(5000, 1), (4000, 1), (4001, 2), (10, 2)] {
        let id = world.app.reserved(call("large")).await;
        let figures = json!({"reservationId": id, "metadata": {"completion_tokens": tokens}});
        world.app.post("commit", figures).await.expect(200);
        assert_eq!(of_model(&world.app, "large").await["exceeded"], exceeded, "{tokens}");
    }
    // Released, tracked, or with a figure from the beginning: nothing was estimated.
    let id = world.app.reserved(call("large")).await;
    world.app.release(&id).await;
    learn(&world.app, calls("large", 1, 20_000)).await;
    let mut known = call("large");
    known["metadata"]["completion_tokens"] = json!(10);
    let id = world.app.reserved(known).await;
    let figures = json!({"reservationId": id, "metadata": {"completion_tokens": 20_000}});
    world.app.post("commit", figures).await.expect(200);
    let line = of_model(&world.app, "large").await;
    assert_eq!((&line["samples"], &line["compared"], &line["exceeded"]), (&json!(6), &json!(4), &json!(2)));
}

#[tokio::test]
async fn an_estimate_never_exceeds_its_maximum_and_is_learned_without_names_for_all_calls_of_an_event() {
    let world = World::new().await;
    world.admin.plan("p", plan(&json!({"by": [], "max": 5000}))).await;
    world.app.subscribe("u", "p").await;
    learn(&world.app, calls("large", 60, 9000).into_iter().chain(calls("small", 60, 8000))).await;
    let all = listed(&world.app).await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((&all[0]["by"], &all[0]["value"], &all[0]["samples"]), (&json!({}), &json!(5000), &json!(120)));
}

#[tokio::test]
async fn figures_count_for_seven_days() {
    let world = World::frozen().await;
    prepare(&world).await;
    learn(&world.app, calls("large", 100, 700)).await;
    world.app.freeze("2027-02-06T23:59:59Z").await;
    assert_eq!(of_model(&world.app, "large").await["samples"], 100);
    world.app.freeze("2027-02-07T00:00:00Z").await;
    assert_eq!(listed(&world.app).await, [] as [Value; 0]);
}

#[tokio::test]
async fn a_rebuild_finds_the_same_figures_and_those_that_nobody_wanted_before() {
    let world = World::frozen().await;
    prepare(&world).await;
    learn(&world.app, calls("large", 100, 700).into_iter().chain(calls("small", 3, 60))).await;
    let before = listed(&world.app).await;
    assert_eq!(before.len(), 2, "{before:?}");
    let gateway = gateway(&world.redis.url());
    let main = tenant(&gateway, "test").await;
    gateway.rebuild(&main).await.unwrap();
    assert_eq!(listed(&world.app).await, before);
    // A name that is added now.
    world.admin.plan("p", plan(&json!({"by": ["model", "team"]}))).await;
    assert_eq!(listed(&world.app).await, [] as [Value; 0]);
    let gateway = crate::support::proven::gateway(&world.redis.url());
    gateway.rebuild(&main).await.unwrap();
    let line = of_model(&world.app, "large").await;
    assert_eq!((&line["by"], &line["samples"]), (&json!({"model": "large", "team": ""}), &json!(100)));
}

#[tokio::test]
async fn models_beyond_the_limit_on_rows_are_learned_together() {
    let world = World::frozen().await;
    prepare(&world).await;
    learn(&world.app, (0..600).map(|number| (format!("model-{number}"), 700))).await;
    let all = listed(&world.app).await;
    assert_eq!(all.len(), 451, "450 rows with a model of their own, and one for the rest");
    let rest: Vec<&Value> = all.iter().filter(|line| line["by"].is_null()).collect();
    assert_eq!((rest.len(), &rest[0]["samples"], &rest[0]["value"]), (1, &json!(150), &json!(704)));
    let samples: u64 = all.iter().map(|line| line["samples"].as_u64().unwrap()).sum();
    assert_eq!(samples, 600);
    let (node, app) = world.another_node().await;
    eventually("the node knows it", async || held(&app, "model-x").await == 704).await;
    let own = all.iter().find_map(|line| line["by"]["model"].as_str()).unwrap();
    assert_eq!(held(&app, own).await, 4000, "a row of its own has too few figures");
    node.stop().await;
}

#[tokio::test]
async fn a_bad_estimate_is_refused_by_name_and_the_list_by_role() {
    let world = World::new().await;
    prepare(&world).await;
    for (changes, field) in [
        (json!({"quantile": 1}), "quantile"),
        (json!({"by": ["completion_tokens"]}), "by"),
        (json!({"start": 0}), "start"),
        (json!({"max": 3999}), "max"),
    ] {
        let answer = world.admin.put("plans/p", plan(&changes)).await;
        assert_eq!(answer.bad_field(), format!("groups[0].measure.estimate.completion_tokens.{field}"));
    }
    let stored = world.admin.get("plans/p").await.expect(200);
    assert_eq!(stored["groups"][0]["measure"]["estimate"]["completion_tokens"]["max"], 16000);
    let viewer = new_key(&world.admin, json!({"kind": "admin", "role": "viewer"})).await;
    world.node.client(&viewer).get("estimates").await.expect(200);
    let publishable = new_key(&world.admin, json!({"kind": "publishable", "mode": "test"})).await;
    world.node.client(&publishable).get("estimates").await.problem(403, "forbidden_key");
    assert_eq!(world.app.get("estimates?limit=0").await.bad_field(), "limit");
    assert_eq!(world.app.get("estimates?cursor=x").await.bad_field(), "cursor");
    learn(&world.app, calls("large", 1, 10)).await;
    assert_eq!(world.app.get("estimates?event=llm.embed").await.expect(200)["data"], json!([]));
    for (event, count) in [("llm.chat", 1), ("llm.ch", 0), ("llm.ch*", 1), ("*", 1), ("image.*", 0), ("", 0)] {
        let found = world.app.get(&format!("estimates?event={event}")).await.expect(200);
        assert_eq!(found["data"].as_array().unwrap().len(), count, "{event}");
    }
}

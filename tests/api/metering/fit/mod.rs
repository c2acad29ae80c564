//! `fit` of a reserve: it holds the largest value of one figure for which every group has room.

mod exact;
mod invalid;

use futures::future::join_all;
use serde_json::{Value, json};

use super::events;
use crate::configuration::budgets::{names, policy};
use crate::support::proven::drifts;
use crate::support::{Api, World};

/// A tokens group and a cents group for one LLM call. Without a value they expect 4,000 completion tokens.
fn llm(tokens: Value, cents: Value) -> Value {
    let measure = |prompt: &str, completion: &str| json!({"per": {"prompt_tokens": prompt, "completion_tokens": completion}, "estimate": {"completion_tokens": 4000}});
    json!({"periodType": "daily", "groups": [
        {"id": "tokens", "unit": "tokens", "quota": tokens, "measure": measure("1", "1"), "matches": [{"event": "llm.*"}]},
        {"id": "spend", "unit": "cents", "quota": cents, "measure": measure("0.00025", "0.001"),
            "matches": [{"event": "llm.*"}]},
        {"id": "images", "unit": "count", "quota": 10, "matches": [{"event": "image.*"}]}]})
}

/// A frozen sandbox with the user `u` on that plan.
async fn world(tokens: u64, cents: u64) -> World {
    let world = World::frozen().await;
    world.admin.plan("p", llm(json!(tokens), json!(cents))).await;
    world.app.subscribe("u", "p").await;
    world
}

/// A call with these tokens, of which at least 256 completion tokens must fit.
fn chat(metadata: Value) -> Value {
    json!({"userId": "u", "event": "llm.chat", "metadata": metadata,
        "fit": {"field": "completion_tokens", "min": 256}})
}

fn tokens(prompt: u64, completion: u64) -> Value {
    json!({"prompt_tokens": prompt, "completion_tokens": completion})
}

fn fitted(value: u64) -> Value {
    json!({"completion_tokens": value})
}

async fn held(api: &Api) -> (f64, f64) {
    (api.stands("u", "tokens").await.1, api.stands("u", "spend").await.1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_group_that_binds_first_decides() {
    // The prompt takes 1,000 of 5,000 tokens and 0.25 of 3 cents.
    for (tokens_quota, cents_quota, value, held_cents) in
        [(5000, 100, 4000, 4.25), (5000, 3, 2750, 3.0), (1300, 3, 300, 0.55)]
    {
        let world = world(tokens_quota, cents_quota).await;
        let reserved = world.app.reserve(chat(tokens(1000, 9000))).await;
        assert_eq!((&reserved["allowed"], &reserved["fitted"]), (&json!(true), &fitted(value)), "{reserved}");
        assert_eq!(held(&world.app).await, (1000.0 + value as f64, held_cents));
        let mut more = chat(tokens(0, 1));
        more["fit"] = json!({"field": "completion_tokens", "min": 1});
        assert_eq!(world.app.reserve(more).await["allowed"], false, "no further token fits");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wish_is_what_was_sent_or_the_estimate_and_is_never_exceeded() {
    let world = world(100_000, 100).await;
    for (metadata, value) in [
        (tokens(10, 300), 300),
        (json!({"prompt_tokens": 10}), 4000),
        (json!({"prompt_tokens": 10, "completion_tokens": "1800"}), 1800),
        (tokens(10, 256), 256),
    ] {
        let reserved = world.app.reserve(chat(metadata.clone())).await;
        assert_eq!(reserved["fitted"], fitted(value), "{metadata}");
        world.app.release(reserved["reservationId"].as_str().unwrap()).await;
    }
    // An estimate below `min` is no mistake of the caller.
    let mut call = chat(json!({"prompt_tokens": 10}));
    call["fit"]["min"] = json!(5000);
    assert_eq!(world.app.reserve(call).await["fitted"], fitted(5000));
    // A call without `fit` has no such answer.
    let plain = json!({"userId": "u", "event": "llm.chat", "metadata": tokens(1, 1)});
    assert_eq!(world.app.reserve(plain).await.get("fitted"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_for_the_minimum_the_call_is_denied_with_the_amounts_of_the_minimum() {
    let world = world(1200, 100).await;
    let before = world.redis.dump("qg:{default:test/main}:account*").await;
    let denied = world.app.reserve(chat(tokens(1000, 4000))).await;
    assert_eq!((&denied["allowed"], denied.get("fitted"), names(&denied)), (&json!(false), None, vec!["tokens"]));
    assert_eq!(
        (&denied["deniedBy"][0]["requested"], &denied["deniedBy"][0]["remaining"]),
        (&json!(1256), &json!(1200)),
        "{denied}"
    );
    assert_eq!(world.redis.dump("qg:{default:test/main}:account*").await, before);
    let found = events(&world, "type=denial").await;
    assert_eq!((found[0]["denied"][0]["requested"].as_f64(), found[0].get("fitted")), (Some(1256.0), None));
    assert_eq!(found[0]["metadata"]["completion_tokens"], "256");
    let problem = world.app.post("reserve?onDeny=429", chat(tokens(1000, 4000))).await.problem(429, "limit_reached");
    assert_eq!(problem["decision"]["deniedBy"][0]["requested"], 1256);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_item_of_several_is_fitted_beside_the_full_amounts_of_the_others() {
    let world = world(5000, 100).await;
    let item = |event: &str, completion: u64| json!({"event": event, "metadata": tokens(100, completion)});
    let mut body = json!({"userId": "u", "items": [item("llm.plan", 1000), {"event": "image.a", "quantity": 4},
        item("llm.answer", 9000)]});
    body["items"][2]["fit"] = json!({"field": "completion_tokens", "min": 256});
    let reserved = world.app.reserve(body.clone()).await;
    assert_eq!((&reserved["allowed"], &reserved["fitted"]), (&json!(true), &fitted(3800)), "{reserved}");
    assert_eq!(held(&world.app).await, (5000.0, 4.85));
    assert_eq!(world.app.stands("u", "images").await.1, 4.0);
    let id = reserved["reservationId"].as_str().unwrap();
    // Figures that are missing are those that were held.
    let figures = json!({"reservationId": id, "items": [{"metadata": {"completion_tokens": 1}}, {}, {"metadata": {"prompt_tokens": 50}}]});
    world.app.post("commit", figures).await.expect(200);
    assert_eq!(world.app.stands("u", "tokens").await, (101.0 + 3850.0, 0.0));
    // The quantity of an item, with others in the same counter.
    let images = json!({"userId": "u", "items": [{"event": "image.a", "quantity": 2},
        {"event": "image.b", "quantity": 9, "fit": {"field": "quantity", "min": 2}}]});
    let reserved = world.app.reserve(images).await;
    assert_eq!((&reserved["fitted"], world.app.stands("u", "images").await), (&json!({"quantity": 4}), (4.0, 6.0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repetition_answers_the_same_value_on_every_node_whatever_has_changed() {
    let world = world(5000, 100).await;
    let (_node, other) = world.another_node().await;
    let call = chat(tokens(1000, 9000));
    let first = world.app.once("a").post("reserve", call.clone()).await.expect(200);
    assert_eq!(first["fitted"], fitted(4000));
    world.admin.plan("p", llm(json!(9000), json!(100))).await;
    for api in [&world.app, &other] {
        let again = api.once("a").post("reserve", call.clone()).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!((&again.json["fitted"], &again.json["reservationId"]), (&fitted(4000), &first["reservationId"]));
    }
    let mut another = call.clone();
    another["fit"]["min"] = json!(300);
    world.app.once("a").post("reserve", another).await.problem(409, "idempotency_key_reused");
    // Now nothing measures the field any more.
    let plain = json!({"id": "calls", "unit": "count", "quota": 9, "measure": "event", "matches": [{"event": "*"}]});
    world.admin.plan("p", json!({"periodType": "daily", "groups": [plain]})).await;
    assert_eq!(other.once("a").post("reserve", call.clone()).await.json["fitted"], fitted(4000));
    assert_eq!(other.once("b").post("reserve", call).await.bad_field(), "fit.field");
    // A denial is repeated too, although there is room by now.
    world.admin.plan("p", llm(json!(4100), json!(100))).await;
    let denied = world.app.once("c").post("reserve", chat(tokens(4000, 500))).await.expect(200);
    world.app.release(first["reservationId"].as_str().unwrap()).await;
    let again = other.once("c").post("reserve", chat(tokens(4000, 500))).await.expect(200);
    assert_eq!((&denied["allowed"], &again["allowed"], again.get("fitted")), (&json!(false), &json!(false), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_extend_does_not_change_what_the_reserve_answered() {
    let world = world(5000, 100).await;
    let (_node, other) = world.another_node().await;
    let images = json!({"userId": "u", "event": "image.a", "quantity": 20, "fit": {"field": "quantity", "min": 2}});
    world.app.reserved(json!({"userId": "u", "event": "image.a", "quantity": 3})).await;
    let first = world.app.once("a").post("reserve", images.clone()).await.expect(200);
    assert_eq!(first["fitted"], json!({"quantity": 7}));
    let id = first["reservationId"].as_str().unwrap();
    let limit = json!({"scope": {"user": "u"}, "quota": 14});
    world.app.put("limits/images", limit).await.expect(200);
    let extended = other.post("extend", json!({"reservationId": id, "quantity": 4})).await.expect(200);
    assert_eq!((&extended["allowed"], world.app.stands("u", "images").await.1), (&json!(true), 14.0));
    for api in [&world.app, &other] {
        assert_eq!(api.once("a").post("reserve", images.clone()).await.json["fitted"], json!({"quantity": 7}));
    }
    // The quantity that counts is the extended one.
    let settled = world.app.post("commit", json!({"reservationId": id, "metadata": {"model": "x"}})).await.expect(200);
    assert_eq!((&settled["status"], world.app.stands("u", "images").await), (&json!("committed"), (11.0, 3.0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_that_a_commit_leaves_out_are_the_fitted_ones() {
    let world = world(5000, 3).await;
    let (_node, other) = world.another_node().await;
    for (api, draws) in [(&world.app, false), (&other, false), (&other, true)] {
        let reserved = world.app.reserve(chat(tokens(1000, 9000))).await;
        assert_eq!(reserved["fitted"], fitted(2750));
        let id = reserved["reservationId"].as_str().unwrap();
        let used = world.app.stands("u", "tokens").await.0;
        if draws {
            let draw = json!({"reservationId": id, "final": false, "metadata": tokens(1000, 50)});
            world.app.post("commit", draw).await.expect(200);
            api.commit(id).await;
            assert_eq!(world.app.stands("u", "tokens").await, (used + 3750.0, 0.0));
        } else {
            let body = json!({"reservationId": id, "metadata": {"prompt_tokens": 900}});
            api.post("commit", body).await.expect(200);
            assert_eq!(world.app.stands("u", "tokens").await, (used + 3650.0, 0.0));
        }
        world.admin.with("x-mode", "test").post("users/u/reset", json!({})).await.expect(200);
    }
    assert!(drifts(&world.redis.url(), "test/main").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_only_observe_or_are_soft_do_not_bind() {
    let world = world(5000, 100).await;
    let measure = json!({"per": {"completion_tokens": "1"}});
    let group = |id: &str, enforcement: &str, quota: u64| {
        json!({"id": id, "unit": "tokens", "quota": quota, "enforcement": enforcement, "measure": measure,
            "matches": [{"event": "llm.chat"}]})
    };
    policy(&world, "trial", json!([group("watch", "observe", 300), group("soft", "soft", 100)])).await;
    let reserved = world.app.reserve(chat(tokens(1000, 9000))).await;
    // If it denied, it would have room for the minimum, so it would not deny this call.
    assert_eq!((&reserved["fitted"], reserved.get("observed")), (&fitted(4000), None), "{reserved}");
    world.app.release(reserved["reservationId"].as_str().unwrap()).await;
    world.app.reserved(json!({"userId": "u", "event": "llm.chat", "metadata": tokens(0, 100)})).await;
    for path in ["can-use", "reserve"] {
        let answer = world.app.post(path, chat(tokens(1000, 9000))).await.expect(200);
        assert_eq!(answer["fitted"], fitted(3900), "{path}");
        let observed = &answer["observed"][0];
        assert_eq!(
            (&observed["groupId"], observed["requested"].as_f64(), observed["remaining"].as_f64()),
            (&json!("watch"), Some(256.0), Some(200.0)),
            "{path}: the minimum does not fit"
        );
    }
    let found = events(&world, "observed=true").await;
    assert_eq!((found.len(), found[0]["denied"][0]["requested"].as_f64()), (1, Some(256.0)));
    assert_eq!(found[0].get("fitted"), None, "nothing was decided yet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_and_limits_of_owners_and_blocked_amounts_change_what_fits() {
    let world = world(1000, 100).await;
    let operator = world.admin.with("x-mode", "test");
    let fits = async || {
        let reserved = world.app.reserve(chat(tokens(0, 9000))).await;
        if let Some(id) = reserved["reservationId"].as_str() {
            world.app.release(id).await;
        }
        reserved["fitted"]["completion_tokens"].as_u64()
    };
    assert_eq!(fits().await, Some(1000));
    let grant = json!({"scope": {"user": "u"}, "groupId": "tokens", "amount": 500});
    operator.post("grants", grant).await.expect(201);
    assert_eq!(fits().await, Some(1500));
    world.app.put("limits/tokens", json!({"scope": {"user": "u"}, "quota": 100})).await.expect(200);
    assert_eq!(fits().await, Some(600));
    world.app.delete("limits/tokens", Some(json!({"scope": {"user": "u"}}))).await;
    let mut blocking = llm(json!(700), json!(100));
    blocking["groups"][0]["onPlanChange"] = json!("block");
    world.admin.plan("blocking", blocking).await;
    world.app.subscribe("u", "blocking").await;
    assert_eq!(fits().await, Some(500), "the quota is blocked until the next window, the grant is not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolled_quota_is_room_too() {
    let world = World::frozen().await;
    let mut plan = llm(json!(1000), json!(100));
    plan["groups"][0]["rollover"] = json!({"max": 600});
    world.admin.plan("p", plan).await;
    world.app.subscribe("u", "p").await;
    let used = world.app.reserved(json!({"userId": "u", "event": "llm.chat", "metadata": tokens(0, 100)})).await;
    world.app.commit(&used).await;
    world.app.freeze("2027-02-01T10:00:00Z").await;
    for path in ["can-use", "reserve"] {
        let answer = world.app.post(path, chat(tokens(0, 9000))).await.expect(200);
        assert_eq!(answer["fitted"], fitted(1600), "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_is_requested_only_if_the_minimum_does_not_fit() {
    let world = world(100_000, 100).await;
    let measure = json!({"per": {"completion_tokens": "1"}});
    let group = json!({"id": "premium", "unit": "tokens", "quota": 1000, "enforcement": "approval", "measure": measure,
        "matches": [{"event": "llm.chat"}]});
    policy(&world, "premium", json!([group])).await;
    let requests = async || {
        let admin = world.admin.with("x-mode", "test");
        admin.get("approvals").await.expect(200)["data"].as_array().unwrap().clone()
    };
    let reserved = world.app.reserve(chat(tokens(10, 800))).await;
    assert_eq!(reserved["fitted"], fitted(800));
    let mut small = chat(tokens(10, 800));
    small["fit"]["min"] = json!(100);
    assert_eq!(world.app.reserve(small).await["fitted"], fitted(200));
    assert_eq!(requests().await.len(), 0);
    let denied = world.app.reserve(chat(tokens(10, 800))).await;
    assert_eq!((&denied["reasons"], denied.get("fitted")), (&json!(["approval_required"]), None));
    let open = requests().await;
    assert_eq!((open.len(), &open[0]["requested"]), (1, &json!(256)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_counters_of_user_and_team_bind_together_and_max_per_call_too() {
    let world = world(100_000, 100).await;
    let measure = json!({"per": {"completion_tokens": "1"}, "estimate": {"completion_tokens": 6000}});
    let team = json!({"id": "team", "unit": "tokens", "quota": 5000, "scope": ["metadata.team"], "measure": measure,
        "maxPerCall": 3000, "matches": [{"event": "llm.*"}]});
    policy(&world, "teams", json!([team])).await;
    let of = |team: &str| chat(json!({"prompt_tokens": 10, "team": team}));
    // Both groups expect something: the larger figure is the wish, and one call may have 3,000.
    let reserved = world.app.reserve(of("red")).await;
    assert_eq!(reserved["fitted"], fitted(3000));
    assert_eq!(world.app.reserve(of("red")).await["fitted"], fitted(2000), "the team has no more");
    assert_eq!(names(&world.app.reserve(of("red")).await), ["team"]);
    assert_eq!(world.app.reserve(of("blue")).await["fitted"], fitted(3000));
    let mut large = of("green");
    large["fit"]["min"] = json!(3001);
    let denied = world.app.reserve(large).await;
    assert_eq!((&denied["reasons"], &denied["deniedBy"][0]["requested"]), (&json!(["call_too_large"]), &json!(3001)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn can_use_and_batch_answer_what_a_reserve_would_hold() {
    let world = world(5000, 3).await;
    world.app.reserved(json!({"userId": "u", "event": "llm.chat", "metadata": tokens(0, 1000)})).await;
    let call = chat(tokens(1000, 9000));
    let before = world.redis.dump("qg:{default:test/main}:*").await;
    let asked = world.app.post("can-use", call.clone()).await.expect(200);
    assert_eq!((&asked["allowed"], &asked["fitted"]), (&json!(true), &fitted(1750)));
    assert_eq!(world.redis.dump("qg:{default:test/main}:*").await, before);
    let mut operations = vec![call.clone(), call.clone(), call];
    for (operation, op) in operations.iter_mut().zip(["can-use", "reserve", "can-use"]) {
        operation["op"] = json!(op);
    }
    let done = world.app.post("batch", json!({"operations": operations})).await.expect(200);
    let values = done["results"].as_array().unwrap().iter().map(|result| result["body"]["fitted"].clone());
    assert_eq!(values.collect::<Vec<_>>(), [fitted(1750), fitted(1750), Value::Null]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_no_group_counts_gets_the_wish() {
    let world = World::frozen().await;
    let (_node, other) = world.another_node().await;
    let mut open = llm(json!(5000), json!(100));
    open["unmatchedEvents"] = json!("allow");
    world.admin.plan("p", open).await;
    world.app.subscribe("u", "p").await;
    let mut call = chat(json!({"completion_tokens": 70_000}));
    call["event"] = json!("video.render");
    for api in [&world.app, &other] {
        let free = api.once("a").post("reserve", call.clone()).await.expect(200);
        assert_eq!(
            (&free["allowed"], &free["matched"], &free["fitted"]),
            (&json!(true), &json!(false), &fitted(70_000))
        );
    }
    // A repetition is answered as before, also if the call would be denied now.
    world.admin.with("x-mode", "test").post("users/u/block", json!({})).await.expect(200);
    assert_eq!(world.app.once("a").post("reserve", call.clone()).await.expect(200)["fitted"], fitted(70_000));
    world.admin.with("x-mode", "test").post("users/u/unblock", json!({})).await.expect(200);
    call["metadata"] = json!({});
    assert_eq!(world.app.post("reserve", call).await.bad_field(), "metadata.completion_tokens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_holds_take_no_room_however_many_they_are() {
    let world = world(5000, 100).await;
    let one = json!({"userId": "u", "event": "llm.chat", "metadata": tokens(0, 10), "ttlSeconds": 1});
    for decision in join_all((0..300).map(|_| world.app.reserve(one.clone()))).await {
        assert_eq!(decision["allowed"], true);
    }
    world.app.freeze("2027-01-31T10:00:01Z").await;
    assert_eq!(world.app.reserve(chat(tokens(1000, 9000))).await["fitted"], fitted(4000));
    assert_eq!(held(&world.app).await.0, 5000.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_and_explain_show_what_was_fitted() {
    let world = world(5000, 100).await;
    let reserved = world.app.reserve(chat(tokens(1000, 9000))).await;
    let id = reserved["reservationId"].as_str().unwrap();
    let admin = world.admin.with("x-mode", "test");
    let explained = admin.get(&format!("explain?reservationId={id}")).await.expect(200)["reservation"].clone();
    let range = json!({"item": 0, "field": "completion_tokens", "min": 256, "wish": 9000, "value": 4000});
    assert_eq!(explained["fitted"], range, "{explained}");
    assert_eq!(explained["items"][0]["metadata"]["completion_tokens"], "4000");
    world.app.commit(id).await;
    let found = events(&world, "type=commit").await;
    assert_eq!((&found[0]["fitted"], &found[0]["metadata"]["completion_tokens"]), (&fitted(4000), &json!("4000")));
    let charged = found[0]["charges"].as_array().unwrap().iter().find(|charge| charge["groupId"] == "tokens").unwrap();
    assert_eq!(charged["amount"].as_f64(), Some(5000.0));
    let plain = world.app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    world.app.commit(&plain).await;
    assert_eq!(events(&world, "type=commit").await[1].get("fitted"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_race_never_overshoot_and_leave_less_than_the_minimum() {
    let world = world(100_000, 1000).await;
    let (_node, other) = world.another_node().await;
    let clients = (0..32_u64).map(|client| {
        let api = if client % 2 == 0 { world.app.clone() } else { other.clone() };
        async move {
            let mut sum = 0;
            loop {
                let reserved = api.reserve(chat(tokens(7, 900 + client * 37))).await;
                let Some(value) = reserved["fitted"]["completion_tokens"].as_u64() else { return sum };
                assert!((256..=900 + client * 37).contains(&value), "{reserved}");
                sum += value + 7;
            }
        }
    });
    let sum: u64 = join_all(clients).await.into_iter().sum();
    let (used, held) = world.app.stands("u", "tokens").await;
    assert_eq!((used, held), (0.0, sum as f64), "the answered amounts are held");
    assert!(sum <= 100_000 && 100_000 - sum < 256 + 7, "{sum}");
    assert!(drifts(&world.redis.url(), "test/main").await.is_empty());
}

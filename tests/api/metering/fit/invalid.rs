//! What cannot be fitted.

use serde_json::{Value, json};

use super::{chat, fitted, tokens, world};
use crate::configuration::budgets::policy;
use crate::support::{Api, World, new_key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_fitted_gets_a_400_that_names_the_field_and_changes_nothing() {
    let world = world(5000, 100).await;
    let fixed =
        new_key(&world.admin, json!({"kind": "secret", "mode": "test", "metadata": {"completion_tokens": "7"}})).await;
    let fixed = Api::at(&world.app.base, &fixed);
    let labelled = json!({"id": "labelled", "unit": "count", "quota": 9, "measure": "event",
        "matches": [{"event": "llm.odd", "metadata": {"completion_tokens": ["5"]}}]});
    policy(&world, "labels", json!([labelled])).await;
    let chat = |fit: Value| json!({"userId": "u", "event": "llm.chat", "metadata": tokens(10, 500), "fit": fit});
    let fit = |field: &str, min: Value| json!({"field": field, "min": min});
    let unsent = json!({"userId": "u", "event": "image.a", "fit": fit("completion_tokens", json!(1))});
    let mut odd = chat(fit("completion_tokens", json!(256)));
    odd["event"] = json!("llm.odd");
    let mut text = chat(fit("completion_tokens", json!(256)));
    text["metadata"]["completion_tokens"] = json!("many");
    let mut fraction = text.clone();
    fraction["metadata"]["completion_tokens"] = json!(500.5);
    let images = |quantity: Value, min: u64| json!({"userId": "u", "event": "image.a", "quantity": quantity, "fit": fit("quantity", json!(min))});
    let item = |fit: Value| json!({"event": "llm.chat", "metadata": tokens(10, 500), "fit": fit});
    let several = |items: Value| json!({"userId": "u", "items": items});
    let mut both = several(json!([item(fit("completion_tokens", json!(1)))]));
    both["fit"] = fit("completion_tokens", json!(1));
    let plain = json!({"event": "image.a"});
    for (api, body, field) in [
        (&world.app, chat(fit("completion_tokens", json!(0))), "fit.min"),
        (&world.app, chat(fit("completion_tokens", json!(1.5))), "fit.min"),
        (&world.app, chat(fit("completion_tokens", json!(-1))), "fit.min"),
        (&world.app, chat(fit("completion_tokens", json!(true))), "fit.min"),
        (&world.app, chat(fit("completion_tokens", json!(1_000_000_000_001_u64))), "fit.min"),
        (&world.app, chat(fit("completion_tokens", json!(501))), "fit.min"),
        (&world.app, chat(json!({"field": "completion_tokens"})), "fit.min"),
        (&world.app, chat(json!({"min": 1})), "fit.field"),
        (&world.app, chat(fit("", json!(1))), "fit.field"),
        (&world.app, chat(fit("event", json!(1))), "fit.field"),
        (&world.app, chat(json!({"field": 7, "min": 1})), "fit.field"),
        (&world.app, chat(json!({"field": "completion_tokens", "min": 1, "max": 2})), "fit.max"),
        (&world.app, chat(json!("completion_tokens")), "fit"),
        // The groups measure no `quantity` of this event.
        (&world.app, chat(fit("quantity", json!(1))), "fit.field"),
        (&world.app, odd, "fit.field"),
        (&fixed, chat(fit("completion_tokens", json!(1))), "fit.field"),
        // The event has no such figure, and no group expects one.
        (&world.app, chat(fit("reasoning_tokens", json!(1))), "fit.field"),
        (&world.app, unsent, "fit.field"),
        (&world.app, text, "metadata.completion_tokens"),
        (&world.app, fraction, "metadata.completion_tokens"),
        (&world.app, images(json!(2.5), 1), "quantity"),
        (&world.app, images(json!(2), 3), "fit.min"),
        (&world.app, images(json!(0), 1), "fit.min"),
        (&world.app, several(json!([plain, item(fit("completion_tokens", json!(0)))])), "items[1].fit.min"),
        (&world.app, several(json!([plain, item(fit("quantity", json!(1)))])), "items[1].fit.field"),
        (
            &world.app,
            several(json!([item(fit("completion_tokens", json!(1))), item(fit("completion_tokens", json!(1)))])),
            "items[1].fit",
        ),
        (&world.app, both, "items"),
    ] {
        for path in ["reserve", "can-use"] {
            let before = world.redis.contents("qg:{default:test/main}:*").await;
            let answer = api.post(path, body.clone()).await;
            assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text);
            assert_eq!(answer.bad_field(), field, "{path} {body}");
            assert_eq!(world.redis.contents("qg:{default:test/main}:*").await, before, "{path} {body}");
        }
    }
    let id = world.app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    let extend = json!({"reservationId": id, "quantity": 3, "fit": fit("quantity", json!(1))});
    assert_eq!(world.app.post("extend", extend).await.bad_field(), "fit");
    assert_eq!(world.app.post("track", images(json!(3), 1)).await.bad_field(), "fit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_without_value_and_estimate_is_required() {
    let world = World::frozen().await;
    let measure = json!({"per": {"completion_tokens": "1"}});
    let group =
        json!({"id": "tokens", "unit": "tokens", "quota": 900, "measure": measure, "matches": [{"event": "*"}]});
    world.admin.plan("p", json!({"periodType": "daily", "groups": [group]})).await;
    world.app.subscribe("u", "p").await;
    assert_eq!(world.app.post("reserve", chat(json!({}))).await.bad_field(), "metadata.completion_tokens");
    assert_eq!(world.app.reserve(chat(json!({"completion_tokens": 1000}))).await["fitted"], fitted(900));
}

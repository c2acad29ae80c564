//! A sandbox with a month of sample data, pictures and texts, so that every page has something to show.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::World;

/// Noon of the current day in the sample data.
pub const TODAY: &str = "2031-01-31T12:00:00Z";

async fn configure(world: &World) {
    let groups = |calls: u64, spend: u64| {
        json!([
            {"id": "calls", "label": "Calls", "unit": "count", "quota": calls, "alerts": [80, 100], "matches": [{"event": "image.*"}, {"event": "llm.*"}], "measure": "event"},
            {"id": "spend", "label": "Spend", "unit": "cents", "quota": spend, "matches": [{"event": "llm.chat", "metadata": {"model": ["large", "small"]},
                "measure": {"per": {"prompt_tokens": "0.001", "completion_tokens": "0.004"}, "estimate": {"prompt_tokens": 500,
                    "completion_tokens": {"quantile": 0.95, "by": ["model"], "start": 500}}}}]}])
    };
    let plan = |name: &str, calls: u64, spend: u64| json!({"name": name, "periodType": "monthly", "periodAnchor": "calendar", "groups": groups(calls, spend)});
    world.admin.plan("free", plan("Free", 60, 130)).await;
    world.admin.plan("pro", plan("Pro", 4000, 900)).await;
    let policy = json!({"owner": "platform", "reviewCadence": "quarterly", "groups": [{"id": "team", "label": "Team", "unit": "count", "quota": 40,
        "scope": ["metadata.team"], "enforcement": "approval", "periodType": "monthly", "matches": [{"event": "image.render"}]}]});
    world.admin.put("policies/teams", policy).await.expect(200);
    let hook = json!({"url": "http://127.0.0.1:9/hook", "events": ["limit.reached"], "modes": ["live", "test"]});
    world.admin.put("webhooks/ops", hook).await.expect(200);
}

fn chat(user: &str, model: &str, day: u64) -> Value {
    json!({"userId": user, "event": "llm.chat", "metadata": {"model": model, "prompt_tokens": 900 + 40 * day, "completion_tokens": 300 + 25 * day}})
}

/// Creates a month of calls, an approval request, an open reservation, and an expired one.
pub async fn opened(world: &World) {
    configure(world).await;
    let app = &world.app;
    for day in 2..=31 {
        app.freeze(&format!("2031-01-{day:02}T09:00:00Z")).await;
        if day == 2 {
            for (user, plan) in [("ada", "pro"), ("bob", "free"), ("eve@example.com", "free")] {
                app.subscribe(user, plan).await;
            }
        }
        let weekday = day % 7;
        for _ in 0..=weekday {
            app.post("track", chat("ada", "large", day)).await.expect(200);
        }
        app.post("track", chat("bob", "small", day)).await.expect(200);
        if weekday > 3 {
            app.post(
                "track",
                json!({"userId": "eve@example.com", "event": "image.render", "metadata": {"team": "red"}}),
            )
            .await
            .expect(200);
        }
    }
    let expires = json!({"userId": "ada", "event": "image.render", "metadata": {"team": "blue"}, "ttlSeconds": 60});
    app.reserved(expires).await;
    app.freeze(TODAY).await;
    let id = app.reserved(chat("ada", "large", 1)).await;
    app.commit(&id).await;
    app.reserved(json!({"userId": "ada", "event": "image.render", "metadata": {"team": "blue"}, "ttlSeconds": 600}))
        .await;
    app.post("track", json!({"userId": "bob", "event": "image.render", "quantity": 36, "metadata": {"team": "red"}}))
        .await
        .expect(200);
    let refused = json!({"userId": "bob", "event": "image.render", "metadata": {"team": "red"}});
    for _ in 0..3 {
        app.reserve(refused.clone()).await;
    }
}

/// Opens this sandbox in the browser.
pub async fn look(world: &World, browser: &Browser) {
    browser.run("localStorage.setItem('quotagate.mode', 'test')", json!([])).await;
    browser.open(&format!("{}/#/", world.node.url)).await;
    browser.reload().await;
    browser.sees("Sign out").await;
    browser.sees("The clock is set to").await;
}

//! `POST subscriptions?dryRun=true` shows the effect of the call without `dryRun`.

use serde_json::{Value, json};

use super::credits::buyer;
use crate::support::{Api, World};

/// Groups for mails, open jobs and everything else. `rule`: onPlanChange.
fn plan(rule: &str, quota: Value, period: &str, anchor: &str) -> Value {
    json!({"periodType": period, "periodAnchor": anchor, "groups": [
        {"id": "mails", "label": "Mails", "unit": "count", "quota": quota, "onPlanChange": rule, "matches": [{"event": "mail"}]},
        {"id": "jobs", "unit": "count", "quota": 3, "periodType": "concurrent", "onPlanChange": rule, "measure": "event", "matches": [{"event": "mail"}]},
        {"id": format!("only_{rule}"), "unit": "count", "quota": 4, "onPlanChange": rule, "matches": [{"event": "other"}]}]})
}

/// Usage, holds and grants on the plan `old`, whose windows are days.
async fn furnish(world: &World, user: &str) {
    let app = &world.app;
    app.subscribe(user, "old").await;
    app.post("track", json!({"userId": user, "event": "mail", "quantity": 3})).await.expect(200);
    app.reserved(json!({"userId": user, "event": "mail", "ttlSeconds": 3600})).await;
    let operator = world.admin.with("x-mode", "test");
    for (amount, until) in [(2, None), (4, Some("2027-06-01T00:00:00Z"))] {
        let grant = json!({"groupId": "mails", "scope": {"user": user}, "amount": amount, "expiresAt": until});
        operator.post("grants", grant).await.expect(201);
    }
}

/// The preview, after checking that the call has exactly this effect.
async fn foretold(app: &Api, body: &Value) -> Value {
    let user = body["userId"].as_str().unwrap();
    let before = app.get(&format!("usage?userId={user}")).await.expect(200);
    let reported = app.post("subscriptions?dryRun=true", body.clone()).await.expect(200);
    assert_eq!(app.get(&format!("usage?userId={user}")).await.expect(200), before, "{body}: nothing was written");
    let done = app.post("subscriptions", body.clone()).await.expect(200);
    assert_eq!(reported["subscription"], done, "{body}");
    let mut counters = reported["counters"].clone();
    for counter in counters.as_array_mut().unwrap() {
        counter.as_object_mut().unwrap().remove("effect").unwrap();
    }
    let after = app.get(&format!("usage?userId={user}")).await.expect(200);
    assert_eq!(counters, after["counters"], "{body}");
    reported
}

fn effects(reported: &Value) -> Vec<&str> {
    reported["counters"].as_array().unwrap().iter().map(|counter| counter["effect"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_preview_of_a_move_matches_the_move() {
    let world = World::frozen().await;
    let (admin, app) = (&world.admin, &world.app);
    app.freeze("2027-02-10T09:00:00Z").await;
    admin.plan("old", plan("carry", json!(20), "daily", "calendar")).await;
    for rule in ["carry", "reset", "block"] {
        admin.plan(rule, plan(rule, json!(10), "monthly", "calendar")).await;
        admin.plan(&format!("{rule}_own"), plan(rule, json!(2), "monthly", "subscription_start")).await;
        admin.plan(&format!("{rule}_free"), plan(rule, Value::Null, "lifetime", "calendar")).await;
    }
    let user = |kind: &str, to: &str| format!("{kind}_{to}");
    let targets: Vec<String> = ["carry", "reset", "block"]
        .iter()
        .flat_map(|rule| ["", "_own", "_free"].map(|kind| format!("{rule}{kind}")))
        .collect();
    // For two of them, the day in which they used something is over by then.
    for to in &targets {
        furnish(&world, &user("yesterday", to)).await;
        furnish(&world, &user("yesterday_lapsed", to)).await;
        app.delete("subscriptions", Some(json!({"userId": user("yesterday_lapsed", to)}))).await.expect(200);
    }
    app.freeze("2027-02-11T10:00:00Z").await;
    for to in &targets {
        for kind in ["today", "lapsed", "anew", "limits"] {
            furnish(&world, &user(kind, to)).await;
        }
        app.delete("subscriptions", Some(json!({"userId": user("lapsed", to)}))).await.expect(200);
        for (kind, more) in [
            ("today", json!({})),
            ("lapsed", json!({})),
            ("yesterday", json!({})),
            ("yesterday_lapsed", json!({})),
            ("anew", json!({"resetUsage": true})),
            ("limits", json!({"customLimits": {"mails": {"quota": 7}}})),
            ("first", json!({})),
        ] {
            let mut body = json!({"userId": user(kind, to), "planId": to});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let reported = foretold(app, &body).await;
            let rule = to.split('_').next().unwrap();
            let expected = match (kind, rule) {
                ("first", _) => "new",
                ("anew", _) => "reset",
                (_, "block") if !to.ends_with("free") || kind == "limits" => "blocked",
                ("yesterday" | "yesterday_lapsed", _) => "new",
                (_, "reset") => "reset",
                _ => "carried",
            };
            assert_eq!(effects(&reported)[0], expected, "{body}: {reported}");
            let ended = if ["lapsed", "yesterday_lapsed", "first"].contains(&kind) || rule == "carry" {
                json!([])
            } else {
                json!(["only_carry"])
            };
            assert_eq!(reported["endedGroupIds"], ended, "{body}");
            // Repeating the call would change nothing.
            let again = foretold(app, &body).await;
            assert_eq!(again["subscription"]["changed"], false, "{body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balance_does_not_end_with_the_plan() {
    let world = buyer(3).await;
    world.admin.plan("other", plan("carry", json!(10), "monthly", "calendar")).await;
    let reported = foretold(&world.app, &json!({"userId": "u", "planId": "other"})).await;
    assert_eq!(reported["endedGroupIds"], json!(["images"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_shows_refusals_and_periods_that_have_not_begun() {
    let world = World::frozen().await;
    let (admin, app) = (&world.admin, &world.app);
    let campaign = json!({"groups": [{"id": "mails", "unit": "count", "quota": 5, "periodType": "fixed",
        "start": "2027-03-01T00:00:00Z", "end": "2027-04-01T00:00:00Z", "matches": [{"event": "mail"}]}]});
    admin.plan("campaign", campaign).await;
    let reported = foretold(app, &json!({"userId": "u", "planId": "campaign"})).await;
    assert_eq!(effects(&reported), ["closed"]);
    let dry = async |body: Value| app.post("subscriptions?dryRun=true", body).await;
    assert_eq!(dry(json!({"userId": "u", "planId": "nowhere"})).await.bad_field(), "planId");
    assert_eq!(
        dry(json!({"userId": "u", "planId": "campaign", "startedAt": "2031-01-01T00:00:00Z"})).await.bad_field(),
        "startedAt"
    );
    let strange = json!({"userId": "u", "planId": "campaign", "customLimits": {"strange": {"quota": 1}}});
    assert_eq!(dry(strange).await.bad_field(), "customLimits.strange");
    assert_eq!(app.post("subscriptions?dryRun=maybe", json!({"userId": "u", "planId": "campaign"})).await.status, 400);
    let reader = crate::support::new_key(admin, json!({"kind": "publishable", "mode": "test"})).await;
    world
        .node
        .client(&reader)
        .post("subscriptions?dryRun=true", json!({"userId": "u", "planId": "campaign"}))
        .await
        .problem(403, "forbidden_key");
}

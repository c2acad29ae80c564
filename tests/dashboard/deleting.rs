//! Deletion dialogs list what depends on the item before it is deleted.

use serde_json::{Value, json};

use crate::support::receiver::{Receiver, Reply};
use crate::support::{eventually, monthly, new_key};
use crate::{signed_in, without_faults};

/// The dialog's button exists and is disabled.
const BLOCKED: &str = "document.querySelector('dialog [type=submit]').disabled";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_users_of_a_plan_are_listed_before_it_is_deleted_and_moved() {
    let (world, browser) = signed_in().await;
    let group = |id: &str, quota: u64, rule: &str| {
        json!({"id": id, "label": format!("<b>{id}</b>"), "unit": "count", "quota": quota, "periodType": "monthly",
            "periodAnchor": "calendar", "onPlanChange": rule, "matches": [{"event": format!("{id}.*")}]})
    };
    world
        .admin
        .plan(
            "old",
            json!({"groups": [group("images", 5, "carry"), group("mails", 5, "carry"), group("extra", 5, "carry")]}),
        )
        .await;
    world
        .admin
        .plan("new", json!({"name": "New", "groups": [group("images", 9, "carry"), group("mails", 7, "reset")]}))
        .await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    for user in ["ada", "bob"] {
        app.subscribe(user, "old").await;
    }
    app.post("subscriptions", json!({"userId": "bob", "planId": "old", "customLimits": {"images": {"quota": 8}}}))
        .await
        .expect(200);
    world.app.subscribe("only_test", "old").await;
    app.post("track", json!({"userId": "ada", "event": "images.a", "quantity": 3})).await.expect(200);
    world.admin.post("grants", json!({"groupId": "extra", "scope": {"user": "ada"}, "amount": 1})).await.expect(201);
    let webhook =
        json!({"url": "http://127.0.0.1:9/hook", "events": ["limit.reached"], "filter": {"groupIds": ["extra"]}});
    world.admin.put("webhooks/ops", webhook).await.expect(200);

    browser.open(&format!("{}/#/plans/old", world.node.url)).await;
    browser.click("Delete").await;
    browser
        .sees("3 users are on it: 2 in live mode, 1 in the sandbox main. 1 of them has custom limits, which the move drops.")
        .await;
    browser.sees("The limit <b>extra</b> extra ends with the next call").await;
    browser.sees("<b>images</b> images continues in new.").await;
    browser.sees("1 active grant for these limits has no effect any more.").await;
    browser.sees("The webhook ops no longer receives events.").await;
    browser.until(BLOCKED).await;
    browser.choose("moveTo", "new").await;
    browser.sees("<b>images</b>: keeps what was used; new limit 9").await;
    browser.sees("<b>mails</b>: starts at 0 of 7").await;
    browser.sees("<b>extra</b>: ends").await;
    browser.click("Move users and delete plan").await;
    browser.sees_title("Plans").await;
    let usage = app.get("usage?userId=ada").await.expect(200);
    assert_eq!((&usage["planId"], &usage["counters"][0]["used"]), (&json!("new"), &json!(3)), "{usage}");
    assert_eq!(world.app.get("usage?userId=only_test").await.expect(200)["planId"], "new");
    world.admin.get("plans/old").await.problem(404, "not_found");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_default_plan_cannot_be_deleted_and_a_plan_without_users_can() {
    let (world, browser) = signed_in().await;
    world.admin.plan("none", json!({"groups": []})).await;
    world.admin.plan("spare", monthly(3)).await;
    world.admin.put("app", json!({"defaultPlanId": "none"})).await.expect(200);
    browser.page("Plans").await;
    let row = r"[...document.querySelectorAll('tr')].map((row) => row.innerText.replace(/\s+/g, ' ')).join('; ')";
    browser.until(&format!("{row}.includes('none default')")).await;
    browser.click("none").await;
    browser.sees("default plan of users without a subscription").await;
    browser.click("Delete").await;
    browser.sees("It is the default plan").await;
    browser.until(BLOCKED).await;
    browser.click("Cancel").await;
    browser.sees_no_dialog().await;
    browser.visit("#/plans/spare").await;
    browser.click("Delete").await;
    browser.sees("No users are on it.").await;
    // Another user joins the plan while the dialog is open.
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("late", "spare").await;
    browser.click("Delete plan").await;
    browser.sees("The plan is in use").await;
    browser.sees("1 user is on it, in live mode.").await;
    browser.until(BLOCKED).await;
    browser.choose("moveTo", "none").await;
    browser.click("Move users and delete plan").await;
    browser.sees_title("Plans").await;
    world.admin.get("plans/spare").await.problem(404, "not_found");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_requests_are_listed_before_a_policy_is_deleted() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", json!({"unmatchedEvents": "allow", "groups": []})).await;
    let policy = json!({"groups": [{"id": "team", "label": "Team", "unit": "count", "quota": 0, "scope": ["metadata.team"],
        "enforcement": "approval", "periodType": "monthly", "matches": [{"event": "*"}]}]});
    world.admin.put("policies/cap", policy).await.expect(200);
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "one").await;
    assert_eq!(app.reserve(json!({"userId": "u", "event": "a", "metadata": {"team": "red"}})).await["allowed"], false);
    browser.open(&format!("{}/#/policies/cap", world.node.url)).await;
    browser.click("Delete").await;
    browser.sees("The limit Team team ends with the next call").await;
    browser.sees("1 open request for approval concerns these limits.").await;
    browser.sees("Only plans and other policies limit these calls then").await;
    browser.click("Delete policy").await;
    browser.sees_title("Policies").await;
    let capped = app.reserve(json!({"userId": "u", "event": "a", "metadata": {"team": "red"}})).await;
    assert_eq!(capped["allowed"], true, "{capped}");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_shown_sent_again_and_dropped_with_their_webhook() {
    let (world, browser) = signed_in().await;
    let receiver = Receiver::start(&[Reply::Status(500)]).await;
    world.admin.put("webhooks/ops", json!({"url": receiver.url, "events": ["limit.reached"]})).await.expect(200);
    world.admin.plan("one", monthly(1)).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    let denied = async |user: &str| {
        app.subscribe(user, "one").await;
        app.reserved(json!({"userId": user, "event": "image.a"})).await;
        assert_eq!(app.reserve(json!({"userId": user, "event": "image.a"})).await["allowed"], false);
    };
    denied("<i>ada</i>").await;
    receiver.wait_for(1).await;
    // Makes the delivery look a day old.
    let keys: Vec<String> = world.redis.run(&["KEYS", "qg:*:delivery:ops:*"]).await;
    let time: Vec<i64> = world.redis.run(&["TIME"]).await;
    world.redis.run::<()>(&["HSET", &keys[0], "since", &(time[0] * 1000 - 24 * 3_600_000).to_string()]).await;
    let deliveries = async |status: &str| {
        let listed = world.admin.get(&format!("webhooks/ops/deliveries?status={status}")).await.expect(200);
        listed["data"].as_array().map_or(0, Vec::len)
    };
    eventually("it is given up", || async { deliveries("dead").await == 1 }).await;
    browser.page("Webhooks").await;
    browser.click("1 dead letter").await;
    browser.sees("dead letter").await;
    browser.sees("500").await;
    receiver.answer(&[Reply::Status(200)]);
    browser.click("Send again").await;
    browser.sees("No dead letters in live mode.").await;
    browser.click("Delivered").await;
    browser.sees("200").await;
    let audit = world.admin.get("audit?action=webhook.resend").await.expect(200);
    assert_eq!(audit["data"].as_array().map(Vec::len), Some(1));
    // The dialog lists pending deliveries before they are dropped.
    receiver.answer(&[Reply::Status(500)]);
    denied("bob").await;
    eventually("it waits", || async { deliveries("pending").await == 1 }).await;
    browser.click("Delete").await;
    browser.sees("1 delivery waits for another attempt and is dropped").await;
    browser.click("Delete").await;
    browser.sees_title("Webhooks").await;
    assert_eq!(world.admin.get("webhooks").await.expect(200)["data"], Value::Array(Vec::new()));
    without_faults(browser).await;
}

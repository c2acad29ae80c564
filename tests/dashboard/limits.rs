//! Limits of single owners, credits, and what limits that only observe would have denied.

use serde_json::{Value, json};

use crate::support::new_key;
use crate::{signed_in, without_faults};

fn teams(enforcement: &str) -> Value {
    json!({"periodType": "monthly", "groups": [{"id": "team", "label": "Team", "unit": "tokens", "quota": 100,
        "scope": ["metadata.team"], "enforcement": enforcement, "matches": [{"event": "llm.*"}]}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_team_gets_another_limit_on_the_page_of_its_policy_and_loses_it_again() {
    let (world, browser) = signed_in().await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    world.admin.plan("one", json!({"periodType": "monthly", "unmatchedEvents": "allow", "groups": []})).await;
    world.admin.put("policies/teams", teams("hard")).await.expect(200);
    app.subscribe("ada", "one").await;
    let room = async |tokens: u64| {
        let image = json!({"userId": "ada", "event": "llm.chat", "quantity": tokens, "metadata": {"team": "red"}});
        app.post("can-use", image).await.expect(200)["allowed"] == true
    };
    browser.open(&format!("{}/#/policies/teams", world.node.url)).await;
    browser.sees("Every owner has the quota of the group.").await;
    browser.click("Set limit of one owner").await;
    browser.fill("scope-metadata.team", "red").await;
    browser.fill("quota", "1.5").await;
    browser.click("Save").await;
    browser.sees("must have at most 0 decimal places").await;
    assert!(room(100).await, "nothing is changed");
    browser.fill("quota", "50").await;
    browser.fill("note", "trial").await;
    browser.click("Save").await;
    browser.sees_no_dialog().await;
    browser.sees("50 tokens").await;
    browser.sees("trial").await;
    assert!(!room(51).await);
    browser.click("Change the limit of red").await;
    browser.fill("quota", "500").await;
    browser.click("Save").await;
    browser.sees_no_dialog().await;
    browser.sees("500 tokens").await;
    assert!(room(500).await);
    browser.click("Remove the limit of red").await;
    browser.sees("applies to red again: 100 tokens").await;
    browser.click("Remove").await;
    browser.sees_no_dialog().await;
    browser.sees("Every owner has the quota of the group.").await;
    assert!(!room(101).await);
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn estimates_are_listed_with_their_samples_and_how_often_they_were_exceeded() {
    let (world, browser) = signed_in().await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    browser.open(&format!("{}/#/estimates", world.node.url)).await;
    browser.sees("Nothing learned in live mode yet").await;
    let estimate = json!({"quantile": 0.95, "by": ["model"], "start": 4000, "max": 16000});
    let plan = json!({"periodType": "monthly", "groups": [{"id": "tokens", "unit": "tokens", "quota": null,
        "measure": {"per": {"completion_tokens": 1}, "estimate": {"completion_tokens": estimate}},
        "matches": [{"event": "llm.*"}]}]});
    world.admin.plan("one", plan).await;
    app.subscribe("ada", "one").await;
    let call = json!({"userId": "ada", "event": "llm.chat", "metadata": {"model": "<large>"}});
    for tokens in [10, 5000] {
        let id = app.reserved(call.clone()).await;
        let figures = json!({"reservationId": id, "metadata": {"completion_tokens": tokens}});
        app.post("commit", figures).await.expect(200);
    }
    browser.open(&format!("{}/#/estimates?event=llm.ch", world.node.url)).await;
    browser.sees("<large>").await;
    browser.sees("4,000").await;
    browser.sees("start value").await;
    browser.sees("1 of 2 (50 %)").await;
    browser.fill("event", "image.render").await;
    browser.sees("No estimate for this event").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_gets_credits_that_are_used_after_the_quota_and_can_be_voided() {
    let (world, browser) = signed_in().await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    let plan = json!({"periodType": "monthly", "groups": [
        {"id": "images", "label": "Images", "unit": "count", "quota": 2, "overflow": "packs", "matches": [{"event": "image.*"}]},
        {"id": "packs", "label": "Packs", "kind": "balance", "unit": "count"}]});
    world.admin.plan("one", plan).await;
    app.subscribe("ada", "one").await;
    let image = |quantity: u64| json!({"userId": "ada", "event": "image.render", "quantity": quantity});
    browser.open(&format!("{}/#/users/ada", world.node.url)).await;
    browser.sees("No credits yet.").await;
    browser.click("Add credits to Packs").await;
    browser.fill("amount", "0").await;
    browser.click("Add credits").await;
    browser.sees("must be greater than 0").await;
    browser.fill("amount", "5").await;
    browser.sees("5 will remain.").await;
    browser.fill("source", "pay_1").await;
    browser.fill("note", "pack of 5").await;
    browser.click("Add credits").await;
    browser.sees_no_dialog().await;
    browser.sees("5 of 5 left").await;
    browser.sees("pay_1").await;
    // The quota first, then the credits; the page follows.
    app.commit(&app.reserved(image(4)).await).await;
    browser.sees("3 of 5 left · 2 used").await;
    browser.sees("3 left · 2 used").await;
    let id = app.reserved(image(1)).await;
    browser.sees("2 of 5 left · 1 held · 2 used").await;
    browser.click("Void the credit of 5").await;
    browser.sees("This removes 2, which remain of this credit. Open reservations hold 1 more").await;
    browser.fill("note", "chargeback").await;
    browser.click("Void credit").await;
    browser.sees_no_dialog().await;
    browser.sees("0 of 5 left · 1 held · 2 used · 2 voided").await;
    assert_eq!(app.reserve(image(1)).await["allowed"], false);
    app.release(&id).await;
    browser.sees("0 of 5 left · 2 used · 3 voided").await;
    // What became of the credits in a report, and which of them covered a call.
    browser.open(&format!("{}/#/reports?by=group&groupId=packs", world.node.url)).await;
    browser.sees("Credited").await;
    browser.sees("Voided").await;
    browser.open(&format!("{}/#/explain?reservationId={id}", world.node.url)).await;
    browser.sees("beyond images").await;
    browser.open(&format!("{}/#/explain?userId=ada&event=image.render", world.node.url)).await;
    browser.sees("has 0 left (2 of 2 used), and the balance \"Packs\" has 0").await;
    // The page of the plan shows what the group overflows onto.
    browser.open(&format!("{}/#/plans/one", world.node.url)).await;
    browser.sees("2 per month per user, then packs").await;
    browser.sees("credits per user").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observed_denials_are_in_events_reports_and_explanations() {
    let (world, browser) = signed_in().await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    let plan = json!({"periodType": "monthly", "unmatchedEvents": "allow", "groups": []});
    world.admin.plan("one", plan).await;
    world.admin.put("policies/teams", teams("observe")).await.expect(200);
    app.subscribe("ada", "one").await;
    let call = json!({"userId": "ada", "event": "llm.chat", "quantity": 150, "metadata": {"team": "red"}});
    assert_eq!(app.reserve(call).await["allowed"], true);
    browser.open(&format!("{}/#/events", world.node.url)).await;
    browser.sees("observed").await;
    browser.click("Why llm.chat would be denied").await;
    browser.sees("only observes, would refuse").await;
    browser.sees("The limit \"Team\" only observes").await;
    browser.open(&format!("{}/#/reports?by=group&metric=observed", world.node.url)).await;
    browser.sees("Would be denied").await;
    browser.until("document.querySelector('main table tbody').textContent.includes('team')").await;
    browser.open(&format!("{}/#/policies/teams", world.node.url)).await;
    browser.sees("report what would be denied").await;
    without_faults(browser).await;
}

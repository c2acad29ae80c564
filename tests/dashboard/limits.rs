//! Limits of single owners, and what limits that only observe would have denied.

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

//! The page that explains why a call would be allowed or denied.

use serde_json::json;

use crate::support::new_key;
use crate::{signed_in, without_faults};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_tested_group_by_group_and_nothing_is_written() {
    let (world, browser) = signed_in().await;
    let plan = json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
        {"id": "large", "label": "Large <b>", "unit": "count", "quota": 2, "matches": [{"event": "llm.chat", "metadata": {"model": "large"}}]},
        {"id": "images", "label": "Images", "unit": "count", "quota": 5, "matches": [{"event": "image.*"}]}]});
    world.admin.plan("one", plan).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u 1", "one").await;
    browser.open(&format!("{}/#/users/u%201", world.node.url)).await;
    browser.click("Test a call").await;
    browser.sees_title("Explain").await;
    browser.sees("Which call?").await;
    browser.fill("event", "llm.chat").await;
    browser.fill("metadata", "model=small").await;
    browser.sees("unmatched_event").await;
    browser.sees("metadata model is small, but must be large").await;
    browser.sees("the event llm.chat does not match image.*").await;
    browser.fill("metadata", "model=large").await;
    browser.until("document.querySelector('.verdict .badge')?.textContent === 'allowed'").await;
    browser.until("document.querySelector('[data-group=large] .badge').textContent === 'matches'").await;
    browser.fill("quantity", "3").await;
    browser.sees("limit_reached").await;
    browser.until("document.querySelector('[data-group=large] .badge').textContent === 'matches, refuses'").await;
    browser.sees("not enough left: the limit is 2").await;
    browser.sees("Denied: the call needs 3, and the limit \"Large <b>\" has 2 left (0 of 2 used)").await;
    browser.until("location.hash.includes('quantity=3')").await;
    assert_eq!(app.stands("u 1", "large").await, (0.0, 0.0), "nothing is written");
    browser.fill("userId", "u-1").await;
    browser.sees("The gateway has no data about this user").await;
    browser.fill("userId", "u 1").await;
    browser.fill("quantity", "many").await;
    browser.until("document.querySelector('[name=quantity]').getAttribute('aria-invalid') === 'true'").await;
    assert_eq!(browser.run("return document.querySelectorAll('main b').length", json!([])).await, 0);
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reason_of_a_denial_takes_three_clicks() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", crate::support::monthly(2)).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    for user in ["ada", "bob"] {
        app.subscribe(user, "one").await;
    }
    let refused = json!({"userId": "ada", "event": "image.a", "quantity": 3});
    assert_eq!(app.reserve(refused).await["allowed"], false);
    browser.visit("#/").await;
    browser.count_clicks().await;
    browser.page("Users").await;
    browser.click("ada").await;
    browser.sees("limit_reached").await;
    browser.click("Why image.a was denied").await;
    browser.sees("Denied: the call needs 3, and the limit \"images\" has 2 left (0 of 2 used)").await;
    let clicks = browser.clicks().await;
    assert!(clicks <= 3, "{clicks}");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_is_explained_from_its_hold_to_its_end() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", crate::support::monthly(20)).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "one").await;
    let call = json!({"userId": "u", "event": "image.a", "quantity": 30, "fit": {"field": "quantity", "min": 2}});
    let id = app.reserved(call).await;
    browser.visit("#/users/u").await;
    browser.click(&id).await;
    browser.sees_title("Explain").await;
    browser.sees("held").await;
    browser.sees("quantity 20 of 30, at least 2").await;
    browser.sees("No entry yet").await;
    app.commit(&id).await;
    browser.reload().await;
    browser.sees("committed").await;
    browser.until("document.querySelector('[aria-label=\"Ledger entries\"]').innerText.includes('commit')").await;
    browser.fill("reservationId", "rsv_nonsense").await;
    browser.until("document.querySelector('main .error, main .fault') !== null").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_credit_covers_is_shown_as_such() {
    let (world, browser) = signed_in().await;
    let plan = json!({"periodType": "monthly", "groups": [
        {"id": "packs", "kind": "balance", "unit": "count", "matches": [{"event": "image.*"}]}]});
    world.admin.plan("one", plan).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "one").await;
    app.post("credits", json!({"groupId": "packs", "scope": {"user": "u"}, "amount": 4})).await.expect(201);
    let id = app.reserved(json!({"userId": "u", "event": "image.a", "quantity": 4})).await;
    app.post("commit", json!({"reservationId": id, "quantity": 6})).await.expect(200);
    browser.visit(&format!("#/explain?reservationId={id}")).await;
    let windows = "[...document.querySelectorAll('[aria-label=\"Held and charged\"] tbody td:nth-child(2)')]";
    browser.until(&format!("{windows}.map((cell) => cell.innerText).sort().join() === ',no credit'")).await;
    without_faults(browser).await;
}

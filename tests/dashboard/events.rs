//! The list of events, its filters, and the live stream.

use serde_json::json;

use crate::support::{monthly, new_key};
use crate::{signed_in, without_faults};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_filtered_by_the_address_opened_and_explained() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(3)).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "one").await;
    let call = json!({"userId": "u", "event": "image.a", "metadata": {"model": "<i>large</i>"}});
    let id = app.reserved(call.clone()).await;
    app.commit(&id).await;
    app.post("track", json!({"userId": "u", "event": "image.b", "quantity": 2})).await.expect(200);
    assert_eq!(app.reserve(call).await["allowed"], false);
    browser.page("Events").await;
    let listed = "[...document.querySelectorAll('tr[data-event] .badge')].map((badge) => badge.textContent).join()";
    browser.until(&format!("{listed} === 'denial,track,commit'")).await;
    browser.choose("type", "denial").await;
    browser.until(&format!("{listed} === 'denial'")).await;
    browser.until("location.hash.includes('type=denial')").await;
    browser.run("document.querySelector('tr[data-event] button').click()", json!([])).await;
    browser.sees("Without room").await;
    browser.sees("<i>large</i>").await;
    browser.click("Explain such a call").await;
    browser.sees_title("Explain").await;
    browser.sees("limit_reached").await;
    browser.open(&format!("{}/#/events?reservationId={id}", world.node.url)).await;
    browser.reload().await;
    browser.until(&format!("{listed} === 'commit'")).await;
    browser.run("document.querySelector('tr[data-event] button').click()", json!([])).await;
    browser.sees("Balance").await;
    browser.click("Explain this reservation").await;
    browser.sees("committed").await;
    browser.visit("#/events").await;
    browser.fill("reservationId", "rsv_nonsense").await;
    browser.until("document.querySelector('[name=reservationId]').getAttribute('aria-invalid') === 'true'").await;
    assert_eq!(browser.run("return document.querySelectorAll('main i').length", json!([])).await, 0);
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_followed_as_they_come_and_pages_are_read_on() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(1000)).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "one").await;
    for _ in 0..60 {
        app.post("track", json!({"userId": "u", "event": "image.a"})).await.expect(200);
    }
    browser.visit("#/events?userId=u").await;
    browser.until("document.querySelectorAll('tr[data-event]').length === 50").await;
    browser.click("Show more").await;
    browser.until("document.querySelectorAll('tr[data-event]').length === 60").await;
    browser.click_field("live").await;
    browser.until("location.hash.includes('live=1')").await;
    app.post("track", json!({"userId": "other", "event": "image.elsewhere"})).await.expect(200);
    app.post("track", json!({"userId": "u", "event": "image.live"})).await.expect(200);
    browser.until("document.querySelector('tr[data-event]')?.innerText.includes('image.live')").await;
    app.post("track", json!({"userId": "u", "event": "image.later"})).await.expect(200);
    browser.until("document.querySelector('tr[data-event]')?.innerText.includes('image.later')").await;
    let all = "const ids = [...document.querySelectorAll('tr[data-event]')].map((row) => row.dataset.event); return ids.length === new Set(ids).size";
    assert_eq!(browser.run(all, json!([])).await, true, "no event is there twice");
    assert!(!browser.text().await.contains("image.elsewhere"));
    without_faults(browser).await;
}

//! `/docs`: the rendered API description.

use serde_json::json;

use crate::browser::Browser;
use crate::quality::{AXE, FOCUSED, LOOKS, findings, overflow};
use crate::support::{World, new_key};
use crate::without_faults;

/// Whether this operation is expanded.
fn open(id: &str) -> String {
    format!("document.getElementById('{id}')?.open === true")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_shows_operations_with_their_fields_and_finds_them() {
    let (world, browser) = (World::new().await, Browser::start().await);
    let document = world.app.get("/openapi.json").await.expect(200);
    let paths = document["paths"].as_object().unwrap();
    let count: usize = paths.values().map(|item| item.as_object().unwrap().len()).sum();
    browser.open(&format!("{}/docs", world.node.url)).await;
    browser.sees(&format!("{count} operations")).await;
    browser.sees("Check every limit that applies, and hold the amount in all of them or in none").await;
    // With the keyboard: to the search field, and on from there.
    browser.press_anywhere("/").await;
    browser.press("ttlSeconds extend").await;
    browser.sees("1 operation found").await;
    assert!(!browser.text().await.contains("/api/v1/reserve"));
    browser.run("document.querySelector('.operation > summary').focus()", json!([])).await;
    browser.press_anywhere("\u{e007}").await;
    browser.until(&open("metering.extend")).await;
    for part in
        ["Idempotency-Key", "reservationId", "REQUIRED", "Counted from now; 1 to 3600.", "number or string", "410"]
    {
        browser.until(&format!("document.body.innerText.toUpperCase().includes({:?})", part.to_uppercase())).await;
    }
    // The fields of a request and of a response.
    browser.fill("search", "plans.put").await;
    browser.sees("1 operation found").await;
    browser.run("document.querySelector('.operation > summary').click()", json!([])).await;
    browser.sees("X-Mode").await;
    browser
        .run(
            "[...document.querySelectorAll('summary')].find((it) => it.textContent === 'Fields of GroupBody').click()",
            json!([]),
        )
        .await;
    browser.sees("maxPerCall").await;
    browser.run("[...document.querySelectorAll('.answer > summary')].find((it) => it.textContent.startsWith('412')).click()", json!([])).await;
    browser.sees("application/problem+json").await;
    browser.fill("search", "no such thing").await;
    browser.sees("0 operations found").await;
    // By its address.
    browser.open(&format!("{}/docs?again#users.block", world.node.url)).await;
    browser.until(&open("users.block")).await;
    browser.sees("Block a user: all further calls are denied").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_has_an_example_that_is_tried_with_a_test_key() {
    let (world, browser) = (World::new().await, Browser::start().await);
    world.admin.plan("pro", crate::support::monthly(20)).await;
    world.app.subscribe("u_42", "pro").await;
    browser.open(&format!("{}/docs#metering.reserve", world.node.url)).await;
    browser.until(&open("metering.reserve")).await;
    browser.sees("POST /api/v1/reserve").await;
    browser.sees("\"reservationId\": \"rsv_1\"").await;
    let summary = "[...document.querySelectorAll('[id=\"metering.reserve\"] summary')].find((it) => it.textContent === 'Try it').click()";
    browser.run(summary, json!([])).await;
    // A live key is not sent anywhere.
    let live = new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await;
    browser.fill("key", &live).await;
    browser.click("Send").await;
    browser.sees("Enter a test key").await;
    browser.fill("key", &world.app.key).await;
    browser.click("Send").await;
    browser.sees("Answer 200").await;
    browser
        .until(
            "[...document.querySelectorAll('.try-it pre')].some((it) => it.textContent.includes('\"allowed\": true'))",
        )
        .await;
    assert_eq!(world.app.stands("u_42", "images").await, (0.0, 3.0));
    // An admin key is not asked for.
    browser.open(&format!("{}/docs?again#plans.put", world.node.url)).await;
    browser.until(&open("plans.put")).await;
    browser.sees("PUT /api/v1/plans/pro").await;
    assert_eq!(browser.run("return document.querySelectorAll('.try-it').length", json!([])).await, 0);
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_in_the_reference_and_it_fits_its_window() {
    let (world, browser) = (World::new().await, Browser::start().await);
    for (theme, (width, height), rules) in LOOKS {
        browser.theme(theme).await;
        browser.size(width, height).await;
        browser.open(&format!("{}/docs?{theme}{width}#plans.put", world.node.url)).await;
        browser.until(&open("plans.put")).await;
        browser
            .run("document.querySelectorAll('#plans\\\\.put details').forEach((it) => { it.open = true })", json!([]))
            .await;
        browser.sees("maxPerCall").await;
        browser.run(&format!("{AXE}; return typeof axe"), json!([])).await;
        assert_eq!(findings(&browser, rules).await, Vec::<String>::new(), "{theme} {width}");
        let over = overflow(&browser).await;
        assert!(over <= 0, "{over} too wide at {width}");
    }
    // After a key press the browser treats focus as keyboard focus.
    browser.press("\u{e004}").await;
    assert_eq!(browser.run(FOCUSED, json!([])).await, json!([]));
    without_faults(browser).await;
}

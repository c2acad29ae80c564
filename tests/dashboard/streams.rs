//! Pages that update from a stream, and what they do without one.

use serde_json::json;

use crate::support::{eventually, monthly, new_key};
use crate::{signed_in, without_faults};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_stream_left_pages_say_so_look_by_themselves_and_follow_again() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(1000)).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "one").await;
    app.post("track", json!({"userId": "u", "event": "image.first"})).await.expect(200);
    // Opens as many streams as one key may have, with one key after another, until the node has no free stream.
    let mut others = Vec::new();
    loop {
        let key = new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await;
        let (before, other) = (others.len(), world.node.client(&key));
        loop {
            let stream = other.open("events/stream").await;
            match stream.status().as_u16() {
                200 => others.push(stream),
                status => break assert_eq!(status, 429),
            }
        }
        if others.len() == before {
            break;
        }
    }
    browser.open(&format!("{}/#/events?live=1", world.node.url)).await;
    browser.reload().await;
    browser.sees("it has no stream of events left").await;
    browser.sees("image.first").await;
    app.post("track", json!({"userId": "u", "event": "image.second"})).await.expect(200);
    browser.sees("image.second").await;
    browser.visit("#/").await;
    browser.sees("Calls: 2").await;
    browser.sees("it has no stream of events left").await;
    app.post("track", json!({"userId": "u", "event": "image.third"})).await.expect(200);
    browser.sees("Calls: 3").await;
    drop(others);
    // The node notices a closed stream when it next writes to it.
    eventually("a stream is free", || async { app.open("events/stream").await.status() == 200 }).await;
    browser.until("document.querySelector('.looking').textContent === ''").await;
    app.post("track", json!({"userId": "u", "event": "image.fourth"})).await.expect(200);
    browser.sees("Calls: 4").await;
    without_faults(browser).await;
}

/// Breaks the page's open streams, as a terminating node does; the page then opens new ones.
const BREAK: &str = "window.cut.forEach((stop) => stop()); window.cut = []";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_during_a_broken_stream_are_shown_once_it_is_open_again() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(1000)).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "one").await;
    // Wraps `fetch`, so that the test can break streams.
    let hand = "window.cut = []; const ask = window.fetch; window.fetch = async (where, options) => { \
        const answer = await ask(where, options); if (!String(where).includes('stream')) return answer; \
        const reader = answer.body.getReader(); \
        const body = new ReadableStream({ start(out) { window.cut.push(() => out.close()); \
            (async () => { for (;;) { const { value, done } = await reader.read(); if (done) return; out.enqueue(value); } })().catch(() => {}); } }); \
        return new Response(body, { status: answer.status, headers: answer.headers }); }";
    browser.run(hand, json!([])).await;
    browser.visit("#/users/u").await;
    browser.sees("0 / 1,000").await;
    browser.until("window.cut.length === 1").await;
    browser.run(BREAK, json!([])).await;
    app.post("track", json!({"userId": "u", "event": "image.a", "quantity": 5})).await.expect(200);
    browser.sees("5 / 1,000").await;
    browser.until("window.cut.length === 1").await;
    app.post("track", json!({"userId": "u", "event": "image.a", "quantity": 2})).await.expect(200);
    browser.sees("7 / 1,000").await;
    without_faults(browser).await;
}

//! The dashboard in headless Chromium, against a real gateway.

// The layout of the futures that the service makes is deeper than the default of 128.
#![recursion_limit = "256"]

#[path = "../support/mod.rs"]
mod support;

// Screenshots are taken by `examples/pictures.rs`.
#[allow(dead_code)]
mod browser;
mod configuration;
mod deleting;
mod events;
mod explain;
mod forms;
mod hostile;
mod limits;
// The screenshots of the documentation need one more window size.
#[allow(dead_code)]
mod pages;
mod quality;
mod reference;
mod reports;
mod search;
mod sessions;
mod shop;
mod states;
mod streams;
mod users;

use browser::Browser;
use support::{ROOT_KEY, World};

/// A test world and a browser that is signed in to it.
async fn signed_in() -> (World, Browser) {
    let (world, browser) = (World::new().await, Browser::start().await);
    sign_in(&world, &browser, ROOT_KEY).await;
    (world, browser)
}

async fn sign_in(world: &World, browser: &Browser, key: &str) {
    browser.open(&format!("{}/", world.node.url)).await;
    browser.fill("key", key).await;
    browser.click("Sign in").await;
    browser.sees("Sign out").await;
}

/// Ends a test, and fails it if the page logged an error.
async fn without_faults(browser: Browser) {
    let faults = browser.faults().await;
    assert!(faults.is_empty(), "{faults:#?}");
    browser.end().await;
}

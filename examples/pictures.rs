//! `make pictures`: takes the pictures of docs/dashboard, every page in light, dark and on a phone, of a shop with a month
//! behind it. `scripts/dashboard-pictures.py` makes them small.

// The layout of the futures that the service makes is deeper than the default of 128.
#![recursion_limit = "256"]

#[path = "../tests/support/mod.rs"]
mod support;

#[allow(dead_code)]
#[path = "../tests/dashboard/browser.rs"]
mod browser;
#[allow(dead_code)]
#[path = "../tests/dashboard/pages.rs"]
mod pages;
#[path = "../tests/dashboard/shop.rs"]
mod shop;

use std::path::Path;

use browser::Browser;
use pages::{PAGES, PHONE, PICTURE};
use support::{ROOT_KEY, World};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let (world, browser) = (World::new().await, Browser::start().await);
    browser.open(&format!("{}/", world.node.url)).await;
    browser.fill("key", ROOT_KEY).await;
    browser.click("Sign in").await;
    browser.sees("Sign out").await;
    shop::opened(&world).await;
    shop::look(&world, &browser).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dashboard");
    for (look, theme, (width, height)) in
        [("light", "light", PICTURE), ("dark", "dark", PICTURE), ("phone", "light", PHONE)]
    {
        browser.theme(theme).await;
        browser.size(width, height).await;
        for page in PAGES {
            pages::visit(&browser, page).await;
            let name = page.0;
            std::fs::write(folder.join(format!("{name}-{look}.png")), browser.picture().await)?;
        }
    }
    browser.end().await;
    Ok(())
}

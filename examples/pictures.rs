//! `make pictures`: takes the pictures of docs/dashboard, every page in light, dark and on a phone, of a shop with a month
//! behind it. `scripts/dashboard-pictures.py` makes them small. With a folder as its argument it takes pictures to look at:
//! every page in three widths, light and dark, and tall.

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

use std::path::{Path, PathBuf};

use browser::Browser;
use pages::{PAGES, PHONE, PICTURE};
use support::{ROOT_KEY, World};

/// A name, the theme, and the size of the window.
type Look = (&'static str, &'static str, (u32, u32));

const DOCS: &[Look] = &[("light", "light", PICTURE), ("dark", "dark", PICTURE), ("phone", "light", PHONE)];
const REVIEW: &[Look] = &[
    ("1440-light", "light", (1440, 1500)),
    ("1440-dark", "dark", (1440, 1500)),
    ("1024-light", "light", (1024, 1500)),
    ("1024-dark", "dark", (1024, 1500)),
    ("390-light", "light", (390, 1800)),
    ("390-dark", "dark", (390, 1800)),
];

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let (world, browser) = (World::new().await, Browser::start().await);
    browser.open(&format!("{}/", world.node.url)).await;
    browser.fill("key", ROOT_KEY).await;
    browser.click("Sign in").await;
    browser.sees("Sign out").await;
    shop::opened(&world).await;
    shop::look(&world, &browser).await;
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dashboard");
    let (folder, looks) = std::env::args().nth(1).map_or((docs, DOCS), |folder| (PathBuf::from(folder), REVIEW));
    std::fs::create_dir_all(&folder)?;
    for (look, theme, (width, height)) in looks {
        browser.theme(theme).await;
        browser.size(*width, *height).await;
        for page in PAGES {
            pages::visit(&browser, page).await;
            let name = page.0;
            std::fs::write(folder.join(format!("{name}-{look}.png")), browser.picture().await)?;
        }
    }
    browser.end().await;
    Ok(())
}

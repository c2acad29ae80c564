//! `make pictures`: takes the pictures that docs/reference/dashboard.md shows, in light, dark or on a phone as their names
//! say, of a shop with a month behind it. `scripts/dashboard-pictures.py` makes them small. With a folder as its argument
//! it takes pictures to look at: every page in three widths, light and dark, and tall.

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

use std::collections::BTreeSet;
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

/// The names of the pictures that the documentation shows.
fn shown() -> std::io::Result<BTreeSet<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/dashboard.md");
    let text = std::fs::read_to_string(page)?;
    let targets = text.split("](../dashboard/").skip(1).filter_map(|rest| rest.split_once(')'));
    Ok(targets.map(|(name, _)| name.to_owned()).collect())
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let review = std::env::args().nth(1).map(PathBuf::from);
    let mut wanted = if review.is_none() { shown()? } else { BTreeSet::new() };
    let (world, browser) = (World::new().await, Browser::start().await);
    browser.open(&format!("{}/", world.node.url)).await;
    browser.fill("key", ROOT_KEY).await;
    browser.click("Sign in").await;
    browser.sees("Sign out").await;
    shop::opened(&world).await;
    shop::look(&world, &browser).await;
    let looks = if review.is_some() { REVIEW } else { DOCS };
    let docs = || Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dashboard");
    let folder = review.clone().unwrap_or_else(docs);
    std::fs::create_dir_all(&folder)?;
    for (look, theme, (width, height)) in looks {
        browser.theme(theme).await;
        browser.size(*width, *height).await;
        for page in PAGES {
            let file = format!("{}-{look}.png", page.0);
            if wanted.remove(&file) || review.is_some() {
                pages::visit(&browser, page).await;
                std::fs::write(folder.join(file), browser.picture().await)?;
            }
        }
    }
    browser.end().await;
    match wanted.first() {
        Some(file) => {
            Err(std::io::Error::other(format!("no page makes {file}, which docs/reference/dashboard.md shows")))
        }
        None => Ok(()),
    }
}

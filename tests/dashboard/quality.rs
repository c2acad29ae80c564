//! Every page in light and dark, wide and on a phone: nothing overflows, everything can be read and reached.

use std::path::Path;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::World;
use crate::{shop, signed_in, without_faults};

const AXE: &str = include_str!("axe/axe.min.js");

const WIDE: (u32, u32) = (1200, 900);
const PHONE: (u32, u32) = (390, 844);
const PICTURE: (u32, u32) = (1100, 720);

/// A name for each page, and where it is.
const PAGES: [(&str, &str); 21] = [
    ("overview", "#/"),
    ("reports", "#/reports?by=user&period=day"),
    ("reports-ranked", "#/reports?by=event%2Cmetadata.model&ratio=completion_tokens%2Fprompt_tokens"),
    ("events", "#/events"),
    ("explain", "#/explain?userId=bob&event=image.render&metadata=team%3Dred"),
    ("users", "#/users"),
    ("user", "#/users/ada"),
    ("user-unknown", "#/users/nobody"),
    ("plans", "#/plans"),
    ("plan", "#/plans/pro"),
    ("plan-new", "#/plans/new"),
    ("policies", "#/policies"),
    ("policy", "#/policies/teams"),
    ("approvals", "#/approvals"),
    ("alerts", "#/alerts"),
    ("webhooks", "#/webhooks/ops"),
    ("keys", "#/keys"),
    ("audit", "#/audit"),
    ("app", "#/app"),
    ("sandbox", "#/sandbox"),
    ("start", "#/start"),
];

async fn shown() -> (World, Browser) {
    let (world, browser) = signed_in().await;
    shop::opened(&world).await;
    shop::look(&world, &browser).await;
    (world, browser)
}

/// What axe finds on the page as it is: rule, how bad, and where.
async fn findings(browser: &Browser) -> Vec<String> {
    let run = "return axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations.map((found) => \
        `${found.id} (${found.impact}): ` + found.nodes.slice(0, 3).map((node) => node.html.slice(0, 200) + ' ' + (node.any[0]?.message ?? '')).join(' | ')))";
    let found = browser.run(run, json!([])).await;
    found.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_on_any_page_in_light_and_dark_wide_and_on_a_phone() {
    let (_world, browser) = shown().await;
    let load = format!("{AXE}; return typeof axe");
    assert_eq!(browser.run(&load, json!([])).await, "object");
    // A fault that is planted is found.
    let plant = "const button = document.createElement('button'); button.id = 'planted'; document.querySelector('main').append(button)";
    browser.run(plant, json!([])).await;
    assert!(findings(&browser).await.iter().any(|finding| finding.starts_with("button-name")));
    browser.run("document.getElementById('planted').remove()", json!([])).await;
    let mut found = Vec::new();
    for (theme, (width, height)) in [("light", WIDE), ("dark", WIDE), ("light", PHONE)] {
        browser.theme(theme).await;
        browser.size(width, height).await;
        for (name, place) in PAGES {
            browser.visit(place).await;
            found.extend(
                findings(&browser).await.into_iter().map(|finding| format!("{name} {theme} {width}: {finding}")),
            );
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_is_wider_than_its_window() {
    let (_world, browser) = shown().await;
    let mut wide = Vec::new();
    for (width, height) in [WIDE, PHONE] {
        browser.size(width, height).await;
        for (name, place) in PAGES {
            browser.visit(place).await;
            let over = browser.run("return document.documentElement.scrollWidth - innerWidth", json!([])).await;
            if over.as_i64().unwrap() > 0 {
                wide.push(format!("{name} at {width}: {over} too wide"));
            }
        }
    }
    assert!(wide.is_empty(), "{}", wide.join("\n"));
    without_faults(browser).await;
}

/// Each control, focused as by the keyboard, and what is drawn around it.
const FOCUSED: &str = "const controls = [...document.querySelectorAll('a[href], button:not(:disabled), input:not(:disabled), \
    select:not(:disabled), textarea, summary, [tabindex=\"0\"]')].filter((it) => it.checkVisibility({contentVisibilityAuto: true}) && it.getClientRects().length > 0 && !it.matches('.skip')); \
    return controls.filter((it) => { it.focus(); const style = getComputedStyle(it); \
        return document.activeElement !== it || style.outlineStyle === 'none' || parseFloat(style.outlineWidth) < 2; }).map((it) => it.outerHTML.slice(0, 160))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_has_the_focus_shows_it() {
    let (_world, browser) = shown().await;
    let mut hidden = Vec::new();
    for (name, place) in PAGES {
        browser.visit(place).await;
        // From a key press on, the browser takes the focus for one of the keyboard.
        browser.press("\u{e004}").await;
        let found: Value = browser.run(FOCUSED, json!([])).await;
        hidden.extend(found.as_array().unwrap().iter().map(|control| format!("{name}: {control}")));
    }
    assert!(hidden.is_empty(), "{}", hidden.join("\n"));
    without_faults(browser).await;
}

/// The pictures of the documentation, which `scripts/dashboard-pictures.sh` makes small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it writes the pictures of docs/dashboard"]
async fn the_pictures_of_the_documentation() {
    let (_world, browser) = shown().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dashboard");
    for (look, theme, (width, height)) in
        [("light", "light", PICTURE), ("dark", "dark", PICTURE), ("phone", "light", PHONE)]
    {
        browser.theme(theme).await;
        browser.size(width, height).await;
        for (name, place) in PAGES {
            browser.visit(place).await;
            let picture = browser.picture().await;
            std::fs::write(folder.join(format!("{name}-{look}.png")), picture).unwrap();
        }
    }
    browser.end().await;
}

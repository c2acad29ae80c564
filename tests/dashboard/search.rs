//! The search from every page.

use serde_json::json;

use crate::browser::CONTROL;
use crate::support::{monthly, new_key};
use crate::{quality, sign_in, signed_in, without_faults};

const ENTER: &str = "\u{e007}";
const DOWN: &str = "\u{e015}";
const ESCAPE: &str = "\u{e00c}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_plans_keys_and_pages_are_found_from_every_page_by_any_part_of_their_names() {
    let (world, browser) = signed_in().await;
    world.admin.plan("starter_2027", monthly(20)).await;
    world.admin.put("policies/team_caps", json!({"owner": "finance", "groups": []})).await.expect(200);
    for user in ["Ada.Lovelace@example.com", "bob", "lovely_carl"] {
        world.admin.subscribe(user, "starter_2027").await;
    }
    new_key(&world.admin, json!({"kind": "secret", "mode": "live", "name": "back end"})).await;
    browser.visit("#/events").await;
    let found = "[...document.querySelectorAll('[role=option]')].map((it) => it.innerText.replace(/\\s+/g, ' ').trim()).join('; ')";
    for place in ["#/events", "#/reports", "#/plans/starter_2027", "#/"] {
        browser.visit(place).await;
        browser.press_anywhere("/").await;
        browser.until("document.activeElement.getAttribute('aria-label') === 'Search everything'").await;
        browser.press("LOVELACE").await;
        browser.until(&format!("{found} === 'user Ada.Lovelace@example.com'")).await;
        browser.press(ENTER).await;
        browser.sees_title("Ada.Lovelace@example.com").await;
        browser.sees_no_dialog().await;
    }
    // Enter is pressed before any result is shown.
    browser.press_with(CONTROL, "k").await;
    browser.until("document.activeElement.getAttribute('aria-label') === 'Search everything'").await;
    browser.press(&format!("rovel{ENTER}")).await;
    browser.sees("Nothing found.").await;
    browser.press(ESCAPE).await;
    browser.sees_no_dialog().await;
    for (text, hit, title) in [
        ("ter_20", "plan starter_2027", "starter_2027"),
        ("FINANCE", "policy team_caps finance", "team_caps"),
        ("back en", "key back end", "Keys"),
        ("test cl", "page Test clock", "Test clock"),
    ] {
        browser.press_with(CONTROL, "k").await;
        browser.until("document.activeElement.getAttribute('aria-label') === 'Search everything'").await;
        browser.press(text).await;
        browser.until(&format!("{found}.startsWith('{hit}')")).await;
        browser.press(ENTER).await;
        browser.sees_title(title).await;
        browser.sees_no_dialog().await;
    }
    // With several results, the arrow keys select one. What is typed right after the click is searched for.
    browser.click("Search Ctrl K").await;
    browser.press("lovel").await;
    browser.until(&format!("{found} === 'user Ada.Lovelace@example.com; user lovely_carl'")).await;
    assert_eq!(browser.run(&format!("{}; return typeof axe", quality::AXE), json!([])).await, "object");
    let findings = quality::findings(&browser, &[]).await;
    assert!(findings.is_empty(), "{findings:#?}");
    browser.press(DOWN).await;
    browser.until("document.querySelector('[aria-selected=true]').textContent.includes('carl')").await;
    browser.press(ENTER).await;
    browser.sees_title("lovely_carl").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_a_name_and_tags_that_are_found_everywhere() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(20)).await;
    for user in ["acct_1842", "acct_1843"] {
        world.admin.subscribe(user, "one").await;
    }
    browser.visit("#/users/acct_1842").await;
    browser.click("Name and tags").await;
    browser.fill("name", "Ada <b>Lovelace").await;
    browser.fill("tags", "vip, vip").await;
    browser.click("Save").await;
    browser.sees("must have 1 to 32 characters, no control characters, and occur only once").await;
    browser.fill("tags", "vip, early access").await;
    browser.click("Save").await;
    browser.sees_no_dialog().await;
    browser.sees("Ada <b>Lovelace").await;
    let stored = world.admin.get("users/acct_1842").await.expect(200);
    assert_eq!((&stored["name"], &stored["tags"]), (&json!("Ada <b>Lovelace"), &json!(["vip", "early access"])));
    let rows = "[...document.querySelectorAll('tbody tr')].map((row) => row.innerText).join(' ')";
    for text in ["LOVE", "early", "1842"] {
        browser.visit("#/users").await;
        browser.fill("Search users", text).await;
        browser
            .until(&format!("document.querySelectorAll('tbody tr').length === 1 && {rows}.includes('Ada <b>')"))
            .await;
    }
    browser.press_with(CONTROL, "k").await;
    browser.until("document.activeElement.getAttribute('aria-label') === 'Search everything'").await;
    browser.press("vip").await;
    browser.until("document.querySelector('[role=option]')?.innerText.includes('early access')").await;
    browser.press(ENTER).await;
    browser.sees_title("acct_1842").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_users_finds_any_part_and_enter_opens_the_only_hit() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(20)).await;
    for user in ["Ada.Lovelace", "bob", "bobby"] {
        world.admin.subscribe(user, "one").await;
    }
    let key = new_key(&world.admin, json!({"kind": "admin", "role": "viewer"})).await;
    browser.click("Sign out").await;
    sign_in(&world, &browser, &key).await;
    browser.page("Users").await;
    browser.sees("Ada.Lovelace").await;
    // The title gets the focus once the page is loaded.
    browser.until("document.activeElement.tagName === 'H1'").await;
    browser.press_anywhere("/").await;
    browser.until("document.activeElement.hasAttribute('data-search')").await;
    browser.press(&format!("lOVE{ENTER}")).await;
    browser.sees_title("Ada.Lovelace").await;
    browser.page("Users").await;
    // The title gets the focus once the page is loaded.
    browser.until("document.activeElement.tagName === 'H1'").await;
    browser.press_anywhere("/").await;
    browser.until("document.activeElement.hasAttribute('data-search')").await;
    browser.press("obb").await;
    browser.until("document.querySelectorAll('tbody tr').length === 1").await;
    // Two users contain the text, and one is an exact match.
    browser.fill("Search users", "bob").await;
    browser.until("document.querySelectorAll('tbody tr').length === 2").await;
    browser.press(ENTER).await;
    browser.sees_title("bob").await;
    without_faults(browser).await;
}

//! What pages show when something is missing, wrong or gone, and where the focus goes.

use serde_json::json;

use crate::browser::{Browser, SHIFT};
use crate::pages::PAGES;
use crate::support::{ROOT_KEY, World, monthly, new_key};
use crate::{sign_in, signed_in, without_faults};

/// Pages that load nothing from the gateway before the user enters something, and dialogs, which cannot be opened
/// while it is down.
const ASK_NOTHING: [&str; 4] = ["plan-new", "user-release", "user-move", "plan-delete"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_without_a_gateway_says_so_and_loads_when_it_is_back() {
    let (world, browser) = signed_in().await;
    world.admin.plan("pro", monthly(20)).await;
    world.admin.put("policies/teams", json!({"groups": []})).await.expect(200);
    world
        .admin
        .put("webhooks/ops", json!({"url": "http://127.0.0.1:9/", "events": ["limit.reached"]}))
        .await
        .expect(200);
    world.admin.subscribe("ada", "pro").await;
    world.admin.subscribe("bob", "pro").await;
    for (_, place) in PAGES.into_iter().filter(|(name, _)| !ASK_NOTHING.contains(name)) {
        browser.visit("#/nowhere").await;
        browser.offline(true).await;
        browser.visit(place).await;
        let alerts = "[...document.querySelectorAll('main [role=alert]')].map((it) => it.innerText).join()";
        browser.until(&format!("{alerts}.includes('The gateway cannot be reached')")).await;
        browser.offline(false).await;
        // Only once: each attempt starts new reads, and a busy gateway limits how many run at once.
        browser
            .run("document.querySelectorAll('main [role=alert] button').forEach((it) => it.click())", json!([]))
            .await;
        browser.until("document.querySelectorAll('main [role=alert]').length === 0").await;
        browser.visit(place).await;
    }
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_is_one_too_many_at_once_is_repeated() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(20)).await;
    let refuse = "const answer = window.fetch; window.refused = 0; \
        const problem = JSON.stringify({ code: 'too_many_reads', title: 'Too many reads are under way' }); \
        window.fetch = (...given) => String(given[0]).includes('v1/plans') && window.refused++ === 0 \
            ? Promise.resolve(new Response(problem, { status: 429, headers: { 'Retry-After': '0' } })) : answer(...given)";
    browser.run(refuse, json!([])).await;
    browser.visit("#/plans").await;
    browser.sees("one").await;
    browser.until("window.refused > 1").await;
    browser.until("document.querySelectorAll('main [role=alert]').length === 0").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_signed_out_elsewhere_is_informed_and_returns_to_the_same_page() {
    let world = World::new().await;
    world.admin.plan("one", monthly(20)).await;
    let key = json!({"kind": "admin", "role": "viewer"});
    let created = world.admin.post("keys", key).await.expect(201);
    let browser = Browser::start().await;
    sign_in(&world, &browser, created["key"].as_str().unwrap()).await;
    assert!(!browser.text().await.contains("Your session has expired"));
    browser.visit("#/policies").await;
    let gone = format!("keys/{}", created["id"].as_str().unwrap());
    world.admin.delete(&gone, None).await.expect(204);
    browser.visit_any("#/plans").await;
    browser.sees("Your session has expired").await;
    browser.fill("key", ROOT_KEY).await;
    browser.click("Sign in").await;
    browser.sees_title("Plans").await;
    browser.sees("one").await;
    browser.click("Sign out").await;
    browser.sees("Sign in with an admin key").await;
    assert!(!browser.text().await.contains("Your session has expired"), "that was the operator's own doing");
    without_faults(browser).await;
}

const ENTER: &str = "\u{e007}";
const TAB: &str = "\u{e004}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extra_quota_is_granted_by_the_keyboard_alone_and_the_focus_is_never_lost() {
    let world = World::new().await;
    world.admin.plan("one", monthly(20)).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u_42", "one").await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", world.node.url)).await;
    browser.until("document.activeElement?.name === 'key'").await;
    browser.press(ROOT_KEY).await;
    browser.press(ENTER).await;
    browser.sees("Sign out").await;
    // The form is gone, and the focus is on the title of the next page. Then with Tab back to the menu, and into a
    // page.
    browser.until("document.activeElement.tagName === 'H1'").await;
    browser.sees_title("Overview").await;
    for _ in 0..40 {
        browser.press_with(SHIFT, TAB).await;
        if browser.run("return document.activeElement.innerText ?? ''", json!([])).await == "Users" {
            break;
        }
    }
    browser.press_anywhere(ENTER).await;
    browser.sees_title("Users").await;
    browser.until("document.activeElement.tagName === 'H1'").await;
    browser.press("/").await;
    browser.press("u_4").await;
    browser.until("location.hash.includes('search=u_4')").await;
    browser.until("document.querySelectorAll('tbody tr').length === 1").await;
    let to = async |wanted: &str| {
        for _ in 0..40 {
            browser.press_anywhere(TAB).await;
            let name = format!(
                "return (document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText) === '{wanted}'"
            );
            if browser.run(&name, json!([])).await == true {
                return;
            }
        }
        panic!("{wanted} cannot be reached by tabs");
    };
    to("u_42").await;
    browser.press_anywhere(ENTER).await;
    browser.sees("0 / 20").await;
    to("Grant more images").await;
    browser.press_anywhere(ENTER).await;
    browser.until("document.activeElement.name === 'amount'").await;
    browser.press("10").await;
    browser.press(ENTER).await;
    browser.sees_no_dialog().await;
    browser.sees("0 / 30").await;
    let home = "document.activeElement.getAttribute('aria-label') === 'Grant more images'";
    browser.until(home).await;
    // Cancels the dialog: the focus returns to the button that opened it.
    browser.press_anywhere(ENTER).await;
    browser.until("document.activeElement.name === 'amount'").await;
    to("Cancel").await;
    browser.press_anywhere(ENTER).await;
    browser.sees_no_dialog().await;
    browser.until(home).await;
    // The button disappears together with the entry it removed.
    to("Revoke grant").await;
    browser.press_anywhere(ENTER).await;
    browser.sees("Revoke this grant?").await;
    to("Revoke grant").await;
    browser.press_anywhere(ENTER).await;
    browser.sees_no_dialog().await;
    browser.sees("0 / 20").await;
    browser.until("document.activeElement !== document.body").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tab_title_names_the_page_and_audit_entries_name_the_key_and_link_the_target() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(20)).await;
    let key = new_key(&world.admin, json!({"kind": "admin", "role": "support", "name": "<b>ann</b>"})).await;
    let ann = world.node.client(&key);
    ann.subscribe("a/b", "one").await;
    ann.post("users/a%2Fb/block", json!({"note": "fraud"})).await.expect(200);
    browser.page("Audit").await;
    let row = r"[...document.querySelectorAll('tbody tr')].map((row) => row.innerText.replace(/\s+/g, ' ')).join('; ')";
    browser.until(&format!("{row}.includes('<b>ann</b> user.block user a/b fraud')")).await;
    browser.click("a/b").await;
    browser.sees("every call is denied").await;
    browser.until("document.title === 'a/b · quotagate'").await;
    browser.visit("#/plans/one").await;
    browser.until("document.title === 'one · quotagate'").await;
    browser.visit("#/events").await;
    browser.until("document.title === 'Events · quotagate'").await;
    browser.sees("No events in live mode yet").await;
    browser.fill("userId", "nobody").await;
    browser.sees("No event in live mode matches").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_page_names_its_data_and_says_what_to_do_next() {
    let (world, browser) = signed_in().await;
    for (place, title, next) in [
        ("#/plans", "No plans yet", "“New plan” begins with an example"),
        ("#/policies", "No policies yet", "“New policy” begins with an example"),
        ("#/webhooks", "No webhooks yet", "“New webhook” adds one"),
    ] {
        browser.visit(place).await;
        browser.sees(title).await;
        browser.sees(next).await;
    }
    world.admin.plan("one", monthly(20)).await;
    for (mode, data) in [("live", "live mode"), ("test", "the sandbox main")] {
        browser.run("localStorage.setItem('quotagate.mode', arguments[0])", json!([mode])).await;
        browser.reload().await;
        browser.sees("Sign out").await;
        for (place, title, next) in [
            ("#/", "No call in the last 30 days in {}", "Three steps to the first call"),
            ("#/users", "No users in {} yet", "three steps to the first call"),
            ("#/users?search=ada", "No user found in {}", "you can put ada on a plan"),
            ("#/users/ada", "no change of this user in {}", "Put on a plan"),
            ("#/reports", "No events in {}", "Choose other days or filters"),
            ("#/events", "No events in {} yet", "Three steps to the first call"),
            ("#/events?reason=x", "No event in {} matches", "Change or empty a field above"),
            ("#/approvals", "No open requests in {}", "Set it in a plan or a policy"),
            ("#/alerts", "No alerts in {} yet", "to see when it fills"),
            ("#/audit?target=user:ada", "No change matches", "User IDs are case-sensitive"),
        ] {
            browser.visit(place).await;
            for text in [&title.replace("{}", data), next, "data of their own: choose the mode in the menu"] {
                browser.sees(text).await;
            }
        }
    }
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_followed_also_when_a_filter_changes_before_its_page_is_shown() {
    let (_world, browser) = signed_in().await;
    browser.visit("#/alerts").await;
    let both = "location.hash = '#/plans'; const field = document.querySelector('[aria-label=\"Search alerts\"]'); \
        field.value = 'x'; field.dispatchEvent(new Event('input', { bubbles: true }))";
    browser.run(both, json!([])).await;
    browser.sees_title("Plans").await;
    assert_eq!(browser.run("return location.hash", json!([])).await, "#/plans");
    // And a filter still stays in the address of its page.
    browser.visit("#/alerts").await;
    browser.fill("Search alerts", "nobody").await;
    browser.until("location.hash.includes('search=nobody')").await;
    without_faults(browser).await;
}

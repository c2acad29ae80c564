//! Signing in and out.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::{ROOT_KEY, World, new_key};
use crate::{sign_in, signed_in, without_faults};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_signs_in_and_out_and_no_script_sees_the_session() {
    let world = World::new().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/#/keys", world.node.url)).await;
    browser.fill("key", "ak_wrong").await;
    browser.click("Sign in").await;
    browser.sees("The API key is not valid").await;
    browser.sees("Enter the admin key that the gateway printed at its first start").await;
    browser.fill("key", ROOT_KEY).await;
    browser.click("Sign in").await;
    browser.sees_title("Keys").await;
    let cookie = browser.cookie("quotagate_session").await;
    assert_eq!((&cookie["httpOnly"], &cookie["sameSite"]), (&json!(true), &json!("Strict")), "{cookie}");
    let seen = "return document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)";
    let seen = browser.run(seen, json!([])).await;
    assert!(!seen.as_str().unwrap().contains("quotagate_session") && !seen.to_string().contains(ROOT_KEY), "{seen}");
    browser.reload().await;
    browser.sees_title("Keys").await;
    browser.click("Sign out").await;
    browser.sees("Sign in with an admin key").await;
    browser.reload().await;
    browser.sees("Sign in with an admin key").await;
    let stolen =
        world.node.client("").with("cookie", &format!("quotagate_session={}", cookie["value"].as_str().unwrap()));
    stolen.get("users").await.problem(401, "invalid_key");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_the_token_is_refused_and_inline_script_does_not_run() {
    let (world, browser) = signed_in().await;
    let write = "const done = arguments[arguments.length - 1]; return fetch('api/v1/plans/one', \
        {method: 'PUT', headers: arguments[0], body: '{\"groups\": []}'}).then((answer) => answer.json())";
    let refused = browser.run(write, json!([{}])).await;
    assert_eq!(refused["code"], "invalid_csrf_token");
    assert_eq!(world.admin.get("plans").await.expect(200)["data"], json!([]));
    let token = browser.run("return fetch('api/v1/session').then((answer) => answer.json())", json!([])).await;
    let written = browser.run(write, json!([{"X-CSRF-Token": token["csrfToken"]}])).await;
    assert_eq!(written["id"], "one", "{written}");
    let planted = "const script = document.createElement('script'); \
        try { script.text = 'window.owned = 1'; document.body.append(script); } catch (error) {} return window.owned";
    assert_eq!(browser.run(planted, json!([])).await, Value::Null);
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_is_offered_only_what_a_viewer_may_do() {
    let world = World::new().await;
    world.admin.plan("one", crate::support::monthly(20)).await;
    world.admin.subscribe("u", "one").await;
    let key = new_key(&world.admin, json!({"kind": "admin", "role": "viewer", "name": "<b>ann</b>"})).await;
    let browser = Browser::start().await;
    sign_in(&world, &browser, &key).await;
    browser.sees("<b>ann</b> · viewer").await;
    browser.sees_title("Overview").await;
    browser.page("Users").await;
    browser.click("u").await;
    browser.sees("0 / 20").await;
    for button in ["Block", "Grant", "Reset", "Move to another plan", "Change limits"] {
        assert!(!browser.text().await.lines().any(|line| line.trim() == button), "{button}");
    }
    let pages = [
        "Overview",
        "Reports",
        "Events",
        "Explain",
        "Plans",
        "Policies",
        "Approvals",
        "Alerts",
        "Webhooks",
        "Keys",
        "Audit",
        "App settings",
        "Test clock",
        "First steps",
    ];
    for page in pages {
        browser.page(page).await;
        let text = browser.text().await;
        assert!(!text.contains("New ") && !text.lines().any(|line| line.trim() == "Save"), "{page}");
    }
    without_faults(browser).await;
}

//! Every page of the dashboard, and the window sizes in which it is tested.

use serde_json::json;

use crate::browser::Browser;

pub const WIDE: (u32, u32) = (1200, 900);
pub const PHONE: (u32, u32) = (390, 844);
/// Of the documentation.
pub const PICTURE: (u32, u32) = (1100, 720);

/// A name for each page, and where it is.
pub const PAGES: [(&str, &str); 27] = [
    ("overview", "#/"),
    ("limits", "#/"),
    ("reports", "#/reports?by=user&period=day"),
    ("reports-ranked", "#/reports?by=event%2Cmetadata.model&ratio=completion_tokens%2Fprompt_tokens"),
    ("events", "#/events"),
    ("explain", "#/explain?userId=bob&event=image.render&metadata=team%3Dred"),
    ("users", "#/users"),
    ("user", "#/users/ada"),
    ("user-release", "#/users/ada"),
    ("user-move", "#/users/bob"),
    ("user-unknown", "#/users/nobody"),
    ("estimates", "#/estimates"),
    ("plans", "#/plans"),
    ("plan", "#/plans/pro"),
    ("plan-tried", "#/plans/pro"),
    ("plan-delete", "#/plans/free"),
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

/// Goes to a page and does what makes it what its name says.
pub async fn visit(browser: &Browser, (name, place): (&str, &str)) {
    // An earlier visit may have left unsaved changes.
    browser.run("localStorage.removeItem('quotagate.draft.default.plans/pro')", json!([])).await;
    browser.visit(place).await;
    match name {
        "limits" => {
            browser.sees("Users with the most calls").await;
            let scroll =
                "[...document.querySelectorAll('h2')].find((it) => it.textContent === 'Limits').scrollIntoView()";
            browser.run(scroll, json!([])).await;
        }
        "plan-tried" => {
            browser.fill("groups[0].quota", "60").await;
            browser.fill("test-event", "image.render").await;
            browser.sees("Limits that do not match").await;
            browser.click("Try on recent events").await;
            browser.sees("Users most affected").await;
            browser.run("document.querySelector('.try').scrollIntoView()", json!([])).await;
        }
        "user-release" => {
            browser.run("document.querySelector('[aria-label^=\"Release rsv\"]').click()", json!([])).await;
            browser.sees("Release this reservation?").await;
        }
        "user-move" => {
            browser.click("Move to another plan").await;
            browser.choose("plan", "pro").await;
            browser.sees("Calls: keeps").await;
        }
        "plan-delete" => {
            browser.click("Delete").await;
            browser.sees("users are on it").await;
            browser.choose("moveTo", "pro").await;
            browser.sees("What happens to their counters").await;
        }
        _ => {}
    }
}

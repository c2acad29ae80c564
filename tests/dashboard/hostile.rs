//! Malicious names in every place where a user can enter one.

use serde_json::{Value, json};

use crate::pages::{PHONE, WIDE};
use crate::quality::cut;
use crate::support::new_key;
use crate::{signed_in, without_faults};

const SCRIPT: &str = "<script>window.owned=1</script><img src=x onerror=window.owned=1>";
const TURNED: &str = "\u{202e}evil\u{202c} \u{2067}مستخدم";

/// The elements that a page consists of, none of which came from a name.
const PLANTED: &str =
    "return (window.owned ?? 0) + document.querySelectorAll('main script, main img, main iframe, [onerror]').length";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_of_everything_are_text_on_every_page() {
    let (world, browser) = signed_in().await;
    let (admin, long) = (&world.admin, "x".repeat(256));
    let group = |label: &str| json!({"id": "g", "label": label, "unit": "count", "quota": 2, "alerts": [50], "matches": [{"event": "*"}]});
    let plan = |label: &str| json!({"name": label, "periodType": "monthly", "periodAnchor": "calendar", "groups": [group(label)]});
    admin.plan("p", plan(SCRIPT)).await;
    admin.plan("q", plan(TURNED)).await;
    let policy = json!({"owner": SCRIPT, "environment": TURNED, "route": SCRIPT, "notes": SCRIPT, "reviewCadence": "quarterly",
        "approval": {"approvers": [SCRIPT, TURNED], "condition": SCRIPT}, "groups": [{"id": "team", "label": SCRIPT, "unit": "count", "quota": 1,
        "scope": ["metadata.team"], "enforcement": "approval", "periodType": "monthly", "matches": [{"event": "*"}]}]});
    admin.put("policies/cap", policy).await.expect(200);
    admin.post("policies/cap/review", json!({"note": SCRIPT})).await.expect(200);
    let webhook = json!({"url": "http://127.0.0.1:9/hook?<script>", "template": SCRIPT, "events": ["limit.reached", "approval.requested"], "filter": {"scope": {"user": SCRIPT}}});
    admin.put("webhooks/ops", webhook).await.expect(200);
    admin
        .put("webhooks/all", json!({"url": "http://127.0.0.1:9/", "template": SCRIPT, "events": ["limit.reached"]}))
        .await
        .expect(200);
    let key = json!({"kind": "secret", "mode": "live", "name": SCRIPT, "metadata": {"environment": SCRIPT}});
    let app = world.node.client(&new_key(admin, key).await);
    for user in [SCRIPT, TURNED, &long, "a/b?c#d%2F&e=f"] {
        app.subscribe(user, "p").await;
        let call = json!({"userId": user, "event": "image.<b>", "metadata": {"team": user, "model": SCRIPT}});
        let id = app.reserved(call.clone()).await;
        let outcome = json!({"reservationId": id, "metadata": {"note": TURNED}});
        app.post("commit", outcome).await.expect(200);
        assert_eq!(app.reserve(call).await["allowed"], false);
        admin
            .post("grants", json!({"groupId": "g", "scope": {"user": user}, "amount": 1, "note": SCRIPT}))
            .await
            .expect(201);
        admin
            .post(
                &format!(
                    "users/{}/block",
                    percent_encoding::utf8_percent_encode(user, percent_encoding::NON_ALPHANUMERIC)
                ),
                json!({"note": TURNED}),
            )
            .await
            .expect(200);
    }
    let encoded =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let mut places: Vec<String> = [
        "#/",
        "#/users",
        "#/plans",
        "#/plans/p",
        "#/plans/q",
        "#/policies",
        "#/policies/cap",
        "#/approvals",
        "#/alerts",
        "#/webhooks",
        "#/webhooks/ops",
        "#/webhooks/all",
        "#/keys",
        "#/audit",
        "#/app",
        "#/start",
        "#/events",
        "#/reports?by=user%2Cmetadata.model%2Cevent",
    ]
    .map(str::to_owned)
    .into();
    for user in [SCRIPT, TURNED, &long] {
        let user = encoded(user);
        places.push(format!("#/users/{user}"));
        places.push(format!("#/users?search={user}"));
        places.push(format!("#/events?userId={user}"));
        places.push(format!("#/explain?userId={user}&event=image.%3Cb%3E&metadata=team%3Dred"));
    }
    let mut wrong = Vec::new();
    for (width, height) in [WIDE, PHONE] {
        browser.size(width, height).await;
        for place in &places {
            browser.visit(place).await;
            browser
                .run("document.querySelectorAll('main details').forEach((it) => { it.open = true; })", json!([]))
                .await;
            if place.contains("events") {
                browser.run("document.querySelector('tr[data-event] button')?.click()", json!([])).await;
            }
            let planted = browser.run(PLANTED, json!([])).await;
            let over = browser.run("return document.documentElement.scrollWidth - innerWidth", json!([])).await;
            let text = browser.text().await;
            if planted != 0 || over.as_i64() > Some(0) || text.contains("[object Object]") || text.contains("undefined")
            {
                wrong.push(format!("{place} at {width}: {planted} planted, {over} too wide"));
            }
            if width == PHONE.0 {
                wrong.extend(cut(&browser).await.into_iter().map(|table| format!("{place} at {width}: {table}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The names are shown, and not left out.
    browser.visit("#/policies").await;
    browser.sees(SCRIPT).await;
    // A right-to-left name changes the direction neither of its column nor of the text next to it.
    browser.size(WIDE.0, WIDE.1).await;
    browser.visit("#/events").await;
    let aligned = "return [...document.querySelectorAll('tr[data-event] .name')].every((name) => getComputedStyle(name).textAlign === 'left' \
        && getComputedStyle(name).unicodeBidi === 'isolate')";
    assert_eq!(browser.run(aligned, json!([])).await, Value::Bool(true));
    without_faults(browser).await;
}

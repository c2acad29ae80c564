//! The overview and reports.

use serde_json::json;

use crate::support::World;
use crate::{shop, signed_in, without_faults};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_leads_from_no_call_to_charts_of_the_last_30_days() {
    let (world, browser) = signed_in().await;
    browser.sees_title("First steps").await;
    world.admin.plan("free", crate::support::monthly(20)).await;
    browser.reload().await;
    browser.sees_title("Overview").await;
    browser.sees("No call in the last 30 days").await;
    browser.click("Three steps to the first call").await;
    browser.sees_title("First steps").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_summarizes_a_month() {
    let (world, browser) = signed_in().await;
    shop::opened(&world).await;
    shop::look(&world, &browser).await;
    browser.visit("#/").await;
    browser.sees("Groups with the most calls").await;
    browser.until("document.querySelectorAll('figure svg').length >= 4").await;
    let total = world.admin.with("x-mode", "test").get("reports/usage").await.expect(200)["data"][0]["calls"].clone();
    let calls = "document.querySelector('figure svg').getAttribute('aria-label')";
    let label = browser.run(&format!("return {calls}"), json!([])).await;
    assert!(label.as_str().unwrap().ends_with(&format!("Calls {total}")), "{label} {total}");
    assert!(label.as_str().unwrap().contains("2 Jan to 31 Jan"), "{label}");
    // The same figures as a table, and in the tooltip.
    let sum = "return [...document.querySelectorAll('figure')[0].querySelectorAll('td')].reduce((sum, cell) => sum + Number(cell.textContent), 0)";
    assert_eq!(browser.run(sum, json!([])).await, total);
    let hover = "const svg = document.querySelector('figure svg'), box = svg.getBoundingClientRect(); \
        svg.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, clientX: box.right - 12, clientY: box.top + 20}))";
    browser.run(hover, json!([])).await;
    browser.until("document.querySelector('.over-value').textContent.startsWith('31 Jan · ')").await;
    browser.sees("ready").await;
    browser.sees("1 open").await;
    for user in ["ada", "bob", "eve@example.com"] {
        browser.sees(user).await;
    }
    // A team's counter is listed like a user's.
    browser.sees("Near their limits").await;
    let row = r#"[...document.querySelectorAll('[aria-label="Used up"] tr')].map((row) => row.innerText).join(' ').replace(/\s+/g, ' ')"#;
    browser.until(&format!("/team red .*Team .*\\d+ \\/ 40/.test({row})")).await;
    browser.sees("1 node").await;
    browser.click("Report by user").await;
    browser.sees_title("Reports").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_follows_what_happens() {
    let (world, browser) = signed_in().await;
    world.admin.plan("free", crate::support::monthly(20)).await;
    let key = crate::support::new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await;
    let app = world.node.client(&key);
    app.subscribe("ada", "free").await;
    app.post("track", json!({"userId": "ada", "event": "image.a", "quantity": 2})).await.expect(200);
    browser.reload().await;
    browser.sees_title("Overview").await;
    browser.sees("No counter is between 75 % and 100 % of its limit").await;
    // The page updates itself without a reload.
    app.post("track", json!({"userId": "ada", "event": "image.a", "quantity": 14})).await.expect(200);
    browser.sees("16 / 20").await;
    app.post("track", json!({"userId": "ada", "event": "image.a", "quantity": 4})).await.expect(200);
    browser.sees("1 used up").await;
    browser.until("document.querySelector('figure svg').getAttribute('aria-label').endsWith('Calls 3')").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_answers_three_questions_and_changes_in_place() {
    let (world, browser) = signed_in().await;
    world.admin.plan("free", crate::support::monthly(20)).await;
    let key = crate::support::new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await;
    let app = world.node.client(&key);
    app.subscribe("ada", "free").await;
    app.post("track", json!({"userId": "ada", "event": "image.a", "quantity": 16})).await.expect(200);
    browser.reload().await;
    // Is the gateway healthy, who is close to the quota, what changed today: without scrolling.
    let answers = "document.querySelector('.answers')";
    browser.until(&format!("{answers}?.innerText.includes('1 near')")).await;
    browser.until(&format!("{answers}.innerText.includes('1 call, no denials')")).await;
    browser.until(&format!("{answers}.innerText.includes('plan.put free by root')")).await;
    for text in ["ready", "1 node", "none used up", "ada", "80 %", "No open requests."] {
        browser.until(&format!("{answers}.innerText.includes('{text}')")).await;
    }
    browser.until(&format!("{answers}.getBoundingClientRect().bottom < innerHeight")).await;
    browser.until("!document.querySelector('main').innerText.includes('Loading')").await;
    // Nothing goes and comes again while it is read anew, and nothing jumps.
    let watch = "window.gone = []; window.tops = new Set(); const main = document.querySelector('main'); \
        const section = [...main.querySelectorAll('h2')].find((it) => it.textContent === 'The last 30 days'); \
        new MutationObserver((changes) => { window.tops.add(Math.round(section.getBoundingClientRect().top)); \
            for (const change of changes) for (const node of change.removedNodes) if (node.nodeType === 1) window.gone.push(node.outerHTML.slice(0, 80)); \
            if (main.innerText.includes('Loading')) window.gone.push('Loading'); \
        }).observe(main, {subtree: true, childList: true, characterData: true})";
    browser.run(watch, json!([])).await;
    app.post("track", json!({"userId": "ada", "event": "image.a", "quantity": 1})).await.expect(200);
    browser.until(&format!("{answers}.innerText.includes('2 calls, no denials')")).await;
    browser.sees("17 / 20").await;
    assert_eq!(browser.run("return window.gone", json!([])).await, json!([]));
    let tops = browser.run("return window.tops.size", json!([])).await;
    assert_eq!(tops, 1, "what is below stays where it is");
    app.post("track", json!({"userId": "ada", "event": "image.a", "quantity": 3})).await.expect(200);
    assert_eq!(app.reserve(json!({"userId": "ada", "event": "image.a"})).await["allowed"], false);
    browser.until(&format!("{answers}.innerText.includes('1 used up')")).await;
    browser.until(&format!("{answers}.innerText.includes('1 denial')")).await;
    without_faults(browser).await;
}

/// Expands all collapsed sections.
const OPEN: &str = "document.querySelectorAll('main details').forEach((it) => { it.open = true; })";

/// Runs a download and returns the text of the file.
async fn saved(browser: &crate::browser::Browser, button: &str) -> String {
    let catch = "window.saved = null; URL.createObjectURL = (blob) => { blob.text().then((text) => { window.saved = text; }); return '#/reports'; }; \
        HTMLAnchorElement.prototype.click = function () { window.savedAs = this.download; };";
    browser.run(catch, json!([])).await;
    browser.click(button).await;
    browser.until("window.saved !== null").await;
    browser.run("return window.saved", json!([])).await.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_made_kept_in_the_address_and_saved_as_csv() {
    let (world, browser) = signed_in().await;
    shop::opened(&world).await;
    shop::look(&world, &browser).await;
    browser.page("Reports").await;
    browser.sees("Measure").await;
    browser.run(OPEN, json!([])).await;
    browser.click_field("by-user").await;
    browser.fill("by-metadata", "model").await;
    browser.choose("period", "week").await;
    browser.fill("event", "llm.*").await;
    browser.fill("ratio", "completion_tokens/prompt_tokens").await;
    browser.until("location.hash.includes('ratio=completion_tokens')").await;
    browser.until("[...document.querySelectorAll('main th')].some((cell) => cell.textContent === 'model')").await;
    browser.until("document.querySelectorAll('figure .line').length > 2").await;
    let hash = browser.run("return location.hash", json!([])).await;
    for part in ["period=week", "by=user%2Cmetadata.model", "event=llm.*"] {
        assert!(hash.as_str().unwrap().contains(part), "{hash}");
    }
    let rows = "return document.querySelectorAll('[aria-label=\"The report as a table\"] tbody tr').length";
    browser
        .until("document.querySelector('[aria-label=\"The report as a table\"] tbody').innerText.includes('ada')")
        .await;
    // The address contains the last entry, so it contains all of them.
    let last = "[...document.querySelectorAll('main th')].some((cell) => cell.textContent === 'completion_tokens/prompt_tokens')";
    browser.until(last).await;
    let before = browser.run(rows, json!([])).await;
    browser.reload().await;
    browser
        .until(&format!(
            "document.querySelectorAll('[aria-label=\"The report as a table\"] tbody tr').length === {before}"
        ))
        .await;
    let csv = saved(&browser, "Download CSV").await;
    let name = browser.run("return window.savedAs", json!([])).await;
    assert_eq!(name, "usage-default-test-2031-01-02-to-2031-01-31-by-user-model.csv");
    assert!(csv.starts_with("start,end,user,metadata.model,calls,denials,"), "{csv}");
    let address = "reports/usage?from=2031-01-02&to=2031-01-31&period=week&by=user,metadata.model&event=llm.*&ratio=completion_tokens/prompt_tokens&format=csv";
    let api = world.admin.with("x-mode", "test").get(address).await;
    assert_eq!(api.status, 200);
    assert_eq!(csv, api.text);
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_value_in_a_report_is_reported_at_its_field() {
    let (_world, browser): (World, _) = signed_in().await;
    browser.page("Reports").await;
    browser.sees("No events").await;
    browser.fill("by-metadata", "tier").await;
    browser.sees("cannot use `metadata.").await;
    browser.until("document.querySelector('[name=by-metadata]').getAttribute('aria-invalid') === 'true'").await;
    browser.fill("by-metadata", "model").await;
    browser.sees("No events").await;
    browser.run(OPEN, json!([])).await;
    browser.fill("ratio", "calls").await;
    browser.until("document.querySelector('[name=ratio]').getAttribute('aria-invalid') === 'true'").await;
    without_faults(browser).await;
}

/// The text of each table row, with whitespace collapsed.
const ROWS: &str = r#"[...document.querySelectorAll('[aria-label="The report as a table"] tr')].map((row) => row.innerText.replace(/\s+/g, ' ').trim())"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn yesterdays_cost_by_model_takes_two_clicks_and_says_totals_shares_and_changes() {
    let (world, browser) = signed_in().await;
    shop::opened(&world).await;
    shop::look(&world, &browser).await;
    browser.size(1280, 900).await;
    browser.count_clicks().await;
    browser.page("Reports").await;
    browser.click("Yesterday’s cost by model").await;
    browser.until("location.hash.includes('from=2031-01-30&to=2031-01-30')").await;
    // ada: 3 × (2100 × 0.001 + 1050 × 0.004); bob the same, once.
    browser
        .until(&format!("{ROWS}.join('; ').includes('large 3 0 18.90 75.0 %; small 1 0 6.30 25.0 %; Total 4 0 25.20')"))
        .await;
    let clicks = browser.clicks().await;
    assert!(clicks <= 2, "{clicks}");
    let totals = "document.querySelector('.totals').innerText.replace(/\\s+/g, ' ')";
    // On the previous day ada made four calls.
    browser.until(&format!("{totals}.includes('Calls 4 +33 %')")).await;
    browser.sees("Changes compared with 2031-01-29.").await;
    browser.until("[...document.querySelectorAll('.days button')].find((it) => it.ariaPressed === 'true').textContent === 'Yesterday'").await;
    browser.click_field("compare").await;
    browser.until(&format!("{ROWS}.join('; ').includes('large 3 0 18.90 75.0 % 12.32 +53 %')")).await;
    // Sorts by another column, in the other direction.
    browser.run(OPEN, json!([])).await;
    browser.click_field("column-quantity").await;
    browser.click("Quantity").await;
    browser.click("Quantity ↓").await;
    browser.until(&format!("{ROWS}[1].startsWith('small')")).await;
    let hash = browser.run("return location.hash", json!([])).await;
    for part in ["sort=-quantity", "compare=1", "mode=test", "app=default", "metric=cost"] {
        assert!(hash.as_str().unwrap().contains(part), "{part} in {hash}");
    }
    // No column is cut off.
    let hidden = "return [...document.querySelectorAll('main .scroll')].map((it) => it.scrollWidth - it.clientWidth)";
    assert_eq!(browser.run(hidden, json!([])).await, json!([0]));
    // A colleague in live mode sees the same report.
    let shown = browser.run(&format!("return {ROWS}"), json!([])).await;
    browser.visit("#/users").await;
    browser.choose("mode", "live").await;
    browser.until("localStorage.getItem('quotagate.mode') === 'live'").await;
    browser.open("about:blank").await;
    browser.open(&format!("{}/{}", world.node.url, hash.as_str().unwrap())).await;
    browser.until(&format!("JSON.stringify({ROWS}) === {:?}", shown.to_string())).await;
    for preset in ["Today", "Last 7 days", "Last 30 days", "This month", "Last month"] {
        browser.click(preset).await;
        let pressed = format!(
            "[...document.querySelectorAll('.days button')].some((it) => it.textContent === '{preset}' && it.ariaPressed === 'true')"
        );
        browser.until(&pressed).await;
    }
    browser.until("location.hash.includes('from=2030-12-01&to=2030-12-31')").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_most_expensive_users_of_more_than_a_thousand_are_ranked_whatever_their_names() {
    let (world, browser) = signed_in().await;
    let per = json!({"per": {"tokens": "0.001"}});
    let group = json!({"id": "spend", "unit": "cents", "quota": null, "measure": per, "matches": [{"event": "llm"}]});
    world.admin.plan("p", json!({"periodType": "daily", "groups": [group]})).await;
    let settings = json!({"defaultPlanId": "p"});
    world.admin.put("app", settings).await.expect(200);
    let app =
        world.node.client(&crate::support::new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    let call = |user: String, tokens: u64| json!({"userId": user, "event": "llm", "metadata": {"tokens": tokens}});
    for start in (0..1_100).step_by(50) {
        let calls =
            (start..start + 50).map(|number| app.post("track", call(format!("user_{number:04}"), 1000 + number)));
        for answer in futures::future::join_all(calls).await {
            answer.expect(200);
        }
    }
    browser.visit("#/reports?by=user&metric=cost").await;
    browser.until(&format!("{ROWS}[1]?.startsWith('user_1099 1 0 2.10')")).await;
    browser.sees("user_1088").await;
    browser.sees("These are the 1,000 lines with the largest cost (cents) of all.").await;
    browser.until(&format!("{ROWS}.at(-1).startsWith('Total 1,100 0 1,704.45')")).await;
    // The gateway does not rank by this figure, so the page reads all rows first.
    browser.choose("metric", "tokens").await;
    browser.until(&format!("{ROWS}[1]?.startsWith('user_1099 1 0')")).await;
    browser.until("!document.querySelector('main').innerText.includes('These are the 1,000')").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_has_one_currency_everywhere() {
    let (world, browser) = signed_in().await;
    shop::opened(&world).await;
    shop::look(&world, &browser).await;
    let cost = world.admin.with("x-mode", "test").get("reports/usage").await.expect(200)["data"][0]["cost"].clone();
    let cents = cost.as_f64().unwrap();
    browser.visit("#/").await;
    browser.sees(&format!("Cost: {cents:.2} cents")).await;
    browser.page("App settings").await;
    browser.fill("currency", "usd").await;
    browser.click("Save").await;
    browser.sees("must be an ISO 4217 code, such as `USD`").await;
    browser.fill("currency", "USD").await;
    browser.click("Save").await;
    browser.sees("Saved.").await;
    let dollars = format!("${:.2}", cents / 100.0);
    browser.visit("#/").await;
    browser.sees(&format!("Cost: {dollars}")).await;
    browser.visit("#/reports?by=user&metric=cost").await;
    browser.sees(&dollars).await;
    browser.visit("#/users/ada").await;
    browser.sees("/ $9.00").await;
    assert!(!browser.text().await.contains(" cents"));
    // Also on the next visit, and in another language of money.
    world.admin.put("app", json!({"currency": "EUR"})).await.expect(200);
    browser.reload().await;
    browser.sees("/ €9.00").await;
    without_faults(browser).await;
}

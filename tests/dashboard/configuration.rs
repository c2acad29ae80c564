//! Keys, plans, approvals, the test clock, and the first call.

use serde_json::json;

use crate::support::{monthly, new_key};
use crate::{signed_in, without_faults};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_visit_leads_to_the_first_reserve() {
    let (world, browser) = signed_in().await;
    browser.sees_title("First steps").await;
    browser.click("Create this plan").await;
    browser.click("Create a key and the user").await;
    browser.sees("Waiting for the first call").await;
    let snippet = browser.run("return [...document.querySelectorAll('pre')].at(-2).textContent", json!([])).await;
    let snippet = snippet.as_str().unwrap();
    assert!(snippet.contains(&format!("{}/api/v1/reserve", world.node.url)), "{snippet}");
    assert!(snippet.contains("Bearer sk_test_"), "{snippet}");
    let script = format!("curl() {{ command curl -sS \"$@\"; }}; {snippet}");
    let run = move || std::process::Command::new("sh").args(["-c", &script]).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    let decision: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(decision["allowed"], true, "{decision}");
    browser.sees("The call has arrived").await;
    // The second command contains the id by now.
    let id = decision["reservationId"].as_str().unwrap();
    browser.until(&format!("[...document.querySelectorAll('pre')].at(-1).textContent.includes('{id}')")).await;
    let snippet = browser.run("return [...document.querySelectorAll('pre')].at(-1).textContent", json!([])).await;
    let script = format!("curl() {{ command curl -sS \"$@\"; }}; {}", snippet.as_str().unwrap());
    let run = move || std::process::Command::new("sh").args(["-c", &script]).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    let settled: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(settled["status"], "committed", "{settled}");
    browser.sees("Committed: see what u_1 has used").await;
    browser.click("u_1").await;
    browser.sees("1 / 20").await;
    browser.sees("Test mode").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_created_shown_once_used_and_revoked() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(20)).await;
    browser.page("Keys").await;
    browser.click("New key").await;
    browser.fill("name", "back end").await;
    browser.fill("metadata", "team=red, environment=production").await;
    browser.click("Create").await;
    browser.sees("It is shown only once.").await;
    let key = browser.run("return document.querySelector('.secret code').textContent", json!([])).await;
    let app = world.node.client(key.as_str().unwrap());
    app.subscribe("u", "one").await;
    let id = app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    app.commit(&id).await;
    browser.sees("environment=production").await;
    browser.reload().await;
    browser.sees("back end").await;
    assert!(!browser.text().await.contains(key.as_str().unwrap()));
    browser.click("Revoke back end").await;
    browser.sees("stops working on every node within a second").await;
    browser.sees("1 call used this key").await;
    browser.click("Revoke").await;
    browser.sees_no_dialog().await;
    app.get("plans").await.problem(401, "invalid_key");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_checked_as_it_is_typed_saved_and_rolled_back() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(20)).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "one").await;
    app.post("track", json!({"userId": "u", "event": "image.a", "quantity": 7})).await.expect(200);
    browser.open(&format!("{}/#/plans/one", world.node.url)).await;
    browser.sees("Versions").await;
    let document = |quota: &str, unit: &str| {
        let text = monthly(20).to_string();
        text.replace("\"quota\":20", &format!("\"quota\":{quota}")).replace("count", unit)
    };
    browser.click("JSON").await;
    browser.fill("document", "{").await;
    browser.sees("This is not JSON").await;
    browser.fill("document", &document("5", "counts")).await;
    browser.sees("groups[0].unit").await;
    browser.fill("document", &document("5", "count")).await;
    browser.sees("1 user over the limit").await;
    assert_eq!(world.admin.get("plans/one").await.expect(200)["groups"][0]["quota"], 20, "nothing is written yet");
    browser.click("Save").await;
    browser.sees("Roll back to this").await;
    assert_eq!(app.counter("u", "images").await["quota"], 5);
    browser.click("Roll back to this").await;
    browser.sees("groups.images.quota").await;
    browser.click("Roll back").await;
    browser.sees_no_dialog().await;
    assert_eq!(app.counter("u", "images").await["quota"], 20);
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_tried_on_recent_events_and_its_rules_on_a_call_before_it_is_saved() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(20)).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    for (user, calls) in [("ada", 3), ("<b>bob</b>", 5)] {
        app.subscribe(user, "one").await;
        for _ in 0..calls {
            let id = app.reserved(json!({"userId": user, "event": "image.a"})).await;
            app.commit(&id).await;
        }
    }
    browser.open(&format!("{}/#/plans/one", world.node.url)).await;
    browser.sees("Versions").await;
    let tighter = |quota: u64| monthly(20).to_string().replace("\"quota\":20", &format!("\"quota\":{quota}"));
    browser.click("JSON").await;
    browser.fill("document", &tighter(2)).await;
    browser.fill("test-event", "video.a").await;
    browser.sees("the event video.a does not match image.*").await;
    browser.fill("test-event", "image.a").await;
    browser.sees("by rule 1").await;
    browser.click("Try on recent events").await;
    browser.sees("4 calls of 2 users").await;
    let row =
        r"[...document.querySelectorAll('.whatif tr')].map((row) => row.innerText).join(' ').replace(/\s+/g, ' ')";
    browser.until(&format!("{row}.includes('Allowed 8 4 −4')")).await;
    browser.until(&format!("{row}.includes('<b>bob</b>')")).await;
    browser.sees("Accuracy of the replay: 100 %").await;
    // The result belongs to the previous draft.
    browser.fill("document", &tighter(9)).await;
    browser.sees("The draft has changed since this replay.").await;
    browser.click("Try on recent events").await;
    browser.sees("Newly denied\n\nNone.").await;
    assert_eq!(world.admin.get("plans/one").await.expect(200)["groups"][0]["quota"], 20, "nothing is written");
    // A new plan has no users yet.
    browser.open(&format!("{}/#/plans/new?from=one", world.node.url)).await;
    browser.fill("id", "two").await;
    browser.click("JSON").await;
    browser.fill("document", &tighter(1).replace("images", "pictures")).await;
    browser.choose("of", "one").await;
    browser.click("Try on recent events").await;
    browser.sees("6 calls of 2 users").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_tested_and_tried_before_it_is_saved_and_a_draft_needs_no_id_for_it() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(1000)).await;
    let policy = |quota: u64| {
        json!({"owner": "platform", "groups": [{"id": "team", "unit": "count", "quota": quota, "scope": ["metadata.team"],
            "periodType": "monthly", "matches": [{"event": "image.*", "metadata": {"size": "2k"}}]}]})
    };
    world.admin.put("policies/cap", policy(50)).await.expect(200);
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "one").await;
    for _ in 0..6 {
        let call = json!({"userId": "u", "event": "image.a", "metadata": {"team": "<red>", "size": "2k"}});
        let id = app.reserved(call).await;
        app.commit(&id).await;
    }
    browser.open(&format!("{}/#/policies/cap", world.node.url)).await;
    browser.sees("Versions").await;
    browser.click("JSON").await;
    browser.fill("document", &policy(2).to_string()).await;
    browser.fill("test-event", "image.a").await;
    browser.fill("test-metadata", "team=red, size=1k").await;
    browser.sees("does not match").await;
    browser.fill("test-metadata", "team=red, size=2k").await;
    browser.sees("by rule 1").await;
    browser.click("Try on recent events").await;
    browser.sees("4 calls of 1 user").await;
    assert_eq!(world.admin.get("policies/cap").await.expect(200)["groups"][0]["quota"], 50, "nothing is written");
    // A policy without an id can be checked and tested too.
    browser.open(&format!("{}/#/policies/new", world.node.url)).await;
    browser.click("JSON").await;
    browser.fill("document", "{\"groups\": [{\"id\": \"g\"}]}").await;
    browser.sees("groups[0].unit").await;
    let fresh = policy(2).to_string().replace("\"team\"", "\"others\"");
    browser.fill("document", &fresh).await;
    browser.sees("The draft has no faults. Enter an ID to save it.").await;
    browser.fill("test-event", "image.a").await;
    browser.fill("test-metadata", "team=red, size=2k").await;
    browser.sees("this draft").await;
    browser.click("Save").await;
    browser.until("document.querySelector('[name=id]').matches(':invalid')").await;
    assert_eq!(world.admin.get("policies").await.expect(200)["data"].as_array().unwrap().len(), 1, "it has no id");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_can_be_selected_as_soon_as_it_has_a_key() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(20)).await;
    browser.page("Keys").await;
    browser.click("New key").await;
    // The menu has a field of the same name.
    let choose = "const mode = document.querySelector('dialog [name=mode]'); mode.value = 'test'; \
        mode.dispatchEvent(new Event('change', {bubbles: true}))";
    browser.run(choose, json!([])).await;
    browser.fill("sandbox", "ci").await;
    browser.click("Create").await;
    browser.sees("It is shown only once.").await;
    let admin = world.admin.with("x-mode", "test/ci");
    admin.put("test-clock", json!({"now": "2031-01-31T10:00:00Z"})).await.expect(200);
    admin.subscribe("only_here", "one").await;
    browser.page("Users").await;
    browser.choose("mode", "test/ci").await;
    browser.sees("The clock is set to 31 Jan 2031, 10:00:00 UTC").await;
    browser.sees("only_here").await;
    // A viewer sees the time of the clock too.
    let key = new_key(&world.admin, json!({"kind": "admin", "role": "viewer"})).await;
    browser.click("Sign out").await;
    browser.fill("key", &key).await;
    browser.click("Sign in").await;
    browser.sees("The clock is set to 31 Jan 2031, 10:00:00 UTC").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_register_shows_due_reviews_with_their_owners_and_marks_a_review() {
    let (world, browser) = signed_in().await;
    let policy = |owner: &str| json!({"owner": owner, "reviewCadence": "quarterly", "groups": []});
    for (id, owner) in [("mine", "platform"), ("other", "<i>finance</i>")] {
        world.admin.put(&format!("policies/{id}"), policy(owner)).await.expect(200);
    }
    let long_ago = json!({"at": "2020-01-31T10:00:00Z", "by": "root", "note": null}).to_string();
    world.redis.run::<i64>(&["HSET", "qg:{default}:config", "review:other", &long_ago]).await;
    browser.page("Policies").await;
    browser.sees("mine").await;
    browser.run("document.querySelector('[aria-label=Review]').focus()", json!([])).await;
    browser.press("Review").await;
    browser
        .until("location.hash.includes('due=1') && !document.querySelector('tbody').innerText.includes('mine')")
        .await;
    browser.sees("<i>finance</i>").await;
    browser.click("other").await;
    browser.sees("review due").await;
    browser.click("Mark reviewed").await;
    browser.fill("note", "still right").await;
    browser.click("Mark reviewed").await;
    browser.sees_no_dialog().await;
    browser.sees("still right").await;
    assert_eq!(world.admin.get("policies/other").await.expect(200)["reviewDue"], false);
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_rejected_opened_again_and_approved() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(1000)).await;
    let policy = json!({"owner": "platform", "groups": [{"id": "team", "label": "Team", "unit": "count", "quota": 1,
        "scope": ["metadata.team"], "enforcement": "approval", "periodType": "monthly", "matches": [{"event": "image.*"}]}]});
    world.admin.put("policies/cap", policy).await.expect(200);
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "one").await;
    let call = json!({"userId": "u", "event": "image.a", "metadata": {"team": "<red>"}});
    app.reserved(call.clone()).await;
    assert_eq!(app.reserve(call.clone()).await["reasons"], json!(["approval_required"]));
    browser.page("Approvals").await;
    browser.sees("<red>").await;
    browser.click("Reject").await;
    browser.fill("note", "why so many?").await;
    browser.click("Reject request").await;
    browser.sees("No open requests").await;
    browser.click("Decided").await;
    browser.sees("why so many?").await;
    browser.click("Reopen").await;
    browser.click("Reopen request").await;
    browser.sees_no_dialog().await;
    browser.click("Open").await;
    browser.click("Approve").await;
    // Not on the name, which can be copied and comes first.
    browser.until("document.activeElement.name === 'amount'").await;
    browser.fill("amount", "5").await;
    browser.click("Approve").await;
    browser.sees("No open requests").await;
    app.reserved(call).await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_test_clock_is_frozen_moved_and_the_sandbox_emptied() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(20)).await;
    world.app.freeze("2031-01-31T10:00:00Z").await;
    world.app.subscribe("u", "one").await;
    browser.page("Test clock").await;
    browser.click("To test mode").await;
    browser.sees("The clock is set to 31 Jan 2031, 10:00:00 UTC").await;
    browser.click("+1 month").await;
    browser.sees("The clock is set to 28 Feb 2031, 10:00:00 UTC").await;
    assert_eq!(world.app.get("test-clock").await.expect(200)["now"], "2031-02-28T10:00:00Z");
    browser.page("Users").await;
    browser.sees("28 days ago").await;
    browser.click("Test clock").await;
    browser.click("Empty sandbox main").await;
    browser.sees("Plans, policies, keys and live data stay.").await;
    browser.click("Empty").await;
    browser.sees("The sandbox runs on real time").await;
    assert_eq!(world.app.get("usage?userId=u").await.expect(200)["planId"], json!(null));
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_created_with_its_secret_shown_once_and_its_deliveries_are_sent_again() {
    let (world, browser) = signed_in().await;
    browser.page("Webhooks").await;
    browser.click("New webhook").await;
    browser.fill("id", "ops").await;
    browser.fill("url", "http://127.0.0.1:9/hook").await;
    browser.click_field("subscription.changed").await;
    browser.click("Create").await;
    browser.sees("The signing secret of ops.").await;
    browser.sees("whsec_").await;
    let plan = json!({"groups": [{"id": "g", "unit": "count", "quota": 1, "periodType": "monthly", "periodAnchor": "calendar", "matches": [{"event": "*"}]}]});
    world.admin.plan("none", plan).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "none").await;
    app.reserved(json!({"userId": "u", "event": "a"})).await;
    assert_eq!(app.reserve(json!({"userId": "u", "event": "a"})).await["allowed"], false);
    browser.page("Alerts").await;
    browser.sees("limit.reached").await;
    // Changed subscriptions are shown, with their plan, once the type is selected.
    assert!(!browser.text().await.contains("subscription.changed"));
    browser.choose("show", "subscriptions").await;
    browser.until("document.querySelector('main tbody')?.innerText.includes('subscription.changed')").await;
    browser.until("document.querySelector('main tbody a[href=\"#/plans/none\"]') !== null").await;
    browser.fill("Search alerts", "nobody").await;
    browser.sees("None of the newest").await;
    browser.until("location.hash.includes('search=nobody')").await;
    browser.open(&format!("{}/#/webhooks/ops", world.node.url)).await;
    browser.sees("Deliveries").await;
    assert!(!browser.text().await.contains("whsec_"));
    browser.click("Pending").await;
    browser.click("Send again").await;
    browser.click("Dead letters").await;
    browser.sees("No dead letters in live mode.").await;
    browser.click("Rotate the secret").await;
    browser.click("Rotate").await;
    browser.sees("The new signing secret.").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_the_app_are_changed_and_faults_stand_at_their_field() {
    let (world, browser) = signed_in().await;
    let plan = json!({"name": "Free", "groups": [{"id": "g", "unit": "count", "quota": 1, "periodType": "monthly", "periodAnchor": "calendar", "matches": [{"event": "*"}]}]});
    world.admin.plan("free", plan).await;
    browser.page("App settings").await;
    browser.choose("defaultPlanId", "free").await;
    browser.fill("reportLabels", "tier, not a/label").await;
    browser.fill("maxScopeValues", "500").await;
    browser.click("Save").await;
    browser.sees("Saved").await;
    let settings = world.admin.get("app").await.expect(200);
    assert_eq!((&settings["defaultPlanId"], &settings["maxScopeValues"]), (&json!("free"), &json!(500)));
    assert_eq!(settings["reportLabels"], json!(["tier", "not", "a/label"]));
    let many: Vec<String> = (0..17).map(|number| format!("label{number}")).collect();
    browser.fill("reportLabels", &many.join(", ")).await;
    browser.click("Save").await;
    browser.until("document.querySelector('[name=reportLabels]').getAttribute('aria-invalid') === 'true'").await;
    assert_eq!(world.admin.get("app").await.expect(200)["reportLabels"], json!(["tier", "not", "a/label"]));
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_for_browsers_has_its_origins_and_its_secret_is_copied_once() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(20)).await;
    world.admin.subscribe("u", "one").await;
    browser.page("Keys").await;
    browser.click("New key").await;
    browser.choose("kind", "publishable").await;
    browser.fill("name", "web").await;
    browser.sees("Without an origin no browser can use this key").await;
    browser.fill("origins", "https://app.example.com, https://other.example.com").await;
    browser.click("Create").await;
    browser.sees("The publishable key.").await;
    browser.sees("The secret for user tokens.").await;
    browser.click("Copy").await;
    browser.sees("Copied").await;
    let secrets = "return [...document.querySelectorAll('.secret code')].map((code) => code.textContent)";
    let secrets = browser.run(secrets, json!([])).await;
    let (key, secret) = (secrets[0].as_str().unwrap(), secrets[1].as_str().unwrap());
    let pasted =
        "const area = document.createElement('textarea'); document.querySelector('main').append(area); area.focus()";
    browser.run(pasted, json!([])).await;
    browser.press_with(crate::browser::CONTROL, "v").await;
    let area = "document.querySelector('main > textarea')";
    browser.until(&format!("{area}.value === '{key}'")).await;
    browser.run(&format!("{area}.remove()"), json!([])).await;
    browser.sees("https://app.example.com").await;
    browser.sees("user token").await;
    let web = world.node.client(key);
    web.get("usage?userId=u").await.problem(403, "forbidden_key");
    let reported = world.admin.get("keys").await.expect(200);
    assert!(!reported.to_string().contains(key) && !reported.to_string().contains(secret));
    browser.reload().await;
    browser.sees("https://other.example.com").await;
    let text = browser.text().await;
    assert!(!text.contains(key) && !text.contains(secret), "they are shown once");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_duplicated_under_another_id() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(20)).await;
    browser.page("Plans").await;
    browser.click("one").await;
    browser.sees("Versions").await;
    browser.click("Duplicate").await;
    browser.sees_title("New plan").await;
    let draft = "const area = document.querySelector('[name=document]'); area.value = area.value.replace('20', '40'); \
        area.dispatchEvent(new Event('input', {bubbles: true}))";
    browser.click("JSON").await;
    browser.until("document.querySelector('[name=document]')?.value.includes('images')").await;
    browser.run(draft, json!([])).await;
    browser.fill("id", "two").await;
    browser.sees("create plan:two").await;
    browser.click("Save").await;
    browser.sees_title("two").await;
    browser.sees("Versions").await;
    assert_eq!(world.admin.get("plans/two").await.expect(200)["groups"][0]["quota"], 40);
    assert_eq!(world.admin.get("plans/one").await.expect(200)["groups"][0]["quota"], 20);
    without_faults(browser).await;
}

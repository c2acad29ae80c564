//! The form for plans and policies.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::pages::{PHONE, WIDE};
use crate::support::{World, monthly, new_key};
use crate::{quality, shop, sign_in, signed_in, without_faults};

const ENTER: &str = "\u{e007}";

/// The document in the JSON view. Leaves the form open.
async fn as_json(browser: &Browser) -> Value {
    browser.click("JSON").await;
    browser.until("document.querySelector('[name=document]') !== null").await;
    let text = browser.run("return document.querySelector('[name=document]').value", json!([])).await;
    browser.click("Form").await;
    browser.until("document.querySelector('.cards') !== null").await;
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

/// Opens all collapsed sections.
async fn unfold(browser: &Browser) {
    let open = "document.querySelectorAll('main details').forEach((it) => { it.open = true; })";
    browser.run(open, json!([])).await;
}

/// A plan that uses every field a group can have and that the API accepts.
fn everything() -> Value {
    json!({"name": "All", "periodType": "monthly", "periodAnchor": "subscription_start", "timezone": "Europe/Berlin", "unmatchedEvents": "allow", "groups": [
        {"id": "images", "label": "Images", "unit": "count", "quota": 20, "rollover": {"max": 5}, "maxPerCall": 4, "measure": "event", "covers": ["image.*"],
            "matches": [{"event": "image.a", "metadata": {"size": ["1k", 2], "paid": true}}, {"event": "image.b", "measure": "quantity"}],
            "enforcement": "soft", "alerts": [50, 100], "onPlanChange": "block",
            "onLimit": {"message": "No more", "upgradeUrl": "https://example.com/up", "fallback": {"event": "image.c", "metadata": {"size": "1k"}}}},
        {"id": "spend", "label": "Spend", "unit": "cents", "quota": null, "periodType": "every", "every": "P30D", "periodAnchor": "calendar", "start": "2027-01-01T00:00:00Z",
            "matches": [{"event": "llm.*", "measure": {"per": {"prompt_tokens": 0.00025, "event": 0.1}, "estimate": {"prompt_tokens": 500}}}],
            "enforcement": "hard", "onPlanChange": "carry"},
        {"id": "campaign", "unit": "seconds", "quota": 1.5, "periodType": "fixed", "periodAnchor": "calendar", "start": "2027-01-01T00:00:00Z", "end": "2027-02-01T00:00:00Z",
            "measure": "event", "scope": ["user", "metadata.team"], "matches": [{"event": "video"}], "enforcement": "approval", "onPlanChange": "carry"}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_with_two_groups_is_made_without_json_and_its_example_is_what_a_call_costs() {
    let (world, browser) = signed_in().await;
    world.admin.plan("old", monthly(5)).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    // The form suggests events that were used recently.
    app.subscribe("early", "old").await;
    let seen = json!({"userId": "early", "event": "image.seen", "metadata": {"model": "large"}});
    app.post("track", seen).await.expect(200);
    browser.page("Plans").await;
    browser.count_clicks().await;
    browser.click("New plan").await;
    browser.until("document.activeElement.tagName === 'H1'").await;
    browser.fill("id", "team").await;
    browser.fill("groups[0].label", "Pictures").await;
    browser.until("document.querySelector('[name=\"groups[0].id\"]').value === 'pictures'").await;
    browser.fill("groups[0].quota", "20").await;
    browser.fill("groups[0].matches[0].event", "picture.*").await;
    browser.click("Count image.seen in Pictures").await;
    browser.click("Add group").await;
    browser.until("document.activeElement.name === 'groups[1].label'").await;
    browser.press("Spend").await;
    browser.fill("groups[1].quota", "0.05").await;
    browser.fill("groups[1].quota", "130").await;
    browser.choose("groups[1].unit", "cents").await;
    browser.fill("groups[1].matches[0].event", "llm.chat").await;
    browser.click("Metadata filter for rule 1 of Spend").await;
    browser.until("document.activeElement.name === 'groups[1].matches[0].metadata'").await;
    browser.press(&format!("model{ENTER}")).await;
    browser.until("document.activeElement.name === 'groups[1].matches[0].metadata.model'").await;
    let offered = "[...document.querySelectorAll('[data-filter=model] option')].map((option) => option.value).join()";
    browser.until(&format!("{offered} === 'large'")).await;
    browser.press(&format!("large{ENTER}small,")).await;
    browser.choose("groups[1].measure", "weights").await;
    browser.fill("groups[1].measure.per.prompt_tokens", "0.0003").await;
    browser.fill("groups[1].measure.per.completion_tokens", "0.0008").await;
    browser.fill("groups[1].measure.estimate.completion_tokens", "500").await;
    browser.sees("800 prompt tokens and 200 completion tokens cost 0.4 cents.").await;
    browser.sees("130 cents per month per user · llm.chat where model is large or small · denies").await;
    browser.sees("create plan:team").await;
    browser.click("Save").await;
    browser.sees_title("team").await;
    browser.sees("Versions").await;
    let clicks = browser.clicks().await;
    assert!(clicks <= 9, "{clicks} clicks beside those into fields");
    let plan = world.admin.get("plans/team").await.expect(200);
    assert_eq!(plan["groups"][0]["matches"], json!([{"event": "picture.*"}, {"event": "image.seen"}]));
    let spend = &plan["groups"][1];
    assert_eq!((&spend["id"], &spend["quota"]), (&json!("spend"), &json!(130)));
    assert_eq!(spend["matches"], json!([{"event": "llm.chat", "metadata": {"model": ["large", "small"]}}]));
    let per =
        json!({"per": {"prompt_tokens": 0.0003, "completion_tokens": 0.0008}, "estimate": {"completion_tokens": 500}});
    assert_eq!(spend["measure"], per);
    app.subscribe("u", "team").await;
    let call = json!({"userId": "u", "event": "llm.chat", "metadata": {"model": "large", "prompt_tokens": 800, "completion_tokens": 200}});
    app.post("track", call).await.expect(200);
    assert_eq!(app.counter("u", "spend").await["used"], 0.4);
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_form_changes_one_field_and_leaves_everything_else_as_it_is() {
    let (world, browser) = signed_in().await;
    world.admin.plan("all", everything()).await;
    let stored = world.admin.get("plans/all").await.expect(200);
    browser.open(&format!("{}/#/plans/all", world.node.url)).await;
    browser.sees("20 per month per user").await;
    browser.sees("no limit every P30D per user").await;
    browser.sees("1.5 seconds from 2027-01-01T00:00:00Z to 2027-02-01T00:00:00Z per user and team").await;
    let mut wanted = stored.clone();
    wanted.as_object_mut().unwrap().remove("version");
    assert_eq!(as_json(&browser).await, wanted);
    // One field of each kind.
    unfold(&browser).await;
    browser.fill("groups[0].quota", "25").await;
    browser.fill("groups[0].rollover.max", "7").await;
    browser.choose("groups[2].enforcement", "soft").await;
    browser.fill("groups[0].alerts", "80,").await;
    browser.choose("groups[1].periodType", "weekly").await;
    wanted["groups"][0]["quota"] = json!(25);
    wanted["groups"][0]["rollover"] = json!({"max": 7});
    wanted["groups"][2]["enforcement"] = json!("soft");
    wanted["groups"][0]["alerts"] = json!([50, 80, 100]);
    wanted["groups"][1]["periodType"] = json!("weekly");
    for name in ["every", "start"] {
        wanted["groups"][1].as_object_mut().unwrap().remove(name);
    }
    assert_eq!(as_json(&browser).await, wanted);
    // A field that only the JSON view can edit is kept, and the form names it.
    wanted["groups"][0]["later"] = json!({"max": 5});
    wanted["groups"][0]["sooner"] = json!("limit");
    wanted["groups"][0]["enforcement"] = json!("observe");
    browser.click("JSON").await;
    browser.fill("document", &wanted.to_string()).await;
    browser.click("Form").await;
    browser.sees("Only in the JSON, and kept: later, sooner.").await;
    browser.fill("groups[0].label", "Pictures").await;
    wanted["groups"][0]["label"] = json!("Pictures");
    assert_eq!(as_json(&browser).await, wanted);
    browser.click("Undo all").await;
    browser.sees("20 per month per user").await;
    // Invalid JSON is corrected in the JSON view; the form says what it cannot show.
    browser.click("JSON").await;
    browser.fill("document", "{").await;
    browser.click("Form").await;
    browser.sees("The JSON cannot be read").await;
    browser.click("Fix the JSON").await;
    browser.fill("document", "{\"groups\": 3}").await;
    browser.click("Form").await;
    browser.sees("The form cannot show this JSON").await;
    assert_eq!(world.admin.get("plans/all").await.expect(200), stored, "nothing was written");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_moved_copied_removed_and_brought_back_by_the_keyboard_and_by_dragging() {
    let (world, browser) = signed_in().await;
    world.admin.plan("all", everything()).await;
    browser.open(&format!("{}/#/plans/all", world.node.url)).await;
    browser.sees("Versions").await;
    let ids = "[...document.querySelectorAll('[data-card]')].map((card) => card.dataset.card).join()";
    let press = async |label: &str| {
        browser.until(&format!("document.querySelector('[aria-label=\"{label}\"]') !== null")).await;
        browser.run("document.querySelector(`[aria-label=\"${arguments[0]}\"]`).focus()", json!([label])).await;
        browser.press_anywhere(ENTER).await;
    };
    press("Move Spend up").await;
    browser.sees("Spend is now 1 of 3.").await;
    browser.until(&format!("{ids} === 'spend,images,campaign'")).await;
    // At the end of the list the focus moves to the button that is still enabled.
    browser.until("document.activeElement.getAttribute('aria-label') === 'Move Spend down'").await;
    press("Copy Images").await;
    browser.until("document.activeElement.name === 'groups[2].label'").await;
    browser.until(&format!("{ids} === 'spend,images,images_copy,campaign'")).await;
    press("Remove Spend").await;
    browser.sees("Spend is removed.").await;
    browser.until("document.activeElement.textContent === 'Undo'").await;
    browser.press_anywhere(ENTER).await;
    browser.until(&format!("{ids} === 'spend,images,images_copy,campaign'")).await;
    let drag = "const [from, to] = [...arguments].map((id) => document.querySelector(`[data-card=${id}]`)); \
        const data = new DataTransfer(), handle = from.querySelector('.handle'); \
        const send = (element, type) => element.dispatchEvent(new DragEvent(type, {bubbles: true, cancelable: true, dataTransfer: data})); \
        send(handle, 'dragstart'); send(to, 'dragover'); send(to, 'drop'); send(handle, 'dragend');";
    browser.run(drag, json!(["campaign", "spend"])).await;
    browser.until(&format!("{ids} === 'campaign,spend,images,images_copy'")).await;
    // Rules are ordered too: the first that matches sets the amount.
    press("Move rule 2 of Images up").await;
    let rules =
        "[...document.querySelectorAll('[data-card=images] .rule-line input')].map((input) => input.value).join()";
    browser.until(&format!("{rules} === 'image.b,image.a'")).await;
    browser.until("document.activeElement.getAttribute('aria-label') === 'Move rule 1 of Images down'").await;
    browser.click("Save").await;
    browser.until("document.querySelector('.savebar [role=status]').textContent === ''").await;
    let plan = world.admin.get("plans/all").await.expect(200);
    let stored: Vec<&str> =
        plan["groups"].as_array().unwrap().iter().map(|group| group["id"].as_str().unwrap()).collect();
    assert_eq!(stored, ["campaign", "spend", "images", "images_copy"]);
    assert_eq!(plan["groups"][2]["matches"][0]["event"], "image.b");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_the_api_is_shown_at_its_field_and_linked_from_the_list() {
    let (world, browser) = signed_in().await;
    world.admin.plan("all", everything()).await;
    browser.open(&format!("{}/#/plans/all", world.node.url)).await;
    browser.sees("Versions").await;
    unfold(&browser).await;
    browser.fill("groups[0].alerts", "7000,").await;
    browser.sees("One field needs attention").await;
    let at = "document.querySelector('[name=\"groups[0].alerts\"]')";
    browser.until(&format!("{at}.getAttribute('aria-invalid') === 'true'")).await;
    let said = format!("document.getElementById({at}.getAttribute('aria-describedby').split(' ')[0])");
    browser
        .until(&format!("{said}.getAttribute('role') === 'alert' && {said}.textContent.includes('percentages')"))
        .await;
    // The link in the list leads to the field, also inside a collapsed section.
    browser.run("document.querySelectorAll('main details').forEach((it) => { it.open = false; })", json!([])).await;
    browser.click("groups[0].alerts").await;
    browser.until(&format!("document.activeElement === {at}")).await;
    browser.until(&format!("{at}.checkVisibility()")).await;
    browser.click("Remove 7000 from Alerts at percent of the limit").await;
    browser.until(&format!("{at}.getAttribute('aria-invalid') === null")).await;
    // The keys of a filter are shown by name.
    browser.fill("groups[0].matches[1].event", "").await;
    browser
        .until(
            "document.querySelector('[name=\"groups[0].matches[1].event\"]').getAttribute('aria-invalid') === 'true'",
        )
        .await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsaved_changes_survive_another_page_a_reload_and_a_colleagues_save() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(20)).await;
    browser.page("Plans").await;
    browser.click("one").await;
    browser.sees("Versions").await;
    browser.fill("groups[0].quota", "35").await;
    browser.sees("Unsaved changes").await;
    browser.page("Users").await;
    browser.page("Plans").await;
    browser.click("one").await;
    browser.sees("These are your unsaved changes").await;
    browser.reload().await;
    browser.sees("These are your unsaved changes").await;
    let quota = "document.querySelector('[name=\"groups[0].quota\"]').value";
    browser.until(&format!("{quota} === '35'")).await;
    // A draft never silently overwrites a version that another person saved meanwhile.
    world.admin.plan("one", monthly(50)).await;
    browser.reload().await;
    browser.sees("Somebody saved another version after you began").await;
    browser.until("document.querySelector('.savebar [type=submit]').disabled").await;
    browser.click("Keep my changes").await;
    browser.sees("groups.images.quota: 50 → 35").await;
    browser.click("Save").await;
    browser.until("document.querySelector('.savebar [role=status]').textContent === ''").await;
    assert_eq!(world.admin.get("plans/one").await.expect(200)["groups"][0]["quota"], 35);
    browser.reload().await;
    browser.sees("Versions").await;
    assert!(!browser.text().await.contains("unsaved changes"), "what was saved is no draft any more");
    browser.fill("groups[0].quota", "36").await;
    browser.sees("Unsaved changes").await;
    browser.page("Users").await;
    browser.page("Plans").await;
    browser.click("one").await;
    browser.click("Discard them").await;
    browser.until(&format!("{quota} === '35'")).await;
    // A new draft is kept too, and pasted JSON may contain its id.
    browser.visit("#/plans/new").await;
    browser.click("JSON").await;
    let mut pasted = monthly(7);
    pasted["id"] = json!("pasted");
    browser.fill("document", &pasted.to_string()).await;
    browser.sees("create plan:pasted").await;
    browser.page("Users").await;
    browser.visit("#/plans/new").await;
    browser.sees("create plan:pasted").await;
    browser.fill("id", "one").await;
    browser.sees("Another plan has this ID.").await;
    browser.fill("id", "pasted").await;
    browser.sees("create plan:pasted").await;
    browser.click("Save").await;
    browser.sees_title("pasted").await;
    assert_eq!(world.admin.get("plans/pasted").await.expect(200)["groups"][0]["quota"], 7);
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_a_plan_is_raised_in_three_clicks_and_a_lowered_one_is_looked_at_first() {
    let (world, browser) = signed_in().await;
    world.admin.plan("one", monthly(20)).await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "one").await;
    app.post("track", json!({"userId": "u", "event": "image.a", "quantity": 19})).await.expect(200);
    browser.reload().await;
    browser.sees_title("Overview").await;
    browser.count_clicks().await;
    browser.page("Plans").await;
    browser.click("one").await;
    browser.click_field("groups[0].quota").await;
    browser.run("document.activeElement.select()", json!([])).await;
    browser.press(&format!("40{ENTER}")).await;
    browser.sees("v2").await;
    assert_eq!(app.counter("u", "images").await["quota"], 40);
    let clicks = browser.clicks().await;
    assert!(clicks <= 3, "{clicks}");
    // Enter was pressed before the warning that a user would be over the new limit could be seen.
    browser.click_field("groups[0].quota").await;
    browser.run("document.activeElement.select()", json!([])).await;
    browser.press(&format!("5{ENTER}")).await;
    browser.sees("1 user over the limit").await;
    assert_eq!(app.counter("u", "images").await["quota"], 40, "it was not saved");
    browser.click("Save").await;
    browser.sees("v3").await;
    assert_eq!(app.counter("u", "images").await["quota"], 5);
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policys_record_is_filled_in_and_emptied_again() {
    let (world, browser) = signed_in().await;
    let group = json!({"id": "team", "unit": "count", "quota": 50, "scope": ["app"], "periodType": "monthly", "matches": [{"event": "*"}]});
    world.admin.put("policies/cap", json!({"owner": "platform", "groups": [group]})).await.expect(200);
    browser.open(&format!("{}/#/policies/cap", world.node.url)).await;
    browser.sees("50 per month for the whole app").await;
    browser.choose("reviewCadence", "yearly").await;
    unfold(&browser).await;
    browser.fill("approval.approvers", "ann, bob,").await;
    browser.fill("approval.condition", "below 10").await;
    browser.click("Limit retries").await;
    browser.fill("retry.backoff.initialMs", "100").await;
    browser.fill("retry.nonRetryable", "content_filter,").await;
    // The scope of an existing id cannot be changed.
    browser.fill("groups[0].id", "by_team").await;
    browser.sees("It was team.").await;
    browser.fill("groups[0].scope", "team,").await;
    browser.click("Remove app from A counter for each").await;
    browser.fill("notes", "Look twice.").await;
    browser.until("!document.querySelector('.savebar [type=submit]').disabled").await;
    let document = as_json(&browser).await;
    let record = json!({"approvers": ["ann", "bob"], "condition": "below 10"});
    assert_eq!((&document["approval"], &document["notes"]), (&record, &json!("Look twice.")));
    assert_eq!(
        document["retry"],
        json!({"maxAttempts": 3, "backoff": {"initialMs": 100}, "nonRetryable": ["content_filter"]})
    );
    assert_eq!(
        (&document["reviewCadence"], &document["groups"][0]["scope"]),
        (&json!("yearly"), &json!(["metadata.team"]))
    );
    unfold(&browser).await;
    browser.click("Remove the limit of retries").await;
    browser.fill("approval.condition", "").await;
    browser.click("Remove ann from Approvers").await;
    browser.click("Remove bob from Approvers").await;
    let document = as_json(&browser).await;
    assert_eq!((&document["retry"], &document["approval"]), (&Value::Null, &Value::Null));
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_that_cannot_configure_read_plans_without_an_error() {
    let world = World::new().await;
    world.admin.plan("all", everything()).await;
    let group = json!({"id": "team", "unit": "count", "quota": 50, "scope": ["app"], "periodType": "monthly", "matches": [{"event": "*"}]});
    world.admin.put("policies/cap", json!({"groups": [group]})).await.expect(200);
    let browser = Browser::start().await;
    for role in ["viewer", "support", "approver"] {
        let key = new_key(&world.admin, json!({"kind": "admin", "role": role})).await;
        sign_in(&world, &browser, &key).await;
        for place in ["#/plans/all", "#/policies/cap", "#/plans/new"] {
            browser.visit(place).await;
            let alerts = "return document.querySelectorAll('main [role=alert]').length";
            assert_eq!(browser.run(alerts, json!([])).await, 0, "{role} at {place}");
        }
        browser.visit("#/plans/all").await;
        browser.sees("image.a where paid is true and size is 1k or 2").await;
        browser.fill("test-event", "image.b").await;
        browser.sees("by rule 2").await;
        assert!(!browser.text().await.contains("may not"), "{role}");
        browser.click("Sign out").await;
        browser.sees("Sign in with an admin key").await;
    }
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_in_the_form_however_it_is_opened() {
    let (world, browser) = signed_in().await;
    shop::opened(&world).await;
    shop::look(&world, &browser).await;
    world.admin.plan("all", everything()).await;
    assert_eq!(browser.run(&format!("{}; return typeof axe", quality::AXE), json!([])).await, "object");
    let mut found = Vec::new();
    for (theme, (width, height)) in [("light", WIDE), ("dark", WIDE), ("light", PHONE)] {
        browser.theme(theme).await;
        browser.size(width, height).await;
        for place in ["#/plans/all", "#/policies/teams"] {
            browser.visit(place).await;
            unfold(&browser).await;
            browser.run("document.querySelector('.add-filter').click()", json!([])).await;
            browser.fill("groups[0].quota", "x").await;
            browser.sees("needs attention").await;
            let about = format!("{place} {theme} {width}");
            found.extend(
                quality::findings(&browser, &[]).await.into_iter().map(|finding| format!("{about}: {finding}")),
            );
            let over = quality::overflow(&browser).await;
            if over > 0 {
                found.push(format!("{about}: {over} too wide"));
            }
            let hidden: Value = browser.run(quality::FOCUSED, json!([])).await;
            found.extend(hidden.as_array().unwrap().iter().map(|control| format!("{about}: no focus {control}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    without_faults(browser).await;
}

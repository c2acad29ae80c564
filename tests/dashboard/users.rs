//! The pages that customer support uses most.

use serde_json::json;

use crate::support::{World, new_key};
use crate::{signed_in, without_faults};

/// A live plan of 20 mails a month, and a live key.
async fn mails(world: &World) -> crate::support::Api {
    let plan = |quota: u64| {
        json!({"name": "Mail", "periodType": "monthly", "periodAnchor": "calendar", "groups": [
            {"id": "mails", "label": "Mails", "unit": "count", "quota": quota, "onPlanChange": "reset", "matches": [{"event": "mail.*"}]}]})
    };
    world.admin.plan("free", plan(20)).await;
    world.admin.plan("pro", plan(200)).await;
    world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_at_20_of_20_gets_10_more_until_the_end_of_the_month() {
    let (world, browser) = signed_in().await;
    let app = mails(&world).await;
    app.subscribe("u_42", "free").await;
    app.post("track", json!({"userId": "u_42", "event": "mail.send", "quantity": 20})).await.expect(200);
    let call = json!({"userId": "u_42", "event": "mail.send"});
    assert_eq!(app.reserve(call.clone()).await["allowed"], false);
    browser.page("Users").await;
    browser.until("document.activeElement.tagName === 'H1'").await;
    // `/` moves the focus to the search from any page.
    browser.press("/").await;
    browser.press("u_4").await;
    browser.click("u_42").await;
    browser.sees("20 / 20 · 0 left").await;
    browser.click("Grant more Mails").await;
    browser.fill("amount", "10").await;
    browser.choose("until", "month").await;
    browser.fill("note", "ticket 7").await;
    browser.sees("The limit becomes 30; 20 are used or held.").await;
    browser.click("Grant").await;
    browser.sees_no_dialog().await;
    browser.sees("20 / 30 · 10 left · 10 granted").await;
    let grant = world.admin.get("grants?userId=u_42").await.expect(200)["data"][0].clone();
    assert_eq!((&grant["amount"], &grant["note"]), (&json!(10), &json!("ticket 7")));
    assert!(grant["expiresAt"].as_str().unwrap().ends_with("-01T00:00:00Z"), "{grant}");
    assert_eq!(app.reserve(call).await["allowed"], true, "the next call passes");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_blocked_moved_and_reset_after_a_question_and_other_tabs_see_it() {
    let (world, browser) = signed_in().await;
    let app = mails(&world).await;
    app.subscribe("u_42", "free").await;
    app.post("track", json!({"userId": "u_42", "event": "mail.send", "quantity": 5})).await.expect(200);
    let place = format!("{}/#/users/u_42", world.node.url);
    browser.open(&place).await;
    browser.sees("5 / 20 · 15 left").await;
    let (first, second) = browser.another_tab().await;
    browser.open(&place).await;
    browser.sees("5 / 20").await;
    let call = json!({"userId": "u_42", "event": "mail.send"});
    app.reserved(call.clone()).await;
    browser.sees("5 / 20 · 14 left · 1 held").await;
    browser.to_tab(&first).await;
    browser.sees("5 / 20 · 14 left · 1 held").await;
    browser.click("Block").await;
    browser.sees("Every reserve of u_42 is denied").await;
    // Escape closes the dialog and does nothing.
    browser.press("\u{e00c}").await;
    browser.sees_no_dialog().await;
    assert_eq!(app.reserve(call.clone()).await["allowed"], true);
    browser.click("Block").await;
    browser.click("Block user").await;
    browser.sees("every call is denied").await;
    assert_eq!(app.reserve(call.clone()).await["reasons"], json!(["user_blocked"]));
    browser.click("Unblock").await;
    browser.click("Unblock user").await;
    browser.sees("active").await;
    browser.click("Move to another plan").await;
    browser.choose("plan", "pro").await;
    browser.sees("Mails: starts at 0 of 200").await;
    browser.click("Move user").await;
    browser.sees("0 / 200").await;
    app.post("track", json!({"userId": "u_42", "event": "mail.send", "quantity": 7})).await.expect(200);
    browser.to_tab(&second).await;
    browser.sees("7 / 200").await;
    browser.click("Reset Mails").await;
    browser.sees("Mails: 7 used").await;
    browser.click("Reset counter").await;
    browser.sees("0 / 200").await;
    assert_eq!(app.counter("u_42", "mails").await["used"], 0);
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_that_hangs_is_released_after_a_question_that_says_what_is_freed() {
    let (world, browser) = signed_in().await;
    let app = mails(&world).await;
    app.subscribe("u_42", "free").await;
    let mails = json!({"userId": "u_42", "event": "mail.send", "quantity": 20, "ttlSeconds": 3600});
    let id = app.reserved(mails).await;
    browser.open(&format!("{}/#/users/u_42", world.node.url)).await;
    browser.sees("0 / 20 · 0 left · 20 held").await;
    browser.click(&format!("Release {id}")).await;
    browser.sees("mails: 20").await;
    browser.sees("its commit is refused").await;
    browser.fill("note", "worker 7 is gone").await;
    browser.click("Release reservation").await;
    browser.sees_no_dialog().await;
    browser.sees("0 / 20 · 20 left").await;
    browser.sees("No open reservations.").await;
    app.post("commit", json!({"reservationId": id})).await.problem(409, "reservation_not_pending");
    browser.click("Changes by operators").await;
    browser.sees("reservation.release").await;
    browser.sees("worker 7 is gone").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_page_reloads_about_once_a_second_however_many_events_happen() {
    let (world, browser) = signed_in().await;
    let app = mails(&world).await;
    app.subscribe("u_42", "pro").await;
    browser.open(&format!("{}/#/users/u_42", world.node.url)).await;
    browser.sees("0 / 200").await;
    // Counts the page's requests from now on.
    let count = "window.asked = []; window.began = performance.now(); const ask = window.fetch; \
        window.fetch = (where, ...rest) => { window.asked.push(String(where)); return ask(where, ...rest); }";
    browser.run(count, json!([])).await;
    // For long enough that reloading the summary with every reload of the user would exceed the bound.
    let passed =
        async || browser.run("return (performance.now() - window.began) / 1000", json!([])).await.as_f64().unwrap();
    let mut sent = 0;
    while passed().await < 12.0 {
        app.post("track", json!({"userId": "u_42", "event": "mail.send", "quantity": 1})).await.expect(200);
        sent += 1;
    }
    let reported = browser.run("return new Intl.NumberFormat('en').format(arguments[0])", json!([sent])).await;
    let reported = reported.as_str().unwrap();
    browser.sees(&format!("{reported} / 200")).await;
    browser
        .until(&format!("[...document.querySelectorAll('td')].some((cell) => cell.textContent === '{reported}')"))
        .await;
    let asked = async |what: &str| {
        let script = "return window.asked.filter((where) => where.includes(arguments[0])).length";
        browser.run(script, json!([what])).await.as_u64().unwrap()
    };
    let (state, events) = (asked("api/v1/users/u_42").await, asked("api/v1/events").await);
    let passed = passed().await;
    // The first and the last read are added to what the interval allows, and the page's own read of the summary.
    assert!(state >= 1 && state as f64 <= passed + 2.0, "{state} in {passed} s");
    assert!(events >= 1 && events as f64 <= passed / 4.0 + 3.0, "{events} in {passed} s");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_gets_custom_limits_and_returns_to_those_of_the_plan() {
    let (world, browser) = signed_in().await;
    let app = mails(&world).await;
    app.subscribe("u_42", "free").await;
    browser.open(&format!("{}/#/users/u_42", world.node.url)).await;
    browser.sees("0 / 20").await;
    browser.click("Change limits").await;
    browser.sees("Empty: as in the plan (20).").await;
    browser.fill("quota-mails", "-3").await;
    browser.click("Save").await;
    browser.sees("customLimits").await;
    browser.fill("quota-mails", "35").await;
    browser.click("Save").await;
    browser.sees_no_dialog().await;
    browser.sees("0 / 35").await;
    assert_eq!(app.counter("u_42", "mails").await["quota"], 35);
    browser.click("Change limits").await;
    browser.click_field("none-mails").await;
    browser.click("Save").await;
    browser.sees_no_dialog().await;
    browser.sees("0 without limit").await;
    browser.click("Change limits").await;
    browser.click_field("none-mails").await;
    browser.fill("quota-mails", "").await;
    browser.click("Save").await;
    browser.sees_no_dialog().await;
    browser.sees("0 / 20").await;
    let user = world.admin.get("users/u_42").await.expect(200);
    assert!(user["subscription"]["customLimits"].is_null(), "{user}");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_page_shows_windows_forecasts_and_the_last_events() {
    let (world, browser) = signed_in().await;
    world.admin.plan("free", json!({"periodType": "daily", "periodAnchor": "calendar", "groups": [
        {"id": "mails", "label": "Mails", "unit": "count", "quota": 10, "enforcement": "soft", "matches": [{"event": "mail.*"}]}]})).await;
    let app = &world.app;
    app.freeze("2031-01-30T12:00:00Z").await;
    app.subscribe("ada", "free").await;
    app.post("track", json!({"userId": "ada", "event": "mail.send", "quantity": 12})).await.expect(200);
    app.freeze("2031-01-31T12:00:00Z").await;
    app.post("track", json!({"userId": "ada", "event": "mail.<b>", "quantity": 6})).await.expect(200);
    browser.page("Test clock").await;
    browser.click("To test mode").await;
    browser.visit("#/users/ada").await;
    browser.sees("6 / 10").await;
    browser.sees("Runs out 20:00 UTC").await;
    let row = r"[...document.querySelectorAll('tr')].map((row) => row.innerText).join(' ').replace(/\s+/g, ' ')";
    browser.until(&format!("{row}.includes('2031-01-30 to 2031-01-31 12 10 2 final')")).await;
    browser.until(&format!("{row}.includes('2031-01-31 to 2031-02-01 6 10 – may still change')")).await;
    browser.sees("mail.<b>").await;
    browser.click("All events of this user").await;
    browser.sees_title("Events").await;
    browser.sees("mail.send").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_preview_of_a_move_shows_each_counter_as_it_will_be() {
    let (world, browser) = signed_in().await;
    let group = |id: &str, quota: u64, rule: &str| json!({"id": id, "label": id.to_uppercase(), "unit": "count", "quota": quota, "onPlanChange": rule, "matches": [{"event": format!("{id}.*")}]});
    let plan =
        |groups: Vec<serde_json::Value>| json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": groups});
    world
        .admin
        .plan(
            "old",
            plan(vec![
                group("mails", 20, "carry"),
                group("images", 20, "carry"),
                group("jobs", 20, "carry"),
                group("extra", 5, "carry"),
            ]),
        )
        .await;
    world
        .admin
        .plan("new", plan(vec![group("mails", 4, "carry"), group("images", 30, "block"), group("jobs", 7, "reset")]))
        .await;
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "old").await;
    for id in ["mails", "images", "jobs"] {
        app.post("track", json!({"userId": "u", "event": format!("{id}.a"), "quantity": 6})).await.expect(200);
    }
    // For a user whose subscription has ended, the preview uses the stored counters.
    app.delete("subscriptions", Some(json!({"userId": "u"}))).await.expect(200);
    browser.open(&format!("{}/#/users/u", world.node.url)).await;
    browser.click("Put on a plan").await;
    browser.choose("plan", "new").await;
    browser.sees("MAILS: keeps 6 used of 4: nothing is left").await;
    browser.sees("IMAGES: keeps 6 used of 30, and the rest is blocked until the next window").await;
    browser.sees("JOBS: starts at 0 of 7").await;
    browser.choose("plan", "old").await;
    browser.sees("JOBS: keeps 6 used of 20").await;
    browser.sees("EXTRA: starts at 0 of 5").await;
    browser.choose("plan", "new").await;
    browser.sees("JOBS: starts at 0 of 7").await;
    browser.fill("note", "they came <b>back</b>").await;
    browser.click("Put on the plan").await;
    browser.sees_no_dialog().await;
    let why = world.admin.get("audit?action=subscription.put&target=user:u").await.expect(200);
    assert_eq!(why["data"][0]["note"], "they came <b>back</b>", "{why}");
    browser.sees("6 / 4 · 0 left · 2 over").await;
    browser.sees("6 / 30 · 0 left · 24 blocked").await;
    browser.sees("0 / 7 · 7 left").await;
    browser.click("Move to another plan").await;
    browser.choose("plan", "old").await;
    browser.sees("EXTRA: starts at 0 of 5").await;
    browser.click("Cancel").await;
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_was_never_seen_is_put_on_a_plan() {
    let (world, browser) = signed_in().await;
    let app = mails(&world).await;
    browser.page("Users").await;
    browser.fill("Search users", "new one").await;
    browser.sees("No user found").await;
    browser.click("new one").await;
    browser.sees("User not found").await;
    browser.click("Put on a plan").await;
    browser.choose("plan", "free").await;
    browser.sees("Mails: starts at 0 of 20").await;
    browser.click("Put on the plan").await;
    browser.sees("0 / 20 · 20 left").await;
    app.reserved(json!({"userId": "new one", "event": "mail.send"})).await;
    browser.sees("1 held").await;
    let plan = app.get("usage?userId=new%20one").await.expect(200);
    assert_eq!(plan["planId"], "free");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_paint_takes_less_than_100_kb() {
    let (_world, browser) = signed_in().await;
    let files = "const told = ['navigation', 'resource'].flatMap((type) => performance.getEntriesByType(type)); \
        return told.filter((file) => !file.name.includes('/api/')).map((file) => file.encodedBodySize)";
    let sizes = browser.run(files, json!([])).await;
    let sizes: Vec<u64> = sizes.as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).collect();
    assert!(sizes.len() > 10 && sizes.iter().sum::<u64>() < 100_000, "{sizes:?}");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_any_kind_are_shown_as_they_are_and_lead_to_their_page() {
    let (world, browser) = signed_in().await;
    let app = mails(&world).await;
    let long = "x".repeat(256);
    let names = [
        "<script>document.title='owned'</script>",
        "<img src=x onerror=document.title='owned'>",
        "\u{202e}evil\u{202c}",
        "مستخدم",
        "a/b?c#d%2F&e=f",
        "'\"`${1}{{x}}",
        " spaces  inside ",
        &long,
    ];
    for name in names {
        let body = json!({"userId": name, "event": "mail.send"});
        app.post("subscriptions", json!({"userId": name, "planId": "free"})).await.expect(200);
        app.post("track", body).await.expect(200);
        let note = json!({"groupId": "mails", "scope": {"user": name}, "amount": 1, "note": name});
        world.admin.post("grants", note).await.expect(201);
    }
    for name in names {
        browser.open("about:blank").await;
        browser.open(&format!("{}/#/users", world.node.url)).await;
        browser.sees("active").await;
        let find = "const link = [...document.querySelectorAll('td a')].find((a) => a.textContent === arguments[0]); \
            link.click(); return document.querySelectorAll('main script, main img').length";
        let planted = browser.run(find, json!([name])).await;
        assert_eq!(planted, 0, "{name}");
        browser.sees("1 / 21 · 20 left").await;
        let title = browser.run("return document.querySelector('h1 bdi').textContent", json!([])).await;
        assert_eq!(title, name);
        let wide = "return document.documentElement.scrollWidth - innerWidth";
        assert!(browser.run(wide, json!([])).await.as_i64().unwrap() <= 0, "{name} breaks the page");
    }
    browser.page("Audit").await;
    browser.sees("grant.create").await;
    assert_eq!(browser.run("return document.querySelectorAll('main script, main img').length", json!([])).await, 0);
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_limit_is_raised_in_three_clicks_and_one_below_its_use_says_so() {
    let (world, browser) = signed_in().await;
    let app = mails(&world).await;
    app.subscribe("u_42", "free").await;
    app.post("track", json!({"userId": "u_42", "event": "mail.send", "quantity": 19})).await.expect(200);
    browser.reload().await;
    browser.sees_title("Overview").await;
    browser.count_clicks().await;
    browser.page("Users").await;
    browser.click("u_42").await;
    browser.click("Change limits").await;
    browser.until("document.activeElement.name === 'quota-mails'").await;
    browser.press("5").await;
    browser.sees("19 are used or held, so further calls are denied").await;
    browser.fill("quota-mails", "40").await;
    browser.until("document.querySelector('dialog .warning') === null").await;
    browser.press("\u{e007}").await;
    browser.sees_no_dialog().await;
    browser.sees("19 / 40").await;
    let clicks = browser.clicks().await;
    assert!(clicks <= 3, "{clicks}");
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overage_is_drawn_to_scale_and_a_window_without_dates_shows_none() {
    let (world, browser) = signed_in().await;
    let group = |id: &str, period: &str, enforcement: &str| json!({"id": id, "unit": "count", "measure": "event", "quota": 100, "periodType": period, "enforcement": enforcement, "matches": [{"event": id}]});
    let mut soft = group("over", "daily", "soft");
    soft.as_object_mut().unwrap().remove("measure");
    world.admin.plan("p", json!({"unmatchedEvents": "allow", "groups": [soft]})).await;
    let mut flight = group("flight", "concurrent", "hard");
    flight["scope"] = json!(["app"]);
    world.admin.put("policies/caps", json!({"groups": [flight]})).await.expect(200);
    let app = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    app.subscribe("u", "p").await;
    app.post("track", json!({"userId": "u", "event": "over", "quantity": 398})).await.expect(200);
    let id = app.reserved(json!({"userId": "u", "event": "flight"})).await;
    browser.visit("#/users/u").await;
    browser.sees("298 over").await;
    let width = "const width = (name) => document.querySelector(`[data-group=over] ${name}`).getBoundingClientRect().width; \
        return width('.over') / width('.bar')";
    let drawn = browser.run(width, json!([])).await.as_f64().unwrap();
    assert!((2.8..3.2).contains(&drawn), "{drawn} times the limit");
    browser.visit(&format!("#/explain?reservationId={id}")).await;
    browser.sees("one window, never resets").await;
    assert!(!browser.text().await.contains("1970"));
    without_faults(browser).await;
}

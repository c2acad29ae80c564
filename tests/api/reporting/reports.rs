//! Reports over HTTP agree with what was metered.

use serde_json::{Value, json};

use crate::accounts::credits::{add, balance, buyer, image};
use crate::support::{Api, START, World, proven};

/// A plan that counts calls, tokens and money of `llm.*`, and images up to 3 a day.
fn plan() -> Value {
    json!({"periodType": "daily", "periodAnchor": "calendar", "groups": [
        {"id": "calls", "unit": "count", "measure": "event", "quota": null, "matches": [{"event": "llm.*"}]},
        {"id": "spend", "unit": "cents", "quota": 1000, "matches": [{"event": "llm.*", "metadata": {"model": ["large", "small"]},
            "measure": {"per": {"prompt_tokens": "0.001", "completion_tokens": "0.002"},
                "estimate": {"prompt_tokens": 100, "completion_tokens": 100}}}]},
        {"id": "images", "unit": "count", "measure": "quantity", "quota": 3, "matches": [{"event": "image.*"}]}]})
}

async fn world() -> (World, Api) {
    let world = World::frozen().await;
    world.admin.plan("p", plan()).await;
    world.app.subscribe("u", "p").await;
    world.app.subscribe("v", "p").await;
    let admin = world.admin.with("x-mode", "test");
    (world, admin)
}

fn chat(user: &str, metadata: Value) -> Value {
    json!({"userId": user, "event": "llm.chat", "metadata": metadata})
}

async fn lines(admin: &Api, query: &str) -> Vec<Value> {
    let report = admin.get(&format!("reports/usage?{query}")).await.expect(200);
    assert_eq!(report["complete"], true);
    report["data"].as_array().unwrap().clone()
}

/// Two final calls and a draft of `u`, one call of `v`, a release, an expiry, and four images of which one is denied.
async fn furnish(world: &World) {
    let app = &world.app;
    for (user, model, quality, outcome) in
        [("u", "large", "final", "accepted"), ("u", "large", "draft", "rejected"), ("u", "small", "final", "accepted")]
    {
        let asked = chat(user, json!({"model": model, "quality": quality}));
        let id = app.reserved(asked).await;
        let body = json!({"reservationId": id, "outcome": outcome,
            "metadata": {"prompt_tokens": 400, "completion_tokens": 100, "cached_tokens": 200}});
        app.post("commit", body).await.expect(200);
    }
    let track = chat(
        "v",
        json!({"model": "large", "prompt_tokens": 1000, "completion_tokens": 50, "attempt": 2,
        "cache": "hit"}),
    );
    app.post("track", track).await.expect(200);
    let id = app.reserved(chat("v", json!({"model": "large"}))).await;
    app.release(&id).await;
    app.reserved(chat("v", json!({"model": "large"}))).await;
    for _ in 0..4 {
        let decision = app.reserve(json!({"userId": "u", "event": "image.render"})).await;
        if decision["allowed"] == true {
            app.commit(decision["reservationId"].as_str().unwrap()).await;
        }
    }
    app.freeze("2027-01-31T10:05:00Z").await;
    app.reserve(chat("v", json!({"model": "none"}))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_sent_as_soon_as_they_happen() {
    let (world, admin) = world().await;
    assert_eq!(lines(&admin, "").await[0]["calls"], 0);
    furnish(&world).await;
    let line = &lines(&admin, "").await[0];
    for (field, expected) in [
        ("calls", json!(7)),
        ("denials", json!(1)),
        ("released", json!(1)),
        ("expiries", json!(1)),
        ("late", json!(0)),
        ("degraded", json!(0)),
        ("accepted", json!(2)),
        ("rejected", json!(1)),
        ("retries", json!(1)),
        ("quantity", json!(7)),
        // Three of 0.4 + 0.2 cents and one of 1 + 0.1.
        ("cost", json!(2.9)),
        ("costPerAccepted", json!(1.45)),
        ("retryShare", json!(0.142857)),
        ("denialsByReason", json!({"limit_reached": 1})),
        ("figures", json!({"prompt_tokens": 2200, "completion_tokens": 350, "cached_tokens": 600})),
        ("start", json!("2027-01-02")),
        ("end", json!("2027-01-31")),
    ] {
        assert_eq!(line[field], expected, "{field}: {line}");
    }
    let charged: Vec<(&str, f64)> = line["charged"]
        .as_array()
        .unwrap()
        .iter()
        .map(|charged| (charged["groupId"].as_str().unwrap(), charged["amount"].as_f64().unwrap()))
        .collect();
    assert_eq!(charged, [("calls", 4.0), ("images", 3.0), ("spend", 2.9)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_go_by_group_user_event_key_metadata_and_day() {
    let (world, admin) = world().await;
    furnish(&world).await;
    world.app.freeze("2027-02-01T10:00:00Z").await;
    world
        .app
        .post("track", chat("u", json!({"model": "small", "prompt_tokens": 1, "completion_tokens": 0})))
        .await
        .expect(200);
    let reported = async |query: &str, fields: &[&str]| {
        let reported = |line: &Value| {
            let by = line["by"].as_object().unwrap().values().map(|value| value.as_str().unwrap_or("-").to_owned());
            let mut parts: Vec<String> = by.collect();
            parts.extend(fields.iter().map(|field| line[*field].to_string()));
            parts.join(" ")
        };
        lines(&admin, query).await.iter().map(reported).collect::<Vec<_>>()
    };
    assert_eq!(reported("by=group", &["calls", "denials"]).await, ["calls 5 0", "images 3 1", "spend 5 0"]);
    assert_eq!(reported("by=user", &["calls", "denials", "cost"]).await, ["u 7 1 1.801", "v 1 0 1.1"]);
    assert_eq!(
        reported("by=event,metadata.model", &["calls"]).await,
        ["image.render - 3", "llm.chat - 0", "llm.chat large 3", "llm.chat small 2"],
        "an expiry knows no metadata"
    );
    assert_eq!(reported("by=metadata.quality&event=llm.*&userId=u", &["calls"]).await, ["- 1", "draft 1", "final 2"]);
    assert_eq!(reported("metadata.model=large&userId=v", &["calls", "released"]).await, ["1 1"]);
    assert_eq!(reported("metadata.model=", &["calls"]).await, ["3"]);
    assert_eq!(reported("groupId=spend&by=user", &["calls"]).await, ["u 4", "v 1"]);
    let key = lines(&admin, "by=key").await;
    let keys = world.admin.get("keys").await.expect(200);
    let key_id = key[0]["by"]["key"].as_str().unwrap();
    assert!(keys["data"].as_array().unwrap().iter().any(|key| key["id"] == key_id), "{keys}");
    assert_eq!(reported(&format!("keyId={key_id}"), &["calls"]).await, ["8"]);
    assert_eq!(reported("period=day", &["start", "calls"]).await, ["\"2027-01-31\" 7", "\"2027-02-01\" 1"]);
    assert_eq!(
        reported("period=month", &["start", "end", "calls"]).await,
        ["\"2027-01-03\" \"2027-01-31\" 7", "\"2027-02-01\" \"2027-02-01\" 1"]
    );
    assert_eq!(reported("from=2027-02-01", &["calls"]).await, ["1"]);
    assert_eq!(reported("from=2027-01-31T00:00:00Z&to=2027-02-01T00:00:00Z", &["calls"]).await, ["7"]);
    assert_eq!(reported("from=2026-01-01&to=2026-12-31&by=event", &["calls"]).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ratios_say_what_the_documentation_promises() {
    let (world, admin) = world().await;
    furnish(&world).await;
    let wanted = [
        ("completion_tokens/prompt_tokens", json!(0.159091)),
        ("cached_tokens/prompt_tokens", json!(0.272727)),
        ("calls[metadata.cache=hit]/calls", json!(0.142857)),
        ("calls[metadata.quality=final]/calls", json!(0.285714)),
        ("calls/accepted", json!(3.5)),
        ("cost/accepted", json!(1.45)),
        ("calls/late", Value::Null),
    ];
    let query: String = wanted.iter().map(|(ratio, _)| format!("ratio={ratio}&")).collect();
    let line = lines(&admin, query.trim_end_matches('&')).await.remove(0);
    for (ratio, expected) in wanted {
        assert_eq!(line["ratios"][ratio], expected, "{ratio}: {line}");
    }
    let line = lines(&admin, "by=group&ratio=charged/calls&groupId=spend").await.remove(0);
    assert_eq!(line["ratios"]["charged/calls"], 0.725);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_report_queries_say_why() {
    let (world, admin) = world().await;
    for (query, field, reason) in [
        ("by=metadata.tier", "by", "reportLabels"),
        ("metadata.tier=a", "metadata.tier", "reportLabels"),
        ("by=team", "by", "not `team`"),
        ("by=user,event,key,group,metadata.model", "by", "at most 4"),
        ("ratio=frames/calls", "ratio", "Figures are"),
        ("ratio=calls", "ratio", "must be a ratio"),
        ("from=yesterday", "from", "RFC 3339"),
        ("from=2027-02-01&to=2027-01-01", "to", "before `from`"),
        ("from=1990-01-01", "from", "at most 3660 days"),
        ("period=hour", "period", "`day`, `week`"),
        ("groupId=nothing", "groupId", "no group"),
        ("format=xml", "format", "csv"),
        ("limit=1001", "limit", "between 1 and 1000"),
        ("cursor=zzz", "cursor", "nextCursor"),
        ("by=user&by=event", "by", "only once"),
        ("users=u", "users", "not a parameter"),
        ("userId=", "userId", "1 to 256"),
    ] {
        let problem = admin.get(&format!("reports/usage?{query}")).await.problem(400, "invalid_request");
        let fault = &problem["errors"][0];
        assert_eq!(fault["field"], field, "{query}");
        assert!(fault["message"].as_str().unwrap().contains(reason), "{query}: {fault}");
    }
    // In live mode, days that are too old are not available.
    for (path, field, setting) in [
        ("reports/usage?from=2020-01-01", "from", "QUOTAGATE_ROLLUP_DAYS"),
        ("reports/usage?by=user&from=2026-01-01&to=2026-01-02", "from", "QUOTAGATE_ROLLUP_USER_DAYS"),
        ("reports/unusual?by=user&days=60", "days", "QUOTAGATE_ROLLUP_USER_DAYS"),
        ("reports/unusual?at=2020-01-01", "at", "QUOTAGATE_ROLLUP_DAYS"),
    ] {
        let problem = world.admin.get(path).await.problem(400, "invalid_request");
        assert_eq!(problem["errors"][0]["field"], field, "{path}");
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains(setting), "{problem}");
    }
    world.app.get("reports/usage").await.problem(403, "forbidden_key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_label_is_recorded_from_its_configuration_on() {
    let (world, admin) = world().await;
    world.admin.put("app", json!({"reportLabels": ["tier"]})).await.expect(200);
    assert_eq!(world.admin.get("app").await.expect(200)["reportLabels"], json!(["tier"]));
    world.app.post("track", chat("u", json!({"tier": "gold"}))).await.expect(200);
    let line = lines(&admin, "by=metadata.tier").await.remove(0);
    assert_eq!((&line["by"]["metadata.tier"], &line["calls"]), (&json!("gold"), &json!(1)));
    for bad in [json!(["a", "a"]), json!([""]), json!((0..17).map(|n| n.to_string()).collect::<Vec<_>>())] {
        assert_eq!(world.admin.put("app", json!({"reportLabels": bad})).await.bad_field(), "reportLabels");
    }
    for bad in ["usd", "US", "DOLLAR", ""] {
        assert_eq!(world.admin.put("app", json!({"currency": bad})).await.bad_field(), "currency");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_follow_each_other_and_csv_is_harmless() {
    let (world, admin) = world().await;
    furnish(&world).await;
    world
        .app
        .post("track", json!({"userId": "u", "event": "llm.\"x\", y", "metadata": {"model": "=cmd()"}}))
        .await
        .expect(200);
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = admin.get(&format!("reports/usage?by=event,user,metadata.model&limit=2{cursor}")).await.expect(200);
        seen.extend(page["data"].as_array().unwrap().iter().map(|line| line["by"].to_string()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let whole: Vec<String> =
        lines(&admin, "by=event,user,metadata.model").await.iter().map(|line| line["by"].to_string()).collect();
    assert_eq!(seen, whole);
    let answer = admin.get("reports/usage?by=metadata.model,event&format=csv&ratio=calls/denials").await;
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    let lines: Vec<&str> = answer.text.split("\r\n").collect();
    assert_eq!(
        lines[0],
        "start,end,metadata.model,event,calls,denials,observed,charged.calls,charged.images,charged.spend,draws,released,\
         expiries,late,degraded,refunds,accepted,rejected,retries,quantity,cost,costPerAccepted,retryShare,\
         figures.cached_tokens,figures.completion_tokens,figures.prompt_tokens,calls/denials"
    );
    assert_eq!(lines[1], "2027-01-02,2027-01-31,,image.render,3,1,0,0,3,0,0,0,0,0,0,0,0,0,0,3,0,,0,0,0,0,3");
    assert!(
        lines.iter().any(|line| line.starts_with("2027-01-02,2027-01-31,'=cmd(),\"llm.\"\"x\"\", y\",1,0,0,1,")),
        "{lines:?}"
    );
    let by_group = admin.get("reports/usage?by=group&format=csv&limit=1").await;
    assert_eq!(
        by_group.text,
        "start,end,group,calls,denials,observed,charged,unit\r\n2027-01-02,2027-01-31,calls,5,0,0,5,count\r\n"
    );
    assert!(by_group.header("x-next-cursor").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusual_day_is_reported_with_its_figures() {
    let (world, admin) = world().await;
    let track = |event: &'static str, quantity: u32| async move {
        let items: Vec<Value> = (0..quantity).map(|_| json!({"userId": "u", "event": event})).collect();
        items
    };
    for (day, chats, images) in [("2027-02-01", 10, 10), ("2027-02-02", 12, 10), ("2027-02-03", 40, 15)] {
        world.app.freeze(&format!("{day}T10:00:00Z")).await;
        for body in track("llm.chat", chats).await.into_iter().chain(track("image.x", images).await) {
            world.app.post("track", body).await.expect(200);
        }
    }
    world.app.freeze("2027-02-04T10:00:00Z").await;
    let report = admin.get("reports/unusual?days=7").await.expect(200);
    assert_eq!((&report["day"], &report["from"]), (&json!("2027-02-03"), &json!("2027-01-27")));
    // 22 in 7 days; the deviation of five zeros, 10 and 12.
    assert_eq!(
        report["data"],
        json!([{"by": {"event": "llm.chat"}, "metric": "calls", "value": 40.0, "mean": 3.143, "deviation": 4.998}])
    );
    let by_group = admin.get("reports/unusual?days=7&by=group").await.expect(200);
    let metrics: Vec<&Value> = by_group["data"].as_array().unwrap().iter().map(|line| &line["metric"]).collect();
    assert_eq!(metrics, ["calls", "charged"]);
    assert_eq!(admin.get("reports/unusual?at=2027-02-02").await.expect(200)["data"], json!([]));
    assert_eq!(admin.get("reports/unusual?days=1").await.bad_field(), "days");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forecast_says_when_a_limit_is_reached() {
    let (world, admin) = world().await;
    let group = json!({"id": "month", "unit": "count", "quota": 100, "matches": [{"event": "page"}]});
    world.admin.plan("q", json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [group]})).await;
    world.app.freeze("2027-02-01T00:00:00Z").await;
    world.app.subscribe("w", "q").await;
    for (day, quantity) in [("2027-02-02", 10), ("2027-02-06", 50)] {
        world.app.freeze(&format!("{day}T12:00:00Z")).await;
        world.app.post("track", json!({"userId": "w", "event": "page", "quantity": quantity})).await.expect(200);
    }
    world.app.freeze("2027-02-07T00:00:00Z").await;
    let forecast = admin.get("reports/forecast?userId=w").await.expect(200);
    let counter = &forecast["data"][0];
    // 60 in 6 days since the first, and in 5 days since the user was first seen.
    assert_eq!(counter["byWindow"], json!({"perDay": 10, "projected": 280, "runsOutAt": "2027-02-11T00:00:00Z"}));
    assert_eq!(counter["byDays"], json!({"perDay": 12, "projected": 324, "runsOutAt": "2027-02-10T08:00:00Z"}));
    assert_eq!((&counter["days"], &counter["projected"]), (&json!(5), &json!(324)));
    // Of 10, 0, 0, 0 and 50 a day.
    assert_eq!(counter["range"]["slow"], json!({"perDay": 0, "projected": 60, "runsOutAt": null}));
    assert_eq!(counter["range"]["fast"], json!({"perDay": 50, "projected": 1160, "runsOutAt": "2027-02-07T19:12:00Z"}));
    assert_eq!(
        (&counter["runsOutAt"], &counter["used"], &counter["limit"]),
        (&json!("2027-02-10T08:00:00Z"), &json!(60), &json!(100))
    );
    // Two minutes of a subscription say nothing about its month.
    let anchored = json!({"periodType": "monthly", "periodAnchor": "subscription_start", "groups": [
        {"id": "young", "unit": "count", "quota": 100, "matches": [{"event": "page"}]}]});
    world.admin.plan("anchored", anchored).await;
    world.app.subscribe("new", "anchored").await;
    world.app.post("track", json!({"userId": "new", "event": "page", "quantity": 6})).await.expect(200);
    world.app.freeze("2027-02-07T00:02:00Z").await;
    let young = admin.get("reports/forecast?userId=new").await.expect(200)["data"][0].clone();
    assert_eq!((&young["projected"], &young["runsOutAt"]), (&Value::Null, &Value::Null));
    assert_eq!((&young["range"], &young["byWindow"]), (&Value::Null, &Value::Null));
    assert_eq!(young["forecastFrom"], "2027-02-09T19:12:00Z");
    let unknown = admin.get("reports/forecast?userId=nobody").await.expect(200);
    assert_eq!(unknown["data"], json!([]));
    assert!(START < "2027-02-01");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_with_the_most_come_first_whatever_their_names() {
    let (world, admin) = world().await;
    for (user, calls) in [("a", 1), ("m", 3), ("u", 2), ("v", 4)] {
        world.app.subscribe(user, "p").await;
        for _ in 0..calls {
            world
                .app
                .post("track", chat(user, json!({"model": "large", "prompt_tokens": 10 - calls})))
                .await
                .expect(200);
        }
    }
    let users = async |query: &str| {
        let lines = lines(&admin, query).await;
        lines.iter().map(|line| line["by"]["user"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(users("by=user").await, ["a", "m", "u", "v"]);
    assert_eq!(users("by=user&top=calls&limit=2").await, ["v", "m"]);
    for _ in 0..4 {
        world.app.reserve(json!({"userId": "a", "event": "image.render", "quantity": 9})).await;
    }
    assert_eq!(users("by=user&top=denials&limit=1").await, ["a"]);
    assert_eq!(admin.get("reports/usage?by=user&top=calls&limit=2").await.expect(200)["nextCursor"], Value::Null);
    assert_eq!(admin.get("reports/usage?top=x").await.bad_field(), "top");
    let cursor =
        admin.get("reports/usage?by=user&limit=1").await.expect(200)["nextCursor"].as_str().unwrap().to_owned();
    assert_eq!(admin.get(&format!("reports/usage?by=user&top=calls&cursor={cursor}")).await.bad_field(), "cursor");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_a_policy_counts_are_returned_with_their_unit() {
    let (world, admin) = world().await;
    let retries = json!({"periodType": "daily", "retry": {"maxAttempts": 3}, "groups": [
        {"id": "every_call", "unit": "count", "measure": "event", "quota": null, "scope": ["app"], "matches": [{"event": "llm.*"}]}]});
    world.admin.put("policies/retries", retries).await.expect(200);
    let id = world.app.reserved(chat("u", json!({"model": "large", "action": "a"}))).await;
    world.app.commit(&id).await;
    let lines = lines(&admin, "by=group").await;
    let line = lines.iter().find(|line| line["by"]["group"] == "attempts_retries").unwrap();
    assert_eq!(line["charged"], json!([{"groupId": "attempts_retries", "unit": "count", "amount": 1}]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits_are_reported_by_day_as_added_used_lapsed_and_voided() {
    let world = buyer(0).await;
    let admin = world.admin.with("x-mode", "test");
    add(&world.app, 10, json!({"expiresAt": "2027-02-02T00:00:00Z"})).await;
    let whole = add(&world.app, 5, json!({})).await;
    let id = world.app.reserved(image(3)).await;
    world.app.commit(&id).await;
    let metadata = json!({"reservationId": id});
    let refund = json!({"userId": "u", "event": "image.render.refund", "quantity": 1, "metadata": metadata});
    world.app.post("track", refund).await.expect(200);
    world.app.freeze("2027-02-01T09:00:00Z").await;
    let path = format!("credits/{}/void", whole["id"].as_str().unwrap());
    world.app.post(&path, json!({"amount": 2})).await.expect(200);
    // What the first one has left expires the day after, and a later call finds that.
    world.app.freeze("2027-02-03T09:00:00Z").await;
    world.app.commit(&world.app.reserved(image(1)).await).await;
    assert_eq!(balance(&world.app).await, [2, 0, 3]);

    let figures = |line: &Value| {
        let charged = &line["charged"][0];
        assert_eq!(charged["groupId"], "credits", "{line}");
        ["amount", "credited", "lapsed", "voided"].map(|name| charged[name].as_i64().unwrap_or(0))
    };
    let by_day = async || -> Vec<(String, i64, [i64; 4])> {
        let days = lines(&admin, "by=group&groupId=credits&period=day").await;
        let day =
            |line: &Value| (line["start"].as_str().unwrap().to_owned(), line["calls"].as_i64().unwrap(), figures(line));
        days.iter().map(day).collect()
    };
    let expected = [
        ("2027-01-31", 1, [2, 15, 0, 0]),
        ("2027-02-01", 0, [0, 0, 0, 2]),
        ("2027-02-02", 0, [0, 0, 8, 0]),
        ("2027-02-03", 1, [1, 0, 0, 0]),
    ]
    .map(|(day, calls, figures): (&str, i64, [i64; 4])| (day.to_owned(), calls, figures));
    assert_eq!(by_day().await, expected);
    let of_user = lines(&admin, "by=user&groupId=credits").await;
    assert_eq!(
        (&of_user[0]["by"]["user"], figures(&of_user[0])),
        (&json!("u"), [3, 15, 8, 2]),
        "15 = 2 left + 3 + 8 + 2"
    );
    assert_eq!(of_user[0]["charged"][0].get("lapsed"), Some(&json!(8)));
    let total = &lines(&admin, "").await[0];
    assert_eq!((&total["calls"], &total["refunds"], &total["quantity"]), (&json!(2), &json!(1), &json!(3)), "{total}");

    let csv = admin.get("reports/usage?by=group&groupId=credits&period=day&format=csv").await.text;
    let rows: Vec<&str> = csv.lines().take(2).collect();
    let header = "start,end,group,calls,denials,observed,charged,unit,credited,lapsed,voided";
    assert_eq!(rows, [header, "2027-01-31,2027-01-31,credits,1,0,0,2,count,15,0,0"]);
    let csv = admin.get("reports/usage?format=csv").await.text;
    let columns = ",charged.credits,charged.images,credited.credits,lapsed.credits,voided.credits,draws,";
    assert!(csv.lines().next().unwrap().contains(columns), "{csv}");

    let gateway = proven::gateway(&world.redis.url());
    gateway.rebuild(&proven::tenant(&gateway, "test/main").await).await.unwrap();
    assert_eq!(by_day().await, expected, "rebuilt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forecast_begins_with_the_first_call_and_not_with_a_purchase() {
    let world = buyer(100).await;
    let admin = world.admin.with("x-mode", "test");
    add(&world.app, 10, json!({})).await;
    world.app.freeze("2027-02-05T12:00:00Z").await;
    world.app.post("track", image(10)).await.expect(200);
    world.app.freeze("2027-02-06T12:00:00Z").await;
    let forecast = admin.get("reports/forecast?userId=u").await.expect(200);
    assert_eq!(forecast["data"][0]["days"], 1, "{forecast}");
}

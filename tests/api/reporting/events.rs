//! `GET events` and its stream: everything that happened, once, in one order.

use std::time::Duration;

use quotagate::domain::time::window::parse_rfc3339;
use quotagate::http::middleware::limits::Limits;
use serde_json::{Value, json};

use crate::support::{Api, Running, World, monthly, new_key};

fn list(answer: &Value) -> &Vec<Value> {
    answer["data"].as_array().unwrap()
}

/// All pages of a query.
async fn pages(api: &Api, query: &str, limit: usize) -> Vec<Value> {
    let (mut events, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("events?limit={limit}{query}{cursor}")).await.expect(200);
        assert!(list(&page).len() <= limit);
        events.extend(list(&page).clone());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return events,
        }
    }
}

fn types(events: &[Value]) -> String {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

/// A sandbox with one event of every kind.
async fn eventful() -> World {
    let world = World::frozen().await;
    let app = &world.app;
    let plan = json!({"groups": [
        {"id": "images", "unit": "count", "quota": 10, "periodType": "daily", "matches": [{"event": "image.*"}]},
        {"id": "spend", "unit": "cents", "quota": 5, "periodType": "daily", "matches": [{"event": "llm.*"}],
            "measure": {"per": {"tokens": "0.25"}}},
        {"id": "requests", "unit": "count", "quota": null, "periodType": "daily", "measure": "event", "matches": [{"event": "llm.*"}]}]});
    world.admin.plan("p", plan).await;
    app.subscribe("u", "p").await;
    app.subscribe("v", "p").await;
    let llm =
        |tokens: u64| json!({"userId": "u", "event": "llm.chat", "metadata": {"tokens": tokens, "model": "large"}});
    let id = app.reserved(llm(10)).await;
    let actual = json!({"reservationId": id, "metadata": {"tokens": 3}, "outcome": "accepted"});
    app.post("commit", actual).await.expect(200);
    let refund = json!({"userId": "u", "event": "llm.chat.refund", "metadata": {"reservationId": id, "tokens": 1}});
    app.post("track", refund).await.expect(200);
    let id = app.reserved(json!({"userId": "v", "event": "image.a", "quantity": 2})).await;
    app.post("commit", json!({"reservationId": id, "quantity": 1, "final": false})).await.expect(200);
    app.post("release", json!({"reservationId": id, "reason": "provider_error", "errorCode": "E500"}))
        .await
        .expect(200);
    assert_eq!(app.reserve(llm(1000)).await["allowed"], false);
    app.post("track", json!({"userId": "v", "event": "image.b"})).await.expect(200);
    let late = app.reserved(json!({"userId": "v", "event": "image.c"})).await;
    app.freeze("2027-01-31T10:05:00Z").await;
    app.get("usage?userId=v").await.expect(200);
    app.commit(&late).await;
    world.admin.with("x-mode", "test").post("users/v/reset", json!({})).await.expect(200);
    world.redis.next_millisecond().await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_filter_finds_what_it_names() {
    let world = eventful().await;
    let app = &world.app;
    let all = pages(app, "", 200).await;
    assert_eq!(types(&all), "reset commit expire track denial release draw refund commit");
    let id = all[8]["reservationId"].as_str().unwrap();
    let key = all[8]["keyId"].as_str().unwrap();
    for (query, expected) in [
        ("order=asc", "commit refund draw release denial track expire commit reset"),
        ("type=commit,draw", "commit draw commit"),
        ("type=commit&type=denial", "commit denial commit"),
        ("type=denial", "denial"),
        ("userId=u", "denial refund commit"),
        ("userId=nobody", ""),
        ("event=image.*", "commit expire track release draw"),
        ("event=image.b", "track"),
        ("groupId=spend", "denial refund commit"),
        ("groupId=images&type=expire", "expire"),
        (&format!("reservationId={id}"), "refund commit"),
        (&format!("keyId={key}"), "commit expire track denial release draw refund commit"),
        ("keyId=key_0", ""),
        ("outcome=accepted", "commit"),
        ("outcome=rejected", ""),
        ("late=true", "commit"),
        ("late=true&late=false&userId=u", "denial refund commit"),
        ("reason=limit_reached", "denial"),
        ("reason=provider_error", "release"),
        ("metadata.model=large&type=denial", "denial"),
        ("metadata.model=large&metadata.tokens=3", "commit"),
        ("metadata.model=small", ""),
        ("to=2020-01-01T00:00:00Z", ""),
        ("to=1960-01-01T00:00:00Z", ""),
        ("from=1960-01-01T00:00:00Z&type=reset", "reset"),
        ("from=2020-01-01T00:00:00Z&type=reset", "reset"),
        ("from=2200-01-01T00:00:00Z", ""),
        ("order=asc&from=2200-01-01T00:00:00Z", ""),
    ] {
        let found = app.get(&format!("events?{query}")).await.expect(200);
        assert_eq!(types(list(&found)), expected, "{query}");
        assert_eq!(found["nextCursor"], Value::Null, "{query}");
    }
    // A time range that contains one entry only.
    let at = all[4]["recordedAt"].as_str().unwrap();
    let found = app.get(&format!("events?from={at}")).await.expect(200);
    assert!(types(list(&found)).ends_with("denial") || types(list(&found)).contains("denial"), "{found}");
    let found = app.get(&format!("events?type=denial&to={at}")).await.expect(200);
    assert_eq!(list(&found).len(), 0, "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_contains_user_event_time_and_each_charge_exactly() {
    let world = eventful().await;
    let all = pages(&world.app, "&order=asc", 200).await;
    let [commit, refund, draw, release, denial, track, expire, late, reset] = all.as_slice() else { panic!("{all:?}") };
    let id = commit["id"].as_str().unwrap();
    assert!(id.starts_with("led_00_") && denial["id"].as_str().unwrap().starts_with("den_00_"), "{id}");
    let [spend, requests] = commit["charges"].as_array().unwrap().as_slice() else { panic!("{commit}") };
    let charge = |group: &str, unit: &str, amount: &str, balance: &str| {
        let json = format!(
            r#"{{"groupId":"{group}","scope":{{"user":"u"}},"unit":"{unit}","amount":{amount},"balance":{balance},"window":"1"}}"#
        );
        serde_json::from_str::<Value>(&json).unwrap()
    };
    assert_eq!(*spend, charge("spend", "cents", "0.75", "0.75"));
    assert_eq!(*requests, charge("requests", "count", "1", "1"));
    assert_eq!(refund["charges"][0], charge("spend", "cents", "-0.25", "0.5"));
    assert_eq!(
        (&commit["userId"], &commit["event"], &commit["quantity"]),
        (&json!("u"), &json!("llm.chat"), &json!(1))
    );
    assert_eq!(commit["metadata"], json!({"model": "large", "tokens": "3"}), "as reported in the end");
    assert_eq!((&commit["planId"], commit["planVersion"].is_u64()), (&json!("p"), true));
    assert_eq!((&commit["outcome"], &commit["late"]), (&json!("accepted"), &json!(false)));
    assert_eq!(
        (&commit["timestamp"], &commit["createdAt"]),
        (&json!("2027-01-31T10:00:00Z"), &json!("2027-01-31T10:00:00Z"))
    );
    assert!(commit["recordedAt"].as_str().unwrap() > "2026" && commit["recordedAt"] != commit["timestamp"]);
    assert_eq!(refund["reservationId"], commit["reservationId"]);
    assert_eq!((&draw["charges"][0]["amount"], &release["charges"]), (&json!(1), &json!([])));
    assert_eq!((&release["reason"], &release["errorCode"]), (&json!("provider_error"), &json!("E500")));
    assert_eq!(
        (&denial["call"], &denial["reason"], &denial["charges"]),
        (&json!("reserve"), &json!("limit_reached"), &json!([]))
    );
    let lack: Value = serde_json::from_str(
        r#"{"groupId":"spend","scope":{"user":"u"},"unit":"cents","requested":250,"count":0.5,"limit":5}"#,
    )
    .unwrap();
    assert_eq!(denial["denied"], json!([lack]));
    assert!(track["eventId"].as_str().unwrap().starts_with("evt_") && track.get("reservationId").is_none());
    assert_eq!(expire["held"], json!([{"groupId": "images", "unit": "count", "amount": 1, "window": "1"}]));
    assert_eq!(
        (&expire["timestamp"], &expire["reservationId"]),
        (&json!("2027-01-31T10:01:00Z"), &late["reservationId"])
    );
    assert_eq!((&late["late"], &late["charges"][0]["balance"]), (&json!(true), &json!(3)));
    assert_eq!((&reset["userId"], &reset["charges"][0]["window"]), (&json!("v"), &json!("2")));
    // The ID that track returned is the event's ID.
    let tracked = world.app.post("track", json!({"userId": "u", "event": "image.z"})).await.expect(200);
    let found = world.app.get("events?event=image.z").await.expect(200);
    assert_eq!(found["data"][0]["eventId"], tracked["eventId"]);
    // Several events in one call.
    let items = json!([{"event": "image.x", "quantity": 2}, {"event": "image.y", "metadata": {"n": 1}}]);
    let id = world.app.reserved(json!({"userId": "u", "items": items})).await;
    world.app.commit(&id).await;
    let found = world.app.get("events?event=image.y").await.expect(200);
    assert_eq!(
        found["data"][0]["items"],
        json!([{"event": "image.x", "quantity": 2, "metadata": {}}, {"event": "image.y", "quantity": 1, "metadata": {"n": "1"}}])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_over_all_buckets_meet_without_gap_or_double_in_both_orders() {
    let world = World::new().await;
    world.admin.post("apps", json!({"id": "spread", "placement": "user"})).await.expect(201);
    let admin = world.admin.with("x-app", "spread");
    admin.plan("p", monthly(2)).await;
    let app = world.node.client(&new_key(&admin, json!({"kind": "secret", "mode": "test"})).await);
    let mut ids = Vec::new();
    for number in 0..12 {
        let user = format!("u_{number}");
        app.subscribe(&user, "p").await;
        let call = json!({"userId": user, "event": "image.a", "quantity": 2});
        let tracked = app.post("track", call.clone()).await.expect(200);
        ids.push(tracked["eventId"].as_str().unwrap().to_owned());
        assert_eq!(app.reserve(call).await["allowed"], false);
    }
    world.redis.next_millisecond().await;
    let newest = pages(&app, "", 5).await;
    let mut oldest = pages(&app, "&order=asc", 7).await;
    oldest.reverse();
    assert_eq!(newest, oldest);
    assert_eq!(newest.len(), 24);
    // Compared as text, a whole second would sort after its thousandths.
    let time = |event: &Value| parse_rfc3339(event["recordedAt"].as_str().unwrap()).unwrap();
    let times: Vec<_> = newest.iter().map(time).collect();
    assert!(times.iter().rev().is_sorted(), "{times:?}");
    let found: Vec<&str> = newest.iter().rev().filter_map(|event| event["eventId"].as_str()).collect();
    assert_eq!(found, ids);
    assert_eq!(pages(&app, "&userId=u_3", 1).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_looks_at_so_many_entries_only_and_its_cursor_survives_trimming() {
    let world = World::new().await;
    let script = "for i = 1, 15000 do redis.call('XADD', KEYS[1], '*', 'type', 'track', 'at', i, 'late', '0', 'op', '-', \
        'about', 'image.a - u', 'charges', '-', 'memo', '', 'told', '') end";
    let ledger = "qg:{default:test/main}:ledger";
    world.redis.run::<()>(&["EVAL", script, "1", ledger]).await;
    world.redis.next_millisecond().await;
    for order in ["asc", "desc"] {
        let first = world.app.get(&format!("events?event=nothing&order={order}")).await.expect(200);
        assert_eq!(list(&first).len(), 0);
        let next = first["nextCursor"].as_str().unwrap();
        let last = world.app.get(&format!("events?event=nothing&order={order}&cursor={next}")).await.expect(200);
        assert_eq!((list(&last).len(), &last["nextCursor"]), (0, &Value::Null));
    }
    let page = world.app.get("events?order=asc&limit=1").await.expect(200);
    let next = page["nextCursor"].as_str().unwrap();
    world.redis.run::<()>(&["XTRIM", ledger, "MAXLEN", "=", "10"]).await;
    let rest = world.app.get(&format!("events?order=asc&cursor={next}")).await.expect(200);
    assert_eq!(list(&rest).len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_parameter_is_refused_by_name() {
    let world = World::new().await;
    for (query, field) in [
        ("type=sale", "type"),
        ("type=", "type"),
        ("userId=", "userId"),
        ("event=", "event"),
        ("keyId=a%20b", "keyId"),
        ("groupId=a.b", "groupId"),
        ("reservationId=rsv_1", "reservationId"),
        ("outcome=good", "outcome"),
        ("late=1", "late"),
        ("from=now", "from"),
        ("to=2027", "to"),
        ("order=up", "order"),
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("cursor=x", "cursor"),
        ("nonsense=1", "nonsense"),
    ] {
        assert_eq!(world.app.get(&format!("events?{query}")).await.bad_field(), field, "{query}");
    }
    for cursor in ["led_00_0-0", "den_ff_18446744073709551615-18446744073709551615"] {
        for order in ["asc", "desc"] {
            let found = world.app.get(&format!("events?cursor={cursor}&order={order}")).await.expect(200);
            assert_eq!(list(&found).len(), 0);
        }
    }
    assert_eq!(world.app.get("events/stream?order=asc").await.bad_field(), "order");
    assert_eq!(world.app.with("last-event-id", "7").get("events/stream").await.bad_field(), "Last-Event-ID");
}

/// The blocks of a stream: id and data.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(world: &World, query: &str, last: Option<&str>) -> Self {
        let url = format!("{}/api/v1/events/stream?{query}", world.node.url);
        let mut request = crate::support::http().build().unwrap().get(url).bearer_auth(&world.app.key);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut stream = Self { response, text: String::new() };
        let (_, data) = stream.block().await;
        assert_eq!(data, Value::Null, "it begins with where it stands");
        stream
    }

    async fn block(&mut self) -> (String, Value) {
        while !self.text.contains("\n\n") {
            let chunk = self.response.chunk().await.unwrap().unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        let (block, rest) = self.text.split_once("\n\n").unwrap();
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("null").to_owned();
        let found = (field("id: "), serde_json::from_str(&field("data: ")).unwrap());
        self.text = rest.to_owned();
        found
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_sends_each_event_once_and_resumes_exactly() {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(5)).await;
    world.app.subscribe("u", "p").await;
    let track = async |quantity: u64| {
        let call = json!({"userId": "u", "event": "image.a", "quantity": quantity});
        world.app.post("track", call).await.expect(200);
    };
    track(1).await;
    let mut all = Stream::open(&world, "", None).await;
    let mut denials = Stream::open(&world, "type=denial", None).await;
    for quantity in 2..=4 {
        track(quantity).await;
    }
    assert_eq!(world.app.reserve(json!({"userId": "u", "event": "image.a"})).await["allowed"], false);
    let mut reported = Vec::new();
    for _ in 0..4 {
        reported.push(all.block().await);
    }
    let quantities: Vec<Value> = reported.iter().map(|(_, event)| event["quantity"].clone()).collect();
    assert_eq!(quantities, [json!(2), json!(3), json!(4), json!(1)], "earlier events are not sent");
    assert_eq!(reported[3].1["type"], "denial");
    assert_eq!(denials.block().await, reported[3]);
    let listed = pages(&world.app, "&order=asc", 50).await;
    let events_of: Vec<Value> = reported.iter().map(|(_, event)| event.clone()).collect();
    assert_eq!(listed[1..], events_of);
    for (id, event) in &reported {
        assert_eq!(id, event["id"].as_str().unwrap());
    }
    drop(all);
    track(5).await;
    let mut resumed = Stream::open(&world, "", Some(&reported[1].0)).await;
    for expected in [json!(4), json!(1), json!(5)] {
        assert_eq!(resumed.block().await.1["quantity"], expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_has_so_many_streams_and_no_more() {
    let mut world = World::new().await;
    // A node only notices that a stream has no reader when it sends the next line.
    let limits = Limits { silence: Duration::from_secs(1), ..Limits::default() };
    world.node = Running::with_limits(&world.redis.url(), limits).await;
    world.app = world.node.client(&world.app.key);
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(Stream::open(&world, "", None).await);
    }
    let refused = world.app.get("events/stream").await;
    assert_eq!(refused.header("retry-after"), Some("5"));
    refused.problem(429, "too_many_streams");
    open.clear();
    crate::support::eventually("a stream is free again", || async {
        world.app.open("events/stream").await.status() == 200
    })
    .await;
}

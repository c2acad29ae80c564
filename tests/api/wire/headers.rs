//! Rate-limit headers and request IDs; reading and following usage.

use serde_json::{Value, json};

use crate::accounts::credits::{add, image, with_credits};
use crate::support::{Answer, Api, World, in_time, monthly};

/// RateLimit-Policy, RateLimit, X-RateLimit-Limit, -Remaining, -Reset, Retry-After.
fn limits(answer: &Answer) -> [Option<&str>; 6] {
    ["ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after"]
        .map(|name| answer.header(name))
}

/// Four groups for every `image.*`: monthly, per minute, concurrent, and without a quota.
async fn stacked(world: &World) {
    let group = |id: &str, quota: Value, period: &str| json!({"id": id, "unit": "count", "quota": quota, "periodType": period, "matches": [{"event": "image.*"}]});
    world
        .admin
        .plan(
            "p",
            json!({"periodAnchor": "calendar", "groups": [
                group("month", json!(20), "monthly"), group("minute", json!(3), "minute"),
                group("flight", json!(2), "concurrent"), group("free", json!(null), "monthly"),
                {"id": "tokens", "unit": "tokens", "quota": 1000, "periodType": "daily", "measure": "quantity", "matches": [{"event": "llm.*"}]},
                {"id": "time", "unit": "seconds", "quota": "2.5", "periodType": "lifetime", "matches": [{"event": "audio"}]},
            ]}),
        )
        .await;
    world.app.subscribe("u", "p").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_with_several_counters_is_named_once_with_the_tightest() {
    let world = World::frozen().await;
    let group = json!({"id": "per_team", "unit": "count", "quota": 9, "scope": ["user", "metadata.team"],
        "matches": [{"event": "image.*"}]});
    world.admin.plan("p", json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [group]})).await;
    world.app.subscribe("u", "p").await;
    let item =
        |team: &str, quantity: u64| json!({"event": "image.a", "quantity": quantity, "metadata": {"team": team}});
    for (quantity, allowed, left) in [(5, true, 4), (5, false, 4)] {
        let body = json!({"userId": "u", "items": [item("red", 1), item("blue", quantity)]});
        let answer = world.app.post("reserve", body).await;
        assert_eq!(answer.header("ratelimit-policy"), Some("\"per_team\";q=9;w=2678400"));
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(left.to_string().as_str()));
        let answer = answer.expect(200);
        assert_eq!((&answer["allowed"], &answer["matchedGroupIds"]), (&json!(allowed), &json!(["per_team"])));
        assert_eq!(answer["counters"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_limit_headers_list_the_matched_groups_tightest_first() {
    let world = World::frozen().await;
    stacked(&world).await;
    // Midnight after 31 January 2027, 10:00.
    let (midnight, next_minute) = ("1801440000", "1801389660");
    let call = |event: &str, quantity: &str| json!({"userId": "u", "event": event, "quantity": quantity});
    let policy = Some("\"flight\";q=2, \"minute\";q=3;w=60, \"month\";q=20;w=2678400");
    let refused = Some("\"minute\";q=3;w=60, \"flight\";q=2, \"month\";q=20;w=2678400");
    let app = &world.app;
    for (step, path, body, expected) in [
        (
            "a hold",
            "reserve",
            call("image.a", "1"),
            [
                policy,
                Some("\"flight\";r=1, \"minute\";r=2;t=60, \"month\";r=19;t=50400"),
                Some("2"),
                Some("1"),
                None,
                None,
            ],
        ),
        (
            "asking changes nothing",
            "can-use",
            call("image.a", "1"),
            [
                policy,
                Some("\"flight\";r=1, \"minute\";r=2;t=60, \"month\";r=19;t=50400"),
                Some("2"),
                Some("1"),
                None,
                None,
            ],
        ),
        (
            "track does not care what is in flight",
            "track",
            call("image.a", "1"),
            [
                Some("\"minute\";q=3;w=60, \"month\";q=20;w=2678400"),
                Some("\"minute\";r=1;t=60, \"month\";r=18;t=50400"),
                Some("3"),
                Some("1"),
                Some(next_minute),
                None,
            ],
        ),
        (
            "the last room",
            "reserve",
            call("image.a", "1"),
            [
                refused,
                Some("\"minute\";r=0;t=60, \"flight\";r=0, \"month\";r=17;t=50400"),
                Some("3"),
                Some("0"),
                Some(next_minute),
                None,
            ],
        ),
        (
            "a denial",
            "reserve",
            call("image.a", "1"),
            [
                refused,
                Some("\"minute\";r=0;t=60, \"flight\";r=0, \"month\";r=17;t=50400"),
                Some("3"),
                Some("0"),
                Some(next_minute),
                Some("60"),
            ],
        ),
        (
            "a call that never fits",
            "reserve",
            call("llm.chat", "1001"),
            [
                Some("\"tokens\";q=1000;w=86400"),
                Some("\"tokens\";r=1000;t=50400"),
                Some("1000"),
                Some("1000"),
                Some(midnight),
                None,
            ],
        ),
        (
            "asking for too much",
            "can-use",
            call("llm.chat", "1000"),
            [
                Some("\"tokens\";q=1000;w=86400"),
                Some("\"tokens\";r=1000;t=50400"),
                Some("1000"),
                Some("1000"),
                Some(midnight),
                None,
            ],
        ),
        (
            "whole units, rounded down",
            "reserve",
            call("audio", "1.2"),
            [Some("\"time\";q=2"), Some("\"time\";r=1"), Some("2"), Some("1"), None, None],
        ),
        ("no group, no headers", "can-use", call("typo", "1"), [None; 6]),
    ] {
        let answer = app.post(path, body).await;
        assert_eq!(limits(&answer), expected, "{step}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_limit_headers_include_what_remains_of_a_balance() {
    let world = World::frozen().await;
    let mut plan = with_credits(3);
    plan["groups"].as_array_mut().unwrap().push(
        json!({"id": "minute", "unit": "count", "quota": 20, "periodType": "minute", "matches": [{"event": "image.*"}]}),
    );
    world.admin.plan("p", plan).await;
    world.app.subscribe("u", "p").await;
    add(&world.app, 9, json!({})).await;
    let headers = |answer: &Answer| {
        let rest = |part: &str| part.split(";t=").next().unwrap().to_owned();
        let [_, state, limit, remaining, ..] = limits(answer).map(|header| header.unwrap_or_default().to_owned());
        (state.split(", ").map(rest).collect::<Vec<_>>().join(" "), limit, remaining)
    };
    let expected =
        |state: &str, limit: &str, remaining: &str| (state.to_owned(), limit.to_owned(), remaining.to_owned());
    for (path, quantity, expected) in [
        ("reserve", 2, expected(r#""images";r=1 "minute";r=18"#, "3", "1")),
        // The balance was not read, and 0 would be wrong.
        ("reserve", 1, expected(r#""minute";r=17"#, "20", "17")),
        ("reserve", 4, expected(r#""minute";r=13 "images";r=5"#, "20", "13")),
        ("track", 3, expected(r#""minute";r=10 "images";r=2"#, "20", "10")),
        ("reserve", 3, expected(r#""images";r=2 "minute";r=10"#, "3", "2")),
        ("can-use", 2, expected(r#""minute";r=10 "images";r=2"#, "20", "10")),
        ("reserve", 2, expected(r#""images";r=0 "minute";r=8"#, "3", "0")),
    ] {
        let answer = world.app.post(path, image(quantity)).await;
        assert_eq!(headers(&answer), expected, "{path} {quantity}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn can_use_returns_when_to_retry_like_reserve() {
    let world = World::frozen().await;
    stacked(&world).await;
    let app = &world.app;
    for _ in 0..2 {
        app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    }
    for quantity in [1, 2] {
        let body = json!({"userId": "u", "event": "image.a", "quantity": quantity});
        let reserved = app.post("reserve", body.clone()).await;
        let asked = app.post("can-use", body).await;
        assert_eq!(limits(&asked), limits(&reserved), "{quantity}");
        assert_eq!(limits(&asked)[5], Some("60"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_carries_a_request_id_the_clients_own_if_it_is_plain() {
    let world = World::new().await;
    let long = "x".repeat(64);
    for (method, path, status) in [
        ("GET", "plans", 200),
        ("GET", "nothing", 404),
        ("PATCH", "plans", 405),
        ("POST", "reserve", 400),
        ("GET", "/healthz", 200),
    ] {
        for (given, echoed) in [
            ("abc-1_2.3", true),
            (long.as_str(), true),
            ("has space", false),
            ("<script>", false),
            ("", false),
            (&"x".repeat(65), false),
        ] {
            let answer = world.app.with("x-request-id", given).send(method, path, None).await;
            let id = answer.header("x-request-id").unwrap().to_owned();
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(id == given, echoed, "{given}");
            assert!(echoed || id.starts_with("req_"), "{id}");
            if status >= 400 {
                assert_eq!(answer.json["requestId"], id, "{path}");
            }
        }
        let [one, other] = [world.app.send(method, path, None).await, world.app.send(method, path, None).await];
        assert_ne!(one.header("x-request-id").unwrap(), other.header("x-request-id").unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_without_a_subscription_is_empty_not_an_error() {
    let world = World::frozen().await;
    world.admin.plan("one", monthly(20)).await;
    let empty = |user: &str| json!({"userId": user, "planId": null, "period": null, "counters": []});
    assert_eq!(world.app.get("usage?userId=stranger").await.expect(200), empty("stranger"));
    world.app.subscribe("u", "one").await;
    let usage = world.app.get("usage?userId=u").await.expect(200);
    assert_eq!(usage["planId"], "one");
    assert_eq!(usage["period"], json!({"start": "2027-01-31T10:00:00Z", "end": "2027-02-28T10:00:00Z"}));
    assert_eq!(
        usage["counters"][0],
        json!({"groupId": "images", "label": "images", "unit": "count", "quota": 20, "granted": 0, "count": 0, "used": 0,
            "held": 0, "blocked": 0, "remaining": 20, "overage": 0, "percentUsed": 0, "resetsAt": "2027-02-28T10:00:00Z",
            "period": {"start": "2027-01-31T10:00:00Z", "end": "2027-02-28T10:00:00Z"}, "scope": {"user": "u"}})
    );
    world.app.delete("subscriptions", Some(json!({"userId": "u"}))).await.expect(200);
    assert_eq!(world.app.get("usage?userId=u").await.expect(200), empty("u"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_shows_only_the_groups_that_can_count_an_event() {
    let world = World::frozen().await;
    stacked(&world).await;
    let images = ["month", "minute", "flight", "free"].as_slice();
    for (event, expected) in [
        ("image.a", images),
        ("image.*", images),
        ("im*", images),
        ("*.a", &["month", "minute", "flight", "free", "tokens"]),
        ("*", &["month", "minute", "flight", "free", "tokens", "time"]),
        ("llm.chat", &["tokens"]),
        ("audio", &["time"]),
        ("audio.x", &[]),
        ("Image.a", &[]),
    ] {
        let usage = world.app.get(&format!("usage?userId=u&event={event}")).await.expect(200);
        let groups: Vec<&str> =
            usage["counters"].as_array().unwrap().iter().map(|counter| counter["groupId"].as_str().unwrap()).collect();
        assert_eq!(groups, expected, "{event}");
    }
}

/// The next event of a stream without comments.
async fn next_event(stream: &mut reqwest::Response) -> Value {
    let text = in_time("the stream sends an event", async {
        loop {
            let chunk = stream.chunk().await.unwrap().expect("the stream goes on");
            let text = String::from_utf8(chunk.to_vec()).unwrap();
            if !text.starts_with(':') {
                return text;
            }
        }
    })
    .await;
    let data = text.strip_prefix("event: usage\ndata: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap();
    serde_json::from_str(data).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_usage_stream_sends_the_current_state_and_then_every_change() {
    let world = World::frozen().await;
    world.admin.plan("one", monthly(20)).await;
    world.app.subscribe("u", "one").await;
    // A key that was just created, on a node that does not know it yet.
    let (_second, _) = world.another_node().await;
    let fresh = crate::support::new_key(&world.admin, json!({"kind": "publishable", "mode": "test"})).await;
    let reader: Api = _second.client(&fresh);
    let mut stream = reader.open("usage/stream?userId=u").await;
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let first = next_event(&mut stream).await;
    assert_eq!(first, world.app.get("usage?userId=u").await.expect(200));
    let id = world.app.reserved(json!({"userId": "u", "event": "image.a", "quantity": 3})).await;
    assert_eq!(next_event(&mut stream).await["counters"][0]["held"], 3);
    world.app.commit(&id).await;
    assert_eq!(next_event(&mut stream).await["counters"][0]["used"], 3);
    world.app.reserved(json!({"userId": "u", "event": "image.a", "ttlSeconds": 60})).await;
    assert_eq!(next_event(&mut stream).await["counters"][0]["held"], 1);
    world.app.freeze("2027-01-31T10:01:01Z").await;
    assert_eq!(next_event(&mut stream).await["counters"][0]["held"], 0, "an expiry is a change too");
    reader.get("usage/stream").await.problem(400, "invalid_request");
    // A revoked key ends the stream.
    let keys = world.admin.get("keys").await.expect(200);
    let mine = keys["data"].as_array().unwrap().iter().find(|key| key["kind"] == "publishable").unwrap();
    world.admin.delete(&format!("keys/{}", mine["id"].as_str().unwrap()), None).await.expect(204);
    in_time("the stream ends", async { while stream.chunk().await.unwrap().is_some() {} }).await;
}

//! Invalid input gets a 4xx that names the field, and writes nothing.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::support::{Api, World, monthly};

/// A frozen sandbox with a user on a plan with a count, a tokens and a priced group, and a reservation.
pub async fn prepared() -> (World, String) {
    let world = World::frozen().await;
    world
        .admin
        .plan(
            "one",
            json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
                {"id": "images", "unit": "count", "quota": 20, "matches": [{"event": "image.*"}]},
                {"id": "tokens", "unit": "tokens", "quota": null, "matches": [{"event": "llm.*"}]},
                {"id": "spend", "unit": "cents", "quota": 100, "matches": [{"event": "priced.*"}],
                    "measure": {"per": {"prompt_tokens": "0.1", "completion_tokens": "0.5"}, "estimate": {"completion_tokens": 10}}},
            ]}),
        )
        .await;
    world.app.subscribe("u", "one").await;
    let id = world.app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    (world, id)
}

/// Sends each body to each path: expects a 400 that names the field, and that nothing is written.
async fn each_names_its_field(world: &World, api: &Api, calls: &[(&str, &str)], table: &[(String, &str)]) {
    for (body, field) in table {
        for (method, path) in calls {
            let before = world.redis.contents("qg:*").await;
            let answer = api.send(method, path, Some(body.clone())).await;
            assert_eq!(answer.status, 400, "{method} {path} {body}: {}", answer.text);
            assert_eq!(answer.bad_field(), *field, "{method} {path} {body}");
            assert_same(&world.redis.contents("qg:*").await, &before, &format!("{method} {path} {body}"));
        }
    }
}

/// Fails with the names of the keys that differ.
#[track_caller]
fn assert_same(after: &[(String, Vec<String>)], before: &[(String, Vec<String>)], what: &str) {
    let differing: Vec<_> = after.iter().filter(|entry| !before.contains(entry)).map(|(key, _)| key).collect();
    assert!(after == before, "{what} wrote: {differing:?}");
}

/// Bodies that are invalid for every call. (An empty body means `{}`: see `errors.rs`.)
fn not_json() -> Vec<(String, &'static str)> {
    let bodies = ["{", "[]", "null", "7", "\"x\"", "{'userId':1}", "{,}", "\u{feff}{}", "\0", "{\"\\ud800\":1}"];
    let mut table: Vec<_> = bodies.into_iter().map(|body| (body.to_owned(), "body")).collect();
    table.push(("[".repeat(60_000), "body"));
    table
}

/// `field` with each of these values in an otherwise valid body (`rest` begins with a comma, or is empty).
fn values(field: &'static str, wrong: &[&str], rest: &str) -> Vec<(String, &'static str)> {
    wrong.iter().map(|value| (format!("{{\"{field}\":{value}{rest}}}"), field)).collect()
}

const WRONG_QUANTITIES: [&str; 21] = [
    "-1",
    "\"-1\"",
    "-0.5",
    "1e400",
    "-1e400",
    "\"1e400\"",
    "1e99999999999",
    "0.5",
    "\"0.5\"",
    "1e-400",
    "9007199254740992",
    "\"9007199254740992\"",
    "\"NaN\"",
    "\"Infinity\"",
    "\"\"",
    "\"ten\"",
    "\"0x10\"",
    "true",
    "null",
    "[1]",
    "{}",
];
const WRONG_TTLS: [&str; 9] = ["0", "3601", "-1", "1.5", "1e400", "18446744073709551616", "\"60\"", "[]", "true"];

pub fn text(value: &str) -> String {
    json!(value).to_string()
}

fn wrong_names(most: usize) -> Vec<String> {
    let mut names: Vec<String> = ["\"\"", "7", "null", "[\"u\"]", "{}", "true"].map(str::to_owned).to_vec();
    names
        .extend(["a\nb", "\0", "\u{7f}", "\u{85}", "a\tb", &"x".repeat(most + 1), &"ä".repeat(most / 2 + 1)].map(text));
    names
}

fn wrong_metadata() -> Vec<String> {
    let many: serde_json::Map<String, Value> = (0..33).map(|number| (format!("k{number}"), json!(1))).collect();
    [
        json!(many),
        json!({"a": {"b": 1}}),
        json!({"a": [1]}),
        json!({"a": null}),
        json!({"": 1}),
        json!({"a\n": 1}),
        json!({"a": "\u{0}"}),
        json!({"a": "x".repeat(257)}),
        json!({"x".repeat(65): 1}),
        json!([]),
        json!("x"),
        json!(7),
    ]
    .iter()
    .map(Value::to_string)
    .collect()
}

fn with_each(field: &'static str, wrong: &[String], rest: &str) -> Vec<(String, &'static str)> {
    values(field, &wrong.iter().map(String::as_str).collect::<Vec<_>>(), rest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_call_names_its_field_and_writes_nothing() {
    let (world, _) = prepared().await;
    let rest = r#","userId":"u","event":"image.a""#;
    let mut both = not_json();
    both.extend(
        [
            ("{}", "userId"),
            (r#"{"userId":"u"}"#, "event"),
            (r#"{"event":"image.a"}"#, "userId"),
            (r#"{"userId":"u","event":"image.a"} x"#, "body"),
            (r#"{"userId":"u","event":"image.a","quantity":NaN}"#, "body"),
            (r#"{"userId":"u","event":"image.a",}"#, "body"),
            (r#"{"userId":"u","event":"image.a","quantity":1_000}"#, "body"),
            (r#"{"userId":"u","event":"image.a","quantity":01}"#, "body"),
            (r#"{"userId":"u","event":"image.a","colour":1}"#, "colour"),
            (r#"{"userId":"u","event":"image.a","user_id":"u"}"#, "user_id"),
            (r#"{"userId":"u","userId":"v","event":"image.a"}"#, "userId"),
            (r#"{"userId":"u","event":"priced.a"}"#, "metadata.prompt_tokens"),
            (r#"{"userId":"u","event":"priced.a","metadata":{"prompt_tokens":"x"}}"#, "metadata.prompt_tokens"),
            (r#"{"userId":"u","event":"priced.a","metadata":{"prompt_tokens":-1}}"#, "metadata.prompt_tokens"),
            (r#"{"userId":"u","event":"priced.a","metadata":{"prompt_tokens":1e400}}"#, "metadata.prompt_tokens"),
            (r#"{"userId":"u","event":"llm.chat","quantity":0.5}"#, "quantity"),
            (r#"{"userId":"u","event":"llm.chat","quantity":9007199254740992}"#, "quantity"),
            (r#"{"userId":"u","event":"\ud800"}"#, "event"),
        ]
        .map(|(body, field)| (body.to_owned(), field)),
    );
    both.extend(values("quantity", &WRONG_QUANTITIES, rest));
    both.extend(values("quantity", &["0", "0.0", "\"0\"", "0e5"], rest));
    both.extend(with_each("userId", &wrong_names(256), r#","event":"image.a""#));
    both.extend(with_each("event", &wrong_names(128), r#","userId":"u""#));
    both.extend(with_each("metadata", &wrong_metadata(), rest));
    let every = [("POST", "reserve"), ("POST", "can-use"), ("POST", "track")];
    each_names_its_field(&world, &world.app, &every, &both).await;
    let mut asking = values("ttlSeconds", &WRONG_TTLS, rest);
    asking.extend(values("ttlSeconds", &["null"], rest));
    asking.push((r#"{"userId":"u","event":"image.a.refund"}"#.to_owned(), "event"));
    asking.push((r#"{"userId":"u","event":"image.a","enforce":true}"#.to_owned(), "enforce"));
    each_names_its_field(&world, &world.app, &[("POST", "reserve"), ("POST", "can-use")], &asking).await;
    let mut telling = values("enforce", &["1", "\"true\"", "null"], rest);
    telling.push((r#"{"userId":"u","event":".refund"}"#.to_owned(), "event"));
    telling.push((r#"{"userId":"u","event":"image.a","ttlSeconds":60}"#.to_owned(), "ttlSeconds"));
    telling.push((r#"{"userId":"u","event":"image.a.refund","quantity":0}"#.to_owned(), "quantity"));
    each_names_its_field(&world, &world.app, &[("POST", "track")], &telling).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_settlement_names_its_field_and_settles_nothing() {
    let (world, id) = prepared().await;
    world.app.post("track", json!({"userId": "u", "event": "llm.chat", "quantity": 7})).await.expect(200);
    let tokens = world.app.reserved(json!({"userId": "u", "event": "llm.chat"})).await;
    let priced =
        world.app.reserved(json!({"userId": "u", "event": "priced.a", "metadata": {"prompt_tokens": 1}})).await;
    let rest = format!(",\"reservationId\":\"{id}\"");
    let mut commits = not_json();
    commits.push(("{}".to_owned(), "reservationId"));
    commits.push((format!("{{\"reservationId\":\"{id}\",\"final\":false}}"), "quantity"));
    commits.push((format!("{{\"reservationId\":\"{id}\",\"userId\":\"u\"}}"), "userId"));
    commits.push((format!("{{\"reservationId\":\"{tokens}\",\"quantity\":9007199254740991}}"), "quantity"));
    commits.push((format!("{{\"reservationId\":\"{tokens}\",\"quantity\":0.5}}"), "quantity"));
    commits.push((
        format!("{{\"reservationId\":\"{priced}\",\"metadata\":{{\"prompt_tokens\":\"x\"}}}}"),
        "metadata.prompt_tokens",
    ));
    commits.push((
        format!("{{\"reservationId\":\"{priced}\",\"metadata\":{{\"prompt_tokens\":1e20}}}}"),
        "metadata.prompt_tokens",
    ));
    commits.extend(values("reservationId", &["7", "null", "[]", "true"], ""));
    // Null means absent here.
    let quantities: Vec<&str> = WRONG_QUANTITIES.into_iter().filter(|value| *value != "null").collect();
    commits.extend(values("quantity", &quantities, &rest));
    commits.extend(with_each("metadata", &wrong_metadata(), &rest));
    commits.extend(values("final", &["1", "\"no\"", "null"], &rest));
    commits.extend(values("ifExpired", &["\"maybe\"", "true", "null"], &rest));
    commits.extend(values("outcome", &["\"great\"", "7"], &rest));
    each_names_its_field(&world, &world.app, &[("POST", "commit")], &commits).await;

    let mut releases = not_json();
    let long = [text(&"x".repeat(257)), text("a\nb"), "7".to_owned()];
    releases.extend(with_each("reason", &long, &rest));
    releases.extend(with_each("errorCode", &long, &rest));
    releases.push((format!("{{\"reservationId\":\"{id}\",\"quantity\":1}}"), "quantity"));
    each_names_its_field(&world, &world.app, &[("POST", "release")], &releases).await;

    let mut extends = not_json();
    extends.push((format!("{{\"reservationId\":\"{id}\"}}"), "ttlSeconds"));
    extends.push((format!("{{\"reservationId\":\"{id}\",\"metadata\":{{}}}}"), "metadata"));
    extends.extend(values("ttlSeconds", &WRONG_TTLS, &rest));
    extends.extend(values("quantity", &quantities, &rest));
    extends.extend(values("quantity", &["0", "\"0\""], &rest));
    each_names_its_field(&world, &world.app, &[("POST", "extend")], &extends).await;
    assert_eq!(world.app.stands("u", "images").await, (0.0, 1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_subscription_clock_or_key_names_its_field() {
    let (world, _) = prepared().await;
    let rest = r#","userId":"u","planId":"one""#;
    let times =
        ["\"yesterday\"", "\"2027-02-30T00:00:00Z\"", "\"2027-01-01\"", "\"10000-01-01T00:00:00Z\"", "7", "\"\"", "[]"];
    let mut subscribes = not_json();
    subscribes.extend(
        [
            ("{}", "userId"),
            (r#"{"userId":"u"}"#, "planId"),
            (r#"{"userId":"u","planId":"nowhere"}"#, "planId"),
            (r#"{"userId":"u","planId":"a b"}"#, "planId"),
            (r#"{"userId":"u","planId":""}"#, "planId"),
            (r#"{"userId":"u","planId":"one","startedAt":"2027-01-31T10:00:01Z"}"#, "startedAt"),
            (r#"{"userId":"u","planId":"one","endsAt":"2027-01-31T09:00:00Z"}"#, "endsAt"),
            (r#"{"userId":"u","planId":"one","resetUsage":1}"#, "resetUsage"),
            (r#"{"userId":"u","planId":"one","customLimits":{"x":{"quota":1}}}"#, "customLimits.x"),
        ]
        .map(|(body, field)| (body.to_owned(), field)),
    );
    subscribes.extend(with_each("userId", &wrong_names(256), r#","planId":"one""#));
    for field in ["startedAt", "cycleStart", "endsAt"] {
        subscribes.extend(values(field, &times, rest));
    }
    each_names_its_field(&world, &world.app, &[("POST", "subscriptions")], &subscribes).await;
    let mut cancels = not_json();
    cancels.extend(with_each("userId", &wrong_names(256), ""));
    cancels.extend(values("endsAt", &times, r#","userId":"u""#));
    cancels.push((r#"{"userId":"u","planId":"one"}"#.to_owned(), "planId"));
    cancels.push((r#"{"userId":"u","endsAt":"2027-01-31T09:00:00Z"}"#.to_owned(), "endsAt"));
    each_names_its_field(&world, &world.app, &[("DELETE", "subscriptions")], &cancels).await;
    let mut clocks = not_json();
    clocks.extend(values("now", &times, ""));
    clocks.extend(values("now", &["null", "\"1969-12-31T23:59:59Z\"", "\"2027-01-31T09:59:59Z\""], ""));
    clocks.push((r#"{"now":"2028-01-01T00:00:00Z","sandbox":"x"}"#.to_owned(), "sandbox"));
    each_names_its_field(&world, &world.app, &[("PUT", "test-clock")], &clocks).await;
    let mut keys = not_json();
    keys.extend(
        [
            ("{}", "kind"),
            (r#"{"kind":"root"}"#, "kind"),
            (r#"{"kind":"secret"}"#, "mode"),
            (r#"{"kind":"secret","mode":"prod"}"#, "mode"),
            (r#"{"kind":"admin","mode":"live","role":"admin"}"#, "mode"),
            (r#"{"kind":"secret","mode":"live","sandbox":"ci"}"#, "sandbox"),
            (r#"{"kind":"secret","mode":"test","sandbox":"a/b"}"#, "sandbox"),
            (r#"{"kind":"secret","mode":"test","sandbox":"}:{"}"#, "sandbox"),
            (r#"{"kind":"admin"}"#, "role"),
            (r#"{"kind":"admin","role":"owner"}"#, "role"),
            (r#"{"kind":"secret","mode":"test","role":"admin"}"#, "role"),
            (r#"{"kind":"publishable","mode":"test","metadata":{"a":1}}"#, "metadata"),
            (r#"{"kind":"secret","mode":"test","metadata":{"a":{}}}"#, "metadata"),
            (r#"{"kind":"secret","mode":"test","origins":["*"]}"#, "origins"),
            (r#"{"kind":"publishable","mode":"test","origins":["example.com"]}"#, "origins"),
            (r#"{"kind":"publishable","mode":"test","origins":["https://a.example/path"]}"#, "origins"),
            (r#"{"kind":"publishable","mode":"test","origins":"*"}"#, "origins"),
            (r#"{"kind":"secret","mode":"test","requireUserToken":true}"#, "requireUserToken"),
            (r#"{"kind":"secret","mode":"test","name":"a\nb"}"#, "name"),
            (r#"{"kind":"secret","mode":"test","key":"sk_test_mine"}"#, "key"),
        ]
        .map(|(body, field)| (body.to_owned(), field)),
    );
    each_names_its_field(&world, &world.admin, &[("POST", "keys")], &keys).await;
    let mut apps = not_json();
    for (body, field) in [
        ("{}", "id"),
        (r#"{"id":"a b"}"#, "id"),
        (r#"{"id":"default"}"#, "id"),
        (r#"{"id":"x","placement":"moon"}"#, "placement"),
        (r#"{"id":"x","name":"X"}"#, "name"),
    ] {
        apps.push((body.to_owned(), field));
    }
    each_names_its_field(&world, &world.admin, &[("POST", "apps")], &apps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_plan_names_its_field() {
    let (world, _) = prepared().await;
    let group = |more: Value| {
        let mut group = json!({"id": "g", "unit": "count", "quota": 1, "matches": [{"event": "x"}]});
        for (name, value) in more.as_object().unwrap() {
            match value {
                Value::String(text) if text == "absent" => group.as_object_mut().unwrap().remove(name),
                value => group.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        group
    };
    let plan = |groups: Value| json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": groups});
    let mut table = not_json();
    for (more, field) in [
        (json!({"id": "a.b"}), "groups[0].id"),
        (json!({"id": "x".repeat(65)}), "groups[0].id"),
        (json!({"id": "absent"}), "groups[0].id"),
        (json!({"unit": "bananas"}), "groups[0].unit"),
        (json!({"unit": "absent"}), "groups[0].unit"),
        (json!({"id": "images", "unit": "tokens"}), "groups[0].unit"),
        (json!({"quota": "absent"}), "groups[0].quota"),
        (json!({"quota": -1}), "groups[0].quota"),
        (json!({"quota": 0.5}), "groups[0].quota"),
        (json!({"quota": 9_007_199_254_740_992_u64}), "groups[0].quota"),
        (json!({"quota": "1e400"}), "groups[0].quota"),
        (json!({"quota": true}), "groups[0].quota"),
        (json!({"maxPerCall": -1}), "groups[0].maxPerCall"),
        (json!({"colour": 1}), "groups[0].colour"),
        (json!({"enforcement": "strict"}), "groups[0].enforcement"),
        (json!({"matches": []}), "groups[0].matches"),
        (json!({"matches": "x"}), "groups[0].matches"),
        (json!({"matches": [{}]}), "groups[0].matches[0].event"),
        (json!({"matches": [{"event": ""}]}), "groups[0].matches[0].event"),
        (json!({"matches": [{"event": "a\nb"}]}), "groups[0].matches[0].event"),
        (json!({"matches": [{"event": "x", "metadata": {"a": {}}}]}), "groups[0].matches[0].metadata.a"),
        (json!({"matches": [{"event": "x", "metadata": {"a": []}}]}), "groups[0].matches[0].metadata.a"),
        (json!({"matches": [{"event": "x", "measure": "calls"}]}), "groups[0].matches[0].measure"),
        (json!({"measure": "calls"}), "groups[0].measure"),
        (json!({"measure": {"per": {}}}), "groups[0].measure.per"),
        (json!({"measure": {"per": {"a": -1}}}), "groups[0].measure"),
        (json!({"measure": {"per": {"a": 1}, "estimate": {"b": 1}}}), "groups[0].measure.estimate.b"),
        (json!({"covers": [""]}), "groups[0].covers"),
        (json!({"scope": ["team"]}), "groups[0].scope"),
        (json!({"periodType": "fortnightly"}), "groups[0].periodType"),
        (json!({"periodType": "every"}), "groups[0].every"),
        (json!({"periodType": "every", "every": "P0D", "start": "2027-01-01T00:00:00Z"}), "groups[0].every"),
        (json!({"periodType": "fixed", "end": "2027-01-01T00:00:00Z"}), "groups[0].start"),
        (json!({"timezone": "Mars/Olympus"}), "groups[0].timezone"),
        (json!({"weekStart": "someday"}), "groups[0].weekStart"),
    ] {
        table.push((plan(json!([group(more)])).to_string(), field));
    }
    let many: Vec<Value> = (0..65).map(|number| group(json!({"id": format!("g{number}")}))).collect();
    for (body, field) in [
        (json!({}), "groups"),
        (plan(json!("x")), "groups"),
        (plan(json!(many)), "groups"),
        (plan(json!([group(json!({})), group(json!({}))])), "groups[1].id"),
        (plan(json!([group(json!({})), group(json!({"id": "h", "unit": "tokens"}))])), "groups[1].measure"),
        (json!({"groups": [group(json!({}))]}), "groups[0].periodType"),
        (json!({"id": "other", "periodType": "daily", "periodAnchor": "calendar", "groups": [group(json!({}))]}), "id"),
        (json!({"groups": [], "price": 5}), "price"),
        (json!({"groups": [], "unmatchedEvents": "maybe"}), "unmatchedEvents"),
        (json!({"groups": [], "timezone": "x"}), "timezone"),
    ] {
        table.push((body.to_string(), field));
    }
    each_names_its_field(&world, &world.admin, &[("PUT", "plans/p")], &table).await;
    let good = plan(json!([group(json!({}))])).to_string();
    let before = world.redis.contents("qg:*").await;
    for path in ["plans/a%20b", "plans/a%0Ab", "plans/%7D:%7B", &format!("plans/{}", "x".repeat(65))] {
        assert_eq!(world.admin.send("PUT", path, Some(good.clone())).await.bad_field(), "id", "{path}");
    }
    assert_same(&world.redis.contents("qg:*").await, &before, "a wrong name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_query_or_header_is_named() {
    let (world, id) = prepared().await;
    let (app, admin) = (&world.app, &world.admin);
    let before = world.redis.contents("qg:*").await;
    let long_event = format!("usage?userId=u&event={}", "x".repeat(129));
    let long_user = format!("usage?userId={}", "x".repeat(257));
    for (api, method, path, field) in [
        (app, "GET", "usage", "userId"),
        (app, "GET", "usage?userId=", "userId"),
        (app, "GET", "usage?userId=a%0Ab", "userId"),
        (app, "GET", &long_user, "userId"),
        (app, "GET", "usage?userId=u&colour=1", "colour"),
        (app, "GET", "usage?userId=u&event=", "event"),
        (app, "GET", "usage?userId=u&event=a%00", "event"),
        (app, "GET", &long_event, "event"),
        (app, "GET", "usage/stream?userId=a%0Ab", "userId"),
        (app, "GET", "usage/stream", "userId"),
        (app, "POST", "reserve?onDeny=500", "onDeny"),
        (app, "POST", "reserve?onDeny=abc", "onDeny"),
        (app, "POST", "reserve?ondeny=429", "ondeny"),
        (&app.once(""), "POST", "reserve", "Idempotency-Key"),
        (&app.once(&"x".repeat(256)), "POST", "reserve", "Idempotency-Key"),
        (&app.once(&"x".repeat(256)), "POST", "commit", "Idempotency-Key"),
        (&app.with("idempotency-key", "ä"), "POST", "reserve", "Idempotency-Key"),
        (&admin.with("x-mode", "moon"), "GET", "plans", "X-Mode"),
        (&admin.with("x-mode", "test/a b"), "GET", "plans", "X-Mode"),
        (&admin.with("x-app", "a b"), "GET", "plans", "X-App"),
        (&admin.with("x-app", "}:{"), "GET", "plans", "X-App"),
    ] {
        let body = match path {
            "commit" => json!({"reservationId": id}),
            _ => json!({"userId": "u", "event": "image.a"}),
        };
        let answer = api.send(method, path, (method == "POST").then(|| body.to_string())).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
        assert_eq!(answer.bad_field(), field, "{path}");
    }
    assert_same(&world.redis.contents("qg:*").await, &before, "a wrong name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_any_name_never_share_a_counter() {
    let world = World::new().await;
    world.admin.plan("one", monthly(1_000)).await;
    let longest = "ä".repeat(128);
    let names = [
        "a",
        "a:b",
        "a}:b{",
        "a%3Ab",
        "a%3ab",
        "a%253Ab",
        "{a}",
        "{}",
        "}",
        ":",
        "*",
        "?",
        "[a]",
        "a b",
        "a+b",
        "a/../b",
        "\"",
        "\\",
        "'; FLUSHALL",
        "a,b",
        "2001:db8::1",
        "u|1",
        "A",
        "ä",
        "a\u{308}",
        "👩‍🚀",
        "account:user:a",
        "%",
        "%00",
        longest.as_str(),
    ];
    let mut held = Vec::new();
    for (number, name) in names.into_iter().enumerate() {
        world.app.subscribe(name, "one").await;
        held.push(world.app.reserved(json!({"userId": name, "event": "image.a", "quantity": number + 1})).await);
    }
    for (number, name) in names.into_iter().enumerate() {
        let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
        let counter = world.app.counter(&encoded, "images").await;
        assert_eq!((&counter["held"], &counter["used"]), (&json!(number + 1), &json!(0)), "{name}");
        assert_eq!(counter["scope"]["user"], name);
    }
    for (number, (id, name)) in held.iter().zip(names).enumerate() {
        world.app.commit(id).await;
        let refund =
            json!({"userId": name, "event": "image.a.refund", "quantity": 1, "metadata": {"reservationId": id}});
        let counters = world.app.post("track", refund).await.expect(200);
        assert_eq!(counters["counters"][0]["used"], number, "{name}");
    }
}

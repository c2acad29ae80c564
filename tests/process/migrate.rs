//! Data of a release with layout 6, converted by `quotagate migrate` or at start-up. tests/data/README.md says how the
//! data was created.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use quotagate::infra::embedded_redis::{AppendFsync, EmbeddedOptions, EmbeddedRedis};
use quotagate::infra::supervise::Parts;
use quotagate::store::Store;
use quotagate::store::client::migrate::{BETWEEN, FROM, MigrateOptions};
use quotagate::store::keys::LAYOUT_VERSION;
use serde_json::{Value, json};

use crate::gateway::{ADMIN_KEY, Process, one_clear_line, run};
use crate::support::cluster::Cluster;
use crate::support::proven::{drifts, verified};
use crate::support::{PATIENCE, Redis, connect, folder};

const LAYOUT: &str = "qg:{quotagate}:layout";
const USER: &str = "qg:{default:test/main}:counters:user:u1";

/// The commands that restore the old release's data.
fn commands() -> Vec<Vec<String>> {
    let lines = include_str!("../data/layout6.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn load(redis_url: &str) {
    let mut connection = connect(redis_url).await.unwrap();
    let mut pipe = redis::pipe();
    for words in commands() {
        let mut command = redis::Cmd::new();
        command.arg(words);
        pipe.add_command(command).ignore();
    }
    pipe.query_async::<()>(&mut connection).await.unwrap();
}

async fn loaded() -> Redis {
    let redis = Redis::start().await;
    load(&redis.url()).await;
    redis
}

/// The old release's answers, keys and reservations.
struct Old(Value);

impl Old {
    fn read() -> Self {
        Self(serde_json::from_str(include_str!("../data/layout6.answers.json")).unwrap())
    }

    fn key(&self) -> &str {
        self.0["world"]["secret"].as_str().unwrap()
    }

    fn id(&self, name: &str) -> &str {
        self.0["world"]["ids"][name].as_str().unwrap_or_else(|| panic!("{name}"))
    }
}

/// Runs `quotagate migrate`; returns the exit code, its output, and its warnings and errors.
fn migrate(redis: &Redis, more: &[&str]) -> (Option<i32>, String, String) {
    let output = run(&[&["migrate"], more].concat(), &[("QUOTAGATE_REDIS_URL", &redis.url())]);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn start(redis: &Redis) -> (Process, tempfile::TempDir) {
    let dir = folder();
    let settings = [("QUOTAGATE_REDIS_URL", redis.url()), ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY.to_owned())];
    (Process::start(dir.path(), &settings.each_ref().map(|(name, value)| (*name, value.as_str()))), dir)
}

/// One call, whatever its status.
async fn call(gateway: &Process, method: &str, path: &str, key: &str, headers: &Value, body: &Value) -> Value {
    let url = format!("{}/api/v1/{path}", gateway.url);
    let client = crate::support::http().build().unwrap();
    let mut request = client.request(method.parse().unwrap(), url).bearer_auth(key);
    for (name, value) in headers.as_object().unwrap() {
        request = request.header(name, value.as_str().unwrap());
    }
    if !body.is_null() {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    let mut answer: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
    if let Some(fields) = answer.as_object_mut() {
        fields.remove("requestId");
    }
    answer
}

/// The user's counters by group: used, held, granted.
async fn stands(gateway: &Process, key: &str, user: &str) -> BTreeMap<String, (Value, Value, Value)> {
    let path = format!("usage?userId={user}&metadata.team=red");
    let usage = gateway.call("GET", &path, key, &Value::Null).await;
    let counters = usage["counters"].as_array().unwrap().iter();
    let of = |counter: &Value| (counter["used"].clone(), counter["held"].clone(), counter["granted"].clone());
    counters.map(|counter| (counter["groupId"].as_str().unwrap().to_owned(), of(counter))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_answered_as_before_and_every_counter_is_proven() {
    let redis = loaded().await;
    let before = redis.contents("*").await;
    let (code, printed, _) = migrate(&redis, &["--dry-run"]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(
        printed.contains("layout 6. This version reads layout 8") && printed.contains("Would convert "),
        "{printed}"
    );
    assert_eq!(redis.contents("*").await, before, "a dry run changes nothing");
    let planned = printed.split("Would convert ").nth(1).unwrap().split('.').next().unwrap().to_owned();

    let (code, printed, error) = migrate(&redis, &[]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{printed}");
    assert!(printed.contains(&format!("{planned}.\nThe data has layout 8")), "{planned}: {printed}");
    assert!(redis.run::<Vec<String>>(&["KEYS", "qg:*:counters:*"]).await.is_empty());
    for command in commands().iter().filter(|command| command[0] == "PEXPIRE") {
        let (key, given) = (command[1].replace("}:counters:", "}:account:"), command[2].parse::<i64>().unwrap());
        let left = redis.run::<i64>(&["PTTL", &key]).await;
        assert!(left > given / 2 && left <= given, "{key} expires in {left} of {given} ms");
    }
    for mode in ["test", "live"] {
        let found = verified(&redis.url(), mode).await;
        assert!(found.accounts > 0 && found.drifts.is_empty() && found.damaged.is_empty(), "{mode}: {found:?}");
    }
    let after = redis.contents("*").await;
    assert_eq!(migrate(&redis, &[]).1.lines().last(), Some("Nothing to convert."));
    assert_eq!(redis.contents("*").await, after);

    let (old, (gateway, _dir)) = (Old::read(), start(&redis));
    let kept = old.0["answers"].as_array().unwrap();
    assert!(kept.len() > 40);
    for printed in kept {
        let (method, path) = (printed["method"].as_str().unwrap(), printed["path"].as_str().unwrap());
        let key = if printed["key"] == "admin" { ADMIN_KEY } else { old.key() };
        let mut expected = printed["answer"].clone();
        if let Some(fields) = expected.as_object_mut() {
            fields.remove("requestId");
        }
        let mut answer = call(&gateway, method, path, key, &printed["headers"], &printed["body"]).await;
        // This version words errors and alerts differently, has one more measure in reports, and alerts have a `limit`.
        for problem in [&mut answer, &mut expected] {
            for row in problem.get_mut("data").and_then(Value::as_array_mut).into_iter().flatten() {
                row.as_object_mut().map(|row| row.remove("observed"));
            }
            let alerts = problem.get_mut("data").filter(|_| path.starts_with("alerts")).and_then(Value::as_array_mut);
            for alert in alerts.into_iter().flatten() {
                (alert["text"], alert["data"]["limit"]) = (Value::Null, Value::Null);
            }
            if let Some(fields) = problem.as_object_mut().filter(|fields| fields.contains_key("type")) {
                fields.remove("detail");
                fields.get_mut("errors").into_iter().flat_map(Value::as_array_mut).flatten().for_each(|fault| {
                    fault.as_object_mut().unwrap().remove("message");
                });
            }
        }
        assert_eq!(answer, expected, "{method} {path} {} {}", printed["body"], printed["headers"]);
    }
    let inspected = run(&["inspect", "u1", "--mode", "test"], &[("QUOTAGATE_REDIS_URL", &redis.url())]);
    let inspected = String::from_utf8(inspected.stdout).unwrap();
    assert!(inspected.contains("images: 2 used + ") && inspected.contains("7 granted"), "{inspected}");

    let report = "reports/usage?from=2027-01-31&to=2027-02-16&by=user&period=day";
    let headers = json!({"x-mode": "test"});
    let rows = call(&gateway, "GET", report, ADMIN_KEY, &headers, &Value::Null).await;
    assert!(rows["data"].as_array().is_some_and(|rows| rows.len() > 10), "{rows}");
    let rebuilt = run(&["rollup", "--rebuild", "--mode", "test"], &[("QUOTAGATE_REDIS_URL", &redis.url())]);
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    assert_eq!(call(&gateway, "GET", report, ADMIN_KEY, &headers, &Value::Null).await, rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reservations_settle_and_expire_grants_end_and_requests_are_decided() {
    let redis = loaded().await;
    assert_eq!(migrate(&redis, &[]).0, Some(0));
    let (old, (gateway, _dir)) = (Old::read(), start(&redis));
    let key = old.key();
    let post = async |path: &str, body: Value| gateway.call("POST", path, key, &body).await;
    let test = json!({"x-mode": "test"});
    let decide = async |path: String, body: Value| call(&gateway, "POST", &path, ADMIN_KEY, &test, &body).await;
    let number = |value: u64| json!(value);

    let before = stands(&gateway, key, "u1").await;
    assert_eq!(before["images"], (number(2), number(8), number(7)));
    // In the window in which it was held, which is closed by now.
    let closed = async || {
        let history = gateway.call("GET", "usage/history?userId=u1&groupId=images", key, &Value::Null).await;
        history["data"].to_string()
    };
    let history = closed().await;
    post("commit", json!({"reservationId": old.id("over_midnight")})).await;
    assert_ne!(closed().await, history, "the closed window has the charge");
    assert_eq!(stands(&gateway, key, "u1").await["images"], before["images"]);
    post("commit", json!({"reservationId": old.id("draw"), "quantity": 3, "final": false})).await;
    post("commit", json!({"reservationId": old.id("draw")})).await;
    post("extend", json!({"reservationId": old.id("held"), "quantity": 2, "ttlSeconds": 3000})).await;
    post("commit", json!({"reservationId": old.id("held"), "quantity": 4})).await;
    assert_eq!(stands(&gateway, key, "u1").await["images"], (number(10), number(1), number(7)));
    post("release", json!({"reservationId": old.id("job")})).await;
    assert_eq!(stands(&gateway, key, "u2").await["jobs"].1, 1);
    // Another outcome, and a refund of the rest of a charge.
    post(&format!("reservations/{}/outcome", old.id("accepted")), json!({"outcome": "rejected"})).await;
    let used = stands(&gateway, key, "u2").await["images"].0.as_u64().unwrap();
    let refund = json!({"userId": "u2", "event": "image.a.refund", "quantity": 3, "metadata": {"reservationId": old.id("to_refund")}});
    post("track", refund).await;
    assert_eq!(stands(&gateway, key, "u2").await["images"].0, used - 3);
    // The same operation, which must not create a second hold.
    let again = json!({"idempotency-key": "reserve-1"});
    let body = json!({"userId": "p2", "event": "image.b"});
    let again = call(&gateway, "POST", "reserve", key, &again, &body).await;
    assert_eq!(again["reservationId"], old.id("keyed"));

    let approve = format!("approvals/{}/approve", old.id("open_request"));
    assert_eq!(decide(approve, json!({"amount": 6})).await["amount"], 6);
    assert_eq!(stands(&gateway, key, "u1").await["premium"].2, 6);
    let reopen = format!("approvals/{}/reopen", old.id("rejected_request"));
    assert_eq!(decide(reopen, json!({})).await["status"], "open");
    let asked = post("reserve", json!({"userId": "u2", "event": "premium.a", "quantity": 5})).await;
    assert_eq!(asked["deniedBy"][0]["approval"]["id"], old.id("rejected_request"));
    decide("users/u%204%25/unblock".to_owned(), json!({})).await;
    assert_eq!(drifts(&redis.url(), "test").await.len(), 0);

    gateway.call("PUT", "test-clock", key, &json!({"now": "2027-02-15T03:00:00Z"})).await;
    for (name, user) in [("u1", "u1"), ("u2", "u2"), ("p1", "p1"), ("p2", "p2"), ("u%204%25", "u 4%")] {
        let counters = stands(&gateway, key, name).await;
        assert!(counters.values().all(|(_, held, _)| *held == 0), "{user}: {counters:?}");
        // The next counting call reclaims expired holds and reports them.
        post("track", json!({"userId": user, "event": "image.b"})).await;
    }
    let expired = gateway.call("GET", "events?type=expire", key, &Value::Null).await;
    let expired = expired["data"].as_array().unwrap().iter().filter_map(|event| event["reservationId"].as_str());
    let expired: Vec<&str> = expired.collect();
    for name in ["to_expire", "job_2", "extended", "estimate", "keyed"] {
        assert!(expired.contains(&old.id(name)), "{name} has expired: {expired:?}");
    }
    // Grants without their own expiry end with the window, the other one at its expiry.
    gateway.call("PUT", "test-clock", key, &json!({"now": "2027-02-16T11:00:00Z"})).await;
    assert_eq!(stands(&gateway, key, "u1").await["images"].2, 7);
    assert_eq!(stands(&gateway, key, "u2").await["images"].2, 0);
    gateway.call("PUT", "test-clock", key, &json!({"now": "2027-02-16T12:00:00Z"})).await;
    assert_eq!(stands(&gateway, key, "u1").await["images"].2, 0);
    for user in ["u1", "u2", "p1", "own"] {
        post("track", json!({"userId": user, "event": "image.b"})).await;
    }
    assert_eq!(drifts(&redis.url(), "test").await.len(), 0);
}

/// One key per script call and one call at a time, so that it can be interrupted between any two.
const STEP_BY_STEP: MigrateOptions =
    MigrateOptions { dry_run: false, keys_per_call: 1, calls_at_once: 1, notice: Duration::ZERO };

/// All keys with their contents, and whether they expire.
async fn state(redis: &Redis) -> Vec<(String, Vec<String>, bool)> {
    let mut state = Vec::new();
    for (key, values) in redis.contents("*").await {
        let expires = redis.run::<i64>(&["PTTL", &key]).await > 0;
        state.push((key, values, expires));
    }
    state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_after_any_step_it_continues_to_the_same_data() {
    let redis = loaded().await;
    let store = Store::open(&redis.url(), PATIENCE).unwrap();
    store.migrate(STEP_BY_STEP, |_| {}).await.unwrap();
    let expected = state(&redis).await;
    // How many steps there are depends on how far Redis has resized its table of keys.
    for stop in (1..).step_by(9) {
        redis.run::<()>(&["FLUSHALL"]).await;
        load(&redis.url()).await;
        let steps = Cell::new(0);
        let (ended, end) = tokio::sync::oneshot::channel();
        let ended = Cell::new(Some(ended));
        let printed = |_: &_| {
            steps.set(steps.get() + 1);
            if let Some(ended) = (steps.get() == stop).then(|| ended.take()).flatten() {
                ended.send(()).unwrap();
            }
        };
        let complete = tokio::select! {
            biased;
            _ = end => false,
            done = store.migrate(STEP_BY_STEP, printed) => done.map(|_| true).unwrap(),
        };
        if complete {
            assert!(stop > 60, "it was interrupted up to step {stop} only");
            break;
        }
        // The last command may be on its way when the conversion is dropped at one of its last steps.
        if stop < 60 {
            assert_eq!(redis.run::<String>(&["GET", LAYOUT]).await, BETWEEN, "after step {stop}");
        }
        store.migrate(STEP_BY_STEP, |_| {}).await.unwrap();
        let found = state(&redis).await;
        let differs = found.iter().zip(&expected).find(|(found, expected)| found != expected);
        assert_eq!((found.len(), differs), (expected.len(), None), "after step {stop}");
    }
}

/// Polls a future until the condition holds; it can be resumed later.
async fn run_until<F: Future>(mut future: Pin<&mut F>, holds: impl Fn() -> bool) {
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending(), "it ended before the condition held");
        if holds() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_convert_at_once_produce_the_same_data() {
    let redis = loaded().await;
    let store = Store::open(&redis.url(), PATIENCE).unwrap();
    store.migrate(STEP_BY_STEP, |_| {}).await.unwrap();
    let expected = state(&redis).await;
    redis.run::<()>(&["FLUSHALL"]).await;
    load(&redis.url()).await;
    let other = Store::open(&redis.url(), PATIENCE).unwrap();
    let shares = [Cell::new(0), Cell::new(0)];
    let mut one = pin!(store.migrate(STEP_BY_STEP, |done| shares[0].set(done.total())));
    let mut other = pin!(other.migrate(STEP_BY_STEP, |done| shares[1].set(done.total())));
    // Both have converted some keys before they run side by side.
    run_until(one.as_mut(), || shares[0].get() > 20).await;
    run_until(other.as_mut(), || shares[1].get() > 20).await;
    let (one, other) = tokio::join!(one, other);
    one.unwrap();
    other.unwrap();
    assert_eq!(state(&redis).await, expected);
}

/// Operation records in layout 6 and in the current layout.
const RECORDS: [(&str, &str); 12] = [
    (
        "reservation\n-\nheld 1000 61000 0\ne k u {}\nuser:u g:1:5,h:c1:1 -",
        "held 1000 60000 -\ne k u\n{}\nuser:u g:1:5,h:c1:1",
    ),
    (
        "reservation\nf1\ncommitted 1000 61000 3 late rejected\ne k u {\"a b\":1}\nuser:u - g:1:5,g:2:1\napp:a - g:9:6",
        "committed 1000 60000 - changes=3 request=f1 late rejected\ne k u\n{\"a b\":1}\nuser:u - g:1:5,g:2:1\napp:a - g:9:6",
    ),
    ("answer\nf\nunmetered\n5\n", "answer\nf\nunmetered\n5\n"),
    ("answer\nf\ngranted\n5\n{}", "answer\nf\ngranted\n5\n{}"),
    ("answer\nf\ntracked\n5\n0\n\n0\n\n", "answer\nf\ntracked\n5\n0\n\n0\n\n\n"),
    (
        "answer\nf\ntracked\n5\n0\ng:50\n0\n3\n1\n0\n0\n7\n0\n2\n0\n1 g\ng 1 9 daily 20270131T000000Z 20270201T000000Z 5,h 1 9 monthly 20270131T100000Z 20270228T100000Z -",
        "answer\nf\ntracked\n5\n0\ng:50\n0\n3+1 7+0+2+0\n1 g\ng 1 9 5 daily/20270131/20270201,h 1 9 - monthly/20270131T1000/20270228T1000",
    ),
    // As an earlier release with layout 6 stored it.
    (
        "answer\nf\ntracked\n5\n0\n\n0\n3\n1\n0\n0\ng 1 9 daily 20270131T000000Z 20270201T000000Z 5",
        "answer\nf\ntracked\n5\n0\n\n0\n3+1\n\ng 1 9 5 daily/20270131/20270201",
    ),
    ("answer\nf\ndenied\n5\n0\n\n0\n\n2\n3\n1\n0\n0\n1\n7\n0\n2\n1\n0", "answer\nf\ndenied\n5\n0\n\n0\n\n3+1! 7+0+2+1"),
    ("answer\nf\ndenied\n5\n0\nuser_blocked\n0\n\n0\n", "answer\nf\ndenied\n5\n0\nuser_blocked\n0\n\n\n"),
    ("answer\nf\nsettled\n5\nreleased\n0\n0\ne k u {}\n1\n", "answer\nf\nsettled\n5\nreleased\n0\n0\ne k u\n{}\n1\n\n"),
    (
        "answer\nf\nsettled\n5\ncommitted\n0\n0\ne k u {}\n1\n\ng\n3\n1\n0\n0\nunknown - - - 0 0\nqg:{a:live}:counters:user:u",
        "answer\nf\nsettled\n5\ncommitted\n0\n0\ne k u\n{}\n1\n\nuser:u g 3+1/- unknown/-/-#0",
    ),
    ("answer\nf\nextended\n5\n6\ne k u {}\n", "answer\nf\nextended\n5\n6\ne k u\n{}\n\n"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_record_is_converted_once() {
    let redis = Redis::start().await;
    let key = |place: usize| format!("qg:{{a:live}}:op:{place}");
    for (place, (before, _)) in RECORDS.iter().enumerate() {
        redis.run::<()>(&["SET", &key(place), before, "PX", "90000"]).await;
    }
    let store = Store::open(&redis.url(), PATIENCE).unwrap();
    for layout in [FROM, BETWEEN] {
        redis.run::<()>(&["SET", LAYOUT, layout]).await;
        store.migrate(STEP_BY_STEP, |_| {}).await.unwrap();
        for (place, (_, after)) in RECORDS.iter().enumerate() {
            assert_eq!(redis.run::<String>(&["GET", &key(place)]).await, *after);
            assert!((1..=90_000).contains(&redis.run::<i64>(&["PTTL", &key(place)]).await));
        }
    }
    redis.run::<()>(&["SET", &key(99), "reservation\n-\ndamaged"]).await;
    assert_eq!(store.migrate(STEP_BY_STEP, |_| {}).await.unwrap().unreadable, [key(99)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_converts_little_data_by_itself_and_names_the_command_for_much() {
    let redis = loaded().await;
    let filler: Vec<String> = (0..10_000).flat_map(|number| [format!("other:{number}"), String::new()]).collect();
    let words: Vec<&str> = std::iter::once("MSET").chain(filler.iter().map(String::as_str)).collect();
    redis.run::<()>(&words).await;
    let before = redis.contents("qg:*").await;
    let settings = [("QUOTAGATE_REDIS_URL", &*redis.url()), ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)];
    let refused = one_clear_line(&run(&["serve"], &settings));
    assert!(refused.contains("layout 6") && refused.contains("`quotagate migrate`"), "{refused}");
    let refused = one_clear_line(&run(&["verify"], &settings[..1]));
    assert!(refused.contains("layout 6") && refused.contains("quotagate migrate"), "{refused}");
    assert_eq!(redis.contents("qg:*").await, before);

    let words: Vec<&str> = std::iter::once("DEL").chain(filler.iter().step_by(2).map(String::as_str)).collect();
    redis.run::<()>(&words).await;
    // An earlier migration was started and not completed.
    redis.run::<()>(&["SET", LAYOUT, BETWEEN]).await;
    let (gateway, _dir) = start(&redis);
    let old = Old::read();
    assert_eq!(stands(&gateway, old.key(), "u1").await["images"].0, 2);
    assert_eq!(redis.run::<String>(&["GET", LAYOUT]).await, LAYOUT_VERSION);
    assert_eq!(drifts(&redis.url(), "test").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_cannot_be_converted_are_named_and_kept() {
    let redis = loaded().await;
    for layout in ["5", "7", "9"] {
        redis.run::<()>(&["SET", LAYOUT, layout]).await;
        let before = redis.contents("*").await;
        let refused = one_clear_line(&run(&["migrate"], &[("QUOTAGATE_REDIS_URL", &redis.url())]));
        assert!(refused.contains(&format!("layout {layout},")), "{refused}");
        assert_eq!(redis.contents("*").await, before);
    }
    redis.run::<()>(&["SET", LAYOUT, FROM]).await;
    let window: String = redis.run(&["HGET", USER, "images.window"]).await;
    redis.run::<()>(&["HSET", USER, "images.window", "damaged"]).await;
    let (code, printed, error) = migrate(&redis, &[]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(error.contains(&format!("error: {USER} cannot be read")), "{error}");
    assert_eq!(redis.run::<String>(&["HGET", USER, "images.window"]).await, "damaged");
    let settings = [("QUOTAGATE_REDIS_URL", &*redis.url()), ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)];
    let output = run(&["serve"], &settings);
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && printed.contains(USER), "{printed}");
    redis.run::<()>(&["HSET", USER, "images.window", &window]).await;
    assert_eq!(migrate(&redis, &[]).0, Some(0));
    assert_eq!(drifts(&redis.url(), "test").await.len(), 0);

    // What a suspended node of the old release could write after the conversion.
    let account = redis.contents("*account:user:u1").await;
    redis.run::<()>(&["HSET", USER, "images.used", "3"]).await;
    let (code, _, error) = migrate(&redis, &[]);
    assert!(code == Some(0) && error.contains(&format!("warning: {USER} was written")), "{error}");
    assert_eq!(redis.contents("*account:user:u1").await, account);
    assert!(!redis.run::<bool>(&["EXISTS", USER]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_private_redis_of_a_data_directory_is_converted_without_a_gateway() {
    let dir = folder();
    let options =
        EmbeddedOptions { data_dir: dir.path().to_owned(), appendfsync: AppendFsync::default(), maxmemory: 0 };
    let embedded = EmbeddedRedis::start(&options, &Parts::default()).await.unwrap();
    load(&embedded.url()).await;
    let data_dir = [("QUOTAGATE_DATA_DIR", dir.path().to_str().unwrap())];
    let refused = one_clear_line(&run(&["migrate"], &data_dir));
    assert!(refused.contains("another quotagate runs on the data directory"), "{refused}");
    embedded.stop().await;
    let output = run(&["migrate"], &data_dir);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && printed.contains("Converted in "), "{printed}");
    let gateway = Process::start(dir.path(), &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)]);
    assert_eq!(stands(&gateway, Old::read().key(), "u1").await["images"].0, 2);
    one_clear_line(&run(&["migrate"], &[("QUOTAGATE_DATA_DIR", "/no/such/directory")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_masters_of_a_cluster_are_converted() {
    let cluster = Cluster::start(3, false).await;
    let client = redis::cluster::ClusterClient::new(
        cluster.ports.iter().map(|port| format!("redis://127.0.0.1:{port}")).collect::<Vec<_>>(),
    );
    let mut connection = client.unwrap().get_async_connection().await.unwrap();
    // The same data for more apps, so that each master has some.
    let apps: Vec<String> = (0..12).map(|number| format!("app{number}")).collect();
    for app in apps.iter().map(String::as_str).chain(["default"]) {
        for words in
            commands().iter().filter(|words| app == "default" || words.iter().any(|word| word.contains("{default")))
        {
            let mut command = redis::Cmd::new();
            command.arg(words.iter().map(|word| word.replace("{default", &format!("{{{app}"))).collect::<Vec<_>>());
            command.query_async::<()>(&mut connection).await.unwrap();
        }
    }
    let mut with_data = 0;
    for server in &cluster.servers {
        with_data += usize::from(!server.run::<Vec<String>>(&["KEYS", "*:counters:*"]).await.is_empty());
    }
    assert_eq!(with_data, 3);
    let store = Store::open(&cluster.url(), PATIENCE).unwrap();
    let keys = store.count_keys(u64::MAX).await.unwrap();
    store.migrate(MigrateOptions { notice: Duration::ZERO, ..MigrateOptions::default() }, |_| {}).await.unwrap();
    assert_eq!(store.layout().await.unwrap().as_deref(), Some(LAYOUT_VERSION));
    for server in &cluster.servers {
        assert!(server.run::<Vec<String>>(&["KEYS", "*:counters:*"]).await.is_empty());
    }
    assert!(store.count_keys(u64::MAX).await.unwrap() <= keys, "stamps are gone, and nothing else came");
    let found = verified(&cluster.url(), "test").await;
    assert!(found.accounts > 0 && found.drifts.is_empty(), "{found:?}");
}

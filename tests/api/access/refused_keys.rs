//! Guessing keys is slowed down and recorded; valid keys are not affected.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures::future::join_all;
use quotagate::http::middleware::limits::Limits;

use crate::support::{Answer, Api, ROOT_KEY, Redis, Running, eventually};

const UNKNOWN: &str = "sk_test_0123456789abcdefghijklmnopqrstuv";

async fn timed(api: &Api) -> (Answer, Duration) {
    let begun = Instant::now();
    let answer = api.get("plans").await;
    (answer, begun.elapsed())
}

/// The first guesses of a minute, which are not delayed.
async fn ten_guesses(node: &Running) {
    for _ in 0..10 {
        node.client(UNKNOWN).get("plans").await.problem(401, "invalid_key");
    }
}

async fn refused(node: &Running, reason: &str) -> u64 {
    let metrics = node.client("").get("/metrics").await.text;
    let name = format!("quotagate_refused_keys_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_eleventh_guess_of_a_minute_waits_and_a_valid_key_of_the_same_address_does_not() {
    let redis = Redis::start().await;
    let node = Running::start(&redis.url()).await;
    let before = refused(&node, "unknown").await;
    ten_guesses(&node).await;
    for shortest_ms in [250, 500] {
        let (answer, waited) = timed(&node.client(UNKNOWN)).await;
        answer.problem(401, "invalid_key");
        assert!(waited >= Duration::from_millis(shortest_ms), "{waited:?}");
    }
    assert!(refused(&node, "unknown").await >= before + 12);
    // While each guess is delayed by seconds, calls with valid keys or without a key are answered at once. If they
    // were delayed too, one guess would be answered for each of them.
    const VALID: usize = 30;
    let guesses = Cell::new(0);
    let guess = async {
        loop {
            node.client(UNKNOWN).get("plans").await.problem(401, "invalid_key");
            guesses.set(guesses.get() + 1);
        }
    };
    let valid = async {
        for _ in 0..VALID {
            node.client(ROOT_KEY).get("plans").await.expect(200);
            node.client("").get("plans").await.problem(401, "invalid_key");
        }
    };
    tokio::select! {
        () = valid => {}
        () = guess => {}
    }
    assert!(guesses.get() < VALID, "{guesses:?} guesses were answered meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_tells_another_address() {
    let redis = Redis::start().await;
    let node = Running::start(&redis.url()).await;
    for number in 0..10 {
        let api = node.client(UNKNOWN).with("x-forwarded-for", &format!("192.0.2.{number}"));
        api.with("forwarded", &format!("for=192.0.2.{number}")).get("plans").await.problem(401, "invalid_key");
    }
    let (_, waited) = timed(&node.client(UNKNOWN).with("x-forwarded-for", "192.0.2.77")).await;
    assert!(waited >= Duration::from_millis(250), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_answers_that_may_wait_guesses_are_429_at_once_and_valid_keys_are_not() {
    let redis = Redis::start().await;
    let node = Running::with_limits(&redis.url(), Limits { waiting_refusals: 1, ..Limits::default() }).await;
    ten_guesses(&node).await;
    let api = node.client(UNKNOWN);
    let (mut waited, mut refused) = (Vec::new(), Vec::new());
    eventually("one waits, and others are refused meanwhile", async || {
        for answer in join_all((0..8).map(|_| api.get("plans"))).await {
            if answer.status == 401 { &mut waited } else { &mut refused }.push(answer);
        }
        !waited.is_empty() && refused.len() >= 4
    })
    .await;
    for answer in refused {
        assert_eq!(answer.header("retry-after"), Some("2"));
        answer.problem(429, "too_many_refused_keys");
    }
    node.client(ROOT_KEY).get("plans").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_of_guessing_is_counted_by_its_reason() {
    let redis = Redis::start().await;
    let node = Running::start(&redis.url()).await;
    let anyone = node.client("");
    let guesses = [
        ("missing", anyone.clone()),
        ("malformed", node.client("hello")),
        ("unknown", anyone.with("x-api-key", UNKNOWN)),
        ("session", anyone.with("cookie", "quotagate_session=0123456789")),
    ];
    for (reason, api) in guesses {
        let before = refused(&node, reason).await;
        api.get("plans").await.problem(401, "invalid_key");
        assert!(refused(&node, reason).await > before, "{reason}");
    }
    let before = refused(&node, "sign_in").await;
    anyone.post("session", serde_json::json!({"key": UNKNOWN})).await.problem(401, "invalid_key");
    assert!(refused(&node, "sign_in").await > before);
}

//! States in which Redis is reachable but accepts no calls. Each is temporary, so callers are asked to retry.

use serde_json::{Value, json};

use crate::stage::Stage;
use crate::support::{Redis, connect, eventually, free_port};

/// The error code of a command, or `None` if it succeeded.
async fn code(url: &str, words: &[&str]) -> Option<String> {
    let mut connection = match connect(url).await {
        Ok(connection) => connection,
        Err(error) => return Some(error.code().unwrap_or("unreachable").to_owned()),
    };
    let mut command = redis::Cmd::new();
    command.arg(words);
    let answer = command.query_async::<redis::Value>(&mut connection).await;
    answer.err().map(|error| error.code().unwrap_or("unreachable").to_owned())
}

/// Number of attempts, since the first calls after a restart may only notice that their connection is gone.
const CALLS: usize = 10;

async fn refused(stage: &Stage, state: &str) {
    let held = json!({"userId": "u", "event": "image.render"});
    for number in 0..CALLS {
        let answer = stage.answer("reserve", &format!("{state}-{number}"), &held).await;
        let reported = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        let problem: Value = answer.json().await.unwrap();
        assert_eq!((reported, &problem["code"]), ((503, true), &json!("store_unavailable")), "{state}: {problem}");
    }
}

/// Whether the node reports that it is ready, and its warnings.
async fn ready(stage: &Stage) -> (bool, String) {
    let node = stage.nodes.read().unwrap()[0].clone();
    let http = crate::support::http().build().unwrap();
    let answer = http.get(format!("{node}/readyz")).send().await.unwrap();
    let is_ready = answer.status() == 200;
    let reported: Value = answer.json().await.unwrap();
    assert_eq!(reported["ready"], is_ready, "{reported}");
    (is_ready, reported["warnings"].to_string())
}

/// Checks that refused calls counted nothing and the next one is accepted.
async fn goes_on(stage: &Stage, held: u64) {
    let call = json!({"userId": "u", "event": "image.render"});
    let key = format!("then-{held}");
    eventually("the next call is taken", || async { stage.answer("reserve", &key, &call).await.status() == 200 }).await;
    let usage = stage.call("GET", "usage?userId=u&event=image.render", &Value::Null).await;
    let images = usage["counters"].as_array().unwrap().iter().find(|counter| counter["groupId"] == "images").unwrap();
    assert_eq!((&images["used"], &images["held"]), (&json!(0), &json!(held)), "{usage}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_made_a_replica_or_is_busy_with_a_script_is_unavailable() {
    let redis = Redis::with(&["--busy-reply-threshold", "1"]).await;
    let (stage, url, nowhere) = (Stage::set(redis.url(), 1).await, redis.url(), free_port().to_string());
    goes_on(&stage, 1).await;

    redis.run::<()>(&["REPLICAOF", "127.0.0.1", &nowhere]).await;
    assert_eq!(code(&url, &["SET", "x", "1"]).await.as_deref(), Some("READONLY"));
    refused(&stage, "READONLY").await;
    let (is_ready, warnings) = ready(&stage).await;
    assert!(!is_ready && warnings.contains("Redis is a replica"), "{warnings}");
    redis.run::<()>(&["CONFIG", "SET", "replica-serve-stale-data", "no"]).await;
    assert_eq!(code(&url, &["GET", "x"]).await.as_deref(), Some("MASTERDOWN"));
    refused(&stage, "MASTERDOWN").await;
    redis.run::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    goes_on(&stage, 2).await;
    assert!(ready(&stage).await.0);

    // Every command is allowed except for the one that decides.
    redis.run::<()>(&["ACL", "SETUSER", "default", "-fcall"]).await;
    assert!(!ready(&stage).await.0);
    redis.run::<()>(&["ACL", "SETUSER", "default", "+fcall"]).await;
    assert!(ready(&stage).await.0);

    let busy = tokio::spawn({
        let url = url.clone();
        async move { code(&url, &["EVAL", "while true do end", "0"]).await }
    });
    eventually("Redis is busy", || async { code(&url, &["GET", "x"]).await.as_deref() == Some("BUSY") }).await;
    refused(&stage, "BUSY").await;
    assert_eq!(code(&url, &["SCRIPT", "KILL"]).await, None);
    assert!(busy.await.unwrap().is_some(), "the script was killed");
    goes_on(&stage, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_still_loads_its_file_is_unavailable() {
    // Loading takes 0.2 s per key, and Redis serves its clients after each kilobyte.
    let slowly =
        ["--appendonly", "no", "--key-load-delay", "200000", "--loading-process-events-interval-bytes", "1024"];
    let mut redis = Redis::with(&slowly).await;
    let (stage, url) = (Stage::set(redis.url(), 1).await, redis.url());
    goes_on(&stage, 1).await;
    for number in 0..200 {
        redis.run::<()>(&["SET", &format!("filler{number}"), &"x".repeat(2048)]).await;
    }
    redis.run::<()>(&["CONFIG", "SET", "rdbcompression", "no"]).await;
    redis.run::<()>(&["SAVE"]).await;
    redis.kill();
    tokio::join!(redis.start_again(), async {
        let is_loading = || async { code(&url, &["GET", "x"]).await.as_deref() == Some("LOADING") };
        eventually("Redis loads", is_loading).await;
        refused(&stage, "LOADING").await;
        assert!(is_loading().await, "it still does");
        assert_eq!(code(&url, &["CONFIG", "SET", "key-load-delay", "0"]).await, None);
    });
    goes_on(&stage, 2).await;
}

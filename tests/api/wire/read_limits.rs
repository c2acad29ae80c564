//! Reads never starve metering calls: long reads are limited per key and node, and a change is read once per node.

use std::time::Duration;

use quotagate::http::middleware::limits::Limits;
use serde_json::{Value, json};

use crate::support::{Api, ROOT_KEY, Redis, Running, World, eventually, monthly, new_key};

/// How often Redis ran a command.
async fn calls(redis: &Redis, command: &str) -> u64 {
    let stats: String = redis.run(&["INFO", "commandstats"]).await;
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|rest| rest.split(',').next()).map_or(0, |count| count.parse().unwrap())
}

/// Sends calls concurrently while Redis hangs, and returns the answers that arrive: they are 429.
async fn refused(redis: &Redis, calls: Vec<(Api, &'static str)>, expected: usize) -> Vec<crate::support::Answer> {
    redis.hang();
    let (reported, mut answers) = tokio::sync::mpsc::unbounded_channel();
    for (api, path) in calls {
        let reported = reported.clone();
        tokio::spawn(async move { reported.send(api.get(path).await) });
    }
    drop(reported);
    let mut refused = Vec::new();
    while refused.len() < expected {
        refused.push(answers.recv().await.unwrap());
    }
    redis.wake();
    while let Some(answer) = answers.recv().await {
        assert_ne!(answer.status, 429, "more are refused than there should be: {}", answer.text);
    }
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_are_bounded_per_key_and_per_node() {
    let redis = Redis::start().await;
    let node = Running::with(&redis.url(), Duration::from_secs(30)).await;
    let admin = node.client(ROOT_KEY);
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(node.client(&new_key(&admin, json!({"kind": "secret", "mode": "test"})).await));
    }
    for key in &keys {
        key.get("events").await.expect(200);
    }
    // Eight per key; other kinds of reads have separate limits.
    let reported = refused(&redis, vec![(keys[0].clone(), "events?event=none"); 11], 3).await;
    for answer in reported {
        assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), (Some("1"), Some("true")));
        let problem = answer.problem(429, "too_many_reads");
        assert_eq!(problem["detail"], "At most 8 reads of this kind can run at the same time per key. Retry later.");
    }
    keys[0].get("events").await.expect(200);
    // 32 per node: five keys with eight each are eight too many.
    let all = keys.iter().flat_map(|key| vec![(key.clone(), "events?event=none"); 8]).collect();
    for answer in refused(&redis, all, 8).await {
        let problem = answer.problem(429, "too_many_reads");
        assert_eq!(problem["detail"], "At most 32 reads of this kind can run at the same time per node. Retry later.");
    }
    keys[0].get("events").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_read_that_may_be_long_is_bounded() {
    let redis = Redis::start().await;
    // A node that accepts none of them.
    let node = Running::with_limits(&redis.url(), Limits { reads_of_key: 0, ..Limits::default() }).await;
    let admin = node.client(ROOT_KEY).with("x-mode", "test");
    for path in [
        "events",
        "audit?actor=nobody",
        "reports/usage",
        "reports/unusual",
        "reports/forecast?userId=u",
        "reports/limits",
        "estimates",
        "users",
        "users/u",
        "approvals",
        "alerts",
        "grants",
        "limits?groupId=images",
        "usage/history?userId=u",
        "explain?userId=u&event=image.a",
        "plans/p/versions",
        "webhooks/none/deliveries",
        "counters?groupId=images",
    ] {
        admin.get(path).await.problem(429, "too_many_reads");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_matches_nothing_reads_a_bounded_number_of_entries_in_small_pages() {
    let world = World::new().await;
    let ledger = "qg:{default:test/main}:ledger";
    let mut fill = redis::pipe();
    for place in 0..12_000 {
        let (add, id) = (fill.cmd("XADD").arg(ledger), format!("{}-0", 1_700_000_000_000_u64 + place));
        add.arg(id).arg(&["type", "track", "at", "1700000000000", "late", "0", "op", "-"]);
        add.arg(&["about", "image.a key_1 u", "charges", "-", "memo", "", "told", ""]).ignore();
    }
    fill.query_async::<()>(&mut world.redis.connect().await).await.unwrap();
    let before = calls(&world.redis, "xrevrange").await;
    let first = world.app.get("events?event=none&type=track&limit=1").await.expect(200);
    let reads = calls(&world.redis, "xrevrange").await - before;
    assert_eq!(first["data"], json!([]));
    assert!((50..=120).contains(&reads), "10,000 entries, at most 200 at a time: {reads} reads");
    let cursor = first["nextCursor"].as_str().expect("an empty page may have a next one");
    let second = world.app.get(&format!("events?event=none&type=track&limit=1&cursor={cursor}")).await.expect(200);
    assert_eq!((&second["data"], &second["nextCursor"]), (&json!([]), &Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_one_user_is_read_once_however_many_streams_follow_the_user() {
    const STREAMS: usize = 200;
    let world = World::new().await;
    world.admin.plan("p", monthly(500)).await;
    world.app.subscribe("u", "p").await;
    let mut streams = Vec::new();
    for place in 0..STREAMS {
        let filter = if place % 2 == 0 { "" } else { "&event=image.*" };
        let mut stream = world.app.open(&format!("usage/stream?userId=u{filter}")).await;
        assert_eq!(stream.status(), 200);
        // The first state comes at once.
        stream.chunk().await.unwrap().unwrap();
        streams.push(stream);
    }
    // The watch has read once since the last stream was opened.
    let opened = calls(&world.redis, "fcall").await;
    eventually("the watch looks", || async { calls(&world.redis, "fcall").await > opened }).await;
    let before = calls(&world.redis, "fcall").await;
    let id = world.app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    for stream in &mut streams {
        loop {
            let text = String::from_utf8(stream.chunk().await.unwrap().unwrap().to_vec()).unwrap();
            if text.contains("\"held\":1") {
                break;
            }
        }
    }
    let reads = calls(&world.redis, "fcall").await - before;
    assert!(reads < STREAMS as u64 / 2, "{reads} calls of functions for one change and {STREAMS} streams");
    world.app.release(&id).await;
    // Without streams nothing is read.
    drop(streams);
    eventually("the watch ends", || async {
        let before = calls(&world.redis, "fcall").await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        calls(&world.redis, "fcall").await == before
    })
    .await;
}

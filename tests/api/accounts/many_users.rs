//! A million users: the cost of a page does not depend on their number.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;

use crate::support::{Redis, World, monthly};

const USERS: u64 = 1_000_000;

/// Writes users in the same form as subscriptions, but inside Redis: over HTTP it would take minutes.
async fn furnish(redis: &Redis) {
    let fill = "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
        local name = string.format('user_%07d', i)
        redis.call('ZADD', KEYS[1], 0, name)
        redis.call('HSET', KEYS[2] .. name, 'version', 1, 'plan', 'p', 'since', '2027-01-01T00:00:00Z')
    end";
    // The file is never read, and writing it takes longer than the rest.
    redis.run::<()>(&["CONFIG", "SET", "appendonly", "no"]).await;
    for start in (0..USERS).step_by(5_000) {
        let (from, to) = (start.to_string(), (start + 4_999).to_string());
        let keys = ["qg:{default:live}:users", "qg:{default:live}:account:user:"];
        redis.run::<()>(&["EVAL", fill, "2", keys[0], keys[1], &from, &to]).await;
    }
}

/// Number of calls so far, by command.
async fn calls(redis: &Redis) -> BTreeMap<String, u64> {
    let info: String = redis.run(&["INFO", "commandstats"]).await;
    let read = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    info.lines().filter_map(read).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_users_are_paged_and_searched_without_a_command_that_walks_them_all() {
    let world = World::new().await;
    world.admin.plan("p", monthly(3)).await;
    furnish(&world.redis).await;
    world.redis.run::<()>(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]).await;
    world.redis.run::<()>(&["CONFIG", "SET", "slowlog-max-len", "100000"]).await;
    world.redis.run::<()>(&["SLOWLOG", "RESET"]).await;
    world.redis.run::<()>(&["CONFIG", "RESETSTAT"]).await;
    let mut slowest_ms: f64 = 0.0;
    let cursor = |number: u64| hex::encode(format!("user_{number:07}"));
    let mut looked_at = 0;
    for (query, first) in [
        ("limit=200".to_owned(), 0),
        (format!("limit=200&cursor={}", cursor(499_999)), 500_000),
        (format!("limit=200&cursor={}", cursor(999_799)), 999_800),
        ("limit=200&search=user_07".to_owned(), 700_000),
        (format!("limit=200&search=user_07&cursor={}", cursor(754_321)), 754_322),
        ("limit=10&search=user_012345".to_owned(), 123_450),
    ] {
        let started = Instant::now();
        let page = world.admin.get(&format!("users?{query}")).await.expect(200);
        slowest_ms = slowest_ms.max(started.elapsed().as_secs_f64() * 1000.0);
        let data = page["data"].as_array().unwrap();
        let wanted = if query.starts_with("limit=10&") { 10 } else { 200 };
        looked_at += wanted + 1;
        assert_eq!((data.len(), data[0]["userId"].as_str()), (wanted, Some(&*format!("user_{first:07}"))), "{query}");
        assert_eq!(page["nextCursor"].is_null(), first == 999_800 || wanted == 10, "{query}");
    }
    // The cost of a page does not depend on the number of users.
    let calls = calls(&world.redis).await;
    assert!(calls["hmget"] <= looked_at as u64, "{calls:?}");
    // Nodes also do background work, so the commands are not listed completely: only those that iterate over
    // everything.
    let walk = ["keys", "scan", "hscan", "sscan", "zscan", "hkeys", "hvals", "smembers", "sort", "sort_ro"];
    let walked: Vec<&str> = walk.into_iter().filter(|name| calls.contains_key(*name)).collect();
    assert!(walked.is_empty(), "{walked:?}");
    // Background calls of nodes increase with time, so only the commands of pages are counted.
    let all: u64 = ["hmget", "zrange", "zrangebylex"].iter().filter_map(|name| calls.get(*name)).sum();
    assert!(all < 2 * looked_at as u64, "{all} calls: {calls:?}");
    let slowest: redis::Value = world.redis.run(&["SLOWLOG", "GET", "-1"]).await;
    let taken = |entry: redis::Value| match entry {
        redis::Value::Array(fields) => redis::from_redis_value::<u64>(fields.into_iter().nth(2)?).ok(),
        _ => None,
    };
    let redis::Value::Array(entries) = slowest else { panic!("{slowest:?}") };
    let slowest_us = entries.into_iter().filter_map(taken).max().unwrap();
    println!("slowest page {slowest_ms:.1} ms, slowest command {slowest_us} µs, {all} calls for {looked_at} users");
    any_part_is_found_in_bounded_pages(&world).await;
}

/// Searching inside IDs reads 50,000 IDs for each page, however far away the match is.
async fn any_part_is_found_in_bounded_pages(world: &World) {
    let before = calls(&world.redis).await["zrange"];
    let (mut pages, mut slowest_ms, mut cursor) = (0, 0.0_f64, String::new());
    let found = loop {
        let started = Instant::now();
        let page = world.admin.get(&format!("users?contains=R_0999998{cursor}")).await.expect(200);
        slowest_ms = slowest_ms.max(started.elapsed().as_secs_f64() * 1000.0);
        pages += 1;
        if let Some(user) = page["data"].as_array().unwrap().first() {
            break user["userId"].clone();
        }
        cursor = format!("&cursor={}", page["nextCursor"].as_str().unwrap());
    };
    assert_eq!((found, pages), (json!("user_0999998"), USERS / 50_000));
    let reads = calls(&world.redis).await["zrange"] - before;
    // Fifty per page, plus background work of the node.
    assert!((50 * pages..60 * pages + 100).contains(&reads), "{reads} reads for {pages} pages");
    println!("any part: {pages} pages, the slowest {slowest_ms:.1} ms, {reads} reads");
}

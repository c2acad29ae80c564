//! A Redis that is killed and restarts from its append-only file.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use rand::RngExt;

use crate::outside::{Watch, is_as_acknowledged, is_at_most_acknowledged};
use crate::stage::Stage;
use crate::support::seeds::choices;
use crate::support::{Redis, redis_program};
use crate::traffic::Traffic;

async fn killed(times: usize) {
    let mut redis = Redis::with(&["--appendfsync", "always"]).await;
    let stage = Stage::set(redis.url(), 2).await;
    let (traffic, watch) = (Traffic::start(&stage).await, Watch::start(&redis.url()));
    for _ in 0..times {
        let before = traffic.seen().unavailable.load(Ordering::Relaxed);
        redis.kill();
        traffic
            .until("callers learn that the store is unavailable", || {
                traffic.seen().unavailable.load(Ordering::Relaxed) >= before + 20
            })
            .await;
        redis.start_again().await;
        traffic.goes_on(200).await;
    }
    let book = traffic.stop(&format!("Redis killed {times} times, fsync always")).await;
    watch.stop().await;
    is_as_acknowledged(&redis.url(), &stage, &book).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_killed_in_mid_traffic_comes_back_with_all_that_was_acknowledged() {
    killed(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_a_redis_killed_50_times_comes_back_with_all_that_was_acknowledged() {
    killed(50).await;
}

/// The most that is cut off the append-only file: several calls, and part of the last remaining one.
const MOST_TORN_BYTES: u64 = 20_000;

/// Truncates a file to its last complete transaction. Redis 7.0 itself truncates it only to the last complete command,
/// and the remaining half of a script would take effect at the next start but one.
pub fn mend(directory: &Path) {
    let program = redis_program().replace("server", "check-aof");
    let mut check = Command::new(program);
    check.arg("--fix").arg(directory.join("appendonly.aof.manifest"));
    let mut check = check.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // It asks only if there is something to cut off, and may have exited without asking.
    let _ = check.stdin.take().unwrap().write_all(b"y\n");
    assert!(check.wait().unwrap().success());
}

/// Simulates a power cut without `appendfsync always`: the end of the file never reached the disk.
async fn torn(times: usize) {
    let mut redis = Redis::with(&["--appendfsync", "everysec", "--aof-load-truncated", "yes"]).await;
    let stage = Stage::set(redis.url(), 2).await;
    let (traffic, watch) = (Traffic::that_may_lose(&stage).await, Watch::start(&redis.url()));
    let mut random = choices();
    for _ in 0..times {
        // The cut removes traffic, not the configuration before it.
        traffic.goes_on(200).await;
        redis.kill();
        let directory = redis.socket().parent().unwrap().join("appendonlydir");
        let files = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
        let log = files.into_iter().find(|path| path.to_str().unwrap().ends_with(".incr.aof")).unwrap();
        let log = std::fs::OpenOptions::new().write(true).open(log).unwrap();
        let bytes = log.metadata().unwrap().len();
        log.set_len(bytes.saturating_sub(random.random_range(1..MOST_TORN_BYTES))).unwrap();
        mend(&directory);
        redis.start_again().await;
        traffic.goes_on(200).await;
    }
    let gone = traffic.seen().gone.load(Ordering::Relaxed);
    let book = traffic.stop(&format!("the end of the append-only file torn off {times} times")).await;
    watch.stop().await;
    let lost = is_at_most_acknowledged(&redis.url(), &stage, &book).await;
    println!("{lost} acknowledged events lost, {gone} reservations gone with what was torn off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_lost_the_end_of_its_file_has_whole_calls_only() {
    torn(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_a_redis_that_lost_the_end_of_its_file_50_times_has_whole_calls_only() {
    torn(50).await;
}

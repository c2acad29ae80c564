//! A Redis that keeps its connections and answers nothing.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::outside::{Watch, is_as_acknowledged};
use crate::stage::{Build, HASTY_MS, Stage};
use crate::support::Redis;
use crate::traffic::Traffic;

/// A call may need a few round trips, and the machine may be busy.
const BOUND_MS: u64 = HASTY_MS + 2500;

/// Returns how long the slowest 503 took (ms).
async fn hung(times: usize, pause: Duration) -> u64 {
    let redis = Redis::start().await;
    let stage = Stage::of(redis.url(), 2, Build::default().hasty()).await;
    let (traffic, watch) = (Traffic::start(&stage).await, Watch::start(&redis.url()));
    let mut slowest = Duration::ZERO;
    for _ in 0..times {
        let before = traffic.seen().unavailable.load(Ordering::Relaxed);
        let begun = Instant::now();
        redis.hang();
        traffic
            .until("calls fail until the pause is over", || {
                traffic.seen().unavailable.load(Ordering::Relaxed) >= before + 16 && begun.elapsed() >= pause
            })
            .await;
        redis.wake();
        // No restart is needed, and no backlog has to be processed first.
        let woken = Instant::now();
        traffic.goes_on(100).await;
        slowest = slowest.max(woken.elapsed());
    }
    println!("100 calls answered at most {} ms after Redis woke", slowest.as_millis());
    let longest_ms = traffic.seen().longest_503_ms.load(Ordering::Relaxed);
    let book = traffic.stop(&format!("Redis paused {times} times for {pause:?}")).await;
    watch.stop().await;
    is_as_acknowledged(&redis.url(), &stage, &book).await;
    longest_ms
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_hangs_calls_are_503_and_the_gateway_recovers_by_itself() {
    hung(1, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_while_redis_hangs_for_10_s_calls_are_503_soon_and_the_gateway_recovers_by_itself() {
    let longest_ms = hung(3, Duration::from_secs(10)).await;
    assert!(longest_ms <= BOUND_MS, "a 503 came after {longest_ms} ms");
}

//! A Redis that is killed and comes back with its append-only file.

use std::sync::atomic::Ordering;

use crate::outside::{Watch, is_as_told};
use crate::stage::Stage;
use crate::support::Redis;
use crate::traffic::Traffic;

async fn killed(times: usize) {
    let mut redis = Redis::with(&["--appendfsync", "always"]).await;
    let stage = Stage::set(redis.url(), 2).await;
    let (traffic, watch) = (Traffic::start(&stage).await, Watch::start(&redis));
    for _ in 0..times {
        let before = traffic.seen().unavailable.load(Ordering::Relaxed);
        redis.kill();
        traffic
            .until("callers are told that the store is away", || {
                traffic.seen().unavailable.load(Ordering::Relaxed) >= before + 20
            })
            .await;
        redis.start_again().await;
        traffic.goes_on(200).await;
    }
    let book = traffic.stop(&format!("Redis killed {times} times, fsync always")).await;
    watch.stop().await;
    is_as_told(&redis, &stage, &book).await;
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

//! Gateways that die without a word.

use std::sync::atomic::Ordering;

use rand::RngExt;

use crate::outside::{Watch, is_as_told};
use crate::stage::Stage;
use crate::support::Redis;
use crate::traffic::Traffic;

/// Kills one of two gateways again and again, each time after a random number of calls.
async fn killed(times: usize) {
    let redis = Redis::start().await;
    let mut stage = Stage::set(redis.url(), 2).await;
    let (traffic, watch) = (Traffic::start(&stage).await, Watch::start(&redis.url()));
    for _ in 0..times {
        let (place, calls) = (rand::rng().random_range(0..2), rand::rng().random_range(1..80));
        traffic.goes_on(calls).await;
        stage.kill(place).await;
        stage.start(place).await;
    }
    traffic.goes_on(50).await;
    assert!(traffic.seen().broken.load(Ordering::Relaxed) > 0, "calls were cut");
    let book = traffic.stop(&format!("a gateway killed {times} times")).await;
    watch.stop().await;
    is_as_told(&redis.url(), &stage, &book).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_killed_in_mid_traffic_lose_and_double_nothing() {
    killed(5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_gateways_killed_200_times_lose_and_double_nothing() {
    killed(200).await;
}

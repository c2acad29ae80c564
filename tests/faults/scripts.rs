//! A Redis that loses its script cache.

use std::sync::atomic::Ordering;

use crate::outside::{Watch, is_as_acknowledged};
use crate::stage::Stage;
use crate::support::Redis;
use crate::traffic::Traffic;

async fn flushed(times: usize) {
    let redis = Redis::start().await;
    let stage = Stage::set(redis.url(), 2).await;
    let (traffic, watch) = (Traffic::start(&stage).await, Watch::start(&redis.url()));
    for time in 0..times {
        let kind = if time % 2 == 0 { "SCRIPT" } else { "FUNCTION" };
        redis.run::<String>(&[kind, "FLUSH"]).await;
        traffic.goes_on(5).await;
    }
    assert_eq!(traffic.seen().unavailable.load(Ordering::Relaxed), 0, "a missing script is sent again at once");
    let book = traffic.stop(&format!("scripts flushed {times} times")).await;
    watch.stop().await;
    is_as_acknowledged(&redis.url(), &stage, &book).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_flushed_in_mid_traffic_are_not_noticed() {
    flushed(40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_scripts_flushed_2000_times_are_not_noticed() {
    flushed(2000).await;
}

//! Gateways whose clocks are far off: only the time of Redis counts.

use serde_json::Value;

use crate::outside::{Watch, is_as_acknowledged};
use crate::preload::{Preload, clock_off};
use crate::stage::{Build, Stage};
use crate::support::Redis;
use crate::traffic::Traffic;

const STEP: u64 = 300;
const TWO_DAYS_MS: i64 = 2 * 24 * 3_600_000;

async fn off(calls: u64) {
    let redis = Redis::start().await;
    let clock = Preload::build("shifted_clock");
    let mut stage = Stage::set(redis.url(), 2).await;
    for (place, ms) in [(0, TWO_DAYS_MS), (1, -TWO_DAYS_MS)] {
        stage.stop(place).await;
        let build = Build { settings: clock_off(&clock, ms), ..Build::default() };
        stage.start_as(place, build).await;
    }
    let nodes = stage.nodes.read().unwrap().clone();
    for node in nodes {
        let http = crate::support::http().build().unwrap();
        let ready: Value = http.get(format!("{node}/readyz")).send().await.unwrap().json().await.unwrap();
        assert!(ready["warnings"].to_string().contains("clock differs"), "the clock is off, and said to be: {ready}");
    }
    let (traffic, watch) = (Traffic::start(&stage).await, Watch::start(&redis.url()));
    // In steps, since a test waits at most a minute for one condition.
    for _ in 0..calls.div_ceil(STEP) {
        traffic.goes_on(STEP).await;
    }
    let book = traffic.stop("one gateway's clock two days ahead, the other's two days behind").await;
    watch.stop().await;
    is_as_acknowledged(&redis.url(), &stage, &book).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(target_os = "linux"), ignore = "the clock of one process is only shifted on Linux")]
async fn clocks_of_gateways_two_days_off_change_nothing() {
    off(300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_clocks_of_gateways_two_days_off_change_nothing_in_4500_calls() {
    off(4_500).await;
}

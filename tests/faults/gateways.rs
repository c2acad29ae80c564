//! Gateways that are killed.

use std::sync::atomic::Ordering;

use rand::RngExt;

use crate::cluster::MASTERS;
use crate::outside::{Watch, is_as_acknowledged};
use crate::sentinel::Group;
use crate::stage::{Build, Stage};
use crate::support::Redis;
use crate::support::cluster::Cluster;
use crate::support::seeds::choices;
use crate::traffic::Traffic;

/// Repeatedly kills one of two gateways, each time after a random number of calls.
async fn killed(times: usize, mut stage: Stage, server_url: &str) {
    let (traffic, watch) = (Traffic::start(&stage).await, Watch::start(server_url));
    let mut random = choices();
    for _ in 0..times {
        let (place, calls) = (random.random_range(0..2), random.random_range(1..80));
        traffic.goes_on(calls).await;
        stage.kill(place).await;
        stage.start(place).await;
    }
    traffic.goes_on(50).await;
    assert!(traffic.seen().broken.load(Ordering::Relaxed) > 0, "calls were cut");
    let book = traffic.stop(&format!("a gateway killed {times} times on {}", stage.redis_url)).await;
    watch.stop().await;
    is_as_acknowledged(server_url, &stage, &book).await;
}

async fn on_one_server(times: usize) {
    let redis = Redis::start().await;
    killed(times, Stage::set(redis.url(), 2).await, &redis.url()).await;
}

async fn on_a_master_with_a_replica(times: usize) {
    let group = Group::start(&[]).await;
    killed(times, Stage::of(group.url(), 2, Build::that_waits()).await, &group.master.url()).await;
}

async fn on_a_cluster(times: usize) {
    let cluster = Cluster::start(MASTERS, true).await;
    let stage = Stage::of(cluster.url(), 2, Build::that_waits()).await;
    killed(times, stage, &cluster.servers[cluster.owner().await].url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_killed_in_mid_traffic_lose_and_double_nothing() {
    on_one_server(5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_that_wait_for_a_replica_are_killed_and_lose_and_double_nothing() {
    on_a_master_with_a_replica(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_on_a_cluster_are_killed_and_lose_and_double_nothing() {
    on_a_cluster(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_gateways_killed_200_times_lose_and_double_nothing() {
    on_one_server(200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_gateways_that_wait_for_a_replica_killed_50_times_lose_and_double_nothing() {
    on_a_master_with_a_replica(50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_gateways_on_a_cluster_killed_50_times_lose_and_double_nothing() {
    on_a_cluster(50).await;
}

//! The embedded Redis, when it or its gateway is killed.

use std::process::Command;
use std::sync::atomic::Ordering;

use rand::RngExt;

use crate::outside::{is_as_acknowledged, is_at_most_acknowledged};
use crate::stage::{Build, Stage};
use crate::support::seeds::choices;
use crate::support::{connect, eventually};
use crate::traffic::Traffic;

/// The process id of the Redis at this URL, if it answers.
pub async fn server_id(url: &str) -> Option<String> {
    let mut connection = connect(url).await.ok()?;
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.ok()?;
    info.lines().find_map(|line| line.strip_prefix("process_id:")).map(|id| id.trim().to_owned())
}

pub async fn stage(appendfsync: &str, program: Option<std::path::PathBuf>) -> Stage {
    let settings = vec![("QUOTAGATE_APPENDFSYNC", appendfsync.to_owned())];
    Stage::of(String::new(), 1, Build { program, settings, ..Build::default() }).await
}

/// Kills the gateway: its Redis keeps running, and the next gateway takes it over.
async fn gateway_killed(times: usize, appendfsync: &str) {
    let mut stage = stage(appendfsync, None).await;
    let traffic = Traffic::start(&stage).await;
    let mut random = choices();
    for _ in 0..times {
        traffic.goes_on(random.random_range(20..100)).await;
        stage.kill(0).await;
        stage.start(0).await;
    }
    traffic.goes_on(100).await;
    let book = traffic.stop(&format!("a gateway with its own Redis killed {times} times, fsync {appendfsync}")).await;
    is_as_acknowledged(&stage.redis_url, &stage, &book).await;
}

/// Kills the Redis server: the gateway restarts it.
async fn server_killed(times: usize, appendfsync: &str) {
    let stage = stage(appendfsync, None).await;
    let may_lose = appendfsync == "everysec";
    let traffic = if may_lose { Traffic::that_may_lose(&stage).await } else { Traffic::start(&stage).await };
    for _ in 0..times {
        traffic.goes_on(200).await;
        let server = server_id(&stage.redis_url).await.unwrap();
        assert!(Command::new("kill").args(["-KILL", &server]).status().unwrap().success());
        eventually("another server is there", || async {
            server_id(&stage.redis_url).await.is_some_and(|other| other != server)
        })
        .await;
        traffic.goes_on(100).await;
    }
    let gone = traffic.seen().gone.load(Ordering::Relaxed);
    let book = traffic.stop(&format!("the gateway's own Redis killed {times} times, fsync {appendfsync}")).await;
    if may_lose {
        let lost = is_at_most_acknowledged(&stage.redis_url, &stage, &book).await;
        println!("{lost} acknowledged events lost, {gone} reservations gone");
    } else {
        is_as_acknowledged(&stage.redis_url, &stage, &book).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_leaves_its_redis_to_the_next_with_all_that_was_acknowledged() {
    gateway_killed(2, "everysec").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_redis_killed_under_fsync_always_comes_back_with_all_that_was_acknowledged() {
    server_killed(2, "always").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_redis_killed_under_fsync_everysec_comes_back_and_doubles_nothing() {
    server_killed(2, "everysec").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_50_killed_gateways_leave_their_redis_to_the_next_with_all_that_was_acknowledged() {
    gateway_killed(50, "everysec").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_an_embedded_redis_killed_50_times_under_fsync_always_has_all_that_was_acknowledged() {
    server_killed(50, "always").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_an_embedded_redis_killed_50_times_under_fsync_everysec_doubles_nothing() {
    server_killed(50, "everysec").await;
}

//! Connections between gateway and Redis that break before, during and after a call.

use rand::RngExt;

use crate::outside::{Watch, is_as_acknowledged};
use crate::proxy::{CUTS, Proxy};
use crate::stage::Stage;
use crate::support::Redis;
use crate::support::seeds::choices;
use crate::traffic::Traffic;

async fn cut(times: usize) {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.socket()).await;
    let stage = Stage::set(proxy.url.clone(), 2).await;
    let (traffic, watch) = (Traffic::start(&stage).await, Watch::start(&redis.url()));
    let mut random = choices();
    for time in 0..times {
        let how = CUTS[time % CUTS.len()];
        // A gateway repeats a call once by itself; more cuts in a row reach the caller.
        let calls = random.random_range(1..=4);
        let wanted = proxy.cuts(how) + calls;
        proxy.cut(how, calls);
        traffic.until("the connections are cut", || proxy.cuts(how) >= wanted).await;
        traffic.goes_on(20).await;
    }
    let [before, within, after] = CUTS.map(|how| proxy.cuts(how));
    let what = format!("connections cut {before} times before, {within} within and {after} after a script call");
    let book = traffic.stop(&what).await;
    watch.stop().await;
    is_as_acknowledged(&redis.url(), &stage, &book).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_around_a_script_lose_and_double_nothing() {
    cut(9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_connections_cut_600_times_around_a_script_lose_and_double_nothing() {
    cut(600).await;
}

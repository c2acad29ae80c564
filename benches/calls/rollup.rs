//! Do reports keep up? What is left to fold when a load ends, and how long that takes.

use std::time::{Duration, Instant};

use crate::load::{Turn, run};
use crate::stage::Stage;
use crate::{CONNECTIONS, tell};

const LOADED: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// Entries of the ledger, and how many of them rows of reports count.
async fn standing(stage: &Stage) -> (u64, u64) {
    let entries: u64 = stage.redis.run(&["XLEN", "qg:{default:live}:ledger"]).await;
    let cursor: Option<String> = stage.redis.run(&["GET", "qg:{default:live}:rollup:cursor:ledger"]).await;
    let folded = cursor.and_then(|cursor| cursor.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    (entries, folded)
}

/// Returns when reports include all calls. Not for a cluster, whose app has other buckets.
pub async fn wait_until_folded(stage: &Stage) {
    let (entries, _) = standing(stage).await;
    while standing(stage).await.1 < entries {
        tokio::time::sleep(LOOK).await;
    }
}

pub async fn report_all() {
    let stage = Stage::set(1).await;
    let load = run(&stage, Turn::Pair, CONNECTIONS, LOADED).await;
    let (entries, folded) = standing(&stage).await;
    let begun = Instant::now();
    wait_until_folded(&stage).await;
    let taken = begun.elapsed().as_secs_f64();
    println!("{LOADED:?} of {:.0} reserves and commits a second: {entries} entries of the ledger", load.rate);
    let left = entries - folded;
    tell("of them not yet in reports when the load ended", format!("{left}"), "");
    tell("seconds until they were", format!("{taken:.1}"), "");
}

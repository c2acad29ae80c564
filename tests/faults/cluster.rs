//! A Redis Cluster of three masters. Under load, the slot of all counters moves from one master to another, or the
//! master that owns it is killed. Afterwards, batches whose operations are on all masters go on while the slot of some
//! of them moves, and while a master does not answer.

use std::sync::atomic::Ordering;

use crate::batches::{A_BUCKET_KEY, Batches};
use crate::outside::{is_as_acknowledged, is_at_most_acknowledged};
use crate::stage::{Build, Stage};
use crate::support::cluster::Cluster;
use crate::support::{connect, eventually};
use crate::traffic::Traffic;

pub const MASTERS: usize = 3;
/// A key in the app's slot.
const A_KEY: &str = "qg:{default:live}:stamp";

impl Cluster {
    pub async fn owner(&self) -> usize {
        self.owner_of(A_KEY).await
    }

    /// Moves the slot of a key to the next master, key by key; `between` is awaited after every few keys.
    async fn migrate(&self, key: &str, between: impl AsyncFn()) -> usize {
        let moving = self.begin_to_move(key, MASTERS).await;
        self.end_move(&moving, between).await
    }
}

impl Cluster {
    /// Stops the first master until a batch is answered in part: 503 for its users, and the others' operations decided.
    async fn hang_first(&self, batches: &Batches) {
        // Otherwise a master that the others consider dead would stop all of them.
        for server in &self.servers {
            server.run::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await;
        }
        self.servers[0].hang();
        batches.are_decided_in_part().await;
        self.servers[0].wake();
        batches.goes_on(2).await;
    }

    /// Kills the slot's master once its replica has all data; no replica is promoted before [`Cluster::promote`].
    pub async fn lose_master(&mut self) {
        let owner = self.owner().await;
        for server in &self.servers {
            server.run::<()>(&["CONFIG", "SET", "cluster-replica-no-failover", "yes"]).await;
        }
        assert_eq!(self.servers[owner].run::<u64>(&["WAIT", "1", "10000"]).await, 1);
        self.servers[owner].kill();
    }

    /// Lets a replica replace the lost master.
    pub async fn promote(&mut self) {
        for server in &self.servers {
            let Ok(mut connection) = connect(&server.url()).await else { continue };
            let mut allow = redis::cmd("CONFIG");
            allow.arg("SET").arg("cluster-replica-no-failover").arg("no");
            allow.query_async::<()>(&mut connection).await.unwrap();
        }
        eventually("the replica is promoted", || async { self.serving(A_KEY).await.is_some() }).await;
    }
}

async fn migrated(times: usize) {
    let cluster = Cluster::start(MASTERS, false).await;
    // While a call's keys are spread over two masters, a gateway retries it until its timeout.
    let stage = Stage::of(cluster.url(), 2, Build::default().hasty()).await;
    let traffic = Traffic::start(&stage).await;
    let mut moved = 0;
    for _ in 0..times {
        let reported = || {
            let seen = traffic.seen();
            seen.answered.load(Ordering::Relaxed) + seen.unavailable.load(Ordering::Relaxed)
        };
        // Such a call may fail, and its caller repeats it.
        moved += cluster
            .migrate(A_KEY, async || {
                let wanted = reported() + 2;
                traffic.until("calls are answered", || reported() >= wanted).await;
            })
            .await;
        traffic.goes_on(100).await;
    }
    assert!(moved > 0);
    let book = traffic.stop(&format!("the slot moved {times} times with {moved} keys in all")).await;
    let owner = cluster.owner().await;
    is_as_acknowledged(&cluster.servers[owner].url(), &stage, &book).await;

    // Only batches, so that they take little time.
    let batches = Batches::beside(&stage, "user").await;
    for _ in 0..times {
        // While keys of all that remains to be done are spread over two masters, nothing is decided.
        assert!(cluster.migrate(A_BUCKET_KEY, async || batches.are_tried(2).await).await > 0);
        batches.goes_on(2).await;
    }
    cluster.hang_first(&batches).await;
    batches.stop(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_migrated_in_mid_traffic_loses_and_doubles_nothing() {
    migrated(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_a_slot_migrated_30_times_loses_and_doubles_nothing() {
    migrated(30).await;
}

/// Repeatedly kills the master of the slot: its replica is promoted, and the old master returns as a replica.
async fn lost(times: usize, waits: bool) {
    let mut cluster = Cluster::start(MASTERS, true).await;
    let build = if waits { Build::that_waits().hasty() } else { Build::default() };
    let stage = Stage::of(cluster.url(), 2, build).await;
    let traffic = if waits { Traffic::start(&stage).await } else { Traffic::that_may_lose(&stage).await };
    let mut may_be_lost = 0;
    for _ in 0..times {
        traffic.goes_on(200).await;
        let owner = cluster.owner().await;
        let bound = traffic.bound_on_loss(&cluster.servers[owner]).await;
        cluster.servers[owner].kill();
        may_be_lost += bound.by_now(&traffic);
        eventually("the replica is promoted", || async { cluster.serving(A_KEY).await.is_some() }).await;
        if !waits {
            // Also while there is no replica.
            traffic.goes_on(100).await;
        }
        cluster.servers[owner].start_again().await;
        cluster.follows(owner).await;
        traffic.goes_on(200).await;
    }
    let gone = traffic.seen().gone.load(Ordering::Relaxed);
    let how = if waits { "each call waiting for a replica" } else { "replication not awaited" };
    let book = traffic.stop(&format!("a master of the cluster killed {times} times, {how}")).await;
    let url = cluster.servers[cluster.owner().await].url();
    if waits {
        is_as_acknowledged(&url, &stage, &book).await;
    } else {
        let lost = is_at_most_acknowledged(&url, &stage, &book).await;
        println!("{lost} acknowledged events lost, {gone} reservations gone");
        assert!(lost + gone <= may_be_lost, "{lost} and {gone} lost, of {may_be_lost} that may be");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_the_cluster_killed_in_mid_traffic_is_replaced_and_only_the_last_moment_may_be_lost() {
    lost(1, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_the_cluster_whose_replica_was_waited_for_loses_nothing() {
    lost(1, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_10_masters_of_the_cluster_killed_are_replaced_and_only_the_last_moments_may_be_lost() {
    lost(10, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_10_masters_of_the_cluster_whose_replicas_were_waited_for_lose_nothing() {
    lost(10, true).await;
}

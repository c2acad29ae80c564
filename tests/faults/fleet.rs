//! Several nodes and the background work: one node does it at a time, another takes over when it is gone, and the
//! result does not depend on the number of nodes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use quotagate::domain::values::ids::AppId;
use quotagate::service::nodes::leases::{PARTS, Work, part_of};
use quotagate::store::keys;
use serde_json::{Value, json};

use crate::gateway::{ADMIN_KEY, run};
use crate::stage::Stage;
use crate::support::{Api, Redis, eventually};

/// The name of a node in the list of nodes, once the node has registered itself.
async fn name(redis: &Redis, stage: &Stage, place: usize) -> Option<String> {
    let url = stage.nodes.read().unwrap()[place].clone();
    let reported: Vec<String> = redis.run(&["HVALS", keys::NODES]).await;
    let nodes = reported.iter().map(|about| serde_json::from_str::<Value>(about).unwrap());
    let known = nodes.filter(|about| url.ends_with(about["address"].as_str().unwrap()));
    known.map(|about| about["id"].as_str().unwrap().to_owned()).next()
}

/// The holders of the leases on each partition of a kind of work.
async fn holders(redis: &Redis, work: Work) -> Vec<Option<String>> {
    let names: Vec<String> = (0..PARTS).map(|part| keys::lease(work.as_str(), part)).collect();
    let mut command = vec!["MGET"];
    command.extend(names.iter().map(String::as_str));
    redis.run(&command).await
}

fn default_part() -> usize {
    usize::from(part_of(&AppId::parse("default").unwrap(), 0))
}

/// The node that folds the default app's ledger.
async fn folder(redis: &Redis, stage: &Stage, nodes: usize) -> Option<usize> {
    let holder = holders(redis, Work::Rollups).await[default_part()].clone()?;
    for place in 0..nodes {
        if name(redis, stage, place).await.as_ref() == Some(&holder) {
            return Some(place);
        }
    }
    None
}

/// Waits until each node holds as many partitions as the others.
async fn balanced(redis: &Redis, nodes: usize) {
    for work in Work::ALL {
        eventually("all nodes hold as many parts", async || {
            let holders = holders(redis, work).await;
            let names: BTreeSet<&String> = holders.iter().flatten().collect();
            let share = usize::from(PARTS) / nodes;
            let counts = names
                .iter()
                .map(|name| holders.iter().filter(|holder| holder.as_deref() == Some(name.as_str())).count());
            names.len() == nodes && counts.into_iter().all(|count| count == share)
        })
        .await;
    }
}

fn node(stage: &Stage, place: usize) -> Api {
    Api::at(&stage.nodes.read().unwrap()[place], &stage.key)
}

async fn track(stage: &Stage, place: usize) {
    node(stage, place).post("track", json!({"userId": "u", "event": "job.run"})).await.expect(200);
}

/// The number of ledger entries that the rollup counts.
async fn folded(redis: &Redis) -> u64 {
    let cursor: Option<String> = redis.run(&["GET", "qg:{default:live}:rollup:cursor:ledger"]).await;
    cursor.map_or(0, |cursor| cursor.split(' ').nth(1).unwrap().parse().unwrap())
}

/// The number of rollup rows that a node has written.
async fn writes(stage: &Stage, place: usize) -> u64 {
    let text = node(stage, place).get("/metrics").await.text;
    let name = "quotagate_redis_round_trip_seconds_count{script=\"rollup\"} ";
    text.lines().find_map(|line| line.strip_prefix(name)).map_or(0, |count| count.parse().unwrap())
}

/// Kills the node that folds; returns how long it took until another node had folded new entries.
async fn killed() -> Duration {
    let redis = Redis::start().await;
    let mut stage = Stage::set(redis.url(), 3).await;
    eventually("a node folds", async || folder(&redis, &stage, 3).await.is_some()).await;
    let first = folder(&redis, &stage, 3).await.unwrap();
    stage.kill(first).await;
    let began = Instant::now();
    let other = (first + 1) % 3;
    track(&stage, other).await;
    eventually("another node has folded the new entries", async || folded(&redis).await == 1).await;
    let took = began.elapsed();
    assert_ne!(folder(&redis, &stage, 3).await, Some(first));
    // And folding continues.
    track(&stage, other).await;
    eventually("it folds what comes later", async || folded(&redis).await == 2).await;
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_folds_when_the_one_that_did_is_killed() {
    println!("after {:?}", killed().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_another_node_folds_within_ten_seconds_when_the_one_that_did_is_killed() {
    for _ in 0..10 {
        let took = killed().await;
        println!("after {took:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_the_work_evenly_and_one_that_ends_frees_its_part_at_once() {
    let redis = Redis::start().await;
    let mut stage = Stage::set(redis.url(), 2).await;
    balanced(&redis, 2).await;
    let gone = name(&redis, &stage, 0).await;
    stage.stop(0).await;
    for work in Work::ALL {
        assert!(holders(&redis, work).await.iter().all(|holder| *holder != gone), "{work:?}");
    }
    let left = name(&redis, &stage, 1).await;
    for work in Work::ALL {
        eventually("the other node does all of it", async || {
            holders(&redis, work).await.iter().all(|holder| *holder == left)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_node_that_holds_the_lease_folds() {
    let redis = Redis::start().await;
    let stage = Stage::set(redis.url(), 4).await;
    balanced(&redis, 4).await;
    let mut tracked = 0;
    // On a machine that pauses for seconds a lease may expire.
    eventually("the same node folds for a while", async || {
        let (before, mut written) = (folder(&redis, &stage, 4).await, Vec::new());
        for place in 0..4 {
            written.push(writes(&stage, place).await);
        }
        for place in 0..4 {
            track(&stage, place).await;
        }
        tracked += 4;
        eventually("all is folded", async || folded(&redis).await == tracked).await;
        if before.is_none() || folder(&redis, &stage, 4).await != before {
            return false;
        }
        for (place, written) in written.into_iter().enumerate() {
            assert_eq!(writes(&stage, place).await > written, Some(place) == before, "node {place} of {before:?}");
        }
        true
    })
    .await;
}

/// The rollup rows of all days, by key.
async fn rows(redis: &Redis) -> Vec<(String, Vec<String>)> {
    let rows = redis.contents("qg:*:rollup:*").await;
    rows.into_iter().filter(|(key, _)| !key.contains(":rollup:cursor:")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_hold_the_same_lease_count_each_entry_once() {
    let redis = Redis::start().await;
    let stage = Stage::set(redis.url(), 2).await;
    balanced(&redis, 2).await;
    let holders = holders(&redis, Work::Rollups).await;
    let (one, of_one) = (holders[default_part()].clone().unwrap(), default_part());
    let of_other = holders.iter().position(|holder| holder.as_ref() != Some(&one)).unwrap();
    let other = holders[of_other].clone().unwrap();
    // Each node finds itself to be the holder every other time it checks, and acts on it until it checks again. Each
    // has its fair share of partitions, so neither gives one up.
    let url = redis.url();
    let forced = tokio::spawn(async move {
        let mut connection = crate::support::connect(&url).await.unwrap();
        let leases = [of_one, of_other].map(|part| keys::lease("rollups", u8::try_from(part).unwrap()));
        for (first, second) in std::iter::repeat([(&one, &other), (&other, &one)]).flatten() {
            let mut both = redis::pipe();
            for (lease, holder) in leases.iter().zip([first, second]) {
                both.cmd("SET").arg(lease).arg(holder).arg("PX").arg(5_000).ignore();
            }
            both.atomic().query_async::<()>(&mut connection).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut tracked = 0;
    eventually("both have folded several times", async || {
        for place in 0..2 {
            track(&stage, place).await;
            node(&stage, place).post("reserve", json!({"userId": "v", "event": "image.a", "quantity": 99})).await;
        }
        tracked += 2;
        writes(&stage, 0).await.min(writes(&stage, 1).await) >= 10
    })
    .await;
    forced.abort();
    let admin = Api::at(&stage.nodes.read().unwrap()[0], ADMIN_KEY);
    let report = async || admin.get("reports/usage?by=event,user").await.expect(200);
    let live = report().await;
    let sum = |field: &str| -> i64 {
        live["data"].as_array().unwrap().iter().map(|line| line[field].as_i64().unwrap_or(0)).sum()
    };
    assert_eq!((sum("calls"), sum("denials")), (tracked, tracked), "{live}");
    let before = rows(&redis).await;
    let url = redis.url();
    let output = run(&["rollup", "--rebuild"], &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY), ("QUOTAGATE_REDIS_URL", &url)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(rows(&redis).await, before);
    assert_eq!(report().await, live);
}

/// User and system time of a process so far, in ticks of 10 ms.
fn ticks(stage: &Stage, place: usize) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", stage.process_id(place))).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_three_nodes_without_traffic_take_less_than_three_percent_of_the_busy_ones_time() {
    let redis = Redis::start().await;
    let stage = Stage::set(redis.url(), 4).await;
    balanced(&redis, 4).await;
    let folder = folder(&redis, &stage, 4).await.unwrap();
    let before: Vec<u64> = (0..4).map(|place| ticks(&stage, place)).collect();
    let busy = node(&stage, 0);
    let callers: Vec<_> = (0..32)
        .map(|number| {
            let busy = busy.clone();
            tokio::spawn(async move {
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(30) {
                    let body = json!({"userId": format!("u_{number}"), "event": "job.run"});
                    let id = busy.reserved(body).await;
                    busy.commit(&id).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let spent: Vec<u64> = (0..4).map(|place| ticks(&stage, place) - before[place]).collect();
    println!("ticks of each node: {spent:?}, of which node {folder} folds");
    let idle: u64 = (1..4).filter(|place| *place != folder).map(|place| spent[place]).sum();
    assert!(idle * 100 < spent[0] * 3, "{spent:?}, node {folder} folds");
}

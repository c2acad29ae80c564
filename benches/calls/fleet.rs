//! What calls cost each part of a fleet in processor time, which holds whatever else shares the machine, and whether a
//! model of one Redis and one node foretells three masters and two nodes. docs/scaling.md reckons with these figures.

use std::time::{Duration, Instant};

use crate::gateway::Process;
use crate::load::{self, Turn};
use crate::redis_time::redis_seconds;
use crate::stage::Stage;
use crate::{CONNECTIONS, RUN, tell};

/// Processor time of a call, in microseconds.
pub struct Cost {
    pub gateway: f64,
    pub redis: f64,
    pub generator: f64,
}

/// User and system time of a process so far, in seconds: fields 14 and 15 of `/proc/<pid>/stat`, in ticks of 10 ms.
fn process_seconds(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Processor time so far: of all nodes, of each Redis, of this process.
async fn spent(stage: &Stage) -> (f64, Vec<f64>, f64) {
    let nodes = stage.nodes.iter().map(|node| process_seconds(&node.id().to_string())).sum();
    let mut servers = vec![redis_seconds(&stage.redis).await];
    for redis in &stage.others {
        servers.push(redis_seconds(redis).await);
    }
    (nodes, servers, process_seconds("self"))
}

/// Runs one kind of turn and tells what a turn costs; also turns per second, and the busiest server's share of the work
/// of all.
pub async fn cost(stage: &Stage, turn: Turn) -> (Cost, f64, f64) {
    let before = spent(stage).await;
    let started = Instant::now();
    let load = load::run(stage, turn, CONNECTIONS, RUN).await;
    let turns = load.rate * started.elapsed().as_secs_f64();
    let after = spent(stage).await;
    let servers: Vec<f64> = after.1.iter().zip(&before.1).map(|(after, before)| after - before).collect();
    let all: f64 = servers.iter().sum();
    let micros = |seconds: f64| seconds * 1e6 / turns;
    let cost = Cost { gateway: micros(after.0 - before.0), redis: micros(all), generator: micros(after.2 - before.2) };
    (cost, load.rate, servers.into_iter().fold(0.0, f64::max) / all)
}

/// What nodes without traffic take beside a busy one.
pub async fn idle_nodes() {
    const NODES: usize = 4;
    const SECONDS: u64 = 30;
    let mut stage = Stage::set(NODES).await;
    let idle_nodes = stage.nodes.split_off(1);
    let seconds = |node: &Process| process_seconds(&node.id().to_string());
    let of_all = |stage: &Stage| stage.nodes.iter().chain(&idle_nodes).map(seconds).collect::<Vec<f64>>();
    let before = of_all(&stage);
    load::run(&stage, Turn::Pair, CONNECTIONS, Duration::from_secs(SECONDS)).await;
    let mut spent: Vec<f64> = of_all(&stage).iter().zip(before).map(|(after, before)| after - before).collect();
    spent[1..].sort_by(f64::total_cmp);
    println!("processor seconds in {SECONDS} s of the busy node and of {} without traffic: {spent:.2?}", NODES - 1);
    let idle: f64 = spent[1..NODES - 1].iter().sum();
    tell("idle nodes without the one that folds / the busy node", format!("{:.1} %", idle / spent[0] * 100.0), "< 3 %");
}

fn reported(what: &str, cost: &Cost) {
    println!(
        "{what}: {:.0} us of gateway, {:.0} us of Redis, {:.0} us of the load generator",
        cost.gateway, cost.redis, cost.generator
    );
}

pub async fn report_all() {
    let cores = std::thread::available_parallelism().unwrap().get() as f64;
    let stage = Stage::set(1).await;
    load::run(&stage, Turn::Pair, CONNECTIONS, RUN).await;
    let (reserve, rate, _) = cost(&stage, Turn::Reserve).await;
    reported("a reserve, one Redis, one node", &reserve);
    let (pair, _, _) = cost(&stage, Turn::Pair).await;
    reported("a reserve and its commit", &pair);
    drop(stage);
    let cluster = Stage::on_cluster(2, 3).await;
    cluster.subscribe(0..crate::stage::USERS).await;
    cluster.warm_up().await;
    load::run(&cluster, Turn::Reserve, CONNECTIONS, RUN).await;
    let (spread, found, busiest) = cost(&cluster, Turn::Reserve).await;
    reported("a reserve, three masters, two nodes", &spread);
    // Everything shares the cores of this machine, so they are what is full first.
    let foretold = cores * 1e6 / (reserve.gateway + reserve.redis + reserve.generator);
    println!(
        "reserves per second with all cores busy: {foretold:.0} by the costs of one Redis; found {rate:.0}, on the cluster {found:.0}"
    );
    tell("cluster: reserves found / foretold", format!("{:.2}", found / foretold), "");
    tell("cluster: work of the busiest of three masters / of all", format!("{busiest:.2}"), "0.33");
}

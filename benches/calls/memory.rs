//! Memory of Redis per user and reservation, and of a gateway.

use crate::load::{Connection, each, field};
use crate::stage::{Stage, USERS, address, reserve, user};
use crate::tell;

const KEPT: usize = 20_000;

/// Bytes that Redis has allocated for data.
async fn bytes(stage: &Stage) -> f64 {
    let info: String = stage.redis.run(&["INFO", "memory"]).await;
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory_dataset:"));
    line.unwrap().trim().parse().unwrap()
}

async fn of_redis() {
    let stage = Stage::with(1, 3).await;
    let users = KEPT;
    let empty = bytes(&stage).await;
    stage.subscribe(0..users).await;
    let ids = std::cell::RefCell::new(Vec::new());
    let make = async |connection: &mut Connection, number: usize| {
        let answer = connection.post("reserve", &stage.key, &reserve(&user(number % users))).await;
        ids.borrow_mut().push(field(&answer, "reservationId").to_owned());
    };
    let settle = async |connection: &mut Connection, number: usize| {
        let body = format!("{{\"reservationId\":\"{}\"}}", ids.borrow()[number]);
        connection.post("release", &stage.key, &body).await;
    };
    each(address(&stage.nodes[0]), 0..users, make).await;
    each(address(&stage.nodes[0]), 0..users, settle).await;
    let mut connection = stage.redis.connect().await;
    // Without the records of what is over, and without the ledger and the audit log, which are bounded by number and not
    // by users.
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("qg:{default:live}:op:*").query_async(&mut connection).await.unwrap();
    let streams = ["qg:{default:live}:ledger", "qg:{default:live}:audit"];
    redis::cmd("DEL").arg(keys).arg(&streams).query_async::<()>(&mut connection).await.unwrap();
    ids.borrow_mut().clear();
    let rested = bytes(&stage).await;
    each(address(&stage.nodes[0]), 0..users, make).await;
    let held = bytes(&stage).await;
    each(address(&stage.nodes[0]), 0..users, settle).await;
    redis::cmd("DEL").arg("qg:{default:live}:ledger").query_async::<()>(&mut connection).await.unwrap();
    let finished = bytes(&stage).await;
    let each = |more: f64| format!("{:.0} bytes", more / users as f64);
    tell("Redis memory per user with three groups", each(rested - empty), "<= 350");
    tell("Redis memory per open reservation", each(held - rested), "<= 300");
    tell("Redis memory per finished reservation, until its grace is over", each(finished - rested), "<= 150");
}

/// Resident memory of a process, in MB.
fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// After calls of 100,000 users over 1,000 connections, with 157 plans of 64 groups.
async fn of_gateway() {
    let stage = Stage::set(1).await;
    for number in 0..157 {
        let path = format!("plans/plan_{number}");
        stage.nodes[0].call("PUT", &path, crate::gateway::ADMIN_KEY, &crate::stage::plan(64)).await;
    }
    let mut connections = Vec::new();
    for first in 0..1_000 {
        let mut connection = Connection::open(address(&stage.nodes[0])).await;
        for number in (first..USERS).step_by(1_000) {
            connection.post("reserve", &stage.key, &reserve(&user(number))).await;
        }
        connections.push(connection);
    }
    tell(
        "gateway memory: 100,000 users, 10,000 groups, 1,000 connections",
        format!("{:.0} MB", resident(stage.nodes[0].id())),
        "<= 150 MB",
    );
}

pub async fn report_all() {
    of_redis().await;
    of_gateway().await;
}

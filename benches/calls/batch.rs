//! Reserves and commits in batches beside the same as single calls.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::load::{self, Connection, Turn};
use crate::redis_time::redis_seconds;
use crate::stage::{Stage, USERS, address, reserve, user};
use crate::{CONNECTIONS, ROUNDS, RUN, median, tell};

/// Operations of a batch.
const OPERATIONS: usize = 100;
/// Numbers of connections on which batches are sent: a server's background calls use one.
const SENDERS: [usize; 2] = [1, 8];

/// The bodies of calls as a batch of one kind of operation.
fn batch(op: &str, bodies: impl Iterator<Item = String>) -> String {
    let mut text = "{\"operations\":[".to_owned();
    for (place, body) in bodies.enumerate() {
        let comma = if place > 0 { "," } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{{\"op\":\"{op}\",{}", &body[1..]);
    }
    text + "]}"
}

/// Pairs per second, and how long a batch of reserves takes (the median).
async fn run(stage: &Stage, senders: usize, time: Duration) -> (f64, Duration) {
    let started = Instant::now();
    let each = (0..senders).map(|first| async move {
        let mut connection = Connection::open(address(&stage.nodes[0])).await;
        let (mut latencies, mut number) = (Vec::new(), first * 7919);
        while started.elapsed() < time {
            let users = (0..OPERATIONS).map(|place| (number + place * 7919 * senders) % USERS);
            let body = batch("reserve", users.map(|number| reserve(&user(number))));
            let before = Instant::now();
            let answer = connection.post("batch", &stage.key, &body).await;
            latencies.push(before.elapsed());
            let ids = answer.split("\"reservationId\":\"").skip(1).filter_map(|rest| rest.split('"').next());
            let body = batch("commit", ids.map(|id| format!("{{\"reservationId\":\"{id}\"}}")));
            let answer = connection.post("batch", &stage.key, &body).await;
            assert_eq!(answer.matches("\"committed\"").count(), OPERATIONS, "{answer}");
            number += OPERATIONS * 7919 * senders;
        }
        latencies
    });
    let mut latencies = join_all(each).await.concat();
    latencies.sort();
    let pairs = (latencies.len() * OPERATIONS) as f64;
    (pairs / started.elapsed().as_secs_f64(), latencies[latencies.len() / 2])
}

pub async fn report_all() {
    let stage = Stage::set(1).await;
    let mut crowd = Vec::new();
    for _ in 0..ROUNDS {
        crowd.push(load::run(&stage, Turn::Pair, CONNECTIONS, RUN).await.rate);
    }
    let crowd = median(crowd);
    println!("reserve + commit: {crowd:.0} pairs/s as single calls on {CONNECTIONS} connections");
    for senders in SENDERS {
        let (mut alone, mut together, mut took, mut busy) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            alone.push(load::run(&stage, Turn::Pair, senders, RUN).await.rate);
            let before = (Instant::now(), redis_seconds(&stage.redis).await);
            let (rate, latency) = run(&stage, senders, RUN).await;
            busy.push((redis_seconds(&stage.redis).await - before.1) / before.0.elapsed().as_secs_f64());
            together.push(rate);
            took.push(latency.as_secs_f64() * 1e3);
        }
        let (alone, together) = (median(alone), median(together));
        println!(
            "on {senders} connections: {alone:.0} pairs/s as single calls, {together:.0} in batches of {OPERATIONS}, of \
             which one with reserves takes {:.1} ms, while Redis is busy for {:.0} % of the time",
            median(took),
            median(busy) * 100.0
        );
        let share = format!("{:.2}", together / alone);
        tell(&format!("pairs in batches / as single calls, on {senders} connections"), share, ">= 2.50");
        tell(&format!("the same / as single calls on {CONNECTIONS}"), format!("{:.2}", together / crowd), ">= 2.50");
    }
}

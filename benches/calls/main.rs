//! quotagate beside its own physical limits, all in one run on one machine: a web server that parses the same JSON and
//! decides nothing ("no-op"), and bare scripts in the same Redis. Figures are ratios within the run.
//! `make bench`; docs/performance.md explains them.

// The layout of the futures that the service makes is deeper than the default of 128.
#![recursion_limit = "256"]

mod batch;
mod credits;
mod drafts;
mod fleet;
#[allow(dead_code)]
#[path = "../../tests/process/gateway.rs"]
mod gateway;
mod load;
mod memory;
mod no_op;
mod readers;
mod redis_alone;
mod redis_time;
mod rollup;
mod stage;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use load::{Load, Turn};
use stage::{Stage, calls_plan, plan};

// As the gateway has it, so that the no-op is not slower for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 64;
/// How often each scenario runs, in turn with what it is compared with. The median is printed.
const ROUNDS: usize = 5;
const RUN: Duration = Duration::from_secs(2);

/// A figure beside what it should be.
pub fn tell(figure: &str, value: String, target: &str) {
    println!("{figure:<72} {value:>12}   {target}");
}

/// The middle one of an odd number.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn medians(loads: &[Load], of: impl Fn(&Load) -> f64) -> f64 {
    median(loads.iter().map(of).collect())
}

/// Runs no-op, reserve, and reserve with commit in turn.
async fn in_turn(stage: &Stage, connections: usize) -> [Vec<Load>; 3] {
    let mut loads = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (turn, loads) in [Turn::NoOp, Turn::Reserve, Turn::Pair].into_iter().zip(&mut loads) {
            loads.push(load::run(stage, turn, connections, RUN).await);
        }
    }
    loads
}

async fn over_http(stage: &Stage) {
    let [no_op, reserve, pair] = in_turn(stage, CONNECTIONS).await;
    let rate = |loads: &[Load]| medians(loads, |load| load.rate);
    let micros = |loads: &[Load], of: fn(&Load) -> Duration| medians(loads, |load| of(load).as_secs_f64() * 1e6);
    println!(
        "{CONNECTIONS} connections: no-op {:.0}/s, reserve {:.0}/s, reserve + commit {:.0} pairs/s",
        rate(&no_op),
        rate(&reserve),
        rate(&pair)
    );
    let ratio = |one: f64, other: f64| format!("{:.2}", one / other);
    tell("reserve / no-op, calls per second", ratio(rate(&reserve), rate(&no_op)), ">= 0.34");
    tell("reserve + commit pairs / no-op", ratio(rate(&pair), rate(&no_op)), ">= 0.16");
    let p99 = ratio(micros(&reserve, |load| load.p99), micros(&no_op, |load| load.p99));
    tell("p99 of reserve / p99 of no-op", p99, "<= 2");
    for (what, loads) in [("reserve", &reserve), ("reserve + commit", &pair)] {
        let busy = medians(loads, |load| load.redis_busy);
        let most = rate(loads) / busy / rate(&no_op);
        println!(
            "{what}: Redis works for {:.0} % of the time; if it worked all the time, it would be {most:.2} of the no-op",
            busy * 100.0
        );
    }
    let [no_op, reserve, _] = in_turn(stage, 1).await;
    let bare = redis_time::bare_round_trip(stage).await;
    tell("median of reserve, 1 connection", format!("{:.0} us", micros(&reserve, |load| load.p50)), "<= 180 us");
    let over = micros(&reserve, |load| load.p50) - micros(&no_op, |load| load.p50) - bare;
    tell("median of reserve - no-op - bare call of Redis, 1 connection", format!("{over:.0} us"), "<= 30 us");
}

fn main() {
    if let Some(arguments) = no_op::asked() {
        return no_op::serve(arguments);
    }
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|asked| asked == name);
    // One thread: what generates the load should take little from what is measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if wanted("http") {
            let plans =
                [("three groups that count calls", calls_plan()), ("tokens, cents by weights, and calls", plan(3))];
            for (what, plan) in plans {
                println!("{what}; Redis writes each change to a file, as the gateway's own does:");
                over_http(&Stage::set_on(1, plan.clone()).await).await;
                println!("{what}; Redis without a file:");
                // On the first stage, calls would also settle the holds that have expired there.
                let stage = Stage::set_on(1, plan).await;
                stage.redis.run::<String>(&["CONFIG", "SET", "appendonly", "no"]).await;
                over_http(&stage).await;
            }
        }
        if wanted("batch") {
            batch::report_all().await;
        }
        if wanted("alone") {
            redis_alone::report().await;
        }
        if wanted("redis") {
            redis_time::report_all().await;
        }
        if wanted("memory") {
            memory::report_all().await;
        }
        if wanted("nodes") {
            load::two_nodes().await;
        }
        if wanted("fleet") {
            fleet::report_all().await;
        }
        if wanted("idle") {
            fleet::idle_nodes().await;
        }
        if wanted("readers") {
            readers::report_all().await;
        }
        if wanted("drafts") {
            drafts::report_all().await;
        }
        if wanted("rollup") {
            rollup::report_all().await;
        }
        if wanted("credits") {
            credits::report_all().await;
        }
    });
}

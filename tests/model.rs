//! Random histories of all calls on two nodes, each answer compared with a pure model of the whole behaviour; and
//! histories of clients that call at the same time, which some order must explain.
//!
//! `MODEL_SECONDS` is how long histories of each kind are played (default 12). A failing one of the first kind shrinks,
//! and its `MODEL_SEED` is told: with it set, that history alone is played again. One of the second kind tells its
//! `CROWD_SEED`: with it set the same clients call again, for as long as `MODEL_SECONDS`, though never at quite the same
//! moments.

// The layout of the futures that the service makes is deeper than the default of 128.
#![recursion_limit = "256"]

#[path = "support/mod.rs"]
mod support;

#[path = "model/mod.rs"]
mod model;

use std::time::{Duration, Instant};

use model::crowd;
use model::play::{Figures, Play};
use model::stage::Stage;
use model::steps::{History, histories};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::Runtime;

/// After so many histories everything begins anew: apps are many by then.
const ON_ONE_STAGE: u64 = 40;
const LONGEST_SHRINK: Duration = Duration::from_secs(120);

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// The history of a seed.
fn history(seed: u64) -> History {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    histories().new_tree(&mut TestRunner::new_with_rng(Config::default(), random)).unwrap().current()
}

/// Leaves out of a failing history what it also fails without: halves, quarters, and at last single steps. (Shrinking by
/// proptest takes one step after the other, and many seconds for each history that is played.)
fn shrink(runtime: &Runtime, stage: &Stage, mut failing: History, mut why: String) -> (History, String) {
    let began = Instant::now();
    let mut length = failing.steps.len().div_ceil(2);
    while length > 0 && began.elapsed() < LONGEST_SHRINK {
        let mut at = 0;
        while at < failing.steps.len() && began.elapsed() < LONGEST_SHRINK {
            let mut smaller = failing.clone();
            smaller.steps.drain(at..(at + length).min(failing.steps.len()));
            match runtime.block_on(Play::run(stage, &smaller)) {
                Ok(_) => at += length,
                Err(still) => (failing, why) = (smaller, still),
            }
        }
        length /= 2;
    }
    (failing, why)
}

/// Plays the history of a seed.
fn play(runtime: &Runtime, stage: &Stage, seed: u64, sum: &mut Figures) {
    let history = history(seed);
    match runtime.block_on(Play::run(stage, &history)) {
        Ok(figures) => {
            sum.calls += figures.calls;
            sum.denied += figures.denied;
            sum.repeated += figures.repeated;
            sum.alerts += figures.alerts;
            sum.looks += figures.looks;
        }
        Err(why) => {
            eprintln!("MODEL_SEED={seed} fails; looking for less that fails, {} s at most", LONGEST_SHRINK.as_secs());
            let (History { shared, default_plan, steps }, why) = shrink(runtime, stage, history, why);
            panic!("MODEL_SEED={seed}: {} steps (shared {shared}, default plan {default_plan})\n{why}", steps.len());
        }
    }
}

#[test]
fn every_answer_of_random_histories_on_two_nodes_is_the_models() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let began = Instant::now();
    let budget = Duration::from_secs(setting("MODEL_SECONDS").unwrap_or(12));
    let (first, alone) = match setting("MODEL_SEED") {
        Some(seed) => (seed, true),
        None => (rand::random_range(0..1_000_000_000_000), false),
    };
    let (mut seed, mut sum) = (first, Figures::default());
    println!("MODEL_SEED={first}");
    while seed == first || (!alone && began.elapsed() < budget) {
        let stage = runtime.block_on(Stage::new());
        for _ in 0..ON_ONE_STAGE {
            play(&runtime, &stage, seed, &mut sum);
            seed += 1;
            if alone || began.elapsed() >= budget {
                break;
            }
        }
        runtime.block_on(stage.end());
    }
    let Figures { calls, denied, repeated, alerts, looks } = sum;
    println!(
        "model: {} histories from MODEL_SEED={first}, {calls} calls, {denied} denied, {repeated} repeated, {alerts} alerts, {looks} looks",
        seed - first
    );
    assert!(calls > 0);
}

#[test]
fn some_order_explains_every_answer_to_clients_that_call_at_the_same_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let began = Instant::now();
    let budget = Duration::from_secs(setting("MODEL_SECONDS").unwrap_or(12));
    let given = setting("CROWD_SEED");
    let mut seed = given.unwrap_or_else(|| rand::random_range(0..1_000_000_000_000));
    println!("CROWD_SEED={seed}");
    let (first, mut sum) = (seed, crowd::Figures::default());
    while sum.histories == 0 || began.elapsed() < budget {
        let stage = runtime.block_on(Stage::new());
        for _ in 0..ON_ONE_STAGE {
            match runtime.block_on(crowd::play(&stage, seed)) {
                Ok(figures) => {
                    sum.histories += figures.histories;
                    sum.calls += figures.calls;
                    sum.denied += figures.denied;
                    sum.overlapping += figures.overlapping;
                    sum.looks += figures.looks;
                }
                Err(why) => panic!("CROWD_SEED={seed}: {why}"),
            }
            seed += u64::from(given.is_none());
            if began.elapsed() >= budget {
                break;
            }
        }
        runtime.block_on(stage.end());
    }
    let crowd::Figures { histories, calls, denied, overlapping, looks } = sum;
    println!(
        "crowd: {histories} histories from CROWD_SEED={first}, {calls} calls, {denied} denied, {overlapping} overlapping pairs, {looks} looks"
    );
    assert!(overlapping > 0);
}

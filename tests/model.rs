//! Random histories of all calls on two nodes, each answer compared with a pure model of the whole behaviour.
//!
//! `MODEL_SECONDS` is how long histories are played (default 20). A failing one shrinks, and its `MODEL_SEED` is told:
//! with it set, that history alone is played again.

// The layout of the futures that the service makes is deeper than the default of 128.
#![recursion_limit = "256"]

#[path = "support/mod.rs"]
mod support;

#[path = "model/mod.rs"]
mod model;

use std::time::{Duration, Instant};

use model::play::{Figures, Play};
use model::stage::Stage;
use model::steps::{History, histories};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tokio::runtime::Runtime;

/// After so many histories everything begins anew: apps are many by then.
const ON_ONE_STAGE: u64 = 40;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// The history of a seed, and what becomes of it; a failing one is made as small as it gets.
fn play(runtime: &Runtime, stage: &Stage, seed: u64, sum: &mut Figures) {
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let figures = std::cell::Cell::new(Figures::default());
    let played = runner.run(&histories(), |history: History| {
        let played = runtime.block_on(Play::run(stage, &history));
        figures.set(played.map_err(TestCaseError::fail)?);
        Ok(())
    });
    match played {
        Ok(()) => {
            let figures = figures.get();
            sum.calls += figures.calls;
            sum.denied += figures.denied;
            sum.repeated += figures.repeated;
            sum.looks += figures.looks;
        }
        Err(TestError::Fail(why, history)) => panic!(
            "MODEL_SEED={seed}: shrunk to {} steps (shared {}, default plan {})\n{why}",
            history.steps.len(),
            history.shared,
            history.default_plan
        ),
        Err(TestError::Abort(why)) => panic!("MODEL_SEED={seed}: {why}"),
    }
}

#[test]
fn every_answer_of_random_histories_on_two_nodes_is_the_models() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let began = Instant::now();
    let budget = Duration::from_secs(setting("MODEL_SECONDS").unwrap_or(20));
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
    let Figures { calls, denied, repeated, looks } = sum;
    println!(
        "model: {} histories from MODEL_SEED={first}, {calls} calls, {denied} denied, {repeated} repeated, {looks} looks",
        seed - first
    );
    assert!(calls > 0);
}

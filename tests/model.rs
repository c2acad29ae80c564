//! Plays random histories of all kinds of calls on two nodes, and compares each answer with a pure model of the whole
//! behavior. Also plays histories of concurrent clients, which some sequential order must explain. Credits have a
//! separate model, for histories of both kinds.
//!
//! By default a fixed number of histories with fixed seeds is played; with `MODEL_SECONDS` as many as that time
//! allows, and with `NEW_SEEDS` different ones each time. A failing history of the first kind is shrunk and its
//! `MODEL_SEED` is printed; with that variable set, only this history is played again. A failing history of the second
//! kind prints its `CROWD_SEED`; with it set, the same clients make the same calls again, although not at exactly the
//! same moments.

// The layout of the futures that the service makes is deeper than the default of 128.
#![recursion_limit = "256"]

#[path = "support/mod.rs"]
mod support;

#[path = "model/mod.rs"]
mod model;

use std::time::{Duration, Instant};

use model::credits::{crowd as credit_crowd, histories as credit_histories};
use model::crowd;
use model::play::{Figures, Play};
use model::rules::ms;
use model::stage::Stage;
use model::steps::{History, histories};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::Runtime;

/// How many histories of each kind are played if no time is given.
const HISTORIES: u64 = 15;
const CROWDS: u64 = 15;
/// After this many histories a new stage is set up, since the number of apps grows.
const ON_ONE_STAGE: u64 = 40;
const LONGEST_SHRINK: Duration = Duration::from_secs(120);

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Decides when enough histories were played: by their number, or, with `MODEL_SECONDS`, by time.
struct Enough {
    number: u64,
    until: Option<Instant>,
}

impl Enough {
    fn new(number: u64) -> Self {
        Self { number, until: setting("MODEL_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds)) }
    }

    fn reached(&self, played: u64) -> bool {
        self.until.map_or(played >= self.number, |until| Instant::now() >= until)
    }
}

/// The history of a seed.
fn history(seed: u64) -> History {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    histories().new_tree(&mut TestRunner::new_with_rng(Config::default(), random)).unwrap().current()
}

/// Removes steps from a failing history while it still fails: first halves, then quarters, and finally single steps.
/// (proptest would shrink one step at a time, which takes too long when each attempt plays a history.)
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
            sum.observed += figures.observed;
            sum.fitted += figures.fitted;
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
    let alone = setting("MODEL_SEED").map(|_| 1);
    let enough = Enough::new(alone.unwrap_or(HISTORIES));
    let first = support::seeds::seed("MODEL_SEED");
    let (mut seed, mut sum) = (first, Figures::default());
    while seed == first || (alone.is_none() && !enough.reached(seed - first)) {
        let stage = runtime.block_on(Stage::new());
        for _ in 0..ON_ONE_STAGE {
            play(&runtime, &stage, seed, &mut sum);
            seed += 1;
            if enough.reached(seed - first) {
                break;
            }
        }
        runtime.block_on(stage.end());
    }
    let Figures { calls, denied, observed, fitted, repeated, alerts, looks } = sum;
    println!(
        "model: {} histories from MODEL_SEED={first}, {calls} calls, {denied} denied, {observed} observed, {fitted} fitted, {repeated} repeated, {alerts} alerts, {looks} looks",
        seed - first
    );
    assert!(calls > 0);
}

#[test]
fn some_order_explains_every_answer_to_clients_that_call_at_the_same_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (enough, given) = (Enough::new(CROWDS), setting("CROWD_SEED"));
    let first = support::seeds::seed("CROWD_SEED");
    let (mut seed, mut played, mut sum) = (first, 0, crowd::Figures::default());
    while played == 0 || !enough.reached(played) {
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
            played += 1;
            if enough.reached(played) {
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

/// How many histories of credits are played if no time is given.
const CREDIT_HISTORIES: u64 = 12;

#[test]
fn credits_are_used_as_the_model_uses_them() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let alone = setting("CREDIT_SEED").map(|_| 1);
    let enough = Enough::new(alone.unwrap_or(CREDIT_HISTORIES));
    let first = support::seeds::seed("CREDIT_SEED");
    let (mut played, mut calls, mut now_ms) = (0, 0, None);
    runtime.block_on(async {
        let world = credit_histories::world().await;
        while played == 0 || !enough.reached(played) {
            let seed = first + played;
            match credit_histories::play(&world, seed, now_ms).await {
                Ok((made, ended_ms)) => (calls, now_ms) = (calls + made, Some(ended_ms)),
                Err(why) => panic!("CREDIT_SEED={seed}: {why}"),
            }
            played += 1;
        }
        let drifts = support::proven::drifts(&world.redis.url(), "test/main").await;
        assert!(drifts.is_empty(), "CREDIT_SEED={first}: {drifts:#?}");
    });
    println!("credits: {played} histories from CREDIT_SEED={first}, {calls} calls");
}

/// How many concurrent histories of credits are played if no time is given.
const CREDIT_CROWDS: u64 = 15;

#[test]
fn some_order_explains_every_answer_about_credits_to_clients_that_call_at_the_same_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (enough, given) = (Enough::new(CREDIT_CROWDS), setting("CREDIT_CROWD_SEED"));
    let first = support::seeds::seed("CREDIT_CROWD_SEED");
    let (mut played, mut sum, mut now_ms) = (0, credit_crowd::Figures::default(), ms(support::START));
    runtime.block_on(async {
        let world = credit_histories::world().await;
        let (other, second) = world.another_node().await;
        while played == 0 || !enough.reached(played) {
            let seed = first + if given.is_some() { 0 } else { played };
            let user = format!("crowd_{played}");
            match credit_crowd::play([&world.app, &second], user, seed, now_ms, &mut sum).await {
                Ok(ended_ms) => now_ms = ended_ms,
                Err(why) => panic!("CREDIT_CROWD_SEED={seed}: {why}"),
            }
            played += 1;
        }
        let drifts = support::proven::drifts(&world.redis.url(), "test/main").await;
        assert!(drifts.is_empty(), "CREDIT_CROWD_SEED={first}: {drifts:#?}");
        other.stop().await;
    });
    let credit_crowd::Figures { calls, denied, overflowed, known, overlapping } = sum;
    println!(
        "credit crowd: {played} histories from CREDIT_CROWD_SEED={first}, {calls} calls, {denied} denied, {overflowed} overflowed, {known} known sources, {overlapping} overlapping pairs"
    );
    assert!(overlapping > 0);
}

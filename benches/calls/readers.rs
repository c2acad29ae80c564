//! What readers cost metering calls: latencies of reserve alone and beside scanning readers and open streams, in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::gateway::ADMIN_KEY;
use crate::load::{Load, Turn, run};
use crate::stage::{Stage, user};
use crate::support::{Api, new_key};
use crate::{drafts, median, tell};

const READERS: usize = 32;
/// Keys of the readers: as many as it takes for none to be refused.
const KEYS: usize = 4;
const STREAMS: usize = 12_000;
const ROUNDS: usize = 5;
const CALLERS: usize = 8;
const ROUND: Duration = Duration::from_secs(4);
const CLOSED: Duration = Duration::from_secs(20);

/// Starts readers on a separate thread. They read until they are stopped.
struct Beside {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
    scans: Arc<AtomicU64>,
}

fn beside(readers: Vec<Api>) -> Beside {
    let (stop, scans) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&scans));
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(join_all(readers.iter().map(async |reader| {
            while !stopped.load(Ordering::Relaxed) {
                let answer = reader.get("events?event=none").await;
                match answer.status {
                    200 => counted.fetch_add(1, Ordering::Relaxed),
                    429 => {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        0
                    }
                    other => panic!("{other}: {}", answer.text),
                };
            }
        })));
    });
    Beside { stop, thread, scans }
}

/// Requests all streams; those that are open.
async fn streams(api: &Api) -> Vec<reqwest::Response> {
    let open = join_all((0..64).map(async |first| {
        let mut open = Vec::new();
        for number in (first..STREAMS).step_by(64) {
            let response = api.open(&format!("usage/stream?userId={}", user(number))).await;
            match response.status().as_u16() {
                200 => open.push(response),
                429 => {}
                other => panic!("{other}"),
            }
        }
        open
    }));
    open.await.into_iter().flatten().collect()
}

async fn latencies(stage: &Stage) {
    let node = &stage.nodes[0];
    let admin = Api::at(&node.url, ADMIN_KEY);
    let mut readers = Vec::new();
    for _ in 0..KEYS {
        let key = new_key(&admin, json!({"kind": "secret", "mode": "live"})).await;
        readers.extend(vec![Api::at(&node.url, &key); READERS / KEYS]);
    }
    let browsers = Api::at(&node.url, &new_key(&admin, json!({"kind": "publishable", "mode": "live"})).await);
    let (mut alone, mut with) = (Vec::<Load>::new(), Vec::<Load>::new());
    run(stage, Turn::Reserve, CALLERS, ROUND).await;
    for round in 0..ROUNDS {
        alone.push(run(stage, Turn::Reserve, CALLERS, ROUND).await);
        let streams = streams(&browsers).await;
        let beside = beside(readers.clone());
        with.push(run(stage, Turn::Reserve, CALLERS, ROUND).await);
        beside.stop.store(true, Ordering::Relaxed);
        beside.thread.join().unwrap();
        let (scans, open) = (beside.scans.load(Ordering::Relaxed), streams.len());
        drop(streams);
        println!(
            "round {round}: alone p50 {:?}, p99 {:?}, {:.0}/s; beside {READERS} readers ({scans} pages of 10,000 entries) \
             and {open} of {STREAMS} streams p50 {:?}, p99 {:?}, {:.0}/s; load average {}",
            alone[round].p50,
            alone[round].p99,
            alone[round].rate,
            with[round].p50,
            with[round].p99,
            with[round].rate,
            std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
        );
        // The node notices closed streams when it next writes to them, within 15 s; until then they count.
        tokio::time::sleep(CLOSED).await;
    }
    let micros = |loads: &[Load], of: fn(&Load) -> Duration| {
        median(loads.iter().map(|load| of(load).as_secs_f64() * 1e6).collect())
    };
    println!(
        "reserve, {CALLERS} callers, medians of the rounds: alone p50 {:.0} us, p99 {:.0} us; beside readers and streams \
         p50 {:.0} us, p99 {:.0} us",
        micros(&alone, |load| load.p50),
        micros(&alone, |load| load.p99),
        micros(&with, |load| load.p50),
        micros(&with, |load| load.p99),
    );
    let ratio = |of: fn(&Load) -> Duration| format!("{:.2}", micros(&with, of) / micros(&alone, of));
    tell("p50 of reserve beside readers / alone", ratio(|load| load.p50), "< 1.3");
    tell("p99 of reserve beside readers / alone", ratio(|load| load.p99), "< 2");
}

pub async fn report_all() {
    let stage = Stage::set(1).await;
    drafts::record_all(&stage).await;
    latencies(&stage).await;
}

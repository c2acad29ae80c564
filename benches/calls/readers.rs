//! What readers cost metering calls: latencies of reserve alone and beside scanning readers and open streams, in turn; and
//! what concurrent drafts take of a node's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::gateway::ADMIN_KEY;
use crate::load::{Connection, Load, Turn, each, run};
use crate::stage::{Stage, USERS, address, plan, user};
use crate::support::{Api, new_key};
use crate::{median, tell};

const READERS: usize = 32;
/// Keys of the readers: as many as it takes for none to be refused.
const KEYS: usize = 4;
const STREAMS: usize = 12_000;
/// Entries of the ledger that are scanned, and of those that bring the largest metadata.
const ENTRIES: usize = 200_000;
const LARGE: usize = 20_000;
const ROUNDS: usize = 5;
const CALLERS: usize = 8;
const ROUND: Duration = Duration::from_secs(4);
const DRAFTS: usize = 10;
const CLOSED: Duration = Duration::from_secs(20);

/// Readers on a thread of their own, until they are stopped.
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

async fn fill(stage: &Stage) {
    let large: serde_json::Map<String, Value> =
        (0..30).map(|place| (format!("{place:0>64}"), Value::from("x".repeat(256)))).collect();
    each(address(&stage.nodes[0]), 0..ENTRIES, async |connection: &mut Connection, number| {
        let mut body = json!({"userId": user(number % USERS), "event": "llm.chat",
            "metadata": {"model": "chat-large", "team": "red", "prompt_tokens": 374, "completion_tokens": 44}});
        if number >= ENTRIES - LARGE {
            body["metadata"].as_object_mut().unwrap().extend(large.clone());
            body["metadata"].as_object_mut().unwrap().retain(|name, _| name != "team" && name != "model");
        }
        connection.post("track", &stage.key, &body.to_string()).await;
    })
    .await;
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
    let (mut scans, mut open) = (0, 0);
    for _ in 0..ROUNDS {
        alone.push(run(stage, Turn::Reserve, CALLERS, ROUND).await);
        let streams = streams(&browsers).await;
        let beside = beside(readers.clone());
        with.push(run(stage, Turn::Reserve, CALLERS, ROUND).await);
        beside.stop.store(true, Ordering::Relaxed);
        beside.thread.join().unwrap();
        scans += beside.scans.load(Ordering::Relaxed);
        open = streams.len();
        drop(streams);
        // The node notices closed streams when it next writes to them, within 15 s; until then they count.
        tokio::time::sleep(CLOSED).await;
    }
    let micros = |loads: &[Load], of: fn(&Load) -> Duration| {
        median(loads.iter().map(|load| of(load).as_secs_f64() * 1e6).collect())
    };
    println!(
        "reserve, {CALLERS} callers, alone: p50 {:.0} us, p99 {:.0} us; beside {READERS} readers ({scans} pages of 10,000 \
         entries) and {open} of {STREAMS} streams: p50 {:.0} us, p99 {:.0} us",
        micros(&alone, |load| load.p50),
        micros(&alone, |load| load.p99),
        micros(&with, |load| load.p50),
        micros(&with, |load| load.p99),
    );
    let ratio = |of: fn(&Load) -> Duration| format!("{:.2}", micros(&with, of) / micros(&alone, of));
    tell("p50 of reserve beside readers / alone", ratio(|load| load.p50), "< 1.3");
    tell("p99 of reserve beside readers / alone", ratio(|load| load.p99), "< 2");
}

/// The most memory that the process had, in kB; begins anew.
fn peak(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = line.trim().trim_end_matches(" kB").parse().unwrap();
    std::fs::write(format!("/proc/{id}/clear_refs"), "5").unwrap();
    peak
}

async fn drafts(stage: &Stage) {
    let node = &stage.nodes[0];
    let admin = Api::at(&node.url, ADMIN_KEY);
    let mut askers = Vec::new();
    for _ in 0..DRAFTS {
        askers.push(Api::at(&node.url, &new_key(&admin, json!({"kind": "admin", "role": "viewer"})).await));
    }
    let mut draft = plan(3);
    draft["id"] = json!("bench");
    let body = json!({"plan": draft, "entries": 50_000});
    peak(node.id());
    let before = peak(node.id());
    let answers = join_all(askers.iter().map(|asker| asker.post("whatif", body.clone()))).await;
    let after = peak(node.id());
    let entries: Vec<(u64, Value)> = answers
        .into_iter()
        .map(|answer| answer.expect(200))
        .map(|report| (report["entries"].as_u64().unwrap(), report["cut"].clone()))
        .collect();
    println!("{DRAFTS} drafts at once, entries and what cut them: {:?}", entries[0]);
    let megabytes = after.saturating_sub(before) / 1024;
    tell("memory of a node for 10 drafts at once over a full ledger", format!("{megabytes} MB"), "< 150 MB");
}

pub async fn tell_all() {
    let stage = Stage::set(1).await;
    fill(&stage).await;
    let entries: u64 = stage.redis.run(&["XLEN", "qg:{default:live}:ledger"]).await;
    println!("{entries} entries in the ledger, the newest {LARGE} with the largest metadata");
    drafts(&stage).await;
    latencies(&stage).await;
}

//! The memory that a node takes for ten what-if requests at once, over ledgers and drafts that make them large.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::gateway::ADMIN_KEY;
use crate::load::{Connection, each, field};
use crate::stage::{Stage, USERS, address, plan, reserve, user};
use crate::support::{Api, new_key};
use crate::tell;

const DRAFTS: usize = 10;
/// Entries of usual size.
const USUAL: usize = 200_000;
/// Entries with the largest metadata, recorded after the others.
const LARGE: usize = 20_000;
/// The largest metadata has 32 fields: these and two with the figures.
const FIELDS: usize = 30;

fn name(place: usize) -> String {
    format!("{place:0>64}")
}

/// Commits of usual size.
async fn record_usual(stage: &Stage) {
    each(address(&stage.nodes[0]), 0..USUAL, async |connection: &mut Connection, number| {
        let answer = connection.post("reserve", &stage.key, &reserve(&user(number % USERS))).await;
        let body = json!({"reservationId": field(&answer, "reservationId"),
            "metadata": {"prompt_tokens": 374, "completion_tokens": 40}});
        connection.post("commit", &stage.key, &body.to_string()).await;
    })
    .await;
}

/// Calls with the largest metadata.
async fn record_large(stage: &Stage) {
    let mut metadata = json!({"prompt_tokens": 374, "completion_tokens": 44});
    for place in 0..FIELDS {
        metadata[name(place)] = json!("x".repeat(256));
    }
    each(address(&stage.nodes[0]), 0..LARGE, async |connection: &mut Connection, number| {
        let body = json!({"userId": user(number % USERS), "event": "llm.chat", "metadata": &metadata});
        connection.post("track", &stage.key, &body.to_string()).await;
    })
    .await;
}

/// Records both kinds, the large ones last.
pub async fn record_all(stage: &Stage) {
    record_usual(stage).await;
    record_large(stage).await;
}

/// The process's peak of resident memory in kB since the last call.
fn peak(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = line.trim().trim_end_matches(" kB").parse().unwrap();
    std::fs::write(format!("/proc/{id}/clear_refs"), "5").unwrap();
    peak
}

/// `before`: the node's memory before all drafts. The allocator keeps what a draft has freed.
async fn try_at_once(stage: &Stage, contexts: &[Api], before: u64, draft: Value, case: &str) {
    let id = stage.nodes[0].id();
    let body = json!({"plan": draft, "usersOf": "bench", "entries": 50_000});
    peak(id);
    let answers = join_all(contexts.iter().map(|context| context.post("whatif", body.clone()))).await;
    let growth = peak(id).saturating_sub(before) / 1024;
    let of = |answer: crate::support::Answer| {
        let report = answer.expect(200);
        format!("{} by {}", report["entries"], report["cut"])
    };
    println!("{case}: entries and what cut them: {}", answers.into_iter().map(of).collect::<Vec<_>>().join(", "));
    tell(&format!("memory of a node for 10 drafts at once, {case}"), format!("{growth} MB"), "< 150 MB");
}

pub async fn report_all() {
    let stage = Stage::set(1).await;
    let admin = Api::at(&stage.nodes[0].url, ADMIN_KEY);
    let mut contexts = Vec::new();
    for _ in 0..DRAFTS {
        contexts.push(Api::at(&stage.nodes[0].url, &new_key(&admin, json!({"kind": "admin", "role": "viewer"})).await));
    }
    let with_id = |mut draft: Value| {
        draft["id"] = json!("draft");
        draft
    };
    // A rule on each of the large fields, so that a replay keeps them.
    let mut naming = with_id(plan(3));
    let rules: Vec<_> = (0..FIELDS).map(|place| json!({"event": "llm.*", "metadata": {name(place): ["y"]}})).collect();
    naming["groups"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": "named", "unit": "count", "quota": 1000, "measure": "event", "matches": rules}));
    record_usual(&stage).await;
    peak(stage.nodes[0].id());
    let before = peak(stage.nodes[0].id());
    try_at_once(&stage, &contexts, before, with_id(plan(3)), "entries of usual size").await;
    try_at_once(&stage, &contexts, before, with_id(plan(64)), "usual size, 64 groups").await;
    record_large(&stage).await;
    try_at_once(&stage, &contexts, before, with_id(plan(3)), "largest metadata").await;
    try_at_once(&stage, &contexts, before, naming, "largest metadata in rules").await;
}

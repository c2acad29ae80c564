//! A million entries of a ledger: how long a replay takes. Run by hand, with a release build:
//! `cargo test --release --test process a_million -- --ignored --nocapture`.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::World;
use crate::whatif::{Files, of_sandbox};

const ENTRIES: u64 = 1_000_000;
const USERS: u64 = 10_000;
/// 2027-01-02T00:00:00Z.
const BEGIN_MS: u64 = 1_798_848_000_000;

fn plan(tokens: u64) -> Value {
    json!({
        "id": "pro", "periodType": "monthly", "periodAnchor": "calendar",
        "groups": [
            {"id": "tokens", "unit": "tokens", "quota": tokens,
                "measure": {"per": {"prompt_tokens": 1, "completion_tokens": 1}}, "matches": [{"event": "llm.*"}]},
            {"id": "spend", "unit": "cents", "quota": 100_000, "covers": ["llm.*"], "matches": [
                {"event": "llm.*", "metadata": {"model": "chat-large"},
                    "measure": {"per": {"prompt_tokens": "0.00025", "completion_tokens": "0.001"}}}]},
            {"id": "requests", "unit": "count", "quota": 1_000_000, "measure": "event", "matches": [{"event": "llm.*"}]}],
    })
}

/// As `lua/lib/ledger.lua` writes a commit with figures, half of what was reserved.
fn entry(number: u64, used: &mut [u64]) -> redis::Cmd {
    let user = number % USERS;
    let (created_ms, upper) = (BEGIN_MS + number * 1000, 200 + number % 800);
    let (completion, prompt) = (upper / 2, 100 + number % 300);
    let tokens = prompt + completion;
    let cents = prompt * 250 + completion * 1000;
    let before = used[user as usize];
    used[user as usize] += tokens;
    let memo = json!({"user": format!("u_{user}"), "plan": "pro", "version": 1, "items": [{"event": "llm.chat", "quantity": 1,
        "metadata": {"model": "chat-large", "prompt_tokens": prompt.to_string(), "completion_tokens": upper.to_string()}}]});
    let told = json!({"actual": [{"metadata": {"completion_tokens": completion.to_string()}}]});
    let charges = format!(
        "user:u_{user} tokens:1:{tokens}:{},spend:1:{cents}:{},requests:1:1:{}",
        before + tokens,
        (number / USERS + 1) * cents,
        number / USERS + 1
    );
    let mut command = redis::cmd("XADD");
    let at_ms = created_ms + 1500;
    command
        .arg("qg:{default:test/main}:ledger")
        .arg(format!("{at_ms}-0"))
        .arg("type")
        .arg("commit")
        .arg("at")
        .arg(at_ms);
    command.arg("late").arg(0).arg("op").arg(format!("{number:024x} {created_ms}"));
    command.arg("about").arg(format!("llm.chat key_1 u_{user}")).arg("charges").arg(charges);
    command.arg("memo").arg(memo.to_string()).arg("told").arg(told.to_string());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute and is a measurement"]
async fn a_million_entries_are_replayed_in_less_than_a_minute() {
    let world = World::new().await;
    world.admin.plan("pro", plan(1_000_000)).await;
    world.admin.put("app", json!({"defaultPlanId": "pro"})).await.expect(200);
    let mut connection = world.redis.connect().await;
    let mut used = vec![0; USERS as usize];
    for first in (0..ENTRIES).step_by(10_000) {
        let mut pipe = redis::pipe();
        for number in first..first + 10_000 {
            pipe.add_command(entry(number, &mut used)).ignore();
        }
        pipe.query_async::<()>(&mut connection).await.unwrap();
    }
    let files = Files::new();
    let draft = files.write("draft.json", &plan(40_000));
    let began = Instant::now();
    let report = of_sandbox(&world.redis, &["--plan", &draft]).await.map(|it| it.report).unwrap();
    let took = began.elapsed();
    println!("{report}\n{ENTRIES} entries of {USERS} users in {took:?}");
    assert_eq!(report.calls, ENTRIES);
    let agreement = report.present_rules.unwrap();
    assert_eq!(agreement.agree, ENTRIES);
    assert!(report.newly_denied.calls > 0);
    assert!(cfg!(debug_assertions) || took.as_secs() < 60, "{took:?}");
}

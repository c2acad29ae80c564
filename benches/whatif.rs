//! How long `quotagate whatif` takes for a million entries of a ledger. `cargo bench --bench whatif`

#![recursion_limit = "256"]

use std::process::Command;

use serde_json::{Value, json};

#[path = "../tests/support/mod.rs"]
mod support;

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
    let snapshot = json!({"user": format!("u_{user}"), "plan": "pro", "version": 1, "items": [{"event": "llm.chat", "quantity": 1,
        "metadata": {"model": "chat-large", "prompt_tokens": prompt.to_string(), "completion_tokens": upper.to_string()}}]});
    let details = json!({"actual": [{"metadata": {"completion_tokens": completion.to_string()}}]});
    let charges = format!(
        "user:u_{user} tokens:1:{tokens}:{},spend:1:{cents}:{},requests:1:1:{}",
        before + tokens,
        (number / USERS + 1) * cents,
        number / USERS + 1
    );
    let mut command = redis::cmd("XADD");
    let at_ms = created_ms + 1500;
    command.arg("qg:{default:live}:ledger").arg(format!("{at_ms}-0")).arg("type").arg("commit").arg("at").arg(at_ms);
    command.arg("late").arg(0).arg("op").arg(format!("{number:024x} {created_ms}"));
    command.arg("about").arg(format!("llm.chat key_1 u_{user}")).arg("charges").arg(charges);
    command.arg("memo").arg(snapshot.to_string()).arg("told").arg(details.to_string());
    command
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let redis = support::Redis::start().await;
        let node = support::Running::start(&redis.url()).await;
        let admin = node.client(support::ROOT_KEY);
        admin.plan("pro", plan(1_000_000)).await;
        admin.put("app", json!({"defaultPlanId": "pro"})).await.expect(200);
        // Rows of reports are another figure: nobody folds these entries.
        node.stop().await;
        let mut connection = redis.connect().await;
        let mut used = vec![0; USERS as usize];
        for first in (0..ENTRIES).step_by(10_000) {
            let mut pipe = redis::pipe();
            for number in first..first + 10_000 {
                pipe.add_command(entry(number, &mut used)).ignore();
            }
            pipe.query_async::<()>(&mut connection).await.unwrap();
        }
        let files = tempfile::tempdir().unwrap();
        let draft = files.path().join("draft.json");
        std::fs::write(&draft, plan(40_000).to_string()).unwrap();
        let whatif = Command::new(env!("CARGO_BIN_EXE_quotagate"))
            .args(["whatif", "--json", "--redis-url", &redis.url(), "--plan"])
            .arg(&draft)
            .output()
            .unwrap();
        assert!(whatif.status.success(), "{}", String::from_utf8_lossy(&whatif.stderr));
        let report: Value = serde_json::from_slice(&whatif.stdout).unwrap();
        assert_eq!(report["calls"], ENTRIES);
        assert_eq!(report["presentRules"]["agree"], ENTRIES, "{report}");
        assert!(report["newlyDenied"]["calls"].as_u64().unwrap() > 0);
        println!(
            "what-if: {ENTRIES} entries of {USERS} users, three groups each: {:.1} s",
            report["seconds"].as_f64().unwrap()
        );
    });
}

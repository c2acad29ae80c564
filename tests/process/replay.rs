//! Replays the committed excerpt of a real trace on an in-process node with the demo's plans.

use std::path::Path;

use clap::Parser;
use quotagate::cli::replay::{self, ReplayArgs, Report, TokenCheck};
use serde_json::{Value, json};

use crate::support::{ROOT_KEY, Redis, Running, new_key};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    replay: ReplayArgs,
}

async fn replayed(plan: &str, users: &str) -> (Report, Value) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let redis = Redis::start().await;
    let node = Running::start(&redis.url()).await;
    let admin = node.client(ROOT_KEY);
    let body = std::fs::read_to_string(root.join(format!("examples/demo/{plan}.json"))).unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    admin.plan(plan, body.clone()).await;
    let key = new_key(&admin, json!({"kind": "secret", "mode": "live"})).await;
    let trace = root.join("tests/data/azure-llm-conv-2023-excerpt.csv");
    let arguments =
        ["replay", trace.to_str().unwrap(), "--users", users, "--url", &node.url, "--key", &key, "--plan", plan];
    let report = replay::replay(&Cli::try_parse_from(arguments).unwrap().replay).await.unwrap();
    (report, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_generous_quotas_the_excerpt_commits_exactly_its_tokens() {
    for users in ["1", "10"] {
        let (report, _) = replayed("demo_generous", users).await;
        assert_eq!(report.fault(), None);
        assert_eq!((report.calls, report.allowed, report.denied, report.unmetered), (300, 300, 0, 0));
        assert_eq!((report.context_tokens, report.generated_tokens), (270_000, 76_870));
        assert!(matches!(report.token_check, TokenCheck::Compared { equal: true, .. }), "{:?}", report.token_check);
        let sums: Vec<String> =
            report.groups.iter().map(|sum| format!("{} {} {}", sum.group_id, sum.used, sum.held)).collect();
        assert!(sums.contains(&"demo_tokens 346,870 0".to_owned()), "{sums:?}");
        assert!(sums.contains(&"demo_requests 300 0".to_owned()), "{sums:?}");
        // 270,000 × 0.00025 + 76,870 × 0.001 cents.
        assert!(sums.contains(&"demo_cents 144.37 0".to_owned()), "{sums:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tight_quotas_no_user_ends_above_one_and_every_denial_was_due() {
    let (report, plan) = replayed("demo_tight", "10").await;
    assert_eq!(report.fault(), None);
    assert!(report.denied > 0 && report.allowed > 0, "{report}");
    assert_eq!(report.calls, report.allowed + report.denied);
    assert_eq!(report.undue_denials, 0);
    assert!(report.above_quota.is_empty());
    assert!(report.denied_by_reason.keys().all(|reason| reason == "limit_reached"), "{:?}", report.denied_by_reason);
    let groups = plan["groups"].as_array().unwrap();
    assert!(report.denied_by_group.keys().all(|id| groups.iter().any(|group| group["id"] == id.as_str())));
}

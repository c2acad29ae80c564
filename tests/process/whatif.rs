//! `quotagate whatif` on a gateway's recorded events, and on the committed excerpt of a trace.

use std::path::{Path, PathBuf};

use clap::Parser;
use quotagate::cli::direct::CommandError;
use quotagate::cli::whatif::{self, SimulationResult, WhatifArgs};
use quotagate::domain::time::window::parse_rfc3339;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::run;
use crate::support::{Redis, START, World, folder, monthly};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    whatif: WhatifArgs,
}

/// A directory for drafts.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        Self(folder())
    }

    pub fn write(&self, name: &str, body: &Value) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, serde_json::to_string_pretty(body).unwrap()).unwrap();
        path.display().to_string()
    }
}

pub async fn simulate(arguments: &[&str]) -> Result<SimulationResult, CommandError> {
    let arguments = ["whatif"].iter().chain(arguments);
    whatif::simulate(&Cli::try_parse_from(arguments).unwrap().whatif).await
}

/// Runs it for the sandbox `main` of a Redis.
pub async fn of_sandbox(redis: &Redis, arguments: &[&str]) -> Result<SimulationResult, CommandError> {
    let url = redis.url();
    simulate(&[arguments, &["--mode", "test", "--redis-url", &url]].concat()).await
}

fn with_id(id: &str, mut body: Value) -> Value {
    body["id"] = json!(id);
    body
}

/// Five images an hour apart, the last two by another user, and a sixth one that is denied.
async fn world() -> World {
    let world = World::frozen().await;
    world.admin.plan("basic", monthly(3)).await;
    for user in ["ada", "bob"] {
        world.app.subscribe(user, "basic").await;
    }
    for (hour, user) in [(11, "ada"), (12, "ada"), (13, "ada"), (14, "bob"), (15, "bob")] {
        world.app.freeze(&format!("2027-01-31T{hour}:00:00Z")).await;
        let id = world.app.reserved(json!({"userId": user, "event": "image.a"})).await;
        world.app.commit(&id).await;
    }
    world.app.freeze("2027-01-31T16:00:00Z").await;
    assert_eq!(world.app.reserve(json!({"userId": "ada", "event": "image.a"})).await["allowed"], false);
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_reports_newly_denied_and_newly_allowed_users_with_times() {
    let (world, files) = (world().await, Files::new());
    let tight = files.write("tight.json", &with_id("basic", monthly(1)));
    let report = of_sandbox(&world.redis, &["--plan", &tight]).await.unwrap().report;
    assert_eq!((report.calls, report.recorded.denied, report.under_draft.denied), (6, 1, 4));
    assert_eq!((report.newly_denied.calls, report.newly_denied.users), (3, 2));
    assert_eq!(report.newly_denied.by_group["images"], 3);
    let printed: Vec<(&str, &str)> =
        report.newly_denied.examples.iter().map(|it| (it.at.as_str(), it.user_id.as_str())).collect();
    assert_eq!(
        printed,
        [("2027-01-31T12:00:00Z", "ada"), ("2027-01-31T13:00:00Z", "ada"), ("2027-01-31T15:00:00Z", "bob")]
    );
    assert_eq!(report.most_affected[0].user_id, "ada");
    let agreement = report.present_rules.unwrap();
    assert_eq!((agreement.agree, agreement.calls), (6, 6));
    let text = report.to_string();
    assert!(text.contains("Would have been denied: 3 calls of 2 users"), "{text}");
    assert!(text.contains("images: 1 + 1 of 1"), "{text}");

    let wide = files.write("wide.json", &with_id("basic", monthly(9)));
    let report = of_sandbox(&world.redis, &["--plan", &wide]).await.unwrap().report;
    assert_eq!((report.newly_denied.calls, report.newly_allowed.calls, report.under_draft.denied), (0, 1, 0));
    assert_eq!(report.newly_allowed.examples[0].at, "2027-01-31T16:00:00Z");
    assert_eq!(serde_json::to_value(&report.groups).unwrap()[0]["draft"], 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_since_on_the_draft_decides_and_what_was_before_counts_as_it_was() {
    let (world, files) = (world().await, Files::new());
    let tight = files.write("tight.json", &with_id("basic", monthly(2)));
    let report = of_sandbox(&world.redis, &["--plan", &tight, "--since", "2027-01-31T12:30:00Z"]).await.unwrap().report;
    assert_eq!((report.calls, report.newly_denied.calls), (4, 1));
    assert_eq!(report.newly_denied.examples[0].at, "2027-01-31T13:00:00Z");
    let until = ["--plan", &tight, "--until", "2027-01-31T13:00:00Z"];
    assert_eq!(of_sandbox(&world.redis, &until).await.unwrap().report.calls, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_plan_is_tried_on_the_users_of_another_and_a_whole_configuration_on_all() {
    let (world, files) = (world().await, Files::new());
    let new = files.write("new.json", &with_id("starter", monthly(1)));
    let report = of_sandbox(&world.redis, &["--plan", &new, "--for", "basic"]).await.unwrap().report;
    assert_eq!(report.newly_denied.calls, 3);
    let unnamed = files.write("unnamed.json", &monthly(1));
    let report = of_sandbox(&world.redis, &["--plan", &unnamed, "--for", "basic"]).await.unwrap().report;
    assert_eq!(report.newly_denied.calls, 3);
    let policy = json!({"id": "all", "periodType": "daily", "groups": [{"id": "everybody", "unit": "count", "quota": 4,
        "measure": "event", "scope": ["app"], "matches": [{"event": "*"}]}]});
    let whole = files.write("whole.json", &json!({"plans": [with_id("basic", monthly(3))], "policies": [policy]}));
    let report = of_sandbox(&world.redis, &["--config", &whole]).await.unwrap().report;
    assert_eq!((report.newly_denied.calls, report.newly_denied.by_group["everybody"]), (1, 1));

    let error = of_sandbox(&world.redis, &["--plan", &new]).await.map(|it| it.report).unwrap_err().to_string();
    assert!(
        error.ends_with("plan starter does not exist yet: name the plan whose users would get it with --for"),
        "{error}"
    );
    let error = of_sandbox(&world.redis, &["--plan", &new, "--for", "none"]).await.map(|it| it.report).unwrap_err();
    assert_eq!(error.to_string(), "--for: plan none does not exist");
    let mut wrong = monthly(1);
    wrong["groups"][0]["unit"] = json!("cents");
    let wrong = files.write("wrong.json", &with_id("basic", wrong));
    let error = of_sandbox(&world.redis, &["--plan", &wrong]).await.map(|it| it.report).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{wrong}:")) && error.contains("groups[0].unit"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written() {
    let (world, files) = (world().await, Files::new());
    let draft = files.write("draft.json", &with_id("basic", monthly(1)));
    let before = world.redis.contents("qg:*").await;
    of_sandbox(&world.redis, &["--plan", &draft]).await.map(|it| it.report).unwrap();
    assert_eq!(world.redis.contents("qg:*").await, before);
}

/// Writes commits of reservations that were made a millisecond apart, each by another team: `t1`, `t2`, …
const COMMITS: &str = r#"
for i = 1, tonumber(ARGV[2]) do
  local at = string.format('%d', ARGV[1] + i)
  local item = string.format('{"event":"llm.a","quantity":1,"metadata":{"team":"t%d"}}', i)
  local call = '{"user":"u","plan":"open","version":1,"items":[' .. item .. ']}'
  redis.call('XADD', KEYS[1], '*', 'type', 'commit', 'at', at, 'late', '0', 'op', string.format('%024x ', i) .. at,
    'about', 'llm.a - u', 'charges', '-', 'memo', call, 'told', '')
end"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_beyond_the_bound_have_the_quota_of_the_group_and_are_counted() {
    let (world, files) = (World::frozen().await, Files::new());
    let all = json!({"id": "all", "unit": "count", "quota": null, "measure": "event", "matches": [{"event": "*"}]});
    let open = json!({"id": "open", "periodType": "monthly", "groups": [all]});
    world.admin.plan("open", open.clone()).await;
    world.app.subscribe("u", "open").await;
    let team = json!({"id": "team", "unit": "count", "quota": 0, "measure": "event", "scope": ["metadata.team"],
        "matches": [{"event": "*"}]});
    let teams = json!({"periodType": "daily", "groups": [team]});
    world.admin.put("policies/teams", teams).await.expect(200);
    for team in ["t1", "t20000", "t20001"] {
        let body = json!({"scope": {"metadata.team": team}, "quota": 1});
        world.app.put("limits/team", body).await.expect(200);
    }
    let start_ms = parse_rfc3339(START).unwrap().to_string();
    let ledger = "qg:{default:test/main}:ledger";
    world.redis.run::<()>(&["EVAL", COMMITS, "1", ledger, &start_ms, "20001"]).await;
    let same = files.write("open.json", &open);
    let report = of_sandbox(&world.redis, &["--plan", &same]).await.unwrap().report;
    assert_eq!((report.calls, report.unread_owners), (20_001, 1));
    // Only an own quota allows a call.
    assert_eq!((report.under_draft.allowed, report.present.as_ref().unwrap().allowed), (2, 2), "{report}");
    assert!(report.to_string().contains("own limits were not read, since there are too many: 1."), "{report}");
}

fn demo(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/demo/{name}.json")).display().to_string()
}

fn excerpt() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/azure-llm-conv-2023-excerpt.csv")
}

#[tokio::test]
async fn the_excerpt_of_a_trace_costs_what_its_tokens_cost_and_a_tight_plan_stops_at_its_quotas() {
    let trace = excerpt().display().to_string();
    let generous = demo("demo_generous");
    let report =
        simulate(&["--plan", &generous, "--trace", &trace, "--users", "10"]).await.map(|it| it.report).unwrap();
    assert_eq!((report.calls, report.under_draft.denied, report.recorded.denied), (300, 0, 0));
    // 270,000 × 0.00025 + 76,870 × 0.001 cents.
    assert_eq!(serde_json::to_value(report.under_draft.cents).unwrap().to_string(), "144.37");
    let sums: Vec<(String, String)> =
        report.groups.iter().map(|sum| (sum.group_id.clone(), sum.draft.0.to_string())).collect();
    assert!(sums.contains(&("demo_tokens".to_owned(), "346870".to_owned())), "{sums:?}");
    assert!(sums.contains(&("demo_requests".to_owned(), "300".to_owned())), "{sums:?}");

    let tight = demo("demo_tight");
    let rehearsed = simulate(&["--plan", &tight, "--trace", &trace, "--users", "10"]).await.unwrap();
    let report = rehearsed.report;
    assert!(report.under_draft.denied > 0 && report.newly_denied.calls == report.under_draft.denied, "{report}");
    assert_eq!(serde_json::to_value(report.recorded.cents).unwrap().to_string(), "144.37");
    assert!(report.under_draft.cents < report.recorded.cents, "{report}");
    assert!(report.most_affected.iter().all(|user| user.cents_draft < user.cents_present), "{report}");
    for account in rehearsed.accounts {
        let quota = match account.group.as_str() {
            "demo_tokens" => 30_000,
            "demo_cents" => 12_000_000,
            _ => 25,
        };
        assert!(account.used.steps() <= quota && account.held.steps() == 0, "{account:?}");
    }
}

#[test]
fn the_command_prints_tables_or_json_and_one_clear_line_of_what_is_wrong() {
    let (trace, tight) = (excerpt().display().to_string(), demo("demo_tight"));
    let printed = run(&["whatif", "--plan", &tight, "--trace", &trace, "--users", "10", "--json"], &[]);
    let json: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!((printed.status.code(), &json["calls"]), (Some(0), &json!(300)));
    let printed = run(&["whatif", "--plan", &tight, "--trace", &trace, "--users", "10"], &[]);
    assert!(String::from_utf8(printed.stdout).unwrap().contains("Would have been denied: "));
    let printed = run(&["whatif", "--plan", "no/such.json", "--trace", &trace], &[]);
    assert!(crate::gateway::one_clear_line(&printed).starts_with("error: no/such.json: "));
    let printed = run(&["whatif", "--plan", &tight, "--redis-url", "redis://127.0.0.1:1"], &[]);
    assert!(crate::gateway::one_clear_line(&printed).contains("Redis cannot be reached"));
    assert_eq!(run(&["whatif", "--trace", &trace], &[]).status.code(), Some(2));
}

//! `quotagate apply` and `QUOTAGATE_CONFIG`, as used by operators and CI.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::commands::{Printed, command, done, on_terminal, on_terminal_after, printed, refused, secret_key};
use crate::gateway::{ADMIN_KEY, Process, run};
use crate::support::{Redis, Running, connect, folder};

fn apply(gateway: &Process, arguments: &[&str]) -> Printed {
    command(gateway, ADMIN_KEY, &[&["apply"], arguments].concat())
}

#[test]
fn help_names_each_part_that_a_file_may_have() {
    let (code, printed, _) = printed(run(&["apply", "--help"], &[]));
    let printed = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(code == Some(0) && printed.contains("the sections app, plans, policies and webhooks"), "{printed}");
    let schema: Value = serde_json::from_str(&quotagate::http::openapi::configuration_schema().unwrap()).unwrap();
    let parts: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(parts, ["app", "plans", "policies", "webhooks"], "and the help names no others");
}

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "yaml")).collect();
    files.sort();
    files
}

/// For each example: the plan, a call, and the groups that count it.
fn first_calls() -> Vec<(&'static str, Value, Vec<&'static str>)> {
    let llm =
        json!({"event": "llm.chat", "metadata": {"model": "small", "prompt_tokens": 1200, "completion_tokens": 800}});
    vec![
        (
            "agents",
            json!({"event": "agent.run", "quantity": 50_000}),
            vec!["agent_tokens", "agent_runs", "agent_in_flight"],
        ),
        ("search", json!({"event": "search.query"}), vec!["search_month", "search_burst"]),
        ("free", json!({"event": "image.render", "metadata": {"size": "1k"}}), vec!["free_images"]),
        ("llm_team", llm, vec!["llm_tokens", "llm_spend", "llm_requests"]),
        (
            "everyone",
            json!({"event": "llm.chat", "quantity": 900, "metadata": {"team": "red", "environment": "staging",
                "workflow": "summaries", "model_family": "large", "fallback": true, "action": "a1"}}),
            vec![
                "own_tokens",
                "premium_tokens",
                "team_tokens",
                "fallback_calls",
                "jobs_in_flight",
                "attempts_reliability",
                "team_staging_tokens",
            ],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_is_applied_and_counts_what_it_says() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)]);
    let key = &secret_key(&gateway).await;
    let files = examples();
    assert_eq!(files.len(), first_calls().len());
    for (file, (plan, mut call, groups)) in files.iter().zip(first_calls()) {
        let file = file.to_str().unwrap();
        let (code, out, err) = apply(&gateway, &[file, "--prune", "--dry-run"]);
        assert_eq!(code, Some(3), "{file}: {err}");
        assert!(out.contains(&format!("+ plan:{plan}\n")) && out.ends_with("Dry run: nothing was changed.\n"), "{out}");
        let (code, out, err) = apply(&gateway, &[file, "--prune", "--yes"]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{file}");
        assert!(out.contains("\nApplied.\n"), "{out}");
        for arguments in [vec![file, "--dry-run"], vec![file], vec![file, "--prune"]] {
            let (code, out, _) = apply(&gateway, &arguments);
            assert_eq!((code, out.as_str()), (Some(0), "Nothing to change: the configuration matches the file.\n"));
        }
        gateway.call("POST", "subscriptions", key, &json!({"userId": plan, "planId": plan})).await;
        call["userId"] = json!(plan);
        let decision = gateway.call("POST", "reserve", key, &call).await;
        assert_eq!((&decision["allowed"], &decision["matchedGroupIds"]), (&json!(true), &json!(groups)), "{decision}");
        gateway.call("DELETE", "subscriptions", key, &json!({"userId": plan})).await;
        gateway.call("PUT", "app", ADMIN_KEY, &json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_faults_is_refused_whole_with_the_line_of_each() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)]);
    let file = dir.path().join("plans.yaml");
    let path = file.to_str().unwrap();
    for (text, faults) in [
        ("plans:\n  - id: a\n   bad: x\n", vec!["3: "]),
        (
            "plans:\n  - id: a\n    periodType: monthly\n    groups:\n      - id: g\n        unit: count\n        qouta: 5\n        matches:\n          - evnt: x\n",
            vec![
                "7: plans[0].groups[0].qouta: is not a known field; did you mean `quota`?",
                "9: plans[0].groups[0].matches[0].evnt: is not a known field; did you mean `event`?",
            ],
        ),
        (
            "app:\n  defaultPlanId: free\nplans:\n  - id: a\n    groups:\n      - id: g\n        unit: count\n        quota: -5\n        matches: [{event: x}]\n",
            vec!["8: plans[0].groups[0].quota: must not be negative"],
        ),
        (
            "app:\n  defaultPlanId: free\nplans:\n  - id: a\n    groups:\n      - id: g\n        unit: count\n        quota: 5\n        matches: [{event: x}]\n",
            vec![
                "6: plans[0].groups[0].periodType: is required",
                "2: app.defaultPlanId: must be an existing plan; there is no plan `free`",
            ],
        ),
    ] {
        fs::write(&file, text).unwrap();
        for arguments in [vec![path], vec![path, "--dry-run"]] {
            let (code, out, err) = apply(&gateway, &arguments);
            assert!(code == Some(1) && !out.contains("Applied"), "{out}{err}");
            for fault in &faults {
                assert!(err.contains(&format!("{path}:{fault}")), "{fault} in {err}");
            }
        }
        let (status, _, err) = printed(run(
            &["serve"],
            &[
                ("QUOTAGATE_CONFIG", path),
                ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY),
                ("QUOTAGATE_DATA_DIR", dir.path().join("other").to_str().unwrap()),
            ],
        ));
        assert_eq!(status, Some(1), "a node does not start with it");
        for fault in &faults {
            assert!(err.contains(fault), "{fault} in {err}");
        }
    }
    let plans = gateway.call("GET", "plans", ADMIN_KEY, &Value::Null).await;
    assert_eq!(plans["data"], json!([]));
    for (arguments, settings, expected) in [
        (
            ["apply", "nowhere.yaml"],
            [("QUOTAGATE_URL", gateway.url.as_str()), ("QUOTAGATE_KEY", ADMIN_KEY)],
            "nowhere.yaml: ",
        ),
        (
            ["apply", path],
            [("QUOTAGATE_URL", "http://127.0.0.1:1"), ("QUOTAGATE_KEY", ADMIN_KEY)],
            "cannot reach a gateway at http://127.0.0.1:1",
        ),
        (["apply", path], [("QUOTAGATE_URL", gateway.url.as_str()), ("QUOTAGATE_KEY", "ak_wrong")], "401 invalid_key"),
        (
            ["apply", path],
            [("QUOTAGATE_URL", gateway.url.as_str()), ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)],
            "no key: set QUOTAGATE_KEY",
        ),
    ] {
        let (code, _, err) = printed(run(&arguments, &settings));
        assert_eq!(code, Some(1));
        assert!(err.contains(expected), "{expected}: {err}");
    }
}

/// A plan of one group as a file has it.
fn plan(id: &str, quota: u64) -> String {
    format!(
        "  - id: {id}\n    periodType: daily\n    groups:\n      - {{id: {id}_calls, unit: count, quota: {quota}, matches: [{{event: {id}.*}}]}}\n"
    )
}

async fn plans(gateway: &Process) -> Vec<String> {
    let plans = gateway.call("GET", "plans", ADMIN_KEY, &Value::Null).await;
    plans["data"].as_array().unwrap().iter().map(|plan| plan["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_changes_unasked_and_only_prune_deletes() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)]);
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let one = file("one.yaml", format!("app: {{defaultPlanId: a}}\nplans:\n{}", plan("a", 5)));
    let two = file("two.yaml", format!("plans:\n{}", plan("b", 5)));
    let none = file("none.yaml", "plans: []\n".to_owned());
    done(&gateway, &["apply", &one, "--yes"]);

    // Without a terminal.
    let (code, out, err) = apply(&gateway, &[&two]);
    let difference = "+ plan:b\n= plan:a is not in the file and stays; --prune deletes it\n";
    assert_eq!((code, out.as_str()), (Some(1), difference), "{err}");
    assert!(err.contains("standard input is no terminal, so add --yes"), "{err}");
    assert_eq!(plans(&gateway).await, ["a"]);
    // On a terminal.
    for answer in ["n", "", "maybe"] {
        let (code, out, _) = on_terminal(&gateway, answer, &["apply", &two]);
        assert!(out.contains("+ plan:b") && out.contains("Apply these changes? [y/N] "), "{out}");
        assert!(code == Some(1) && out.ends_with("Nothing was changed.\r\n"), "{out}");
        assert_eq!(plans(&gateway).await, ["a"]);
    }
    let (code, out, _) = on_terminal(&gateway, "y", &["apply", &two]);
    assert!(code == Some(0) && out.ends_with("Applied.\r\n"), "{out}");
    assert_eq!(plans(&gateway).await, ["a", "b"], "what the file does not name stays");

    // Refused, with the whole difference: the default plan, then a plan with users.
    let key = secret_key(&gateway).await;
    let before = "- plan:a\n- plan:b\n";
    for arguments in [vec![none.as_str(), "--prune", "--dry-run"], vec![&none, "--prune", "--yes"]] {
        let (code, out, err) = apply(&gateway, &arguments);
        assert_eq!((code, out.as_str()), (Some(1), before), "{err}");
        assert!(err.contains("Plan `a` is the app's default plan"), "{err}");
    }
    gateway.call("PUT", "app", ADMIN_KEY, &json!({})).await;
    gateway.call("POST", "subscriptions", &key, &json!({"userId": "u", "planId": "a"})).await;
    for arguments in [vec![none.as_str(), "--prune", "--dry-run"], vec![&none, "--prune", "--yes"]] {
        let (code, out, err) = apply(&gateway, &arguments);
        assert_eq!((code, out.as_str()), (Some(1), before), "{err}");
        let advice = "1 user is on plan `a`: `quotagate plans delete PLAN_ID --move-to OTHER_ID`";
        assert!(err.contains(advice) && !err.contains("moveTo"), "{err}");
    }
    assert_eq!(plans(&gateway).await, ["a", "b"]);
    // The advice works.
    done(&gateway, &["plans", "delete", "a", "--move-to", "b", "--yes"]);
    assert_eq!(plans(&gateway).await, ["b"]);
    let faulty = file("faulty.yaml", format!("plans:\n{}{}", plan("b", 6), plan("c", 7).replace("daily", "fixed")));
    // A start deletes nothing.
    let started = Process::start(
        dir.path().join("other").as_path(),
        &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY), ("QUOTAGATE_CONFIG", &one)],
    );
    assert_eq!(plans(&started).await, ["a"]);
    assert!(started.terminate().success());
    let started = Process::start(
        dir.path().join("other").as_path(),
        &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY), ("QUOTAGATE_CONFIG", &two)],
    );
    assert_eq!(plans(&started).await, ["a", "b"]);
    let (code, out, err) = apply(&gateway, &[&faulty, "--dry-run"]);
    assert!(code == Some(1) && err.contains(&format!("{faulty}:6: plans[1]")), "{err}");
    assert_eq!(out, "~ plan:b\n    groups.b_calls.quota: 5 → 6\n+ plan:c\n", "also beside a fault");
    assert!(refused(&gateway, &["plans", "delete", "b", "--yes"]).contains("--move-to moves them"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_changed_after_the_question_is_not_overwritten() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)]);
    let files = [5, 6, 7].map(|quota| {
        let file = dir.path().join(format!("{quota}.yaml"));
        fs::write(&file, format!("plans:\n{}", plan("a", quota))).unwrap();
        file.to_str().unwrap().to_owned()
    });
    done(&gateway, &["apply", &files[0], "--yes"]);
    let other = || drop(done(&gateway, &["apply", &files[1], "--yes"]));
    let (code, out, _) = on_terminal_after(other, &gateway, &["apply", &files[2]]);
    assert!(code == Some(1) && out.contains("quota: 5 → 7"), "{out}");
    assert!(out.contains("nothing was changed: somebody else changed the configuration meanwhile"), "{out}");
    let (_, out, _) = apply(&gateway, &[&files[2], "--dry-run"]);
    assert!(out.contains("quota: 6 → 7"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_of_a_new_webhook_is_shown_once() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)]);
    let file = dir.path().join("hooks.yaml");
    let path = file.to_str().unwrap();
    let hooks = |url: &str| format!("webhooks:\n  - {{id: ops, url: '{url}', events: [limit.reached]}}\n");
    fs::write(&file, hooks("https://a.example/")).unwrap();
    let out = done(&gateway, &["apply", path, "--yes"]);
    let shown = out.split("Secret of webhook ops, shown once: ").nth(1).unwrap().trim();
    let mut redis = connect(&quotagate::infra::embedded_redis::url_of(dir.path()).unwrap()).await.unwrap();
    let stored: String =
        redis::cmd("HGET").arg("qg:{default}:config").arg("webhook:ops").query_async(&mut redis).await.unwrap();
    let stored: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(stored["secret"], shown, "it is the one that signs");
    fs::write(&file, hooks("https://b.example/")).unwrap();
    let changed = done(&gateway, &["apply", path, "--yes"]);
    assert!(changed.contains("~ webhook:ops") && !changed.contains("Secret"), "{changed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_together_with_a_configuration_write_it_once() {
    let redis = Redis::start().await;
    let file = examples().remove(2);
    let starts = (0..6).map(|_| Running::with_configuration(redis.url(), file.clone()));
    let nodes = futures::future::join_all(starts).await;
    let versions: usize = redis.run(&["HLEN", "qg:{default}:versions:plan:free"]).await;
    assert_eq!(versions, 1);
    let log: usize = redis.run(&["XLEN", "qg:{default}:audit"]).await;
    assert_eq!(log, 3, "two plans and the settings");
    for node in nodes {
        let admin = node.client(crate::support::ROOT_KEY);
        assert_eq!(admin.get("app").await.expect(200)["defaultPlanId"], "free");
        let entry = admin.get("audit?action=plan.put&limit=1").await.expect(200);
        assert_eq!(entry["data"][0]["actor"], "config-file");
    }
}

#[test]
fn the_checked_in_schema_is_what_the_code_generates() {
    let (code, out, _) = printed(run(&["schema"], &[]));
    assert_eq!(code, Some(0));
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.schema.json");
    // The notations that the examples use: filters that are scalars or lists, weights that are numbers or strings.
    let schema: Value = serde_json::from_str(&out).unwrap();
    assert!(schema["$defs"]["RuleBody"]["properties"]["metadata"]["additionalProperties"]["type"].is_null());
    assert_eq!(schema["$defs"]["NumberOrText"]["oneOf"].as_array().unwrap().len(), 2);
    assert!(fs::read_to_string(checked_in).unwrap() == out, "run `cargo run -- schema > docs/config.schema.json`");
}

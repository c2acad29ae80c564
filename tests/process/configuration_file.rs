//! `quotagate export-config`: what it writes, applied again, changes nothing, whatever a configuration contains.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::commands::{command, done};
use crate::gateway::{ADMIN_KEY, Process};
use crate::support::folder;

fn group(id: &str, more: Value) -> Value {
    let mut group = json!({"id": id, "unit": "count", "quota": 5, "matches": [{"event": format!("{id}.*")}]});
    for (name, value) in more.as_object().unwrap() {
        group[name] = value.clone();
    }
    group
}

/// Every field of every part, with texts that YAML would read as something else.
fn everything() -> Value {
    let period = |kind: &str| group(kind, json!({"periodType": kind}));
    let free = json!({"id": "free", "name": "yes: \"20\" # ä\u{85}\n- no", "unmatchedEvents": "allow",
        "periodType": "weekly", "periodAnchor": "calendar", "timezone": "Europe/Berlin", "weekStart": "sunday",
        "groups": [period("minute"), period("hourly"), period("daily"), period("monthly"), period("yearly"), period("lifetime"),
            period("concurrent"),
            group("all", json!({"label": "null", "unit": "count", "quota": 0, "maxPerCall": 3, "covers": ["all.*"], "scope": ["user"],
                "matches": [{"event": "all.a", "metadata": {"size": ["1k", "2", "true"], "tier": "x: y # z", "fast": "false"}}],
                "enforcement": "soft", "alerts": [50, 100], "onPlanChange": "reset",
                "onLimit": {"message": "Stop!\nReally: stop", "upgradeUrl": "https://a.example/?a=1&b={x}",
                    "fallback": {"event": "all.b", "metadata": {"size": "1k"}}}})),
            group("cents", json!({"unit": "cents", "quota": "0.000001", "onPlanChange": "block",
                "measure": {"per": {"prompt_tokens": "0.00025", "event": "0.1"}, "estimate": {"prompt_tokens": 4000}}})),
            group("tokens", json!({"unit": "tokens", "quota": null, "measure": "quantity", "enforcement": "approval"})),
            group("answers", json!({"unit": "tokens", "measure": {"per": {"completion_tokens": 1},
                "estimate": {"completion_tokens": {"quantile": 0.95, "by": ["model"], "start": 4000, "max": 16000}}}})),
            group("seconds", json!({"unit": "seconds", "quota": "12.345",
                "matches": [{"event": "audio.*", "measure": "event"}, {"event": "video.*"}]}))]});
    let pro = json!({"id": "pro", "periodType": "every", "every": "P30D", "periodAnchor": "subscription_start", "unmatchedEvents": "deny",
        "groups": [group("thirty", json!({"onPlanChange": "carry", "kind": "quota", "overflow": "packs"})),
            json!({"id": "packs", "kind": "balance", "unit": "count", "alertsBelow": [100, 0]}),
            group("campaign", json!({"periodType": "fixed", "start": "2026-11-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"})),
            group("own_zone", json!({"periodType": "weekly", "periodAnchor": "calendar", "timezone": "UTC", "weekStart": "friday"})),
            group("weeks", json!({"every": "P2W", "rollover": {"max": 3}})),
            group("trial", json!({"enforcement": "observe"}))]});
    let policy = json!({"id": "caps", "name": "Caps", "owner": "on", "environment": "production", "route": "1e3", "reviewCadence": "quarterly",
        "notes": "first line\n\n  - second: line\n", "approval": {"approvers": ["ann", "0x1F"], "condition": "> 10"},
        "retry": {"maxAttempts": 3, "backoff": {"initialMs": 100, "maxMs": 5000, "factor": 3}, "nonRetryable": ["invalid_prompt", "~"]},
        "periodType": "daily", "periodAnchor": "calendar", "timezone": "America/New_York",
        "groups": [group("team", json!({"scope": ["metadata.team", "key"], "enforcement": "hard", "measure": "event"}))]});
    let events = [
        "threshold.reached",
        "limit.reached",
        "approval.requested",
        "approval.decided",
        "subscription.changed",
        "reservation.expired",
        "credits.low",
    ];
    let webhook = json!({"id": "ops", "url": "https://me:pa55@hooks.example/x?y=%20#z", "events": events, "modes": ["live", "test/ci"],
        "template": "{event}: {group}\n*{percent} %*", "filter": {"groupIds": ["team"], "policyIds": ["caps"], "owners": ["on"],
            "environments": ["production"], "scope": {"metadata.team": "red"}}});
    json!({"app": {"defaultPlanId": "free", "onStoreFailure": "allow", "maxScopeValues": 1234, "currency": "EUR", "reportLabels": ["region", "null"]},
        "plans": [free, pro], "policies": [policy], "webhooks": [webhook]})
}

/// The names of all fields, and all texts.
fn parts(value: &Value, names: &mut BTreeSet<String>, texts: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            names.insert(name.clone());
            parts(value, names, texts);
        }),
        Value::Array(items) => items.iter().for_each(|item| parts(item, names, texts)),
        Value::String(text) => _ = texts.insert(text.clone()),
        _ => {}
    }
}

#[test]
fn the_configuration_of_this_test_has_everything_that_the_schema_knows() {
    let schema: Value = serde_json::from_str(&quotagate::http::openapi::configuration_schema().unwrap()).unwrap();
    let (mut names, mut texts) = (BTreeSet::new(), BTreeSet::new());
    parts(&everything(), &mut names, &mut texts);
    for (kind, of) in schema["$defs"].as_object().unwrap() {
        for name in of["properties"].as_object().into_iter().flatten().map(|(name, _)| name) {
            assert!(names.contains(name), "{kind} has {name}");
        }
        // There are seven of those, which differ in nothing else.
        if kind != "WeekDay" {
            for word in of["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                assert!(texts.contains(word), "{kind} may be {word}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exported_configuration_applied_again_changes_nothing_here_and_the_same_elsewhere() {
    let (dir, other_dir) = (folder(), folder());
    let settings = [("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)];
    let (gateway, other) = (Process::start(dir.path(), &settings), Process::start(other_dir.path(), &settings));
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("first.json"), everything().to_string()).unwrap();
    done(&gateway, &["apply", &path("first.json"), "--yes"]);
    let unchanged = "Nothing to change: the configuration matches the file.\n";
    for name in ["exported.yaml", "exported.json"] {
        let file = path(name);
        assert_eq!(done(&gateway, &["export-config", "--out", &file]), "");
        for arguments in [vec!["--prune", "--dry-run"], vec!["--prune"], vec!["--prune", "--yes"]] {
            assert_eq!(done(&gateway, &[&["apply", file.as_str()], arguments.as_slice()].concat()), unchanged);
        }
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().filter(|entry| is_new(&entry.as_ref().unwrap().path())).count(),
            0
        );
    }
    let yaml = fs::read_to_string(path("exported.yaml")).unwrap();
    assert!(yaml.contains("\n  - groups:\n") && yaml.contains("defaultPlanId: free\n"), "{yaml}");
    assert_eq!(done(&gateway, &["export-config"]), yaml, "standard output has the same");
    let json = done(&gateway, &["export-config", "--format", "json"]);
    assert_eq!(json, fs::read_to_string(path("exported.json")).unwrap());
    let exported: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(exported, gateway.call("GET", "configuration", ADMIN_KEY, &Value::Null).await);
    // Each difference is one that the file makes.
    let mut edited = exported.clone();
    edited["plans"][0]["groups"][0]["quota"] = json!(6);
    fs::write(path("edited.json"), edited.to_string()).unwrap();
    let (code, out, _) = command(&gateway, ADMIN_KEY, &["apply", &path("edited.json"), "--dry-run"]);
    assert_eq!(code, Some(3));
    assert_eq!(out, "~ plan:free\n    groups.minute.quota: 5 → 6\nDry run: nothing was changed.\n");
    // Elsewhere.
    done(&other, &["apply", &path("exported.yaml"), "--yes"]);
    assert_eq!(done(&other, &["export-config"]), yaml);
    // Who sees masked URLs exports none.
    let viewer = gateway.call("POST", "keys", ADMIN_KEY, &json!({"kind": "admin", "role": "viewer"})).await;
    let (code, out, err) = command(&gateway, viewer["key"].as_str().unwrap(), &["export-config"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("only an admin key can export"), "{err}");
}

fn is_new(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "new")
}

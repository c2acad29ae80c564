//! What all commands promise alike: JSON, exit codes, the address and the key, and that nothing changes unasked.

use serde_json::{Value, json};

use crate::commands::{command, done, on_terminal, printed, read};
use crate::gateway::{ADMIN_KEY, run};
use crate::operators::Desk;
use crate::support::folder;

/// A policy that counts every event, and has a balance.
const CAPS: &str = "id: caps\nperiodType: daily\ngroups:\n  - {id: all, unit: count, quota: 9, measure: event, scope: [app], matches: [{event: '*'}]}\n  - {id: packs, kind: balance, unit: count}\n";

#[test]
fn wrong_arguments_exit_with_2_and_help_shows_no_key() {
    // The unit tests of the command line look at all commands.
    let secrets = [
        ("QUOTAGATE_KEY", "ak_do_not_show_me"),
        ("QUOTAGATE_ADMIN_KEY", "ak_do_not_show_me"),
        ("QUOTAGATE_REDIS_URL", "redis://:hunter2@h"),
    ];
    for arguments in [&["serve"][..], &["users", "list"], &["verify"]] {
        let (code, out, err) = printed(run(&[arguments, &["--nonsense"]].concat(), &secrets));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.starts_with("error: unexpected argument '--nonsense' found"), "{arguments:?}: {err}");
        let (code, out, err) = printed(run(&[arguments, &["--help"]].concat(), &secrets));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(out.contains("[env: QUOTAGATE_"), "{arguments:?}: {out}");
        assert!(!out.contains("do_not_show_me") && !out.contains("hunter2"), "{arguments:?}: {out}");
    }
}

#[test]
fn commands_that_read_redis_fail_in_one_clear_line() {
    let dir = folder();
    let file = dir.path().join("plan.yaml");
    std::fs::write(&file, "id: free\nperiodType: daily\ngroups: []\n").unwrap();
    let whatif = ["whatif", "--for", "free", "--plan", file.to_str().unwrap()];
    let commands: [&[&str]; 6] =
        [&["inspect", "ada"], &["rollup", "--rebuild"], &["verify"], &["migrate"], &["export", "--out", "-"], &whatif];
    for arguments in commands {
        for (name, value, expected) in [
            ("QUOTAGATE_REDIS_URL", "redis://:hunter2@127.0.0.1:1", "Redis cannot be reached"),
            ("QUOTAGATE_REDIS_URL", "http://:hunter2@h", "QUOTAGATE_REDIS_URL"),
            ("QUOTAGATE_DATA_DIR", "/no/such/folder", "/no/such/folder"),
        ] {
            let (code, out, err) = printed(run(arguments, &[(name, value)]));
            assert_eq!((code, out.as_str(), err.lines().count()), (Some(1), "", 1), "{arguments:?}: {err}");
            assert!(err.starts_with("error: ") && err.contains(expected), "{arguments:?}, {name}: {err}");
            assert!(!err.contains("hunter2"), "{arguments:?}: {err}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_list_is_one_json_object_also_when_it_is_empty_or_cut_off() {
    let desk = Desk::new().await;
    let caps = desk.file("caps.yaml", CAPS);
    let credits = &["credits", "list", "packs", "--user", "ada"][..];
    let lists: [&[&str]; 9] = [
        &["users", "list"],
        &["plans", "list"],
        &["policies", "list"],
        &["plans", "versions", "free"],
        &["policies", "versions", "caps"],
        &["keys", "list"],
        &["grants", "list"],
        &["limits", "list", "images"],
        credits,
    ];
    desk.done(&["policies", "put", &caps]);
    let shown = |arguments: &[&str]| {
        let list = read(&desk.done(&[arguments, &["--json"]].concat()));
        let fields: Vec<&String> = list.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["data", "more"], "{arguments:?}");
        (list["data"].as_array().unwrap().len(), list["more"] == true)
    };
    for (arguments, count) in lists.into_iter().zip([0, 2, 1, 1, 1, 1, 0, 0, 0]) {
        assert_eq!(shown(arguments), (count, false), "{arguments:?}");
    }
    for user in ["ada", "bob"] {
        desk.done(&["users", "subscribe", user, "free"]);
        desk.done(&["grants", "create", "images", "1", "--user", user]);
        desk.done(&["limits", "set", "images", "7", "--user", user]);
        desk.done(&["credits", "add", "packs", "1", "--user", "ada", "--source-id", user]);
    }
    for arguments in [&["users", "list"][..], &["grants", "list"], &["limits", "list", "images"], credits] {
        assert_eq!(shown(arguments), (2, false), "{arguments:?}");
        assert_eq!(shown(&[arguments, &["--limit", "1"]].concat()), (1, true), "{arguments:?}");
        let (code, _, err) = command(&desk.gateway, ADMIN_KEY, &[arguments, &["--limit", "0"]].concat());
        assert_eq!(code, Some(2), "{arguments:?}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_come_before_variables_and_choose_the_app_and_the_data() {
    let desk = Desk::new().await;
    let url = desk.gateway.url.as_str();
    let wrong = [("QUOTAGATE_URL", "http://127.0.0.1:1"), ("QUOTAGATE_KEY", "sk_live_wrong")];
    let (code, out, err) = printed(run(&["plans", "list", "--url", url, "--key", ADMIN_KEY], &wrong));
    assert!(code == Some(0) && out.contains("free") && err.is_empty(), "{out}{err}");

    desk.gateway.call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": "test", "sandbox": "ci"})).await;
    desk.done(&["users", "subscribe", "tester", "free", "--mode", "test/ci"]);
    assert!(desk.done(&["users", "list", "--mode", "test/ci"]).contains("tester"));
    for (mode, place) in [("live", "live mode"), ("test", "the sandbox main")] {
        let none = desk.done(&["users", "list", "--mode", mode]);
        assert!(none.starts_with(&format!("No users in {place}. ")), "{none}");
    }
    assert!(desk.refused(&["users", "list", "--mode", "prod"]).contains("must be `live`, `test` or `test/<sandbox>`"));

    desk.gateway.call("POST", "apps", ADMIN_KEY, &json!({"id": "other"})).await;
    let none = desk.done(&["plans", "list", "--app", "other"]);
    assert!(none.starts_with("No plans yet. `quotagate plans put FILE` adds one"), "{none}");
    assert!(desk.refused(&["plans", "list", "--app", "nowhere"]).contains("App `nowhere` not found"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_that_asks_changes_anything_without_a_yes() {
    let desk = Desk::new().await;
    let caps = desk.file("caps.yaml", CAPS);
    let next = desk.file("next.yaml", &CAPS.replace("quota: 9", "quota: 8"));
    let none = desk.file("none.yaml", "policies: []\n");
    for file in [&caps, &next] {
        desk.done(&["policies", "put", file]);
    }
    desk.done(&["users", "subscribe", "ada", "free"]);
    desk.done(&["limits", "set", "images", "7", "--user", "ada"]);
    let grant = read(&desk.done(&["grants", "create", "images", "1", "--user", "ada", "--json"]));
    let key = read(&desk.done(&["keys", "create", "--kind", "admin", "--role", "viewer", "--json"]));
    let credit = read(&desk.done(&["credits", "add", "packs", "5", "--user", "ada", "--json"]));
    let (grant, key) = (grant["id"].as_str().unwrap(), key["id"].as_str().unwrap());
    let used = json!({"userId": "ada", "event": "image.a", "quantity": 2, "metadata": {"size": "1k"}});
    desk.gateway.call("POST", "track", &desk.key, &used).await;
    let asking: [&[&str]; 11] = [
        &["users", "move", "ada", "pro"],
        &["users", "cancel", "ada"],
        &["users", "reset", "ada"],
        &["plans", "delete", "pro"],
        &["policies", "rollback", "caps"],
        &["policies", "delete", "caps"],
        &["keys", "revoke", key],
        &["grants", "revoke", grant],
        &["limits", "remove", "images", "--user", "ada"],
        &["credits", "void", credit["id"].as_str().unwrap()],
        &["apply", &none, "--prune"],
    ];
    let present = || -> Vec<Value> {
        let reads: [&[&str]; 6] = [
            &["users", "show", "ada", "--json"],
            &["export-config", "--format", "json"],
            &["keys", "list", "--json"],
            &["grants", "list", "--json"],
            &["limits", "list", "images", "--json"],
            &["credits", "list", "packs", "--user", "ada", "--json"],
        ];
        reads.into_iter().map(|arguments| read(&done(&desk.gateway, arguments))).collect()
    };
    let before = present();
    for arguments in asking {
        let (code, _, err) = command(&desk.gateway, ADMIN_KEY, arguments);
        assert!(code == Some(1) && err.lines().count() == 1, "{arguments:?}: {err}");
        assert!(err.starts_with("error: ") && err.contains("add --yes"), "{arguments:?}: {err}");
        let (code, out, _) = on_terminal(&desk.gateway, "n", arguments);
        assert!(code == Some(1) && out.ends_with("Nothing was changed.\r\n"), "{arguments:?}: {out}");
    }
    assert_eq!(present(), before);
}

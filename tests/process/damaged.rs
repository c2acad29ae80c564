//! A damaged ledger entry: every reader skips it and names it, and nothing else is affected.

use serde_json::{Value, json};

use crate::gateway::{ADMIN_KEY, Process, run};
use crate::support::stored::{amounts, tamper};
use crate::support::{connect, eventually, folder, monthly};

const LEDGER: &str = "qg:{default:live}:ledger";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_entry_is_skipped_and_named() {
    let dir = folder();
    let log = dir.path().join("log");
    let gateway = Process::start_with(dir.path(), &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)], &log);
    gateway.call("PUT", "plans/pro", ADMIN_KEY, &monthly(20)).await;
    let key = gateway.call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": "live"})).await;
    let key = key["key"].as_str().unwrap().to_owned();
    gateway.call("POST", "subscriptions", &key, &json!({"userId": "u", "planId": "pro"})).await;
    let url = quotagate::infra::embedded_redis::url_of(dir.path()).unwrap();
    let mut redis = connect(&url).await.unwrap();
    let track = json!({"userId": "u", "event": "image.a", "quantity": 5});
    gateway.call("POST", "track", &key, &track).await;
    let mut damage = redis::cmd("XADD");
    damage.arg(LEDGER).arg("*").arg(&["type", "track", "at", "soon", "charges", "user:u images"]);
    let damaged: String = damage.query_async(&mut redis).await.unwrap();
    gateway.call("POST", "track", &key, &track).await;

    let data_dir = [("QUOTAGATE_DATA_DIR", dir.path().to_str().unwrap())];
    let printed = |arguments: &[&str]| {
        let output = run(arguments, &data_dir);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let metric = async |name: &str| {
        let text = reqwest::get(format!("{}/metrics", gateway.url)).await.unwrap().text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
    };
    // Rollup rows continue after it, and the node that folds logs it.
    let report = gateway.call("GET", "reports/usage", ADMIN_KEY, &Value::Null).await;
    assert_eq!(report["data"][0]["calls"], 2, "{report}");
    let counted = "quotagate_damaged_entries_total{stream=\"ledger\"}";
    eventually("it is counted", async || metric(counted).await.as_deref() == Some("1")).await;
    let id = format!("led_00_{damaged}");
    let logged = std::fs::read_to_string(&log).unwrap();
    assert_eq!(logged.matches(&id).count(), 1, "{logged}");
    // Lists, exports and rebuilt rows skip it.
    let events = gateway.call("GET", "events?order=asc&limit=1", ADMIN_KEY, &Value::Null).await;
    let next = events["nextCursor"].as_str().unwrap();
    let rest = gateway.call("GET", &format!("events?order=asc&cursor={next}"), ADMIN_KEY, &Value::Null).await;
    assert_eq!((events["data"].as_array().unwrap().len(), rest["data"].as_array().unwrap().len()), (1, 1));
    let newest = gateway.call("GET", "events", ADMIN_KEY, &Value::Null).await;
    assert_eq!(newest["data"].as_array().unwrap().len(), 2, "{newest}");
    let warning = format!("warning: {id} cannot be read and was skipped");
    let (code, exported, warned) = printed(&["export", "--out", "-"]);
    assert_eq!((code, exported.lines().count()), (Some(0), 2), "{exported} {warned}");
    assert!(warned.contains(&warning), "{warned}");
    let (code, rebuilt, warned) = printed(&["rollup", "--rebuild"]);
    assert_eq!((code, rebuilt.starts_with("2 entries, 1 day")), (Some(0), true), "{rebuilt} {warned}");
    assert!(warned.contains(&warning), "{warned}");
    let report = gateway.call("GET", "reports/usage", ADMIN_KEY, &Value::Null).await;
    assert_eq!(report["data"][0]["calls"], 2, "{report}");
    let draft = dir.path().join("draft.json");
    std::fs::write(&draft, monthly(4).to_string()).unwrap();
    let (code, rehearsed, warned) = printed(&["whatif", "--plan", draft.to_str().unwrap(), "--for", "pro", "--json"]);
    assert_eq!(code, Some(0), "{rehearsed} {warned}");
    assert!(warned.contains(&warning), "{warned}");
    // What it charged cannot be verified, but the next entry contains the balance, so nothing is in doubt.
    let (code, proven, _) = printed(&["verify"]);
    assert_eq!(code, Some(1), "{proven}");
    let line = "3 entries of the ledger (complete): no drift, 1 entry that cannot be read\n";
    assert!(proven.contains(line) && proven.contains(&format!("damaged: {id} cannot be read\n")), "{proven}");
    assert_eq!(metric("quotagate_verify_damaged_entries{app=\"default\"}").await.as_deref(), Some("1"));
    // A difference after the last readable entry may come from the damaged one, so it is not repaired by a guess.
    let _: String = damage.query_async(&mut redis).await.unwrap();
    let account = "qg:{default:live}:account:user:u";
    tamper(&mut redis, account, "images", 1, 0).await;
    let (code, doubted, _) = printed(&["verify", "--repair", "--yes"]);
    assert_eq!(code, Some(1), "{doubted}");
    let doubt = "not repaired: user u, group images, window 1, used (an unreadable entry may explain it)";
    assert!(doubted.contains(doubt), "{doubted}");
    let (used, _) = amounts(&mut redis, account, "images").await;
    assert_eq!(used, 11);
    // A readable entry of a later call makes the counter verifiable again.
    gateway.call("POST", "track", &key, &track).await;
    assert!(printed(&["verify"]).1.contains(": no drift, 2 entries that cannot be read\n"));
}

//! `quotagate verify` on a running gateway, as in a cron job.

use serde_json::{Value, json};

use crate::gateway::{ADMIN_KEY, Process, one_clear_line, run};
use crate::support::stored::tamper;
use crate::support::{connect, folder, monthly};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_and_repairs_differences_while_a_gateway_runs() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)]);
    gateway.call("PUT", "plans/pro", ADMIN_KEY, &monthly(20)).await;
    let key = gateway.call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": "live"})).await;
    let key = key["key"].as_str().unwrap().to_owned();
    gateway.call("POST", "subscriptions", &key, &json!({"userId": "u", "planId": "pro"})).await;
    let track = json!({"userId": "u", "event": "image.a", "quantity": 5});
    gateway.call("POST", "track", &key, &track).await;
    let data_dir = [("QUOTAGATE_DATA_DIR", dir.path().to_str().unwrap())];
    let verify = |more: &[&str]| {
        let output = run(&[&["verify"], more].concat(), &data_dir);
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let metric = async |name: &str| {
        let text = reqwest::get(format!("{}/metrics", gateway.url)).await.unwrap().text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("{app=\"default\"} ").map(str::to_owned))
    };
    assert_eq!(metric("quotagate_verify_drifts").await, None);
    let proven = "1 owner, 1 window, 1 entry of the ledger (complete): no drift\n";
    assert_eq!(verify(&[]), (Some(0), proven.to_owned(), String::new()));
    assert_eq!(metric("quotagate_verify_drifts").await.as_deref(), Some("0"));

    let url = quotagate::infra::embedded_redis::url_of(dir.path()).unwrap();
    let mut redis = connect(&url).await.unwrap();
    let account = "qg:{default:live}:account:user:u";
    tamper(&mut redis, account, "images", 1, 0).await;
    let (code, printed, _) = verify(&["--user", "u"]);
    assert_eq!(code, Some(1), "{printed}");
    let line = "drift: user u, group images, window 1, used: stored is 6 count, the ledger proves 5 count (see led_00_";
    assert!(printed.contains(line) && printed.contains(": 1 drift\n"), "{printed}");
    assert_eq!(metric("quotagate_verify_drifts").await.as_deref(), Some("0"), "of one user nothing is kept");
    assert_eq!(verify(&[]).0, Some(1));
    assert_eq!(metric("quotagate_verify_drifts").await.as_deref(), Some("1"));

    let (code, printed, error) = verify(&["--repair"]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(error.contains("nothing was changed: standard input is no terminal, so add --yes"), "{error}");
    let (code, printed, _) = verify(&["--repair", "--yes"]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.ends_with("repaired: user u, group images, window 1, used\n"), "{printed}");
    assert_eq!(verify(&[]), (Some(0), proven.to_owned(), String::new()));
    let usage = gateway.call("GET", "usage?userId=u", &key, &Value::Null).await;
    assert_eq!(usage["counters"][0]["used"], 5, "{usage}");
    let audit = gateway.call("GET", "audit", ADMIN_KEY, &Value::Null).await;
    let repaired = audit["data"].as_array().unwrap().iter().find(|entry| entry["action"] == "counter.repair").unwrap();
    assert_eq!(
        (repaired["actor"].as_str(), repaired["target"].as_str()),
        (Some("verify"), Some("images:1:used")),
        "{audit}"
    );

    one_clear_line(&run(&["verify"], &[("QUOTAGATE_DATA_DIR", "/no/such/directory")]));
    one_clear_line(&run(&["verify", "--app", "no such"], &data_dir));
}

//! Rollups with real processes: one is killed, the commands rebuild rows, and the metrics report it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::gateway::{ADMIN_KEY, Process, run};
use crate::support::{Redis, eventually, folder, monthly};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_reported_once_when_one_of_two_gateways_dies_and_a_rebuild_changes_nothing() {
    let (redis, dir) = (Redis::start().await, folder());
    let url = redis.url();
    let settings = [("QUOTAGATE_ADMIN_KEY", ADMIN_KEY), ("QUOTAGATE_REDIS_URL", url.as_str())];
    let (one, other) = (Process::start(dir.path(), &settings), Process::start(dir.path(), &settings));
    one.call("PUT", "plans/pro", ADMIN_KEY, &monthly(1_000_000)).await;
    let key = one.call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": "live"})).await;
    let key = key["key"].as_str().unwrap().to_owned();
    one.call("POST", "subscriptions", &key, &json!({"userId": "u", "planId": "pro"})).await;
    let answered = Arc::new(AtomicU64::new(0));
    let client = crate::support::http().build().unwrap();
    let callers: Vec<_> = [&one, &other]
        .map(|node| {
            let (url, key, client) = (format!("{}/api/v1/track", node.url), key.clone(), client.clone());
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                let body = json!({"userId": "u", "event": "image.render"}).to_string();
                for _ in 0..400 {
                    let call = client.post(&url).bearer_auth(&key).header("content-type", "application/json");
                    let Ok(answer) = call.body(body.clone()).send().await else { return };
                    assert_eq!(answer.status().as_u16(), 200);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .into();
    // Reports make the nodes fold during calls, also on the node that is killed next.
    eventually("some calls are counted", || async {
        let _ = tokio::join!(
            one.call("GET", "reports/usage", ADMIN_KEY, &Value::Null),
            other.call("GET", "reports/usage", ADMIN_KEY, &Value::Null)
        );
        answered.load(Ordering::SeqCst) > 200
    })
    .await;
    tokio::task::spawn_blocking(move || other.kill()).await.unwrap();
    for caller in callers {
        caller.await.unwrap();
    }
    let used = one.call("GET", "usage?userId=u", &key, &Value::Null).await["counters"][0]["used"].as_i64().unwrap();
    assert!(used >= i64::try_from(answered.load(Ordering::SeqCst)).unwrap(), "{used}");
    let report = async || one.call("GET", "reports/usage?by=event,key", ADMIN_KEY, &Value::Null).await;
    let live = report().await;
    assert_eq!((&live["data"][0]["calls"], &live["data"][0]["charged"][0]["amount"]), (&json!(used), &json!(used)));
    let output = run(&["rollup", "--rebuild"], &settings);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.starts_with(&format!("{used} entries, ")), "{printed}");
    assert_eq!(report().await, live);
    let metrics = client.get(format!("{}/metrics", one.url)).send().await.unwrap().text().await.unwrap();
    for gauge in ["quotagate_rollup_lag_entries", "quotagate_ledger_entries", "quotagate_ledger_oldest_seconds"] {
        assert!(metrics.contains(&format!("{gauge}{{app=\"default\",mode=\"live\"}}")), "{gauge}: {metrics}");
    }
}

#[test]
fn rebuilding_what_is_not_there_is_one_clear_line() {
    let dir = folder();
    let settings = [("QUOTAGATE_DATA_DIR", dir.path().to_str().unwrap())];
    for arguments in [vec!["rollup", "--rebuild"], vec!["rollup", "--rebuild", "--app", "no app"]] {
        crate::gateway::one_clear_line(&run(&arguments, &settings));
    }
    assert!(!run(&["rollup"], &settings).status.success(), "what is to be done is said");
}

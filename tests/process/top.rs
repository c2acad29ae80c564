//! `quotagate top` without a terminal, beside traffic.

use serde_json::{Value, json};

use crate::commands::{command, done, read, secret_key};
use crate::gateway::{ADMIN_KEY, Process, quotagate};
use crate::support::{eventually, folder};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_counts_what_happens_while_it_looks() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)]);
    let plan = json!({"periodType": "daily", "groups": [
        {"id": "images", "unit": "count", "quota": null, "matches": [{"event": "image.*"}]}]});
    gateway.call("PUT", "plans/p", ADMIN_KEY, &plan).await;
    let key = secret_key(&gateway).await;
    gateway.call("POST", "subscriptions", &key, &json!({"userId": "ada", "planId": "p"})).await;
    let settings = [("QUOTAGATE_URL", gateway.url.as_str()), ("QUOTAGATE_KEY", ADMIN_KEY)];
    let mut seen = Value::Null;
    eventually("top sees charges and denials", async || {
        let mut top = quotagate(&["top", "--json", "--interval", "4"], &settings);
        let looking = tokio::task::spawn_blocking(move || top.output().unwrap());
        while !looking.is_finished() {
            for event in ["image.a", "video.a"] {
                let request = json!({"userId": "ada", "event": event});
                let decision = gateway.call("POST", "reserve", &key, &request).await;
                if decision["allowed"] == true {
                    gateway.call("POST", "commit", &key, &json!({"reservationId": decision["reservationId"]})).await;
                }
            }
        }
        let output = looking.await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        seen = read(&String::from_utf8(output.stdout).unwrap());
        seen["charged"].as_u64() > Some(0) && seen["denied"].as_u64() > Some(0)
    })
    .await;
    let (charged, denied) = (&seen["charged"], &seen["denied"]);
    assert_eq!(seen["groups"], json!([{"groupId": "images", "charged": charged, "denied": 0}]), "{seen}");
    assert_eq!(seen["users"], json!([{"userId": "ada", "charged": charged, "denied": denied}]), "{seen}");
    assert_eq!(seen["denialsByReason"], json!({"unmatched_event": denied}), "{seen}");
    let reserve = seen["calls"].as_array().unwrap().iter().find(|call| call["call"] == "reserve").unwrap();
    assert!(reserve["perSecond"].as_f64() > Some(0.0) && reserve["failedPerSecond"].as_f64() == Some(0.0), "{seen}");

    // As text; without a terminal it ends by itself.
    let text = done(&gateway, &["top", "--interval", "1"]);
    for part in [gateway.url.as_str(), "charged", "denied", "released", "expired"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
    let (code, _, err) = command(&gateway, "ak_wrong", &["top", "--once"]);
    assert!(code == Some(1) && err.starts_with("error: 401 invalid_key"), "{err}");
}

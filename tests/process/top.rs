//! `quotagate top` without a terminal, beside traffic.

use std::time::Duration;

use serde_json::{Value, json};

use crate::commands::{command, done, read, secret_key};
use crate::gateway::{ADMIN_KEY, Process, quotagate};
use crate::support::{eventually, folder};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_counts_what_happens_while_it_looks() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)]);
    let plan = json!({"periodType": "daily", "groups": [{"id": "images", "unit": "count", "quota": 3, "matches": [{"event": "image.*"}]}]});
    gateway.call("PUT", "plans/p", ADMIN_KEY, &plan).await;
    let key = secret_key(&gateway).await;
    gateway.call("POST", "subscriptions", &key, &json!({"userId": "ada", "planId": "p"})).await;
    // It is started again until one look has seen all of the traffic.
    let mut number = 0;
    let mut seen = Value::Null;
    eventually("top sees a burst of calls as a whole", async || {
        number += 1;
        let user = format!("u_{number}");
        gateway.call("POST", "subscriptions", &key, &json!({"userId": user, "planId": "p"})).await;
        let settings = [("QUOTAGATE_URL", gateway.url.as_str()), ("QUOTAGATE_KEY", ADMIN_KEY)];
        let top = quotagate(&["top", "--json", "--interval", "4"], &settings);
        let looking = tokio::task::spawn_blocking(move || {
            let mut top = top;
            top.output().unwrap()
        });
        while !looking.is_finished() {
            let request = json!({"userId": user, "event": "image.a"});
            let decision = gateway.call("POST", "reserve", &key, &request).await;
            if decision["allowed"] == true {
                gateway.call("POST", "commit", &key, &json!({"reservationId": decision["reservationId"]})).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let output = looking.await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        seen = read(&String::from_utf8(output.stdout).unwrap());
        seen["charged"] == 3
            && seen["denied"].as_u64() > Some(0)
            && seen["calls"].as_array().is_some_and(|calls| calls.len() > 1)
    })
    .await;
    let user = format!("u_{number}");
    assert_eq!((&seen["groups"][0]["groupId"], &seen["groups"][0]["charged"]), (&json!("images"), &json!(3)), "{seen}");
    assert_eq!((&seen["users"][0]["userId"], &seen["users"][0]["charged"]), (&json!(user), &json!(3)), "{seen}");
    assert_eq!(seen["denialsByReason"]["limit_reached"], seen["denied"], "{seen}");
    let reserve = seen["calls"].as_array().unwrap().iter().find(|call| call["call"] == "reserve").unwrap();
    assert!(reserve["perSecond"].as_f64() > Some(0.0) && reserve["p50Ms"].as_f64() > Some(0.0), "{seen}");

    // As text; without a terminal it ends by itself.
    let text = done(&gateway, &["top", "--interval", "1"]);
    for part in [gateway.url.as_str(), "charged", "denied", "released", "expired"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
    let (code, _, err) = command(&gateway, "ak_wrong", &["top", "--once"]);
    assert!(code == Some(1) && err.starts_with("error: 401 invalid_key"), "{err}");
}

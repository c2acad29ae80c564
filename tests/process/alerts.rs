//! Each threshold triggers exactly one alert, even if many concurrent calls cross it on several nodes and one of them
//! is killed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::gateway::{ADMIN_KEY, Process};
use crate::support::receiver::{Receiver, Reply};
use crate::support::{Redis, folder};

const CALLS: usize = 10_000;
/// Number of concurrent calls.
const AT_ONCE: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_on_two_nodes_report_each_threshold_once_though_one_is_killed() {
    let redis = Redis::start().await;
    let url = redis.url();
    let settings = [
        ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY),
        ("QUOTAGATE_REDIS_URL", url.as_str()),
        ("QUOTAGATE_WEBHOOK_ALLOW_PRIVATE", "1"),
        // The deliveries that the killed node had claimed pass to the other node sooner.
        ("QUOTAGATE_WEBHOOK_TIMEOUT_MS", "2000"),
    ];
    let dir = folder();
    let nodes = [Process::start(dir.path(), &settings), Process::start(dir.path(), &settings)];
    let receiver = Receiver::start(&[Reply::Status(200)]).await;
    let percents = [1, 10, 25, 50, 75, 90, 100];
    let group = |id: &str, scope: Value| {
        json!({"id": id, "unit": "count", "measure": "event", "quota": CALLS, "enforcement": "soft", "scope": scope,
            "alerts": percents, "matches": [{"event": "llm.chat"}]})
    };
    let groups = [group("of_app", json!(["app"])), group("of_team", json!(["metadata.team"]))];
    nodes[0]
        .call("PUT", "policies/budgets", ADMIN_KEY, &json!({"periodType": "lifetime", "groups": [groups[0]]}))
        .await;
    nodes[0].call("PUT", "policies/teams", ADMIN_KEY, &json!({"periodType": "yearly", "groups": [groups[1]]})).await;
    let webhook = json!({"url": receiver.url, "events": ["threshold.reached"]});
    nodes[0].call("PUT", "webhooks/ops", ADMIN_KEY, &webhook).await;
    let key = nodes[0].call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": "live"})).await;
    let key = Arc::new(key["key"].as_str().unwrap().to_owned());
    let urls = Arc::new(nodes.each_ref().map(|node| node.url.clone()));
    let (done, mut calls_done) = tokio::sync::mpsc::unbounded_channel();
    let printed = Arc::new(std::sync::Mutex::new(BTreeMap::<(String, u64), usize>::new()));
    let mut workers = Vec::new();
    for worker in 0..AT_ONCE {
        let (key, urls, done, printed) = (Arc::clone(&key), Arc::clone(&urls), done.clone(), Arc::clone(&printed));
        workers.push(tokio::spawn(async move {
            let http = crate::support::http().build().unwrap();
            for call in (worker..CALLS).step_by(AT_ONCE) {
                // A call may fail with the killed node, or with 503 on a machine that pauses. Its idempotency key
                // allows it to be repeated and counted once.
                let answer = loop {
                    let node = &urls[call % 2];
                    let other = &urls[(call + 1) % 2];
                    let send = async |url: &String| {
                        let body = json!({"userId": "u", "event": "llm.chat", "metadata": {"team": "red"}});
                        let request = http.post(format!("{url}/api/v1/track")).bearer_auth(key.as_str());
                        let request = request.header("Idempotency-Key", format!("call {call}")).json(&body);
                        let response = request.send().await.ok().filter(|response| response.status() != 503)?;
                        assert_eq!(response.status().as_u16(), 200);
                        response.json::<Value>().await.ok()
                    };
                    if let Some(answer) = send(node).await {
                        break answer;
                    }
                    if let Some(answer) = send(other).await {
                        break answer;
                    }
                };
                for passed in answer["thresholds"].as_array().into_iter().flatten() {
                    let passed = (passed["groupId"].as_str().unwrap().to_owned(), passed["percent"].as_u64().unwrap());
                    *printed.lock().unwrap().entry(passed).or_default() += 1;
                }
                done.send(()).unwrap();
            }
        }));
    }
    drop(done);
    for _ in 0..CALLS / 2 {
        calls_done.recv().await.expect("the callers ended early");
    }
    let [kept, killed] = nodes;
    killed.kill();
    for worker in workers {
        worker.await.unwrap();
    }
    let counters = kept.call("GET", "counters?groupId=of_team", ADMIN_KEY, &Value::Null).await;
    assert_eq!(counters["data"][0]["used"], CALLS, "every call counted once");
    let wanted: Vec<(String, u64)> = ["of_app", "of_team"]
        .into_iter()
        .flat_map(|group| percents.map(|percent| (group.to_owned(), percent)))
        .collect();
    receiver.wait_for(wanted.len()).await;
    // A receiver may get a message again with the same id, if it answered slowly or the sending node was killed.
    let messages: BTreeMap<String, Value> =
        receiver.got().iter().map(|message| (message.id().to_owned(), message.json()["data"].clone())).collect();
    let mut got: Vec<(String, u64)> = messages
        .values()
        .map(|data| (data["groupId"].as_str().unwrap().to_owned(), data["percent"].as_u64().unwrap()))
        .collect();
    got.sort();
    assert_eq!(got, wanted, "each threshold triggers one alert");
    // The answers contain the alerts too; a repeated call returns the same ones.
    let printed = printed.lock().unwrap();
    assert!(printed.len() <= wanted.len() && printed.keys().all(|passed| wanted.contains(passed)), "{printed:?}");
}

//! Secrets are shown once, and credentials in a webhook's URL only to callers who may edit it.

use serde_json::{Value, json};

use crate::support::{Api, World, new_key};

const URL: &str = "https://me:pa55word@hooks.example.com:8443/services/pa55word?token=pa55word#pa55word";
const MASKED: &str = "https://***@hooks.example.com:8443/***";

fn webhook(url: &str) -> Value {
    json!({"url": url, "events": ["limit.reached"]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_shown_by_the_call_that_makes_it_and_not_when_that_is_repeated() {
    let world = World::new().await;
    let (second, _) = world.another_node().await;
    let elsewhere = second.client(&world.admin.key);
    let publishable = json!({"kind": "publishable", "mode": "live", "requireUserToken": true});
    let calls: [(&str, &str, Option<Value>, &[&str]); 5] = [
        ("PUT", "webhooks/one", Some(webhook("https://a.example/")), &["secret"]),
        ("POST", "webhooks/one/rotate-secret", None, &["secret"]),
        ("POST", "webhooks/one/rotate-secret", None, &["secret"]),
        ("POST", "keys", Some(publishable), &["key", "userTokenSecret"]),
        ("POST", "keys", Some(json!({"kind": "secret", "mode": "live"})), &["key"]),
    ];
    let mut shown: Vec<String> = Vec::new();
    for (number, (method, path, body, secrets)) in calls.into_iter().enumerate() {
        let name = format!("once-{number}");
        let send = async |api: &Api| api.once(&name).send(method, path, body.as_ref().map(Value::to_string)).await;
        let first = send(&world.admin).await;
        assert!(first.status < 300 && first.header("idempotent-replayed").is_none(), "{method} {path}: {}", first.text);
        let mut rest = first.json.clone();
        for secret in secrets {
            let secret = rest.as_object_mut().unwrap().remove(*secret);
            shown
                .push(secret.unwrap_or_else(|| panic!("{method} {path} shows no secret")).as_str().unwrap().to_owned());
        }
        for api in [&world.admin, &elsewhere] {
            let again = send(api).await;
            assert_eq!((again.status, &again.json), (first.status, &rest), "{method} {path}");
            assert_eq!(again.header("idempotent-replayed"), Some("true"), "{method} {path}");
        }
    }
    let different: std::collections::BTreeSet<&String> = shown.iter().collect();
    assert_eq!(different.len(), 6, "each is another one");
    // Changing a webhook shows none, with or without an idempotency key; neither does reading.
    for api in [&world.admin, &world.admin.once("change")] {
        let changed = api.put("webhooks/one", webhook("https://b.example/")).await.expect(200);
        assert_eq!(changed.get("secret"), None);
    }
    for path in ["webhooks", "webhooks/one", "configuration", "audit", "keys"] {
        let text = world.admin.get(path).await.text;
        assert!(shown.iter().all(|secret| !text.contains(secret)), "{path}: {text}");
    }
    // Stored answers for repetitions do not contain them either.
    for (name, value) in world.redis.contents("qg:*:op:*").await {
        assert!(shown.iter().all(|secret| !value.concat().contains(secret)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_with_one_key_at_once_show_a_secret_once() {
    let world = World::new().await;
    let (second, _) = world.another_node().await;
    let apis = [world.admin.once("same"), second.client(&world.admin.key).once("same")];
    let calls = (0..8).map(|number| apis[number % 2].put("webhooks/one", webhook("https://a.example/")));
    let answers = futures::future::join_all(calls).await;
    let shown = answers.iter().filter(|answer| answer.json.get("secret").is_some()).count();
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(shown, 1, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_edit_a_webhook_sees_only_the_host_of_its_url() {
    let world = World::new().await;
    let created = world.admin.put("webhooks/one", webhook(URL)).await.expect(200);
    assert_eq!(created["url"], URL, "who may edit it sees it");
    world.admin.put("webhooks/two", webhook("https://plain.example/")).await.expect(200);
    let changed = format!("{URL}2");
    world.admin.put("webhooks/one", webhook(&changed)).await.expect(200);
    world.admin.post("webhooks/one/rotate-secret", json!({})).await.expect(200);
    let document = json!({"webhooks": [{"id": "one", "url": URL, "events": ["limit.reached"]},
        {"id": "three", "url": URL, "events": ["limit.reached"]}]});
    world.admin.put("configuration", document).await.expect(200);
    world.admin.delete("webhooks/three", None).await.expect(204);
    for role in ["viewer", "support", "approver", "admin"] {
        let key = new_key(&world.admin, json!({"kind": "admin", "role": role})).await;
        let api = world.node.client(&key);
        let url = if role == "admin" { URL } else { MASKED };
        assert_eq!(api.get("webhooks/one").await.expect(200)["url"], url, "{role}");
        assert_eq!(api.get("webhooks").await.expect(200)["data"][0]["url"], url, "{role}");
        assert_eq!(api.get("configuration").await.expect(200)["webhooks"][0]["url"], url, "{role}");
        // All of them may read the audit log, which is stored for long.
        let log = api.get("audit?target=webhook:one").await.expect(200);
        let puts: Vec<&Value> =
            log["data"].as_array().unwrap().iter().filter(|entry| entry["action"] == "webhook.put").collect();
        assert_eq!(puts.len(), 3, "{log}");
        assert!(puts.iter().all(|entry| entry["after"]["url"] == MASKED), "{log}");
        // Nothing else that they can read contains it.
        for path in ["webhooks/one/deliveries", "audit", "alerts", "nodes", "app", "users", "approvals", "counters"] {
            let text = api.get(path).await.text;
            assert!(!text.contains("pa55word"), "{role} {path}: {text}");
        }
        if role != "admin" {
            let text = api.get("configuration").await.text;
            assert!(!text.contains("pa55word"), "{role}: {text}");
        }
    }
    let kept = world.redis.contents("qg:*").await;
    let has = |value: &Vec<String>| value.concat().contains("pa55word");
    // The first answer of a rotation contains it too, for a minute, in case the node has to repeat it.
    let others = kept.iter().filter(|(key, value)| has(value) && !key.starts_with("qg:{default}:op:"));
    let others: Vec<&String> = others.map(|(key, _)| key).collect();
    assert_eq!(others, ["qg:{default}:config"]);
    for log in world.redis.run::<Vec<String>>(&["KEYS", "qg:*audit*"]).await {
        let entries: Vec<(String, Vec<String>)> = world.redis.run(&["XRANGE", &log, "-", "+"]).await;
        assert!(!entries.iter().any(|(_, fields)| fields.concat().contains("pa55word")), "{log}: {entries:?}");
    }
    // A masked URL that is read and written back would lose the credentials.
    assert_eq!(world.admin.put("webhooks/one", webhook(MASKED)).await.bad_field(), "url");
    let document = json!({"webhooks": [{"id": "one", "url": MASKED, "events": ["limit.reached"]}]});
    assert_eq!(world.admin.put("configuration", document).await.bad_field(), "webhooks[0].url");
    assert_eq!(world.admin.get("webhooks/one").await.expect(200)["url"], URL);
}

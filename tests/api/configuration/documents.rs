//! `PUT configuration`: what it keeps, what it refuses, and what it shows once.

use serde_json::{Value, json};

use crate::support::{World, monthly};

fn plan(id: &str, quota: u64) -> Value {
    json!({"id": id, "periodType": "monthly", "groups": [
        {"id": format!("{id}_g"), "unit": "count", "quota": quota, "matches": [{"event": "x"}]}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_prune_what_the_document_does_not_name_stays_and_is_listed() {
    let world = World::new().await;
    let admin = &world.admin;
    let hook = json!({"id": "ops", "url": "https://a.example/", "events": ["limit.reached"]});
    let policy = json!({"id": "caps", "periodType": "daily", "groups": [
        {"id": "all", "unit": "count", "quota": 9, "matches": [{"event": "y"}]}]});
    let first = json!({"plans": [plan("a", 1), plan("b", 1)], "policies": [policy], "webhooks": [hook]});
    admin.put("configuration", first).await.expect(200);
    let next = json!({"plans": [plan("b", 2)], "policies": [], "webhooks": []});
    for path in ["configuration?prune=false&dryRun=true", "configuration?prune=false"] {
        let applied = admin.put(path, next.clone()).await.expect(200);
        assert_eq!(applied["unlisted"], json!(["plan:a", "policy:caps", "webhook:ops"]), "{path}");
        let targets: Vec<&Value> =
            applied["changes"].as_array().unwrap().iter().map(|change| &change["target"]).collect();
        assert_eq!(targets, ["plan:b"]);
    }
    let kept = admin.get("configuration").await.expect(200);
    assert_eq!((kept["plans"].as_array().unwrap().len(), kept["policies"][0]["id"].as_str()), (2, Some("caps")));
    let pruned = admin.put("configuration", next).await.expect(200);
    assert_eq!((pruned["unlisted"].clone(), pruned["changes"].as_array().unwrap().len()), (json!([]), 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tag_of_a_dry_run_makes_exactly_its_changes_or_none() {
    let world = World::new().await;
    let admin = &world.admin;
    let document = json!({"plans": [plan("a", 1)]});
    let tag = async || {
        let preview = admin.put("configuration?dryRun=true", document.clone()).await;
        preview.header("etag").unwrap().to_owned()
    };
    let before = tag().await;
    assert_eq!(admin.get("configuration").await.header("etag"), Some(before.as_str()));
    world.admin.plan("other", monthly(3)).await;
    let stale = admin.with("if-match", &before);
    stale.put("configuration", document.clone()).await.problem(412, "version_conflict");
    stale.put("configuration?dryRun=true", document.clone()).await.problem(412, "version_conflict");
    admin.get("plans/a").await.problem(404, "not_found");
    // It deletes a plan. Closing that plan first is another change of the configuration.
    let fresh = admin.with("if-match", &tag().await);
    let applied = fresh.put("configuration", document.clone()).await.expect(200);
    assert_eq!((applied["applied"].clone(), applied["changes"].as_array().unwrap().len()), (json!(true), 2));
    admin.get("plans/other").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_that_would_be_refused_has_the_whole_difference() {
    let world = World::new().await;
    let admin = &world.admin;
    admin.plan("used", monthly(3)).await;
    world.app.subscribe("u", "used").await;
    let mut faulty = plan("b", 1);
    faulty["groups"][0]["quota"] = json!(-1);
    for (document, status, code, targets) in [
        (json!({"plans": [plan("a", 1)]}), 409, "plan_in_use", vec!["plan:a", "plan:used"]),
        (json!({"plans": [plan("a", 1), faulty]}), 400, "invalid_request", vec!["plan:a", "plan:b", "plan:used"]),
        (json!({"plans": [], "app": {"defaultPlanId": "used"}}), 409, "plan_in_use", vec!["plan:used", "app"]),
    ] {
        let refused = admin.put("configuration", document.clone()).await.problem(status, code);
        assert_eq!(refused.get("preview"), None);
        let dry = admin.put("configuration?dryRun=true", document.clone()).await.problem(status, code);
        assert_eq!(dry["detail"], refused["detail"]);
        let changes = dry["preview"]["changes"].as_array().unwrap();
        assert_eq!(changes.iter().map(|change| &change["target"]).collect::<Vec<_>>(), targets, "{dry}");
    }
    assert_eq!(admin.get("plans").await.expect(200)["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_of_new_webhooks_are_shown_by_the_call_that_makes_them_and_not_when_it_is_repeated() {
    let world = World::new().await;
    let (second, _) = world.another_node().await;
    let hook = |id: &str| json!({"id": id, "url": format!("https://{id}.example/"), "events": ["limit.reached"]});
    let document = json!({"webhooks": [hook("one"), hook("two")]});
    let calls = (0..8).map(|number| {
        let node = if number % 2 == 0 { &world.node } else { &second };
        let api = node.client(&world.admin.key).once("same");
        let document = document.clone();
        async move { api.put("configuration", document).await.expect(200) }
    });
    let answers = futures::future::join_all(calls).await;
    let shown: Vec<&Value> = answers.iter().filter_map(|answer| answer.get("webhookSecrets")).collect();
    assert_eq!(shown.len(), 1, "{answers:?}");
    for id in ["one", "two"] {
        let stored: String = world.redis.run(&["HGET", "qg:{default}:config", &format!("webhook:{id}")]).await;
        assert_eq!(serde_json::from_str::<Value>(&stored).unwrap()["secret"], shown[0][id]);
        let secret = shown[0][id].as_str().unwrap();
        for (name, value) in world.redis.contents("qg:*:op:*").await {
            assert!(!value.concat().contains(secret), "{name}");
        }
    }
    let mut changed = document.clone();
    changed["webhooks"][0]["url"] = json!("https://other.example/");
    let changed = world.admin.put("configuration", changed).await.expect(200);
    assert_eq!((changed["changes"].as_array().unwrap().len(), changed.get("webhookSecrets")), (1, None));
}

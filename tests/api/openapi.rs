//! The generated document is checked in.

use crate::support::World;

#[test]
fn the_checked_in_document_is_what_the_code_generates() {
    let generated = quotagate::http::openapi::document().unwrap();
    let checked_in = include_str!("../../docs/openapi.json");
    assert!(generated == checked_in, "run `cargo run -- openapi > docs/openapi.json`");
}

#[test]
fn operations_have_names_of_their_own() {
    let document: serde_json::Value = serde_json::from_str(&quotagate::http::openapi::document().unwrap()).unwrap();
    let mut names = std::collections::BTreeSet::new();
    for operation in document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
    {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{name} is there twice");
    }
    assert!(names.contains("plans.list") && names.contains("metering.reserve"), "{names:?}");
}

#[test]
fn a_body_is_required_only_where_something_must_be_said() {
    let document: serde_json::Value = serde_json::from_str(&quotagate::http::openapi::document().unwrap()).unwrap();
    for (name, required) in [
        ("/api/v1/users/{id}/block", false),
        ("/api/v1/users/{id}/unblock", false),
        ("/api/v1/users/{id}/reset", false),
        ("/api/v1/approvals/{id}/reject", false),
        ("/api/v1/approvals/{id}/reopen", false),
        ("/api/v1/policies/{id}/review", false),
        ("/api/v1/reservations/{id}/release", false),
        ("/api/v1/approvals/{id}/approve", true),
        ("/api/v1/release", true),
        ("/api/v1/reserve", true),
    ] {
        assert_eq!(document["paths"][name]["post"]["requestBody"]["required"], required, "{name}");
    }
    assert_eq!(document["paths"]["/api/v1/app"]["put"]["requestBody"]["required"], true, "a PUT replaces the whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_of_the_document_exists() {
    let world = World::new().await;
    let document = world.app.get("/openapi.json").await.expect(200);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            if path.ends_with("/stream") {
                continue;
            }
            let answer = world.admin.send(&method.to_uppercase(), &path.replace("{id}", "none"), None).await;
            let nothing_there = answer.text.contains("there is nothing at");
            assert!(answer.status != 405 && !nothing_there, "{method} {path}: {}", answer.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_tells_the_counters_at_once_and_after_each_change() {
    let world = World::frozen().await;
    world.admin.plan("p", crate::support::monthly(5)).await;
    world.app.subscribe("u", "p").await;
    let url = format!("{}/api/v1/usage/stream?userId=u", world.node.url);
    let mut stream =
        quotagate::http_client::builder().build().unwrap().get(url).bearer_auth(&world.app.key).send().await.unwrap();
    for held in [0, 1] {
        let mut text = String::new();
        while !text.ends_with("\n\n") {
            text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
        }
        let data = text.strip_prefix("event: usage\ndata: ").unwrap();
        let usage: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(usage["counters"][0]["held"], held);
        world.app.reserved(serde_json::json!({"userId": "u", "event": "image.a"})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_documented_route_exists_and_answers_with_a_documented_status() {
    let world = World::new().await;
    let document = world.app.get("/openapi.json").await.expect(200);
    let operator = world.admin.with("x-mode", "test");
    let mut routes = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for (api, id) in [(&operator, "p"), (&world.app, "nowhere"), (&world.node.client(""), "p")] {
                // A stream would not end; this is no parameter of any.
                let wrong = if path.ends_with("/stream") { "?nonsense=1" } else { "" };
                let url = path.replace("{id}", id) + wrong;
                let has_body = operation.get("requestBody").is_some();
                for body in if has_body {
                    vec![Some(serde_json::json!({}).to_string()), Some("{".to_owned())]
                } else {
                    vec![None]
                } {
                    let answer = api.send(&method.to_uppercase(), &url, body).await;
                    let detail = answer.json["detail"].as_str().unwrap_or_default();
                    assert_ne!(answer.status, 405, "{method} {path}");
                    assert!(!detail.starts_with("there is nothing at"), "{method} {path}: {detail}");
                    assert!(answer.status < 500, "{method} {path}: {}", answer.text);
                    let documented = &operation["responses"][answer.status.to_string()];
                    assert_ne!(
                        *documented,
                        serde_json::Value::Null,
                        "{method} {path} answered {}: {}",
                        answer.status,
                        answer.text
                    );
                }
            }
            routes += 1;
        }
    }
    assert!(routes >= 25, "{routes}");
}

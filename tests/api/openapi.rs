//! The OpenAPI document: checked in, and true.

use serde_json::{Value, json};

use crate::support::World;

#[test]
fn the_checked_in_document_is_the_one_that_the_code_generates() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        checked_in == quotagate::http::openapi::document().unwrap(),
        "docs/openapi.json is out of date; regenerate it: cargo run -- openapi > docs/openapi.json"
    );
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
                let url = path.replace("{id}", id);
                let has_body = operation.get("requestBody").is_some();
                for body in if has_body { vec![Some(json!({}).to_string()), Some("{".to_owned())] } else { vec![None] } {
                    let answer = api.send(&method.to_uppercase(), &url, body).await;
                    let detail = answer.json["detail"].as_str().unwrap_or_default();
                    assert_ne!(answer.status, 405, "{method} {path}");
                    assert!(!detail.starts_with("there is nothing at"), "{method} {path}: {detail}");
                    assert!(answer.status < 500, "{method} {path}: {}", answer.text);
                    let documented = &operation["responses"][answer.status.to_string()];
                    assert_ne!(*documented, Value::Null, "{method} {path} answered {}: {}", answer.status, answer.text);
                }
            }
            routes += 1;
        }
    }
    assert!(routes >= 25, "{routes}");
}

//! The checked-in API document equals the generated one.

use crate::support::World;

#[test]
fn the_checked_in_document_is_what_the_code_generates() {
    let generated = quotagate::http::openapi::document().unwrap();
    let checked_in = include_str!("../../../docs/openapi.json");
    assert!(generated == checked_in, "run `cargo run -- openapi > docs/openapi.json`");
}

#[test]
fn operations_have_unique_names() {
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

/// The fields of a named schema.
fn fields<'a>(document: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    &document["components"]["schemas"][name]["properties"]
}

#[test]
fn amounts_come_in_as_numbers_or_texts_and_go_out_as_numbers() {
    let document: serde_json::Value = serde_json::from_str(&quotagate::http::openapi::document().unwrap()).unwrap();
    for (name, field) in [
        ("ReserveBody", "quantity"),
        ("ItemBody", "quantity"),
        ("FitBody", "min"),
        ("ExtendBody", "quantity"),
        ("CommitBody", "quantity"),
        ("ActualBody", "quantity"),
        ("TrackBody", "quantity"),
        ("ExplainDraftBody", "quantity"),
        ("GrantBody", "amount"),
        ("ApproveBody", "amount"),
        ("GroupBody", "quota"),
    ] {
        let schema = &fields(&document, name)[field];
        assert!(schema.to_string().contains("#/components/schemas/NumberOrText"), "{name}.{field}: {schema}");
    }
    for (name, field) in [("CounterView", "used"), ("Grant", "amount")] {
        let schema = &fields(&document, name)[field];
        assert_eq!(schema["type"], "number", "{name}.{field}: {schema}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_names_the_mode_and_the_app_where_a_key_may_name_them_and_both_ways_to_send_a_key() {
    let world = World::new().await;
    let document = world.app.get("/openapi.json").await.expect(200);
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["key"], serde_json::json!({"type": "http", "scheme": "bearer"}));
    assert_eq!(schemes["apiKey"], serde_json::json!({"type": "apiKey", "in": "header", "name": "X-Api-Key"}));
    assert_eq!(document["security"], serde_json::json!([{"key": []}, {"apiKey": []}]), "either of them");
    let headers = |operation: &serde_json::Value| {
        let given = operation["parameters"].as_array().cloned().unwrap_or_default().into_iter();
        let resolved = given.map(|given| match given["$ref"].as_str() {
            Some(reference) => document.pointer(&reference[1..]).expect(reference).clone(),
            None => given,
        });
        let named = resolved.filter(|parameter| parameter["in"] == "header").filter_map(|parameter| {
            let name = parameter["name"].as_str()?.to_owned();
            ["X-Mode", "X-App"].contains(&name.as_str()).then_some(name)
        });
        named.collect::<Vec<_>>()
    };
    let mut taken = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            // Signing in and out use the key in the body, and then the cookie.
            if !path.starts_with("/api/v1/") || path == "/api/v1/session" {
                assert_eq!(headers(operation), Vec::<String>::new(), "{method} {path}");
                continue;
            }
            let wrong = if path.ends_with("/stream") { "?nonsense=1" } else { "" };
            let url = path.replace("{id}", "none").replace("{delivery}", "none") + wrong;
            let method = method.to_uppercase();
            let body = operation.get("requestBody").is_some().then(|| "{}".to_owned());
            let asked = world.admin.with("x-mode", "test").send(&method, &url, body.clone()).await;
            if asked.json["code"] == "forbidden_key" {
                assert_eq!(headers(operation), Vec::<String>::new(), "{method} {path} takes no admin key");
                continue;
            }
            assert_eq!(headers(operation), ["X-Mode", "X-App"], "{method} {path}");
            for (name, value, status) in [("x-mode", "nowhere", 400), ("x-app", "nowhere", 404)] {
                let answer = world.admin.with(name, value).send(&method, &url, body.clone()).await;
                assert_eq!(answer.status, status, "{method} {path} with {name}: {}", answer.text);
                assert!(operation["responses"].get(status.to_string()).is_some(), "{method} {path} documents {status}");
            }
            taken += 1;
        }
    }
    assert!(taken > 50, "{taken}");
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
            let nothing_there = answer.text.contains("The path ") && answer.text.contains(" does not exist.");
            assert!(answer.status != 405 && !nothing_there, "{method} {path}: {}", answer.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_sends_the_counters_at_once_and_after_each_change() {
    let world = World::frozen().await;
    world.admin.plan("p", crate::support::monthly(5)).await;
    world.app.subscribe("u", "p").await;
    let url = format!("{}/api/v1/usage/stream?userId=u", world.node.url);
    let mut stream = crate::support::http().build().unwrap().get(url).bearer_auth(&world.app.key).send().await.unwrap();
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
                // A stream would not end; this parameter does not exist anywhere.
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
                    assert!(!detail.starts_with("The path "), "{method} {path}: {detail}");
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

//! Random, nearly valid bodies never make the gateway fail.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::wire::bad_input::{prepared, text};

/// JSON texts, mostly with known fields and nearly valid values.
fn bodies(id: &str) -> impl Strategy<Value = String> + use<> {
    let own = text(id);
    let scalar = prop_oneof![
        4 => prop::sample::select(vec![
            "\"u\"", "\"v\"", "\"one\"", "\"image.a\"", "\"llm.chat\"", "\"priced.a\"", "\"image.a.refund\"", "1", "2", "0", "-1", "1e3", "1e400",
            "0.5", "9007199254740991", "9007199254740992", "1e-12", "true", "false", "null", "\"\"", "\"1\"", "\"charge\"", "\"reject\"",
            "\"secret\"", "\"test\"", "\"live\"", "\"monthly\"", "\"calendar\"", "\"2027-02-01T00:00:00Z\"", "\"9999-12-31T23:59:59Z\"",
            "\"0001-01-01T00:00:00Z\"", "{\"prompt_tokens\":5}", "{\"prompt_tokens\":1e400}", "{\"$serde_json::private::Number\":\"x\"}",
            "{\"$serde_json::private::RawValue\":\"{\"}", "\"\\u0000\"", "\"\\ud83d\"", "-0", "1E+2", "00", "[[]]", "\"%s%n\"",
        ]).prop_map(str::to_owned),
        2 => Just(own),
        1 => "\\PC{0,20}".prop_map(|value| text(&value)),
        1 => any::<f64>().prop_map(|number| format!("{number:e}")),
        1 => any::<i64>().prop_map(|number| number.to_string()),
    ];
    let name = prop_oneof![
        8 => prop::sample::select(vec![
            "userId", "event", "quantity", "metadata", "ttlSeconds", "reservationId", "final", "ifExpired", "outcome", "enforce", "planId",
            "startedAt", "cycleStart", "endsAt", "resetUsage", "now", "reason", "groups", "id", "unit", "quota", "matches", "periodType",
            "periodAnchor", "measure", "every", "start", "end",
        ]).prop_map(str::to_owned),
        1 => "[a-z\\$]{0,6}",
    ];
    scalar.prop_recursive(3, 24, 8, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(","))),
            8 => prop::collection::vec((name.clone(), inner), 0..8).prop_map(|fields| {
                let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{}:{value}", text(&name))).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_makes_the_gateway_fail() {
    let (world, id) = prepared().await;
    let calls = [
        ("POST", "reserve", r#""userId":"u","event":"image.a""#),
        ("POST", "can-use", r#""userId":"u","event":"llm.chat""#),
        ("POST", "track", r#""userId":"u","event":"priced.a""#),
        ("POST", "commit", ""),
        ("POST", "release", ""),
        ("POST", "extend", ""),
        ("POST", "subscriptions", r#""userId":"v","planId":"one""#),
        ("DELETE", "subscriptions", r#""userId":"v""#),
        ("PUT", "test-clock", ""),
        ("PUT", "plans/fuzz", r#""periodType":"monthly","periodAnchor":"calendar""#),
        ("POST", "keys", ""),
    ];
    let strategy = (prop::sample::select(calls.to_vec()), bodies(&id), any::<bool>());
    let mut runner = TestRunner::default();
    let operator = world.admin.with("x-mode", "test");
    for case in 0..300 {
        let ((method, path, needed), body, complete) = strategy.new_tree(&mut runner).unwrap().current();
        // Half of the bodies have the required fields, so that they are processed further.
        let body = match body.strip_prefix('{') {
            Some(rest) if complete && !needed.is_empty() && rest != "}" => format!("{{{needed},{rest}"),
            _ => body,
        };
        let api = if path.starts_with("plans") || path == "keys" { &operator } else { &world.app };
        let answer = api.send(method, path, Some(body.clone())).await;
        assert!(answer.status < 500, "case {case}: {method} {path} {body}: {} {}", answer.status, answer.text);
        if answer.status >= 400 {
            let code = answer.json["code"]
                .as_str()
                .unwrap_or_else(|| panic!("{method} {path} {body}: {}", answer.text))
                .to_owned();
            answer.problem(status_of(&code), &code);
        }
    }
    let usage = world.app.get("usage?userId=u").await.expect(200);
    assert_eq!(usage["userId"], "u");
}

fn status_of(code: &str) -> u16 {
    match code {
        "invalid_request" => 400,
        "not_found" => 404,
        "reservation_not_pending" | "already_canceled" | "plan_in_use" => 409,
        "reservation_expired" => 410,
        _ => 429,
    }
}

//! All faults of a body or query are named in one answer, in order, and nothing is written.

use serde_json::{Value, json};

use super::bad_input::prepared;
use crate::support::{Answer, Api, World};

/// The fields that a 400 names.
fn fields(answer: Answer) -> Vec<String> {
    let problem = answer.problem(400, "invalid_request");
    let errors = problem["errors"].as_array().unwrap();
    errors.iter().map(|fault| fault["field"].as_str().unwrap().to_owned()).collect()
}

/// Sends each body: expects exactly these faults, and that nothing is written.
async fn each_names_all(world: &World, api: &Api, table: &[(&str, &str, Value, &[&str])]) {
    for (method, path, body, expected) in table {
        let before = world.redis.contents("qg:*").await;
        let found = fields(api.send(method, path, Some(body.to_string())).await);
        assert_eq!(found, *expected, "{method} {path} {body}");
        assert!(world.redis.contents("qg:*").await == before, "{method} {path} {body} wrote something");
    }
}

fn long() -> String {
    "x".repeat(1025)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_faults_of_a_call_are_named() {
    let (world, id) = prepared().await;
    let reason = "x".repeat(257);
    for path in ["reserve", "can-use"] {
        let table: [(&str, &str, Value, &[&str]); 7] = [
            ("POST", path, json!({"ttlSeconds": 0, "userId": "u"}), &["event", "ttlSeconds"]),
            (
                "POST",
                path,
                json!({"event": "image.a.refund", "quantity": 0, "ttlSeconds": 0, "userId": "u"}),
                &["event", "quantity", "ttlSeconds"],
            ),
            (
                "POST",
                path,
                json!({"event": "image.a", "fit": {"field": "event", "min": 0}, "ttlSecond": 5, "userId": "u"}),
                &["ttlSecond", "fit.field", "fit.min"],
            ),
            // Whether `event` is missing, or `min` too large, is not known if the other field cannot be parsed.
            ("POST", path, json!({"items": 7, "ttlSeconds": 0, "userId": "u"}), &["items", "ttlSeconds"]),
            (
                "POST",
                path,
                json!({"event": "image.a", "fit": {"field": "quantity", "min": 5}, "quantity": "ten", "userId": "u"}),
                &["quantity"],
            ),
            (
                "POST",
                path,
                json!({"items": [{"event": "image.a.refund"}, {"event": "image.a", "quantity": 0}], "ttlSeconds": 0, "userId": "u"}),
                &["items[0].event", "items[1].quantity", "ttlSeconds"],
            ),
            ("POST", path, json!({"event": "", "quantity": -1, "userId": 7}), &["event", "quantity", "userId"]),
        ];
        each_names_all(&world, &world.app, &table).await;
    }
    let table: [(&str, &str, Value, &[&str]); 9] = [
        ("POST", "commit", json!({"final": 1, "quantity": -1, "reservationId": id}), &["final", "quantity"]),
        (
            "POST",
            "commit",
            json!({"items": [{}], "outcome": "great", "quantity": 1, "reservationId": id}),
            &["outcome", "items"],
        ),
        (
            "POST",
            "release",
            json!({"errorCode": "a\nb", "reason": reason, "reservationId": id}),
            &["reason", "errorCode"],
        ),
        ("POST", "release", json!({"errorCode": 7, "reason": reason, "reservationId": id}), &["errorCode", "reason"]),
        ("POST", "extend", json!({"quantity": 0, "reservationId": id, "ttlSeconds": 0}), &["ttlSeconds", "quantity"]),
        ("POST", "extend", json!({"quantity": "ten", "reservationId": id}), &["quantity"]),
        ("POST", "extend", json!({"quantity": "x", "reservationId": id, "ttlSeconds": 0}), &["quantity", "ttlSeconds"]),
        (
            "POST",
            "track",
            json!({"enforce": 1, "event": "image.a", "quantity": 0, "userId": "u"}),
            &["enforce", "quantity"],
        ),
        ("PUT", "test-clock", json!({"now": "soon", "sandbox": "x"}), &["sandbox", "now"]),
    ];
    each_names_all(&world, &world.app, &table).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_faults_of_an_operation_in_a_batch_are_named() {
    let (world, _) = prepared().await;
    let operations = json!({"operations": [
        {"op": "reserve", "idempotencyKey": "", "ttlSeconds": 0, "userId": "u"},
        {"op": "reserve", "ttlSeconds": 0, "user": "u"},
        {"op": "rserve", "idempotencyKey": 7},
    ]});
    let answer = world.app.post("batch", operations).await.expect(200);
    let errors = |place: usize| answer["results"][place]["body"]["errors"].as_array().unwrap();
    let fields =
        |place: usize| -> Vec<&str> { errors(place).iter().map(|fault| fault["field"].as_str().unwrap()).collect() };
    assert_eq!(fields(0), ["idempotencyKey", "event", "ttlSeconds"]);
    assert_eq!(fields(1), ["user", "userId", "event", "ttlSeconds"]);
    assert_eq!(fields(2), ["op", "idempotencyKey"]);
    assert!(errors(2)[0]["message"].as_str().unwrap().ends_with("did you mean `reserve`?"), "{answer}");
    assert_eq!(world.app.stands("u", "images").await, (0.0, 1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_faults_of_a_body_about_users_are_named() {
    let (world, _) = prepared().await;
    let table: [(&str, &str, Value, &[&str]); 11] = [
        (
            "POST",
            "credits",
            json!({"amount": 0, "expiresAt": "soon", "groupId": "credits", "note": long(), "scope": {}, "sourceId": ""}),
            &["scope", "amount", "expiresAt", "sourceId", "note"],
        ),
        (
            "POST",
            "credits",
            json!({"amount": "x", "expiresAt": "soon", "groupId": 7, "scopes": {"user": "u"}}),
            &["amount", "groupId", "scopes", "scope", "expiresAt"],
        ),
        ("POST", "credits/crd_x/void", json!({"amount": 0, "note": long()}), &["amount", "note"]),
        ("POST", "credits/crd_x/void", json!({"amount": true, "note": long(), "part": 1}), &["amount", "part", "note"]),
        (
            "PUT",
            "limits/a.b",
            json!({"note": long(), "scope": {}, "until": "soon"}),
            &["groupId", "scope", "quota", "until", "note"],
        ),
        ("PUT", "limits/images", json!({"quota": "x", "scope": {}}), &["quota", "scope"]),
        ("DELETE", "limits/a.b", json!({"scope": {}}), &["groupId", "scope"]),
        (
            "POST",
            "subscriptions",
            json!({"customLimits": {"a": {"quota": -1}, "b": {"qouta": 1}}, "cycleStart": "x", "endsAt": "y",
                "note": long(), "planId": "one", "startedAt": "z", "userId": "u"}),
            &["startedAt", "cycleStart", "endsAt", "customLimits.a.quota", "customLimits.b.qouta", "note"],
        ),
        (
            "POST",
            "subscriptions",
            json!({"planId": 7, "resetUsage": 1, "startedAt": "z", "userId": ""}),
            &["planId", "resetUsage", "userId", "startedAt"],
        ),
        ("DELETE", "subscriptions", json!({"endsAt": "soon", "note": long(), "userId": "u"}), &["endsAt", "note"]),
        ("PUT", "users/u", json!({"name": "", "tag": []}), &["tag", "name"]),
    ];
    each_names_all(&world, &world.app, &table).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_faults_of_an_operators_body_are_named() {
    let (world, id) = prepared().await;
    let release = format!("reservations/{id}/release");
    let table: [(&str, &str, Value, &[&str]); 13] = [
        (
            "POST",
            "grants",
            json!({"amount": 0, "expiresAt": "soon", "groupId": "images", "note": long(), "scope": {}}),
            &["scope", "amount", "expiresAt", "note"],
        ),
        (
            "POST",
            "approvals/x/approve",
            json!({"amount": 0, "note": long(), "rollbackOwner": long(), "until": "soon"}),
            &["amount", "until", "note", "rollbackOwner"],
        ),
        ("POST", "approvals/x/reject", json!({"note": long(), "reason": 1}), &["reason", "note"]),
        ("POST", "users/u/block", json!({"note": long(), "reason": 1}), &["reason", "note"]),
        ("POST", "users/u/reset", json!({"groupId": 7, "note": long()}), &["groupId", "note"]),
        ("POST", &release, json!({"note": 1, "reason": long()}), &["note", "reason"]),
        ("POST", "policies/x/review", json!({"note": long(), "reason": 1}), &["reason", "note"]),
        (
            "POST",
            "keys",
            json!({"kind": "secret", "mode": "test", "origins": ["x"], "role": "viewer"}),
            &["role", "origins"],
        ),
        ("POST", "keys", json!({"kind": "secret", "mode": "prod", "role": "viewer"}), &["mode", "role"]),
        // Which fields a key may have is not known without its kind.
        ("POST", "keys", json!({"kind": "admn", "mode": "live", "role": "viewer"}), &["kind"]),
        ("POST", "whatif", json!({"entries": 1, "policy": 7}), &["policy", "entries"]),
        ("POST", "whatif", json!({"entries": 1}), &["entries", "plan"]),
        ("POST", "explain", json!({"event": "a.refund", "quantity": 0}), &["plan", "event", "quantity"]),
    ];
    each_names_all(&world, &world.admin.with("x-mode", "test"), &table).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_faults_of_a_query_are_named() {
    let (world, _) = prepared().await;
    let (app, admin) = (&world.app, &world.admin.with("x-mode", "test"));
    let repeated = format!("reports/usage?ratio=x&ratio=x{}", "&colour=1".repeat(30));
    // Too many to look for the faults of each.
    let many = format!("usage?{}", "userId=u&".repeat(100));
    let table: [(&Api, &str, &[&str]); 29] = [
        (app, many.as_str(), &["query"]),
        (app, "credits?groupId=a.b&userid=u&limit=0&cursor=x", &["groupId", "userid", "cursor", "limit"]),
        (app, "limits?groupId=a.b&limit=0&cursor=x", &["groupId", "cursor", "limit"]),
        (app, "limits?limt=1&limit=x", &["limt", "limit", "groupId"]),
        (app, "usage?userId=&event=&colour=1", &["userId", "event", "colour"]),
        (app, "usage/history?userId=u&from=x&to=y", &["from", "to"]),
        (admin, "users?colour=1&limit=x", &["colour", "limit"]),
        (admin, "users?search=a&contains=a&limit=0", &["contains", "limit"]),
        (admin, "approvals?status=closed&limit=0", &["status", "limit"]),
        (admin, "estimates?limit=0&cursor=x", &["cursor", "limit"]),
        (admin, "estimates?limt=1&limit=0", &["limt", "limit"]),
        (admin, "users?colour=1&limit=0", &["colour", "limit"]),
        (app, "usage?userid=u&event=", &["userId", "event", "userid"]),
        (app, "events?type=comit,draw&type=drw&late=1&limit=0&colour=1", &["type", "type", "late", "colour", "limit"]),
        (app, "events?limit=3&limit=5&cursor=bad&cursor=worse", &["limit", "cursor", "cursor"]),
        (app, "events?userId=&from=x&to=y&order=up&cursor=x", &["userId", "from", "to", "order", "cursor"]),
        (app, "events/stream?outcome=good&observed=1&from=x", &["outcome", "observed", "from"]),
        (app, "explain?quantity=0&key=a%20b&colour=1", &["userId", "event", "colour", "key", "quantity"]),
        (app, "explain?userId=u&event=x.refund&quantity=0", &["event", "quantity"]),
        (app, "explain?reservationId=x&event=x&key=k", &["event", "key"]),
        (app, "explain?reservationId=x&key=k&usrId=u", &["key", "usrId"]),
        // Without `reservationId`, which is wrong, `key` could be right.
        (app, "explain?reservationId=x&reservationId=y&key=k", &["reservationId"]),
        (admin, "reports/usage?from=x&period=hour&by=team,colour", &["from", "period", "by", "by"]),
        (admin, "reports/usage?from=2027-02-02&to=2027-02-01&top=x&userId=", &["top", "userId", "to"]),
        (admin, "reports/usage?by=metadata.tier&groupId=none&ratio=frames/calls", &["by", "groupId", "ratio"]),
        (admin, repeated.as_str(), &["ratio", "colour", "colour"]),
        (admin, "reports/unusual?at=x&days=y&by=team&days=1", &["days", "at", "by"]),
        (admin, "reports/limits?limit=0&colour=1", &["colour", "limit"]),
        (admin, "reports/forecast?userid=u", &["userid", "userId"]),
    ];
    for (api, path, expected) in table {
        assert_eq!(fields(api.get(path).await), expected, "{path}");
    }
    let answer = world.admin.send("PUT", "configuration?dryRun=x&prune=y&dryrun=true", None).await;
    assert_eq!(fields(answer), ["dryRun", "prune", "dryrun"]);
}

/// The operations with a query: method, path, and the names of its parameters.
fn queries() -> Vec<(String, String, Vec<String>)> {
    let document: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
    // Any name of metadata is accepted, and whether a plan exists depends on the configuration.
    let is_free = |name: &str| ["metadata.{name}", "moveTo"].contains(&name);
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let of_query = parameters.filter(|parameter| parameter["in"] == "query");
            let names = of_query.map(|parameter| parameter["name"].as_str().unwrap());
            let names: Vec<String> = names.filter(|name| !is_free(name)).map(str::to_owned).collect();
            if !names.is_empty() {
                found.push((method.to_uppercase(), path.replace("{id}", "none"), names));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_operation_names_all_faults_of_its_query_and_suggests_its_parameters() {
    let (world, _) = prepared().await;
    let mut count = 0;
    for (method, path, names) in queries() {
        // What an app's key may not call, an operator's key may.
        let by_app = world.app.send(&method, &format!("{path}?colour=1"), None).await;
        let api = if by_app.status == 403 { &world.admin } else { &world.app };
        let faults = async |query: String| {
            let answer = api.send(&method, &format!("{path}?{query}"), None).await;
            let errors = answer.json["errors"].as_array().cloned().unwrap_or_default();
            let text = |fault: &Value, name: &str| fault[name].as_str().unwrap().to_owned();
            errors.iter().map(|fault| (text(fault, "field"), text(fault, "message"))).collect::<Vec<_>>()
        };
        let is_named = |name: &str, found: &[(String, String)]| found.iter().any(|(field, _)| field == name);
        // A stream without a fault does not end.
        let ends = if path.ends_with("/stream") { "&colour=1" } else { "" };
        let mut wrong = vec!["colour"];
        for name in &names {
            // No number, time, name or cursor has a control character, but some texts may have any.
            if is_named(name, &faults(format!("{name}=%00{ends}")).await) {
                wrong.push(name);
            }
        }
        let all: String = names.iter().map(|name| format!("{name}=%00&")).collect();
        let found = faults(all + "colour=1").await;
        for name in &wrong {
            assert!(is_named(name, &found), "{method} {path} does not name `{name}`: {found:?}");
        }
        count += wrong.len() - 1;

        let misspelt = |name: &str| name[..name.len() - 1].to_owned();
        let long: Vec<&String> = names.iter().filter(|name| name.len() > 3).collect();
        let all: String = long.iter().map(|name| format!("{}=1&", misspelt(name))).collect();
        let found = faults(all + "colour=1").await;
        for name in long {
            let hint = format!("; did you mean `{name}`?");
            let is_hinted = found.iter().any(|(field, text)| *field == misspelt(name) && text.ends_with(&hint));
            assert!(is_hinted, "{method} {path} does not suggest `{name}`: {found:?}");
        }
    }
    assert!(count > 80, "{count} parameters can be wrong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn misspelt_fields_and_values_have_a_suggestion() {
    let (world, _) = prepared().await;
    let group = |name: &str, value: Value| {
        let mut group = json!({"id": "g", "unit": "count", "quota": 1, "matches": [{"event": "x"}]});
        group[name] = value;
        json!({"periodType": "monthly", "groups": [group]})
    };
    let mut overflow = group("overflow", json!("credts"));
    let balance = json!({"id": "credits", "kind": "balance", "unit": "count"});
    overflow["groups"].as_array_mut().unwrap().push(balance);
    let chat = |fit: Value| json!({"userId": "u", "event": "image.a", "fit": fit});
    let credit = json!({"groupId": "credits", "scope": {"user": "u"}, "amount": 1});
    let with = |name: &str, value: Value| {
        let mut body = credit.clone();
        body[name] = value;
        body
    };
    let estimate = json!({"per": {"tokens": 1}, "estimate": {"tokens": {"quantil": "0.9", "start": 1}}});
    let (app, admin) = (&world.app, &world.admin);
    for (api, method, path, body, name) in [
        (admin, "PUT", "plans/p", group("unit", json!("counts")), "count"),
        (admin, "PUT", "plans/p", group("periodType", json!("month")), "monthly"),
        (admin, "PUT", "plans/p", group("kind", json!("balanc")), "balance"),
        (admin, "PUT", "plans/p", group("enforcement", json!("observed")), "observe"),
        (admin, "PUT", "plans/p", group("onPlanChange", json!("cary")), "carry"),
        (admin, "PUT", "plans/p", group("rollover", json!({"maxx": 1})), "max"),
        (admin, "PUT", "plans/p", group("overflw", json!("credits")), "overflow"),
        (admin, "PUT", "plans/p", group("alertBelow", json!([1])), "alertsBelow"),
        (admin, "PUT", "plans/p", group("scope", json!(["usr"])), "user"),
        (admin, "PUT", "plans/p", group("measure", json!("evnt")), "event"),
        (admin, "PUT", "plans/p", group("measure", estimate), "quantile"),
        (admin, "PUT", "plans/p", overflow, "credits"),
        (app, "POST", "reserve", chat(json!({"feild": "quantity", "min": 1})), "field"),
        (app, "POST", "credits", with("sourceID", json!("x")), "sourceId"),
        (app, "POST", "credits", with("scope", json!({"usr": "u"})), "user"),
        (app, "PUT", "limits/images", json!({"scope": {"user": "u"}, "qouta": 1}), "quota"),
        (app, "POST", "batch", json!({"operation": []}), "operations"),
    ] {
        let problem = api.send(method, path, Some(body.to_string())).await.problem(400, "invalid_request");
        let suggestion = format!("; did you mean `{name}`?");
        let errors = problem["errors"].as_array().unwrap();
        let is_suggested = errors.iter().any(|fault| fault["message"].as_str().unwrap().ends_with(&suggestion));
        assert!(is_suggested, "{path} {body}: {problem}");
    }
    let problem = app.get("credits?groupId=credits&userid=u").await.problem(400, "invalid_request");
    assert_eq!(problem["errors"][0]["message"], "is not a parameter of this call; did you mean `userId`?");
}

//! An example request and answer for each operation, recorded from a gateway. `/docs` shows them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::support::receiver::{Receiver, Reply};
use crate::support::{Api, ROOT_KEY, World, eventually};

/// Where the recorded examples are checked in.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboard/examples.json");

/// So far ahead that no real time looks like one of the sandbox.
const START: &str = "2041-01-31T10:00:00Z";

/// Ids and secrets that differ from run to run, by what they begin with.
const NAMES: [&str; 15] = [
    "rsv_", "trk_", "evt_", "led_", "den_", "grt_", "grn_", "crd_", "apr_", "key_", "msg_", "whsec_", "sk_test_",
    "pk_test_", "ak_",
];

/// Values of fields that belong to the machine of the run.
const OF_THE_MACHINE: [(&str, &str); 8] = [
    ("host", "gateway-1"),
    ("address", "10.0.0.5:8080"),
    ("redisVersion", "7.4.0"),
    ("csrfToken", "csrf_1"),
    ("userTokenSecret", "uts_1"),
    ("nextCursor", "cursor_1"),
    ("url", "https://hooks.example.com/quotagate"),
    ("keyId", "key_1"),
];

/// Records calls with values that are the same in every run.
struct Recorder {
    world: World,
    operator: Api,
    /// By what a value begins with, and the value.
    known: HashMap<String, HashMap<String, usize>>,
    examples: BTreeMap<String, Value>,
}

/// Who calls: a secret key of the sandbox, or an admin key that looks at it.
#[derive(Clone, Copy, PartialEq)]
enum By {
    App,
    Operator,
}

impl Recorder {
    fn name(&mut self, kind: &str, value: &str) -> usize {
        let known = self.known.entry(kind.to_owned()).or_default();
        let next = known.len() + 1;
        *known.entry(value.to_owned()).or_insert(next)
    }

    fn text(&mut self, field: &str, text: &str) -> String {
        if let Some((_, fixed)) = OF_THE_MACHINE.iter().find(|(name, _)| *name == field) {
            return (*fixed).to_owned();
        }
        if let Some(prefix) = NAMES.iter().find(|prefix| text.starts_with(**prefix)) {
            return match text.contains('…') {
                true => format!("{prefix}…"),
                false => format!("{prefix}{}", self.name(prefix, text)),
            };
        }
        if chrono::DateTime::parse_from_rfc3339(text).is_ok() && !text.starts_with("2041-") {
            return START.to_owned();
        }
        let is_stream_id = text.split_once('-').is_some_and(|(time, number)| time.len() == 13 && number.len() < 4);
        match is_stream_id && text.chars().all(|letter| letter.is_ascii_digit() || letter == '-') {
            true => format!("1801389600000-{}", self.name("stream", text)),
            false => text.to_owned(),
        }
    }

    /// The value as every run records it.
    fn steady(&mut self, field: &str, value: &Value) -> Value {
        match value {
            Value::String(text) => json!(self.text(field, text)),
            Value::Number(number) if number.as_u64().is_some_and(|number| number > 1_700_000_000_000_000) => {
                json!(1_801_389_600_000_000_u64 + self.name("version", &number.to_string()) as u64)
            }
            Value::Number(_) if field == "seconds" => json!(0.01),
            Value::Array(values) => values.iter().map(|value| self.steady(field, value)).collect(),
            Value::Object(fields) => {
                let steady = fields.iter().map(|(name, value)| (name.clone(), self.steady(name, value)));
                Value::Object(steady.collect::<Map<String, Value>>())
            }
            other => other.clone(),
        }
    }

    async fn call(&mut self, operation: &str, by: By, (method, path): (&str, &str), body: Option<Value>) -> Value {
        let api = if by == By::App { &self.world.app } else { &self.operator }.clone();
        self.call_with(operation, (by, &api), (method, path), body).await
    }

    async fn call_with(
        &mut self,
        operation: &str,
        (by, api): (By, &Api),
        (method, path): (&str, &str),
        body: Option<Value>,
    ) -> Value {
        let answer = api.send(method, path, body.as_ref().map(Value::to_string)).await;
        assert!(answer.status < 300, "{operation}: {} {}", answer.status, answer.text);
        let reported = if answer.json.is_null() { json!(answer.text) } else { answer.json.clone() };
        self.record(operation, by, (method, path), (body, answer.status, &reported));
        answer.json
    }

    fn record(
        &mut self,
        operation: &str,
        by: By,
        (method, path): (&str, &str),
        (body, status, answer): (Option<Value>, u16, &Value),
    ) {
        let parts: Vec<String> = path.split('/').map(|part| self.text("path", part)).collect();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/api/v1/{}", parts.join("/")) };
        let key = if by == By::App { "test" } else { "admin" };
        let mut example = json!({"key": key, "method": method, "path": path, "status": status});
        if let Some(body) = body {
            example["body"] = self.steady("", &body);
        }
        if answer != "" {
            example["answer"] = self.steady("", answer);
        }
        let before = self.examples.insert(operation.to_owned(), example);
        assert!(before.is_none(), "{operation} is recorded twice");
    }

    /// The first event of a stream, after something was tracked.
    async fn stream(&mut self, operation: &str, path: &str, event: &str) {
        let mut stream = self.world.app.open(path).await;
        assert_eq!(stream.status(), 200);
        let call = json!({"userId": "u_42", "event": "image.render"});
        self.world.app.post("track", call).await.expect(200);
        let mut text = String::new();
        let block = loop {
            let piece = tokio::time::timeout(Duration::from_secs(60), stream.chunk()).await.unwrap().unwrap().unwrap();
            text.push_str(&String::from_utf8_lossy(&piece));
            let found = text.split("\n\n").find(|block| block.contains(event) && block.contains("data:"));
            if let Some(block) = found.filter(|_| text.ends_with("\n\n")) {
                break block.to_owned();
            }
        };
        let lines: Vec<String> = block
            .lines()
            .map(|line| match line.split_once(": ") {
                Some(("data", data)) => {
                    let data: Value = serde_json::from_str(data).unwrap();
                    format!("data: {}", self.steady("", &data))
                }
                Some((name, value)) => format!("{name}: {}", self.text(name, value)),
                None => line.to_owned(),
            })
            .collect();
        let answer = json!(lines.join("\n"));
        self.record(operation, By::App, ("GET", path), (None, 200, &answer));
    }

    async fn freeze(&self, now: &str) {
        self.world.app.freeze(now).await;
    }

    /// Lets a policy learn how long answers are.
    async fn learn(&self) {
        let estimate = json!({"quantile": 0.95, "by": ["model"], "start": 4000, "max": 16000});
        let group = json!({"id": "answer_tokens", "unit": "tokens", "quota": null, "matches": [{"event": "llm.chat"}],
            "measure": {"per": {"completion_tokens": 1}, "estimate": {"completion_tokens": estimate}}});
        let policy = json!({"periodType": "monthly", "groups": [group]});
        self.world.admin.put("policies/answers", policy).await.expect(200);
        for tokens in 1..=100 {
            let metadata = json!({"model": "large", "completion_tokens": 10 * tokens});
            let call = json!({"userId": "u_43", "event": "llm.chat", "metadata": metadata});
            self.world.app.post("track", call).await.expect(200);
        }
    }
}

fn plan(quota: u64) -> Value {
    json!({"name": "Pro", "periodType": "monthly", "periodAnchor": "subscription_start", "groups": [
        {"id": "images", "label": "Images", "unit": "count", "quota": quota, "alerts": [80, 100], "matches": [{"event": "image.*"}]},
        {"id": "premium", "label": "Premium images", "unit": "count", "quota": 1, "enforcement": "approval",
            "matches": [{"event": "premium.*"}]}]})
}

fn policy(quota: u64) -> Value {
    json!({"owner": "platform", "periodType": "daily", "reviewCadence": "quarterly", "groups": [
        {"id": "all_images", "label": "Images of the app", "unit": "count", "quota": quota, "scope": ["app"],
            "matches": [{"event": "image.*"}]}]})
}

async fn configuration(it: &mut Recorder) {
    use By::Operator;
    it.call("plans.put", Operator, ("PUT", "plans/pro"), Some(plan(20))).await;
    let first = it.operator.get("plans/pro").await.expect(200)["version"].clone();
    it.operator.put("plans/pro", plan(40)).await.expect(200);
    it.call("plans.versions", Operator, ("GET", "plans/pro/versions"), None).await;
    it.call("plans.rollback", Operator, ("POST", "plans/pro/rollback"), Some(json!({"version": first}))).await;
    it.call("plans.list", By::App, ("GET", "plans"), None).await;
    it.call("plans.get", By::App, ("GET", "plans/pro"), None).await;
    it.operator.put("plans/old", json!({"groups": []})).await.expect(200);
    it.call("plans.delete", Operator, ("DELETE", "plans/old?moveTo=pro"), None).await;
    it.call("policies.put", Operator, ("PUT", "policies/images"), Some(policy(500))).await;
    let first = it.operator.get("policies/images").await.expect(200)["version"].clone();
    it.operator.put("policies/images", policy(900)).await.expect(200);
    it.call("policies.versions", Operator, ("GET", "policies/images/versions"), None).await;
    it.call("policies.rollback", Operator, ("POST", "policies/images/rollback"), Some(json!({"version": first}))).await;
    it.call("policies.review", Operator, ("POST", "policies/images/review"), Some(json!({"note": "still right"})))
        .await;
    it.call("policies.list", Operator, ("GET", "policies"), None).await;
    it.call("policies.get", Operator, ("GET", "policies/images"), None).await;
    it.operator.put("policies/old", json!({"groups": []})).await.expect(200);
    it.call("policies.delete", Operator, ("DELETE", "policies/old"), None).await;
    it.call("app.put", Operator, ("PUT", "app"), Some(json!({"reportLabels": ["customer"]}))).await;
    it.call("app.get", Operator, ("GET", "app"), None).await;
    let made = it
        .call(
            "keys.create",
            Operator,
            ("POST", "keys"),
            Some(json!({"kind": "secret", "mode": "test", "name": "back end"})),
        )
        .await;
    it.call("keys.list", Operator, ("GET", "keys"), None).await;
    let path = format!("keys/{}", made["id"].as_str().unwrap());
    it.call("keys.delete", Operator, ("DELETE", &path), None).await;
    it.call("apps.create", Operator, ("POST", "apps"), Some(json!({"id": "acme"}))).await;
    it.call("apps.list", Operator, ("GET", "apps"), None).await;
    it.call("apps.delete", Operator, ("DELETE", "apps/acme"), None).await;
}

async fn metering(it: &mut Recorder) {
    use By::App;
    it.call(
        "subscriptions.subscribe",
        App,
        ("POST", "subscriptions"),
        Some(json!({"userId": "u_42", "planId": "pro"})),
    )
    .await;
    let call = |quantity: u64| json!({"userId": "u_42", "event": "image.render", "quantity": quantity});
    it.call("metering.can_use", App, ("POST", "can-use"), Some(call(3))).await;
    let held = it.call("metering.reserve", App, ("POST", "reserve"), Some(call(3))).await;
    let id = held["reservationId"].clone();
    it.call("metering.extend", App, ("POST", "extend"), Some(json!({"reservationId": id, "ttlSeconds": 300}))).await;
    it.call("metering.commit", App, ("POST", "commit"), Some(json!({"reservationId": id, "quantity": 2}))).await;
    let path = format!("reservations/{}/outcome", id.as_str().unwrap());
    it.call("metering.outcome", App, ("POST", &path), Some(json!({"outcome": "accepted"}))).await;
    let other = it.world.app.reserved(call(1)).await;
    let why = json!({"reservationId": other, "reason": "the model failed"});
    it.call("metering.release", App, ("POST", "release"), Some(why)).await;
    it.call("metering.track", App, ("POST", "track"), Some(call(1))).await;
    let mut operations = [call(1), call(2)];
    operations[0]["op"] = json!("reserve");
    operations[1]["op"] = json!("track");
    it.call("metering.batch", App, ("POST", "batch"), Some(json!({"operations": operations}))).await;
    it.call("usage.get_usage", App, ("GET", "usage?userId=u_42"), None).await;
    it.call("usage.explain", App, ("GET", "explain?userId=u_42&event=image.render&quantity=40"), None).await;
    let mut draft = plan(10);
    draft["id"] = json!("pro");
    it.call(
        "usage.explain_draft",
        By::Operator,
        ("POST", "explain"),
        Some(json!({"plan": draft, "event": "image.render"})),
    )
    .await;
    it.stream("usage.stream_usage", "usage/stream?userId=u_42", "event: usage").await;
    it.stream("events.stream", "events/stream?type=track", "data: {").await;
    assert_eq!(it.world.app.reserve(call(40)).await["allowed"], false);
    it.call("events.list", App, ("GET", "events?userId=u_42&limit=2"), None).await;
    it.call("what-if.whatif", By::Operator, ("POST", "whatif"), Some(json!({"plan": draft}))).await;
}

async fn people(it: &mut Recorder) {
    use By::Operator;
    it.call("users.put", By::App, ("PUT", "users/u_42"), Some(json!({"name": "Ada Lovelace", "tags": ["vip"]}))).await;
    it.call("users.list", Operator, ("GET", "users?contains=ada"), None).await;
    let id = it.world.app.reserved(json!({"userId": "u_42", "event": "image.render"})).await;
    let path = format!("reservations/{id}/release");
    it.call("users.release_reservation", Operator, ("POST", &path), Some(json!({"reason": "the job is gone"}))).await;
    let grant = json!({"groupId": "images", "scope": {"user": "u_42"}, "amount": 10, "note": "sorry for the outage"});
    let grant = it.call("grants.create", Operator, ("POST", "grants"), Some(grant)).await;
    it.call("grants.list", Operator, ("GET", "grants?userId=u_42"), None).await;
    it.call("users.get", Operator, ("GET", "users/u_42"), None).await;
    let path = format!("grants/{}", grant["id"].as_str().unwrap());
    it.call("grants.delete", Operator, ("DELETE", &path), None).await;
    it.call("users.block", Operator, ("POST", "users/u_42/block"), Some(json!({"note": "chargeback"}))).await;
    it.call("users.unblock", Operator, ("POST", "users/u_42/unblock"), Some(json!({}))).await;
    it.call("counters.list", Operator, ("GET", "counters?groupId=all_images"), None).await;
    let scope = json!({"app": "default"});
    let limit = json!({"scope": scope, "quota": 2000, "until": "2041-03-01T00:00:00Z", "note": "campaign"});
    it.call("limits.put", By::App, ("PUT", "limits/all_images"), Some(limit)).await;
    it.call("limits.list", By::App, ("GET", "limits?groupId=all_images"), None).await;
    it.call("limits.delete", By::App, ("DELETE", "limits/all_images"), Some(json!({"scope": scope}))).await;
    prepaid(it).await;
    it.call("configuration.list", Operator, ("GET", "audit?target=user:u_42&limit=1"), None).await;
    // Two requests for approval, an hour apart.
    let mut requests = Vec::new();
    for (user, now) in [("u_43", "2041-01-31T11:00:00Z"), ("u_44", "2041-01-31T12:00:00Z")] {
        it.freeze(now).await;
        it.world.app.subscribe(user, "pro").await;
        let denied = it.world.app.reserve(json!({"userId": user, "event": "premium.render", "quantity": 2})).await;
        requests.push(denied["deniedBy"][0]["approval"]["id"].as_str().unwrap().to_owned());
    }
    it.call("approvals.list", Operator, ("GET", "approvals?status=open"), None).await;
    it.call("approvals.get", Operator, ("GET", &format!("approvals/{}", requests[0])), None).await;
    let path = format!("approvals/{}", requests[0]);
    it.call(
        "approvals.approve",
        Operator,
        ("POST", &format!("{path}/approve")),
        Some(json!({"amount": 5, "note": "agreed"})),
    )
    .await;
    let path = format!("approvals/{}", requests[1]);
    it.call("approvals.reject", Operator, ("POST", &format!("{path}/reject")), Some(json!({"note": "too much"}))).await;
    it.call("approvals.reopen", Operator, ("POST", &format!("{path}/reopen")), Some(json!({}))).await;
}

/// Credits of a balance that no other call counts in.
async fn prepaid(it: &mut Recorder) {
    let packs = json!({"id": "image_packs", "label": "Image packs", "kind": "balance", "unit": "count"});
    let policy = json!({"periodType": "monthly", "groups": [packs]});
    it.world.admin.put("policies/packs", policy).await.expect(200);
    let pack = json!({"groupId": "image_packs", "scope": {"user": "u_42"}, "amount": 100,
        "expiresAt": "2042-01-31T00:00:00Z", "sourceId": "pay_1", "note": "pack of 100"});
    let credit = it.call("credits.create", By::App, ("POST", "credits"), Some(pack)).await;
    it.call("credits.list", By::App, ("GET", "credits?groupId=image_packs&userId=u_42"), None).await;
    let path = format!("credits/{}/void", credit["id"].as_str().unwrap());
    let some = json!({"amount": 40, "note": "partial refund"});
    it.call("credits.void", By::App, ("POST", &path), Some(some)).await;
    assert_eq!(it.world.admin.delete("policies/packs", None).await.status, 204);
}

async fn webhooks(it: &mut Recorder) {
    use By::Operator;
    let receiver = Receiver::start(&[Reply::Status(200)]).await;
    let body = json!({"url": receiver.url, "events": ["threshold.reached"], "modes": ["live", "test"]});
    it.call("webhooks.put", Operator, ("PUT", "webhooks/ops"), Some(body)).await;
    it.world.app.subscribe("u_45", "pro").await;
    it.world.app.post("track", json!({"userId": "u_45", "event": "image.render", "quantity": 17})).await.expect(200);
    let operator = it.operator.clone();
    let health = async || operator.get("webhooks/ops").await.expect(200)["deliveries"].clone();
    eventually("the message is delivered", || async { health().await["last"]["responseStatus"] == 200 }).await;
    it.call("webhooks.list", Operator, ("GET", "webhooks"), None).await;
    it.call("webhooks.get", Operator, ("GET", "webhooks/ops"), None).await;
    let deliveries = it.call("webhooks.deliveries", Operator, ("GET", "webhooks/ops/deliveries"), None).await;
    // What is sent again waits for the receiver.
    receiver.answer(&[Reply::Never]);
    let path = format!("webhooks/ops/deliveries/{}/resend", deliveries["data"][0]["id"].as_str().unwrap());
    it.call("webhooks.resend", Operator, ("POST", &path), None).await;
    it.call("webhooks.rotate_secret", Operator, ("POST", "webhooks/ops/rotate-secret"), None).await;
    it.call("alerts.list", Operator, ("GET", "alerts?limit=1"), None).await;
    let document = it.call("configuration.get", Operator, ("GET", "configuration"), None).await;
    let more = json!({"plans": [document["plans"][0], {"id": "free", "name": "Free", "groups": []}]});
    it.call("configuration.put", Operator, ("PUT", "configuration"), Some(more)).await;
    it.call("webhooks.delete", Operator, ("DELETE", "webhooks/ops"), None).await;
}

async fn time(it: &mut Recorder) {
    use By::{App, Operator};
    it.freeze("2041-02-01T10:00:00Z").await;
    for _ in 0..25 {
        it.world.app.post("track", json!({"userId": "u_43", "event": "image.render"})).await.expect(200);
    }
    it.freeze("2041-02-06T10:00:00Z").await;
    it.call("reports.usage", Operator, ("GET", "reports/usage?by=user&period=month"), None).await;
    it.call("reports.forecast", Operator, ("GET", "reports/forecast?userId=u_43"), None).await;
    it.call("reports.limits", Operator, ("GET", "reports/limits"), None).await;
    it.call("reports.unusual", Operator, ("GET", "reports/unusual?at=2041-02-01&by=user"), None).await;
    it.call("usage.history", App, ("GET", "usage/history?userId=u_43"), None).await;
    it.call("users.reset", Operator, ("POST", "users/u_43/reset"), Some(json!({"groupId": "images"}))).await;
    it.call("subscriptions.cancel", App, ("DELETE", "subscriptions"), Some(json!({"userId": "u_44"}))).await;
    it.learn().await;
    it.call("reports.estimates", App, ("GET", "estimates"), None).await;
    assert_eq!(it.world.admin.delete("policies/answers", None).await.status, 204);
    it.call("test-clock.sandboxes", Operator, ("GET", "sandboxes"), None).await;
    it.call("test-clock.put", App, ("PUT", "test-clock"), Some(json!({"now": "2041-02-28T10:00:00Z"}))).await;
    it.call("test-clock.get", App, ("GET", "test-clock"), None).await;
    it.call("test-clock.delete", App, ("DELETE", "test-clock"), None).await;
}

async fn nodes(it: &mut Recorder) {
    use By::Operator;
    let nobody = Api::at(&it.world.node.url, "");
    let signed_in = nobody.post("session", json!({"key": ROOT_KEY})).await;
    let cookie = signed_in.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let session = signed_in.expect(200);
    it.record("session.create", Operator, ("POST", "session"), (Some(json!({"key": ROOT_KEY})), 200, &session));
    let browser = nobody.with("cookie", &cookie);
    it.call_with("session.get", (Operator, &browser), ("GET", "session"), None).await;
    let browser = browser.with("x-csrf-token", session["csrfToken"].as_str().unwrap());
    it.call_with("session.delete", (Operator, &browser), ("DELETE", "session"), None).await;
    let operator = it.operator.clone();
    eventually("the node is listed", || async {
        operator.get("nodes").await.expect(200)["data"].as_array().is_some_and(|nodes| !nodes.is_empty())
    })
    .await;
    let mut listed = operator.get("nodes").await.expect(200);
    listed["data"][0]["id"] = json!("Ab3dEf9h");
    listed["data"][0]["version"] = json!("1.0.0");
    it.record("nodes.list", Operator, ("GET", "nodes"), (None, 200, &listed));
    it.call("health.healthz", Operator, ("GET", "/healthz"), None).await;
    let mut ready = operator.get("/readyz").await.expect(200);
    ready["warnings"] = json!([]);
    it.record("health.readyz", Operator, ("GET", "/readyz"), (None, 200, &ready));
    let metrics = operator.get("/metrics").await.text;
    let part = metrics.split("\n\n").find(|part| part.contains("quotagate_store_identity_matches")).unwrap();
    it.record("health.metrics", Operator, ("GET", "/metrics"), (None, 200, &json!(format!("{part}\n…"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checked_in_examples_are_what_a_gateway_answers() {
    let world = World::frozen().await;
    let operator = world.admin.with("x-mode", "test");
    let mut it = Recorder { world, operator, known: HashMap::new(), examples: BTreeMap::new() };
    it.freeze(START).await;
    configuration(&mut it).await;
    metering(&mut it).await;
    people(&mut it).await;
    webhooks(&mut it).await;
    time(&mut it).await;
    nodes(&mut it).await;
    let document: Value = serde_json::from_str(&quotagate::http::openapi::document().unwrap()).unwrap();
    for operation in document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
    {
        let id = operation["operationId"].as_str().unwrap();
        assert!(it.examples.contains_key(id), "{id} has no example");
    }
    let recorded = serde_json::to_string_pretty(&it.examples).unwrap() + "\n";
    if std::env::var_os("UPDATE_EXAMPLES").is_some() {
        std::fs::write(FILE, &recorded).unwrap();
    }
    let checked_in = std::fs::read_to_string(FILE).unwrap_or_default();
    let line = recorded.lines().zip(checked_in.lines()).position(|(one, other)| one != other);
    assert!(recorded == checked_in, "run UPDATE_EXAMPLES=1 cargo test --test api examples:: (line {line:?} differs)");
}

//! Webhooks: signed, created once, retried, given up, without delaying calls.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::receiver::{Receiver, Reply};
use crate::support::{Api, World, eventually, monthly, new_key};

/// All events.
const ALL: [&str; 6] = [
    "threshold.reached",
    "limit.reached",
    "approval.requested",
    "approval.decided",
    "subscription.changed",
    "reservation.expired",
];

/// Puts a webhook and returns its secret.
async fn listen(admin: &Api, id: &str, url: &str, more: Value) -> String {
    let mut body = json!({"url": url, "events": ALL, "modes": ["live", "test"]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let created = admin.put(&format!("webhooks/{id}"), body).await.expect(200);
    created["secret"].as_str().unwrap().to_owned()
}

/// A team's soft limit of 10 with alerts at 50 and 100 percent, in a policy with an owner.
async fn budget(world: &World) {
    let policy = json!({"owner": "ml-platform", "environment": "production", "route": "chat", "periodType": "daily",
        "groups": [{"id": "budget", "label": "Team tokens", "unit": "tokens", "quota": 10, "enforcement": "soft",
            "scope": ["metadata.team"], "alerts": [50, 100], "matches": [{"event": "llm.*"}]}]});
    world.admin.put("policies/teams", policy).await.expect(200);
}

async fn use_tokens(world: &World, team: &str, quantity: u64) -> Value {
    let body = json!({"userId": "u", "event": "llm.chat", "quantity": quantity, "metadata": {"team": team}});
    world.app.post("track", body).await.expect(200)
}

async fn deliveries(admin: &Api, id: &str, status: &str) -> Vec<Value> {
    let listed = admin.get(&format!("webhooks/{id}/deliveries?status={status}")).await.expect(200);
    listed["data"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_sent_once_signed_and_says_what_happened() {
    let world = World::frozen().await;
    let admin = world.admin.with("x-mode", "test");
    let receiver = Receiver::start(&[Reply::Status(200)]).await;
    let secret = listen(&admin, "ops", &receiver.url, json!({})).await;
    assert!(secret.starts_with("whsec_"));
    assert!(admin.get("webhooks/ops").await.expect(200).get("secret").is_none(), "told once");
    budget(&world).await;
    let mut plan = monthly(1);
    plan["groups"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": "premium", "unit": "count", "measure": "event", "quota": 0,
        "enforcement": "approval", "matches": [{"event": "premium"}]}));
    plan["groups"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": "chat", "unit": "tokens", "quota": null, "matches": [{"event": "llm.*"}]}));
    world.admin.plan("pro", plan).await;
    world.app.subscribe("u", "pro").await;
    // One call crosses both thresholds.
    assert_eq!(use_tokens(&world, "red", 10).await["thresholds"].as_array().unwrap().len(), 2);
    let held = world.app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    for _ in 0..3 {
        world.app.reserve(json!({"userId": "u", "event": "image.a"})).await;
    }
    let asked = world.app.reserve(json!({"userId": "u", "event": "premium"})).await;
    let approval = asked["deniedBy"][0]["approval"]["id"].as_str().unwrap().to_owned();
    admin.post(&format!("approvals/{approval}/approve"), json!({"amount": 1, "note": "once"})).await.expect(200);
    world.app.freeze("2027-01-31T10:05:00Z").await;
    world.app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    let got = receiver.wait_for(7).await;
    for message in &got {
        message.verify(&secret);
        assert!(message.verified(&format!("whsec_{}", "A".repeat(44))).is_err(), "another secret does not fit");
        assert_eq!(message.headers["content-type"], "application/json");
    }
    let mut reported: Vec<Value> = got.iter().map(|message| message.json()).collect();
    reported.sort_by_key(|event| (event["type"].to_string(), event["data"]["percent"].as_u64()));
    let kinds: Vec<&str> = reported.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "approval.decided",
            "approval.requested",
            "limit.reached",
            "reservation.expired",
            "subscription.changed",
            "threshold.reached",
            "threshold.reached"
        ]
    );
    let threshold = &reported[6];
    for (field, value) in [
        ("appId", json!("default")),
        ("mode", json!("test/main")),
        ("groupId", json!("budget")),
        ("label", json!("Team tokens")),
        ("policyId", json!("teams")),
        ("owner", json!("ml-platform")),
        ("environment", json!("production")),
        ("route", json!("chat")),
        ("scope", json!({"metadata.team": "red"})),
        ("unit", json!("tokens")),
        ("percent", json!(100)),
        ("used", json!(10)),
        ("quota", json!(10)),
        ("granted", json!(0)),
        ("limit", json!(10)),
        ("resetsAt", json!("2027-02-01T00:00:00Z")),
    ] {
        assert_eq!(threshold["data"][field], value, "{field}");
    }
    assert_eq!(threshold["timestamp"], "2027-01-31T10:00:00Z");
    assert_eq!(threshold["text"], "Team tokens: 100 % used by team red (10 of 10 tokens)");
    assert_eq!((&reported[5]["data"]["percent"], &reported[5]["data"]["used"]), (&json!(50), &json!(10)));
    let asked = &reported[1]["data"];
    assert_eq!(
        (&asked["approvalId"], &asked["requested"], &asked["userId"]),
        (&json!(approval), &json!(1), &json!("u"))
    );
    assert_eq!(
        (&reported[0]["data"]["status"], &reported[0]["data"]["decided"]["note"]),
        (&json!("approved"), &json!("once"))
    );
    assert_eq!((&reported[2]["data"]["groupId"], &reported[2]["data"]["held"]), (&json!("images"), &json!(1)));
    let expired = &reported[3]["data"];
    assert_eq!(
        (&expired["reservationId"], &expired["userId"], &expired["event"]),
        (&json!(held), &json!("u"), &json!("image.a"))
    );
    assert_eq!(expired["held"], json!([{"groupId": "images", "unit": "count", "amount": 1}]));
    assert_eq!(reported[4]["data"]["subscription"]["planId"], "pro");
    // The history has the same events; each delivery is stored.
    let history = admin.get("alerts").await.expect(200);
    assert_eq!(history["data"].as_array().unwrap().len(), 7);
    assert_eq!(history["data"][0]["type"], "reservation.expired");
    let page = admin.get("alerts?limit=3").await.expect(200);
    let rest = admin.get(&format!("alerts?limit=10&cursor={}", page["nextCursor"].as_str().unwrap())).await.expect(200);
    assert_eq!((page["data"].as_array().unwrap().len(), rest["data"].as_array().unwrap().len()), (3, 4));
    eventually("all are kept as delivered", || async { deliveries(&admin, "ops", "delivered").await.len() == 7 }).await;
    assert_eq!(receiver.got().len(), 7, "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_ten_times_gets_it_in_the_end_with_the_same_id() {
    let world = World::frozen().await;
    let admin = world.admin.with("x-mode", "test");
    let mut replies: Vec<Reply> = [500, 404, 301, 503, 429, 500, 500, 502, 400, 500].map(Reply::Status).to_vec();
    replies.push(Reply::Status(204));
    let receiver = Receiver::start(&replies).await;
    let secret = listen(&admin, "ops", &receiver.url, json!({})).await;
    budget(&world).await;
    use_tokens(&world, "red", 5).await;
    let got = receiver.wait_for(11).await;
    assert!(got.iter().all(|message| message.id() == got[0].id() && message.body == got[0].body));
    got.iter().for_each(|message| message.verify(&secret));
    eventually("it is delivered", || async { deliveries(&admin, "ops", "delivered").await.len() == 1 }).await;
    let delivery = &deliveries(&admin, "ops", "delivered").await[0];
    assert_eq!(
        (&delivery["attempts"], &delivery["responseStatus"], &delivery["error"]),
        (&json!(11), &json!(204), &Value::Null)
    );
    assert_eq!((&delivery["id"], &delivery["nextAttemptAt"]), (&json!(got[0].id()), &Value::Null));
    assert_eq!(receiver.got().len(), 11, "and not again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_never_answers_slows_neither_calls_nor_other_receivers() {
    // No attempt ends within the test, so whatever waited for one would hang.
    let world = World::frozen().await.with_attempts_of(Duration::from_secs(3_600)).await;
    let admin = world.admin.with("x-mode", "test");
    let (silent, quick) = (Receiver::start(&[Reply::Never]).await, Receiver::start(&[Reply::Status(200)]).await);
    listen(&admin, "silent", &silent.url, json!({})).await;
    listen(&admin, "quick", &quick.url, json!({})).await;
    listen(&admin, "nobody", "http://127.0.0.1:9/", json!({})).await;
    budget(&world).await;
    for team in ["one", "two", "three"] {
        use_tokens(&world, team, 5).await;
    }
    quick.wait_for(3).await;
    silent.wait_for(3).await;
    for place in 0..40 {
        use_tokens(&world, &format!("team {place}"), 10).await;
    }
    // Two alerts per team.
    quick.wait_for(83).await;
    assert!(silent.got().len() < 60, "so few attempts are under way at the same time");
    let pending = deliveries(&admin, "silent", "pending").await;
    assert!(pending.iter().all(|delivery| delivery["attempts"] == 0), "the first attempts are under way: {pending:?}");
    eventually("nothing listens there", || async {
        deliveries(&admin, "nobody", "pending").await.iter().any(|it| it["error"].as_str().is_some())
    })
    .await;
    // A deleted webhook receives nothing more and leaves nothing behind.
    admin.delete("webhooks/silent", None).await.expect(204);
    admin.get("webhooks/silent/deliveries").await.problem(404, "not_found");
    let left: Vec<String> = world.redis.run(&["KEYS", "qg:*deliver*silent*"]).await;
    assert!(left.iter().all(|key| key.contains("due")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_is_never_answered_ends_in_time_and_only_then_comes_the_next() {
    let world = World::frozen().await.with_attempts_of(Duration::from_millis(300)).await;
    let admin = world.admin.with("x-mode", "test");
    let silent = Receiver::start(&[Reply::Never]).await;
    listen(&admin, "silent", &silent.url, json!({})).await;
    budget(&world).await;
    for team in ["one", "two", "three"] {
        use_tokens(&world, team, 5).await;
    }
    silent.wait_for(3).await;
    eventually("its failure is reported", || async {
        let pending = deliveries(&admin, "silent", "pending").await;
        pending.iter().any(|it| it["error"] == "no response in time" && it["nextAttemptAt"].is_string())
    })
    .await;
    // During an attempt there is no other one, although there are free slots and time for it.
    let made = silent.got();
    for delivery in deliveries(&admin, "silent", "pending").await {
        let same = made.iter().filter(|message| message.id() == delivery["id"].as_str().unwrap()).count() as u64;
        assert!(same <= delivery["attempts"].as_u64().unwrap() + 1, "{same} of {delivery}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_and_sent_once_more() {
    let world = World::frozen().await;
    let admin = world.admin.with("x-mode", "test");
    let receiver = Receiver::start(&[Reply::Status(500)]).await;
    listen(&admin, "ops", &receiver.url, json!({})).await;
    budget(&world).await;
    use_tokens(&world, "red", 5).await;
    receiver.wait_for(2).await;
    // As if it had been created a day ago.
    let keys: Vec<String> = world.redis.run(&["KEYS", "qg:*:delivery:ops:*"]).await;
    assert_eq!(keys.len(), 1);
    let time: Vec<i64> = world.redis.run(&["TIME"]).await;
    let day_ago = (time[0] * 1000 - 24 * 3_600_000).to_string();
    world.redis.run::<()>(&["HSET", &keys[0], "since", &day_ago]).await;
    eventually("it is given up", || async { deliveries(&admin, "ops", "dead").await.len() == 1 }).await;
    let dead = deliveries(&admin, "ops", "dead").await.remove(0);
    assert_eq!((&dead["responseStatus"], &dead["nextAttemptAt"]), (&json!(500), &Value::Null));
    assert_eq!(dead["payload"]["type"], "threshold.reached");
    let count = receiver.got().len();
    receiver.answer(&[Reply::Status(200)]);
    let path = format!("webhooks/ops/deliveries/{}/resend", dead["id"].as_str().unwrap());
    let again = admin.post(&path, Value::Null).await.expect(200);
    assert_eq!(again["status"], "pending");
    receiver.wait_for(count + 1).await;
    eventually("it is delivered", || async { deliveries(&admin, "ops", "delivered").await.len() == 1 }).await;
    assert_eq!(deliveries(&admin, "ops", "dead").await, Vec::<Value>::new());
    admin.post("webhooks/ops/deliveries/msg_0/resend", Value::Null).await.problem(404, "not_found");
    let audit = admin.get("audit?action=webhook.resend").await.expect(200);
    assert_eq!(audit["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_templates_and_secrets_are_each_webhooks_own() {
    let world = World::frozen().await;
    let admin = world.admin.with("x-mode", "test");
    let chat = Receiver::start(&[Reply::Status(200)]).await;
    let red = Receiver::start(&[Reply::Status(200)]).await;
    let secret = listen(&admin, "chat", &chat.url, json!({"events": ["threshold.reached"],
        "filter": {"owners": ["ml-platform"], "groupIds": ["budget"]},
        "template": "@{owner}: {scope} is at {percent} % of {group} ({policy}), {used}/{limit} {unit} (quota {quota}), until {resetsAt}"})).await;
    listen(&admin, "red", &red.url, json!({"filter": {"scope": {"metadata.team": "red"}}})).await;
    listen(&admin, "others", &chat.url, json!({"filter": {"owners": ["somebody else"]}})).await;
    budget(&world).await;
    use_tokens(&world, "blue", 1).await;
    let grant = json!({"groupId": "budget", "scope": {"metadata.team": "blue"}, "amount": 2});
    admin.post("grants", grant).await.expect(201);
    use_tokens(&world, "blue", 5).await;
    use_tokens(&world, "red", 5).await;
    let got = chat.wait_for(2).await;
    let texts: Vec<String> = got.iter().map(|message| message.json()["text"].as_str().unwrap().to_owned()).collect();
    let wanted = "@ml-platform: team blue is at 50 % of Team tokens (teams), 6/12 tokens (quota 10), \
        until 2027-02-01T00:00:00Z";
    assert!(texts.contains(&wanted.to_owned()), "{texts:?}");
    let only = red.wait_for(1).await;
    assert_eq!(only[0].json()["data"]["scope"], json!({"metadata.team": "red"}));
    // The previous secret also signs for a day.
    let rotated = admin.post("webhooks/chat/rotate-secret", Value::Null).await.expect(200);
    let fresh = rotated["secret"].as_str().unwrap();
    assert_ne!(fresh, secret);
    use_tokens(&world, "red", 5).await;
    let third = chat.wait_for(3).await.pop().unwrap();
    third.verify(&secret);
    third.verify(fresh);
    assert_eq!(third.headers["webhook-signature"].split(' ').count(), 2);
    red.wait_for(2).await;
    assert_eq!((chat.got().len(), red.got().len()), (3, 2), "each got its own and nothing else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn test_events_reach_only_webhooks_that_ask_for_them() {
    let world = World::frozen().await;
    budget(&world).await;
    let live = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await);
    let production = Receiver::start(&[Reply::Status(200)]).await;
    let everything = Receiver::start(&[Reply::Status(200)]).await;
    let body = json!({"url": production.url, "events": ["threshold.reached"]});
    let created = world.admin.put("webhooks/production", body).await.expect(200);
    assert_eq!(created["modes"], json!(["live"]));
    listen(&world.admin, "everything", &everything.url, json!({"events": ["threshold.reached"]})).await;
    use_tokens(&world, "red", 5).await;
    everything.wait_for(1).await;
    let call = json!({"userId": "u", "event": "llm.chat", "quantity": 5, "metadata": {"team": "red"}});
    live.post("track", call).await.expect(200);
    let modes: Vec<Value> =
        everything.wait_for(2).await.iter().map(|message| message.json()["data"]["mode"].clone()).collect();
    assert_eq!(modes, ["test/main", "live"]);
    // The sandbox's event came first, so it would be there by now.
    let got = production.wait_for(1).await;
    assert_eq!((got.len(), &got[0].json()["data"]["mode"]), (1, &json!("live")));
    let in_sandbox = world.admin.with("x-mode", "test");
    assert!(deliveries(&in_sandbox, "production", "delivered").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_says_how_its_deliveries_go() {
    let world = World::frozen().await;
    let admin = world.admin.with("x-mode", "test");
    let receiver = Receiver::start(&[Reply::Status(500)]).await;
    listen(&admin, "ops", &receiver.url, json!({"events": ["threshold.reached"]})).await;
    budget(&world).await;
    let health = async || admin.get("webhooks").await.expect(200)["data"][0]["deliveries"].clone();
    let none = json!({"attempted": 0, "failed": 0, "pending": 0, "dead": 0, "last": null});
    assert_eq!(health().await, none);
    use_tokens(&world, "red", 5).await;
    eventually("the attempt is kept", || async { health().await["failed"] == 1 }).await;
    let failing = health().await;
    assert_eq!((&failing["attempted"], &failing["pending"], &failing["dead"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!((&failing["last"]["responseStatus"], &failing["last"]["error"]), (&json!(500), &json!("HTTP 500")));
    receiver.answer(&[Reply::Status(204)]);
    use_tokens(&world, "blue", 5).await;
    eventually("one is delivered", || async { health().await["last"]["responseStatus"] == 204 }).await;
    assert_eq!(health().await["last"]["error"], Value::Null);
    assert_eq!(world.admin.get("webhooks/ops").await.expect(200)["deliveries"], none, "of the mode of the call");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_webhook_is_refused_by_its_field() {
    let world = World::new().await;
    for (body, field) in [
        (json!({"url": "ftp://example.com/", "events": ["limit.reached"]}), "url"),
        (json!({"url": "nowhere", "events": ["limit.reached"]}), "url"),
        (json!({"url": "https://", "events": ["limit.reached"]}), "url"),
        (json!({"url": "https://example.com/", "events": []}), "events"),
        (json!({"url": "https://example.com/", "events": ["all"]}), "events[0]"),
        (json!({"url": "https://example.com/", "events": ["limit.reached"], "template": ""}), "template"),
        (
            json!({"url": "https://example.com/", "events": ["limit.reached"], "filter": {"groups": []}}),
            "filter.groups",
        ),
        (json!({"url": "https://example.com/", "events": ["limit.reached"], "id": "other"}), "id"),
        (json!({"events": ["limit.reached"]}), "url"),
        (json!({"url": "https://example.com/", "events": ["limit.reached"], "modes": []}), "modes"),
        (json!({"url": "https://example.com/", "events": ["limit.reached"], "modes": ["live", "prod"]}), "modes[1]"),
    ] {
        assert_eq!(world.admin.put("webhooks/ops", body.clone()).await.bad_field(), field, "{body}");
    }
    let body = json!({"url": "https://example.com/a", "events": ["limit.reached"]});
    let once = world.admin.once("hook-1");
    let mut created = once.put("webhooks/ops", body.clone()).await.expect(200);
    let secret = created.as_object_mut().unwrap().remove("secret").unwrap();
    assert_eq!(once.put("webhooks/ops", body.clone()).await.expect(200), created, "a repetition shows no secret");
    assert!(world.admin.put("webhooks/ops", body).await.expect(200).get("secret").is_none());
    let listed = world.admin.get("webhooks").await.expect(200);
    assert_eq!((listed["data"].as_array().unwrap().len(), listed["data"][0].get("secret")), (1, None));
    let audit = world.admin.get("audit").await.text;
    assert!(!audit.contains(secret.as_str().unwrap()), "the audit log contains no secret");
    // Configuration as code includes webhooks, without their secrets.
    let document = world.admin.get("configuration").await.expect(200);
    assert_eq!(document["webhooks"][0]["id"], "ops");
    assert!(!document.to_string().contains("whsec_"));
    let applied = world.admin.put("configuration", json!({"webhooks": []})).await.expect(200);
    assert_eq!(applied["changes"][0]["target"], "webhook:ops");
    world.admin.get("webhooks/ops").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_delivers_and_takes_over_what_a_dead_one_left() {
    let world = World::frozen().await;
    let admin = world.admin.with("x-mode", "test");
    let receiver = Receiver::start(&[Reply::Status(200)]).await;
    listen(&admin, "ops", &receiver.url, json!({})).await;
    budget(&world).await;
    // A node took an outbox entry and died before it created a delivery. No other node looks there yet.
    let outbox = "qg:{default:test/other}:outbox";
    world.redis.run::<()>(&["XGROUP", "CREATE", outbox, "webhooks", "0", "MKSTREAM"]).await;
    let reported = ["type", "subscription.changed", "at", "1", "json", r#"{"userId":"u"}"#];
    let id: String = world.redis.run(&[["XADD", outbox, "*"].as_slice(), reported.as_slice()].concat()).await;
    world.redis.run::<redis::Value>(&["XREADGROUP", "GROUP", "webhooks", "dead", "STREAMS", outbox, ">"]).await;
    world.redis.run::<()>(&["XCLAIM", outbox, "webhooks", "dead", "0", &id, "IDLE", "60000", "JUSTID"]).await;
    new_key(&world.admin, json!({"kind": "secret", "mode": "test", "sandbox": "other"})).await;
    let (other, _) = world.another_node().await;
    let got = receiver.wait_for(1).await;
    assert_eq!(got[0].json()["data"]["userId"], "u");
    let body = json!({"userId": "u", "event": "llm.chat", "quantity": 5, "metadata": {"team": "red"}});
    world.app.post("track", body).await.expect(200);
    receiver.wait_for(2).await;
    let admin_there = world.admin.with("x-mode", "test/other");
    eventually("it is kept as delivered", || async { deliveries(&admin_there, "ops", "delivered").await.len() == 1 })
        .await;
    let delivered = deliveries(&admin_there, "ops", "delivered").await;
    // A node that died after it created the delivery and before it acknowledged the entry.
    world.redis.run::<()>(&["XCLAIM", outbox, "webhooks", "dead", "0", &id, "IDLE", "60000", "FORCE", "JUSTID"]).await;
    eventually("another node has taken it over", || async {
        let pending: (i64, Option<String>, Option<String>, redis::Value) =
            world.redis.run(&["XPENDING", outbox, "webhooks"]).await;
        pending.0 == 0
    })
    .await;
    assert_eq!(deliveries(&admin_there, "ops", "delivered").await, delivered, "made out once");
    use_tokens(&world, "red", 5).await;
    receiver.wait_for(3).await;
    assert_eq!(receiver.got().len(), 3, "two nodes, each message once");
    other.stop().await;
}

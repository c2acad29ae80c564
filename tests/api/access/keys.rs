//! Permissions of each kind of key, and whose data they reach.

use hmac::{Hmac, KeyInit, Mac};
use quotagate::service::gateway::Gateway;
use quotagate::store::Store;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{Api, PATIENCE, ROOT_KEY, Redis, World, eventually, monthly, new_key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_key_may_do_what_it_is_meant_for() {
    let world = World::new().await;
    world.admin.plan("one", monthly(1_000_000)).await;
    let mut callers = vec![("none", world.node.client(""))];
    for (name, kind, mode) in [
        ("sk_test", "secret", "test"),
        ("sk_live", "secret", "live"),
        ("pk_test", "publishable", "test"),
        ("pk_live", "publishable", "live"),
    ] {
        let key = new_key(&world.admin, json!({"kind": kind, "mode": mode})).await;
        assert!(key.starts_with(&format!("{name}_")), "{key}");
        callers.push((name, world.node.client(&key)));
    }
    for role in ["viewer", "support", "approver", "admin"] {
        let key = new_key(&world.admin, json!({"kind": "admin", "role": role})).await;
        assert!(key.starts_with("ak_"), "{key}");
        callers.push((role, world.node.client(&key).with("x-mode", "test")));
    }
    callers.push(("root", world.admin.with("x-mode", "test")));
    let secret = ["sk_test", "sk_live"].as_slice();
    let readers =
        ["sk_test", "sk_live", "pk_test", "pk_live", "viewer", "support", "approver", "admin", "root"].as_slice();
    let watchers = ["sk_test", "sk_live", "viewer", "support", "approver", "admin", "root"].as_slice();
    let subscribers = ["sk_test", "sk_live", "support", "approver", "admin", "root"].as_slice();
    let clock = ["sk_test", "admin", "root"].as_slice();
    let viewers = ["viewer", "support", "approver", "admin", "root"].as_slice();
    let explainers = ["sk_test", "sk_live", "viewer", "support", "approver", "admin", "root"].as_slice();
    let admins = ["admin", "root"].as_slice();
    let approvers = ["approver", "admin", "root"].as_slice();
    let webhook = json!({"url": "http://127.0.0.1:9/", "events": ["limit.reached"]});
    let supporters = ["support", "approver", "admin", "root"].as_slice();
    let grant = json!({"groupId": "images", "scope": {"user": "u"}, "amount": 1});
    let call = json!({"userId": "u", "event": "image.a"});
    let rsv = json!({"reservationId": "rsv_0", "ttlSeconds": 60});
    for (method, path, body, may) in [
        ("POST", "reserve", call.clone(), secret),
        ("POST", "can-use", call.clone(), secret),
        ("POST", "track", call.clone(), secret),
        ("POST", "batch", json!({"operations": [{"op": "can-use", "userId": "u", "event": "image.a"}]}), secret),
        ("POST", "commit", json!({"reservationId": "rsv_0"}), secret),
        ("POST", "release", json!({"reservationId": "rsv_0"}), secret),
        ("POST", "reservations/rsv_0/outcome", json!({"outcome": "accepted"}), secret),
        ("POST", "reservations/rsv_0/release", json!({}), supporters),
        ("POST", "extend", rsv, secret),
        ("GET", "usage?userId=u", Value::Null, readers),
        ("GET", "usage/history?userId=u", Value::Null, readers),
        ("GET", "events", Value::Null, watchers),
        ("GET", "plans", Value::Null, readers),
        ("GET", "plans/one", Value::Null, readers),
        ("POST", "subscriptions", json!({"userId": "u", "planId": "one"}), subscribers),
        ("DELETE", "subscriptions", json!({"userId": "u"}), subscribers),
        ("PUT", "plans/new", monthly(1), admins),
        ("DELETE", "plans/new", Value::Null, admins),
        ("POST", "keys", json!({"kind": "secret", "mode": "test"}), admins),
        ("GET", "keys", Value::Null, viewers),
        ("DELETE", "keys/nowhere", Value::Null, admins),
        ("GET", "plans/one/versions", Value::Null, viewers),
        ("POST", "plans/one/rollback", json!({"version": 1}), admins),
        ("GET", "users", Value::Null, viewers),
        ("GET", "users/u", Value::Null, viewers),
        ("PUT", "users/u", json!({"name": "U"}), subscribers),
        ("POST", "users/u/block", json!({}), supporters),
        ("POST", "users/u/unblock", json!({}), supporters),
        ("POST", "users/u/reset", json!({}), supporters),
        ("POST", "grants", grant, supporters),
        ("GET", "grants", Value::Null, viewers),
        ("DELETE", "grants/grt_0", Value::Null, supporters),
        ("POST", "credits", json!({"groupId": "images", "scope": {"user": "u"}, "amount": 1}), subscribers),
        ("GET", "credits?groupId=images&userId=u", Value::Null, watchers),
        ("POST", "credits/crd_1/void", json!({}), subscribers),
        ("PUT", "limits/images", json!({"scope": {"user": "u"}, "quota": 5}), subscribers),
        ("GET", "limits?groupId=images", Value::Null, watchers),
        ("DELETE", "limits/images", json!({"scope": {"user": "u"}}), subscribers),
        ("GET", "counters?groupId=images", Value::Null, viewers),
        ("GET", "alerts", Value::Null, viewers),
        ("GET", "explain?userId=u&event=image.a", Value::Null, explainers),
        ("GET", "reports/usage", Value::Null, viewers),
        ("GET", "reports/unusual", Value::Null, viewers),
        ("GET", "reports/forecast?userId=u", Value::Null, viewers),
        ("GET", "reports/limits", Value::Null, viewers),
        ("GET", "estimates", Value::Null, explainers),
        ("POST", "whatif", json!({}), viewers),
        ("POST", "explain", json!({"event": "image.a"}), viewers),
        ("GET", "sandboxes", Value::Null, viewers),
        ("GET", "nodes", Value::Null, viewers),
        ("GET", "policies", Value::Null, viewers),
        ("GET", "policies/cap", Value::Null, viewers),
        ("PUT", "policies/cap", json!({"groups": []}), admins),
        ("GET", "policies/cap/versions", Value::Null, viewers),
        ("POST", "policies/cap/rollback", json!({"version": 1}), admins),
        ("POST", "policies/cap/review", json!({}), admins),
        ("DELETE", "policies/cap", Value::Null, admins),
        ("GET", "approvals", Value::Null, viewers),
        ("GET", "approvals/apr_0", Value::Null, viewers),
        ("POST", "approvals/apr_0/approve", json!({"amount": 1}), approvers),
        ("POST", "approvals/apr_0/reject", json!({}), approvers),
        ("POST", "approvals/apr_0/reopen", json!({}), approvers),
        ("GET", "webhooks", Value::Null, viewers),
        ("GET", "webhooks/ops", Value::Null, viewers),
        ("PUT", "webhooks/ops", webhook, admins),
        ("POST", "webhooks/ops/rotate-secret", Value::Null, admins),
        ("GET", "webhooks/ops/deliveries", Value::Null, viewers),
        ("POST", "webhooks/ops/deliveries/msg_0/resend", Value::Null, admins),
        ("DELETE", "webhooks/ops", Value::Null, admins),
        ("GET", "audit", Value::Null, viewers),
        ("GET", "app", Value::Null, viewers),
        ("PUT", "app", json!({}), admins),
        ("GET", "configuration", Value::Null, viewers),
        ("PUT", "configuration", json!({}), admins),
        ("DELETE", "apps/nowhere", Value::Null, &["root"]),
        ("POST", "apps", json!({"id": "acme"}), &["root"]),
        ("GET", "apps", Value::Null, &["root"]),
        ("GET", "test-clock", Value::Null, clock),
        ("PUT", "test-clock", json!({"now": "2030-01-31T10:00:00Z"}), clock),
        ("DELETE", "test-clock", Value::Null, clock),
    ] {
        for (name, api) in &callers {
            let answer = api.send(method, path, (!body.is_null()).then(|| body.to_string())).await;
            let code = answer.json["code"].as_str();
            match (*name, may.contains(name)) {
                ("none", _) => assert_eq!((answer.status, code), (401, Some("invalid_key")), "{method} {path}"),
                (_, true) => assert!(
                    ![401, 403, 405].contains(&answer.status) && answer.status < 500,
                    "{name} {method} {path}: {}",
                    answer.text
                ),
                (_, false) => assert_eq!((answer.status, code), (403, Some("forbidden_key")), "{name} {method} {path}"),
            }
        }
    }
    for (name, api) in &callers {
        if let Some(mode) = name.strip_prefix("sk_").or(name.strip_prefix("pk_")) {
            let other = if mode == "live" { "test" } else { "live" };
            api.with("x-mode", mode).get("plans").await.expect(200);
            api.with("x-mode", other).get("plans").await.problem(403, "forbidden_key");
            api.with("x-mode", "test/ci").get("plans").await.problem(403, "forbidden_key");
        }
        if !["none", "root"].contains(name) {
            api.with("x-app", "default").get("plans").await.expect(200);
            api.with("x-app", "acme").get("plans").await.problem(403, "forbidden_key");
        }
        let by_header = world.node.client("").with("x-api-key", &api.key);
        // An empty key is not a key.
        assert_eq!(by_header.get("plans").await.status, if *name == "none" { 400 } else { 200 }, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apps_modes_and_sandboxes_never_meet() {
    let world = World::new().await;
    world.admin.post("apps", json!({"id": "acme"})).await.expect(201);
    world.admin.post("apps", json!({"id": "spread", "placement": "user"})).await.expect(201);
    let listed = world.admin.get("apps").await.expect(200);
    let apps: Vec<_> = listed["data"].as_array().unwrap().iter().map(|app| (&app["id"], &app["placement"])).collect();
    assert_eq!(
        apps,
        [(&json!("acme"), &json!("app")), (&json!("default"), &json!("app")), (&json!("spread"), &json!("user"))]
    );
    let mut worlds: Vec<(String, Api, u64)> = Vec::new();
    for (number, app) in ["default", "acme", "spread"].into_iter().enumerate() {
        let admin = world.admin.with("x-app", app);
        let quota = 100 * (number as u64 + 1);
        admin.plan("one", monthly(quota)).await;
        for body in [
            json!({"kind": "secret", "mode": "live"}),
            json!({"kind": "secret", "mode": "test"}),
            json!({"kind": "secret", "mode": "test", "sandbox": "ci"}),
        ] {
            let key = new_key(&admin, body.clone()).await;
            worlds.push((format!("{app} {body}"), world.node.client(&key), quota));
        }
    }
    let mut ids = Vec::new();
    for (number, (name, api, quota)) in worlds.iter().enumerate() {
        assert_eq!(api.get("usage?userId=u").await.expect(200)["planId"], Value::Null, "{name}");
        api.subscribe("u", "one").await;
        ids.push(api.reserved(json!({"userId": "u", "event": "image.a", "quantity": number + 1})).await);
        assert_eq!(api.counter("u", "images").await["quota"], *quota, "{name}");
    }
    for (number, (name, api, _)) in worlds.iter().enumerate() {
        assert_eq!(api.stands("u", "images").await, (0.0, (number + 1) as f64), "{name}");
        for (_, id) in ids.iter().enumerate().filter(|(owner, _)| *owner != number) {
            for path in ["commit", "release"] {
                api.post(path, json!({"reservationId": id})).await.problem(404, "not_found");
            }
        }
    }
    let (_, frozen, _) = &worlds[1];
    frozen.freeze("2030-01-31T10:00:00Z").await;
    for (place, (name, api, _)) in worlds.iter().enumerate().filter(|(_, (name, ..))| name.contains("test")) {
        assert_eq!(api.get("test-clock").await.expect(200)["now"].is_null(), place != 1, "{name}");
    }
    frozen.delete("test-clock", None).await.expect(204);
    for (place, (name, api, _)) in worlds.iter().enumerate() {
        let usage = api.get("usage?userId=u").await.expect(200);
        assert_eq!(usage["planId"].is_null(), place == 1, "{name}");
        if place != 1 {
            api.commit(&ids[place]).await;
            assert_eq!(api.stands("u", "images").await, ((place + 1) as f64, 0.0), "{name}");
        }
    }
    frozen.subscribe("u", "one").await;
    // Keys and plans belong to their app.
    let acme_admin = new_key(&world.admin.with("x-app", "acme"), json!({"kind": "admin", "role": "admin"})).await;
    let acme = world.node.client(&acme_admin);
    let foreign = world.admin.get("keys").await.expect(200)["data"][0]["id"].as_str().unwrap().to_owned();
    acme.delete(&format!("keys/{foreign}"), None).await.problem(404, "not_found");
    assert_eq!(acme.get("plans/one").await.expect(200)["groups"][0]["quota"], 200);
    acme.with("x-app", "default").get("keys").await.problem(403, "forbidden_key");
    acme.get("apps").await.problem(403, "forbidden_key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_key_says_of_its_caller_overrides_what_the_caller_claims() {
    let world = World::frozen().await;
    let group = |id: &str, team: &str| json!({"id": id, "unit": "count", "quota": 20, "matches": [{"event": "image.*", "metadata": {"team": team}}]});
    let priced = json!({"id": "spend", "unit": "cents", "quota": null, "matches": [
        {"event": "llm.*", "metadata": {"team": "red"}, "measure": {"per": {"tokens": 1}, "estimate": {"tokens": 5}}},
        {"event": "llm.*", "metadata": {"team": "blue"}, "measure": {"per": {"tokens": 100}, "estimate": {"tokens": 5}}},
    ]});
    let plan = json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [group("red", "red"), group("blue", "blue"), priced]});
    world.admin.plan("p", plan).await;
    world.app.subscribe("u", "p").await;
    let key =
        new_key(&world.admin, json!({"kind": "secret", "mode": "test", "metadata": {"team": "red", "limit": 7}})).await;
    let red = world.node.client(&key);
    for claimed in [json!({}), json!({"team": "blue"}), json!({"team": "red", "x": 1})] {
        let body = json!({"userId": "u", "event": "image.a", "metadata": claimed});
        assert_eq!(red.reserve(body.clone()).await["matchedGroupIds"], json!(["red"]), "{claimed}");
        assert_eq!(red.post("can-use", body.clone()).await.expect(200)["matchedGroupIds"], json!(["red"]), "{claimed}");
        assert_eq!(red.post("track", body).await.expect(200)["matchedGroupIds"], json!(["red"]), "{claimed}");
    }
    assert_eq!(red.stands("u", "red").await, (3.0, 3.0));
    assert_eq!(red.stands("u", "blue").await, (0.0, 0.0));
    let id = red.reserved(json!({"userId": "u", "event": "llm.chat"})).await;
    assert_eq!(red.stands("u", "spend").await, (0.0, 5.0));
    let figures = json!({"reservationId": id, "metadata": {"team": "blue", "tokens": 3}});
    red.post("commit", figures).await.expect(200);
    assert_eq!(red.stands("u", "spend").await, (3.0, 0.0), "a commit cannot claim otherwise either");
    let id = red.reserved(json!({"userId": "u", "event": "llm.chat"})).await;
    red.commit(&id).await;
    assert_eq!(red.stands("u", "spend").await, (8.0, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_shown_once_and_listed_masked() {
    let world = World::new().await;
    let body = json!({"kind": "publishable", "mode": "live", "name": "web", "origins": ["https://a.example"], "requireUserToken": true});
    let api = world.admin.once("one key");
    let created = api.post("keys", body.clone()).await.expect(201);
    let (key, secret) = (created["key"].as_str().unwrap(), created["userTokenSecret"].as_str().unwrap());
    assert!(key.len() >= "pk_live_".len() + 22 && secret.len() >= 22, "at least 128 bits");
    let (_second, _) = world.another_node().await;
    for again in [&api, &_second.client(ROOT_KEY).once("one key")] {
        let repeated = again.post("keys", body.clone()).await.expect(201);
        assert_eq!(repeated["id"], created["id"]);
        assert_eq!((&repeated["key"], &repeated["userTokenSecret"]), (&Value::Null, &Value::Null), "shown once");
        again.post("keys", json!({"kind": "secret", "mode": "live"})).await.problem(409, "idempotency_key_reused");
    }
    let listed = world.admin.get("keys").await;
    assert!(!listed.text.contains(key) && !listed.text.contains(&key[12..]) && !listed.text.contains(secret));
    let listed = listed.expect(200);
    let mine: Vec<_> =
        listed["data"].as_array().unwrap().iter().filter(|listed| listed["kind"] == "publishable").collect();
    assert_eq!(mine.len(), 1, "one key was made");
    let prefix = mine[0]["prefix"].as_str().unwrap();
    assert!(
        prefix.ends_with('…') && key.starts_with(prefix.trim_end_matches('…')) && prefix.chars().count() <= 13,
        "{prefix}"
    );
    assert_eq!((&mine[0]["name"], &mine[0]["requireUserToken"]), (&json!("web"), &json!(true)));
    let dump = world.redis.dump("qg:*").await;
    assert!(
        !dump.iter().any(|(_, value)| value.windows(key.len()).any(|part| part == key.as_bytes())),
        "only its hash is kept"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_begin_at_once_and_end_within_a_second_on_every_node() {
    let world = World::new().await;
    let (second, _) = world.another_node().await;
    for round in 0..3 {
        let created = world
            .admin
            .post("keys", json!({"kind": "secret", "mode": "test", "sandbox": format!("s{round}")}))
            .await
            .expect(201);
        let key = created["key"].as_str().unwrap();
        let (here, there) = (world.node.client(key), second.client(key));
        there.get("plans").await.expect(200);
        here.get("plans").await.expect(200);
        // The other node has cached it and must drop it. (`tests/faults/revoked.rs` measures how soon.)
        there.get("plans").await.expect(200);
        world.admin.delete(&format!("keys/{}", created["id"].as_str().unwrap()), None).await.expect(204);
        here.get("plans").await.problem(401, "invalid_key");
        eventually("the other node refuses it too", async || there.get("plans").await.status == 401).await;
        world.admin.delete(&format!("keys/{}", created["id"].as_str().unwrap()), None).await.problem(404, "not_found");
    }
    // Rotating: several are active at once.
    let [one, two] = [
        new_key(&world.admin, json!({"kind": "secret", "mode": "test"})).await,
        new_key(&world.admin, json!({"kind": "secret", "mode": "test"})).await,
    ];
    for key in [&one, &two] {
        second.client(key).get("plans").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_use_a_publishable_key_only_from_its_origins() {
    let world = World::new().await;
    world.admin.plan("one", monthly(20)).await;
    let mut readers = Vec::new();
    for origins in [json!(["https://a.example", "http://localhost:3000"]), json!([]), json!(["*"])] {
        let key = new_key(&world.admin, json!({"kind": "publishable", "mode": "test", "origins": origins})).await;
        readers.push(world.node.client(&key));
    }
    let [own, none, any] = readers.as_slice() else { unreachable!() };
    for (api, origin, allowed) in [
        (own, "https://a.example", true),
        (own, "http://localhost:3000", true),
        (own, "http://a.example", false),
        (own, "https://a.example.evil.example", false),
        (own, "https://b.example", false),
        (own, "null", false),
        (none, "https://a.example", false),
        (any, "https://anything.example", true),
        (any, "null", true),
    ] {
        for path in ["usage?userId=u", "plans", "plans/one"] {
            let answer = api.with("origin", origin).get(path).await;
            let (status, reported) = if allowed { (200, Some(origin)) } else { (403, None) };
            assert_eq!(
                (answer.status, answer.header("access-control-allow-origin")),
                (status, reported),
                "{origin} {path}"
            );
            assert_eq!(answer.header("vary").is_some_and(|vary| vary.contains("Origin")), allowed);
            assert_eq!(answer.header("access-control-allow-credentials"), None);
        }
    }
    none.get("plans").await.expect(200);
    // The page that sent a rejected request can read the error.
    let answer = own.with("origin", "https://a.example").get("usage").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
    answer.problem(400, "invalid_request");
    let page = world.node.client("").with("origin", "https://a.example").with("access-control-request-method", "GET");
    let page = page.with("access-control-request-headers", "authorization,x-user-token");
    for path in ["usage?userId=u", "usage/history?userId=u", "usage/stream?userId=u", "plans", "plans/one"] {
        let preflight = page.send("OPTIONS", path, None).await;
        assert_eq!(
            (preflight.status, preflight.header("access-control-allow-origin")),
            (204, Some("https://a.example")),
            "{path}"
        );
        assert_eq!(preflight.header("access-control-allow-methods"), Some("GET"));
        assert!(preflight.header("access-control-allow-headers").unwrap().contains("x-user-token"));
    }
    for path in ["reserve", "keys", "subscriptions"] {
        let preflight = page.send("OPTIONS", path, None).await;
        assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (405, None), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_user_token_one_end_user_cannot_read_another() {
    let world = World::new().await;
    let body = json!({"kind": "publishable", "mode": "test", "requireUserToken": true});
    let created = world.admin.post("keys", body).await.expect(201);
    let reader = world.node.client(created["key"].as_str().unwrap());
    let token = |secret: &str, user: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(user.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    };
    let secret = created["userTokenSecret"].as_str().unwrap();
    let own = token(secret, "u");
    for path in ["usage?userId=u", "usage/history?userId=u", "usage/stream?userId=u"] {
        for (given, status) in [
            (own.as_str(), 200),
            (&own.to_uppercase(), 403),
            (&token(secret, "v"), 403),
            (&token("another secret", "u"), 403),
            (&own[..62], 403),
            ("", 400),
        ] {
            let mut reader = reader.clone();
            reader.headers.push(("x-user-token".to_owned(), given.to_owned()));
            let answered = if path.contains("stream") && status == 200 { 200 } else { reader.get(path).await.status };
            assert_eq!(answered, status, "{path} {given}");
        }
        reader.get(path).await.problem(403, "forbidden_key");
    }
    let of_u = reader.with("x-user-token", &own);
    of_u.get("usage?userId=v").await.problem(403, "forbidden_key");
    of_u.get("plans").await.expect(200);
    reader.get("plans").await.expect(200);
    let umlaut = reader.with("x-user-token", &token(secret, "ä:b"));
    umlaut.get("usage?userId=%C3%A4%3Ab").await.expect(200);
    // Only keys that were created with it require it.
    world.app.get("usage?userId=u").await.expect(200);
}

/// The matrix of keys contains every operation of the API.
#[test]
fn the_matrix_of_keys_is_complete() {
    let document: Value = serde_json::from_str(&quotagate::http::openapi::document().unwrap()).unwrap();
    let source = include_str!("keys.rs");
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(path) = path.strip_prefix("/api/v1/") else { continue };
        // Streams have the permissions of their calls without a stream; sessions have tests of their own, since they
        // need no key.
        if ["usage/stream", "events/stream", "session"].contains(&path) {
            continue;
        }
        for method in item.as_object().unwrap().keys().filter(|name| name.as_str() != "parameters") {
            let start = path.split('{').next().unwrap();
            // The part after the last parameter.
            let end = path.rsplit_once('}').map_or("", |(_, end)| end);
            let line = format!("(\"{}\", \"{start}", method.to_uppercase());
            let named = source.lines().filter(|it| it.trim_start().starts_with(&line));
            assert!(named.clone().any(|it| it.contains(end)), "{method} {path} is not in the matrix");
        }
    }
}

/// If the result of the write was unknown, the node must be able to show its key again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_key_is_created_once_and_returned_again_only_to_its_creator() {
    let redis = Redis::start().await;
    let store = Store::open(&redis.url(), PATIENCE).unwrap();
    let gateway = Gateway::new(store, None);
    let [ours, others] = [Gateway::random_root_key(), Gateway::random_root_key()];
    for (key, is_root) in [(&ours, true), (&ours, true), (&others, false), (&ours, true)] {
        assert_eq!(gateway.bootstrap_root_key(key).await.unwrap(), is_root);
    }
    assert_eq!(redis.run::<u64>(&["HLEN", "qg:{quotagate}:keys"]).await, 1);
    let given = Gateway::new(Store::open(&redis.url(), PATIENCE).unwrap(), Some(&others));
    assert!(!given.bootstrap_root_key(&others).await.unwrap());
}

//! Signing in to the dashboard: an admin key is exchanged for a cookie.

use serde_json::{Value, json};

use crate::support::{Answer, Api, ROOT_KEY, World, monthly, new_key};

async fn sign_in(anyone: &Api, key: &str) -> Answer {
    anyone.post("session", json!({"key": key})).await
}

/// The cookie that a browser sends back after `Set-Cookie`.
fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

/// A signed-in browser: reads with the cookie alone, and writes with the token too.
async fn browser(world: &World, key: &str) -> (Api, Api) {
    let anyone = world.node.client("");
    let answer = sign_in(&anyone, key).await;
    let reads = anyone.with("cookie", &format!("theme=dark; {}", cookie(&answer)));
    let token = answer.expect(200)["csrfToken"].as_str().unwrap().to_owned();
    (reads.clone(), reads.with("x-csrf-token", &token))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_key_is_exchanged_for_a_cookie_that_no_script_can_read() {
    let world = World::new().await;
    let anyone = world.node.client("");
    let answer = sign_in(&anyone, ROOT_KEY).await;
    let reported = answer.header("set-cookie").unwrap().to_owned();
    for part in ["Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"] {
        assert!(reported.split("; ").any(|it| it == part), "{part} in {reported}");
    }
    assert!(!reported.contains("Secure"), "over plain http it would never come back");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(!answer.text.contains(ROOT_KEY));
    let cookie = cookie(&answer);
    let session = answer.expect(200);
    assert_eq!((&session["role"], &session["app"]), (&json!("admin"), &Value::Null));
    assert_eq!(
        anyone.with("cookie", &cookie).get("session").await.expect(200),
        session,
        "after a reload it is the same"
    );
    let behind_tls = sign_in(&anyone.with("x-forwarded-proto", "https"), ROOT_KEY).await;
    assert!(behind_tls.header("set-cookie").unwrap().ends_with("; Secure"));
    // Neither the session's ID nor the key can be read from Redis.
    let (_, id) = cookie.split_once('=').unwrap();
    for (name, value) in world.redis.dump("qg:*").await {
        assert!(!name.contains(id), "{name}");
        for secret in [id, ROOT_KEY] {
            assert!(!value.windows(secret.len()).any(|part| part == secret.as_bytes()), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_admin_keys_sign_in() {
    let world = World::new().await;
    let anyone = world.node.client("");
    for key in ["", "ak_", "ak_nobody", "hello", &"ak_".repeat(200)] {
        sign_in(&anyone, key).await.problem(401, "invalid_key");
    }
    sign_in(&anyone, &world.app.key).await.problem(403, "forbidden_key");
    let publishable = new_key(&world.admin, json!({"kind": "publishable", "mode": "live"})).await;
    sign_in(&anyone, &publishable).await.problem(403, "forbidden_key");
    assert_eq!(anyone.post("session", json!({})).await.bad_field(), "key");
    assert_eq!(anyone.post("session", json!({"key": ROOT_KEY, "more": 1})).await.bad_field(), "more");
    for site in ["cross-site", "same-site"] {
        sign_in(&anyone.with("sec-fetch-site", site), ROOT_KEY).await.problem(403, "forbidden_key");
    }
    sign_in(&anyone.with("sec-fetch-site", "same-origin"), ROOT_KEY).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_by_cookie_needs_the_csrf_token_of_its_session() {
    let world = World::new().await;
    let (reads, writes) = browser(&world, ROOT_KEY).await;
    let (_, of_another) = browser(&world, ROOT_KEY).await;
    let foreign = &of_another.headers.iter().find(|(name, _)| name == "x-csrf-token").unwrap().1;
    for refused in [reads.clone(), reads.with("x-csrf-token", ""), reads.with("x-csrf-token", foreign)] {
        refused.put("plans/one", monthly(20)).await.problem(403, "invalid_csrf_token");
        refused.post("keys", json!({"kind": "secret", "mode": "live"})).await.problem(403, "invalid_csrf_token");
        refused.delete("session", None).await.problem(403, "invalid_csrf_token");
        refused.get("plans").await.expect(200);
    }
    assert_eq!(writes.get("plans").await.expect(200)["data"], json!([]), "nothing was written");
    writes.put("plans/one", monthly(20)).await.expect(200);
    // A call with a key needs no token, and the key takes precedence over a cookie.
    world.admin.put("plans/two", monthly(20)).await.expect(200);
    let mut both = writes;
    both.key.clone_from(&world.app.key);
    both.put("plans/three", monthly(20)).await.problem(403, "forbidden_key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_may_what_its_key_may() {
    let world = World::new().await;
    for (role, reads, manages, configures) in
        [("viewer", 200, 403, 403), ("support", 200, 200, 403), ("approver", 200, 200, 403), ("admin", 200, 200, 200)]
    {
        let key = new_key(&world.admin, json!({"kind": "admin", "role": role, "name": role})).await;
        let (_, api) = browser(&world, &key).await;
        let session = api.get("session").await.expect(200);
        assert_eq!(
            (&session["role"], &session["name"], &session["app"]),
            (&json!(role), &json!(role), &json!("default"))
        );
        for mode in ["live", "test", "test/main"] {
            let api = api.with("x-mode", mode);
            assert_eq!(api.get("users").await.status, reads, "{role}");
            assert_eq!(api.post("users/u/block", json!({})).await.status, manages, "{role}");
            assert_eq!(api.put("plans/one", monthly(1)).await.status, configures, "{role}");
        }
        api.post("reserve", json!({"userId": "u", "event": "image.a"})).await.problem(403, "forbidden_key");
        api.with("x-app", "acme").get("users").await.problem(403, "forbidden_key");
    }
    let audit = world.admin.get("audit?action=plan.").await.expect(200);
    assert!(audit["data"][0]["actor"].as_str().unwrap().starts_with("key_"), "the key's id, as always: {audit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_known_to_every_node_and_ends_everywhere() {
    let world = World::new().await;
    let (second, _) = world.another_node().await;
    let (_, here) = browser(&world, ROOT_KEY).await;
    let mut there = here.clone();
    there.base.clone_from(&second.url);
    there.get("users").await.expect(200);
    let gone = there.delete("session", None).await;
    assert!(gone.header("set-cookie").unwrap().contains("Max-Age=0"));
    gone.expect(204);
    for api in [&here, &there] {
        api.get("users").await.problem(401, "invalid_key");
        api.get("session").await.problem(401, "invalid_key");
        api.delete("session", None).await.problem(401, "invalid_key");
    }
    world.node.client("").get("session").await.problem(401, "invalid_key");
    world.node.client("").with("cookie", "quotagate_session=").get("users").await.problem(401, "invalid_key");
    // It ends with its key.
    let created = world.admin.post("keys", json!({"kind": "admin", "role": "admin"})).await.expect(201);
    let (_, short) = browser(&world, created["key"].as_str().unwrap()).await;
    short.get("users").await.expect(200);
    world.admin.delete(&format!("keys/{}", created["id"].as_str().unwrap()), None).await.expect(204);
    short.get("users").await.problem(401, "invalid_key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_forgotten_by_redis_itself() {
    let world = World::new().await;
    browser(&world, ROOT_KEY).await;
    let names: Vec<String> = world.redis.run(&["KEYS", "qg:{quotagate}:session:*"]).await;
    assert_eq!(names.len(), 1);
    let left_ms: i64 = world.redis.run(&["PTTL", &names[0]]).await;
    assert!((43_100_000..=43_200_000).contains(&left_ms), "{left_ms}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_allow_nothing_inline_and_nothing_from_elsewhere() {
    let world = World::new().await;
    let anyone = world.node.client("");
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/assets/main.js", "text/javascript; charset=utf-8"),
        ("/assets/docs.js", "text/javascript; charset=utf-8"),
        ("/assets/style.css", "text/css; charset=utf-8"),
    ] {
        let answer = anyone.send("GET", path, None).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let etag = answer.header("etag").unwrap().to_owned();
        let again = anyone.with("if-none-match", &etag).send("GET", path, None).await;
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{path}");
    }
    for path in ["/", "/docs"] {
        let page = anyone.send("GET", path, None).await.text;
        assert!(!page.contains("<style") && !page.contains("style=") && !page.contains("onclick"), "{page}");
        let scripts = page.matches("<script type=\"module\" src=\"assets/").count();
        assert_eq!((page.matches("<script").count(), scripts), (1, 1), "{path}");
        assert!(!page.contains("http://") && !page.contains("https://"), "{path}");
        assert_eq!(anyone.send("HEAD", path, None).await.status, 200, "{path}");
    }
    for path in [
        "/assets/",
        "/assets/nothing.js",
        "/assets/../Cargo.toml",
        "/assets/%2e%2e/Cargo.toml",
        "/assets/vendor/README.md",
        "/assets/vendor/htm.d.ts",
        "/assets/tsconfig.json",
    ] {
        anyone.send("GET", path, None).await.problem(404, "not_found");
    }
    for path in ["/", "/docs"] {
        let refused = anyone.send("POST", path, None).await;
        assert_eq!(refused.header("allow"), Some("GET, HEAD"), "{path}");
        refused.problem(405, "method_not_allowed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_in_and_out_is_in_the_audit_log() {
    let world = World::new().await;
    let made = world.admin.post("keys", json!({"kind": "admin", "role": "viewer"})).await.expect(201);
    let (reads, writes) = browser(&world, made["key"].as_str().unwrap()).await;
    let entries = async || world.admin.get("audit?action=session.").await.expect(200)["data"].clone();
    let opened = entries().await;
    assert_eq!(opened.as_array().unwrap().len(), 1, "{opened}");
    let target = format!("key:{}", made["id"].as_str().unwrap());
    assert_eq!(
        (&opened[0]["action"], &opened[0]["actor"], &opened[0]["target"]),
        (&json!("session.open"), &made["id"], &json!(target))
    );
    assert_eq!(opened[0]["after"]["expiresAt"], reads.get("session").await.expect(200)["expiresAt"]);
    assert!(!opened.to_string().contains(made["key"].as_str().unwrap()));
    writes.delete("session", None).await.expect(204);
    assert_eq!(entries().await[0]["action"], "session.end");
    // A rejected key creates no session; sessions of the root key are in the default app's log.
    sign_in(&world.node.client(""), "ak_wrong").await.problem(401, "invalid_key");
    sign_in(&world.node.client(""), ROOT_KEY).await.expect(200);
    let last = entries().await;
    assert_eq!((last.as_array().unwrap().len(), &last[0]["actor"]), (3, &json!("root")));
}

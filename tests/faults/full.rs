//! A Redis at its memory limit: operator calls and settlements still work, and calls that could be repeated without
//! bound stop at the reserve above the limit.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{ADMIN_KEY, Process};
use crate::support::proven::verified;
use crate::support::stored::amounts;
use crate::support::{Api, Redis, eventually, monthly};

const HEADROOM: u64 = 8 * 1024 * 1024;

struct Full {
    redis: Redis,
    process: Process,
    _dir: TempDir,
    admin: Api,
    app: Api,
}

impl Full {
    /// A node with users `u` and `v` on a plan, while there is still memory.
    async fn prepared() -> Self {
        let (redis, dir) = (Redis::with(&["--maxmemory-policy", "noeviction"]).await, TempDir::new().unwrap());
        let (url, data_dir) = (redis.url(), dir.path().to_owned());
        let process = tokio::task::spawn_blocking(move || {
            let admin = ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY);
            Process::start(&data_dir, &[("QUOTAGATE_REDIS_URL", &url), admin])
        });
        let process = process.await.unwrap();
        let admin = Api::at(&process.url, ADMIN_KEY);
        admin.plan("pro", plan()).await;
        let made = admin.post("keys", json!({"kind": "secret", "mode": "live"})).await.expect(201);
        let app = Api::at(&process.url, made["key"].as_str().unwrap());
        for user in ["u", "v"] {
            app.subscribe(user, "pro").await;
        }
        Self { redis, process, _dir: dir, admin, app }
    }

    /// Sets the memory limit of Redis in bytes.
    async fn limit(&self, bytes: u64) {
        self.redis.run::<()>(&["CONFIG", "SET", "maxmemory", &bytes.to_string()]).await;
    }

    /// The memory that Redis compares with the limit.
    async fn used(&self) -> u64 {
        let info: String = self.redis.run(&["INFO", "memory"]).await;
        let field = |name: &str| -> u64 {
            info.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
        };
        field("used_memory:") - field("mem_not_counted_for_evict:")
    }

    async fn warnings(&self) -> String {
        let ready = Api::at(&self.process.url, "").get("/readyz").await.expect(200);
        ready["warnings"].to_string()
    }
}

fn plan() -> Value {
    json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
        {"id": "images", "unit": "count", "quota": 1000, "alerts": [50], "matches": [{"event": "image.*"}]},
        {"id": "asks", "unit": "count", "quota": 0, "enforcement": "approval", "matches": [{"event": "ask.*"}]},
        {"id": "asks_too", "unit": "count", "quota": 0, "enforcement": "approval", "matches": [{"event": "too.*"}]},
        {"id": "jobs", "unit": "count", "quota": null, "matches": [{"event": "job.*"}]},
    ]})
}

fn call(user: &str, event: &str) -> Value {
    json!({"userId": user, "event": event, "ttlSeconds": 900})
}

/// The largest metadata of a call.
fn large() -> Value {
    let metadata: serde_json::Map<String, Value> =
        (0..32).map(|number| (format!("field_{number:02}_{}", "x".repeat(50)), json!("y".repeat(256)))).collect();
    json!({"userId": "v", "event": "job.run", "metadata": metadata})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_work_and_what_is_open_settles_in_a_full_redis() {
    let full = Full::prepared().await;
    let Full { admin, app, .. } = &full;
    let revoked = admin.post("keys", json!({"kind": "secret", "mode": "live"})).await.expect(201);
    let (committed, released) = (app.reserved(call("u", "image.a")).await, app.reserved(call("u", "image.a")).await);
    let (drawn, extended) = (app.reserved(call("u", "image.a")).await, app.reserved(call("u", "image.a")).await);
    let by_hand = app.reserved(call("u", "image.a")).await;
    let approval = async |event: &str| {
        let denied = app.reserve(call("v", event)).await;
        denied["deniedBy"][0]["approval"]["id"].as_str().unwrap().to_owned()
    };
    let (approved, rejected) = (approval("ask.a").await, approval("too.a").await);
    let grant = json!({"groupId": "images", "scope": {"user": "u"}, "amount": 5});
    let granted = admin.post("grants", grant.clone()).await.expect(201)["id"].as_str().unwrap().to_owned();
    admin.plan("old", monthly(1)).await;
    let policy = json!({"periodType": "lifetime", "groups": [
        {"id": "whole", "unit": "count", "measure": "event", "quota": null, "scope": ["app"], "matches": [{"event": "*"}]},
    ]});
    admin.put("policies/whole", policy.clone()).await.expect(200);
    let webhook = json!({"url": "https://example.com/", "events": ["limit.reached"]});
    admin.put("webhooks/old", webhook.clone()).await.expect(200);
    let signed_in = Api::at(&full.process.url, "").post("session", json!({"key": ADMIN_KEY})).await;
    let cookie = signed_in.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let token = signed_in.expect(200)["csrfToken"].as_str().unwrap().to_owned();
    full.limit(1).await;

    // Refused: calls that need new memory.
    for (path, body) in [
        ("reserve", call("u", "image.a")),
        ("track", json!({"userId": "u", "event": "image.a", "enforce": true})),
        ("subscriptions", json!({"userId": "new", "planId": "pro"})),
    ] {
        let answer = app.post(path, body).await;
        assert!(answer.status == 503 && answer.header("retry-after").is_some(), "{path}: {}", answer.text);
    }
    // Settlements.
    app.post("commit", json!({"reservationId": drawn, "quantity": 1, "final": false})).await.expect(200);
    for (path, id) in [("commit", &committed), ("commit", &drawn), ("release", &released)] {
        app.post(path, json!({"reservationId": id})).await.expect(200);
    }
    app.post("extend", json!({"reservationId": extended, "ttlSeconds": 1800})).await.expect(200);
    app.post("commit", json!({"reservationId": extended})).await.expect(200);
    app.post("track", json!({"userId": "u", "event": "job.a"})).await.expect(200);
    // Operator calls.
    let id = revoked["id"].as_str().unwrap();
    admin.delete(&format!("keys/{id}"), None).await.expect(204);
    let refused = Api::at(&full.process.url, revoked["key"].as_str().unwrap());
    eventually("the key is refused", || async {
        refused.post("can-use", json!({"userId": "u", "event": "image.a"})).await.status == 401
    })
    .await;
    for path in ["users/u/block", "users/u/unblock", "users/u/reset", "users/never_seen/block"] {
        admin.post(path, json!({})).await.expect(200);
    }
    admin.delete(&format!("grants/{granted}"), None).await.expect(204);
    admin.post("grants", grant).await.expect(201);
    admin.post(&format!("approvals/{approved}/approve"), json!({"amount": 1})).await.expect(200);
    admin.post(&format!("approvals/{rejected}/reject"), json!({})).await.expect(200);
    admin.post(&format!("reservations/{by_hand}/release"), json!({})).await.expect(200);
    // Users on a plan can move to another one, or leave.
    for plan in ["old", "pro"] {
        app.post("subscriptions", json!({"userId": "v", "planId": plan})).await.expect(200);
    }
    app.delete("subscriptions", Some(json!({"userId": "v"}))).await.expect(200);
    admin.put("app", json!({"defaultPlanId": "pro"})).await.expect(200);
    admin.put("plans/pro", plan()).await.expect(200);
    admin.delete("plans/old", None).await.expect(204);
    admin.put("policies/whole", policy).await.expect(200);
    admin.delete("policies/whole", None).await.expect(204);
    admin.put("webhooks/old", webhook).await.expect(200);
    admin.delete("webhooks/old", None).await.expect(204);
    admin.post("keys", json!({"kind": "secret", "mode": "live"})).await.expect(201);
    let cookie = Api::at(&full.process.url, "").with("cookie", &cookie).with("x-csrf-token", &token);
    cookie.get("session").await.expect(200);
    cookie.delete("session", None).await.expect(204);
    let anyone = Api::at(&full.process.url, "");
    anyone.post("session", json!({"key": ADMIN_KEY})).await.expect(200);
    let warnings = full.warnings().await;
    assert!(warnings.contains("of maxmemory: it refuses reserves and new users"), "{warnings}");
    full.limit(0).await;
    assert!(verified(&full.redis.url(), "live").await.drifts.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_expire_in_a_full_redis() {
    let full = Full::prepared().await;
    let short = json!({"userId": "u", "event": "image.a", "ttlSeconds": 1});
    full.app.reserved(short).await;
    full.limit(1).await;
    eventually("the hold is gone", || async { full.app.stands("u", "images").await == (0.0, 0.0) }).await;
    let held = async || amounts(&mut full.redis.connect().await, "qg:{default:live}:account:user:u", "images").await.1;
    assert_eq!(held().await, 1);
    full.app.post("track", json!({"userId": "u", "event": "image.a"})).await.expect(200);
    assert_eq!(held().await, 0, "a call that counts takes it out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tracks_exceed_the_limit_by_the_headroom_and_no_more() {
    let full = Full::prepared().await;
    let open = full.app.reserved(call("u", "image.a")).await;
    let limit = full.used().await;
    full.limit(limit).await;
    let mut counted = 0;
    let last = loop {
        let answer = full.app.post("track", large()).await;
        if answer.status != 200 {
            break answer;
        }
        counted += 1;
        assert!(counted < 4_000, "nothing is refused");
    };
    assert!(last.status == 503 && last.header("retry-after").is_some(), "{}", last.text);
    assert!(counted > 100, "{counted}");
    // One last call may find memory and is added. Redis also counts what it still sends, such as pages of the ledger to
    // the node that adds up reports: that passes.
    eventually("what is stored fits into the headroom", || async { full.used().await - limit < HEADROOM + 256 * 1024 })
        .await;
    // Calls that are never refused still work, and nothing is lost above the limit.
    full.app.commit(&open).await;
    full.admin.post("users/u/block", json!({})).await.expect(200);
    full.limit(0).await;
    let used = full.app.stands("v", "jobs").await.0;
    assert_eq!(used as usize, counted, "each that was acknowledged is counted, and no other");
    assert!(verified(&full.redis.url(), "live").await.drifts.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_batch_no_operation_overtakes_a_refused_one_of_its_reservation() {
    let full = Full::prepared().await;
    let (drawn, other) = (full.app.reserved(call("u", "image.a")).await, full.app.reserved(call("u", "image.a")).await);
    // More than the limit and the headroom together.
    full.redis.run::<()>(&["SET", "filler", &"x".repeat(2 * HEADROOM as usize)]).await;
    full.limit(1).await;
    let batch = json!({"operations": [
        {"op": "commit", "reservationId": drawn, "quantity": 1, "final": false, "idempotencyKey": "draw"},
        {"op": "release", "reservationId": drawn},
        {"op": "commit", "reservationId": other},
    ]});
    let statuses = async || {
        let answer = full.app.post("batch", batch.clone()).await.expect(200);
        let statuses: Vec<u64> =
            answer["results"].as_array().unwrap().iter().map(|result| result["status"].as_u64().unwrap()).collect();
        statuses
    };
    assert_eq!(statuses().await, [503, 503, 200], "the release waits for the draw, and the other reservation does not");
    full.limit(0).await;
    assert_eq!(statuses().await, [200, 200, 200]);
    assert_eq!(full.app.stands("u", "images").await, (2.0, 0.0), "what was drawn is charged, the rest is free");
    assert!(verified(&full.redis.url(), "live").await.drifts.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readyz_warns_without_a_limit_near_it_and_of_evictions() {
    let full = Full::prepared().await;
    assert!(full.warnings().await.contains("maxmemory is not set"));
    // Large enough that opening and closing connections changes less than one percent.
    full.redis.run::<u64>(&["SETRANGE", "filler", "50000000", "x"]).await;
    full.limit(full.used().await * 100 / 95).await;
    let warnings = full.warnings().await;
    assert!(warnings.contains("% of maxmemory: at 100 % it refuses"), "{warnings}");
    full.limit(1 << 30).await;
    assert_eq!(full.warnings().await, "[]");
    full.redis.run::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    assert!(full.warnings().await.contains("maxmemory-policy is allkeys-lru"));
    let metrics = Api::at(&full.process.url, "").get("/metrics").await.text;
    assert!(metrics.contains("quotagate_redis_memory_max_bytes 1073741824"), "{metrics}");
    assert!(metrics.contains("quotagate_redis_memory_used_bytes "), "{metrics}");
}

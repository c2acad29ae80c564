//! Data that calls leave in Redis has a limit in bytes, even with the largest metadata.

use std::time::Duration;

use quotagate::domain::values::ids::{AppId, Mode};
use quotagate::service::gateway::Gateway;
use quotagate::service::reporting::byte_bounds::ByteBounds;
use quotagate::service::tenant::{Placement, Tenant};
use quotagate::store::Store;
use quotagate::store::reporting::stream::Stream;
use serde_json::{Value, json};

use crate::support::{World, monthly};

/// 32 names of 64 bytes with values of 256.
fn largest() -> Value {
    let pairs = (0..32).map(|place| (format!("{place:0>64}"), Value::from("x".repeat(256))));
    Value::Object(pairs.collect())
}

fn bounds(world: &World) -> (Gateway, Tenant, ByteBounds) {
    let store = Store::open(&world.redis.url(), Duration::from_secs(30)).unwrap();
    let (app, mode) = (AppId::parse("default").unwrap(), Mode::parse("test/main").unwrap());
    (Gateway::new(store, None), Tenant { app, mode, placement: Placement::App }, ByteBounds { ledger: 1024 * 1024 })
}

async fn memory(world: &World, key: &str) -> u64 {
    world.redis.run(&["MEMORY", "USAGE", &format!("qg:{{default:test/main}}:{key}"), "SAMPLES", "0"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_denials_outbox_and_audit_log_stay_within_their_bytes_and_reports_lose_nothing() {
    let world = World::new().await;
    world.admin.plan("p", monthly(300)).await;
    world.app.subscribe("u", "p").await;
    let track = json!({"userId": "u", "event": "image.a", "metadata": largest()});
    for _ in 0..300 {
        world.app.post("track", track.clone()).await.expect(200);
    }
    for _ in 0..300 {
        assert_eq!(world.app.reserve(track.clone()).await["allowed"], false);
    }
    let admin = world.admin.with("x-mode", "test");
    for place in 0..200 {
        let word = if place % 2 == 0 { "block" } else { "unblock" };
        admin.post(&format!("users/u/{word}"), json!({"note": "n".repeat(1_024)})).await.expect(200);
    }
    let outbox = "for i = 1, 400 do redis.call('XADD', KEYS[1], '*', 'type', 'approval.requested', 'at', i, 'about', ARGV[1]) end";
    let about = largest().to_string();
    world.redis.run::<()>(&["EVAL", outbox, "1", "qg:{default:test/main}:outbox", &about]).await;
    let (gateway, tenant, bounds) = bounds(&world);
    let bucket = tenant.buckets().remove(0);
    assert!(memory(&world, "ledger").await > 3_000_000, "an entry with the largest metadata has 10 KB");
    for stream in Stream::ALL {
        gateway.fold_stream(&tenant, &bucket, stream, 100).await.unwrap();
        let bounded = gateway.bound_entries(&tenant, &bucket, stream, bounds).await.unwrap();
        assert!(bounded.dropped > 0 && bounded.unread == 0, "{stream:?}: {bounded:?}");
        assert_eq!(bounded.bytes, memory(&world, stream.as_str()).await);
        assert!(bounded.bytes <= bounds.of(stream), "{stream:?}: {bounded:?}");
        assert!(bounded.bytes > bounds.of(stream) / 2, "no more goes than has to: {stream:?}: {bounded:?}");
        // A stream within its limit is not changed.
        assert_eq!(gateway.bound_entries(&tenant, &bucket, stream, bounds).await.unwrap().dropped, 0);
    }
    gateway.bound_others(&tenant, &bucket, bounds).await.unwrap();
    for key in ["outbox", "audit"] {
        let bytes = memory(&world, key).await;
        assert!(bytes <= bounds.others() && bytes > bounds.others() / 2, "{key}: {bytes}");
    }
    // The counters can still be verified, and reports include every call.
    let verified = gateway.verify(&tenant, None, |_, _| ()).await.unwrap();
    assert!(verified.drifts.is_empty() && verified.entries < 300 && verified.since_ms.is_some(), "{verified:?}");
    let report = admin.get("reports/usage").await.expect(200);
    assert_eq!((&report["data"][0]["calls"], &report["data"][0]["denials"]), (&json!(300), &json!(300)), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_no_report_counts_yet_go_only_if_they_alone_are_far_too_much() {
    let world = World::new().await;
    let (gateway, tenant, bounds) = bounds(&world);
    // No node folds the ledger of a sandbox that is not in the configuration.
    let tenant = Tenant { mode: Mode::parse("test/unknown").unwrap(), ..tenant };
    let bucket = tenant.buckets().remove(0);
    let ledger = "qg:{default:test/unknown}:ledger";
    let fill = "for i = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], '*', 'type', 'none', 'told', ARGV[2]) end";
    let text = "x".repeat(10_000);
    world.redis.run::<()>(&["EVAL", fill, "1", ledger, "110", &text]).await;
    let within = gateway.bound_entries(&tenant, &bucket, Stream::Ledger, bounds).await.unwrap();
    assert_eq!((within.dropped, within.unread), (0, 0), "a tenth beyond the bound: {within:?}");
    world.redis.run::<()>(&["EVAL", fill, "1", ledger, "200", &text]).await;
    let beyond = gateway.bound_entries(&tenant, &bucket, Stream::Ledger, bounds).await.unwrap();
    assert!(beyond.unread == beyond.dropped && beyond.dropped > 100, "{beyond:?}");
    assert!(beyond.bytes <= bounds.ledger / 4 * 5, "{beyond:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_or_an_idempotency_answer_takes_at_most_its_metadata_and_little_more() {
    let world = World::new().await;
    world.admin.plan("p", monthly(1)).await;
    world.app.subscribe("u", "p").await;
    let call = json!({"userId": "u", "event": "image.a", "metadata": largest()});
    let held = world.app.once(&"a".repeat(255)).post("reserve", call.clone()).await.expect(200);
    let settle = json!({"reservationId": held["reservationId"], "metadata": largest()});
    world.app.once(&"b".repeat(255)).post("commit", settle).await.expect(200);
    assert_eq!(world.app.once(&"c".repeat(255)).post("reserve", call.clone()).await.expect(200)["allowed"], false);
    world.app.once(&"d".repeat(255)).post("track", call).await.expect(200);
    let names: Vec<String> = world.redis.run(&["KEYS", "qg:{default:test/main}:op:*"]).await;
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let bytes: u64 = world.redis.run(&["MEMORY", "USAGE", &name]).await;
        // 32 names of 64 bytes with values of 256, plus JSON syntax.
        assert!(bytes <= 14 * 1024, "{name}: {bytes} bytes");
        let ttl_ms: i64 = world.redis.run(&["PTTL", &name]).await;
        assert!(ttl_ms > 0, "{name} ends");
    }
}

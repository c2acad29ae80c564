//! How soon every node rejects a revoked key.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::gateway::ADMIN_KEY;
use crate::stage::Stage;
use crate::support::{Api, Redis};

/// The bound that the documentation promises.
const BOUND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_each_of_30_revoked_keys_is_refused_by_the_other_gateway_within_a_second() {
    let redis = Redis::start().await;
    let stage = Stage::set(redis.url(), 2).await;
    let nodes = stage.nodes.read().unwrap().clone();
    let mut slowest = Duration::ZERO;
    for _ in 0..30 {
        let made = stage.configure("POST", "keys", &json!({"kind": "secret", "mode": "live"})).await;
        let there = Api::at(&nodes[1], made["key"].as_str().unwrap());
        // For longer than a gateway takes to learn about a key.
        let used = Instant::now();
        while used.elapsed() < Duration::from_millis(450) {
            there.get("plans").await.expect(200);
        }
        let admin = Api::at(&nodes[0], ADMIN_KEY);
        admin.delete(&format!("keys/{}", made["id"].as_str().unwrap()), None).await.expect(204);
        let revoked = Instant::now();
        while there.get("plans").await.status != 401 {
            assert!(revoked.elapsed() < BOUND, "still works after {:?}", revoked.elapsed());
        }
        slowest = slowest.max(revoked.elapsed());
    }
    println!("30 keys revoked, the last refused after {slowest:?} at most");
}

//! Redis Cluster: all keys of a call are in one slot, whatever the placement and number of owners.

use serde_json::json;

use crate::support::cluster::Cluster;
use crate::support::receiver::{Receiver, Reply};
use crate::support::{ROOT_KEY, Running, new_key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_the_product_works_on_a_cluster_in_both_placements() {
    // A call whose keys are in two slots is rejected by a single master too.
    let cluster = Cluster::start(1, false).await;
    let node = Running::start(&cluster.url()).await;
    let receiver = Receiver::start(&[Reply::Status(200)]).await;
    for (app, placement, scopes) in [
        ("whole", "app", vec![json!(["user"]), json!(["app"]), json!(["key"]), json!(["metadata.team"])]),
        ("spread", "user", vec![json!(["user"]), json!(["user", "metadata.team"]), json!(["user", "key"])]),
    ] {
        let root = node.client(ROOT_KEY);
        root.post("apps", json!({"id": app, "placement": placement})).await.expect(201);
        let admin = root.with("x-app", app).with("x-mode", "test");
        let key = new_key(&admin, json!({"kind": "secret", "mode": "test"})).await;
        let api = node.client(&key);
        let group = |(place, scope): (usize, serde_json::Value)| {
            json!({"id": format!("g{place}"), "unit": "tokens", "quota": 10, "scope": scope, "alerts": [50],
                "matches": [{"event": "llm"}]})
        };
        let groups: Vec<_> = scopes.into_iter().enumerate().map(group).collect();
        let count = groups.len();
        admin.put("policies/p", json!({"periodType": "daily", "groups": groups})).await.expect(200);
        let asked = json!({"id": "asked", "unit": "count", "quota": 0, "enforcement": "approval", "matches": [{"event": "ask"}]});
        let all = json!({"id": "all", "unit": "tokens", "quota": null, "matches": [{"event": "llm"}]});
        admin.put("plans/p", json!({"periodType": "monthly", "groups": [all, asked]})).await.expect(200);
        admin.put("webhooks/w", json!({"url": receiver.url, "events": ["threshold.reached", "approval.requested", "reservation.expired"], "modes": ["live", "test"]})).await.expect(200);
        api.freeze("2027-01-31T10:00:00Z").await;
        let reported = receiver.got().len();
        let users = ["u", "v", "w", "x"];
        for user in users {
            api.subscribe(user, "p").await;
            let call = json!({"userId": user, "event": "llm", "quantity": 1, "metadata": {"team": user}});
            let held = api.once(&format!("r-{user}")).reserve(call.clone()).await;
            assert_eq!(held["matchedGroupIds"].as_array().unwrap().len(), count + 1, "{held}");
            let id = held["reservationId"].as_str().unwrap();
            api.post("extend", json!({"reservationId": id, "quantity": 1})).await.expect(200);
            api.post("commit", json!({"reservationId": id, "quantity": 1, "final": false})).await.expect(200);
            api.commit(id).await;
            let back = json!({"userId": user, "event": "llm.refund", "metadata": {"reservationId": id, "team": user}});
            api.post("track", back).await.expect(200);
            api.post("track", call.clone()).await.expect(200);
            let gone = api.reserved(call).await;
            api.release(&gone).await;
            let denied = api.reserve(json!({"userId": user, "event": "ask"})).await;
            let approval = denied["deniedBy"][0]["approval"]["id"].as_str().unwrap().to_owned();
            admin.post(&format!("approvals/{approval}/approve"), json!({"amount": 1})).await.expect(200);
            api.reserved(json!({"userId": user, "event": "ask"})).await;
            admin.post(&format!("users/{user}/reset"), json!({})).await.expect(200);
            admin.get(&format!("users/{user}")).await.expect(200);
        }
        for path in [
            "users",
            "grants",
            "approvals?status=decided",
            "alerts",
            "audit",
            "counters?groupId=g1",
            "usage/history?userId=u&metadata.team=u",
            "webhooks/w/deliveries",
        ] {
            admin.get(path).await.expect(200);
        }
        for order in ["asc", "desc"] {
            let events = api.get(&format!("events?limit=200&order={order}")).await.expect(200);
            let events = events["data"].as_array().unwrap();
            let mut types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
            types.sort_unstable();
            let each = ["commit", "denial", "draw", "refund", "release", "reset", "track"];
            assert_eq!(types, each.map(|kind| [kind; 4]).concat(), "{app} {order}");
        }
        // Each user made one request; its holds expire.
        api.freeze("2027-01-31T11:00:00Z").await;
        for user in users {
            api.reserve(json!({"userId": user, "event": "ask"})).await;
        }
        receiver.wait_for(reported + 2 * users.len()).await;
        api.delete("test-clock", None).await.expect(204);
        root.delete(&format!("apps/{app}"), None).await.expect(204);
    }
    node.stop().await;
}

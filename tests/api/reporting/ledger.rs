//! The ledger: one entry per call with the balances after it, and verification of counters.

use quotagate::domain::reporting::ledger::{Charge, Entry, StoredEntry};
use quotagate::domain::reporting::proof::Figure;
use quotagate::domain::values::ids::{AppId, Mode};
use quotagate::store::Store;
use quotagate::store::keys::Bucket;
use quotagate::store::reporting::stream::Stream;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::support::proven::{drifts, verified};
use crate::support::seeds::seed;
use crate::support::stored::tamper;
use crate::support::{World, monthly};

fn sandbox() -> Bucket {
    Bucket::whole(&AppId::parse("default").unwrap(), &Mode::parse("test/main").unwrap())
}

async fn entries(world: &World, stream: Stream) -> Vec<Entry> {
    let store = Store::open(&world.redis.url(), crate::support::PATIENCE).unwrap();
    let page = store.entries_after(&sandbox(), stream, None, None, 10_000).await.unwrap();
    page.entries.into_iter().map(|StoredEntry { entry, .. }| entry).collect()
}

/// `<owner> <group>:<window_seq>:<change>:<balance>`
fn charges(charges: &[Charge]) -> Vec<String> {
    let reported = |charge: &Charge| {
        format!("{} {}:{}:{}:{}", charge.owner, charge.group, charge.window_seq, charge.change, charge.balance.steps())
    };
    charges.iter().map(reported).collect()
}

/// An entry in one line.
fn line(entry: &Entry) -> String {
    let mut line = entry.kind.as_str().to_owned();
    if entry.late {
        line += " late";
    }
    if let Some(reason) = entry.reason {
        line += &format!(" {}", reason.as_str());
    }
    for text in charges(&entry.charges) {
        line += &format!(" [{text}]");
    }
    for denying in &entry.denying {
        let amounts = [denying.requested, denying.count, denying.limit].map(|amount| amount.steps());
        line += &format!(" [{} {} {amounts:?}]", denying.owner, denying.group);
    }
    for held in &entry.held {
        line += &format!(" [{}:{}:{}]", held.group, held.window_seq, held.amount.steps());
    }
    if let Some(outcome) = entry.details.outcome {
        line += &format!(" {}", outcome.as_str());
    }
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_call_leaves_its_entry_with_the_balance_after_it() {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(20)).await;
    let app_wide = json!({"groups": [{"id": "all", "unit": "count", "quota": null, "scope": ["app"], "periodType": "monthly",
        "matches": [{"event": "*"}]}]});
    world.admin.put("policies/wide", app_wide).await.expect(200);
    world.app.subscribe("u", "p").await;
    let reserve =
        |quantity: u64| json!({"userId": "u", "event": "image.a", "quantity": quantity, "metadata": {"model": "m1"}});
    let one = world.app.reserved(reserve(5)).await;
    let draw = json!({"reservationId": one, "quantity": 2, "final": false});
    world.app.post("commit", draw).await.expect(200);
    let last = json!({"reservationId": one, "quantity": 1, "metadata": {"quality": "final"}, "outcome": "accepted"});
    world.app.post("commit", last).await.expect(200);
    world.app.post(&format!("reservations/{one}/outcome"), json!({"outcome": "rejected"})).await.expect(200);
    let again =
        world.app.post(&format!("reservations/{one}/outcome"), json!({"outcome": "rejected"})).await.expect(200);
    assert_eq!(again["replayed"], true);
    let two = world.app.reserved(reserve(4)).await;
    let release = json!({"reservationId": two, "reason": "user left", "errorCode": "499"});
    world.app.post("release", release).await.expect(200);
    let track = json!({"userId": "u", "event": "image.b", "quantity": 3});
    world.app.post("track", track).await.expect(200);
    let refund = json!({"userId": "u", "event": "image.a.refund", "quantity": 2, "metadata": {"reservationId": one}});
    world.app.post("track", refund).await.expect(200);
    let refused = world.app.reserve(reserve(30)).await;
    assert_eq!(refused["allowed"], false);
    let late = world.app.reserved(reserve(1)).await;
    world.app.freeze("2027-01-31T10:02:00Z").await;
    world.app.get("usage?userId=u").await.expect(200);
    // Removes expired holds.
    world.app.reserve(reserve(1)).await;
    world.app.commit(&late).await;
    let live = world.admin.with("X-Mode", "test/main");
    live.post("users/u/reset", json!({"groupId": "images"})).await.expect(200);

    let ledger = entries(&world, Stream::Ledger).await;
    let reported: Vec<String> = ledger.iter().map(line).collect();
    let expected = [
        "draw [user u images:1:2:2] [app default all:1:2:2]",
        "commit [user u images:1:1:3] [app default all:1:1:3] accepted",
        "outcome rejected",
        "release",
        "track [user u images:1:3:6] [app default all:1:3:6]",
        "refund [user u images:1:-2:4] [app default all:1:-2:4]",
        "expire [images:1:1]",
        "commit late [user u images:1:1:5] [app default all:1:1:5]",
        "reset [user u images:2:0:0]",
    ];
    assert_eq!(reported, expected);
    let denied: Vec<String> = entries(&world, Stream::Denials).await.iter().map(line).collect();
    assert_eq!(denied, ["denial limit_reached [user u images [30, 4, 20]]"]);

    let commit = &ledger[1];
    let name = commit.operation.as_ref().unwrap().as_str();
    assert!(one.contains(name), "{one} {name}");
    assert_eq!(commit.user.as_ref().map(|user| user.as_str()), Some("u"));
    assert_eq!(commit.event.as_ref().map(|event| event.as_str()), Some("image.a"));
    let metadata = commit.metadata();
    assert_eq!((metadata.get("model"), metadata.get("quality")), (Some("m1"), Some("final")));
    assert_eq!(ledger[2].details.before.map(|outcome| outcome.as_str()), Some("accepted"));
    assert_eq!(
        (ledger[3].details.reason.as_deref(), ledger[3].details.error_code.as_deref()),
        (Some("user left"), Some("499"))
    );
    assert!(drifts(&world.redis.url(), "test/main").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_nothing_leaves_no_entry() {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(20)).await;
    world.app.subscribe("u", "p").await;
    let id = world.app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    world.app.post("can-use", json!({"userId": "u", "event": "image.a", "quantity": 30})).await.expect(200);
    world.app.commit(&id).await;
    world.app.commit(&id).await;
    world.app.post("track", json!({"userId": "u", "event": "nobody.counts"})).await.expect(200);
    world.app.post("release", json!({"reservationId": id})).await.problem(409, "reservation_not_pending");
    let body = json!({"userId": "u", "event": "image.a", "quantity": 3});
    world.app.once("k").post("track", body.clone()).await.expect(200);
    world.app.once("k").post("track", body).await.expect(200);
    let kinds: Vec<&str> = entries(&world, Stream::Ledger).await.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["commit", "track"]);
    assert_eq!(entries(&world, Stream::Denials).await, []);
}

/// Random calls of three users and two teams on two nodes, over several days.
async fn traffic(world: &World, calls: usize, random: &mut StdRng) {
    let (_second, other) = world.another_node().await;
    let plan = json!({"periodType": "daily", "groups": [
        {"id": "images", "unit": "count", "quota": 40, "enforcement": "soft", "matches": [{"event": "image.*"}]},
        {"id": "flight", "unit": "count", "quota": 8, "periodType": "concurrent", "matches": [{"event": "image.*"}], "measure": "event"}]});
    world.admin.plan("p", plan.clone()).await;
    world
        .admin
        .plan(
            "q",
            json!({"periodType": "monthly", "groups": [
        {"id": "images", "unit": "count", "quota": 90, "onPlanChange": "reset", "matches": [{"event": "image.*"}]}]}),
        )
        .await;
    let team = json!({"groups": [{"id": "team", "unit": "count", "quota": 200, "scope": ["metadata.team"], "periodType": "hourly",
        "matches": [{"event": "*"}]}]});
    world.admin.put("policies/teams", team).await.expect(200);
    let mut open: Vec<String> = Vec::new();
    let mut minutes = 0;
    for user in ["a", "b", "c"] {
        world.app.subscribe(user, "p").await;
    }
    for _ in 0..calls {
        let node = if random.random_bool(0.5) { &world.app } else { &other };
        let user = ["a", "b", "c"][random.random_range(0..3)];
        let team = ["red", "blue"][random.random_range(0..2)];
        let quantity = random.random_range(0..9);
        let body = json!({"userId": user, "event": "image.a", "quantity": quantity, "metadata": {"team": team}});
        let taken = (!open.is_empty()).then(|| random.random_range(0..open.len()));
        match (random.random_range(0..12), taken) {
            (0..4, _) => {
                let mut body = body;
                body["ttlSeconds"] = json!([60, 600, 3600][random.random_range(0..3)]);
                let answer = node.post("reserve", body).await;
                open.extend(answer.json["reservationId"].as_str().map(str::to_owned));
            }
            (4, Some(place)) => {
                let draw = json!({"reservationId": open[place], "quantity": quantity, "final": false});
                node.post("commit", draw).await;
            }
            (5 | 6, Some(place)) => {
                let commit = json!({"reservationId": open[place], "quantity": quantity});
                node.post("commit", commit).await;
            }
            (7, Some(place)) => drop(node.post("release", json!({"reservationId": open[place]})).await),
            (8, Some(place)) => {
                let mut refund = body;
                refund["event"] = json!("image.a.refund");
                refund["metadata"]["reservationId"] = json!(open[place]);
                node.post("track", refund).await;
            }
            (9, _) => drop(node.post("track", body).await),
            (10, _) => {
                minutes += random.random_range(1..400);
                let now = chrono::DateTime::from_timestamp(1_801_396_800 + minutes * 60, 0).unwrap();
                world.app.freeze(&now.to_rfc3339()).await;
            }
            (11, _) if random.random_bool(0.3) => {
                let plan = ["p", "q"][random.random_range(0..2)];
                node.post("subscriptions", json!({"userId": user, "planId": plan})).await.expect(200);
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_random_histories_counters_and_ledger_agree_and_a_planted_drift_of_one_is_found() {
    let seed = seed("LEDGER_SEED");
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::frozen().await;
    traffic(&world, 400, &mut random).await;
    let url = world.redis.url();
    let found = verified(&url, "test/main").await;
    assert!(found.drifts.is_empty(), "LEDGER_SEED={seed}: {:#?}", found.drifts);
    assert!(found.entries > 50 && found.since_ms.is_none(), "{found:?}");

    let key = |kind: &str, owner: &str| format!("qg:{{default:test/main}}:{kind}:{owner}");
    // One call each, so that every owner has a counter to tamper with.
    let body = json!({"userId": "a", "event": "image.a", "quantity": 2, "metadata": {"team": "red"}});
    world.app.post("track", body.clone()).await.expect(200);
    world.app.freeze("2028-06-01T12:00:00Z").await;
    world.app.post("track", body.clone()).await.expect(200);
    let past: Vec<String> = world.redis.run(&["HGETALL", &key("past", "user:a")]).await;
    let charged =
        |pair: &&[String]| pair[0].starts_with("images.") && !pair[0].ends_with("first") && !pair[1].starts_with("0 ");
    let closed = past.chunks(2).find(charged).expect("a closed window of which there are entries");
    let plants = [
        (key("account", "user:a"), "images".to_owned(), Figure::Used),
        (key("account", "metadata.team:red"), "team".to_owned(), Figure::Used),
        (key("account", "user:a"), "images".to_owned(), Figure::Held),
        (key("past", "user:a"), closed[0].clone(), Figure::Closed),
    ];
    for (key, field, figure) in plants {
        let before: String = world.redis.run(&["HGET", &key, &field]).await;
        let mut connection = world.redis.connect().await;
        match figure {
            Figure::Used => tamper(&mut connection, &key, &field, 1, 0).await,
            Figure::Held => tamper(&mut connection, &key, &field, 0, 1).await,
            _ => {
                let (used, rest) = before.split_once(' ').unwrap();
                let one_more = format!("{} {rest}", used.parse::<u64>().unwrap() + 1);
                world.redis.run::<()>(&["HSET", &key, &field, &one_more]).await;
            }
        }
        let found = drifts(&url, "test/main").await;
        assert_eq!(found.len(), 1, "LEDGER_SEED={seed} {key} {field}: {found:#?}");
        let drift = &found[0].drift;
        assert_eq!((drift.figure, drift.stored - drift.proven), (figure, 1), "LEDGER_SEED={seed} {drift:?}");
        assert!(figure == Figure::Held || !drift.entries.is_empty(), "{drift:?}");
        world.redis.run::<()>(&["HSET", &key, &field, &before]).await;
    }
    // Also after further calls on top of the wrong figure, and after the ledger was trimmed before it.
    tamper(&mut world.redis.connect().await, &key("account", "user:a"), "images", 1, 0).await;
    world.app.post("track", body).await.expect(200);
    let found = drifts(&url, "test/main").await;
    assert_eq!(found.iter().map(|found| found.drift.entries.len()).collect::<Vec<_>>(), [2], "{found:#?}");
    world.redis.run::<()>(&["XTRIM", &key("ledger", "").replace("ledger:", "ledger"), "MAXLEN", "3"]).await;
    let trimmed = verified(&url, "test/main").await;
    assert!(trimmed.since_ms.is_some() && trimmed.drifts.len() == 1, "{trimmed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn verifying_during_traffic_finds_nothing() {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(1_000_000)).await;
    world.app.subscribe("u", "p").await;
    let url = world.redis.url();
    let calls = async {
        for _ in 0..150 {
            let body = || json!({"userId": "u", "event": "image.a", "quantity": 3});
            let ids = futures::future::join_all((0..4).map(|_| world.app.reserved(body()))).await;
            futures::future::join_all(ids.iter().map(|id| world.app.commit(id))).await;
        }
    };
    let mut runs = 0;
    let watch = async {
        loop {
            let found = verified(&url, "test/main").await;
            assert!(found.drifts.is_empty(), "{:#?}", found.drifts);
            runs += u32::from(found.entries > 0);
        }
    };
    tokio::select! { () = calls => {}, () = watch => {} }
    assert!(runs > 3, "{runs}");
    assert_eq!(verified(&url, "test/main").await.entries, 600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_was_forgotten_and_comes_again_is_no_drift() {
    let world = World::frozen().await;
    let team = json!({"groups": [{"id": "team", "unit": "count", "quota": 200, "scope": ["metadata.team"], "periodType": "hourly",
        "matches": [{"event": "*"}]}]});
    world.admin.put("policies/teams", team).await.expect(200);
    let body = json!({"userId": "u", "event": "image.a", "quantity": 7, "metadata": {"team": "red"}});
    world.app.post("track", body.clone()).await.expect(200);
    // As after its keys have expired.
    let owner = |kind: &str| format!("qg:{{default:test/main}}:{kind}:metadata.team:red");
    let gone: u64 = world.redis.run(&["DEL", &owner("account"), &owner("past")]).await;
    assert_eq!(gone, 1);
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0, "it may be forgotten");
    world.app.freeze("2027-02-01T10:00:00Z").await;
    world.app.post("track", body).await.expect(200);
    let found = verified(&world.redis.url(), "test/main").await;
    assert!(found.drifts.is_empty() && found.accounts == 2, "{found:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_changed_since_it_was_found_is_not_put_right_by_the_old_figure() {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(20)).await;
    world.app.subscribe("u", "p").await;
    let track = json!({"userId": "u", "event": "image.a", "quantity": 5});
    world.app.post("track", track.clone()).await.expect(200);
    let account = "qg:{default:test/main}:account:user:u";
    tamper(&mut world.redis.connect().await, account, "images", 1, 0).await;
    let url = world.redis.url();
    let found = drifts(&url, "test/main").await;
    // Another call comes between finding and repairing the drift.
    world.app.post("track", track).await.expect(200);
    let store = Store::open(&url, crate::support::PATIENCE).unwrap();
    let audit_entry = quotagate::domain::access::audit::AuditEntry::default();
    assert!(!store.repair(&found[0].bucket, &found[0].drift, &audit_entry).await.unwrap());
    assert_eq!(world.app.stands("u", "images").await.0, 11.0);
    let gateway = quotagate::service::gateway::Gateway::new(store, None);
    let (app, mode) = (AppId::parse("default").unwrap(), Mode::parse("test/main").unwrap());
    let placement = gateway.placement(&app).await.unwrap();
    let tenant = quotagate::service::tenant::Tenant { app, mode, placement };
    assert!(gateway.repair(&tenant, &found[0]).await.unwrap());
    assert_eq!(world.app.stands("u", "images").await.0, 10.0);
    assert!(drifts(&url, "test/main").await.is_empty());
}

//! Configuration documents and their stamps.

use std::collections::BTreeMap;

use quotagate::domain::values::ids::AppId;
use quotagate::store::Store;
use quotagate::store::configuration::configure::{ConfigureArgs, ConfigureReply};
use quotagate::store::metering::operation::Operation;
use serde_json::{Value, json};

use crate::support::{Api, PATIENCE, ROOT_KEY, Redis, World, eventually, monthly};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_lost_below_its_stamp_is_republished_above_it() {
    let world = World::frozen().await;
    let config = "qg:{default}:config";
    let field = async |name: &str| world.redis.run::<String>(&["HGET", config, name]).await;
    world.admin.plan("p", monthly(2)).await;
    world.app.subscribe("u", "p").await;
    let (plan, revision) = (field("plan:p").await, field("revision").await);
    world.admin.plan("p", monthly(5)).await;
    let stamp: u64 = world.redis.run(&["GET", "qg:{default:test/main}:stamp"]).await;
    // As after a failover to a replica that did not receive the last change.
    world.redis.run::<()>(&["HSET", config, "plan:p", &plan, "revision", &revision]).await;
    let (_second, other) = world.another_node().await;
    let decision = other.reserve(json!({"userId": "u", "event": "image.a"})).await;
    assert_eq!(decision["counters"][0]["quota"], 2, "the document that is there counts");
    assert!(field("revision").await.parse::<u64>().unwrap() > stamp);
    let third = world.app.reserve(json!({"userId": "u", "event": "image.a"})).await;
    assert_eq!(third["counters"][0]["remaining"], 0, "for every node");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_writer_died_before_any_stamp_is_taken_over_by_polling() {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(2)).await;
    world.app.subscribe("u", "p").await;
    let quota = async || world.app.counter("u", "images").await["quota"].clone();
    assert_eq!(quota().await, 2);
    let (store, app) = (Store::open(&world.redis.url(), PATIENCE).unwrap(), AppId::parse("default").unwrap());
    let stored = store.configuration(&app).await.unwrap();
    let mut plan: Value = serde_json::from_str(&stored["plan:p"]).unwrap();
    plan["body"]["groups"][0]["quota"] = json!(7);
    let expected: u64 = stored["revision"].parse().unwrap();
    store.announce_configuration(&app).await.unwrap();
    let args = ConfigureArgs {
        app: &app,
        operation: &Operation::new("", None, false),
        expected,
        revision: expected + 1,
        answer: "",
        set: &[("plan:p".to_owned(), plan.to_string())],
        delete: &[],
        versions: &[],
        audit_entries: &[],
    };
    assert_eq!(store.configure(args).await.unwrap(), ConfigureReply::Configured);
    eventually("the node uses what is stored", async || quota().await == 7).await;
}

/// Number of calls per command since the last reset.
async fn commands(redis: &Redis) -> BTreeMap<String, u64> {
    let stats: String = redis.run(&["INFO", "commandstats"]).await;
    let read = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    stats.lines().filter_map(read).collect()
}

/// Creates apps whose configurations both nodes have cached.
async fn with_apps(count: usize, admins: &[Api; 2]) {
    for id in (0..count).map(|number| format!("app-{number}")) {
        admins[0].post("apps", json!({"id": id})).await.expect(201);
        for admin in admins {
            admin.with("x-app", &id).get("plans").await.expect(200);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_for_changed_configurations_is_one_read_however_many_apps_there_are() {
    let world = World::new().await;
    let (second, _) = world.another_node().await;
    with_apps(100, &[world.admin.clone(), second.client(ROOT_KEY)]).await;
    eventually("many looks read nothing but counts", async || {
        world.redis.run::<String>(&["CONFIG", "RESETSTAT"]).await;
        eventually("the nodes look", async || {
            commands(&world.redis).await.get("mget").is_some_and(|calls| *calls > 20)
        })
        .await;
        !commands(&world.redis).await.contains_key("hget")
    })
    .await;
    // A change is announced, and read by the nodes that have cached the configuration.
    let count = async || world.redis.run::<u64>(&["GET", "qg:{quotagate}:configured:changes"]).await;
    let before = count().await;
    world.admin.with("x-app", "app-7").plan("p", monthly(2)).await;
    assert!(count().await > before);
    let last: Vec<String> = world.redis.run(&["ZRANGE", "qg:{quotagate}:configured", "-1", "-1"]).await;
    assert_eq!(last, ["app-7"]);
    world.admin.delete("apps/app-7", None).await.expect(204);
    assert_eq!(world.redis.run::<Option<f64>>(&["ZSCORE", "qg:{quotagate}:configured", "app-7"]).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: by hand, for docs/scaling.md"]
async fn long_what_two_nodes_read_with_a_thousand_apps_at_rest() {
    let world = World::new().await;
    let (second, _) = world.another_node().await;
    with_apps(1_000, &[world.admin.clone(), second.client(ROOT_KEY)]).await;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    world.redis.run::<String>(&["CONFIG", "RESETSTAT"]).await;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    println!("commands of two nodes in 60 s: {:?}", commands(&world.redis).await);
}

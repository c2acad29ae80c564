//! Random histories on two nodes, each answer compared with a pure model of counters and holds.

// The layout of the futures that the service makes is deeper than the default of 128.
#![recursion_limit = "256"]

#[path = "support/mod.rs"]
mod support;

#[path = "model/history.rs"]
mod history;
#[path = "model/plain.rs"]
mod plain;

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::StdRng;

use history::History;
use plain::Model;
use support::{Redis, World};

const HISTORIES: u64 = 40;
const CALLS: usize = 70;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_of_random_histories_on_two_nodes_is_the_models() {
    let seed: u64 = std::env::var("MODEL_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("MODEL_SEED={seed}");
    let world = World::frozen().await;
    let (_second, other) = world.another_node().await;
    world.admin.plan("p", plain::plan()).await;
    let mut now_ms = plain::ms(support::START);
    for number in 0..HISTORIES {
        let user = format!("u_{number}");
        world.app.subscribe(&user, "p").await;
        let random = StdRng::seed_from_u64(seed.wrapping_add(number));
        let mut history = History::new([&world.app, &other], &user, Model::new(now_ms), random);
        for _ in 0..CALLS {
            history.step().await;
        }
        history.usage().await;
        now_ms = history.model.now_ms;
        from_the_outside(&world.redis, &user, &history.model).await;
    }
    nothing_else_stays(&world.redis).await;
    let verified = support::proven::verified(&world.redis.url(), "test/main").await;
    assert!(verified.owners >= HISTORIES && verified.entries > 100, "{verified:?}");
    assert!(verified.drifts.is_empty(), "MODEL_SEED={seed}: {:#?}", verified.drifts);
}

/// `held` is the sum of the live holds of the counter's window, `used` what was charged to it, as Redis shows it.
async fn from_the_outside(redis: &Redis, user: &str, model: &Model) {
    let key = |kind: &str| format!("qg:{{default:test/main}}:{kind}:user:{user}");
    let counters: BTreeMap<String, String> = redis.run(&["HGETALL", &key("counters")]).await;
    let members: Vec<String> = redis.run(&["ZRANGE", &key("holds"), "0", "-1"]).await;
    let mut held: BTreeMap<(String, String), u64> = BTreeMap::new();
    for member in &members {
        for entry in member.split(' ').nth(1).unwrap().split(',') {
            let mut parts = entry.split(':').map(str::to_owned);
            let (group, serial, amount) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            *held.entry((group, serial)).or_default() += amount.parse::<u64>().unwrap();
        }
    }
    for group in plain::GROUPS {
        let Some(window) = counters.get(&format!("{group}.window")) else { continue };
        let serial = window.split(' ').next().unwrap().to_owned();
        let sum = held.get(&(group.to_owned(), serial)).copied().unwrap_or(0);
        assert_eq!(counters[&format!("{group}.held")], sum.to_string(), "{user} {group}: {counters:?} {members:?}");
        let used = model.used_in_current(group);
        assert_eq!(counters[&format!("{group}.used")], used.to_string(), "{user} {group}: {counters:?}");
    }
}

/// Every key but the few that are meant to stay expires by itself.
async fn nothing_else_stays(redis: &Redis) {
    let keys: Vec<String> = redis.run(&["KEYS", "qg:{default:test/main}:*"]).await;
    assert!(keys.len() > 100, "{keys:?}");
    for key in keys {
        let kind = key.split("}:").nth(1).unwrap().split(':').next().unwrap();
        let ttl_ms: i64 = redis.run(&["PTTL", &key]).await;
        // How far streams are folded is told as long as they are.
        let stays = key.contains("}:rollup:cursor:")
            || matches!(
                kind,
                "stamp" | "clock" | "users" | "audit" | "ledger" | "denials" | "counters" | "holds" | "past"
            );
        assert!(stays || ttl_ms > 0, "{key} stays for ever");
    }
}

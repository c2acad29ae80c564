//! Reads Redis directly, bypassing the gateway, during and after a fault.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redis::aio::MultiplexedConnection;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::book::{Account, Book};
use crate::stage::{IN_FLIGHT, QUOTA, Stage};
use crate::support::proven::verified;
use crate::support::stored::taken_apart;
use crate::support::{connect, eventually};

const GROUPS: [&str; 3] = ["images", "in_flight", "jobs"];

fn key(kind: &str, owner: &str) -> String {
    format!("qg:{{default:live}}:{kind}:{owner}")
}

/// The counters and holds of one owner, read atomically.
#[derive(Debug)]
struct Owner {
    counters: BTreeMap<String, String>,
    /// Member and expiry (ms), including expired holds that no call has reclaimed yet.
    holds: Vec<(String, i64)>,
}

impl Owner {
    async fn read(connection: &mut MultiplexedConnection, owner: &str) -> redis::RedisResult<Self> {
        let mut step = redis::pipe();
        step.atomic()
            .hgetall(key("account", owner))
            .cmd("ZRANGE")
            .arg(key("holds", owner))
            .arg(0)
            .arg(-1)
            .arg("WITHSCORES");
        let (counters, holds) = step.query_async(connection).await?;
        Ok(Self { counters: taken_apart(counters), holds })
    }

    fn figure(&self, field: &str) -> u64 {
        self.counters.get(field).map_or(0, |text| text.parse().unwrap())
    }

    /// Sum of a group's holds that expire after a time.
    fn holds_of(&self, group: &str, after_ms: i64) -> u64 {
        let members = self.holds.iter().filter(|(_, end_ms)| *end_ms > after_ms);
        let entries = members.flat_map(|(member, _)| member.split(' ').nth(1).unwrap().split(','));
        let parts = entries.map(|entry| entry.split(':').collect::<Vec<_>>());
        parts.filter(|parts| parts[0] == group).map(|parts| parts[2].parse::<u64>().unwrap()).sum()
    }

    /// Checks what holds at any moment.
    fn check(&self, owner: &str) {
        for group in GROUPS {
            let held = self.figure(&format!("{group}.held"));
            assert_eq!(held, self.holds_of(group, 0), "held of {group} is the sum of its holds: {owner} {self:?}");
        }
        for (group, quota) in [("images", QUOTA), ("in_flight", IN_FLIGHT)] {
            let taken = self.figure(&format!("{group}.used")) + self.figure(&format!("{group}.held"));
            assert!(taken <= quota, "{owner} has {taken} of {quota} in {group}: {self:?}");
        }
    }
}

/// Checks one user after the other while traffic runs.
pub struct Watch {
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Watch {
    pub fn start(redis_url: &str) -> Self {
        let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, looked) = (Arc::clone(&stop), Arc::clone(&looks));
        let url = redis_url.to_owned();
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                // While Redis is unavailable, checks pause until it is back.
                if let Ok(mut connection) = connect(&url).await {
                    while !stopped.load(Ordering::Relaxed) && look(&mut connection, &looked).await.is_ok() {}
                }
                tokio::task::yield_now().await;
            }
        });
        Self { stop, looks, task }
    }

    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        println!("looked at a user's counters {} times meanwhile", self.looks.load(Ordering::Relaxed));
    }
}

/// The users with the most recent writes are those with traffic.
async fn look(connection: &mut MultiplexedConnection, looks: &AtomicU64) -> redis::RedisResult<()> {
    let users: u64 = redis::cmd("ZCARD").arg("qg:{default:live}:users").query_async(connection).await?;
    for number in users.saturating_sub(2)..=users {
        let owner = format!("user:u_{number}");
        Owner::read(connection, &owner).await?.check(&owner);
        looks.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn now_ms(connection: &mut MultiplexedConnection) -> i64 {
    let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(connection).await.unwrap();
    seconds * 1000 + micros / 1000
}

fn agrees(user: &str, owner: &Owner, account: &Account, now_ms: i64) {
    assert_eq!(owner.figure("images.used"), account.charged, "{user}: commits counted once each: {owner:?}");
    assert_eq!(owner.figure("jobs.used"), account.tracked, "{user}: tracks counted once each: {owner:?}");
    let live = account.left.iter().filter(|(_, end_ms)| *end_ms > now_ms);
    let live: u64 = live.map(|(quantity, _)| *quantity).sum();
    assert_eq!(owner.holds_of("images", now_ms), live, "{user}: holds that were given: {owner:?} {account:?}");
}

/// Every counter equals the sum of the ledger and the live holds.
async fn proven(redis_url: &str) {
    let verified = verified(redis_url, "live").await;
    assert!(verified.entries > 0 && verified.since_ms.is_none(), "{verified:?}");
    assert!(verified.drifts.is_empty(), "{:#?}", verified.drifts);
}

/// After all callers are done: Redis has counted exactly what they were answered, and every abandoned hold is released
/// by its expiry.
pub async fn is_as_acknowledged(redis_url: &str, stage: &Stage, book: &Book) {
    let mut connection = connect(redis_url).await.unwrap();
    assert!(book.events() > 0, "nothing was counted");
    let known: u64 = redis::cmd("ZCARD").arg("qg:{default:live}:users").query_async(&mut connection).await.unwrap();
    assert!(known >= book.users.values().filter(|account| account.events > 0).count() as u64);
    for (user, account) in &book.users {
        let name = format!("user:{user}");
        let owner = Owner::read(&mut connection, &name).await.unwrap();
        owner.check(user);
        // This is read after the holds, since a hold that expires in between would seem lost. A server whose clock is
        // behind may still have holds that had expired by the previous clock.
        let before = now_ms(&mut connection).await.max(chrono::Utc::now().timestamp_millis());
        let owner = Owner { holds: owner.holds, ..Owner::read(&mut connection, &name).await.unwrap() };
        agrees(user, &owner, account, before);
    }
    let whole = Owner::read(&mut connection, "app:default").await.unwrap();
    assert_eq!(whole.figure("whole.used"), book.events(), "every event counts once for the app");
    assert_eq!(whole.figure("whole.held"), whole.holds_of("whole", 0));

    proven(&stage.redis_url).await;
    let last_end_ms = book.last_end_ms();
    eventually("the last hold ends", || {
        let mut connection = connection.clone();
        async move { now_ms(&mut connection).await >= last_end_ms }
    })
    .await;
    for (user, account) in &book.users {
        let usage = stage.call("GET", &format!("usage?userId={user}"), &serde_json::Value::Null).await;
        let counters = usage["counters"].as_array().unwrap();
        for counter in counters.iter().filter(|counter| counter["scope"] == json!({"user": user})) {
            assert_eq!(counter["held"], 0, "{user}: {usage}");
        }
        let rest = QUOTA - account.charged;
        if rest > 0 {
            let body = json!({"userId": user, "event": "image.render", "quantity": rest});
            let decision = stage.call("POST", "reserve", &body).await;
            assert_eq!(decision["allowed"], true, "{user} has {rest} left: {decision}");
        }
        let more = stage.call("POST", "reserve", &json!({"userId": user, "event": "image.render"})).await;
        assert_eq!(more["allowed"], false, "{user}: {more}");
    }
}

/// For setups in which acknowledged calls may be lost: everything that is counted was acknowledged, nothing is counted
/// twice, and the counters agree with their holds. Returns how many acknowledged events are not counted.
pub async fn is_at_most_acknowledged(redis_url: &str, stage: &Stage, book: &Book) -> u64 {
    let mut connection = connect(redis_url).await.unwrap();
    for (user, account) in &book.users {
        let owner = Owner::read(&mut connection, &format!("user:{user}")).await.unwrap();
        owner.check(user);
        assert!(owner.figure("images.used") <= account.charged, "{user}: commits counted twice: {owner:?} {account:?}");
        assert!(owner.figure("jobs.used") <= account.tracked, "{user}: tracks counted twice: {owner:?} {account:?}");
    }
    let whole = Owner::read(&mut connection, "app:default").await.unwrap();
    assert_eq!(whole.figure("whole.held"), whole.holds_of("whole", 0));
    proven(&stage.redis_url).await;
    book.events().checked_sub(whole.figure("whole.used")).expect("no event counts twice for the app")
}

//! What remains of owners whose data have expired.

use std::collections::BTreeMap;

use quotagate::domain::configuration::scope::{OwnerName, Scope};
use quotagate::domain::time::window::{TimeMs, Window, WindowKind};
use quotagate::domain::values::ids::UserId;
use quotagate::store::metering::admission::{Owner, OwnerExpiry, UserExpiry};
use quotagate::store::metering::reserve::ReserveReply;

use crate::table::{ALL, Ask, BELIEF, Belief, How, NOON, Table, counted, harmless, ms, settled};

/// Passed to all calls: long after the last of them.
const FORGET_AT: &str = "2027-03-01T00:00:00Z";

/// A team; callers choose their team's name.
fn team(table: &Table, groups: &[Ask<'_>]) -> Owner {
    let name = OwnerName::new(Scope::parse(&["metadata.team"]).unwrap(), vec!["red".to_owned()]).unwrap();
    let renew = OwnerExpiry { at_ms: Some(ms(FORGET_AT)), most: 10 };
    Owner { keys: table.bucket.owner(&name), renew: Some(renew), ..table.owner("u", groups) }
}

async fn ttl(table: &Table, key: &str) -> i64 {
    table.redis.run(&["PTTL", key]).await
}

const HOUR_MS: TimeMs = 3_600_000;

fn hour(start_ms: TimeMs) -> String {
    Window { kind: WindowKind::Hourly, start_ms, end_ms: Some(start_ms + HOUR_MS) }.to_text()
}

/// Moves the clock to the beginning of an hour and uses one unit of `g` in it.
async fn use_in(table: &Table, start_ms: TimeMs, owner: impl Fn(&Table, &[Ask<'_>]) -> Owner) {
    table.clock(start_ms).await;
    let id = table.hold_of(60_000, &[owner(table, &[("g", &hour(start_ms), 1, 9)])]).await;
    settled(table.commit(&id).await);
}

async fn past(table: &Table, key: &str) -> BTreeMap<String, String> {
    table.redis.run(&["HGETALL", key]).await
}

/// The clock of a sandbox may stand still while real days pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reserve_in_a_sandbox_prolongs_the_life_of_all_keys_of_its_owners() {
    const DAY_MS: i64 = 24 * HOUR_MS;
    let table = Table::new().await;
    let user = UserId::parse("u").unwrap();
    let at_ms = Some(ms(NOON) + HOUR_MS);
    let belief = Belief { forget: Some(UserExpiry { user: &user, at_ms }), ..BELIEF };
    let groups = [("g", &*hour(ms(NOON)), 1, 9)];
    let mut team = team(&table, &groups);
    team.renew = Some(OwnerExpiry { at_ms, most: 10 });
    let owners = [table.owner("u", &groups), team];
    let keys = owners.each_ref().map(|owner| [owner.keys.account.clone(), owner.keys.holds()]);
    for _ in 0..3 {
        let reply = table.reserve_as(&harmless(), belief, 60_000, &owners).await;
        assert!(matches!(reply, ReserveReply::Held { .. }), "{reply:?}");
        for key in keys.iter().flatten() {
            let left = ttl(&table, key).await;
            assert!(left > 6 * DAY_MS, "{key}: {left}");
            table.redis.run::<()>(&["PEXPIRE", key, &DAY_MS.to_string()]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_windows_expire_with_the_counters() {
    let table = Table::new().await;
    let keys = team(&table, &[]).keys;
    for number in 0..2 {
        use_in(&table, ms(NOON) + number * HOUR_MS, team).await;
    }
    assert_eq!(past(&table, &keys.past()).await.len(), 2, "the first hour is closed");
    let (counters, past) = (ttl(&table, &keys.account).await, ttl(&table, &keys.past()).await);
    assert!(counters > 0 && (past - counters).abs() <= HOUR_MS + 1000, "{past} beside {counters}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_charge_does_not_keep_closed_windows_longer_than_the_counters() {
    let table = Table::new().await;
    let keys = team(&table, &[]).keys;
    let slow = table.hold_of(2 * HOUR_MS, &[team(&table, &[("g", &hour(ms(NOON)), 2, 9)])]).await;
    use_in(&table, ms(NOON) + HOUR_MS, team).await;
    for key in [&keys.account, &keys.past()] {
        table.redis.run::<()>(&["PEXPIRE", key, "3600000"]).await;
    }
    let drawn = How { is_final: false, ..ALL };
    settled(table.commit_as(&counted(), &slow, drawn).await);
    assert!(ttl(&table, &keys.past()).await <= 3_600_000);
    settled(table.commit_as(&harmless(), &slow, How { changes: 1, ..ALL }).await);
    assert!((1..=3_600_000).contains(&ttl(&table, &keys.past()).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ring_of_12_continues_after_an_earlier_user_of_the_name_left_closed_windows() {
    let table = Table::new().await;
    let keys = team(&table, &[]).keys;
    let start = ms(NOON);
    for number in 0..16 {
        use_in(&table, start + number * HOUR_MS, team).await;
    }
    table.redis.run::<()>(&["DEL", &keys.account]).await;
    let (next, life) = (start + 48 * HOUR_MS, 40);
    for number in 0..life {
        use_in(&table, next + number * HOUR_MS, team).await;
    }
    let left = past(&table, &keys.past()).await;
    let newest = next / 1000 + life - 2;
    assert_eq!(left.len(), 13, "{left:?}");
    assert_eq!(left["g.first"], (newest - 11).to_string());
    assert!(left.contains_key(&format!("g.{newest}")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ring_of_12_continues_after_an_earlier_user_of_the_name_counted_higher() {
    let table = Table::new().await;
    let user = |table: &Table, groups: &[Ask<'_>]| table.owner("u", groups);
    let keys = user(&table, &[]).keys;
    // Windows from a time when the user had no subscription are numbered by time.
    let earlier = "1 9 minute/20270101/20270101T0001 0 0";
    table.redis.run::<()>(&["HSET", &keys.past(), "g.1798761600", earlier, "g.first", "1798761600"]).await;
    for number in 0..40 {
        use_in(&table, ms(NOON) + number * HOUR_MS, user).await;
    }
    let left = past(&table, &keys.past()).await;
    assert_eq!((left.len(), left["g.first"].as_str()), (14, "28"), "{left:?}");
}

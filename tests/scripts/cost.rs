//! The cost of a call, counted in commands that a function gives to Redis, which does not depend on the machine.

use std::collections::BTreeMap;

use chrono::Utc;
use quotagate::domain::values::ids::UserId;
use quotagate::infra::embedded_redis::COMPACT;
use quotagate::store::metering::admission::{Owner, UserExpiry};
use quotagate::store::metering::reserve::ReserveReply;

use crate::table::{Ask, BELIEF, Belief, DAY_1, DAY_2, FOR_EVER, Table, counted, harmless, settled};

/// Number of calls of each command since the last reset, without the function calls themselves.
async fn commands(table: &Table) -> BTreeMap<String, u64> {
    let mut found = table.commands().await;
    found.retain(|name, _| !matches!(name.as_str(), "fcall" | "info" | "config|resetstat"));
    found
}

fn counts(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.split(' ').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, calls)| (name.to_owned(), calls.parse().unwrap())).collect()
}

/// This uses a sandbox, where the test clock needs one more GET, in place of TIME.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_a_call_are_few_however_many_groups_it_counts_in() {
    let table = Table::new().await;
    let one = [("a", DAY_1, 1, 9)];
    let four = [("a", DAY_1, 1, 9), ("b", DAY_1, 1, 9), ("c", DAY_1, 1, 9), ("d", DAY_1, 1, 9)];
    // This call starts the windows.
    let id = table.hold(&four).await;
    table.commit(&id).await;
    commands(&table).await;
    for groups in [&one[..], &four[..]] {
        let id = table.hold(groups).await;
        assert_eq!(commands(&table).await, counts("get=2 hmget=1 hset=1 zadd=1 set=1"), "reserve");
        table.commit(&id).await;
        assert_eq!(commands(&table).await, counts("get=2 hmget=1 hset=1 xadd=1 setrange=1 zrem=1"), "commit");
        let id = table.hold(groups).await;
        commands(&table).await;
        table.release(&id).await;
        assert_eq!(commands(&table).await, counts("get=2 hmget=1 hset=1 xadd=1 setrange=1 zrem=1"), "release");
        table.track_as(&counted(), BELIEF, (true, false), groups).await;
        assert_eq!(commands(&table).await, counts("get=3 hmget=1 hset=1 xadd=1 set=1"), "track");
        table.reserve(&[("a", DAY_1, 100, 9)]).await;
        assert_eq!(commands(&table).await, counts("get=2 hmget=1 exists=1 xadd=1"), "denied reserve");
    }
}

/// Redis writes a number from Lua with 17 digits, which takes much longer than a text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commonest_calls_give_redis_no_numbers() {
    const CHECKED: &str = "local function checked(call)
      return function(...)
        for at = 1, select('#', ...) do
          if type((select(at, ...))) == 'number' then
            error('a number for ' .. (...))
          end
        end
        return call(...)
      end
    end";
    const GLOBALS: &str = "local function globals()\n";
    let table = Table::live().await;
    let (head, rest) = table.store.library.source.split_once(GLOBALS).expect("the library stores its globals");
    let source = format!("{head}{CHECKED}\n{GLOBALS}local redis = {{ call = checked(redis.call) }}\n{rest}");
    table.redis.run::<String>(&["FUNCTION", "LOAD", "REPLACE", &source]).await;
    // New owners, known ones, and the next window.
    for day in [DAY_1, DAY_1, DAY_2] {
        let groups = [("a", day, 1, 9), ("b", FOR_EVER, 1, 9)];
        for names in [&["u"][..], &["u", "team"]] {
            let owners: Vec<Owner> = names.iter().map(|name| table.owner(name, &groups)).collect();
            let (one, other) = (table.hold_of(60_000, &owners).await, table.hold_of(60_000, &owners).await);
            settled(table.commit(&one).await);
            settled(table.release(&other).await);
        }
        table.track_as(&counted(), BELIEF, (true, false), &groups).await;
    }
    let denied = table.reserve(&[("a", DAY_2, 100, 9)]).await;
    assert!(matches!(denied, ReserveReply::Denied(..)), "{denied:?}");
}

/// See lua/lib/unroll.lua.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_with_up_to_twelve_groups_of_six_owners_take_the_straight_path() {
    for (owners, groups, is_straight) in
        [(1, 12, true), (6, 2, true), (3, 4, true), (1, 13, false), (7, 1, false), (4, 4, false)]
    {
        let table = Table::new().await;
        let case = format!("{owners} owners with {groups} groups each");
        let names: Vec<String> =
            (1..=owners).map(|number| if number == 1 { "u".to_owned() } else { format!("u{number}") }).collect();
        let ids: Vec<String> = (1..=groups).map(|number| format!("g{number}")).collect();
        let asks: Vec<Ask<'_>> = ids.iter().map(|id| (id.as_str(), DAY_1, 1, 9)).collect();
        let owned: Vec<Owner> = names.iter().map(|name| table.owner(name, &asks)).collect();
        let id = table.hold_of(60_000, &owned).await;
        settled(table.commit(&id).await);
        commands(&table).await;
        let id = table.hold_of(60_000, &owned).await;
        let reserve = format!("get=2 hmget={owners} hset={owners} zadd={owners} set=1");
        assert_eq!(commands(&table).await == counts(&reserve), is_straight, "reserve of {case}");
        settled(table.commit(&id).await);
        assert_eq!(commands(&table).await.contains_key("setrange"), is_straight, "commit of {case}");
        for (name, id) in names.iter().flat_map(|name| ids.iter().map(move |id| (name, id))) {
            assert_eq!(table.stands_of(name, id, DAY_1).await, (2, 0), "{case}");
        }
    }
}

/// The straight path begins windows too. A call that it hands over reads the stamp and the counters once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_calls_of_a_user_and_in_a_window_take_the_straight_path() {
    let table = Table::new().await;
    let on = |day| [("a", day, 1, 9), ("b", FOR_EVER, 1, 9)];
    commands(&table).await;
    let id = table.hold(&on(DAY_1)).await;
    assert_eq!(commands(&table).await, counts("get=2 hmget=1 hset=1 zadd=1 set=1"), "a user's first call");
    table.commit(&id).await;
    commands(&table).await;
    table.hold(&on(DAY_2)).await;
    // It also reads until when an extension runs and which closed window is the oldest, and writes the closed one.
    assert_eq!(commands(&table).await, counts("get=2 hmget=1 hget=2 hset=2 zadd=1 set=1"), "the next day");
    assert_eq!(table.stands("a", DAY_2).await, (0, 1));
    assert_eq!(table.stands("b", FOR_EVER).await, (1, 1));
}

/// So do the calls of users without a subscription, once they are stored for long enough; not in a sandbox.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_is_to_be_forgotten_takes_the_straight_path() {
    let table = Table::live().await;
    let (user, far) = (UserId::parse("u").unwrap(), Utc::now().timestamp_millis() + 30 * 24 * 3_600_000);
    let until = |at_ms| Belief { forget: Some(UserExpiry { user: &user, at_ms }), ..BELIEF };
    let reserve = async |belief, groups: &[Ask<'_>]| {
        commands(&table).await;
        let reply = table.reserve_as(&harmless(), belief, 60_000, &[table.owner("u", groups)]).await;
        assert!(matches!(reply, ReserveReply::Held { .. }), "{reply:?}");
        commands(&table).await
    };
    let straight = counts("time=1 get=1 hmget=1 hset=1 pexpire=1 set=1 zadd=1");
    assert_ne!(reserve(until(Some(far)), &[("a", DAY_1, 0, 9)]).await, straight, "the user is new");
    assert_eq!(reserve(until(Some(far)), &[("a", DAY_1, 0, 9)]).await, straight);
    assert_eq!(reserve(until(Some(far - 1)), &[("a", DAY_1, 0, 9)]).await, straight, "it is stored for longer");
    // A window that closes expires too.
    let turned = counts("time=1 get=1 hget=2 hmget=1 hset=2 pexpire=2 set=1 zadd=1");
    assert_eq!(reserve(until(Some(far)), &[("a", DAY_2, 0, 9)]).await, turned);
    let keys = table.owner("u", &[]).keys;
    let ttl = async |key: String| table.redis.run::<i64>(&["PTTL", &key]).await;
    assert!((ttl(keys.past()).await - ttl(keys.account.clone()).await).abs() < 60_000);
    // A longer window, and one that never ends, extend it.
    assert_ne!(reserve(until(Some(far + 1)), &[("a", DAY_2, 0, 9)]).await, straight);
    assert_ne!(reserve(until(None), &[("a", DAY_2, 0, 9)]).await, straight);
    assert_eq!(ttl(keys.account.clone()).await, -1);
    let stays = counts("time=1 get=1 hmget=1 hset=1 set=1 zadd=1");
    assert_eq!(reserve(until(None), &[("a", DAY_2, 0, 9)]).await, stays);
    assert_eq!(reserve(until(Some(far)), &[("a", DAY_2, 0, 9)]).await, stays);
    assert_eq!(ttl(keys.holds()).await, -1);
}

/// Measured with the allocator that Redis uses on Linux; other allocators round up differently.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_and_a_reservation_take_few_bytes() {
    let table = Table::new().await;
    table.redis.run::<()>(&["CONFIG", "SET", "zset-max-listpack-value", "256"]).await;
    let three = [("a", DAY_1, 1, 9), ("b", DAY_1, 1, 9), ("c", DAY_1, 1, 9)];
    let bytes = async |key: String| table.redis.run::<u64>(&["MEMORY", "USAGE", &key]).await;
    // The general path decides a user's first reserve.
    let first = table.hold(&three).await;
    table.commit(&first).await;
    let id = table.hold(&three).await;
    let record = table.bucket.operation(&id.name);
    let held = bytes(record.clone()).await;
    assert!(held <= 200, "the record of an open reservation takes {held} bytes");
    let hold = bytes(table.owner("u", &[]).keys.holds()).await;
    assert!(hold <= 200, "its hold takes {hold} bytes");
    table.commit(&id).await;
    let user = bytes(table.bucket.account(&UserId::parse("u").unwrap())).await;
    assert!(user <= 260, "a user with three groups takes {user} bytes");
    assert_eq!(bytes(record).await, held, "of a finished one only the first word changes");
}

/// By default Redis stores a hash in a larger form as soon as one of its texts has more than 64 bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_settings_of_the_private_redis_a_long_counter_keeps_its_user_compact() {
    const MONTH: &str = "monthly/20270131T102030/20270228T102030";
    let table = Table::new().await;
    for setting in COMPACT.chunks_exact(2) {
        let name = setting[0].trim_start_matches('-');
        table.redis.run::<()>(&["CONFIG", "SET", name, setting[1]]).await;
    }
    let spend = [("spend", MONTH, 13_750_000_000, 1_000_000_000_000)];
    let first = table.hold(&spend).await;
    table.commit(&first).await;
    table.hold(&spend).await;
    let key = table.bucket.account(&UserId::parse("u").unwrap());
    let counter: String = table.redis.run(&["HGET", &key, "spend"]).await;
    assert!(counter.len() > 64, "{counter}");
    let encoding: String = table.redis.run(&["OBJECT", "ENCODING", &key]).await;
    assert_eq!(encoding, "listpack", "{counter}");
}

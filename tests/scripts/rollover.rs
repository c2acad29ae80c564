//! Rollover: what a window leaves of its quota, in which calls it shows, and what is stored.

use quotagate::domain::metering::counter::CounterState;
use quotagate::domain::metering::reservation::ReservationId;
use quotagate::domain::time::window::TimeMs;
use quotagate::store::metering::admission::Owner;
use quotagate::store::metering::reserve::ReserveReply;
use quotagate::store::metering::usage::UsageReply;

use crate::table::{ALL, BELIEF, DAY_1, DAY_2, How, Table, amount, harmless, settled, tally};

const DAY_3: &str = "daily/20270202/20270203";
/// Times in [`DAY_2`] and [`DAY_3`].
const ON_DAY_2: &str = "2027-02-01T12:00:00Z";
const ON_DAY_3: &str = "2027-02-02T12:00:00Z";
/// Longer than the rest of a day.
const LONG_MS: TimeMs = 20 * 3_600_000;

/// `u` with a group of this quota, of which at most `max` is rolled over.
fn rolling(table: &Table, window: &str, steps: u64, (quota, max): (u64, Option<u64>)) -> Owner {
    let mut owner = table.owner("u", &[("g", window, steps, quota)]);
    owner.groups[0].quota = Some(amount(quota));
    owner.groups[0].rollover = max.map(amount);
    owner
}

async fn hold(table: &Table, window: &str, steps: u64, rules: (u64, Option<u64>)) -> ReservationId {
    table.hold_of(LONG_MS, &[rolling(table, window, steps, rules)]).await
}

async fn spend(table: &Table, window: &str, steps: u64, rules: (u64, Option<u64>)) {
    let id = hold(table, window, steps, rules).await;
    table.commit(&id).await;
}

/// The state after a reserve, or of a denial.
async fn reserve(
    table: &Table,
    window: &str,
    steps: u64,
    rules: (u64, Option<u64>),
) -> Result<CounterState, CounterState> {
    match table.reserve_as(&harmless(), BELIEF, 60_000, &[rolling(table, window, steps, rules)]).await {
        ReserveReply::Held { states, .. } => Ok(states[0]),
        ReserveReply::Denied(_, denied) => Err(denied.states[0]),
        other => panic!("{other:?}"),
    }
}

async fn read(table: &Table, window: &str, rules: (u64, Option<u64>)) -> CounterState {
    let owner = [rolling(table, window, 0, rules)];
    match table.store.usage(&table.bucket, table.facts(&BELIEF), &owner).await.unwrap() {
        UsageReply::Usage { states, .. } => states[0],
        other => panic!("{other:?}"),
    }
}

fn rolled(state: CounterState, steps: u64) -> CounterState {
    CounterState { rolled: amount(steps), ..state }
}

async fn window(table: &Table) -> String {
    table.counters().await["g.window"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unused_quota_of_the_window_before_is_rolled_over_up_to_the_maximum() {
    // Used, held, quota and maximum at the turn, the first window of the next calls, rolled.
    for (used, held, quota, max, next, expected) in [
        (12, 0, 20, 100, DAY_2, 8),
        (12, 3, 20, 100, DAY_2, 5),
        (12, 0, 20, 5, DAY_2, 5),
        (17, 3, 20, 100, DAY_2, 0),
        // The quota of the old window counts, as its last call used it.
        (12, 0, 30, 100, DAY_2, 8),
        // A window without any call was not used at all.
        (12, 3, 20, 100, DAY_3, 20),
        (12, 3, 20, 15, DAY_3, 15),
    ] {
        let case = format!("{used} used, {held} held, quota {quota}, at most {max}: {next}");
        let table = Table::new().await;
        spend(&table, DAY_1, used, (20, Some(1))).await;
        if held > 0 {
            hold(&table, DAY_1, held, (20, Some(1))).await;
        }
        table.at(if next == DAY_2 { "2027-02-01T00:10:00Z" } else { ON_DAY_3 }).await;
        assert_eq!(read(&table, next, (quota, Some(max))).await, rolled(tally(0, 0), expected), "{case}");
        assert_eq!(reserve(&table, next, 1, (quota, Some(max))).await, Ok(rolled(tally(0, 1), expected)), "{case}");
        let limit = if expected > 0 { format!("{quota}+{expected}") } else { quota.to_string() };
        assert_eq!(window(&table).await, format!("{limit} {next}"), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolled_quota_is_used_first_and_is_not_rolled_again() {
    let (table, rules) = (Table::new().await, (20, Some(100)));
    spend(&table, DAY_1, 12, rules).await;
    table.at(ON_DAY_2).await;
    spend(&table, DAY_2, 10, rules).await;
    // 8 of the 10 came from the day before, so 18 of 20 are unused.
    table.at(ON_DAY_3).await;
    assert_eq!(reserve(&table, DAY_3, 25, rules).await, Ok(rolled(tally(0, 25), 18)));
    table.at("2027-02-03T00:00:00Z").await;
    let day_4 = "daily/20270203/20270204";
    assert_eq!(read(&table, day_4, rules).await, rolled(tally(0, 0), 20), "the hold of 25 has expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_may_use_the_quota_and_what_was_rolled_over_but_no_more() {
    let (table, rules) = (Table::new().await, (20, Some(100)));
    spend(&table, DAY_1, 12, rules).await;
    table.at(ON_DAY_2).await;
    assert_eq!(reserve(&table, DAY_2, 27, rules).await, Ok(rolled(tally(0, 27), 8)));
    let full = |held| rolled(CounterState { over_limit: true, ..tally(0, held) }, 8);
    assert_eq!(reserve(&table, DAY_2, 2, rules).await, Err(full(27)));
    assert_eq!(reserve(&table, DAY_2, 1, rules).await, Ok(rolled(tally(0, 28), 8)));
    assert_eq!(reserve(&table, DAY_2, 1, rules).await, Err(full(28)));
    // A quota of 0 stops the owner. Later the rolled quota counts again.
    assert_eq!(reserve(&table, DAY_2, 0, (0, Some(100))).await, Err(CounterState { over_limit: true, ..tally(0, 28) }));
    assert_eq!(reserve(&table, DAY_2, 1, (21, Some(100))).await, Ok(rolled(tally(0, 29), 8)));
    // A group without rollover keeps what was rolled over before.
    assert_eq!(reserve(&table, DAY_2, 1, (22, None)).await, Ok(rolled(tally(0, 30), 8)));
    assert_eq!(window(&table).await, format!("22+8 {DAY_2}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_at_the_turn_counts_as_used_whatever_becomes_of_it() {
    for ends in ["commit", "release", "expire"] {
        let (table, rules) = (Table::new().await, (20, Some(100)));
        let id = hold(&table, DAY_1, 15, rules).await;
        table.at("2027-02-01T00:00:01Z").await;
        assert_eq!(reserve(&table, DAY_2, 1, rules).await, Ok(rolled(tally(0, 1), 5)), "{ends}");
        match ends {
            "commit" => drop(table.commit_as(&harmless(), &id, How { figures: &[("g", 2)], ..ALL }).await),
            "release" => drop(table.release(&id).await),
            _ => table.at("2027-02-01T09:00:00Z").await,
        }
        assert_eq!(read(&table, DAY_2, rules).await.rolled, amount(5), "{ends}");
        assert_eq!(reserve(&table, DAY_2, 1, rules).await.unwrap().rolled, amount(5), "{ends}");
    }
    // A hold that has ended before the turn is free again, even if nobody has removed it.
    for (ttl_ms, left) in [(LONG_MS, 5), (13 * 3_600_000, 20)] {
        let (table, rules) = (Table::new().await, (20, Some(100)));
        table.hold_of(ttl_ms, &[rolling(&table, DAY_1, 15, rules)]).await;
        table.at("2027-02-01T01:00:00Z").await;
        assert_eq!(read(&table, DAY_2, rules).await.rolled, amount(left));
        assert_eq!(reserve(&table, DAY_2, 1, rules).await, Ok(rolled(tally(0, 1), left)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settled_counters_say_what_was_rolled_over_into_their_windows() {
    let (table, rules) = (Table::new().await, (20, Some(100)));
    spend(&table, DAY_1, 12, rules).await;
    table.at(ON_DAY_2).await;
    let [one, other] = [hold(&table, DAY_2, 2, rules).await, hold(&table, DAY_2, 3, rules).await];
    let account = settled(table.commit(&one).await).accounts.remove(0);
    assert_eq!(account.state, rolled(tally(2, 3), 8));
    table.at("2027-02-02T00:00:00Z").await;
    assert_eq!(reserve(&table, DAY_3, 1, rules).await, Ok(rolled(tally(0, 1), 20)));
    let account = settled(table.commit(&other).await).accounts.remove(0);
    assert_eq!((account.state.used, account.state.rolled), (amount(5), amount(8)), "a closed window");
    assert!(table.past().await["g.2"].starts_with(&format!("5 20+8 {DAY_2} ")), "{:?}", table.past().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_without_rollover_keeps_what_was_rolled_over_into_its_window() {
    let table = Table::new().await;
    spend(&table, DAY_1, 12, (20, Some(100))).await;
    table.at(ON_DAY_2).await;
    // Both programs have the same frame, and the second call of the first has read the counter's window.
    for expected in [1, 2] {
        assert_eq!(reserve(&table, DAY_2, 1, (20, Some(100))).await, Ok(rolled(tally(0, expected), 8)));
    }
    assert_eq!(reserve(&table, DAY_2, 25, (20, None)).await, Ok(rolled(tally(0, 27), 8)));
}

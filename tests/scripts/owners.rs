//! Calls with several owners: they are all allowed or all denied, and settled together.

use quotagate::domain::metering::counter::CounterState;
use quotagate::store::metering::admission::Owner;
use quotagate::store::metering::reserve::ReserveReply;
use quotagate::store::reporting::stream::Stream;

use crate::table::{ALL, BELIEF, DAY_1, DAY_2, How, NOON, Table, counted, harmless, keyed, ms, settled, tally};

fn both(table: &Table, window: &str, user: (u64, u64), team: (u64, u64)) -> [Owner; 2] {
    [table.owner("u", &[("own", window, user.0, user.1)]), table.owner("team", &[("shared", window, team.0, team.1)])]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owners_hold_together_or_not_at_all() {
    let table = Table::new().await;
    table.hold_of(60_000, &both(&table, DAY_1, (2, 10), (2, 5))).await;
    let before = table.dump().await;
    for (user, team, lacks) in
        [((9, 10), (1, 5), [true, false]), ((1, 10), (4, 5), [false, true]), ((9, 10), (4, 5), [true, true])]
    {
        match table.reserve_as(&harmless(), BELIEF, 60_000, &both(&table, DAY_1, user, team)).await {
            ReserveReply::Denied(_, denied) => {
                assert_eq!(denied.states, lacks.map(|over_limit| CounterState { over_limit, ..tally(0, 2) }));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(table.dump().await, before, "a denied call changes nothing of either owner");
    }
    match table.reserve_as(&harmless(), BELIEF, 60_000, &both(&table, DAY_1, (8, 10), (3, 5))).await {
        ReserveReply::Held { states, .. } => assert_eq!(states, [tally(0, 10), tally(0, 5)]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_release_refund_and_extend_settle_both_owners() {
    let table = Table::new().await;
    let stands = async || (table.stands_of("u", "own", DAY_1).await, table.stands_of("team", "shared", DAY_1).await);
    let id = table.hold_of(60_000, &both(&table, DAY_1, (4, 100), (6, 100))).await;
    table.extend(&id, 120_000, 0, &both(&table, DAY_1, (1, 100), (1, 100))).await;
    assert_eq!(stands().await, ((0, 5), (0, 7)));
    let draw = How { is_final: false, changes: 1, figures: &[("own", 2), ("shared", 3)], ..ALL };
    settled(table.commit_as(&counted(), &id, draw).await);
    assert_eq!(stands().await, ((2, 3), (3, 4)));
    let settlement = settled(
        table.commit_as(&harmless(), &id, How { changes: 2, figures: &[("own", 9), ("shared", 3)], ..ALL }).await,
    );
    assert_eq!(settlement.accounts.iter().map(|account| account.state).collect::<Vec<_>>(), [tally(9, 0), tally(3, 0)]);
    assert_eq!(stands().await, ((9, 0), (3, 0)));
    settled(table.refund(&id, &[("own", 5), ("shared", 1)]).await);
    assert_eq!(stands().await, ((4, 0), (2, 0)));
    let id = table.hold_of(60_000, &both(&table, DAY_1, (4, 100), (6, 100))).await;
    settled(table.release(&id).await);
    assert_eq!(stands().await, ((4, 0), (2, 0)));
    for name in ["u", "team"] {
        assert_eq!(table.redis.run::<u64>(&["ZCARD", &table.owner(name, &[]).keys.holds()]).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_owner_reclaims_its_own_and_turns_its_own_windows() {
    let table = Table::new().await;
    let id = table.hold_of(1000, &both(&table, DAY_1, (4, 5), (6, 7))).await;
    table.clock(ms(NOON) + 1000).await;
    match table.reserve_as(&harmless(), BELIEF, 60_000, &both(&table, DAY_1, (5, 5), (7, 7))).await {
        ReserveReply::Held { ran, states, .. } => {
            assert_eq!((ran.reclaimed, states), (2, vec![tally(0, 5), tally(0, 7)]));
        }
        other => panic!("{other:?}"),
    }
    table.at("2027-02-01T00:00:00Z").await;
    table.clock(ms(NOON) + 2000).await;
    assert!(settled(table.commit(&id).await).late);
    assert_eq!(table.stands_of("team", "shared", DAY_1).await, (6, 7));
    // Only the user's window ends; the team's is still current.
    table.at("2027-02-01T00:00:00Z").await;
    let mixed = [table.owner("u", &[("own", DAY_2, 1, 5)]), table.owner("team", &[("other", DAY_2, 1, 5)])];
    table.hold_of(60_000, &mixed).await;
    assert_eq!(table.stands_of("u", "own", DAY_2).await, (0, 1));
    assert_eq!(table.stands_of("team", "shared", DAY_1).await, (6, 0));
}

/// Reclaims expired holds until none is left.
async fn reclaim_all(table: &Table, name: &str) {
    while table.store.reclaim(&table.bucket, &table.owner(name, &[]).keys, false).await.unwrap().1 {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_reservation_has_separate_holds_from_expired_ones_not_yet_reclaimed() {
    let table = Table::new().await;
    let operation = keyed("k", "x");
    let own = both(&table, DAY_1, (1, 100), (1, 1000));
    assert!(matches!(table.reserve_as(&operation, BELIEF, 1000, &own).await, ReserveReply::Held { .. }));
    // More of the team's holds than fit in two batches expire before it.
    for _ in 0..150 {
        table.hold_of(500, &[table.owner("team", &[("shared", DAY_1, 1, 1000)])]).await;
    }
    // Its record has expired after the grace period, while its holds are not reclaimed yet.
    table.clock(ms(NOON) + 1000 + 15 * 60_000).await;
    table.redis.run::<()>(&["DEL", &table.bucket.operation(&operation.name)]).await;
    assert!(matches!(table.reserve_as(&operation, BELIEF, 1000, &own).await, ReserveReply::Held { .. }));
    table.clock(ms(NOON) + 2000 + 15 * 60_000).await;
    for name in ["u", "team"] {
        reclaim_all(&table, name).await;
    }
    assert_eq!(table.stands_of("u", "own", DAY_1).await, (0, 0));
    assert_eq!(table.stands_of("team", "shared", DAY_1).await, (0, 0), "nothing of either life is left");
    let reported = table.store.entries_before(&table.bucket, Stream::Ledger, None, 1000).await.unwrap();
    assert_eq!(reported.entries.len(), 152, "each expiry is reported once, whatever the other owners");
}

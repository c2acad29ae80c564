//! Values that scripts cache between calls: nothing of one call appears in another.

use quotagate::domain::metering::counter::CounterState;
use quotagate::store::metering::reserve::ReserveReply;

use crate::table::{BELIEF, DAY_1, Table, amount, full, harmless, settled, tally};

/// Multiplied, more groups than are cached by their terms (4,000, see lua/lib/terms.lua).
const TERMS: u64 = 90;
const GROUPS_OF_TERMS: usize = 50;
const GROUPS: usize = 10_000 + 500;

async fn tallies(table: &Table, name: &str, limit: u64) -> Result<CounterState, CounterState> {
    let owners = [table.owner(name, &[("a", DAY_1, 1, limit)])];
    match table.reserve_as(&harmless(), BELIEF, 60_000, &owners).await {
        ReserveReply::Held { states, .. } => Ok(states[0]),
        ReserveReply::Denied(_, denied) => Err(denied.states[0]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owners_under_the_same_terms_in_one_call_have_each_their_own_counters() {
    let table = Table::new().await;
    let both = |u, team| [table.owner("u", &[("a", DAY_1, u, 9)]), table.owner("team", &[("a", DAY_1, team, 9)])];
    for _ in 0..2 {
        let id = table.hold_of(60_000, &both(1, 3)).await;
        let settlement = settled(table.commit(&id).await);
        let used: Vec<_> = settlement.accounts.iter().map(|account| account.state.used.steps()).collect();
        assert_eq!(used[1], 3 * used[0]);
    }
    assert_eq!(table.stands_of("u", "a", DAY_1).await, (2, 0));
    assert_eq!(table.stands_of("team", "a", DAY_1).await, (6, 0));
    match table.reserve_as(&harmless(), BELIEF, 60_000, &both(7, 4)).await {
        ReserveReply::Denied(_, denied) => assert_eq!(denied.states, [tally(2, 0), full(6, 0)]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_and_missing_data_of_one_user_do_not_appear_for_the_next() {
    let table = Table::new().await;
    let granted = CounterState { granted: amount(5), ..tally(0, 1) };
    for (name, grants) in [("u", "g:5:*:*"), ("v", "")] {
        let counters = table.owner(name, &[]).keys.account;
        if !grants.is_empty() {
            table
                .redis
                .run::<()>(&["HSET", &counters, "a.grants", grants, ".account", "v0 expiry=0 ttl=0 flags=g"])
                .await;
        }
    }
    for _ in 0..2 {
        assert_eq!(tallies(&table, "v", 0).await, Err(full(0, 0)));
        assert_eq!(tallies(&table, "u", 0).await.map(|tally| tally.granted), Ok(amount(5)));
        assert_eq!(tallies(&table, "w", 0).await, Err(full(0, 0)), "whose window is not stored yet");
    }
    let of_u = table.hold(&[("a", DAY_1, 1, 0)]).await;
    let of_x = table.hold_of(60_000, &[table.owner("x", &[("a", DAY_1, 1, 9)])]).await;
    let reported = async |id| settled(table.commit(id).await).accounts[0].state;
    assert_eq!(reported(&of_u).await, CounterState { used: amount(1), ..CounterState { held: amount(2), ..granted } });
    assert_eq!(reported(&of_x).await, tally(1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_call_writes_and_returns_nothing_of_a_long_call_before_it() {
    let table = Table::new().await;
    let ids: Vec<_> = (0..12).map(|number| format!("g{number}")).collect();
    let long: Vec<_> = ids.iter().map(|id| (id.as_str(), DAY_1, 5, 9)).collect();
    let owner = table.owner("v", &[("a", DAY_1, 1, 9)]);
    for used in 1..=2_u64 {
        let of_u = table.hold(&long).await;
        let of_v = table.hold_of(60_000, std::slice::from_ref(&owner)).await;
        let record: String = table.redis.run(&["GET", &table.bucket.operation(&of_v.name)]).await;
        assert_eq!(record.lines().last(), Some("user:v a:1:1"));
        let members: Vec<String> = table.redis.run(&["ZRANGE", &owner.keys.holds(), "0", "-1"]).await;
        assert!(members.len() == 1 && members[0].contains(" a:1:1 "), "{members:?}");
        assert_eq!(settled(table.release(&of_u).await).accounts.len(), 12);
        let of_v = settled(table.commit(&of_v).await).accounts;
        assert!(of_v.len() == 1 && of_v[0].state == tally(used, 0), "{of_v:?}");
        let mut fields: Vec<String> = table.redis.run(&["HKEYS", &owner.keys.account]).await;
        fields.sort();
        assert_eq!(fields, [".account", "a"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_terms_and_groups_than_are_known_at_a_time_are_decided_alike() {
    let table = Table::new().await;
    for limit in 1..=TERMS {
        let ids: Vec<_> = (0..GROUPS_OF_TERMS).map(|number| format!("t{number}")).collect();
        let asks = |asked| ids.iter().map(|id| (id.as_str(), DAY_1, asked, limit)).collect::<Vec<_>>();
        assert!(matches!(table.reserve(&asks(limit + 1)).await, ReserveReply::Denied(..)), "{limit}");
        let id = table.hold(&asks(limit)).await;
        settled(table.release(&id).await);
    }
    let ids: Vec<_> = (0..GROUPS).map(|number| format!("g{number}")).collect();
    for ids in ids.chunks(500).chain([&ids[..500]]) {
        let asks: Vec<_> = ids.iter().map(|id| (id.as_str(), DAY_1, 1, 9)).collect();
        let id = table.hold(&asks).await;
        assert_eq!(settled(table.commit(&id).await).accounts.len(), 500);
    }
    for (id, used) in [("g0", 2), ("g499", 2), ("g500", 1), ("g10499", 1)] {
        assert_eq!(table.stands(id, DAY_1).await, (used, 0), "{id}");
    }
}

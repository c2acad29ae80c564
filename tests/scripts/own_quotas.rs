//! Own quotas: scripts see them where the owner's counters are, and groups that only observe never deny.

use quotagate::domain::access::audit::AuditEntry;
use quotagate::domain::metering::counter::CounterState;
use quotagate::domain::values::amount::{Amount, Unit};
use quotagate::domain::values::ids::{GroupId, UserId};
use quotagate::store::accounts::limits::{LimitArgs, LimitReply, OwnQuota};
use quotagate::store::metering::admission::Owner;
use quotagate::store::metering::operation::Operation;
use quotagate::store::metering::reserve::ReserveReply;
use quotagate::store::metering::track::TrackReply;
use quotagate::store::reporting::stream::Stream;

use crate::table::{ALL, BELIEF, Belief, DAY_1, DAY_2, NOON, Table, counted, harmless, keyed, ms, settled, tally};

const LATER: &str = "2027-01-31T13:00:00Z";

async fn version(table: &Table) -> String {
    table.counters().await.get("version").cloned().unwrap_or_else(|| "0".to_owned())
}

/// Sets the quota of `u` in the group `g`; without one, removes it.
async fn limit(table: &Table, operation: &Operation, own: Option<(Option<u64>, Option<&str>)>) -> LimitReply {
    let (version, user) = (version(table).await, UserId::parse("u").unwrap());
    let group = GroupId::parse("g").unwrap();
    let own = own.map(|(quota, until)| OwnQuota {
        group: group.clone(),
        quota: quota.map(|steps| Amount::from_steps(steps).unwrap()),
        until_ms: until.map(ms),
        note: Some("a, b".to_owned()),
    });
    let args = LimitArgs {
        bucket: &table.bucket,
        operation,
        facts: table.facts(&Belief { version: &version, ..BELIEF }),
        owner: &table.owner("u", &[]),
        user: Some(&user),
        group: &group,
        quota: own.as_ref().map(|own| (own, Unit::Count)),
        audit_entry: &AuditEntry::default(),
        answer: "answer",
    };
    table.store.limit(args).await.unwrap()
}

async fn set(table: &Table, quota: Option<u64>, until: Option<&str>) {
    assert!(matches!(limit(table, &harmless(), Some((quota, until))).await, LimitReply::Limited(_)));
}

/// Reserves 1 of `g`, whose own limit is 2, with `other` next to it. Returns the state of `g` if it is allowed.
async fn reserve(table: &Table, window: &str) -> Result<CounterState, CounterState> {
    let version = version(table).await;
    let owner = [table.owner("u", &[("g", window, 1, 2), ("other", window, 1, 1_000)])];
    match table.reserve_as(&harmless(), Belief { version: &version, ..BELIEF }, 7_200_000, &owner).await {
        ReserveReply::Held { states, .. } => Ok(states[0]),
        ReserveReply::Denied(_, denied) => {
            assert!(!denied.states[1].over_limit && denied.states[1].quota.is_none());
            Err(denied.states[0])
        }
        other => panic!("{other:?}"),
    }
}

fn own(state: CounterState, quota: Option<u64>) -> CounterState {
    CounterState { quota: Some(quota.map(|steps| Amount::from_steps(steps).unwrap())), ..state }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_quota_replaces_that_of_the_group_from_the_next_call_until_it_ends_or_is_removed() {
    let table = Table::new().await;
    assert_eq!(reserve(&table, DAY_1).await, Ok(tally(0, 1)));
    assert_eq!(reserve(&table, DAY_1).await, Ok(tally(0, 2)));
    let denying = |used, held| CounterState { over_limit: true, ..tally(used, held) };
    assert_eq!(reserve(&table, DAY_1).await, Err(denying(0, 2)));
    set(&table, Some(3), None).await;
    assert_eq!(reserve(&table, DAY_1).await, Ok(own(tally(0, 3), Some(3))));
    assert_eq!(reserve(&table, DAY_1).await, Err(own(denying(0, 3), Some(3))));
    // Below what is used already, at 0, and without limit.
    set(&table, Some(1), None).await;
    assert_eq!(reserve(&table, DAY_1).await, Err(own(denying(0, 3), Some(1))));
    set(&table, Some(0), None).await;
    assert_eq!(reserve(&table, DAY_1).await, Err(own(denying(0, 3), Some(0))));
    set(&table, None, Some(LATER)).await;
    assert_eq!(reserve(&table, DAY_1).await, Ok(own(tally(0, 4), None)));
    // It ends by itself, at that instant, and the group's quota applies.
    table.clock(ms(LATER) - 1).await;
    assert!(reserve(&table, DAY_1).await.is_ok());
    table.at(LATER).await;
    assert_eq!(reserve(&table, DAY_1).await.map_err(|state| state.quota), Err(None));
    assert!(matches!(limit(&table, &harmless(), None).await, LimitReply::Missing), "it has ended");
    // The next one stays over windows, until it is removed.
    set(&table, Some(5), None).await;
    table.at("2027-02-01T00:00:00Z").await;
    assert_eq!(reserve(&table, DAY_2).await, Ok(own(tally(0, 1), Some(5))));
    assert!(matches!(limit(&table, &harmless(), None).await, LimitReply::Limited(_)));
    assert_eq!(reserve(&table, DAY_2).await, Ok(tally(0, 2)));
    let account: Vec<String> = table.redis.run(&["HKEYS", &table.owner("u", &[]).keys.account]).await;
    assert!(!account.iter().any(|field| field == ".quotas"), "{account:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_contain_the_own_quota_so_settling_and_the_ledger_follow_from_it() {
    let table = Table::new().await;
    set(&table, Some(4), None).await;
    let id = {
        let version = version(&table).await;
        let operation = harmless();
        let owner = [table.owner("u", &[("g", DAY_1, 3, 2)])];
        let reply = table.reserve_as(&operation, Belief { version: &version, ..BELIEF }, 60_000, &owner).await;
        let ReserveReply::Held { ran, .. } = reply else { panic!("{reply:?}") };
        quotagate::domain::metering::reservation::ReservationId {
            name: operation.name,
            created_at_ms: ran.now_ms,
            bucket: table.bucket.number(),
        }
    };
    assert!(table.counters().await["g.window"].contains("4 "), "{:?}", table.counters().await);
    // The limit changes between reserve and commit.
    set(&table, Some(2), None).await;
    let settled = settled(table.commit_as(&harmless(), &id, ALL).await);
    assert_eq!(settled.accounts[0].state, own(tally(3, 0), Some(2)));
    let entries = table.store.entries_before(&table.bucket, Stream::Ledger, None, 9).await.unwrap().entries;
    assert_eq!(entries[0].entry.charges[0].limit.map(Amount::steps), Some(4), "as of the last admission");
    // A track counts beyond it, and takes the limit from it.
    match table.track_as(&counted(), BELIEF, (false, false), &[("g", DAY_1, 5, 9_000_000)]).await {
        TrackReply::Stale(..) => {}
        other => panic!("the user's state has a version now: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_set_once_per_idempotency_key_and_missing_if_there_is_none() {
    let table = Table::new().await;
    let some = Some((Some(3), None));
    assert!(matches!(limit(&table, &keyed("a", "x"), None).await, LimitReply::Missing));
    assert!(matches!(limit(&table, &keyed("k", "x"), some).await, LimitReply::Limited(_)));
    assert!(matches!(limit(&table, &keyed("k", "y"), some).await, LimitReply::Reused));
    assert!(matches!(limit(&table, &harmless(), None).await, LimitReply::Limited(_)));
    match limit(&table, &keyed("k", "x"), some).await {
        LimitReply::Before(first) => assert_eq!(first, "answer"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(limit(&table, &harmless(), None).await, LimitReply::Missing), "a repetition sets nothing");
    table.store.stamp(&table.bucket, BELIEF.revision + 1).await.unwrap();
    assert!(matches!(limit(&table, &harmless(), some).await, LimitReply::Stale(..)));
}

fn observing(table: &Table, amount: u64, quota: u64) -> Owner {
    let mut owner = table.owner("u", &[("g", DAY_1, amount, 9_000_000)]);
    for group in &mut owner.groups {
        (group.quota, group.observes, group.is_hard) = (Some(Amount::from_steps(quota).unwrap()), true, false);
    }
    owner
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_observes_marks_what_it_would_have_denied_and_writes_it_once() {
    let table = Table::new().await;
    let reserve = async |operation: &Operation, amount: u64| match table
        .reserve_as(operation, BELIEF, 60_000, &[observing(&table, amount, 3)])
        .await
    {
        ReserveReply::Held { states, .. } => Some(states[0]),
        ReserveReply::HeldBefore(_) => None,
        other => panic!("{other:?}"),
    };
    let marked = |held| CounterState { observed: true, ..tally(0, held) };
    assert_eq!(reserve(&harmless(), 3).await, Some(tally(0, 3)));
    assert_eq!(reserve(&keyed("k", "x"), 1).await, Some(marked(4)));
    assert_eq!(reserve(&keyed("k", "x"), 1).await, None);
    let denials = table.store.entries_before(&table.bucket, Stream::Denials, None, 9).await.unwrap().entries;
    assert_eq!(denials.len(), 1, "a repetition observes nothing");
    let entry = &denials[0].entry;
    assert_eq!((entry.observed, entry.denying.len()), (true, 1));
    let counter = &entry.denying[0];
    assert_eq!(
        (counter.observed, counter.requested.steps(), counter.count.steps(), counter.limit.steps()),
        (true, 1, 3, 3)
    );
    // Once the holds have expired, nothing is observed.
    table.clock(ms(NOON) + 60_000).await;
    assert_eq!(reserve(&harmless(), 3).await, Some(tally(0, 3)));
    let quota = Some((Some(9), None));
    assert!(matches!(limit(&table, &harmless(), quota).await, LimitReply::Limited(_)));
    let version = version(&table).await;
    let belief = Belief { version: &version, ..BELIEF };
    match table.reserve_as(&harmless(), belief, 60_000, &[observing(&table, 6, 3)]).await {
        ReserveReply::Held { states, .. } => assert_eq!(states[0], own(tally(0, 9), Some(9)), "its own quota counts"),
        other => panic!("{other:?}"),
    }
}

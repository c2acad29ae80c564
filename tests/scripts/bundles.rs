//! Calls that reach Redis as one command, see src/store/client/bundles.rs.

use std::time::Duration;

use futures::future::join_all;
use quotagate::store::error::StoreError;
use quotagate::store::metering::reserve::ReserveReply;

use crate::support::cluster::Cluster;
use crate::table::{ALL, BELIEF, DAY_1, Table, counted, harmless, keyed, settled};

const ONE_OF_9: [(&str, &str, u64, u64); 1] = [("a", DAY_1, 1, 9)];

/// One thread, so that calls which begin together are in one bundle.
#[tokio::test]
async fn calls_in_a_bundle_are_decided_one_after_the_other_at_one_time() {
    let table = Table::live().await;
    let id = table.hold(&ONE_OF_9).await;
    table.release(&id).await;
    table.commands().await;

    let replies = join_all((0..20).map(|_| table.reserve(&ONE_OF_9))).await;

    let held = replies.iter().map(|reply| matches!(reply, ReserveReply::Held { .. }));
    assert!(held.eq((0..20).map(|place| place < 9)), "{replies:?}");
    let ran = table.commands().await;
    assert_eq!((ran["fcall"], ran["time"], ran["get"], ran["set"]), (1, 1, 1, 9), "{ran:?}");
    assert_eq!(table.stands("a", DAY_1).await, (0, 9));
}

#[tokio::test]
async fn a_bundle_has_at_most_32_calls_of_one_function() {
    let table = Table::live().await;
    let groups = [("a", DAY_1, 1, 1000)];
    let ids = join_all((0..65).map(|_| table.hold(&groups))).await;
    table.commands().await;
    let (commits, releases) = ids.split_at(33);
    let both = tokio::join!(
        join_all(commits.iter().map(|id| table.commit(id))),
        join_all(releases.iter().map(|id| table.release(id))),
    );
    for (replies, status) in [(both.0, "committed"), (both.1, "released")] {
        for reply in replies {
            assert_eq!(settled(reply).status, status);
        }
    }
    assert_eq!(table.commands().await["fcall"], 3);
    assert_eq!(table.stands("a", DAY_1).await, (33, 0));
}

/// The second one repeats the first.
#[tokio::test]
async fn a_bundle_may_contain_one_operation_twice() {
    let table = Table::live().await;
    let id = table.hold(&ONE_OF_9).await;
    let (one, other) = tokio::join!(table.commit(&id), table.commit(&id));
    assert_eq!((settled(one).replayed, settled(other).replayed), (false, true));
    let key = keyed("key", "{}");
    let owners = [table.owner("u", &ONE_OF_9)];
    let (one, other) =
        tokio::join!(table.reserve_as(&key, BELIEF, 60_000, &owners), table.reserve_as(&key, BELIEF, 60_000, &owners));
    assert!(matches!(one, ReserveReply::Held { .. }), "{one:?}");
    assert!(matches!(other, ReserveReply::HeldBefore(_)), "{other:?}");
    let both = [counted(), counted()];
    join_all(both.iter().map(|operation| table.track_as(operation, BELIEF, (false, false), &ONE_OF_9))).await;
    assert_eq!(table.stands("a", DAY_1).await, (3, 1));
}

#[tokio::test]
async fn an_error_ends_only_its_own_call() {
    let table = Table::live().await;
    let broken = table.owner("broken", &ONE_OF_9);
    table.redis.run::<()>(&["SET", &broken.keys.account, "no hash"]).await;
    let names = ["u", "broken", "w"];
    let operations = names.map(|_| harmless());

    let calls = names.iter().zip(&operations).map(async |(name, operation)| {
        table.try_reserve(operation, BELIEF, 60_000, &[table.owner(name, &ONE_OF_9)]).await
    });
    let replies = join_all(calls).await;

    let [Ok(ReserveReply::Held { .. }), Err(StoreError::Unavailable(error)), Ok(ReserveReply::Held { .. })] =
        &replies[..]
    else {
        panic!("{replies:?}")
    };
    assert!(error.contains("WRONGTYPE"), "{error}");
    assert_eq!(table.stands_of("w", "a", DAY_1).await, (0, 1));
    // What the broken call left behind does not concern the next one.
    table.hold(&ONE_OF_9).await;
    assert_eq!(table.stands("a", DAY_1).await, (0, 2));
}

#[tokio::test]
async fn each_call_of_a_bundle_survives_a_flushed_library() {
    let table = Table::live().await;
    table.hold(&ONE_OF_9).await;
    table.redis.run::<()>(&["FUNCTION", "FLUSH"]).await;
    for reply in join_all((0..8).map(|_| table.reserve(&ONE_OF_9))).await {
        assert!(matches!(reply, ReserveReply::Held { .. }), "{reply:?}");
    }
    assert_eq!(table.stands("a", DAY_1).await, (0, 9));
}

/// Neither master has all keys, so neither decides anything, also not the calls whose keys it has.
#[tokio::test]
async fn a_bundle_in_a_slot_that_is_moved_in_part_changes_nothing() {
    const MASTERS: usize = 2;
    let cluster = Cluster::start(MASTERS, false).await;
    let table = Table::in_cluster(&cluster, Duration::from_millis(500)).await;
    let names = ["u", "v"];
    let owners = names.map(|name| [table.owner(name, &ONE_OF_9)]);
    let ids = join_all(owners.iter().map(|owner| table.hold_of(600_000, owner))).await;
    let moving = cluster.begin_to_move(&table.bucket.clock(), MASTERS).await;
    let of_u = [table.bucket.operation(&ids[0].name), owners[0][0].keys.account.clone()];
    cluster.move_keys(&moving, &of_u).await;

    let commits = || ids.iter().map(async |id| table.try_commit(&harmless(), id, ALL).await);
    for reply in join_all(commits()).await {
        assert!(matches!(reply, Err(StoreError::Unavailable(_))), "{reply:?}");
    }

    cluster.end_move(&moving, async || {}).await;
    for (name, reply) in names.iter().zip(join_all(commits()).await) {
        assert!(!settled(reply.unwrap()).replayed, "{name}");
        assert_eq!(table.stands_of(name, "a", DAY_1).await, (1, 0));
    }
}

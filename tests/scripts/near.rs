//! The list of counters near their limits is bounded.

use quotagate::domain::configuration::scope::OwnerName;
use quotagate::domain::values::ids::{GroupId, UserId};
use quotagate::store::reporting::near::NearCounter;

use crate::table::{NOON, Table, group, ms};

fn user(name: &str) -> OwnerName {
    OwnerName::of_user(&UserId::parse(name).unwrap())
}

/// Names with their shares, the fullest first.
async fn known(table: &Table) -> Vec<(String, u64)> {
    let near = table.store.near(&table.bucket).await.unwrap();
    near.into_iter().map(|near| (near.owner.user().unwrap().to_owned(), near.share)).collect()
}

/// `counters`: users with their shares and the ends of their windows.
async fn note(table: &Table, counters: &[(&str, u64, Option<i64>)]) -> Vec<(String, u64)> {
    let (owners, g): (Vec<OwnerName>, GroupId) = (counters.iter().map(|(name, ..)| user(name)).collect(), group("g"));
    let near: Vec<NearCounter> = owners
        .iter()
        .zip(counters)
        .map(|(owner, (_, share, ends_at_ms))| NearCounter {
            name: (owner, &g),
            share: *share,
            ends_at_ms: *ends_at_ms,
        })
        .collect();
    table.store.record_near(&table.bucket, 2, &near).await.unwrap();
    known(table).await
}

async fn drop_near(table: &Table, names: &[&str]) -> Vec<(String, u64)> {
    let (owners, g): (Vec<OwnerName>, GroupId) = (names.iter().map(|name| user(name)).collect(), group("g"));
    let names: Vec<_> = owners.iter().map(|owner| (owner, &g)).collect();
    let recorded = table.store.recorded_near(&table.bucket).await.unwrap();
    table.store.drop_near(&table.bucket, &recorded, &names).await.unwrap();
    known(table).await
}

fn named(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_with_room_is_dropped_from_a_short_and_from_a_long_list() {
    for count in [3, 400] {
        let table = Table::new().await;
        let names: Vec<String> = (0..count).map(|number| format!("u{number}")).collect();
        let (owners, g): (Vec<OwnerName>, GroupId) = (names.iter().map(|name| user(name)).collect(), group("g"));
        let near = |owner| NearCounter { name: (owner, &g), share: 800, ends_at_ms: None };
        let near: Vec<NearCounter<'_>> = owners.iter().map(near).collect();
        table.store.record_near(&table.bucket, 1_000, &near).await.unwrap();
        for name in [&names[1], &names[count - 1]] {
            let left = drop_near(&table, &["other", name]).await;
            assert!(!left.is_empty() && left.iter().all(|(left, _)| left != name), "{name} of {count}");
        }
        assert_eq!(known(&table).await.len(), count - 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_counters_and_the_fullest_near_ones_are_listed_until_their_windows_end() {
    let table = Table::new().await;
    let (soon, later) = (Some(ms(NOON) + 1_000), Some(ms(NOON) + 2_000));
    let full = [("a", 1000, soon), ("b", 1500, soon), ("c", 1200, soon)];
    assert_eq!(note(&table, &full).await, named(&[("b", 1500), ("c", 1200)]));
    let near = [("d", 800, later), ("e", 999, later), ("f", 750, later)];
    assert_eq!(note(&table, &near).await, named(&[("b", 1500), ("c", 1200), ("e", 999), ("d", 800)]));
    // One counter has capacity again, one was not listed, and one is full now.
    assert_eq!(drop_near(&table, &["b", "unknown"]).await, named(&[("c", 1200), ("e", 999), ("d", 800)]));
    assert_eq!(note(&table, &[("e", 1001, later)]).await, named(&[("c", 1200), ("e", 1001), ("d", 800)]));
    let odd = "user: {of} %";
    assert_eq!(note(&table, &[(odd, 2000, None)]).await, named(&[(odd, 2000), ("c", 1200), ("d", 800)]));
    table.clock(ms(NOON) + 999).await;
    assert_eq!(note(&table, &[]).await, named(&[(odd, 2000), ("c", 1200), ("d", 800)]));
    // The window of one counter had ended before it was recorded.
    table.clock(ms(NOON) + 1_000).await;
    assert_eq!(note(&table, &[("late", 1000, soon)]).await, named(&[(odd, 2000), ("d", 800)]));
    table.clock(ms(NOON) + 2_000).await;
    assert_eq!(note(&table, &[]).await, named(&[(odd, 2000)]));
    assert_eq!(drop_near(&table, &[odd]).await, named(&[]));
    for key in [table.bucket.near(), table.bucket.near_ends()] {
        assert!(!table.redis.run::<bool>(&["EXISTS", &key]).await, "{key}");
    }
}

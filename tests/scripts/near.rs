//! What is known of counters near their limits stays bounded.

use quotagate::domain::ids::{GroupId, UserId};
use quotagate::domain::scope::OwnerName;
use quotagate::store::near::Noted;

use crate::table::Table;

fn counter(user: &str, share: Option<u64>, ends_at_ms: Option<i64>) -> Noted {
    let owner = OwnerName::of_user(&UserId::parse(user).unwrap());
    Noted { owner, group: GroupId::parse("g").unwrap(), share, ends_at_ms }
}

/// Names with their shares, the fullest first.
async fn known(table: &Table) -> Vec<(String, u64)> {
    let near = table.store.near(&table.bucket).await.unwrap();
    near.into_iter().map(|near| (near.owner.user().unwrap().to_owned(), near.share)).collect()
}

async fn note(table: &Table, now: i64, noted: &[Noted]) -> Vec<(String, u64)> {
    table.store.note_near(&table.bucket, now, 2, noted).await.unwrap();
    known(table).await
}

fn named(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_full_ones_and_of_those_near_the_fullest_stay_until_their_windows_end() {
    let table = Table::new().await;
    let end = Some(100);
    let full = [("a", 1000), ("b", 1500), ("c", 1200)].map(|(name, share)| counter(name, Some(share), end));
    assert_eq!(note(&table, 0, &full).await, named(&[("b", 1500), ("c", 1200)]));
    let near = [("d", 800), ("e", 999), ("f", 750)].map(|(name, share)| counter(name, Some(share), Some(200)));
    assert_eq!(note(&table, 0, &near).await, named(&[("b", 1500), ("c", 1200), ("e", 999), ("d", 800)]));
    // One that has room again, and one that is full now.
    let changed = [counter("b", None, end), counter("e", Some(1001), Some(200))];
    assert_eq!(note(&table, 0, &changed).await, named(&[("c", 1200), ("e", 1001), ("d", 800)]));
    let endless = [counter("user: {of} %", Some(2000), None)];
    assert_eq!(note(&table, 99, &endless).await, named(&[("user: {of} %", 2000), ("c", 1200), ("d", 800)]));
    assert_eq!(note(&table, 100, &[]).await, named(&[("user: {of} %", 2000), ("d", 800)]));
    assert_eq!(note(&table, 200, &[]).await, named(&[("user: {of} %", 2000)]));
    assert_eq!(note(&table, 200, &[counter("user: {of} %", None, None)]).await, named(&[]));
}

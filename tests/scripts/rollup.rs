//! A step of folding: its rows and the cursor change together or not at all, in whichever way they are written.

use quotagate::domain::reporting::entry_id::EntryId;
use quotagate::domain::reporting::rollup::{Count, Metrics, RowName, RowSet, RowValue};
use quotagate::domain::time::day::Day;
use quotagate::store::Store;
use quotagate::store::reporting::rollup::{RollupCursor, WrittenDay};
use quotagate::store::reporting::stream::{Place, Stream};

use crate::support::PATIENCE;
use crate::table::{BELIEF, DAY_1, Table, counted};

const ROW_SETS: [RowSet; 2] = [RowSet::Calls, RowSet::Users];
const TTL_S: i64 = 1_000;

fn place(row_set: RowSet) -> Place {
    Place { row_set, stream: Stream::Ledger, day: Day::parse("2027-01-31").unwrap() }
}

/// One row of each row set, with that many calls.
fn days(user: &str, calls: i64) -> Vec<WrittenDay> {
    let mut metrics = Metrics::default();
    metrics.count(Count::Calls, calls);
    let name = RowName { user: RowValue::of(Some(user)), ..RowName::default() };
    let day = |row_set| {
        let rows = vec![(name.within(row_set), metrics.clone()).into()];
        WrittenDay { place: place(row_set), ttl_s: TTL_S, rows }
    };
    ROW_SETS.map(day).into()
}

/// A node that folds the bucket of a table.
struct Node {
    table: Table,
    store: Store,
    /// Redis forgets the library before each step.
    forgets: bool,
}

impl Node {
    /// Adds an entry to the ledger; returns the cursor after it.
    async fn next(&self, folded: u64) -> RollupCursor {
        let table = &self.table;
        table.track_as(&counted(), BELIEF, (false, false), &[("g", DAY_1, 1, 10_000)]).await;
        let id = table.store.stream_info(&table.bucket, Stream::Ledger).await.unwrap().last;
        RollupCursor { id, folded, rebuilt: 0 }
    }

    async fn step(&self, before: Option<RollupCursor>, after: RollupCursor, days: &[WrittenDay]) -> bool {
        if self.forgets {
            self.table.redis.run::<()>(&["FUNCTION", "FLUSH"]).await;
        }
        self.store.roll_up(&self.table.bucket, Stream::Ledger, before, after, days).await.unwrap()
    }

    /// Users with their calls.
    async fn rows(&self) -> Vec<(String, i128)> {
        let rows = self.table.store.read_rollup(&self.table.bucket, place(RowSet::Users), None).await.unwrap();
        let row = |(name, metrics): (RowName, Metrics)| {
            (name.user.as_str().unwrap_or_default().to_owned(), metrics.get(Count::Calls))
        };
        let mut rows: Vec<_> = rows.into_iter().map(row).collect();
        rows.sort();
        rows
    }

    async fn folds_each_entry_once(&self) {
        let (table, rows) = (&self.table, |rows: &[(&str, i128)]| -> Vec<(String, i128)> {
            rows.iter().map(|(user, calls)| ((*user).to_owned(), *calls)).collect()
        });
        let first = self.next(1).await;
        assert!(self.step(None, first, &days("u", 1)).await);
        assert_eq!(self.rows().await, rows(&[("u", 1)]));
        // A node that read the cursor before is too late.
        let second = self.next(2).await;
        assert!(!self.step(None, second, &days("u", 9)).await);
        assert_eq!(self.rows().await, rows(&[("u", 1)]));
        assert!(self.step(Some(first), second, &days("v", 2)).await);
        assert_eq!(self.rows().await, rows(&[("u", 1), ("v", 2)]));
        // The entries were deleted, and other entries came.
        let gone = RollupCursor { id: EntryId { number: 99, ..second.id }, ..second };
        assert!(!self.step(Some(second), gone, &days("w", 1)).await);
        assert_eq!(self.rows().await, rows(&[("u", 1), ("v", 2)]));
        // Entries that change no row.
        let third = self.next(3).await;
        assert!(self.step(Some(second), third, &[]).await);
        assert_eq!(table.store.rollup_cursor(&table.bucket, Stream::Ledger).await.unwrap(), Some(third));
        for row_set in ROW_SETS {
            let ttl_s: i64 = table.redis.run(&["TTL", &table.bucket.rollup(place(row_set))]).await;
            assert!((1..=TTL_S).contains(&ttl_s), "{ttl_s}");
            assert!(!table.redis.run::<bool>(&["EXISTS", &table.bucket.rollup_aside(place(row_set))]).await);
        }
    }

    /// Whether Redis has executed a transaction.
    async fn has_executed(&self) -> bool {
        let stats: String = self.table.redis.run(&["INFO", "commandstats"]).await;
        stats.lines().any(|line| line.starts_with("cmdstat_exec:") && !line.contains(":calls=0,"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_entry_is_folded_once_also_while_redis_forgets_the_library() {
    for forgets in [false, true] {
        let table = Table::new().await;
        let node = Node { store: table.store.clone(), table, forgets };
        node.folds_each_entry_once().await;
        assert!(node.has_executed().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_folds_each_entry_once() {
    let table = Table::new().await;
    table.redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let node = Node { store: table.store.clone(), table, forgets: false };
    node.folds_each_entry_once().await;
}

/// A store whose Redis user lacks a permission, such as `-del`.
async fn store_without(table: &Table, permission: &str) -> Store {
    let user = ["ACL", "SETUSER", "plain", "on", ">secret", "~*", "+@all", permission];
    table.redis.run::<()>(&user).await;
    let url = format!("redis+unix://{}?user=plain&pass=secret", table.redis.socket().display());
    Store::open(&url, PATIENCE).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_user_without_transactions_folds_each_entry_once() {
    let table = Table::new().await;
    let node = Node { store: store_without(&table, "-@transaction").await, table, forgets: false };
    node.folds_each_entry_once().await;
    assert!(!node.has_executed().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_transaction_cannot_end_serves_no_other_call() {
    let table = Table::new().await;
    let node = Node { store: store_without(&table, "-exec").await, table, forgets: false };
    node.folds_each_entry_once().await;
    assert!(!node.has_executed().await);
    let rows = node.store.read_rollup(&node.table.bucket, place(RowSet::Users), None).await.unwrap();
    assert_eq!(rows.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_stay_where_redis_permits_only_the_end_of_a_step() {
    let table = Table::new().await;
    let narrow = store_without(&table, "-unlink").await;
    let node = Node { store: table.store.clone(), table, forgets: false };
    let first = node.next(1).await;
    assert!(node.step(None, first, &days("u", 1)).await);
    let second = node.next(2).await;
    let bucket = &node.table.bucket;
    assert!(narrow.roll_up(bucket, Stream::Ledger, Some(first), second, &days("v", 2)).await.unwrap());
    assert_eq!(node.rows().await, [("u".to_owned(), 1), ("v".to_owned(), 2)]);
}

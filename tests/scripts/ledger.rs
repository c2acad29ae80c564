//! The size of the ledger's streams is bounded.

use quotagate::store::reporting::stream::Stream;

use crate::table::{BELIEF, DAY_1, Table, counted, harmless};

#[tokio::test]
async fn the_ledger_keeps_the_newest_entries_and_a_flood_of_denials_evicts_none_of_them() {
    let mut table = Table::new().await;
    table.store.ledger_entries = 1_000;
    for _ in 0..1_500 {
        table.track_as(&counted(), BELIEF, (false, false), &[("g", DAY_1, 1, 10_000)]).await;
    }
    let ledger = table.store.stream_info(&table.bucket, Stream::Ledger).await.unwrap();
    // Redis trims whole nodes, which have at most 100 entries.
    assert!((1_000..1_100).contains(&ledger.length) && !ledger.whole, "{ledger:?}");
    let newest = table.store.entries_before(&table.bucket, Stream::Ledger, None, 1).await.unwrap();
    assert_eq!(newest.entries[0].entry.charges[0].balance.steps(), 1_500);

    let flood = "for _ = 1, 100500 do redis.call('XADD', KEYS[1], '*', 'type', 'denial', 'at', '0') end";
    table.redis.run::<()>(&["EVAL", flood, "1", &table.bucket.denials()]).await;
    let owners = [table.owner("u", &[("g", DAY_1, 9, 5)])];
    table.reserve_as(&harmless(), BELIEF, 60_000, &owners).await;
    let denials = table.store.stream_info(&table.bucket, Stream::Denials).await.unwrap();
    assert!((100_000..100_200).contains(&denials.length), "{denials:?}");
    let after = table.store.stream_info(&table.bucket, Stream::Ledger).await.unwrap();
    assert_eq!(after, ledger);
}

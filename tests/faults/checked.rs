//! Tests the independent check itself: it must notice lost and duplicated calls.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use crate::outside::is_as_acknowledged;
use crate::stage::Stage;
use crate::support::Redis;
use crate::support::stored::tamper;
use crate::traffic::Traffic;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_lost_or_doubled_a_hold_lost_and_a_wrong_held_are_all_noticed() {
    let redis = Redis::start().await;
    let stage = Stage::set(redis.url(), 1).await;
    let traffic = Traffic::start(&stage).await;
    let book = traffic.stop("no fault").await;
    let (user, _) = book.users.iter().find(|(_, account)| account.charged > 0).unwrap();
    let account = format!("qg:{{default:live}}:account:user:{user}");
    let whole = "qg:{default:live}:account:app:default";
    let mut connection = redis.connect().await;
    for (key, group, (used, held)) in [
        (account.as_str(), "images", (1, 0)),
        (&account, "images", (0, 1)),
        (&account, "jobs", (1, 0)),
        (whole, "whole", (1, 0)),
    ] {
        for change in [1, -1] {
            tamper(&mut connection, key, group, used * change, held * change).await;
            let checked = AssertUnwindSafe(is_as_acknowledged(&redis.url(), &stage, &book)).catch_unwind().await;
            assert!(checked.is_err(), "{group} changed by {used} and {held} times {change} passes");
            tamper(&mut connection, key, group, -used * change, -held * change).await;
        }
    }
    is_as_acknowledged(&redis.url(), &stage, &book).await;
}

//! The outside check itself: what is lost or counted twice does not pass it.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use crate::outside::is_as_told;
use crate::stage::Stage;
use crate::support::Redis;
use crate::traffic::Traffic;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_lost_or_doubled_a_hold_lost_and_a_wrong_held_are_all_noticed() {
    let redis = Redis::start().await;
    let stage = Stage::set(redis.url(), 1).await;
    let traffic = Traffic::start(&stage).await;
    let book = traffic.stop("no fault").await;
    let (user, _) = book.users.iter().find(|(_, account)| account.charged > 0).unwrap();
    let counters = format!("qg:{{default:live}}:counters:user:{user}");
    let whole = "qg:{default:live}:counters:app:default";
    for (key, field) in [
        (counters.as_str(), "images.used"),
        (&counters, "images.held"),
        (&counters, "jobs.used"),
        (whole, "whole.used"),
    ] {
        for change in ["1", "-1"] {
            let back = if change == "1" { "-1" } else { "1" };
            redis.run::<i64>(&["HINCRBY", key, field, change]).await;
            let checked = AssertUnwindSafe(is_as_told(&redis.url(), &stage, &book)).catch_unwind().await;
            assert!(checked.is_err(), "{field} changed by {change} passes");
            redis.run::<i64>(&["HINCRBY", key, field, back]).await;
        }
    }
    is_as_told(&redis.url(), &stage, &book).await;
}

//! A Redis at its memory limit.

use serde_json::json;

use crate::outside::{Watch, is_as_acknowledged};
use crate::stage::Stage;
use crate::support::Redis;
use crate::support::stored::amounts;
use crate::traffic::Traffic;

const OPEN: u64 = 5;

async fn filled(times: usize) {
    let redis = Redis::with(&["--maxmemory-policy", "noeviction"]).await;
    let stage = Stage::set(redis.url(), 2).await;
    let (traffic, watch) = (Traffic::start(&stage).await, Watch::start(&redis.url()));
    let http = crate::support::http().build().unwrap();
    let node = stage.nodes.read().unwrap()[0].clone();
    let send = async |path: &str, body: serde_json::Value| {
        let request = http.post(format!("{node}/api/v1/{path}")).bearer_auth(&stage.key).json(&body);
        let response = request.send().await.unwrap();
        let after = response.headers().contains_key("retry-after");
        (response.status().as_u16(), after, response.json::<serde_json::Value>().await.unwrap())
    };
    for time in 0..times {
        let user = format!("full_{time}");
        let reserve = json!({"userId": user, "event": "image.render", "ttlSeconds": 900});
        let mut open = Vec::new();
        for _ in 0..OPEN {
            let (status, _, decision) = send("reserve", reserve.clone()).await;
            assert_eq!((status, &decision["allowed"]), (200, &json!(true)), "{decision}");
            open.push(decision["reservationId"].clone());
        }
        redis.run::<String>(&["CONFIG", "SET", "maxmemory", "1"]).await;
        let (status, retry_after, problem) = send("reserve", reserve.clone()).await;
        assert_eq!((status, retry_after, &problem["code"]), (503, true, &json!("store_unavailable")), "{problem}");
        // Spent amounts are still counted, and unspent ones are returned.
        for (place, id) in open.iter().enumerate() {
            let path = if place == 0 { "release" } else { "commit" };
            let (status, _, settled) = send(path, json!({"reservationId": id})).await;
            assert_eq!(status, 200, "{path}: {settled}");
        }
        let (status, _, tracked) = send("track", json!({"userId": user, "event": "job.run"})).await;
        assert_eq!(status, 200, "{tracked}");
        let account = format!("qg:{{default:live}}:account:user:{user}");
        let (used, _) = amounts(&mut redis.connect().await, &account, "images").await;
        assert_eq!(used, OPEN - 1);
        redis.run::<String>(&["CONFIG", "SET", "maxmemory", "0"]).await;
        traffic.goes_on(100).await;
    }
    let mut book = traffic.stop(&format!("Redis at its memory limit {times} times")).await;
    watch.stop().await;
    for time in 0..times {
        let account = book.of(&format!("full_{time}"));
        (account.charged, account.tracked, account.events) = (OPEN - 1, 1, OPEN);
    }
    is_as_acknowledged(&redis.url(), &stage, &book).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_refuses_reserves_and_still_settles() {
    filled(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_a_redis_full_100_times_refuses_reserves_and_still_settles() {
    filled(100).await;
}

//! A replica that does not acknowledge what callers wait for (`QUOTAGATE_WAIT_REPLICAS`).

use std::time::Instant;

use serde_json::{Value, json};

use crate::stage::{Build, Stage};
use crate::support::cluster::follows;
use crate::support::stored::amounts;
use crate::support::{Redis, eventually, free_port};

/// A master and a replica that follows it.
pub async fn replicated() -> (Redis, Redis) {
    let port = free_port().to_string();
    let master = Redis::with(&["--port", &port]).await;
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &port]).await;
    follows(&replica).await;
    (master, replica)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_replica_a_write_is_answered_503_and_its_repetition_finds_it_counted_once() {
    let (master, replica) = replicated().await;
    master.run::<()>(&["CONFIG", "SET", "maxmemory", "1gb"]).await;
    let stage = Stage::of(master.url(), 1, Build::that_waits().hasty()).await;
    let ready = || async {
        let node = stage.nodes.read().unwrap()[0].clone();
        reqwest_json(&format!("{node}/readyz")).await
    };
    assert_eq!(ready().await["warnings"], json!([]));
    let event = json!({"userId": "u", "event": "job.run", "quantity": 3});
    // At the gateway that waits. It may time out if the machine pauses for a moment, so the read is repeated.
    let used = async |wanted: u64| {
        eventually("the gateway says what is used", async || {
            let usage = stage.read("usage?userId=u&event=job.run").await;
            usage.is_some_and(|usage| usage["counters"][0]["used"] == wanted)
        })
        .await;
    };
    let taken = async |path: &str, key: &str, body: &Value| {
        eventually("the call is taken", async || stage.answer(path, key, body).await.status() == 200).await;
    };
    taken("track", "before", &event).await;

    // The replica keeps its connection and stops answering.
    replica.hang();
    for _ in 0..2 {
        let refused = stage.answer("track", "once", &event).await;
        assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (503, true));
        assert_eq!(refused.json::<Value>().await.unwrap()["code"], "store_unavailable");
        // Reads do not wait for replicas, so this one sees that the call counts.
        used(6).await;
    }
    let held = json!({"userId": "v", "event": "image.render"});
    assert_eq!(stage.answer("reserve", "held", &held).await.status(), 503);
    replica.wake();
    taken("track", "once", &event).await;
    let usage = stage.call("GET", "usage?userId=u&event=job.run", &Value::Null).await;
    assert_eq!(usage["counters"][0]["used"], 6, "counted once: {usage}");
    taken("reserve", "held", &held).await;
    let account = "qg:{default:live}:account:user:v";
    assert_eq!(
        amounts(&mut replica.connect().await, account, "images").await.1,
        1,
        "the replica has what was acknowledged"
    );

    drop(replica);
    eventually("the master has noticed", || async { ready().await["warnings"] != json!([]) }).await;
    let warnings = ready().await["warnings"].to_string();
    assert!(warnings.contains("0 replicas and every write waits for 1"), "{warnings}");
    assert_eq!(stage.answer("track", "alone", &event).await.status(), 503);
    let node = stage.nodes.read().unwrap()[0].clone();
    let http = crate::support::http().build().unwrap();
    let metrics = http.get(format!("{node}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("quotagate_unreplicated_calls_total{script=\"track\"}"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_waits_for_no_replica_answers_without_one() {
    let (master, replica) = replicated().await;
    let stage = Stage::set(master.url(), 1).await;
    replica.hang();
    let event = json!({"userId": "u", "event": "job.run"});
    assert_eq!(stage.answer("track", "once", &event).await.status(), 200);
    assert!(!master.run::<String>(&["INFO", "commandstats"]).await.contains("cmdstat_wait"));
    replica.wake();
}

/// Calls per second for this many callers, which make this many calls together.
async fn rate(stage: &Stage, callers: usize, calls: usize) -> f64 {
    let url = format!("{}/api/v1/track", stage.nodes.read().unwrap()[0]);
    let http = crate::support::http().build().unwrap();
    let began = Instant::now();
    let caller = async |number: usize| {
        let event = json!({"userId": format!("u{number}"), "event": "job.run"});
        for _ in 0..calls / callers {
            let answer = http.post(&url).bearer_auth(&stage.key).json(&event).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.bytes().await.unwrap();
        }
    };
    futures::future::join_all((0..callers).map(caller)).await;
    calls as f64 / began.elapsed().as_secs_f64()
}

/// Two gateways on one Redis, only one of which waits for a replica, called alternately.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_what_waiting_for_a_replica_costs() {
    const ROUNDS: usize = 9;
    let (master, replica) = replicated().await;
    let stages = [Stage::set(master.url(), 1).await, Stage::of(master.url(), 1, Build::that_waits()).await];
    for (callers, calls) in [(1, 500), (16, 2_000)] {
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (stage, rates) in stages.iter().zip(&mut rates) {
                rates.push(rate(stage, callers, calls).await);
            }
            // The replica is asked first, so that it cannot have caught up in between.
            let [there, here] =
                [&replica, &master].map(|redis| redis.run::<u64>(&["XLEN", "qg:{default:live}:ledger"]));
            assert_eq!(there.await, here.await, "the replica has what was acknowledged");
        }
        let mut ratios: Vec<f64> = rates[0].iter().zip(&rates[1]).map(|(without, waiting)| waiting / without).collect();
        ratios.sort_by(f64::total_cmp);
        let half = |rates: &mut Vec<f64>| {
            rates.sort_by(f64::total_cmp);
            rates[ROUNDS / 2]
        };
        println!(
            "{callers} callers, {ROUNDS} times {calls} calls each: {:.0} calls/s without and {:.0} with waiting for one \
             replica; with it {:.2} times as many (from {:.2} to {:.2})",
            half(&mut rates[0]),
            half(&mut rates[1]),
            ratios[ROUNDS / 2],
            ratios[0],
            ratios[ROUNDS - 1]
        );
    }
}

async fn reqwest_json(url: &str) -> Value {
    let http = crate::support::http().build().unwrap();
    http.get(url).send().await.unwrap().json().await.unwrap()
}

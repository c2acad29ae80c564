//! What credits cost as there are more of them: bytes of Redis per credit, and Redis time of a call that takes from
//! them, up to one million credits of 100,000 users.

use std::ops::Range;

use serde_json::json;

use crate::gateway::ADMIN_KEY;
use crate::load::{Connection, each, field};
use crate::redis_time::stat;
use crate::stage::{Stage, USERS, address, user};
use crate::support::Api;
use crate::{ROUNDS, median, tell};

/// Credits of each user.
const CREDITS: usize = 10;
/// How many users have credits, one after the other.
const BUYERS: [usize; 3] = [1_000, 10_000, USERS];
/// Pairs of reserve and release in a round.
const CALLS: usize = 4_000;
/// Users that the calls go to and whose keys are measured, spread over all that have credits.
const CALLERS: usize = 1_000;

/// Subscribes all users to a plan whose images are all paid with credits.
async fn subscribe(stage: &Stage) {
    let images = json!({"id": "images", "unit": "count", "quota": 0, "overflow": "credits",
        "matches": [{"event": "image.*"}]});
    let balance = json!({"id": "credits", "kind": "balance", "unit": "count"});
    let plan = json!({"periodType": "monthly", "groups": [images, balance]});
    Api::at(&stage.nodes[0].url, ADMIN_KEY).plan("packs", plan).await;
    each(address(&stage.nodes[0]), 0..USERS, async |connection, number| {
        let body = json!({"userId": user(number), "planId": "packs"}).to_string();
        connection.post("subscriptions", &stage.key, &body).await;
    })
    .await;
}

async fn sell(stage: &Stage, users: Range<usize>) {
    each(address(&stage.nodes[0]), users, async |connection, number| {
        for credit in 0..CREDITS {
            // Some are used before others that were sold earlier.
            let expires_at = format!("2099-01-{:02}T00:00:00Z", 1 + credit * 7 % 28);
            let source = format!("pay_{number}_{credit}");
            let scope = json!({"user": user(number)});
            let body = json!({"groupId": "credits", "scope": scope, "amount": 100, "expiresAt": expires_at,
                "sourceId": source});
            connection.post("credits", &stage.key, &body.to_string()).await;
        }
    })
    .await;
}

/// Bytes of a key; 0 if there is none.
async fn size(stage: &Stage, key: &str) -> f64 {
    let key = format!("qg:{{default:live}}:{key}");
    stage.redis.run::<Option<f64>>(&["MEMORY", "USAGE", &key, "SAMPLES", "0"]).await.unwrap_or(0.0)
}

/// Bytes per user, of the account and what belongs to its credits.
async fn per_user(stage: &Stage, users: Range<usize>) -> f64 {
    let (mut bytes, mut count) = (0.0, 0.0);
    let step = (users.len() / CALLERS).max(1);
    for number in users.step_by(step) {
        let name = user(number);
        bytes +=
            size(stage, &format!("account:user:{name}")).await + size(stage, &format!("credits:user:{name}")).await;
        count += 1.0;
    }
    bytes / count
}

/// Redis time of a function that reserves or releases, in microseconds.
async fn micros(stage: &Stage, users: usize) -> f64 {
    let mut connection = Connection::open(address(&stage.nodes[0])).await;
    let mut rounds = Vec::new();
    for _ in 0..=ROUNDS {
        stage.redis.run::<String>(&["CONFIG", "RESETSTAT"]).await;
        for call in 0..CALLS {
            let name = user(call % CALLERS * (users / CALLERS));
            let body = json!({"userId": name, "event": "image.render", "quantity": 3}).to_string();
            let answer = connection.post("reserve", &stage.key, &body).await;
            assert!(answer.contains("\"overflow\""), "{answer}");
            let body = json!({"reservationId": field(&answer, "reservationId")}).to_string();
            connection.post("release", &stage.key, &body).await;
        }
        let (calls, micros) = stat(&stage.redis, "fcall").await;
        rounds.push(micros / calls);
    }
    // In the first one the node does not know the users yet.
    median(rounds[1..].to_vec())
}

pub async fn report_all() {
    let stage = Stage::with(1, 1).await;
    subscribe(&stage).await;
    let before = per_user(&stage, 0..USERS).await;
    let (mut bytes, mut times, mut known) = (Vec::new(), Vec::new(), 0);
    for users in BUYERS {
        sell(&stage, known..users).await;
        let count = users * CREDITS;
        // Of users who have not called yet, and the index that finds a credit by its ID.
        let own = (per_user(&stage, known..users).await - before) / CREDITS as f64;
        bytes.push(own + size(&stage, "credits").await / count as f64);
        times.push(micros(&stage, users).await);
        known = users;
    }
    for ((users, bytes), micros) in BUYERS.iter().zip(&bytes).zip(&times) {
        let count = users * CREDITS;
        println!("{count:>9} credits of {users:>6} users: {bytes:.0} bytes each, {micros:.1} us of Redis per call");
    }
    let growth = |figures: &[f64]| format!("{:.2}", figures[figures.len() - 1] / figures[0]);
    tell("bytes per credit at 1,000,000 credits / at 10,000", growth(&bytes), "<= 1.15");
    tell("Redis time of a call at 1,000,000 credits / at 10,000", growth(&times), "<= 1.15");
}

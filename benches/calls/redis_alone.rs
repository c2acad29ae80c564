//! How many calls Redis could make if it worked all the time: of the real functions, which the service calls here without a
//! web server, and of functions that give the same commands and decide nothing.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::iter;
use quotagate::domain::metering::reservation::ONE;
use quotagate::domain::values::ids::{AppId, EventName, KeyId, Mode, UserId};
use quotagate::service::gateway::Gateway;
use quotagate::service::metering::call::{Call, CallItem};
use quotagate::service::metering::settle::Commit;
use quotagate::service::tenant::{Placement, Tenant};
use quotagate::store::Store;
use redis::{Cmd, Pipeline};
use serde_json::json;

use crate::load::{self, Turn};
use crate::redis_time::redis_seconds;
use crate::stage::{Stage, USERS, calls_plan, user};
use crate::{CONNECTIONS, ROUNDS, RUN, median, tell};

const FUNCTIONS: &str = include_str!("same_commands.lua");

/// Calls of one kind in a round.
const CALLS: usize = 32_000;
/// Calls that are sent together. One pipeline waits in Redis while another one is answered.
const PIPELINE: usize = 32;

/// The key of a call's record.
fn record(number: usize) -> String {
    format!("qg:{{default:live}}:op:{number:016}")
}

fn reserve(number: usize) -> Cmd {
    let user = user(number * 7919 % USERS);
    let mut call = redis::cmd("FCALL");
    call.arg("bench_reserve").arg(2).arg(record(number)).arg(format!("qg:{{default:live}}:account:user:{user}"));
    call.arg("k7Zb0cXw2mQd").arg("-").arg("1795661839569851");
    call.arg("1795651200000 1795737600000;1000000 monthly/20261101/20261201;1000000 monthly/20261101/20261201;1000000 daily/20261126/20261127");
    call.arg("3600000").arg(format!("llm.chat key_iJq2Ry2AvggOE19u {user}"));
    call.arg("bench 1795661839559512 completion_tokens=44 model=chat-large prompt_tokens=374");
    call.arg("1").arg("1").arg("1");
    call
}

fn commit(number: usize) -> Cmd {
    let mut call = redis::cmd("FCALL");
    call.arg("bench_commit").arg(1).arg(record(number)).arg("0 0 1000000").arg("1795661852617").arg("").arg("-");
    call
}

/// Makes all calls of a kind.
async fn feed(stage: &Stage, numbers: &[usize], call: fn(usize) -> Cmd, status: &str) {
    let connection = stage.redis.connect().await;
    let sent = iter(numbers.chunks(PIPELINE)).map(|numbers| {
        let mut pipeline = Pipeline::with_capacity(PIPELINE);
        for number in numbers {
            pipeline.add_command(call(*number));
        }
        let mut connection = connection.clone();
        async move { pipeline.query_async::<Vec<String>>(&mut connection).await.unwrap() }
    });
    let answers: Vec<_> = sent.buffered(2).collect().await;
    assert!(answers.iter().flatten().all(|answer| answer.starts_with(status)), "{answers:?}");
}

/// The service, without a web server and background work.
struct Service {
    gateway: Gateway,
    tenant: Tenant,
    key: KeyId,
}

impl Service {
    fn new(stage: &Stage) -> Self {
        let store = Store::open(&stage.redis.url(), Duration::from_secs(1)).unwrap();
        let tenant = Tenant { app: AppId::parse("default").unwrap(), mode: Mode::Live, placement: Placement::App };
        Self { gateway: Gateway::new(store, None), tenant, key: KeyId::parse("key_iJq2Ry2AvggOE19u").unwrap() }
    }

    async fn reserve(&self, number: usize) -> String {
        let metadata = json!({"model": "chat-large", "prompt_tokens": 374, "completion_tokens": 44});
        let item = CallItem {
            event: EventName::parse("llm.chat").unwrap(),
            quantity: ONE,
            metadata: serde_json::from_value(metadata).unwrap(),
        };
        let user = UserId::parse(&user(number * 7919 % USERS)).unwrap();
        let call = Call { user, items: vec![item], key: self.key.clone(), fit: None, allowed_with: Vec::new() };
        let decision = self.gateway.reserve(&self.tenant, &call, 3_600_000, None).await.unwrap();
        decision.reservation.unwrap().0.to_string()
    }

    async fn commit(&self, id: &str) {
        let commit = Commit { actual: Vec::new(), is_final: true, reject_late: false, outcome: None };
        self.gateway.commit(&self.tenant, id, &commit, None).await.unwrap();
    }

    /// The IDs of new reservations.
    async fn reserves(&self, numbers: &[usize]) -> Vec<String> {
        iter(numbers).map(|number| self.reserve(*number)).buffer_unordered(CONNECTIONS).collect().await
    }

    async fn commits(&self, ids: &[String]) {
        iter(ids).map(|id| self.commit(id)).buffer_unordered(CONNECTIONS).collect().await
    }
}

/// Calls of one kind that Redis makes in a second of its processor time, as parts of the no-op's rate, in each round.
#[derive(Default)]
struct Rates {
    reserves: Vec<f64>,
    pairs: Vec<f64>,
}

impl Rates {
    /// Redis' processor time before the reserves, between them and their commits, and afterwards.
    fn add(&mut self, [before, between, after]: [f64; 3], no_op: f64) {
        self.reserves.push(CALLS as f64 / (between - before) / no_op);
        self.pairs.push(CALLS as f64 / (after - before) / no_op);
    }

    fn report(self, what: &str) {
        tell(&format!("{what}: reserves / no-op"), format!("{:.2}", median(self.reserves)), ">= 0.34");
        tell(&format!("{what}: pairs / no-op"), format!("{:.2}", median(self.pairs)), ">= 0.16");
    }
}

pub async fn report() {
    let mut stage = Stage::set_on(1, calls_plan()).await;
    stage.redis.run::<String>(&["CONFIG", "SET", "appendonly", "no"]).await;
    stage.redis.run::<String>(&["FUNCTION", "LOAD", FUNCTIONS]).await;
    // It would fold the commits meanwhile.
    stage.nodes.clear();
    let service = Service::new(&stage);
    service.commits(&service.reserves(&(0..USERS).collect::<Vec<_>>()).await).await;
    let (mut real, mut bare) = (Rates::default(), Rates::default());
    for round in 0..ROUNDS {
        let no_op = load::run(&stage, Turn::NoOp, CONNECTIONS, RUN).await.rate;
        let numbers: Vec<_> = (round * CALLS..(round + 1) * CALLS).collect();
        let worked = || redis_seconds(&stage.redis);
        let before = worked().await;
        let ids = service.reserves(&numbers).await;
        let between = worked().await;
        service.commits(&ids).await;
        real.add([before, between, worked().await], no_op);
        let before = worked().await;
        feed(&stage, &numbers, reserve, "held\n").await;
        let between = worked().await;
        feed(&stage, &numbers, commit, "settled\n").await;
        bare.add([before, between, worked().await], no_op);
    }
    real.report("a Redis that always works, the functions");
    bare.report("a Redis that always works, their commands");
}

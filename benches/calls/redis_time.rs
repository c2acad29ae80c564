//! What a call costs in Redis, beside bare scripts there: Redis' own count of the time in functions, one call at a time.

use std::collections::BTreeMap;
use std::time::Instant;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use crate::load::{Connection, field};
use crate::stage::{Stage, address, reserve, user};
use crate::support::Redis;
use crate::{ROUNDS, median, tell};

/// Calls of one round.
const CALLS: usize = 4_000;
/// Users that they go to.
const USERS: usize = 1_000;

/// What a reserve reads and writes of one hash, and no more.
const FLOOR: &str = "redis.call('HMGET', KEYS[1], unpack(ARGV, 9))
redis.call('HSET', KEYS[1], unpack(ARGV, 1, 8))
return 1";

/// Calls and microseconds of a command since the last reset.
pub async fn stat(redis: &Redis, command: &str) -> (f64, f64) {
    let info: String = redis.run(&["INFO", "commandstats"]).await;
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:"))).unwrap_or("");
    let figure = |name: &str| {
        let found = line.split(',').find_map(|part| part.strip_prefix(&format!("{name}=")));
        found.and_then(|figure| figure.parse().ok()).unwrap_or(0.0)
    };
    (figure("calls"), figure("usec"))
}

/// Seconds that functions have taken since the last reset.
pub async fn function_seconds(redis: &Redis) -> f64 {
    stat(redis, "fcall").await.1 / 1e6
}

/// Processor time of Redis so far, in seconds.
pub async fn redis_seconds(redis: &Redis) -> f64 {
    let info: String = redis.run(&["INFO", "cpu"]).await;
    let of = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap().trim().parse::<f64>().unwrap()
    };
    of("used_cpu_user") + of("used_cpu_sys")
}

struct Bare {
    connection: MultiplexedConnection,
    number: usize,
}

impl Bare {
    async fn new(redis: &Redis) -> Self {
        Self { connection: redis.connect().await, number: 0 }
    }

    fn fields() -> Vec<String> {
        let own = ["version", "next_expiry", "adjusted", "forget_at"].map(str::to_owned);
        let groups = ["tokens_0", "cents_1", "calls_2"];
        own.into_iter()
            .chain(groups.iter().flat_map(|id| ["window", "used", "held"].map(|name| format!("{id}.{name}"))))
            .collect()
    }

    async fn run(&mut self) {
        self.number += 1;
        let user = self.number % USERS;
        let script = redis::Script::new(FLOOR);
        let mut call = script.prepare_invoke();
        call.key(format!("bare:account:{user}"));
        let amount = (self.number * 418).to_string();
        let changes = [
            "next_expiry",
            "1795228389143",
            "tokens_0.held",
            &amount,
            "cents_1.held",
            &amount,
            "calls_2.held",
            &amount,
        ];
        call.arg(&changes[..]);
        call.arg(Self::fields());
        call.invoke_async::<redis::Value>(&mut self.connection).await.unwrap();
    }
}

/// Median of a bare call, in microseconds, as a caller sees it.
pub async fn bare_round_trip(stage: &Stage) -> f64 {
    let mut bare = Bare::new(&stage.redis).await;
    let mut micros = Vec::new();
    for _ in 0..CALLS {
        let before = Instant::now();
        bare.run().await;
        micros.push(before.elapsed().as_secs_f64() * 1e6);
    }
    median(micros)
}

/// Microseconds per call of what was run in a round, by name.
type Found = BTreeMap<&'static str, Vec<f64>>;

async fn note(found: &mut Found, redis: &Redis, name: &'static str, command: &str) {
    let (calls, micros) = stat(redis, command).await;
    found.entry(name).or_default().push(micros / calls);
    redis.run::<String>(&["CONFIG", "RESETSTAT"]).await;
}

struct Caller<'a> {
    stage: &'a Stage,
    connection: Connection,
    number: usize,
}

impl<'a> Caller<'a> {
    async fn new(stage: &'a Stage) -> Self {
        Self { stage, connection: Connection::open(address(&stage.nodes[0])).await, number: 0 }
    }

    async fn reserve(&mut self, users: usize) -> String {
        self.number += 1;
        let body = reserve(&user(self.number * 7919 % users));
        let answer = self.connection.post("reserve", &self.stage.key, &body).await;
        assert!(answer.contains("\"allowed\":true"), "{answer}");
        field(&answer, "reservationId").to_owned()
    }

    async fn denied(&mut self) {
        self.number += 1;
        let body = reserve(&user(self.number * 7919 % USERS)).replace(":374", ":999999999");
        let answer = self.connection.post("reserve", &self.stage.key, &body).await;
        assert!(answer.contains("\"allowed\":false"), "{answer}");
    }

    async fn settle(&mut self, call: &str, id: &str) {
        self.connection.post(call, &self.stage.key, &format!("{{\"reservationId\":\"{id}\"}}")).await;
    }
}

async fn three_groups() {
    let stage = Stage::with(1, 3).await;
    stage.subscribe(0..USERS).await;
    let (mut bare, mut caller, mut found) = (Bare::new(&stage.redis).await, Caller::new(&stage).await, Found::new());
    for round in 0..=ROUNDS {
        if round == 1 {
            found.clear();
        }
        stage.redis.run::<String>(&["CONFIG", "RESETSTAT"]).await;
        for _ in 0..CALLS {
            bare.run().await;
        }
        note(&mut found, &stage.redis, "floor", "evalsha").await;
        let mut ids = Vec::new();
        for _ in 0..CALLS {
            ids.push(caller.reserve(USERS).await);
        }
        note(&mut found, &stage.redis, "reserve", "fcall").await;
        for (place, id) in ids.iter().enumerate() {
            caller.settle(if place < CALLS / 2 { "commit" } else { "release" }, id).await;
            if place + 1 == CALLS / 2 {
                let (calls, micros) = stat(&stage.redis, "xadd").await;
                found.entry("XADD of a commit").or_default().push(micros / calls);
                note(&mut found, &stage.redis, "commit", "fcall").await;
            }
        }
        note(&mut found, &stage.redis, "release", "fcall").await;
        for _ in 0..CALLS {
            caller.denied().await;
        }
        note(&mut found, &stage.redis, "denied reserve", "fcall").await;
    }
    let of = |name: &str| median(found[name].clone());
    for name in found.keys() {
        println!("{name:<20} {:>7.1} us of Redis", of(name));
    }
    const LEDGER: &str = "qg:{default:live}:ledger";
    let bytes: f64 = stage.redis.run(&["MEMORY", "USAGE", LEDGER, "SAMPLES", "0"]).await;
    let entries: f64 = stage.redis.run(&["XLEN", LEDGER]).await;
    println!("an entry of the ledger takes {:.0} bytes", bytes / entries);
    let ratio = |figure: &str, one: &str, other: &str, target: &str| {
        tell(figure, format!("{:.2}", of(one) / of(other)), target);
    };
    ratio("Redis time: reserve of three groups / floor script", "reserve", "floor", "<= 2.0");
    ratio("Redis time: commit / floor script", "commit", "floor", "<= 2.0");
    ratio("Redis time: denied reserve / allowed reserve", "denied reserve", "reserve", "<= 0.8");
}

/// Redis time of a reserve of each number of groups.
async fn by_groups() {
    const GROUPS: [usize; 3] = [1, 3, 12];
    let mut micros = Vec::new();
    for groups in GROUPS {
        let stage = Stage::with(1, groups).await;
        stage.subscribe(0..USERS).await;
        let (mut caller, mut found) = (Caller::new(&stage).await, Found::new());
        for _ in 0..=ROUNDS {
            stage.redis.run::<String>(&["CONFIG", "RESETSTAT"]).await;
            for _ in 0..CALLS {
                caller.reserve(USERS).await;
            }
            note(&mut found, &stage.redis, "reserve", "fcall").await;
        }
        micros.push(median(found["reserve"][1..].to_vec()));
    }
    println!("reserve of {GROUPS:?} groups: {micros:.1?} us of Redis");
    tell("Redis time of each further group", format!("{:.1} us", (micros[2] - micros[0]) / 11.0), "<= 1.5 us");
}

/// Redis time of a reserve with many users and many holds, beside few.
async fn by_size() {
    let stage = Stage::with(1, 3).await;
    stage.subscribe(0..USERS).await;
    let (mut caller, mut found) = (Caller::new(&stage).await, Found::new());
    let few = async |found: &mut Found, caller: &mut Caller<'_>, name| {
        for _ in 0..ROUNDS {
            stage.redis.run::<String>(&["CONFIG", "RESETSTAT"]).await;
            for _ in 0..CALLS {
                let id = caller.reserve(USERS).await;
                caller.settle("release", &id).await;
            }
            // Reserves and releases in equal number.
            note(found, &stage.redis, name, "fcall").await;
        }
    };
    few(&mut found, &mut caller, "1,000 users").await;
    // As many more as make a million: copies of the first.
    let mut connection = stage.redis.connect().await;
    for first in (USERS..1_000_000).step_by(10_000) {
        let mut pipe = redis::pipe();
        for number in first..first + 10_000 {
            let key = |name: &str| format!("qg:{{default:live}}:account:user:{name}");
            pipe.cmd("COPY").arg(key(&user(0))).arg(key(&user(number))).ignore();
            pipe.zadd("qg:{default:live}:users", user(number), 0).ignore();
        }
        pipe.query_async::<()>(&mut connection).await.unwrap();
    }
    let users: usize = connection.zcard("qg:{default:live}:users").await.unwrap();
    assert!(users >= 1_000_000, "{users}");
    few(&mut found, &mut caller, "1,000,000 users").await;
    // One user with few holds, then with 10,000 more.
    for (name, holds) in [("10 holds", 10), ("10,000 holds", 10_000)] {
        let body = reserve("first");
        for _ in 0..holds {
            caller.connection.post("reserve", &stage.key, &body).await;
        }
        for _ in 0..ROUNDS {
            stage.redis.run::<String>(&["CONFIG", "RESETSTAT"]).await;
            for _ in 0..CALLS / 4 {
                let answer = caller.connection.post("reserve", &stage.key, &body).await;
                let id = field(&answer, "reservationId").to_owned();
                caller.settle("release", &id).await;
            }
            note(&mut found, &stage.redis, name, "fcall").await;
        }
    }
    let of = |name: &str| median(found[name].clone());
    tell(
        "Redis time at 1,000,000 users / at 1,000",
        format!("{:.2}", of("1,000,000 users") / of("1,000 users")),
        "<= 1.15",
    );
    tell(
        "Redis time at 10,000 open holds of a user / at 10",
        format!("{:.2}", of("10,000 holds") / of("10 holds")),
        "<= 1.15",
    );
}

pub async fn report_all() {
    three_groups().await;
    by_groups().await;
    by_size().await;
}

//! Rollups with random histories: folded by several nodes at once, some of which die, and rebuilt.

use std::collections::BTreeMap;
use std::sync::Arc;

use quotagate::domain::values::ids::{AppId, Mode};
use quotagate::service::gateway::Gateway;
use quotagate::service::tenant::{Placement, Tenant};
use quotagate::store::Store;
use quotagate::store::reporting::stream::Stream;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::support::seeds::seed;
use crate::support::{Api, Redis, World};

const USERS: [&str; 3] = ["u", "v", "w *"];
const CALLS: usize = 250;
const GROUPS: [&str; 3] = ["calls", "spend", "images"];

/// Windows without an end, so that `used` is the sum of all charges.
fn plan() -> Value {
    json!({"periodType": "lifetime", "periodAnchor": "calendar", "groups": [
        {"id": "calls", "unit": "count", "measure": "event", "quota": null, "matches": [{"event": "llm.*"}]},
        {"id": "spend", "unit": "cents", "quota": null, "matches": [{"event": "llm.*",
            "measure": {"per": {"prompt_tokens": "0.001", "completion_tokens": "0.002"},
                "estimate": {"prompt_tokens": 100, "completion_tokens": 100}}}]},
        {"id": "images", "unit": "seconds", "measure": "quantity", "quota": 15, "matches": [{"event": "image"}]}]})
}

/// What has happened, as far as the test knows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally(BTreeMap<&'static str, i64>);

impl Tally {
    fn count(&mut self, name: &'static str, by: i64) {
        *self.0.entry(name).or_default() += by;
    }
}

struct History {
    nodes: Vec<Api>,
    random: StdRng,
    tally: Tally,
    /// Reservations of `llm.chat`, some settled.
    held: Vec<String>,
    committed: Vec<(String, Option<&'static str>)>,
}

impl History {
    fn below(&mut self, most: u32) -> u32 {
        self.random.random_range(0..most)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.random_range(0..of.len())]
    }

    fn node(&mut self) -> Api {
        let place = self.random.random_range(0..self.nodes.len());
        self.nodes[place].clone()
    }

    fn figures(&mut self) -> Value {
        let (prompt, completion) = (self.below(3000), self.below(500));
        let (model, quality) = (self.one(&["large", "small", "a=b c"]), self.one(&["draft", "final"]));
        json!({"prompt_tokens": prompt, "completion_tokens": completion, "model": model, "quality": quality})
    }

    async fn step(&mut self) {
        let (node, user) = (self.node(), self.one(&USERS));
        match self.below(8) {
            0 => {
                let model = self.one(&["large", "small"]);
                let asked = json!({"userId": user, "event": "llm.chat", "metadata": {"model": model}});
                self.held.push(node.reserved(asked).await);
            }
            1 if !self.held.is_empty() => self.commit(&node).await,
            2 if !self.held.is_empty() => {
                let place = self.random.random_range(0..self.held.len());
                let draw = json!({"reservationId": self.held[place], "final": false, "metadata": {"prompt_tokens": 7}});
                node.post("commit", draw).await.expect(200);
                self.tally.count("draws", 1);
            }
            3 if !self.held.is_empty() => {
                let place = self.random.random_range(0..self.held.len());
                node.release(&self.held.swap_remove(place)).await;
                self.tally.count("released", 1);
            }
            4 => {
                let quantity = f64::from(self.below(8000) + 1) / 1000.0;
                let asked = json!({"userId": user, "event": "image", "quantity": quantity});
                let decision = node.reserve(asked).await;
                if decision["allowed"] == true {
                    node.commit(decision["reservationId"].as_str().unwrap()).await;
                    self.tally.count("calls", 1);
                } else {
                    self.tally.count("denials", 1);
                }
            }
            5 if !self.committed.is_empty() => self.outcome(&node).await,
            6 if !self.committed.is_empty() => {
                let place = self.random.random_range(0..self.committed.len());
                let metadata = json!({"reservationId": self.committed[place].0, "prompt_tokens": 1});
                let refund = json!({"userId": user, "event": "llm.chat.refund", "quantity": 1, "metadata": metadata});
                if node.post("track", refund).await.status == 200 {
                    self.tally.count("refunds", 1);
                }
            }
            _ => {
                let metadata = self.figures();
                let track = json!({"userId": user, "event": "llm.complete", "metadata": metadata});
                node.post("track", track).await.expect(200);
                self.tally.count("calls", 1);
            }
        }
    }

    async fn commit(&mut self, node: &Api) {
        let place = self.random.random_range(0..self.held.len());
        let id = self.held.swap_remove(place);
        let outcome = self.one(&[None, Some("accepted"), Some("rejected")]);
        let mut body = json!({"reservationId": id, "metadata": self.figures()});
        if let Some(outcome) = outcome {
            body["outcome"] = json!(outcome);
            self.tally.count(outcome, 1);
        }
        node.post("commit", body).await.expect(200);
        self.tally.count("calls", 1);
        self.committed.push((id, outcome));
    }

    async fn outcome(&mut self, node: &Api) {
        let place = self.random.random_range(0..self.committed.len());
        let (id, before) = self.committed[place].clone();
        let outcome = self.one(&["accepted", "rejected"]);
        node.post(&format!("reservations/{id}/outcome"), json!({"outcome": outcome})).await.expect(200);
        if before != Some(outcome) {
            self.tally.count(outcome, 1);
            if let Some(before) = before {
                self.tally.count(before, -1);
            }
            self.committed[place].1 = Some(outcome);
        }
    }
}

async fn gateway(redis: &Redis) -> Arc<Gateway> {
    Arc::new(Gateway::new(Store::open(&redis.url(), crate::support::PATIENCE).unwrap(), None))
}

fn tenant(mode: &str) -> Tenant {
    Tenant { app: AppId::parse("default").unwrap(), mode: Mode::parse(mode).unwrap(), placement: Placement::App }
}

/// Folds continuously until it is aborted at an arbitrary point.
fn folder(gateway: Arc<Gateway>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let tenant = tenant("test");
        loop {
            for stream in Stream::ALL {
                gateway.fold_stream(&tenant, &tenant.buckets()[0], stream, 1).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    })
}

/// The rows of all days by key, without the progress of folding and the number of rebuilds.
async fn rows(redis: &Redis) -> Vec<(String, Vec<String>)> {
    let rows = redis.contents("qg:*:rollup:*").await;
    rows.into_iter().filter(|(key, _)| !key.contains(":rollup:cursor:")).collect()
}

async fn lines(api: &Api, query: &str) -> Vec<Value> {
    let report = api.get(&format!("reports/usage?from=2027-01-01&limit=1000&{query}")).await.expect(200);
    report["data"].as_array().unwrap().clone()
}

/// The sum of a field over the lines of a report, in millionths.
fn sum(lines: &[Value], field: &str) -> i64 {
    lines.iter().map(|line| (line[field].as_f64().unwrap() * 1e6).round() as i64).sum()
}

async fn reports_equal_counters(world: &World, admin: &Api, tally: &Tally) {
    let total = lines(admin, "").await.remove(0);
    for (name, expected) in &tally.0 {
        assert_eq!(total[*name], *expected, "{name}: {total}");
    }
    // Every grouping gives the same totals.
    for query in ["by=event", "by=user", "period=day", "by=metadata.model,metadata.quality,key", "period=week&by=user"]
    {
        let parts = lines(admin, query).await;
        for field in ["calls", "denials", "quantity", "cost", "draws", "accepted"] {
            assert_eq!(sum(&parts, field), sum(std::slice::from_ref(&total), field), "{query} {field}");
        }
    }
    let mut charged: BTreeMap<(String, String), f64> = BTreeMap::new();
    for line in lines(admin, "by=user,group").await {
        let by = |name: &str| line["by"][name].as_str().unwrap().to_owned();
        charged.insert((by("user"), by("group")), line["charged"][0]["amount"].as_f64().unwrap());
    }
    for user in USERS {
        for group in GROUPS {
            let (used, _) = world.app.stands(user, group).await;
            let reported = charged.get(&(user.to_owned(), group.to_owned())).copied().unwrap_or(0.0);
            assert_eq!(reported, used, "{user} {group}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_nodes_fold_and_die_reports_equal_counters_and_what_is_rebuilt_equals_what_was_live() {
    let world = World::frozen().await;
    let (_node, other) = world.another_node().await;
    let admin = world.admin.with("x-mode", "test");
    world.admin.plan("p", plan()).await;
    for user in USERS {
        world.app.subscribe(user, "p").await;
    }
    let mut history = History {
        nodes: vec![world.app.clone(), other],
        random: StdRng::seed_from_u64(seed("ROLLUP_SEED")),
        tally: Tally::default(),
        held: Vec::new(),
        committed: Vec::new(),
    };
    let folders = [gateway(&world.redis).await, gateway(&world.redis).await];
    let mut running: Vec<_> = folders.iter().map(|gateway| folder(Arc::clone(gateway))).collect();
    for call in 0..CALLS {
        history.step().await;
        if call % 10 == 0 {
            // One dies at an arbitrary point; another one takes its place.
            let place = history.random.random_range(0..running.len());
            running[place].abort();
            running[place] = folder(Arc::clone(&folders[place]));
        }
        if call % 60 == 59 {
            let hours = 12 * (call as i64 / 60 + 1);
            let now = chrono::DateTime::parse_from_rfc3339(crate::support::START).unwrap();
            world.app.freeze(&(now + chrono::TimeDelta::hours(hours)).to_rfc3339()).await;
            history.tally.count("expiries", history.held.len() as i64);
            history.held.clear();
            // Earlier reservations cannot be settled any more either.
            history.committed.clear();
            // Expired holds are recorded at the next call.
            for user in USERS {
                let asked = json!({"userId": user, "event": "llm.chat"});
                world.app.release(&world.app.reserved(asked).await).await;
                history.tally.count("released", 1);
            }
        }
    }
    reports_equal_counters(&world, &admin, &history.tally).await;
    for folder in running {
        folder.abort();
        let _ = folder.await;
    }
    let live = rows(&world.redis).await;
    assert!(live.len() >= 8, "{} keys", live.len());
    let rebuilt = folders[0].rebuild(&tenant("test")).await.unwrap();
    assert!(rebuilt.entries > CALLS as u64 / 2, "{rebuilt:?}");
    assert!(rows(&world.redis).await == live, "rebuilt rows differ");
    // Damaged rows are replaced, even while other nodes fold.
    for (key, _) in &live {
        world.redis.run::<i64>(&["HSET", key, " ghost ", "calls=5"]).await;
    }
    let again = folder(Arc::clone(&folders[1]));
    folders[0].rebuild(&tenant("test")).await.unwrap();
    history.step().await;
    reports_equal_counters(&world, &admin, &history.tally).await;
    again.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_that_the_ledger_does_not_cover_any_more_keep_their_rows() {
    let world = World::new().await;
    world.admin.plan("p", plan()).await;
    let key = crate::support::new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await;
    let app = world.node.client(&key);
    app.subscribe("u", "p").await;
    for _ in 0..5 {
        app.post(
            "track",
            json!({"userId": "u", "event": "llm.chat", "metadata": {"tier": "gold", "prompt_tokens": 1}}),
        )
        .await
        .expect(200);
    }
    let calls = async |query: &str| {
        let report = world.admin.get(&format!("reports/usage?{query}")).await.expect(200);
        report["data"].as_array().unwrap().iter().map(|line| line["calls"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(calls("").await, [5]);
    let gateway = gateway(&world.redis).await;
    // A label that is added now is available for all events in the ledger after a rebuild.
    world.admin.put("app", json!({"reportLabels": ["tier"]})).await.expect(200);
    assert_eq!(calls("metadata.tier=gold").await, [0]);
    let rebuilt = gateway.rebuild(&tenant("live")).await.unwrap();
    assert_eq!((rebuilt.days, rebuilt.entries, rebuilt.rows), (1, 5, 2));
    assert_eq!(calls("metadata.tier=gold").await, [5]);
    // For a day whose first entries are missing, the rows stay unchanged.
    world.redis.run::<i64>(&["XTRIM", "qg:{default:live}:ledger", "MAXLEN", "=", "2"]).await;
    let rebuilt = gateway.rebuild(&tenant("live")).await.unwrap();
    assert_eq!(rebuilt.rows, 0, "{rebuilt:?}");
    assert_eq!(calls("").await, [5]);
    // All rows expire.
    for (key, _) in rows(&world.redis).await {
        let ttl_s: i64 = world.redis.run(&["TTL", &key]).await;
        let days = if key.contains(":users:") { 35 } else { 400 };
        assert_eq!((ttl_s + 60) / 86_400, days + 1, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_is_one_short_transaction() {
    let world = World::frozen().await;
    world.admin.plan("p", plan()).await;
    world.app.subscribe("u", "p").await;
    for number in 0..500 {
        let metadata = json!({"model": format!("m{number}"), "prompt_tokens": number, "completion_tokens": 3});
        world.app.post("track", json!({"userId": "u", "event": "llm.chat", "metadata": metadata})).await.expect(200);
    }
    // As if nothing was folded yet.
    let gateway = gateway(&world.redis).await;
    let tenant = tenant("test");
    world.app.freeze("2027-02-01T00:00:00Z").await;
    let keys: Vec<String> = world.redis.run(&["KEYS", "qg:*:rollup:*"]).await;
    for key in &keys {
        world.redis.run::<i64>(&["DEL", key]).await;
    }
    world.redis.run::<String>(&["CONFIG", "RESETSTAT"]).await;
    let folded = gateway.fold_stream(&tenant, &tenant.buckets()[0], Stream::Ledger, 9).await.unwrap();
    assert!(folded.whole, "{folded:?}");
    let stats: String = world.redis.run(&["INFO", "commandstats"]).await;
    let spent = stats.lines().find(|line| line.starts_with("cmdstat_exec")).unwrap_or_default();
    println!("folding 500 entries into 1,000 rows, at most 800 in one step: {spent}");
    let line = world.admin.with("x-mode", "test").get("reports/usage?by=event").await.expect(200);
    assert_eq!(line["data"][0]["calls"], 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_are_too_old_go_by_themselves() {
    let redis = Redis::start().await;
    let mut connection = redis.connect().await;
    let mut pipe = redis::pipe();
    for number in 1..=1_000 {
        let entry = "type release at 1 late 0 op - about u\u{1}-\u{1}- charges - memo - told -";
        let mut command = redis::cmd("XADD");
        command.arg("qg:{default:live}:ledger").arg(format!("1-{number}"));
        for word in entry.split(' ') {
            command.arg(word.replace('\u{1}', " "));
        }
        pipe.add_command(command);
    }
    let _: Vec<String> = pipe.query_async(&mut connection).await.unwrap();
    let node = crate::support::Running::start(&redis.url()).await;
    crate::support::eventually("old entries are gone", || async {
        redis.run::<u64>(&["XLEN", "qg:{default:live}:ledger"]).await < 200
    })
    .await;
    let admin = node.client(crate::support::ROOT_KEY);
    assert_eq!(admin.get("reports/usage").await.expect(200)["data"][0]["released"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_spread_over_buckets_are_reported_together_and_each_alone() {
    let world = World::new().await;
    world.admin.post("apps", json!({"id": "wide", "placement": "user"})).await.expect(201);
    let root = world.admin.with("x-app", "wide");
    root.plan("p", plan()).await;
    let app = world.node.client(&crate::support::new_key(&root, json!({"kind": "secret", "mode": "live"})).await);
    for number in 0..20 {
        let user = format!("u{number}");
        app.subscribe(&user, "p").await;
        app.post("track", json!({"userId": user, "event": "image", "quantity": number % 3 + 1})).await.expect(200);
    }
    let line = root.get("reports/usage").await.expect(200)["data"][0].clone();
    assert_eq!((&line["calls"], &line["charged"][0]["amount"]), (&json!(20), &json!(39)));
    let users = root.get("reports/usage?by=user&limit=7").await.expect(200);
    assert_eq!(users["data"].as_array().unwrap().len(), 7);
    let one = root.get("reports/usage?by=user&userId=u14").await.expect(200);
    assert_eq!((&one["data"][0]["by"], &one["data"][0]["quantity"]), (&json!({"user": "u14"}), &json!(3)));
    assert_eq!(
        gateway(&world.redis)
            .await
            .rebuild(&Tenant { app: AppId::parse("wide").unwrap(), mode: Mode::Live, placement: Placement::User })
            .await
            .unwrap()
            .entries,
        20
    );
    assert_eq!(root.get("reports/usage").await.expect(200)["data"][0], line);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_sandbox_has_empty_reports_and_works_again() {
    let world = World::frozen().await;
    world.admin.plan("p", plan()).await;
    let admin = world.admin.with("x-mode", "test");
    for calls in [3, 2] {
        world.app.subscribe("u", "p").await;
        for _ in 0..calls {
            world.app.post("track", json!({"userId": "u", "event": "llm.chat"})).await.expect(200);
        }
        assert_eq!(admin.get("reports/usage").await.expect(200)["data"][0]["calls"], calls);
        world.app.delete("test-clock", None).await.expect(204);
        assert_eq!(admin.get("reports/usage").await.expect(200)["data"][0]["calls"], 0);
    }
}

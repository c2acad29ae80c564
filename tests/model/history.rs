//! One user's random history: each call goes to a random node and to the model.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::plain::{Model, Ms, Outcome, Stand, Status, ms, quota, text};
use crate::support::{Answer, Api};

pub struct History<'a> {
    nodes: [&'a Api; 2],
    user: &'a str,
    pub model: Model,
    random: StdRng,
    /// Public ids in the order of the model's reservations.
    ids: Vec<String>,
    /// What was asked so far, for the one who reads a failure.
    told: Vec<String>,
}

impl<'a> History<'a> {
    pub fn new(nodes: [&'a Api; 2], user: &'a str, model: Model, random: StdRng) -> Self {
        Self { nodes, user, model, random, ids: Vec::new(), told: Vec::new() }
    }

    fn node(&mut self) -> &'a Api {
        self.nodes[self.random.random_range(0..2)]
    }

    fn one_of(&mut self) -> Option<usize> {
        // Mostly a recent one: older ones are over.
        let count = self.ids.len();
        let back = if self.random.random_bool(0.8) { 4 } else { count };
        (count > 0).then(|| self.random.random_range(count.saturating_sub(back)..count))
    }

    async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.told.push(format!("{} {path} {body}", text(self.model.now_ms)));
        self.node().post(path, body.clone()).await
    }

    fn fail(&self, answer: &Answer, expected: &Outcome) -> ! {
        panic!("{} {}\nexpected {expected:?}\nafter\n{}", answer.status, answer.text, self.told.join("\n"))
    }

    pub async fn step(&mut self) {
        let quantity = self.random.random_range(1..=6);
        let event = if self.random.random_bool(0.7) { "job.run" } else { "job.side" };
        match self.random.random_range(0..100) {
            0..35 => self.reserve(event, quantity).await,
            35..55 => self.commit().await,
            55..62 => self.release().await,
            62..70 => self.extend(quantity).await,
            70..77 => self.track(event, quantity).await,
            77..82 => self.refund(event, quantity).await,
            82..86 => self.usage().await,
            _ => self.time_passes().await,
        }
    }

    async fn time_passes(&mut self) {
        let seconds: Ms = match self.random.random_range(0..20) {
            0..9 => self.random.random_range(1..40),
            9..14 => self.random.random_range(40..400),
            14..17 => self.random.random_range(400..4000),
            17..19 => self.random.random_range(4000..100_000),
            _ => self.random.random_range(100_000..4_000_000),
        };
        self.model.now_ms += seconds * 1000;
        let now = text(self.model.now_ms);
        self.told.push(format!("the clock is set to {now}"));
        self.node().freeze(&now).await;
    }

    async fn reserve(&mut self, event: &str, quantity: u64) {
        let ttl = [5, 60, 60, 600, 3600][self.random.random_range(0..5)];
        let body = json!({"userId": self.user, "event": event, "quantity": quantity, "ttlSeconds": ttl});
        let key = self.random.random_bool(0.2).then(|| format!("k{}", self.told.len()));
        self.told.push(format!("{} reserve {body} {key:?}", text(self.model.now_ms)));
        let expected = self.model.reserve(event, quantity, ttl * 1000);
        let node = self.node();
        let (answer, again) = match key {
            None => (node.post("reserve", body).await, None),
            Some(key) => {
                let first = node.once(&key).post("reserve", body.clone()).await;
                (first, Some(self.node().once(&key).post("reserve", body).await))
            }
        };
        self.decided(&answer, &expected);
        if let Some(again) = again {
            let same =
                ["allowed", "reservationId", "expiresAt"].iter().all(|name| answer.json[name] == again.json[name]);
            if !same || again.header("idempotent-replayed") != Some("true") {
                self.fail(&again, &expected);
            }
        }
        if let Some(id) = answer.json["reservationId"].as_str() {
            let last = self.model.reservations.last().unwrap();
            assert_eq!(ms(answer.json["expiresAt"].as_str().unwrap()), last.expires_ms);
            self.ids.push(id.to_owned());
        }
    }

    async fn commit(&mut self) {
        let Some(number) = self.one_of() else { return };
        let mut body = json!({"reservationId": self.ids[number]});
        let is_final = self.random.random_bool(0.75);
        let figure = match self.random.random_range(0..10) {
            0..4 if is_final => None,
            4 if is_final => Some(0),
            _ => Some(self.random.random_range(1..9)),
        };
        let reject_late = self.random.random_bool(0.2);
        if let Some(figure) = figure {
            body["quantity"] = json!(figure);
        }
        if !is_final {
            body["final"] = json!(false);
        }
        if reject_late {
            body["ifExpired"] = json!("reject");
        }
        let answer = self.post("commit", &body).await;
        let expected = self.model.commit(number, figure, is_final, reject_late);
        self.settled(&answer, &expected);
    }

    async fn release(&mut self) {
        let Some(number) = self.one_of() else { return };
        let answer = self.post("release", &json!({"reservationId": self.ids[number]})).await;
        let expected = self.model.release(number);
        self.settled(&answer, &expected);
    }

    async fn extend(&mut self, quantity: u64) {
        let Some(number) = self.one_of() else { return };
        let mut body = json!({"reservationId": self.ids[number]});
        let more = self.random.random_bool(0.6).then_some(quantity);
        let ttl = (more.is_none() || self.random.random_bool(0.5)).then(|| self.random.random_range(1..=3600));
        if let Some(more) = more {
            body["quantity"] = json!(more);
        }
        if let Some(ttl) = ttl {
            body["ttlSeconds"] = json!(ttl);
        }
        let answer = self.post("extend", &body).await;
        let expected = self.model.extend(number, ttl.map(|ttl| ttl * 1000), more);
        self.decided(&answer, &expected);
        if answer.status == 200 {
            let expires = ms(answer.json["expiresAt"].as_str().unwrap_or_else(|| self.fail(&answer, &expected)));
            assert_eq!(expires, self.model.reservations[number].expires_ms, "{}", answer.text);
        }
    }

    async fn track(&mut self, event: &str, quantity: u64) {
        let enforce = self.random.random_bool(0.5);
        let body = json!({"userId": self.user, "event": event, "quantity": quantity, "enforce": enforce});
        let answer = self.post("track", &body).await;
        let expected = self.model.track(event, quantity, enforce);
        match &expected {
            Outcome::Denied { .. } if answer.status == 429 && answer.json["code"] == "limit_reached" => {}
            Outcome::Done { stands, .. } if answer.status == 200 => self.counters(&answer, stands, &expected),
            _ => self.fail(&answer, &expected),
        }
    }

    async fn refund(&mut self, event: &str, quantity: u64) {
        let mut body = json!({"userId": self.user, "event": format!("{event}.refund"), "quantity": quantity});
        let number = self.one_of().filter(|_| self.random.random_bool(0.7));
        if let Some(number) = number {
            body["metadata"] = json!({"reservationId": self.ids[number]});
        }
        let answer = self.post("track", &body).await;
        let expected = match number {
            Some(number) => self.model.refund(number, quantity),
            None => self.model.give_back(event, quantity),
        };
        match &expected {
            Outcome::Done { stands, .. } if answer.status == 200 => self.counters(&answer, stands, &expected),
            _ => self.settled(&answer, &expected),
        }
    }

    pub async fn usage(&mut self) {
        let answer = self.node().get(&format!("usage?userId={}", self.user)).await;
        let stands = self.model.usage();
        let expected = Outcome::Done { status: None, late: false, replayed: false, stands: stands.clone() };
        self.counters(&answer, &stands, &expected);
    }

    /// Compares a decision.
    fn decided(&self, answer: &Answer, expected: &Outcome) {
        match expected {
            Outcome::Done { stands, .. } if answer.status == 200 && answer.json["allowed"] == true => {
                self.counters(answer, stands, expected);
            }
            Outcome::Denied { lacking, stands } if answer.status == 200 && answer.json["allowed"] == false => {
                let denied_by: Vec<&str> = answer.json["deniedBy"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|group| group["groupId"].as_str().unwrap())
                    .collect();
                if denied_by != *lacking || answer.json["reasons"] != json!(["limit_reached"]) {
                    self.fail(answer, expected);
                }
                self.counters(answer, stands, expected);
            }
            _ => self.problem(answer, expected),
        }
    }

    /// Compares a settlement.
    fn settled(&self, answer: &Answer, expected: &Outcome) {
        match expected {
            Outcome::Done { status, late, replayed, stands } if answer.status == 200 => {
                let word = match status.unwrap_or(Status::Committed) {
                    Status::Held => "held",
                    Status::Committed => "committed",
                    Status::Released => "released",
                };
                let flag = |name: &str| answer.json[name].as_bool().unwrap_or(false);
                if answer.json["status"] != word || flag("late") != *late || flag("replayed") != *replayed {
                    self.fail(answer, expected);
                }
                self.counters(answer, stands, expected);
            }
            _ => self.problem(answer, expected),
        }
    }

    fn problem(&self, answer: &Answer, expected: &Outcome) {
        match expected {
            Outcome::Problem(status, code) if answer.status == *status && answer.json["code"] == *code => {}
            _ => self.fail(answer, expected),
        }
    }

    /// Compares used, held, and what follows from them, in any order.
    fn counters(&self, answer: &Answer, stands: &[Stand], expected: &Outcome) {
        let number = |value: &Value| value.as_u64();
        let mut told: Vec<_> = answer.json["counters"]
            .as_array()
            .unwrap_or_else(|| self.fail(answer, expected))
            .iter()
            .map(|it| {
                let group = it["groupId"].as_str().unwrap().to_owned();
                (group, number(&it["used"]), number(&it["held"]), number(&it["remaining"]), number(&it["overage"]))
            })
            .collect();
        let mut wanted: Vec<_> = stands
            .iter()
            .map(|(group, used, held)| {
                let left = quota(group).map(|quota| quota.saturating_sub(used + held));
                let over = quota(group).map_or(0, |quota| used.saturating_sub(quota));
                ((*group).to_owned(), Some(*used), Some(*held), left, Some(over))
            })
            .collect();
        told.sort();
        wanted.sort();
        if told != wanted {
            self.fail(answer, expected);
        }
    }
}

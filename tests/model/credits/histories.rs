//! Random histories of credits: every answer, and every amount of every credit after every call, under a clock that
//! jumps over expiries and windows.

use serde_json::{Value, json};

use super::{Credit, Expected, Model, QUOTA};
use crate::model::rules::{DAY_MS, MINUTE_MS, Ms, SECOND_MS, ms, text};
use crate::support::{Answer, START, World};

const STEPS: usize = 60;
/// Credits that are live at the same time, so that no history reaches the limit of 64.
const MOST_CREDITS: usize = 12;

/// A sequence of numbers that depends on its seed only.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn choice<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        (!list.is_empty()).then(|| &list[usize::try_from(self.below(list.len() as u64)).unwrap()])
    }
}

struct Play<'a> {
    world: &'a World,
    user: String,
    model: Model,
    random: Random,
    log: Vec<String>,
}

impl Play<'_> {
    fn event(is_image: bool) -> &'static str {
        if is_image { "image.render" } else { "video.render" }
    }

    /// Sends a call and compares its answer.
    async fn call(&mut self, path: &str, body: Value, expected: Expected) -> Result<Answer, String> {
        self.log.push(format!("{} {path} {body}", text(self.model.now_ms)));
        let answer = self.world.app.post(path, body).await;
        let overflow = &answer.json["overflow"][0]["amount"];
        let told = Expected {
            status: answer.status,
            allowed: answer.json["allowed"].as_bool().filter(|_| path == "reserve"),
            overflow: overflow.as_u64().filter(|_| answer.status == 200).unwrap_or(0),
        };
        match told == expected {
            true => Ok(answer),
            false => Err(format!("told {told:?}, expected {expected:?} in {}", answer.text)),
        }
    }

    async fn step(&mut self) -> Result<(), String> {
        let (kind, is_image, quantity) = (self.random.below(20), self.random.below(3) > 0, 1 + self.random.below(5));
        let all: Vec<usize> = (0..self.model.reservations.len()).rev().take(6).collect();
        let of = self.random.choice(&all).copied();
        let user = self.user.clone();
        let asked = json!({"userId": user, "event": Self::event(is_image), "quantity": quantity});
        match (kind, of) {
            (0..=4, _) | (5..=12, None) => {
                let ttl_s = [20, 60, 300][usize::try_from(self.random.below(3)).unwrap()];
                let mut body = asked;
                body["ttlSeconds"] = json!(ttl_s);
                let expected = self.model.reserve(is_image, quantity, ttl_s * SECOND_MS);
                let answer = self.call("reserve", body, expected).await?;
                if expected.allowed == Some(true) {
                    let made = self.model.reservations.last_mut().unwrap();
                    answer.json["reservationId"].as_str().unwrap().clone_into(&mut made.id);
                }
            }
            (5..=8, Some(of)) => {
                let is_final = self.random.below(4) > 0;
                let figure = (!is_final || self.random.below(2) > 0).then(|| self.random.below(9));
                let mut body = json!({"reservationId": self.model.reservations[of].id, "final": is_final});
                if let Some(figure) = figure {
                    body["quantity"] = json!(figure);
                }
                let expected = self.model.commit(of, figure, is_final);
                self.call("commit", body, expected).await?;
            }
            (9, Some(of)) => {
                let body = json!({"reservationId": self.model.reservations[of].id});
                let expected = self.model.release(of);
                self.call("release", body, expected).await?;
            }
            (10..=12, Some(of)) => {
                let it = &self.model.reservations[of];
                let event = format!("{}.refund", Self::event(it.day.is_some()));
                let metadata = json!({"reservationId": it.id});
                let body = json!({"userId": user, "event": event, "quantity": quantity, "metadata": metadata});
                let expected = self.model.refund(of, quantity);
                self.call("track", body, expected).await?;
            }
            (13, _) => {
                let enforce = self.random.below(2) > 0;
                let mut body = asked;
                body["enforce"] = json!(enforce);
                let expected = self.model.track(is_image, quantity, enforce);
                self.call("track", body, expected).await?;
            }
            (14, _) => {
                let mut body = asked;
                body["event"] = json!(format!("{}.refund", Self::event(is_image)));
                let expected = self.model.give_back(is_image, quantity);
                self.call("track", body, expected).await?;
            }
            (15..=16, _) => self.add_credit().await?,
            (17, _) => {
                let Some(of) = self.random.choice(&self.model.order()).copied() else { return Ok(()) };
                let amount = (self.random.below(2) > 0).then_some(quantity);
                let path = format!("credits/{}/void", self.model.credits[of].id);
                let expected = self.model.void(of, amount);
                self.call(&path, amount.map_or(json!({}), |amount| json!({"amount": amount})), expected).await?;
            }
            _ => {
                let steps = [10 * SECOND_MS, MINUTE_MS, 10 * MINUTE_MS, DAY_MS / 2];
                let now_ms = self.model.now_ms + steps[usize::try_from(self.random.below(4)).unwrap()];
                self.log.push(format!("{} is now", text(now_ms)));
                self.world.app.freeze(&text(now_ms)).await;
                self.model.advance(now_ms);
            }
        }
        Ok(())
    }

    async fn add_credit(&mut self) -> Result<(), String> {
        if self.model.credits.iter().filter(|credit| credit.is_listed()).count() >= MOST_CREDITS {
            return Ok(());
        }
        let amount = 1 + self.random.below(9);
        let lives = [None, Some(MINUTE_MS), Some(10 * MINUTE_MS), Some(DAY_MS)];
        let life_ms = lives[usize::try_from(self.random.below(4)).unwrap()];
        let ends_ms = life_ms.map(|life_ms| self.model.now_ms + life_ms);
        let mut body = json!({"groupId": "credits", "scope": {"user": self.user}, "amount": amount});
        if let Some(ends_ms) = ends_ms {
            body["expiresAt"] = json!(text(ends_ms));
        }
        let answer = self.call("credits", body, Expected::of(201)).await?;
        self.model.credits.push(Credit::new(answer.json["id"].as_str().unwrap(), amount, ends_ms));
        Ok(())
    }

    /// Compares every amount.
    async fn look(&self) -> Result<(), String> {
        let model = &self.model;
        let counter = async |group: &str, names: [&str; 4]| {
            let counter = self.world.app.counter(&self.user, group).await;
            names.map(|name| counter[name].as_u64().unwrap())
        };
        let names = ["used", "held", "remaining", "overage"];
        let told = [counter("images", names).await, counter("credits", names).await];
        if told != model.usage() {
            return Err(format!("usage is {told:?}, expected {:?}", model.usage()));
        }
        let path = format!("credits?groupId=credits&userId={}&limit=200", self.user);
        let list = self.world.app.get(&path).await.expect(200);
        let names = ["amount", "remaining", "held", "used", "lapsed", "voided"];
        let told: Vec<[u64; 6]> = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .rev()
            .map(|credit| names.map(|name| credit[name].as_u64().unwrap()))
            .collect();
        let expected: Vec<[u64; 6]> = model.credits.iter().map(Credit::figures).collect();
        match told == expected {
            true => Ok(()),
            false => Err(format!("credits are {told:?}, expected {expected:?}")),
        }
    }
}

/// A world for these histories.
pub async fn world() -> World {
    let world = World::frozen().await;
    let plan = json!({"periodType": "daily", "groups": [
        {"id": "images", "unit": "count", "quota": QUOTA, "overflow": "credits", "matches": [{"event": "image.*"}]},
        {"id": "credits", "kind": "balance", "unit": "count", "matches": [{"event": "video.*"}]}]});
    world.admin.plan("pro", plan).await;
    world
}

/// Plays the history of a seed for a user of its own. Returns how many calls it made, and the time at its end.
///
/// # Errors
/// The difference, and all calls until then.
pub async fn play(world: &World, seed: u64, now_ms: Option<Ms>) -> Result<(usize, Ms), String> {
    let user = format!("u_{seed}");
    world.app.subscribe(&user, "pro").await;
    let now_ms = now_ms.unwrap_or_else(|| ms(START));
    let model = Model::new(now_ms);
    let random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut play = Play { world, user, model, random, log: Vec::new() };
    for _ in 0..STEPS {
        let stepped = play.step().await;
        let seen = match stepped {
            Ok(()) => play.look().await,
            failed => failed,
        };
        seen.map_err(|what| format!("{what}\nafter\n{}", play.log.join("\n")))?;
    }
    Ok((play.log.len(), play.model.now_ms))
}

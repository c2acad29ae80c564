//! Histories under real concurrency: clients on two nodes make calls for a few users with small quotas at the same
//! time. The test records when each call was sent and answered; a history passes only if some sequential order of its
//! calls explains every answer.
//!
//! The order is searched for each user separately, which is cheap and equally strict, since here no counter belongs to
//! two users. Only the clock belongs to every user, and each user's order may place its steps independently. Parts of an
//! answer that come from a second read (the counters of a settlement, and everything but the decision in a repetition)
//! are not compared.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::call::{Call, Name, Reply, Stand};
use super::fit::Fit;
use super::limits::OwnLimit;
use super::order::{Timed, explain};
use super::outside;
use super::play::{reduced, send};
use super::rules::{DAY_MS, Item, Labels, Ms, SECOND_MS};
use super::settle::Actual;
use super::setup::{PLANS, start_ms};
use super::stage::{Scene, Stage};
use super::state::Model;
use crate::support::{Answer, Redis};

const CLIENTS: usize = 6;
const CALLS: usize = 12;
const USERS: usize = 2;
/// Number of histories that are played one after the other in one app, each with its own users.
const HISTORIES: usize = 6;

/// A call with its answer.
#[derive(Clone, Debug)]
struct Made {
    name: Name,
    keyed: bool,
    call: Call,
    reply: Reply,
}

/// The state that all clients share.
struct Crowd<'a> {
    scene: &'a Scene,
    number: usize,
    began_ms: Ms,
    /// The current time of the test clock.
    now_ms: AtomicI64,
    ticks: AtomicU64,
    names: AtomicU64,
    /// Reservations with their users, and active grants, by the ids that the gateway gave them.
    known: Mutex<Known>,
    history: Mutex<Vec<Timed<Made>>>,
}

#[derive(Default)]
struct Known {
    reservations: Vec<(Name, String, String)>,
    grants: Vec<(Name, String)>,
    /// Calls with an idempotency key, to be repeated.
    keyed: Vec<(Name, Call)>,
}

impl Crowd<'_> {
    fn user(&self, number: usize) -> String {
        format!("u{}_{number}", self.number)
    }

    fn name(&self) -> Name {
        usize::try_from(self.names.fetch_add(1, Ordering::SeqCst)).unwrap()
    }

    fn id(&self, of: Name) -> String {
        let known = self.known.lock().unwrap();
        let reservation = known.reservations.iter().find(|(name, ..)| *name == of).map(|(_, _, id)| id.clone());
        reservation
            .or_else(|| known.grants.iter().find(|(name, _)| *name == of).map(|(_, id)| id.clone()))
            .unwrap_or_default()
    }

    async fn call(&self, node: usize, name: Name, keyed: bool, call: Call) -> Answer {
        let request = call.request(|of| self.id(of), |_, _| String::new(), Value::Null);
        let sent = self.ticks.fetch_add(1, Ordering::SeqCst);
        let answer = send(self.scene, node, keyed.then_some(name), &call, request).await;
        let answered = self.ticks.fetch_add(1, Ordering::SeqCst);
        let reply = reduced(&call, call.read(&answer));
        self.remember(name, &call, &answer);
        self.history.lock().unwrap().push(Timed { sent, answered, call: Made { name, keyed, call, reply } });
        answer
    }

    fn remember(&self, name: Name, call: &Call, answer: &Answer) {
        let mut known = self.known.lock().unwrap();
        match call {
            Call::Reserve { user, .. } => {
                let Some(id) = answer.json["reservationId"].as_str() else { return };
                match known.reservations.iter().find(|(of, ..)| *of == name) {
                    Some((_, _, first)) => assert_eq!(first, id, "a repetition is the same reservation"),
                    None => known.reservations.push((name, user.clone(), id.to_owned())),
                }
            }
            Call::Grant { expires_ms: Some(_), .. } => {
                let Some(id) = answer.json["id"].as_str() else { return };
                match known.grants.iter().find(|(of, _)| *of == name) {
                    Some((_, first)) => assert_eq!(first, id, "a repetition is the same grant"),
                    None => known.grants.push((name, id.to_owned())),
                }
            }
            _ => {}
        }
    }

    /// Chooses a call, or `None` if it would need something that does not exist yet.
    fn draw(&self, random: &mut StdRng) -> Option<Call> {
        let user = self.user(random.random_range(0..USERS));
        let event = if random.random_bool(0.7) { "job.run" } else { "job.side" };
        let quantity = random.random_range(1..6);
        let item = Item { event, labels: Labels::default(), quantity };
        let known = self.known.lock().unwrap();
        let newest = known.reservations.len().saturating_sub(6)..known.reservations.len();
        let reservation = (!newest.is_empty()).then(|| known.reservations[random.random_range(newest)].clone());
        let of = reservation.as_ref().map(|(name, ..)| *name);
        let figure = [None, Some(0), Some(quantity), Some(quantity)][random.random_range(0..4)];
        Some(match random.random_range(0..100) {
            0..32 => {
                let fit = random.random_bool(0.4).then_some(Fit { item: 0, is_steps: false, min: quantity });
                let quantity = if fit.is_some() { 3 * quantity } else { quantity };
                let ttl_ms = [5, 60][random.random_range(0..2)] * SECOND_MS;
                Call::Reserve { user, items: vec![Item { quantity, ..item }], fit, ttl_ms }
            }
            32..36 => Call::CanUse { user, items: vec![item], fit: None },
            36..50 => {
                let figures = vec![Actual::of(figure)];
                Call::Commit { of: of?, figures, is_final: true, reject_late: quantity == 1 }
            }
            50..54 => {
                let figures = vec![Actual::of(Some(quantity))];
                Call::Commit { of: of?, figures, is_final: false, reject_late: false }
            }
            54..60 => Call::Release { of: of? },
            60..66 => {
                let ttl_ms = random.random_bool(0.5).then_some(90 * SECOND_MS);
                Call::Extend { of: of?, quantity: Some(quantity), ttl_ms }
            }
            66..73 => Call::Track { user, item, enforce: random.random_bool(0.7) },
            73..75 => Call::GiveBack { user, item },
            75..79 => {
                let (of, user, _) = reservation?;
                Call::Refund { user, of, quantity, steps: None }
            }
            79..86 => Call::Usage { user, labels: Labels::default() },
            86..90 => Call::Subscribe {
                user,
                plan: PLANS[random.random_range(0..2)],
                started_ms: None,
                cycle_ms: None,
                ends_ms: None,
                limits: None,
                reset: random.random_bool(0.2),
            },
            90..93 => {
                let expires_ms = random.random_bool(0.7).then_some(start_ms() + 30 * DAY_MS);
                Call::Grant { owner: format!("user={user}"), group: "month", amount: quantity, expires_ms }
            }
            93..95 if !known.grants.is_empty() => {
                Call::Revoke { of: known.grants[random.random_range(0..known.grants.len())].0 }
            }
            95..97 => Call::Reset { user, group: Some("month") },
            97 => Call::Block { user, blocked: random.random_bool(0.4) },
            98..100 => {
                let quota = random.random_bool(0.8).then(|| random.random_range(0..20));
                let group = ["fair", "watched"][random.random_range(0..2)];
                let limit = random.random_bool(0.8).then_some(OwnLimit { quota, until_ms: None });
                Call::Limit { owner: format!("user={user}"), group, limit }
            }
            _ => return None,
        })
    }

    async fn client(&self, number: usize, mut random: StdRng) {
        for _ in 0..CALLS {
            let node = random.random_range(0..2);
            let again = random.random_bool(0.12).then(|| {
                let known = self.known.lock().unwrap();
                let newest = known.keyed.len().saturating_sub(4)..known.keyed.len();
                (!newest.is_empty()).then(|| known.keyed[random.random_range(newest)].clone())
            });
            if let Some((name, call)) = again.flatten() {
                self.call(node, name, true, call).await;
            } else if number == 0 && random.random_bool(0.2) {
                // Only one client moves the clock, to where holds expire and minutes turn.
                let step_ms = [5, 5, 30, 60][random.random_range(0..4)] * SECOND_MS;
                let now_ms = self.now_ms.fetch_add(step_ms, Ordering::SeqCst) + step_ms;
                self.call(node, self.name(), false, Call::Time { now_ms }).await;
            } else if let Some(call) = self.draw(&mut random) {
                let (name, keyed) = (self.name(), call.takes_key() && random.random_bool(0.4));
                if keyed {
                    self.known.lock().unwrap().keyed.push((name, call.clone()));
                }
                // Some calls are sent twice at once, to both nodes, like by a client that did not wait for its answer.
                if keyed && random.random_bool(0.4) {
                    tokio::join!(self.call(node, name, true, call.clone()), self.call(1 - node, name, true, call));
                } else {
                    self.call(node, name, keyed, call).await;
                }
            }
        }
    }
}

/// The parts of an answer that the deciding step itself returned.
fn decided(call: &Call, reply: Reply, repeats: bool) -> Reply {
    let reply = reduced(call, reply);
    if repeats {
        return Reply { expires_ms: None, ..reply.lasting() };
    }
    let settles = matches!(call, Call::Commit { .. } | Call::Release { .. } | Call::Refund { .. });
    let denied = reply.allowed == Some(false);
    let mut reply = reply;
    if settles {
        for stand in &mut reply.counters {
            *stand = Stand { quota: None, rolled: None, remaining: None, overage: 0, ..stand.clone() };
        }
    }
    if denied && matches!(call, Call::Extend { .. }) {
        reply.expires_ms = None;
    }
    reply
}

fn step(model: &Model, made: &Made) -> Option<Model> {
    let Made { name, keyed, call, reply } = made;
    let repeats = model.repeats(*name, *keyed);
    let mut model = model.clone();
    let expected = model.apply(*name, *keyed, call);
    (decided(call, reply.clone(), repeats) == decided(call, expected, repeats)).then_some(model)
}

/// The user to whose order a call belongs, or `None` if it belongs to every user's.
fn subject<'a>(call: &'a Call, history: &'a [Timed<Made>]) -> Option<&'a str> {
    let of_name = |of: Name| {
        let made = history.iter().find(|timed| timed.call.name == of);
        made.and_then(|timed| subject(&timed.call.call, history))
    };
    match call {
        Call::Reserve { user, .. }
        | Call::CanUse { user, .. }
        | Call::Track { user, .. }
        | Call::GiveBack { user, .. }
        | Call::Refund { user, .. }
        | Call::Usage { user, .. }
        | Call::Subscribe { user, .. }
        | Call::Cancel { user, .. }
        | Call::Block { user, .. }
        | Call::Reset { user, .. } => Some(user),
        Call::Grant { owner, .. }
        | Call::Approve { owner, .. }
        | Call::Reject { owner, .. }
        | Call::Limit { owner, .. } => owner.strip_prefix("user="),
        Call::Commit { of, .. } | Call::Release { of } | Call::Extend { of, .. } | Call::Revoke { of } => of_name(*of),
        Call::Time { .. } | Call::Edit { .. } => None,
    }
}

/// Statistics of a concurrent history.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub histories: usize,
    pub calls: usize,
    pub denied: usize,
    /// Pairs of concurrent calls of one user.
    pub overlapping: usize,
    /// Checks of Redis meanwhile.
    pub looks: usize,
}

/// Plays several histories in a new app.
///
/// # Errors
/// The calls of a user that no order explains.
pub async fn play(stage: &Stage, seed: u64) -> Result<Figures, String> {
    let mut random = StdRng::seed_from_u64(seed);
    let scene = stage.scene(false, random.random_bool(0.3), false).await;
    let (mut figures, mut now_ms) = (Figures::default(), start_ms());
    for number in 0..HISTORIES {
        let crowd = Crowd {
            scene: &scene,
            number,
            began_ms: now_ms,
            now_ms: AtomicI64::new(now_ms),
            ticks: AtomicU64::new(0),
            names: AtomicU64::new(0),
            known: Mutex::new(Known::default()),
            history: Mutex::new(Vec::new()),
        };
        figures.looks += crowd.run(&stage.redis, &mut random).await?;
        now_ms = crowd.now_ms.load(Ordering::SeqCst);
        crowd.explained(&mut figures)?;
    }
    let verified = stage.verified(&scene.rules.app).await;
    match verified.drifts.is_empty() {
        true => Ok(figures),
        false => Err(format!("counters and ledger disagree: {:#?}", verified.drifts)),
    }
}

impl Crowd<'_> {
    /// Returns how often Redis was checked meanwhile.
    async fn run(&self, redis: &Redis, random: &mut StdRng) -> Result<usize, String> {
        for number in 0..USERS {
            let subscribe = Call::Subscribe {
                user: self.user(number),
                plan: PLANS[number % 2],
                started_ms: None,
                cycle_ms: None,
                ends_ms: None,
                limits: None,
                reset: false,
            };
            self.call(number % 2, self.name(), false, subscribe).await;
        }
        let clients = (0..CLIENTS).map(|number| self.client(number, StdRng::seed_from_u64(random.random())));
        let mut looks = 0;
        let watch = async {
            loop {
                outside::holds_add_up(redis, &self.scene.rules.app).await?;
                looks += 1;
            }
        };
        tokio::select! {
            _ = futures::future::join_all(clients.collect::<Vec<_>>()) => {}
            Err::<(), String>(fault) = watch => return Err(fault),
        }
        // The final state must be explained too.
        for number in 0..USERS {
            let usage = Call::Usage { user: self.user(number), labels: Labels::default() };
            self.call(number % 2, self.name(), false, usage).await;
        }
        Ok(looks)
    }

    fn explained(self, figures: &mut Figures) -> Result<(), String> {
        let users: Vec<String> = (0..USERS).map(|number| self.user(number)).collect();
        let history = self.history.into_inner().unwrap();
        figures.histories += 1;
        figures.calls += history.len();
        let first = Model::new(self.began_ms, self.scene.rules.clone());
        for user in users {
            let own = history.iter().filter(|timed| subject(&timed.call.call, &history).is_none_or(|of| of == user));
            let mut own: Vec<Timed<Made>> = own.cloned().collect();
            own.sort_by_key(|timed| timed.sent);
            let denied = |reply: &Reply| reply.allowed == Some(false) || reply.status == 429;
            figures.denied += own.iter().filter(|timed| denied(&timed.call.reply)).count();
            for (place, one) in own.iter().enumerate() {
                figures.overlapping += own[place + 1..].iter().filter(|other| other.sent < one.answered).count();
            }
            explain(&first, &own, step).map_err(|unexplained| tell(&user, &own, &unexplained.longest))?;
        }
        Ok(())
    }
}

fn tell(user: &str, calls: &[Timed<Made>], longest: &[usize]) -> String {
    let reply = calls.iter().enumerate().map(|(place, timed)| {
        let Timed { sent, answered, call: Made { name, keyed, call, reply } } = timed;
        let at = longest.iter().position(|known| *known == place);
        let at = at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let key = if *keyed { " keyed" } else { "" };
        format!("{at:>3} [{sent}, {answered}] {name}{key} {call:?}\n      {reply:?}")
    });
    let reply: Vec<String> = reply.collect();
    format!("no order explains the calls of {user}; the longest found is numbered\n{}", reply.join("\n"))
}

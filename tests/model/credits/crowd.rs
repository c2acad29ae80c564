//! Credits under real concurrency: clients on two nodes make calls for one user at the same time, while one of them
//! moves the clock over expiries and windows. A history passes only if some sequential order of its calls explains every
//! answer by the model of credits.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::{Credit, Expected, Model};
use crate::model::order::{Timed, explain};
use crate::model::rules::{DAY_MS, MINUTE_MS, Ms, SECOND_MS, text};
use crate::support::{Answer, Api};

const CLIENTS: usize = 5;
const CALLS: usize = 10;

#[derive(Clone, Debug)]
enum Call {
    Reserve {
        is_image: bool,
        quantity: u64,
        ttl_ms: Ms,
    },
    Commit {
        of: String,
        figure: Option<u64>,
        is_final: bool,
    },
    Release {
        of: String,
    },
    Refund {
        of: String,
        is_image: bool,
        quantity: u64,
    },
    Track {
        is_image: bool,
        quantity: u64,
        enforce: bool,
    },
    /// A refund without a reservation.
    GiveBack {
        is_image: bool,
        quantity: u64,
    },
    Add {
        source: u64,
        amount: u64,
        ends_ms: Option<Ms>,
    },
    Void {
        of: String,
        amount: Option<u64>,
    },
    /// The list of credits.
    List,
    Usage,
    Time {
        now_ms: Ms,
    },
}

/// The parts of an answer that the deciding step itself returned.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reply {
    told: Expected,
    /// Of the new reservation, or of the credit.
    id: Option<String>,
    /// The amounts of each credit or counter that the answer shows.
    figures: Vec<Vec<u64>>,
}

#[derive(Clone, Debug)]
struct Made {
    call: Call,
    reply: Reply,
}

fn event(is_image: bool) -> &'static str {
    if is_image { "image.render" } else { "video.render" }
}

fn figures(of: &Value, names: &[&str]) -> Vec<u64> {
    names.iter().map(|name| of[*name].as_u64().unwrap_or_else(|| panic!("no {name} in {of}"))).collect()
}

fn of_credit(credit: &Value) -> Vec<u64> {
    figures(credit, &["amount", "remaining", "held", "used", "lapsed", "voided"])
}

impl Call {
    /// Method, path and body.
    fn request(&self, user: &str) -> (&'static str, String, Option<Value>) {
        let post = |path: &str, body: Value| ("POST", path.to_owned(), Some(body));
        let asked = |event: &str, quantity: u64| json!({"userId": user, "event": event, "quantity": quantity});
        match self {
            Self::Reserve { is_image, quantity, ttl_ms } => {
                let mut body = asked(event(*is_image), *quantity);
                body["ttlSeconds"] = json!(ttl_ms / SECOND_MS);
                post("reserve", body)
            }
            Self::Commit { of, figure, is_final } => {
                let mut body = json!({"reservationId": of, "final": is_final});
                if let Some(figure) = figure {
                    body["quantity"] = json!(figure);
                }
                post("commit", body)
            }
            Self::Release { of } => post("release", json!({"reservationId": of})),
            Self::Refund { of, is_image, quantity } => {
                let mut body = asked(&format!("{}.refund", event(*is_image)), *quantity);
                body["metadata"] = json!({"reservationId": of});
                post("track", body)
            }
            Self::Track { is_image, quantity, enforce } => {
                let mut body = asked(event(*is_image), *quantity);
                body["enforce"] = json!(enforce);
                post("track", body)
            }
            Self::GiveBack { is_image, quantity } => {
                post("track", asked(&format!("{}.refund", event(*is_image)), *quantity))
            }
            Self::Add { source, amount, ends_ms } => {
                let scope = json!({"user": user});
                let source = format!("pay_{source}");
                let mut body = json!({"groupId": "credits", "scope": scope, "amount": amount, "sourceId": source});
                if let Some(ends_ms) = ends_ms {
                    body["expiresAt"] = json!(text(*ends_ms));
                }
                post("credits", body)
            }
            Self::Void { of, amount } => {
                let body = amount.map_or(json!({}), |amount| json!({"amount": amount}));
                post(&format!("credits/{of}/void"), body)
            }
            Self::List => ("GET", format!("credits?groupId=credits&userId={user}&limit=200"), None),
            Self::Usage => ("GET", format!("usage?userId={user}"), None),
            Self::Time { now_ms } => ("PUT", "test-clock".to_owned(), Some(json!({"now": text(*now_ms)}))),
        }
    }

    fn read(&self, answer: &Answer) -> Reply {
        let (json, succeeded) = (&answer.json, answer.status < 300);
        let is_reserve = matches!(self, Self::Reserve { .. });
        let told = Expected {
            status: answer.status,
            allowed: json["allowed"].as_bool().filter(|_| is_reserve),
            overflow: json["overflow"][0]["amount"].as_u64().filter(|_| succeeded).unwrap_or(0),
        };
        let id = match self {
            Self::Reserve { .. } => json["reservationId"].as_str(),
            Self::Add { .. } | Self::Void { .. } => json["id"].as_str(),
            _ => None,
        };
        let figures = match self {
            Self::Add { .. } | Self::Void { .. } if succeeded => vec![of_credit(json)],
            Self::List => json["data"].as_array().unwrap().iter().rev().map(of_credit).collect(),
            Self::Usage => {
                let counters = json["counters"].as_array().unwrap();
                let counter = |group: &str| {
                    let counter = counters.iter().find(|counter| counter["groupId"] == group).unwrap();
                    figures(counter, &["used", "held", "remaining", "overage"])
                };
                vec![counter("images"), counter("credits")]
            }
            _ => Vec::new(),
        };
        Reply { told, id: id.map(str::to_owned), figures }
    }
}

/// The model, with the place of the credit that each source has added.
#[derive(Clone, Debug, Hash)]
struct State {
    model: Model,
    sources: BTreeMap<u64, usize>,
}

impl State {
    fn reservation(&self, id: &str) -> Option<usize> {
        self.model.reservations.iter().position(|it| it.id == id)
    }

    fn add(&mut self, source: u64, amount: u64, ends_ms: Option<Ms>, id: Option<&str>) -> Option<(usize, u16)> {
        if let Some(place) = self.sources.get(&source) {
            return Some((*place, 200));
        }
        self.model.credits.push(Credit::new(id?, amount, ends_ms));
        let place = self.model.credits.len() - 1;
        self.sources.insert(source, place);
        Some((place, 201))
    }

    /// The expected reply; None if the call cannot be made yet. New reservations and credits get the ID of the answer.
    fn apply(&mut self, call: &Call, id: Option<&str>) -> Option<Reply> {
        let reply = |told: Expected| Reply { told, id: None, figures: Vec::new() };
        let shown = |credit: &Credit| (Some(credit.id.clone()), vec![credit.figures().to_vec()]);
        Some(match call {
            Call::Reserve { is_image, quantity, ttl_ms } => {
                let told = self.model.reserve(*is_image, *quantity, *ttl_ms);
                if told.allowed != Some(true) {
                    return Some(reply(told));
                }
                id?.clone_into(&mut self.model.reservations.last_mut()?.id);
                Reply { id: id.map(str::to_owned), ..reply(told) }
            }
            Call::Commit { of, figure, is_final } => {
                let of = self.reservation(of)?;
                reply(self.model.commit(of, *figure, *is_final))
            }
            Call::Release { of } => {
                let of = self.reservation(of)?;
                reply(self.model.release(of))
            }
            Call::Refund { of, quantity, .. } => {
                let of = self.reservation(of)?;
                reply(self.model.refund(of, *quantity))
            }
            Call::Track { is_image, quantity, enforce } => reply(self.model.track(*is_image, *quantity, *enforce)),
            Call::GiveBack { is_image, quantity } => reply(self.model.give_back(*is_image, *quantity)),
            // A source that has added its credit gets it also after the credit has expired.
            Call::Add { source, ends_ms: Some(end), .. }
                if *end <= self.model.now_ms && !self.sources.contains_key(source) =>
            {
                reply(Expected::of(400))
            }
            Call::Add { source, amount, ends_ms } => {
                let (place, status) = self.add(*source, *amount, *ends_ms, id)?;
                let (id, figures) = shown(&self.model.credits[place]);
                Reply { told: Expected::of(status), id, figures }
            }
            Call::Void { of, amount } => {
                let place = self.model.credits.iter().position(|credit| credit.id == *of)?;
                let told = self.model.void(place, *amount);
                if told.status != 200 {
                    return Some(reply(told));
                }
                let (id, figures) = shown(&self.model.credits[place]);
                Reply { told, id, figures }
            }
            Call::List => {
                let figures = self.model.credits.iter().map(|credit| credit.figures().to_vec()).collect();
                Reply { figures, ..reply(Expected::of(200)) }
            }
            Call::Usage => {
                let figures = self.model.usage().map(|counter| counter.to_vec()).to_vec();
                Reply { figures, ..reply(Expected::of(200)) }
            }
            Call::Time { now_ms } => {
                self.model.advance(*now_ms);
                reply(Expected::of(200))
            }
        })
    }
}

fn step(state: &State, made: &Made) -> Option<State> {
    let mut state = state.clone();
    let expected = state.apply(&made.call, made.reply.id.as_deref())?;
    (expected == made.reply).then_some(state)
}

/// The state that all clients share.
struct Crowd<'a> {
    nodes: [&'a Api; 2],
    user: String,
    /// The current time of the test clock.
    now_ms: AtomicI64,
    ticks: AtomicU64,
    sources: AtomicU64,
    known: Mutex<Known>,
    history: Mutex<Vec<Timed<Made>>>,
}

#[derive(Default)]
struct Known {
    /// With whether they are of images.
    reservations: Vec<(String, bool)>,
    credits: Vec<String>,
    /// To be repeated.
    adds: Vec<Call>,
}

/// One of the newest.
fn newest<'a, T>(list: &'a [T], random: &mut StdRng) -> Option<&'a T> {
    let newest = &list[list.len().saturating_sub(6)..];
    (!newest.is_empty()).then(|| &newest[random.random_range(0..newest.len())])
}

impl Crowd<'_> {
    async fn call(&self, node: usize, call: Call) -> Reply {
        let (method, path, body) = call.request(&self.user);
        let sent = self.ticks.fetch_add(1, Ordering::SeqCst);
        let answer = self.nodes[node].send(method, &path, body.map(|body| body.to_string())).await;
        let answered = self.ticks.fetch_add(1, Ordering::SeqCst);
        let reply = call.read(&answer);
        let mut known = self.known.lock().unwrap();
        match (&call, &reply.id) {
            (Call::Reserve { is_image, .. }, Some(id)) => known.reservations.push((id.clone(), *is_image)),
            (Call::Add { .. }, Some(id)) if reply.told.status == 201 => known.credits.push(id.clone()),
            _ => {}
        }
        drop(known);
        self.history.lock().unwrap().push(Timed { sent, answered, call: Made { call, reply: reply.clone() } });
        reply
    }

    /// Chooses a call, or `None` if it would need something that does not exist yet.
    fn draw(&self, random: &mut StdRng) -> Option<Call> {
        let known = self.known.lock().unwrap();
        let (is_image, quantity) = (random.random_bool(0.7), random.random_range(1..6));
        let reservation = newest(&known.reservations, random).cloned();
        let of = reservation.as_ref().map(|(id, _)| id.clone());
        Some(match random.random_range(0..100) {
            0..30 => {
                let ttl_ms = [20, 60, 300][random.random_range(0..3)] * SECOND_MS;
                Call::Reserve { is_image, quantity, ttl_ms }
            }
            30..48 => {
                let is_final = random.random_bool(0.75);
                let figure = (!is_final || random.random_bool(0.6)).then(|| random.random_range(0..9));
                Call::Commit { of: of?, figure, is_final }
            }
            48..56 => Call::Release { of: of? },
            56..62 => {
                let (of, is_image) = reservation?;
                Call::Refund { of, is_image, quantity }
            }
            62..67 => Call::Track { is_image, quantity, enforce: random.random_bool(0.5) },
            67..69 => Call::GiveBack { is_image, quantity },
            69..81 => {
                let lives_ms = [None, Some(MINUTE_MS), Some(10 * MINUTE_MS), Some(DAY_MS)];
                let life_ms = lives_ms[random.random_range(0..lives_ms.len())];
                let ends_ms = life_ms.map(|life_ms| self.now_ms.load(Ordering::SeqCst) + life_ms);
                let source = self.sources.fetch_add(1, Ordering::SeqCst);
                Call::Add { source, amount: random.random_range(1..10), ends_ms }
            }
            81..84 => newest(&known.adds, random)?.clone(),
            84..91 => {
                let amount = random.random_bool(0.5).then_some(quantity);
                Call::Void { of: newest(&known.credits, random)?.clone(), amount }
            }
            91..96 => Call::List,
            _ => Call::Usage,
        })
    }

    async fn client(&self, number: usize, mut random: StdRng) {
        for _ in 0..CALLS {
            let node = random.random_range(0..2);
            if number == 0 && random.random_bool(0.3) {
                // Only one client moves the clock, to where holds and credits expire, and days end.
                let steps_ms = [10 * SECOND_MS, MINUTE_MS, 10 * MINUTE_MS, DAY_MS / 2];
                let step_ms = steps_ms[random.random_range(0..steps_ms.len())];
                let now_ms = self.now_ms.fetch_add(step_ms, Ordering::SeqCst) + step_ms;
                self.call(node, Call::Time { now_ms }).await;
                continue;
            }
            let Some(call) = self.draw(&mut random) else { continue };
            let is_add = matches!(call, Call::Add { .. });
            if is_add {
                self.known.lock().unwrap().adds.push(call.clone());
            }
            // Some payments are reported twice at once, to both nodes.
            if is_add && random.random_bool(0.5) {
                tokio::join!(self.call(node, call.clone()), self.call(1 - node, call));
            } else {
                self.call(node, call).await;
            }
        }
    }

    /// Each credit adds up, and all of them to what was added.
    fn add_up(&self, listed: &[Vec<u64>]) -> Result<(), String> {
        let history = self.history.lock().unwrap();
        let added = history.iter().filter(|timed| timed.call.reply.told.status == 201);
        let added: u64 = added.map(|timed| timed.call.reply.figures[0][0]).sum();
        let is_whole = |credit: &Vec<u64>| credit[0] == credit[1..].iter().sum::<u64>();
        match listed.iter().all(is_whole) && listed.iter().map(|credit| credit[0]).sum::<u64>() == added {
            true => Ok(()),
            false => Err(format!("{added} was added, and the credits of {} are {listed:?}", self.user)),
        }
    }
}

/// Statistics of concurrent histories.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub calls: usize,
    pub denied: usize,
    /// Calls that took or charged credits beyond the quota.
    pub overflowed: usize,
    /// Credits that were not added again.
    pub known: usize,
    /// Pairs of concurrent calls.
    pub overlapping: usize,
}

impl Figures {
    fn count(&mut self, history: &[Timed<Made>]) {
        self.calls += history.len();
        for (place, one) in history.iter().enumerate() {
            let Made { call, reply } = &one.call;
            self.denied += usize::from(reply.told.allowed == Some(false) || reply.told.status == 429);
            self.overflowed += usize::from(reply.told.overflow > 0);
            self.known += usize::from(matches!(call, Call::Add { .. }) && reply.told.status == 200);
            self.overlapping += history[place + 1..].iter().filter(|other| other.sent < one.answered).count();
        }
    }
}

/// Plays a history for a user of its own. Returns the time at its end.
///
/// # Errors
/// The calls that no order explains, or credits that do not add up.
pub async fn play(nodes: [&Api; 2], user: String, seed: u64, now_ms: Ms, figures: &mut Figures) -> Result<Ms, String> {
    nodes[0].subscribe(&user, "pro").await;
    let crowd = Crowd {
        nodes,
        user,
        now_ms: AtomicI64::new(now_ms),
        ticks: AtomicU64::new(0),
        sources: AtomicU64::new(0),
        known: Mutex::new(Known::default()),
        history: Mutex::new(Vec::new()),
    };
    let mut random = StdRng::seed_from_u64(seed);
    let clients = (0..CLIENTS).map(|number| crowd.client(number, StdRng::seed_from_u64(random.random())));
    futures::future::join_all(clients.collect::<Vec<_>>()).await;
    // The final state must be explained too.
    crowd.call(0, Call::Usage).await;
    let listed = crowd.call(1, Call::List).await.figures;
    crowd.add_up(&listed)?;
    let ended_ms = crowd.now_ms.load(Ordering::SeqCst);
    let mut history = crowd.history.into_inner().unwrap();
    history.sort_by_key(|timed| timed.sent);
    figures.count(&history);
    let first = State { model: Model::new(now_ms), sources: BTreeMap::new() };
    match explain(&first, &history, step) {
        Ok(_) => Ok(ended_ms),
        Err(unexplained) => Err(tell(&history, &unexplained.longest)),
    }
}

fn tell(calls: &[Timed<Made>], longest: &[usize]) -> String {
    let lines = calls.iter().enumerate().map(|(place, timed)| {
        let Timed { sent, answered, call: Made { call, reply } } = timed;
        let at = longest.iter().position(|known| *known == place);
        let at = at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        format!("{at:>3} [{sent}, {answered}] {call:?}\n      {reply:?}")
    });
    let lines: Vec<String> = lines.collect();
    format!("no order explains the calls; the longest found is numbered\n{}", lines.join("\n"))
}

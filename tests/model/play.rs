//! Plays a history call by call on the gateway and on the model, and reports differences.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::call::{Call, Name, Reply, Stand};
use super::outside;
use super::rules::text;
use super::setup::{PLANS, start_ms};
use super::stage::{Scene, Stage};
use super::state::Model;
use super::steps::{History, Step, USERS, user};
use crate::support::{Answer, Api, PATIENCE};

/// Number of calls between two checks of Redis.
const LOOK_EVERY: usize = 12;

pub struct Play<'a> {
    stage: &'a Stage,
    scene: Scene,
    model: Model,
    ids: HashMap<Name, String>,
    requests: BTreeMap<(String, String), String>,
    /// The calls so far, for the message of a failure.
    reply: Vec<String>,
    calls: usize,
    edited: Option<Instant>,
}

/// A node that makes no decision learns of a changed plan within a second, unless the machine pauses.
const HEARS_WITHIN: Duration = PATIENCE;

/// Statistics of a history.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub calls: usize,
    pub denied: usize,
    /// Allowed calls that a group which only observes would have denied.
    pub observed: usize,
    /// Calls of which a figure was fitted.
    pub fitted: usize,
    pub repeated: usize,
    /// Alerts that were reported.
    pub alerts: usize,
    pub looks: usize,
}

fn subscribed(number: usize) -> Call {
    Call::Subscribe {
        user: user(number),
        plan: PLANS[number % PLANS.len()],
        started_ms: None,
        cycle_ms: None,
        ends_ms: None,
        limits: None,
        reset: false,
    }
}

/// Sends a call to a node.
pub async fn send(
    scene: &Scene,
    node: usize,
    key: Option<Name>,
    call: &Call,
    request: (&str, String, Value),
) -> Answer {
    let (method, path, body) = request;
    let api: &Api = if call.by_operator() { &scene.operators[node] } else { &scene.apps[node] };
    let body = (!body.is_null()).then(|| body.to_string());
    match key {
        Some(name) => api.once(&format!("key-{name}")).send(method, &path, body).await,
        None => api.send(method, &path, body).await,
    }
}

/// Of these calls only status and code are compared; their effects show in the counters.
pub fn reduced(call: &Call, reply: Reply) -> Reply {
    match call {
        Call::Edit { .. }
        | Call::Grant { .. }
        | Call::Approve { .. }
        | Call::Time { .. }
        | Call::Revoke { .. }
        | Call::Limit { .. } => Reply { status: reply.status, code: reply.code, ..Reply::default() },
        _ => reply,
    }
}

impl<'a> Play<'a> {
    /// # Errors
    /// The difference, and all calls until then.
    pub async fn run(stage: &'a Stage, history: &History) -> Result<Figures, String> {
        let scene = stage.scene(history.shared, !history.shared, history.default_plan).await;
        let model = Model::new(start_ms(), scene.rules.clone());
        let mut play = Self {
            stage,
            scene,
            model,
            ids: HashMap::new(),
            requests: BTreeMap::new(),
            reply: Vec::new(),
            calls: 0,
            edited: None,
        };
        let mut figures = Figures::default();
        // The last user has no subscription.
        for number in 0..USERS - 1 {
            play.call(0, false, &subscribed(number), None, &mut figures).await?;
        }
        for step in &history.steps {
            play.step(step, &mut figures).await?;
            if play.calls.is_multiple_of(LOOK_EVERY) {
                play.look(&mut figures).await?;
            }
        }
        play.look(&mut figures).await?;
        outside::nothing_else_stays(&stage.redis, &play.scene.rules.app).await;
        let verified = stage.verified(&play.scene.rules.app).await;
        if !verified.drifts.is_empty() {
            return Err(play.failure(&format!("counters and ledger disagree: {:#?}", verified.drifts)));
        }
        figures.calls = play.calls;
        Ok(figures)
    }

    fn failure(&self, what: &str) -> String {
        format!("{what}\nafter\n{}", self.reply.join("\n"))
    }

    async fn look(&mut self, figures: &mut Figures) -> Result<(), String> {
        figures.looks += 1;
        let seen = outside::look(&self.stage.redis, &self.model).await;
        seen.map_err(|what| self.failure(&what))
    }

    async fn step(&mut self, step: &Step, figures: &mut Figures) -> Result<(), String> {
        match step.call(&self.model) {
            Some((call, again)) => self.call(step.node, step.keyed, &call, again, figures).await,
            None => Ok(()),
        }
    }

    async fn call(
        &mut self,
        node: usize,
        keyed: bool,
        call: &Call,
        again: Option<Name>,
        figures: &mut Figures,
    ) -> Result<(), String> {
        let name = again.unwrap_or(self.calls);
        let keyed = again.is_some() || (keyed && call.takes_key());
        self.calls += 1;
        let key = if keyed { format!(" key-{name}") } else { String::new() };
        self.reply.push(format!("{name:>3} {} node {node}{key} {call:?}", text(self.model.now_ms)));
        let repeats = self.model.repeats(name, keyed);
        let expected = self.model.apply(name, keyed, call);
        let body = match call {
            Call::Edit { policy, of, .. } => Scene::body(&self.model.rules, *policy, of),
            _ => Value::Null,
        };
        let id = |of: Name| self.ids.get(&of).cloned().unwrap_or_default();
        let asked = |owner: &str, group: &str| {
            self.requests.get(&(owner.to_owned(), group.to_owned())).cloned().unwrap_or_default()
        };
        let request = call.request(id, asked, body);
        let answer = send(&self.scene, node, keyed.then_some(name), call, request).await;
        if repeats {
            figures.repeated += 1;
            return self.repeated(name, call, &expected, &answer);
        }
        let reply = reduced(call, call.read(&answer));
        if matches!(call, Call::Edit { .. }) {
            self.edited = Some(Instant::now());
        }
        if reply != reduced(call, expected.clone()) && !self.is_by_earlier_rules(call, &reply, &expected) {
            return Err(self.failure(&differ(&reply, &expected, &answer)));
        }
        figures.alerts += expected.passed.len();
        figures.observed += usize::from(expected.allowed == Some(true) && !expected.observed.is_empty());
        figures.fitted += usize::from(expected.fitted.is_some());
        figures.denied += usize::from(expected.allowed == Some(false) || expected.status == 429);
        self.remember(name, call, &answer);
        Ok(())
    }

    /// A settlement does not depend on the rules; its answer only shows quotas and what remains. For a moment after a
    /// change of the rules, it may therefore show the earlier ones.
    fn is_by_earlier_rules(&self, call: &Call, reply: &Reply, expected: &Reply) -> bool {
        let settles = matches!(call, Call::Commit { .. } | Call::Release { .. } | Call::Refund { .. });
        let lately = self.edited.is_some_and(|at| at.elapsed() < HEARS_WITHIN);
        let figures = |reply: &Reply| {
            let counters = reply.counters.iter().cloned();
            let counters = counters.map(|stand| Stand { quota: None, remaining: None, overage: 0, ..stand }).collect();
            Reply { counters, ..reply.clone() }
        };
        settles && lately && figures(reply) == figures(expected)
    }

    /// A repetition changes nothing and returns the same answer.
    fn repeated(&self, name: Name, call: &Call, expected: &Reply, answer: &Answer) -> Result<(), String> {
        let reply = reduced(call, call.read(answer)).lasting();
        let first = expected;
        let mut expected = reduced(call, first.clone()).lasting();
        if expected.status >= 400 && expected.status != 429 {
            return if reply == expected { Ok(()) } else { Err(self.failure(&differ(&reply, &expected, answer))) };
        }
        let of = match call {
            Call::Reserve { .. } => Some(name),
            // If the extension was denied, the answer shows what the reservation has.
            Call::Extend { of, .. } if expected.allowed == Some(false) => Some(*of),
            _ => None,
        };
        if let Some(it) = of.and_then(|of| self.model.reservations.get(&of)) {
            expected.expires_ms = Some(it.expires_ms);
        }
        let id = ["reservationId", "id"].iter().find_map(|name| answer.json[*name].as_str());
        let made = matches!(call, Call::Reserve { .. } | Call::Grant { .. } | Call::Approve { .. });
        let same = !made || self.ids.get(&name).map(String::as_str) == id;
        let alerts = |reply: &Reply| reply.passed.clone();
        let same = same && (!matches!(call, Call::Track { .. }) || alerts(&call.read(answer)) == alerts(first));
        if reply != expected || !same || answer.header("idempotent-replayed") != Some("true") {
            return Err(self.failure(&format!("a repetition: {}", differ(&reply, &expected, answer))));
        }
        Ok(())
    }

    fn remember(&mut self, name: Name, call: &Call, answer: &Answer) {
        let id = ["reservationId", "id"].iter().find_map(|name| answer.json[*name].as_str());
        if let (Call::Reserve { .. } | Call::Grant { .. } | Call::Approve { .. }, Some(id)) = (call, id) {
            self.ids.insert(name, id.to_owned());
        }
        let decision = if answer.json["decision"].is_object() { &answer.json["decision"] } else { &answer.json };
        for denied in decision["deniedBy"].as_array().into_iter().flatten() {
            let Some(id) = denied["approval"]["id"].as_str() else { continue };
            let group = denied["groupId"].as_str().unwrap();
            let counters = decision["counters"].as_array().unwrap();
            let counter = counters.iter().find(|counter| counter["groupId"] == group).unwrap();
            let owner = counter["scope"].as_object().unwrap().iter();
            let owner: Vec<String> = owner.map(|(name, value)| format!("{name}={}", value.as_str().unwrap())).collect();
            self.requests.insert((owner.join(","), group.to_owned()), id.to_owned());
        }
    }
}

fn differ(reply: &Reply, expected: &Reply, answer: &Answer) -> String {
    format!("told     {reply:?}\nexpected {expected:?}\nin {} {}", answer.status, answer.text)
}

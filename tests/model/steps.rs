//! Random steps, and the call that each one becomes in the current state of the model. Steps are plain numbers, so
//! that a failing history shrinks to few and small ones.

use proptest::prelude::*;

use super::amounts::scaled;
use super::call::{Call, Edit, Name};
use super::fit::Fit;
use super::limits::OwnLimit;
use super::rules::{Enforcement, Item, Labels, MINUTE_MS, Ms, Period, SECOND_MS};
use super::settle::Actual;
use super::setup::{EVENTS, GROUPS, PLANS};
use super::state::{GRACE_MS, Model, RequestStatus, Reservation, Status};

pub const USERS: usize = 3;

#[derive(Clone, Debug)]
pub struct Step {
    what: u8,
    user: usize,
    /// Which of the two nodes receives the call.
    pub node: usize,
    pub keyed: bool,
    picks: [usize; 4],
}

#[derive(Clone, Debug)]
pub struct History {
    /// Whether some counters belong to several users; otherwise users are spread over buckets.
    pub shared: bool,
    pub default_plan: bool,
    pub steps: Vec<Step>,
}

pub fn steps(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let step = (0..100u8, 0..USERS, 0..2usize, prop::bool::weighted(0.3), prop::array::uniform4(0..1000usize));
    let step = step.prop_map(|(what, user, node, keyed, picks)| Step { what, user, node, keyed, picks });
    prop::collection::vec(step, count)
}

pub fn histories() -> impl Strategy<Value = History> {
    (prop::bool::weighted(0.9), any::<bool>(), steps(30..120)).prop_map(|(shared, default_plan, steps)| History {
        shared,
        default_plan,
        steps,
    })
}

pub fn user(number: usize) -> String {
    format!("u{number}")
}

fn of<T: Copy>(list: &[T], pick: usize) -> T {
    list[pick % list.len()]
}

impl Step {
    fn pick(&self, place: usize, most: usize) -> usize {
        self.picks[place] % most
    }

    fn labels(&self) -> Labels {
        let team = of(&[Some("red"), Some("blue"), None], self.picks[2]);
        let size = of(&[None, Some("big"), Some("small")], self.picks[2] / 3);
        Labels { team, size, steps: of(&[None, Some(0), Some(self.picks[1] as u64 % 300)], self.picks[2] / 9) }
    }

    /// Usually one of the newest.
    fn recent<T: Clone>(&self, mut all: Vec<T>) -> Option<T> {
        let newest = if self.pick(0, 5) > 0 { 4 } else { all.len() };
        all.drain(..all.len().saturating_sub(newest));
        (!all.is_empty()).then(|| all[self.pick(1, all.len())].clone())
    }

    /// Sometimes a reservation that expires, or whose grace period ends, at this very moment.
    fn reservation(&self, model: &Model) -> Option<Name> {
        let ends_now = |it: &Reservation| [it.expires_ms, it.expires_ms + GRACE_MS].contains(&model.now_ms);
        let ending = model.reservations.iter().find(|(_, it)| it.status == Status::Held && ends_now(it));
        if let Some((name, _)) = ending.filter(|_| self.pick(1, 2) == 0) {
            return Some(*name);
        }
        self.recent(model.reservations.keys().copied().collect())
    }

    fn quantity(&self) -> u64 {
        1 + self.pick(3, 6) as u64
    }

    /// Usually one item; sometimes several, of the same team.
    fn items(&self, first: Item) -> Vec<Item> {
        let mut items = vec![first];
        let count = if (self.picks[3] / 6).is_multiple_of(5) { 1 + self.picks[1] / 5 % 3 } else { 1 };
        for place in 1..count {
            let pick = self.picks[0] / 7 + place * (1 + self.picks[2] % 5);
            let size = of(&[None, Some("big")], pick / 6);
            let labels = Labels { size, steps: of(&[None, Some(40 * place as u64 + 7)], pick / 12), ..first.labels };
            items.push(Item { event: EVENTS[pick % 4], labels, quantity: 1 + (pick % 3) as u64 });
        }
        items
    }

    /// Sometimes one figure of one item may be reduced; its quantity is then large, so that it often has to be.
    fn fitted(&self, mut items: Vec<Item>) -> (Vec<Item>, Option<Fit>) {
        let pick = self.picks[0] / 10 + self.picks[3] / 30;
        if !pick.is_multiple_of(4) {
            return (items, None);
        }
        let (item, is_steps) = (pick / 4 % items.len(), (pick / 12).is_multiple_of(2));
        if !is_steps {
            items[item].quantity *= 5;
        }
        let min = 1 + (if is_steps { pick * 7 % 90 } else { pick % 6 }) as u64;
        (items, Some(Fit { item, is_steps, min }))
    }

    /// The call and the name of the call it repeats, if any; `None` if the call needs something that does not exist.
    pub fn call(&self, model: &Model) -> Option<(Call, Option<Name>)> {
        let user = user(self.user);
        let event = match self.pick(0, 10) {
            rare @ 0..4 => EVENTS[2 + rare],
            4..6 => EVENTS[1],
            _ => EVENTS[0],
        };
        let (labels, quantity) = (self.labels(), self.quantity());
        let item = Item { event, labels, quantity };
        let (user, now) = (user, model.now_ms);
        let call = match self.what {
            0..26 => {
                let ttl_ms = of(&[60, 5, 60, 600, 3600], self.picks[1]) * SECOND_MS;
                let (items, fit) = self.fitted(self.items(item));
                Call::Reserve { user, items, fit, ttl_ms }
            }
            26..29 => {
                let (items, fit) = self.fitted(self.items(item));
                Call::CanUse { user, items, fit }
            }
            29..43 => self.commit(model)?,
            43..46 => Call::Release { of: self.reservation(model)? },
            46..48 => self.limit(&user, model),
            48..54 => {
                let of = self.reservation(model)?;
                let alone = model.reservations[&of].items.len() == 1;
                let more = (alone && self.pick(2, 5) < 3).then_some(quantity);
                let ttl = more.is_none() || self.pick(2, 2) == 0;
                let ttl_ms = ttl.then(|| (1 + self.picks[3] as Ms * 3) * SECOND_MS);
                Call::Extend { of, quantity: more, ttl_ms }
            }
            54..60 => Call::Track { user, item, enforce: self.pick(1, 2) == 1 },
            60..62 => Call::GiveBack { user, item },
            62..65 => {
                let of = self.reservation(model)?;
                // Sometimes another user's.
                let user = if self.pick(2, 8) == 0 { user } else { model.reservations[&of].user.clone() };
                Call::Refund { user, of, quantity, steps: labels.steps }
            }
            65..67 => Call::Usage { user, labels },
            67..68 => self.limit(&user, model),
            68..78 => Call::Time { now_ms: self.time(model) },
            78..84 => self.subscribe(user, model),
            84..85 => {
                Call::Cancel { user, ends_ms: of(&[None, None, Some(now + MINUTE_MS), Some(now - 1)], self.picks[0]) }
            }
            85..87 => Call::Block { user, blocked: self.pick(0, 3) == 0 },
            87..88 => Call::Reset { user, group: (self.pick(0, 3) > 0).then(|| of(&GROUPS, self.picks[1])) },
            88..91 => self.grant(&user, model),
            91..92 => Call::Revoke { of: self.any_grant(model)? },
            92..95 => self.edit(model),
            95..97 => self.decide(model)?,
            _ => return self.again(model),
        };
        Some((call, None))
    }

    fn commit(&self, model: &Model) -> Option<Call> {
        let of = self.reservation(model)?;
        let is_final = self.pick(2, 4) > 0;
        let quantity = match self.pick(3, 10) {
            0..4 if is_final => None,
            4 if is_final => Some(0),
            figure => Some(figure as u64),
        };
        let size = (self.pick(2, 7) == 0).then_some("big");
        let steps = (self.pick(1, 5) == 0).then_some(self.picks[2] as u64 % 350);
        let mut figures = vec![Actual { quantity, size, steps }];
        for place in 1..model.reservations[&of].items.len() {
            // Items have no quantity if the first one has none, and sometimes otherwise.
            let said = quantity.filter(|_| !(self.picks[2] / 7 + place).is_multiple_of(3));
            figures.push(Actual {
                quantity: said.map(|quantity| quantity / 2),
                size: None,
                steps: steps.filter(|_| place == 1),
            });
        }
        Some(Call::Commit { of, figures, is_final, reject_late: self.pick(3, 6) == 0 })
    }

    /// A time shortly or long after now, or exactly at, a second before, or a second after something ends.
    fn time(&self, model: &Model) -> Ms {
        let edges = model.edges();
        let (now, pick) = (model.now_ms, self.picks[1] as Ms);
        match self.pick(0, 10) {
            0..3 => now + (1 + pick % 40) * SECOND_MS,
            3 => now + pick,
            4 => now + pick * MINUTE_MS,
            5 if pick % 3 == 0 => now + pick * 60 * MINUTE_MS,
            _ if !edges.is_empty() => {
                let edge = edges[self.pick(2, edges.len().min(6))];
                (edge + of(&[0, 0, -1, 1, SECOND_MS], self.picks[3])).max(now)
            }
            _ => now + SECOND_MS,
        }
    }

    fn subscribe(&self, user: String, model: &Model) -> Call {
        let running = model.running(&user).map(|running| running.plan);
        let same = running.filter(|_| self.pick(0, 3) == 0);
        let plan = same.unwrap_or_else(|| of(&PLANS, self.picks[1]));
        let now = model.now_ms;
        let at = |pick: usize| now + (pick as Ms % 97 - 70) * 11 * 60 * MINUTE_MS;
        let groups: Vec<&'static str> = model.rules.plans[plan].groups.iter().map(|group| group.id).collect();
        let group = if self.pick(3, 9) == 0 { GROUPS[self.pick(2, GROUPS.len())] } else { of(&groups, self.picks[2]) };
        Call::Subscribe {
            user,
            plan,
            started_ms: (self.pick(2, 7) == 0).then(|| at(self.picks[3] % 72)),
            cycle_ms: (self.pick(2, 5) == 1).then(|| (self.pick(3, 4) > 0).then(|| at(self.picks[3]))),
            ends_ms: (self.pick(2, 6) == 2)
                .then(|| (self.pick(3, 3) > 0).then(|| now + self.picks[3] as Ms * MINUTE_MS)),
            limits: (self.pick(3, 5) == 2).then(|| {
                (self.pick(2, 3) > 0)
                    .then(|| (group, (self.pick(0, 4) > 0).then(|| scaled(group, self.quantity() * 4))))
            }),
            reset: self.pick(3, 6) == 3,
        }
    }

    fn grant(&self, user: &str, model: &Model) -> Call {
        let owner = match self.pick(0, 8) {
            0 => format!("app={}", model.rules.app),
            1 => "metadata.team=red".to_owned(),
            2 => format!("metadata.team=red,user={user}"),
            _ => format!("user={user}"),
        };
        let expires_ms = (self.pick(2, 2) == 0).then(|| model.later(self.picks[2] as i64 % 40 - 1));
        // Usually a group that such an owner has.
        let fitting: Vec<&'static str> = match self.pick(0, 8) {
            0 => vec!["whole_week"],
            1 => vec!["team_day"],
            2 => vec!["pair_hour"],
            _ => model.plan(user).map_or_else(Vec::new, |plan| plan.groups.iter().map(|group| group.id).collect()),
        };
        let group = if fitting.is_empty() || self.pick(3, 8) == 0 {
            of(&GROUPS, self.picks[1])
        } else {
            of(&fitting, self.picks[1])
        };
        Call::Grant { owner, group, amount: scaled(group, self.quantity()), expires_ms }
    }

    /// Another quota for an owner that has counters, or none.
    fn limit(&self, user: &str, model: &Model) -> Call {
        let (group, owner) = match self.pick(0, 5) {
            0 => ("whole_week", format!("app={}", model.rules.app)),
            1 => ("team_day", "metadata.team=red".to_owned()),
            2 => ("pair_hour", format!("metadata.team=red,user={user}")),
            3 => ("watched", format!("user={user}")),
            _ => ("fair", format!("user={user}")),
        };
        let quota = (self.pick(1, 6) > 0).then(|| scaled(group, self.pick(1, 12) as u64));
        let until_ms = (self.pick(2, 2) == 0).then(|| model.later(self.pick(2, 9) as i64));
        Call::Limit { owner, group, limit: (self.pick(3, 5) > 0).then_some(OwnLimit { quota, until_ms }) }
    }

    /// A live or ended grant.
    fn any_grant(&self, model: &Model) -> Option<Name> {
        let all = model.counters.values().flat_map(|counter| counter.grants.iter().map(|grant| grant.name));
        let mut all: Vec<Name> = all.collect();
        all.sort_unstable();
        self.recent(all)
    }

    fn edit(&self, model: &Model) -> Call {
        let policy = self.pick(0, 4) == 0;
        let plans = ["free", "pro", "team", "basic"];
        let at = if policy { "caps" } else { of(&plans, self.picks[1]) };
        let plan = if policy { &model.first_rules.policies[at] } else { &model.first_rules.plans[at] };
        let group = &plan.groups[self.pick(2, plan.groups.len())];
        // Rollover needs a quota.
        let has_quota = group.rollover.is_some() || self.pick(3, 8) > 0;
        let quota = Edit::Quota(has_quota.then(|| scaled(group.id, self.pick(3, 40) as u64)));
        let periods = match at {
            // None of their periods may depend on a subscription.
            "basic" | "caps" => [Period::Daily, Period::Weekly, Period::Monthly],
            _ => [Period::Daily, Period::Hours(30), Period::Months(2)],
        };
        let own = group.scope == super::rules::Scope::User;
        let edit = match self.pick(3, 6) {
            0 => Edit::Toggle,
            1 if own && !group.is_concurrent() => Edit::Period(of(&periods, self.picks[3] / 6)),
            2 if group.id != "asked" => {
                let kinds = [Enforcement::Hard, Enforcement::Soft, Enforcement::Observe];
                Edit::Enforcement(of(&kinds, self.picks[3] / 6))
            }
            _ => quota,
        };
        Call::Edit { policy, of: at, group: group.id, edit }
    }

    fn decide(&self, model: &Model) -> Option<Call> {
        let asked = model.counters.iter().filter(|(_, counter)| {
            let status = counter.request.as_ref().map(|request| request.status);
            status.is_some_and(|status| status != RequestStatus::Approved || self.pick(2, 4) == 0)
        });
        let (owner, group) = self.recent(asked.map(|(name, _)| name.clone()).collect())?;
        let until_ms = (self.pick(3, 2) == 0).then(|| model.later(1 + self.pick(2, 9) as i64));
        Some(match self.pick(2, 3) {
            0 => Call::Reject { owner, group },
            _ => Call::Approve { owner, group, amount: scaled(group, self.quantity()), until_ms },
        })
    }

    /// An earlier call with its idempotency key, sometimes with a different body.
    fn again(&self, model: &Model) -> Option<(Call, Option<Name>)> {
        let (name, first) = self.recent(model.done.iter().map(|(name, (call, _))| (*name, call.clone())).collect())?;
        let call = if self.pick(2, 4) == 0 { first.altered().unwrap_or(first) } else { first };
        Some((call, Some(name)))
    }
}

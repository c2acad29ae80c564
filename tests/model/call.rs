//! Calls as both the model and the gateway take them, and their answers in one comparable form.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::amounts::{number, steps_of};
use super::fit::Fit;
use super::limits::OwnLimit;
use super::rules::{Enforcement, Item, Labels, Ms, Period, ms, text};
use super::settle::Actual;
use crate::support::Answer;

/// Names a call in its history with all its repetitions, and what the call created, such as a reservation or a grant.
pub type Name = usize;

/// A change to one group of a plan or policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edit {
    Quota(Option<u64>),
    Period(Period),
    Enforcement(Enforcement),
    /// Removes the group, or restores it.
    Toggle,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Reserve {
        user: String,
        items: Vec<Item>,
        fit: Option<Fit>,
        ttl_ms: Ms,
    },
    CanUse {
        user: String,
        items: Vec<Item>,
        fit: Option<Fit>,
    },
    Commit {
        of: Name,
        /// One per item.
        figures: Vec<Actual>,
        is_final: bool,
        reject_late: bool,
    },
    Release {
        of: Name,
    },
    Extend {
        of: Name,
        quantity: Option<u64>,
        ttl_ms: Option<Ms>,
    },
    Track {
        user: String,
        item: Item,
        enforce: bool,
    },
    /// A refund without a reservation.
    GiveBack {
        user: String,
        item: Item,
    },
    Refund {
        user: String,
        of: Name,
        quantity: u64,
        steps: Option<u64>,
    },
    Usage {
        user: String,
        labels: Labels,
    },
    Time {
        now_ms: Ms,
    },
    Subscribe {
        user: String,
        plan: &'static str,
        started_ms: Option<Ms>,
        cycle_ms: Option<Option<Ms>>,
        ends_ms: Option<Option<Ms>>,
        /// A custom quota for one group.
        limits: Option<Option<(&'static str, Option<u64>)>>,
        reset: bool,
    },
    Cancel {
        user: String,
        ends_ms: Option<Ms>,
    },
    Block {
        user: String,
        blocked: bool,
    },
    Reset {
        user: String,
        group: Option<&'static str>,
    },
    Grant {
        owner: String,
        group: &'static str,
        amount: u64,
        expires_ms: Option<Ms>,
    },
    Revoke {
        of: Name,
    },
    /// Sets another quota for one owner, or removes it.
    Limit {
        owner: String,
        group: &'static str,
        limit: Option<OwnLimit>,
    },
    /// Changes a group of a plan or policy.
    Edit {
        policy: bool,
        of: &'static str,
        group: &'static str,
        edit: Edit,
    },
    /// Decides the request for a group of an owner.
    Approve {
        owner: String,
        group: &'static str,
        amount: u64,
        until_ms: Option<Ms>,
    },
    Reject {
        owner: String,
        group: &'static str,
    },
}

/// The state of one counter in an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stand {
    pub group: String,
    pub owner: String,
    pub used: u64,
    pub held: u64,
    pub granted: u64,
    /// Only of groups with rollover, or if something was rolled over.
    pub rolled: Option<u64>,
    pub blocked: u64,
    pub quota: Option<u64>,
    pub remaining: Option<u64>,
    pub overage: u64,
    pub window: Option<(Ms, Option<Ms>)>,
}

/// The compared parts of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reply {
    pub status: u16,
    pub code: String,
    pub allowed: Option<bool>,
    /// The status of a settlement, the match status of a track, or a whole subscription.
    pub word: String,
    pub late: bool,
    pub replayed: bool,
    pub reasons: Vec<String>,
    /// By group: the requested amount, the remaining amount, and the status of its approval request.
    pub denied_by: BTreeMap<String, (u64, Option<u64>, String)>,
    /// By group that only observes: the requested and the remaining amount, and the reason unless it is the limit.
    pub observed: BTreeMap<String, (u64, Option<u64>, String)>,
    pub groups: BTreeSet<String>,
    /// The expiry of a reservation.
    pub expires_ms: Option<Ms>,
    /// The value that a figure was reduced to.
    pub fitted: Option<u64>,
    /// When a denied call could succeed.
    pub retry_ms: Option<Ms>,
    /// Alerts: group and percentage.
    pub passed: BTreeSet<(String, u64)>,
    pub counters: Vec<Stand>,
}

impl Reply {
    pub fn ok() -> Self {
        Self { status: 200, ..Self::default() }
    }

    pub fn problem(status: u16, code: &str) -> Self {
        Self { status, code: code.to_owned(), ..Self::default() }
    }

    /// The parts that are the same in every repetition. Counters are current, and some of the groups that matched at
    /// first may no longer exist. (The repetition of a settlement returns no alerts; that of a track returns the same
    /// ones.)
    pub fn lasting(&self) -> Self {
        Self {
            counters: Vec::new(),
            denied_by: BTreeMap::new(),
            observed: BTreeMap::new(),
            groups: BTreeSet::new(),
            retry_ms: None,
            replayed: false,
            passed: BTreeSet::new(),
            ..self.clone()
        }
    }
}

fn stand(counter: &Value) -> Stand {
    let owner = counter["scope"].as_object().unwrap().iter();
    let owner: Vec<String> = owner.map(|(name, value)| format!("{name}={}", value.as_str().unwrap())).collect();
    let group = counter["groupId"].as_str().unwrap();
    let amount = |name: &str| steps_of(&counter[name], group).unwrap_or_else(|| panic!("{name} of {counter}"));
    let time = |value: &Value| value.as_str().map(ms);
    let period = &counter["period"];
    Stand {
        group: group.to_owned(),
        owner: owner.join(","),
        used: amount("used"),
        held: amount("held"),
        granted: amount("granted"),
        rolled: steps_of(&counter["rolled"], group),
        blocked: amount("blocked"),
        quota: steps_of(&counter["quota"], group),
        remaining: steps_of(&counter["remaining"], group),
        overage: amount("overage"),
        window: time(&period["start"]).map(|start| (start, time(&period["end"]))),
    }
}

fn threshold(reply: &Value) -> (String, u64) {
    (reply["groupId"].as_str().unwrap().to_owned(), reply["percent"].as_u64().unwrap())
}

fn pairs(owner: &str) -> BTreeMap<&str, &str> {
    owner.split(',').filter_map(|pair| pair.split_once('=')).collect()
}

fn observed(reply: &Value) -> (String, (u64, Option<u64>, String)) {
    let group = reply["groupId"].as_str().unwrap();
    let figures = |name: &str| steps_of(&reply[name], group);
    let reason = reply["reason"].as_str().unwrap_or_default().to_owned();
    (group.to_owned(), (figures("requested").unwrap(), figures("remaining"), reason))
}

fn strings<T: FromIterator<String>>(list: &Value) -> T {
    list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn subscription(json: &Value) -> String {
    let names = ["planId", "startedAt", "cycleStart", "endsAt", "customLimits", "changed"];
    names.map(|name| json[name].to_string()).join(" ")
}

/// As [`subscription`], of the model's.
pub fn subscription_word(
    plan: &str,
    started_ms: Ms,
    cycle_ms: Option<Ms>,
    ends_ms: Option<Ms>,
    limits: Option<(&str, Option<u64>)>,
    changed: bool,
) -> String {
    let time = |at: Option<Ms>| at.map(text);
    subscription(&json!({
        "planId": plan, "startedAt": text(started_ms), "cycleStart": time(cycle_ms), "endsAt": time(ends_ms),
        "customLimits": limits.map(limits_body), "changed": changed,
    }))
}

fn limits_body((group, quota): (&str, Option<u64>)) -> Value {
    json!({group: {"quota": quota.map(|quota| number(quota, group))}})
}

impl Call {
    /// What the gateway answered.
    pub fn read(&self, answer: &Answer) -> Reply {
        let json = if answer.json["decision"].is_object() { &answer.json["decision"] } else { &answer.json };
        let counters = json["counters"].as_array().into_iter().flatten();
        let mut counters: Vec<Stand> = counters.map(stand).collect();
        counters.sort();
        let denied_by = json["deniedBy"].as_array().into_iter().flatten().map(|denied| {
            let request = denied["approval"]["status"].as_str().unwrap_or_default().to_owned();
            let group = denied["groupId"].as_str().unwrap();
            let figures = |name: &str| steps_of(&denied[name], group);
            (group.to_owned(), (figures("requested").unwrap(), figures("remaining"), request))
        });
        let word = match self {
            Self::Subscribe { .. } | Self::Cancel { .. } if answer.status == 200 => subscription(json),
            Self::Block { .. } | Self::Reset { .. } if answer.status == 200 => {
                format!("{} {}", json["blocked"], json["changed"])
            }
            Self::Usage { .. } => json["planId"].as_str().unwrap_or_default().to_owned(),
            _ => ["status", "matchStatus"].iter().filter_map(|name| json[*name].as_str()).collect(),
        };
        let flag = |name: &str| json[name].as_bool().unwrap_or(false);
        Reply {
            status: answer.status,
            code: answer.json["code"].as_str().unwrap_or_default().to_owned(),
            // Of a denial that is a problem the code says it.
            allowed: json["allowed"].as_bool().filter(|_| answer.status == 200),
            word,
            late: flag("late"),
            replayed: flag("replayed"),
            reasons: strings(&json["reasons"]),
            denied_by: denied_by.collect(),
            observed: json["observed"].as_array().into_iter().flatten().map(observed).collect(),
            groups: strings(&json["matchedGroupIds"]),
            expires_ms: json["expiresAt"]
                .as_str()
                .map(ms)
                .filter(|_| !matches!(self, Self::Grant { .. } | Self::Approve { .. })),
            fitted: json["fitted"].as_object().and_then(|fitted| fitted.values().next()?.as_u64()),
            retry_ms: json["retryAfterMs"].as_i64(),
            passed: json["thresholds"].as_array().into_iter().flatten().map(threshold).collect(),
            counters,
        }
    }

    /// Is it an operator's, who comes with an admin key?
    pub fn by_operator(&self) -> bool {
        matches!(
            self,
            Self::Block { .. }
                | Self::Reset { .. }
                | Self::Grant { .. }
                | Self::Revoke { .. }
                | Self::Edit { .. }
                | Self::Approve { .. }
                | Self::Reject { .. }
        )
    }

    /// May it come with an idempotency key?
    pub fn takes_key(&self) -> bool {
        !matches!(
            self,
            Self::CanUse { .. }
                | Self::Usage { .. }
                | Self::Time { .. }
                | Self::Revoke { .. }
                | Self::Edit { .. }
                | Self::Limit { limit: None, .. }
        )
    }

    /// The same call with another body, for a key that was used before.
    pub fn altered(&self) -> Option<Self> {
        let mut other = self.clone();
        match &mut other {
            Self::Reserve { items, .. } => items.last_mut()?.quantity += 1,
            Self::Track { item, .. } | Self::GiveBack { item, .. } => item.quantity += 1,
            Self::Extend { quantity, .. } => *quantity = Some(quantity.unwrap_or(1) + 1),
            Self::Commit { figures, is_final: true, .. } => {
                let last = figures.last_mut()?;
                last.quantity = Some(last.quantity.unwrap_or(1) + 1);
            }
            _ => return None,
        }
        Some(other)
    }

    /// Method, path and body. `id` returns the gateway's id of what a call created, and `request` the id of an approval
    /// request; `body` is the whole plan or policy after an edit.
    pub fn request(
        &self,
        id: impl Fn(Name) -> String,
        request: impl Fn(&str, &str) -> String,
        body: Value,
    ) -> (&'static str, String, Value) {
        let time = |at: &Option<Ms>| at.map(text);
        let mut given = json!({});
        let mut may = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                given[name] = value;
            }
        };
        let asked = |user: &String, items: &[Item], fit: &Option<Fit>| {
            let mut bodies: Vec<Value> = items.iter().map(|item| item.to_json()).collect();
            if let Some(fit) = fit {
                bodies[fit.item]["fit"] = json!({"field": fit.field(), "min": fit.min});
            }
            let mut body = if items.len() == 1 { bodies.remove(0) } else { json!({"items": bodies}) };
            body["userId"] = json!(user);
            body
        };
        match self {
            Self::Reserve { user, items, fit, ttl_ms } => {
                let mut body = asked(user, items, fit);
                body["ttlSeconds"] = json!(ttl_ms / 1000);
                ("POST", "reserve".to_owned(), body)
            }
            Self::CanUse { user, items, fit } => ("POST", "can-use".to_owned(), asked(user, items, fit)),
            Self::Commit { of, figures, is_final, reject_late } => {
                may("reservationId", Some(json!(id(*of))));
                match figures.as_slice() {
                    [figures] => {
                        may("quantity", figures.quantity.map(|quantity| json!(quantity)));
                        may("metadata", figures.metadata());
                    }
                    figures if figures.iter().all(|figures| *figures == Actual::default()) => {}
                    figures => may("items", Some(figures.iter().map(|figures| figures.to_json()).collect())),
                }
                may("final", (!is_final).then_some(json!(false)));
                may("ifExpired", reject_late.then_some(json!("reject")));
                ("POST", "commit".to_owned(), given)
            }
            Self::Release { of } => ("POST", "release".to_owned(), json!({"reservationId": id(*of)})),
            Self::Extend { of, quantity, ttl_ms } => {
                may("reservationId", Some(json!(id(*of))));
                may("quantity", quantity.map(|quantity| json!(quantity)));
                may("ttlSeconds", ttl_ms.map(|ttl_ms| json!(ttl_ms / 1000)));
                ("POST", "extend".to_owned(), given)
            }
            Self::Track { user, item, enforce } => {
                let mut body = asked(user, &[*item], &None);
                body["enforce"] = json!(enforce);
                ("POST", "track".to_owned(), body)
            }
            Self::GiveBack { user, item } => {
                let mut body = asked(user, &[*item], &None);
                body["event"] = json!(format!("{}.refund", item.event));
                ("POST", "track".to_owned(), body)
            }
            Self::Refund { user, of, quantity, steps } => {
                let mut metadata = json!({"reservationId": id(*of)});
                if let Some(steps) = steps {
                    metadata["steps"] = json!(steps);
                }
                let body = json!({"userId": user, "event": "any.refund", "quantity": quantity, "metadata": metadata});
                ("POST", "track".to_owned(), body)
            }
            Self::Usage { user, labels } => {
                let team = labels.team.map_or_else(String::new, |team| format!("&metadata.team={team}"));
                ("GET", format!("usage?userId={user}{team}"), Value::Null)
            }
            Self::Time { now_ms } => ("PUT", "test-clock".to_owned(), json!({"now": text(*now_ms)})),
            Self::Subscribe { user, plan, started_ms, cycle_ms, ends_ms, limits, reset } => {
                may("userId", Some(json!(user)));
                may("planId", Some(json!(plan)));
                may("startedAt", started_ms.map(|at| json!(text(at))));
                may("cycleStart", cycle_ms.as_ref().map(|at| json!(time(at))));
                may("endsAt", ends_ms.as_ref().map(|at| json!(time(at))));
                may("customLimits", limits.map(|limits| json!(limits.map(limits_body))));
                may("resetUsage", reset.then_some(json!(true)));
                ("POST", "subscriptions".to_owned(), given)
            }
            Self::Cancel { user, ends_ms } => {
                may("userId", Some(json!(user)));
                may("endsAt", ends_ms.map(|at| json!(text(at))));
                ("DELETE", "subscriptions".to_owned(), given)
            }
            Self::Block { user, blocked } => {
                ("POST", format!("users/{user}/{}", if *blocked { "block" } else { "unblock" }), json!({}))
            }
            Self::Reset { user, group } => {
                may("groupId", group.map(|group| json!(group)));
                ("POST", format!("users/{user}/reset"), given)
            }
            Self::Grant { owner, group, amount, expires_ms } => {
                let scope = pairs(owner);
                may("groupId", Some(json!(group)));
                may("scope", Some(json!(scope)));
                may("amount", Some(number(*amount, group)));
                may("expiresAt", expires_ms.map(|at| json!(text(at))));
                ("POST", "grants".to_owned(), given)
            }
            Self::Limit { owner, group, limit } => {
                may("scope", Some(json!(pairs(owner))));
                if let Some(OwnLimit { quota, until_ms }) = limit {
                    may("quota", Some(json!(quota.map(|quota| number(quota, group)))));
                    may("until", until_ms.map(|at| json!(text(at))));
                }
                (if limit.is_some() { "PUT" } else { "DELETE" }, format!("limits/{group}"), given)
            }
            Self::Revoke { of } => ("DELETE", format!("grants/{}", id(*of)), Value::Null),
            Self::Edit { policy, of, .. } => {
                ("PUT", format!("{}/{of}", if *policy { "policies" } else { "plans" }), body)
            }
            Self::Approve { owner, group, amount, until_ms } => {
                may("amount", Some(number(*amount, group)));
                may("until", until_ms.map(|at| json!(text(at))));
                ("POST", format!("approvals/{}/approve", request(owner, group)), given)
            }
            Self::Reject { owner, group } => ("POST", format!("approvals/{}/reject", request(owner, group)), json!({})),
        }
    }
}

//! Sums up the decisions of a replay.

use std::collections::BTreeMap;

use super::past::Units;
use super::rehearsal::{Judgement, Refused};
use crate::domain::reporting::ledger::Lack;
use crate::domain::time::window::rfc3339;
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::ids::{EventName, GroupId, UserId};
use crate::domain::values::number::Number;
use serde::Serialize;
use utoipa::ToSchema;

/// The number of examples of each kind.
const EXAMPLES: usize = 10;

/// A call that would be decided differently.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhatifExample)]
pub struct Example {
    /// RFC 3339, UTC.
    pub at: String,
    pub user_id: String,
    pub event: Option<String>,
    /// Why it would be denied, or was denied.
    pub reason: String,
    pub groups: Vec<LackView>,
}

/// A group over its limit, with its state at the time of the call.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhatifLack)]
pub struct LackView {
    pub group_id: String,
    #[schema(value_type = f64)]
    pub requested: Number,
    /// `used + held`
    #[schema(value_type = f64)]
    pub count: Number,
    #[schema(value_type = f64)]
    pub limit: Number,
}

/// Calls that would be decided differently.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhatifChanged)]
pub struct Changed {
    pub calls: u64,
    pub users: u64,
    /// A call that several groups deny counts for each of them.
    pub by_group: BTreeMap<String, u64>,
    pub by_reason: BTreeMap<String, u64>,
    /// The first examples.
    pub examples: Vec<Example>,
}

impl Changed {
    fn add(&mut self, reason: &str, groups: impl Iterator<Item = String>, example: impl FnOnce() -> Example) {
        self.calls += 1;
        *self.by_reason.entry(reason.to_owned()).or_default() += 1;
        for group in groups {
            *self.by_group.entry(group).or_default() += 1;
        }
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// The result of a replay compared with the record.
#[derive(Debug, Default)]
pub struct OutcomeSums {
    /// The number of calls to be decided.
    pub calls: u64,
    pub were_denied: u64,
    pub denied: u64,
    pub newly_denied: Changed,
    pub newly_allowed: Changed,
    /// Denied as before, but for another reason or by other groups.
    pub denied_otherwise: u64,
    /// By the user's index: newly denied, newly allowed.
    pub of_users: BTreeMap<usize, (u64, u64)>,
}

impl OutcomeSums {
    pub fn add(&mut self, judgement: &Judgement<'_>, units: &Units) {
        self.calls += 1;
        self.were_denied += u64::from(judgement.was_denied.is_some());
        self.denied += u64::from(judgement.refused.is_some());
        match (&judgement.was_denied, &judgement.refused) {
            (None, None) => {}
            (None, Some(refused)) => {
                self.of_users.entry(judgement.call.user).or_default().0 += 1;
                let groups = lacking(refused).map(|group| group.to_string());
                self.newly_denied.add(reason(refused), groups, || example(judgement, refused, units));
            }
            (Some((reason, groups)), None) => {
                self.of_users.entry(judgement.call.user).or_default().1 += 1;
                let was = reason.map_or("limit_reached", |reason| reason.as_str());
                let groups = groups.iter().map(ToString::to_string);
                self.newly_allowed.add(was, groups, || made(judgement, was.to_owned(), Vec::new()));
            }
            (Some((was, groups)), Some(refused)) => {
                let same_reason = was.is_none_or(|was| was.as_str() == reason(refused));
                let mut now: Vec<&GroupId> = lacking(refused).collect();
                let mut then: Vec<&GroupId> = groups.iter().collect();
                now.sort();
                then.sort();
                // Calls whose decision is kept were not evaluated.
                let asked = !now.is_empty();
                self.denied_otherwise += u64::from(!same_reason || (asked && now != then));
            }
        }
    }

    /// Adds the result of another bucket, which has other users.
    pub fn merge(&mut self, other: Self) {
        self.calls += other.calls;
        self.were_denied += other.were_denied;
        self.denied += other.denied;
        self.denied_otherwise += other.denied_otherwise;
        for (own, other) in
            [(&mut self.newly_denied, other.newly_denied), (&mut self.newly_allowed, other.newly_allowed)]
        {
            own.calls += other.calls;
            for (sums, more) in [(&mut own.by_group, other.by_group), (&mut own.by_reason, other.by_reason)] {
                for (name, count) in more {
                    *sums.entry(name).or_default() += count;
                }
            }
            own.examples.extend(other.examples);
            own.examples.sort_by(|one, other| one.at.cmp(&other.at));
            own.examples.truncate(EXAMPLES);
        }
    }
}

fn reason(refused: &Refused) -> &'static str {
    match refused {
        Refused::For { reason, .. } => reason.as_str(),
        Refused::Invalid(_) => "invalid_request",
    }
}

fn lacks(refused: &Refused) -> &[Lack] {
    match refused {
        Refused::For { lacks, .. } => lacks,
        Refused::Invalid(_) => &[],
    }
}

fn lacking(refused: &Refused) -> impl Iterator<Item = &GroupId> {
    lacks(refused).iter().map(|lack| &lack.group)
}

fn example(judgement: &Judgement<'_>, refused: &Refused, units: &Units) -> Example {
    let view = |lack: &Lack| {
        let unit = units.get(&lack.group).copied().unwrap_or(Unit::Count);
        let told = |amount: Amount| Number(amount.to_decimal(unit));
        LackView {
            group_id: lack.group.to_string(),
            requested: told(lack.requested),
            count: told(lack.count),
            limit: told(lack.limit),
        }
    };
    let reason = match refused {
        Refused::For { reason, .. } => reason.as_str().to_owned(),
        Refused::Invalid(fault) => format!("invalid_request: {}: {}", fault.field, fault.message),
    };
    made(judgement, reason, lacks(refused).iter().map(view).collect())
}

fn made(judgement: &Judgement<'_>, reason: String, groups: Vec<LackView>) -> Example {
    Example {
        at: rfc3339(judgement.at_ms),
        user_id: UserId::to_string(judgement.user),
        event: judgement.call.event.as_ref().map(EventName::to_string),
        reason,
        groups,
    }
}

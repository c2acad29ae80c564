//! Limits of single owners, and what groups that only observe would refuse.

use std::collections::BTreeMap;

use super::admit::Admission;
use super::call::Reply;
use super::rules::{Group, Ms, Scope};
use super::state::Model;

/// Another quota for one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnLimit {
    pub quota: Option<u64>,
    pub until_ms: Option<Ms>,
}

impl Scope {
    /// The names of an owner, as in `name=value` pairs.
    fn is_of(self, owner: &str) -> bool {
        let names: Vec<&str> = owner.split(',').filter_map(|pair| pair.split('=').next()).collect();
        names
            == match self {
                Self::User => vec!["user"],
                Self::App => vec!["app"],
                Self::Team => vec!["metadata.team"],
                Self::UserAndTeam => vec!["metadata.team", "user"],
            }
    }
}

impl Model {
    fn own_limit(&self, owner: &str, group: &str) -> Option<OwnLimit> {
        let found = self.limits.iter().find(|(name, _)| name.0 == owner && name.1 == group);
        found.map(|(_, limit)| *limit).filter(|limit| limit.until_ms.is_none_or(|until_ms| self.now_ms < until_ms))
    }

    /// The group with the owner's own quota.
    pub fn own(&self, group: &Group, owner: &str) -> Group {
        match self.own_limit(owner, group.id) {
            Some(limit) => Group { quota: limit.quota, ..group.clone() },
            None => group.clone(),
        }
    }

    /// Sets the limit of an owner, or removes it.
    pub fn limit(&mut self, owner: &str, group: &'static str, limit: Option<OwnLimit>) -> Reply {
        let groups = self.rules.plans.values().chain(self.rules.policies.values()).flat_map(|plan| &plan.groups);
        let Some(known) = groups.into_iter().find(|known| known.id == group) else {
            return Reply::problem(404, "not_found");
        };
        let is_past = limit.is_some_and(|limit| limit.until_ms.is_some_and(|until_ms| until_ms <= self.now_ms));
        if !known.scope.is_of(owner) || is_past {
            return Reply::problem(400, "invalid_request");
        }
        let name = (owner.to_owned(), group);
        match limit {
            Some(limit) => {
                self.limits.insert(name, limit);
                Reply::ok()
            }
            None if self.own_limit(owner, group).is_none() => Reply::problem(404, "not_found"),
            None => {
                self.limits.remove(&name);
                Reply { status: 204, ..Reply::default() }
            }
        }
    }

    /// What groups that only observe would refuse, before the call counts.
    pub(super) fn observed(&self, admission: &Admission) -> BTreeMap<String, (u64, Option<u64>, String)> {
        let word = |reason: &str| if reason == "limit_reached" { String::new() } else { reason.to_owned() };
        let mut observed = BTreeMap::new();
        for matched in admission.matched.iter().filter(|matched| matched.group.observes() && self.exceeds(matched)) {
            let stand = self.stand(&matched.group, &matched.owner, Some(matched.window));
            observed.insert(matched.group.id.to_owned(), (matched.amount, stand.remaining, String::new()));
        }
        for (group, reason, amount) in admission.observed.iter().rev() {
            let figures = match admission.matched.iter().find(|matched| matched.group.id == group.id) {
                Some(matched) => {
                    let stand = self.stand(&matched.group, &matched.owner, Some(matched.window));
                    (matched.amount, stand.remaining, word(reason))
                }
                None => (*amount, (*reason == "limit_reached").then_some(0), word(reason)),
            };
            observed.insert(group.id.to_owned(), figures);
        }
        observed
    }
}

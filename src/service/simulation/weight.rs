//! Estimates the memory that a replay needs for an entry when the entry is read. It depends on the rules as well,
//! since a replay has a counter for each user in each group that counts the user's events.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::configuration::scope::Dimension;
use crate::domain::reporting::ledger::Entry;
use crate::domain::values::glob;
use crate::domain::values::ids::{EventName, UserId};
use crate::domain::values::metadata::Metadata;
use crate::service::configuration::app_config::AppConfig;

/// An entry with its call and its moments, without the parts below.
const ENTRY_BYTES: usize = 1536;
/// The first node of a tree of metadata fields.
const METADATA_BYTES: usize = 512;
/// Two allocations for name and value, and a place in the tree.
const FIELD_BYTES: usize = 64;
/// An amount in an entry, and the opening of its counter.
const AMOUNT_BYTES: usize = 512;
/// A counter of a replay.
const COUNTER_BYTES: usize = 256;
/// The amount that a call holds in a counter.
const HOLD_BYTES: usize = 64;
/// A group of a user's custom limits.
pub const OWN_GROUP_BYTES: usize = 1024;

/// How many groups count an event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Matching {
    groups: usize,
    /// Groups that may have a separate counter for each call, because their scope contains metadata.
    by_metadata: usize,
}

/// Estimates entries for the rules of several configurations.
pub struct Weight<'a> {
    configs: [&'a AppConfig; 2],
    matching: HashMap<Option<EventName>, Matching>,
    /// Users whose counters for an event are included already.
    counted: HashSet<(Option<UserId>, Option<EventName>)>,
}

impl Matching {
    /// The groups that may count the event; all groups if the event is not known.
    fn of<'b>(groups: impl IntoIterator<Item = &'b Arc<LimitGroup>>, event: Option<&EventName>) -> Self {
        let mut matching = Self::default();
        for group in groups {
            let counts =
                |event: &EventName| group.matches.iter().any(|rule| glob::matches(&rule.event, event.as_str()));
            if event.is_none_or(counts) {
                let names_metadata = |name: &Dimension| matches!(name, Dimension::Metadata(_));
                matching.groups += 1;
                matching.by_metadata += usize::from(group.scope.dimensions().iter().any(names_metadata));
            }
        }
        matching
    }

    fn at_most(self, other: Self) -> Self {
        Self { groups: self.groups.max(other.groups), by_metadata: self.by_metadata.max(other.by_metadata) }
    }

    /// For the plan with the most such groups, and all policies.
    fn under(config: &AppConfig, event: Option<&EventName>) -> Self {
        let plans = config.plans.values().map(|entry| Self::of(&entry.plan.groups, event));
        let plan = plans.fold(Self::default(), Self::at_most);
        let policies = Self::of(config.policies.iter().flat_map(|policy| &policy.groups), event);
        Self { groups: plan.groups + policies.groups, by_metadata: plan.by_metadata + policies.by_metadata }
    }
}

impl<'a> Weight<'a> {
    /// For a replay with each of these configurations.
    pub fn new(configs: [&'a AppConfig; 2]) -> Self {
        Self { configs, matching: HashMap::new(), counted: HashSet::new() }
    }

    /// The approximate number of bytes that a replay needs for an entry, including counters that no earlier entry
    /// needed.
    pub fn of(&mut self, entry: &Entry) -> usize {
        let items = entry.snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.items);
        let event = items.first().map(|item| &item.event).or(entry.event.as_ref()).filter(|_| items.len() < 2).cloned();
        let user = entry.user.clone().or_else(|| entry.snapshot.as_ref().map(|snapshot| snapshot.user.clone()));
        let configs = self.configs;
        let matching = *self.matching.entry(event.clone()).or_insert_with(|| {
            let under = configs.map(|config| Matching::under(config, event.as_ref()));
            under.into_iter().fold(Matching::default(), Matching::at_most)
        });
        let is_new = self.counted.insert((user, event));
        let counters = if is_new { matching.groups } else { matching.by_metadata };
        let metadata = items.iter().map(|item| &item.metadata);
        let metadata = metadata.chain(entry.details.actual.iter().map(|actual| &actual.metadata));
        let fields = |metadata: &Metadata| -> usize {
            metadata.iter().map(|(name, value)| name.len() + value.len() + FIELD_BYTES).sum()
        };
        let metadata: usize = metadata.map(|metadata| METADATA_BYTES + fields(metadata)).sum();
        let amounts = entry.charges.len() + entry.denying.len() + entry.held.len();
        ENTRY_BYTES + metadata + amounts * AMOUNT_BYTES + matching.groups * HOLD_BYTES + counters * COUNTER_BYTES
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::reporting::ledger::EntryKind;
    use crate::domain::values::ids::PlanId;
    use crate::service::tenant::Placement;

    fn config(groups: &serde_json::Value) -> AppConfig {
        let body = json!({"periodType": "monthly", "groups": groups});
        let id = PlanId::parse("p").unwrap();
        AppConfig::default().with_plan(Placement::default(), &id, serde_json::from_value(body).unwrap()).unwrap()
    }

    fn entry(user: &str, event: &str) -> Entry {
        Entry {
            kind: EntryKind::Track,
            at_ms: 0,
            late: false,
            operation: None,
            created_at_ms: None,
            user: Some(UserId::parse(user).unwrap()),
            event: Some(EventName::parse(event).unwrap()),
            key: None,
            charges: Vec::new(),
            snapshot: None,
            details: crate::domain::reporting::ledger::EntryDetails::default(),
            call: None,
            reason: None,
            observed: false,
            denying: Vec::new(),
            held: Vec::new(),
        }
    }

    fn groups(count: usize, scope: &[&str]) -> serde_json::Value {
        let group = |place| {
            json!({"id": format!("g{place}"), "unit": "count", "quota": 5, "measure": "event", "scope": scope,
                "matches": [{"event": "image.*"}]})
        };
        (0..count).map(group).collect()
    }

    #[test]
    fn a_users_counters_are_included_once_for_an_event() {
        let (few, many) = (config(&groups(1, &["user"])), config(&groups(64, &["user"])));
        let mut weight = Weight::new([&few, &many]);
        let call = ENTRY_BYTES + 64 * HOLD_BYTES;
        assert_eq!(weight.of(&entry("one", "image.a")), call + 64 * COUNTER_BYTES);
        assert_eq!(weight.of(&entry("one", "image.a")), call);
        assert_eq!(weight.of(&entry("two", "image.a")), call + 64 * COUNTER_BYTES);
        assert_eq!(weight.of(&entry("two", "video.a")), ENTRY_BYTES, "no group counts this event");
    }

    #[test]
    fn each_call_may_need_counters_in_groups_with_metadata_in_their_scope() {
        let config = config(&groups(2, &["user", "metadata.team"]));
        let mut weight = Weight::new([&config, &config]);
        let first = weight.of(&entry("one", "image.a"));
        assert_eq!(first, ENTRY_BYTES + 2 * (HOLD_BYTES + COUNTER_BYTES));
        assert_eq!(weight.of(&entry("one", "image.a")), first);
    }
}

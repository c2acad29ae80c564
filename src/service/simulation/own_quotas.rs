//! The quotas of single owners (`PUT limits`). No entry of the ledger has them, so a replay reads them for the owners
//! that its calls count in, of a bounded number of owners. Those of users in their plan are custom limits instead.

use std::collections::HashSet;
use std::sync::Arc;

use super::comparison::{RuleSet, SimulationInput};
use super::rules::Rules;
use super::timeline::{Call, CallAction};
use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::{Caller, EffectiveLimits};
use crate::domain::simulation::in_memory_counters::OwnQuota;
use crate::domain::values::ids::GroupId;
use crate::domain::values::metadata::Metadata;
use crate::service::configuration::app_config::AppConfig;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::store::keys::Bucket;

/// The maximum number of owners whose quotas one replay reads.
const MOST_OWNERS: usize = 20_000;

/// A quota of one owner instead of the group's.
pub type OwnerQuota = (OwnerName, GroupId, OwnQuota);

/// How many owners of a replay were read, over all buckets. No owner is in two buckets.
#[derive(Debug)]
pub struct OwnerReads {
    left: usize,
    /// Owners whose quotas were not read, because there are too many.
    pub unread: u64,
}

impl Default for OwnerReads {
    fn default() -> Self {
        Self::at_most(MOST_OWNERS)
    }
}

impl OwnerReads {
    fn at_most(left: usize) -> Self {
        Self { left, unread: 0 }
    }

    /// The owners to read.
    fn take<'a>(&mut self, owners: &'a [OwnerName]) -> &'a [OwnerName] {
        let (taken, beyond) = owners.split_at(owners.len().min(self.left));
        self.left -= taken.len();
        self.unread += beyond.len() as u64;
        taken
    }
}

impl Gateway {
    /// The own quotas of the owners that a timeline's calls count in under any of the rules, also quotas that have
    /// ended. If there are too many owners, those of the first calls.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn own_quotas_of_timeline(
        &self,
        bucket: &Bucket,
        work: &SimulationInput<'_>,
        rules: [RuleSet<'_>; 2],
        reads: &mut OwnerReads,
    ) -> Result<Vec<OwnerQuota>, ServiceError> {
        let owners = owners(work, rules);
        let owners = reads.take(&owners);
        let found = self.store.own_quotas(bucket, owners).await?;
        let mut quotas = Vec::new();
        for (owner, own) in owners.iter().zip(found) {
            for own in own {
                let own_quota = OwnQuota { quota: own.quota, until_ms: own.until_ms };
                quotas.push((owner.clone(), own.group, own_quota));
            }
        }
        Ok(quotas)
    }
}

/// The owners that may have own quotas and that calls count in, in the order of the calls.
fn owners(work: &SimulationInput<'_>, rules: [RuleSet<'_>; 2]) -> Vec<OwnerName> {
    let timeline = work.timeline;
    let sets = rules.into_iter().filter(|rules| has_limitable(rules.config));
    let sets = sets.map(|rules| Rules::new(work.app, rules.config, rules.instead, work.subscribed));
    let mut sets: Vec<Rules<'_>> = sets.collect();
    let (mut known, mut owners) = (HashSet::new(), Vec::new());
    if sets.is_empty() {
        return owners;
    }
    for moment in timeline.moments.iter().filter(|moment| uses_counters(&moment.action)) {
        let Some(call) = timeline.calls.get(moment.call) else { continue };
        let Some(user) = timeline.users.get(call.user) else { continue };
        let caller = Caller { user, app: work.app, key: call.key.as_ref() };
        for rules in &mut sets {
            let position = rules.position(call.user, moment.at_ms, call.plan.as_ref());
            for group in limitable(rules.effective_limits(&position)) {
                for owner in owners_in(group, call, caller) {
                    if known.insert(owner.clone()) {
                        owners.push(owner);
                    }
                }
            }
        }
    }
    owners
}

/// Whether it finds the counters of its call; what follows a reserve uses those of the reserve.
fn uses_counters(action: &CallAction) -> bool {
    matches!(action, CallAction::Reserve | CallAction::Denied { .. } | CallAction::Track | CallAction::GiveBack)
}

/// Whether owners may have own quotas in any group. Otherwise no call has to be looked at.
fn has_limitable(config: &AppConfig) -> bool {
    let mut of_plans = config.plans.values().flat_map(|entry| &entry.plan.groups);
    !config.policies.is_empty() || of_plans.any(|group| !group.scope.is_user())
}

/// The groups in which owners may have own quotas.
fn limitable(limits: EffectiveLimits<'_>) -> impl Iterator<Item = &Arc<LimitGroup>> {
    let of_plan = limits.plan.into_iter().flat_map(|plan| &plan.groups).filter(|group| !group.scope.is_user());
    let of_policies = limits.policies.iter().flat_map(|policy| &policy.groups);
    of_plan.chain(of_policies).filter(|group| !group.is_balance())
}

/// The owners of a call's counters in a group.
fn owners_in(group: &LimitGroup, call: &Call, caller: Caller<'_>) -> Vec<OwnerName> {
    if call.items.is_empty() {
        let is_held = call.held.iter().any(|(held, _)| *held == group.id);
        let owner = group.scope.owner(caller.subject(&Metadata::default())).filter(|_| is_held);
        return owner.into_iter().collect();
    }
    let counted = call.items.iter().filter(|item| group.matching_rule(item.event.as_str(), &item.metadata).is_some());
    counted.filter_map(|item| group.scope.owner(caller.subject(&item.metadata))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::configuration::estimate::LearnedValues;
    use crate::domain::metering::reservation::Item;
    use crate::domain::time::window::TimeMs;
    use crate::domain::values::amount::Amount;
    use crate::domain::values::ids::{AppId, EventName, KeyId, PolicyId, UserId};
    use crate::domain::values::number::Number;
    use crate::service::simulation::timeline::{TimelineBuilder, Units};
    use crate::service::tenant::Placement;

    fn config(scope: &Value, event: &str) -> AppConfig {
        let group = json!({"id": "g", "unit": "count", "quota": 4, "measure": "event", "scope": scope,
            "matches": [{"event": event}]});
        let body = serde_json::from_value(json!({"periodType": "daily", "groups": [group]})).unwrap();
        AppConfig::default().with_policy(Placement::App, &PolicyId::parse("p").unwrap(), body).unwrap()
    }

    #[test]
    fn each_owner_that_calls_count_in_under_any_rules_is_found_once() {
        let mut builder = TimelineBuilder::new(Units::default(), TimeMs::MIN, TimeMs::MAX, true);
        for (at_ms, event, metadata) in [
            (1, "llm.a", json!({"team": "red"})),
            (2, "llm.a", json!({"team": "blue"})),
            (3, "llm.a", json!({"team": "red"})),
            (4, "image.a", json!({"team": "grey"})),
            (5, "llm.a", json!({})),
        ] {
            let item = Item {
                event: EventName::parse(event).unwrap(),
                quantity: Number(1.into()),
                metadata: serde_json::from_value(metadata).unwrap(),
                estimated: LearnedValues::default(),
                drawn: None,
            };
            builder.made(at_ms, UserId::parse("u").unwrap(), item, vec![CallAction::Reserve, CallAction::Release]);
        }
        let (timeline, units, app) = (builder.finish(), Units::default(), AppId::parse("a").unwrap());
        let work = SimulationInput {
            timeline: &timeline,
            units: &units,
            app: &app,
            subscribed: &[],
            since_ms: TimeMs::MIN,
            refuses: true,
        };
        let found = |present: &AppConfig, drafted: &AppConfig| {
            let rules = [present, drafted].map(|config| RuleSet { config, instead: None });
            owners(&work, rules).iter().map(OwnerName::to_string).collect::<Vec<_>>()
        };
        let (teams, users) = (config(&json!(["metadata.team"]), "llm.*"), config(&json!(["user"]), "image.*"));
        assert_eq!(found(&teams, &users), ["metadata.team red", "metadata.team blue", "user u"]);
        assert_eq!(found(&users, &users), ["user u"]);
        assert!(found(&AppConfig::default(), &AppConfig::default()).is_empty());
    }

    #[test]
    fn an_expired_reservation_has_the_owners_that_need_no_metadata_in_the_groups_that_it_held() {
        let (user, app, key) =
            (UserId::parse("u").unwrap(), AppId::parse("a").unwrap(), KeyId::parse("key_1").unwrap());
        let caller = Caller { user: &user, app: &app, key: Some(&key) };
        let held = vec![(GroupId::parse("g").unwrap(), Amount::ZERO)];
        let call = Call { user: 0, key: Some(key.clone()), event: None, items: [].into(), held, plan: None };
        let found = |scope: Value, call: &Call| {
            let config = config(&scope, "*");
            owners_in(&config.policies[0].groups[0], call, caller).iter().map(OwnerName::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found(json!(["key"]), &call), ["key key_1"]);
        assert!(found(json!(["metadata.team"]), &call).is_empty());
        let other = Call { held: Vec::new(), ..call };
        assert!(found(json!(["key"]), &other).is_empty());
    }

    #[test]
    fn owners_beyond_the_bound_are_counted_over_all_buckets() {
        let owners = ["a", "b"].map(|user| OwnerName::of_user(&UserId::parse(user).unwrap()));
        let mut reads = OwnerReads::at_most(3);
        assert_eq!((reads.take(&owners).len(), reads.unread), (2, 0));
        assert_eq!((reads.take(&owners), reads.unread), (&owners[..1], 1));
        assert_eq!((reads.take(&owners).len(), reads.unread), (0, 3));
    }
}

//! The metadata that rules use. Ledger entries may have ten kilobytes of metadata each; a replay keeps only what can
//! affect a decision, so that its memory does not grow with the rest.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::users::MANY;
use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::configuration::measure::Measure;
use crate::domain::reporting::ledger::{Entry, StoredEntry};
use crate::domain::values::ids::UserId;
use crate::service::configuration::app_config::AppConfig;
use crate::service::configuration::clashes::counted_plan;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::store::keys::Bucket;

/// Names of metadata fields in the rules of all users, and in those of users with custom limits.
pub struct Relevant<'a> {
    configs: [&'a AppConfig; 2],
    names: BTreeSet<String>,
    of_users: HashMap<UserId, BTreeSet<String>>,
    /// Users whose custom limits were checked.
    known: HashSet<UserId>,
}

fn add_names(groups: &[Arc<LimitGroup>], names: &mut BTreeSet<String>) {
    for group in groups {
        names.extend(group.scope.names().iter().filter_map(|name| name.strip_prefix("metadata.")).map(str::to_owned));
        let measures = group.matches.iter().filter_map(|rule| rule.measure.as_ref()).chain([&group.measure]);
        for measure in measures {
            if let Measure::Weighted(weighted) = measure {
                names.extend(weighted.per.keys().chain(weighted.estimate.keys()).cloned());
            }
        }
        names.extend(group.matches.iter().flat_map(|rule| rule.metadata.keys()).cloned());
    }
}

fn user_of(entry: &Entry) -> Option<&UserId> {
    entry.user.as_ref().or_else(|| entry.snapshot.as_ref().map(|snapshot| &snapshot.user))
}

impl<'a> Relevant<'a> {
    /// The fields that are relevant to all rules of a replay.
    pub fn new(configs: [&'a AppConfig; 2]) -> Self {
        let mut names = BTreeSet::new();
        for config in configs {
            for entry in config.plans.values() {
                add_names(&entry.plan.groups, &mut names);
            }
            for policy in &config.policies {
                add_names(&policy.groups, &mut names);
            }
        }
        Self { configs, names, of_users: HashMap::new(), known: HashSet::new() }
    }

    fn prune(&self, entry: &mut Entry) {
        let own = user_of(entry).and_then(|user| self.of_users.get(user));
        let keeps = |name: &str| self.names.contains(name) || own.is_some_and(|own| own.contains(name));
        if let Some(snapshot) = &mut entry.snapshot {
            snapshot.rules = None;
            for item in Arc::make_mut(&mut snapshot.items) {
                item.drawn = None;
                item.metadata.retain(keeps);
            }
        }
        for actual in &mut entry.details.actual {
            actual.metadata.retain(keeps);
        }
        entry.details.reason = None;
    }
}

impl Gateway {
    /// Removes fields that no rule uses from the entries of one bucket. Returns the number of groups in the custom
    /// limits of users that occur for the first time.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn prune(
        &self,
        bucket: &Bucket,
        relevant: &mut Relevant<'_>,
        entries: &mut [StoredEntry],
    ) -> Result<usize, ServiceError> {
        let mut own_groups = 0;
        let strangers: BTreeSet<UserId> = entries
            .iter()
            .filter_map(|stored| user_of(&stored.entry))
            .filter(|user| !relevant.known.contains(*user))
            .cloned()
            .collect();
        let strangers: Vec<UserId> = strangers.into_iter().collect();
        for users in strangers.chunks(MANY) {
            for (user, stored) in users.iter().zip(self.store.stored_users(bucket, users).await?) {
                relevant.known.insert(user.clone());
                let Some(subscription) = &stored.subscribed.subscription else { continue };
                let Some(limits) = &subscription.custom_limits else { continue };
                let (mut names, mut most_groups) = (BTreeSet::new(), 0);
                for config in relevant.configs {
                    for entry in config.plans.values() {
                        let plan = counted_plan(config, limits, &entry.plan);
                        add_names(&plan.groups, &mut names);
                        most_groups = most_groups.max(plan.groups.len());
                    }
                }
                own_groups += most_groups;
                relevant.of_users.insert(user.clone(), names);
            }
        }
        for stored in entries {
            relevant.prune(&mut stored.entry);
        }
        Ok(own_groups)
    }
}

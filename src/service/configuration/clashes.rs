//! Consistency between plans, policies and custom plans of users, since they count at the same time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::app_config::{AppConfig, GroupKind};
use crate::domain::accounts::custom_limits::CustomLimits;
use crate::domain::configuration::group_check::{ambiguous, ambiguous_rules};
use crate::domain::configuration::limit_group::{LimitGroup, LimitKind};
use crate::domain::configuration::measure::Measure;
use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::plan_body::{GroupBody, MeasureBody, MeasureWord};
use crate::domain::configuration::policy::Policy;
use crate::domain::configuration::scope::Scope;
use crate::domain::values::amount::Unit;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::GroupId;
use crate::service::tenant::Placement;

/// A plan or policy with its groups.
#[derive(Clone, Copy)]
pub(in crate::service) struct Side<'a> {
    pub is_policy: bool,
    pub id: &'a str,
    pub groups: &'a [Arc<LimitGroup>],
}

impl<'a> Side<'a> {
    pub fn plan(plan: &'a Plan) -> Self {
        Self { is_policy: false, id: plan.id.as_str(), groups: &plan.groups }
    }

    pub fn policy(policy: &'a Policy) -> Self {
        Self { is_policy: true, id: policy.id.as_str(), groups: &policy.groups }
    }
}

/// Where a drafted plan or policy contradicts another one.
pub(in crate::service) fn clashes(path: &str, one: Side<'_>, other: Side<'_>) -> Vec<FieldError> {
    let Side { is_policy: by_policy, groups, .. } = one;
    let Side { is_policy: other_policy, id: other_id, groups: others } = other;
    let mut faults = Vec::new();
    for (place, group) in groups.iter().enumerate() {
        let mut report = |fault: FieldError| faults.push(within(path, fault.within(&format!("groups[{place}]"))));
        let kind = if other_policy { "policy" } else { "plan" };
        if let Some(same) = others.iter().find(|other| other.id == group.id) {
            if by_policy || other_policy {
                let message = format!("must be unique: {kind} `{other_id}` also has a group `{}`", group.id);
                report(FieldError::new("id", message));
            } else if !group.scope.contains_user() && group.period != same.period {
                let message = format!(
                    "must be the same in all plans, since users share the counter: plan `{other_id}` has another period for \
                     group `{}`",
                    group.id
                );
                report(FieldError::new("periodType", message));
            }
        }
        // Plans are never used together, but a policy is used with every plan.
        if by_policy || other_policy {
            others.iter().filter_map(|other| ambiguous(other, group)).take(1).for_each(&mut report);
        }
    }
    faults
}

/// A user's custom plan: the plan with these limits applied.
///
/// # Errors
/// Every fault; fields begin with `customLimits`.
pub(in crate::service) fn own_plan(
    config: &AppConfig,
    placement: Placement,
    limits: &CustomLimits,
    plan: &Plan,
) -> Result<(Plan, Groups), Vec<FieldError>> {
    const PATH: &str = "customLimits";
    let mut faults = limits.strangers(plan);
    let mut groups = Groups::of(config, placement);
    let own = limits.apply(plan).map_err(|errors| faults.extend(errors)).ok();
    if let Some(own) = own.as_ref().filter(|_| limits.is_whole_plan()) {
        faults.extend(groups.take(&own.body.groups, PATH));
        let one = Side::plan(own);
        for plan in config.plans.values().map(|entry| &entry.plan) {
            faults.extend(clashes(PATH, one, Side::plan(plan)));
        }
        for policy in &config.policies {
            faults.extend(clashes(PATH, one, Side::policy(policy)));
        }
    }
    own.filter(|_| faults.is_empty()).map(|own| (own, groups)).ok_or(faults)
}

/// The plan with a user's custom limits, as it applies now. The limits were valid when they were set; plans and
/// policies that changed since take precedence. If the limits no longer fit a changed plan, the plan applies without
/// them.
pub(in crate::service) fn counted_plan(config: &AppConfig, limits: &CustomLimits, plan: &Arc<Plan>) -> Arc<Plan> {
    let Ok(mut own) = limits.apply(plan) else { return Arc::clone(plan) };
    if limits.is_whole_plan() {
        let by_policies = || config.policies.iter().flat_map(|policy| &policy.groups);
        let is_policys = |id: &str| by_policies().any(|it| it.id.as_str() == id);
        own.groups.retain(|group| !is_policys(group.id.as_str()));
        // Reservations store the body, group by group.
        own.body.groups.retain(|group| !is_policys(&group.id));
        for (group, body) in own.groups.iter_mut().zip(&mut own.body.groups) {
            let yields: BTreeSet<usize> = by_policies().flat_map(|it| ambiguous_rules(it, group)).collect();
            if !yields.is_empty() {
                give_way(Arc::make_mut(group), body, &yields);
            }
            if !group.scope.contains_user() {
                let shared = config.plans.values().flat_map(|entry| &entry.plan.groups).find(|it| it.id == group.id);
                if let Some(shared) = shared.filter(|shared| shared.period != group.period) {
                    Arc::make_mut(group).period = shared.period.clone();
                }
            }
        }
    }
    Arc::new(own)
}

/// Avoids a conflict with a policy that counts the bare quantity in another unit: with unit `count` each call counts
/// as one; groups with other units do not count such events.
fn give_way(group: &mut LimitGroup, body: &mut GroupBody, rules: &BTreeSet<usize>) {
    if group.unit == Unit::Count {
        for place in rules {
            group.matches[*place].measure = Some(Measure::Event);
            body.matches[*place].measure = Some(MeasureBody::Word(MeasureWord::Event));
        }
    } else {
        for place in rules.iter().rev() {
            group.matches.remove(*place);
            body.matches.remove(*place);
        }
    }
}

pub(in crate::service) fn within(path: &str, fault: FieldError) -> FieldError {
    if path.is_empty() { fault } else { fault.within(path) }
}

/// The register of group IDs while a draft is checked.
pub struct Groups {
    known: HashMap<GroupId, GroupKind>,
    pub new: Vec<(GroupId, GroupKind)>,
    placement: Placement,
}

impl Groups {
    pub fn of(config: &AppConfig, placement: Placement) -> Self {
        Self { known: config.groups.clone(), new: Vec::new(), placement }
    }

    /// Registers the groups of a body. The kind, unit and scope of an ID never change in any plan or policy. Groups without
    /// a valid ID, unit or scope are skipped, since the validation of the body reports them. Returns every fault;
    /// fields begin with `path`.
    pub fn take(&mut self, groups: &[GroupBody], path: &str) -> Vec<FieldError> {
        let mut faults = Vec::new();
        for (place, group) in groups.iter().enumerate() {
            let (Ok(id), Some(unit)) = (GroupId::parse(&group.id), group.unit) else { continue };
            let Ok(scope) = group.scope.as_ref().map_or(Ok(Scope::user()), |names| Scope::parse(names)) else {
                continue;
            };
            let mut report = |field: &str, message: String| {
                faults.push(within(path, FieldError::new(format!("groups[{place}].{field}"), message)));
            };
            if self.placement == Placement::User && !scope.contains_user() {
                let message = "must contain `user`: this app has the placement `user`, which spreads its users over a \
                               cluster, so users cannot share counters";
                report("scope", message.to_owned());
            }
            match self.known.get(&id) {
                None => {
                    let kind = GroupKind { unit, scope, limit: group.kind };
                    self.known.insert(id.clone(), kind.clone());
                    self.new.push((id, kind));
                }
                Some(known) if known.unit != unit => {
                    let known = known.unit;
                    let message = format!(
                        "must be `{known}`: group `{id}` already has this unit, which cannot be changed; choose another ID"
                    );
                    report("unit", message);
                }
                Some(known) if known.scope != scope => {
                    let known = known.scope.names().join(", ");
                    let message = format!(
                        "must be `{known}`: group `{id}` already has this scope, which cannot be changed; choose another ID"
                    );
                    report("scope", message);
                }
                Some(known) if known.limit != group.kind => {
                    let known = match known.limit {
                        LimitKind::Quota => "left out",
                        LimitKind::Balance => "`balance`",
                    };
                    let message = format!(
                        "must be {known}: group `{id}` already has this kind, which cannot be changed; choose another ID"
                    );
                    report("kind", message);
                }
                Some(_) => {}
            }
        }
        faults
    }
}

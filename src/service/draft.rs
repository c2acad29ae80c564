//! A draft of a configuration: checked as a whole against the present one, then written in one step.

use std::collections::{BTreeMap, HashMap};

use super::app_config::AppConfig;
use super::app_config::Settings;
use super::app_config::VersionDocument;
use super::config::Change;
use super::error::{ServiceError, json};
use crate::domain::amount::Unit;
use crate::domain::difference::{Difference, differences};
use crate::domain::field_error::FieldError;
use crate::domain::ids::{GroupId, KeyId, PlanId};
use crate::domain::plan::Plan;
use crate::domain::plan_body::PlanBody;
use crate::domain::window::{TimeMs, rfc3339};
use crate::store::audit::Trail;

/// What is to be: plans to put and to delete, settings to have. The rest stays.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Each with the path that faults in it begin with: empty where the plan is the whole document.
    pub plans: Vec<(String, PlanId, PlanBody)>,
    pub delete: Vec<PlanId>,
    pub settings: Option<Settings>,
    /// The path that faults in the settings begin with.
    pub settings_path: &'static str,
}

/// What a draft would change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// `plan:<id>` or `app`.
    pub target: String,
    pub action: ChangeAction,
    /// Field by field; empty for what is created or deleted.
    pub fields: Vec<Difference>,
    pub before: Option<String>,
    pub after: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeAction {
    Create,
    Update,
    Delete,
}

/// A draft that was checked.
pub struct Checked {
    /// The plans that differ from what is there, at the new revision.
    pub plans: Vec<Plan>,
    pub changed: Vec<Changed>,
    new_units: Vec<(GroupId, Unit)>,
}

fn within(path: &str, fault: FieldError) -> FieldError {
    if path.is_empty() { fault } else { fault.within(path) }
}

impl Draft {
    /// Checks everything and lists all faults at once.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`], [`ServiceError::PlanInUse`] for deleting the default plan.
    pub fn check(&self, config: &AppConfig, revision: u64) -> Result<Checked, ServiceError> {
        let mut faults = Vec::new();
        let mut plans = Vec::new();
        let mut known: HashMap<GroupId, Unit> = config.units.clone();
        let mut new_units = Vec::new();
        let mut seen: BTreeMap<&PlanId, &str> = BTreeMap::new();
        for (path, id, body) in &self.plans {
            if seen.insert(id, path).is_some() {
                faults.push(within(path, FieldError::new("id", format!("`{id}` is there twice"))));
            }
            match self::new_units(&known, body, path) {
                Ok(fresh) => {
                    known.extend(fresh.iter().cloned());
                    new_units.extend(fresh);
                }
                Err(errors) => faults.extend(errors),
            }
            match Plan::validate(id, revision, body.clone()) {
                Ok(plan) => plans.push((path.as_str(), plan)),
                Err(errors) => faults.extend(errors.into_iter().map(|fault| within(path, fault))),
            }
        }
        let settings = self.settings.as_ref().unwrap_or(&config.settings);
        let default_fault = |message: String| within(self.settings_path, FieldError::new("defaultPlanId", message));
        if let Some(default) = &settings.default_plan_id {
            let drafted = plans.iter().find(|(_, plan)| plan.id == *default);
            let present = config.plan(default).filter(|_| !self.delete.contains(default));
            match (drafted, present) {
                (Some((path, plan)), _) => faults.extend(default_faults(plan).map(|fault| within(path, fault))),
                (None, Some(plan)) if self.settings.is_some() => {
                    let fault = |_| default_fault("its groups must not be anchored to a subscription".to_owned());
                    faults.extend(default_faults(plan).take(1).map(fault));
                }
                (None, Some(_)) => {}
                (None, None) if self.delete.contains(default) => {
                    return Err(ServiceError::PlanInUse(format!("plan `{default}` is the app's default")));
                }
                // Its own fault is told already.
                (None, None) if seen.contains_key(default) => {}
                (None, None) => {
                    faults.push(default_fault(format!("there is no plan `{default}`")));
                }
            }
        }
        if !faults.is_empty() {
            return Err(ServiceError::Invalid(faults));
        }
        let plans: Vec<Plan> = plans
            .into_iter()
            .map(|(_, plan)| plan)
            .filter(|plan| {
                let present = config.plans.get(&plan.id);
                present.is_none_or(|entry| entry.closing || entry.plan.body != plan.body)
            })
            .collect();
        let changed = self.changed(config, &plans)?;
        Ok(Checked { plans, changed, new_units })
    }

    fn changed(&self, config: &AppConfig, plans: &[Plan]) -> Result<Vec<Changed>, ServiceError> {
        let mut changed = Vec::new();
        for plan in plans {
            let before = config.plan(&plan.id).map(|present| &present.body);
            changed.push(compare(format!("plan:{}", plan.id), before, Some(&plan.body))?);
        }
        for id in &self.delete {
            if let Some(present) = config.plan(id) {
                changed.push(compare(format!("plan:{id}"), Some(&present.body), None)?);
            }
        }
        if let Some(settings) = self.settings.as_ref().filter(|settings| **settings != config.settings) {
            changed.push(compare("app".to_owned(), Some(&config.settings), Some(settings))?);
        }
        Ok(changed)
    }

    /// The draft as a change of the configuration at `revision`, which is also a time in microseconds.
    ///
    /// # Errors
    /// As [`Draft::check`].
    pub fn change(&self, config: &AppConfig, revision: u64, by: &KeyId) -> Result<Change, ServiceError> {
        let checked = self.check(config, revision)?;
        let mut change = Change { unchanged: checked.changed.is_empty(), ..Change::default() };
        let at = rfc3339(TimeMs::try_from(revision / 1_000_000 * 1000).unwrap_or(TimeMs::MAX));
        for plan in &checked.plans {
            change.set.push(AppConfig::plan_field(plan, false)?);
            let document = VersionDocument { body: plan.body.clone(), by: by.to_string(), at: at.clone() };
            change.versions.push((plan.id.clone(), Some(json(&document)?)));
        }
        change.set.extend(checked.new_units.iter().map(|(group, unit)| AppConfig::unit_field(group, *unit)));
        for id in self.delete.iter().filter(|id| config.plans.contains_key(*id)) {
            change.delete.push(format!("plan:{id}"));
            change.versions.push((id.clone(), None));
        }
        if let Some(settings) = &self.settings {
            change.set.push(AppConfig::settings_field(settings)?);
        }
        change.trails = checked.changed.iter().map(|changed| changed.trail(by)).collect();
        Ok(change)
    }
}

/// The group ids of a plan that are new. The unit of an id never changes, in any plan. What is no id or has no unit is
/// told where the plan is validated.
///
/// # Errors
/// Every group whose id counts something else already; fields begin with `path`.
pub fn new_units(
    known: &HashMap<GroupId, Unit>,
    body: &PlanBody,
    path: &str,
) -> Result<Vec<(GroupId, Unit)>, Vec<FieldError>> {
    let mut fresh = Vec::new();
    let mut faults = Vec::new();
    for (place, group) in body.groups.iter().enumerate() {
        let (Ok(id), Some(unit)) = (GroupId::parse(&group.id), group.unit) else { continue };
        match known.get(&id) {
            None => fresh.push((id, unit)),
            Some(known) if *known == unit => {}
            Some(known) => {
                let message = format!(
                    "group `{id}` counts {known}, here or in another plan; the unit of an id never changes: choose \
                     another id"
                );
                faults.push(within(path, FieldError::new(format!("groups[{place}].unit"), message)));
            }
        }
    }
    if faults.is_empty() { Ok(fresh) } else { Err(faults) }
}

/// The groups that a default plan must not have: there is no subscription to count from.
fn default_faults(plan: &Plan) -> impl Iterator<Item = FieldError> {
    let anchored = plan.groups.iter().enumerate().filter(|(_, group)| group.period.needs_subscription());
    anchored.map(|(place, _)| {
        FieldError::new(
            format!("groups[{place}].periodAnchor"),
            "this is the app's default plan, for users without subscription: nothing in it can be anchored to one",
        )
    })
}

fn compare<T: serde::Serialize>(
    target: String,
    before: Option<&T>,
    after: Option<&T>,
) -> Result<Changed, ServiceError> {
    let value = |side: Option<&T>| side.map(serde_json::to_value).transpose();
    let fault = |error: serde_json::Error| ServiceError::Internal(error.to_string());
    let (old, new) = (value(before).map_err(fault)?, value(after).map_err(fault)?);
    let action = match (&old, &new) {
        (None, _) => ChangeAction::Create,
        (_, None) => ChangeAction::Delete,
        (Some(_), Some(_)) => ChangeAction::Update,
    };
    let fields = old.as_ref().zip(new.as_ref()).map_or_else(Vec::new, |(old, new)| differences(old, new));
    let text = |side: Option<serde_json::Value>| side.map(|value| value.to_string());
    Ok(Changed { target, action, fields, before: text(old), after: text(new) })
}

impl Changed {
    fn trail(&self, by: &KeyId) -> Trail {
        let kind = self.target.split(':').next().unwrap_or_default();
        let word = match self.action {
            ChangeAction::Create | ChangeAction::Update => "put",
            ChangeAction::Delete => "delete",
        };
        Trail {
            actor: by.to_string(),
            action: format!("{kind}.{word}"),
            target: self.target.clone(),
            before: self.before.clone(),
            after: self.after.clone(),
            note: None,
        }
    }
}

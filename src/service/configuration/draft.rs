//! A draft of a configuration: validated as a whole together with the present one, then written in one step.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::app_config::{
    AppConfig, Change, GroupKind, MOST_SCOPE_VALUES, PlanEntry, Review, Settings, StoredWebhook, VersionDocument,
};
use super::clashes::{Groups, Side, clashes, within};
use super::report_fields::check_labels;
use crate::domain::access::audit::AuditEntry;
use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::configuration::policy::Policy;
use crate::domain::configuration::policy_body::PolicyBody;
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::difference::{Difference, differences};
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::{GroupId, KeyId, PlanId, PolicyId, WebhookId};
use crate::domain::webhooks::webhook::WebhookBody;
use crate::service::access::audit::audited;
use crate::service::error::{ServiceError, json};
use crate::service::tenant::Placement;
use crate::store::keys::Versioned;

/// Plans, policies and webhooks to put and to delete, and new settings. Everything else stays unchanged.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// With `user`, every group counts per user.
    pub placement: Placement,
    /// Each with the path that its faults begin with: empty if the plan is the whole document.
    pub plans: Vec<(String, PlanId, PlanBody)>,
    pub delete: Vec<PlanId>,
    /// Like `plans`.
    pub policies: Vec<(String, PolicyId, PolicyBody)>,
    pub delete_policies: Vec<PolicyId>,
    /// Like `plans`.
    pub webhooks: Vec<(String, WebhookId, WebhookBody)>,
    pub delete_webhooks: Vec<WebhookId>,
    pub settings: Option<Settings>,
    /// The path that faults in the settings begin with.
    pub settings_path: &'static str,
}

/// What a draft would change.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// `plan:<id>`, `policy:<id>`, `webhook:<id>` or `app`.
    pub target: String,
    pub action: ChangeAction,
    /// Field by field; empty if the target is created or deleted.
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

/// A validated draft.
pub struct Checked {
    /// The plans that differ from the present ones, at the new revision.
    pub plans: Vec<Plan>,
    /// The policies that differ from the present ones, at the new revision.
    pub policies: Vec<Policy>,
    pub changed: Vec<Changed>,
    webhooks: Vec<(WebhookId, WebhookBody)>,
    new_groups: Vec<(GroupId, GroupKind)>,
}

/// What differs from what is there.
struct Bodies<'a> {
    plans: Vec<(&'a PlanId, PlanBody)>,
    policies: Vec<(&'a PolicyId, PolicyBody)>,
    webhooks: Vec<(&'a WebhookId, WebhookBody)>,
}

impl Draft {
    /// Checks everything and returns all faults at once.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`], [`ServiceError::PlanInUse`] for deleting the default plan.
    pub fn check(&self, config: &AppConfig, revision: u64) -> Result<Checked, ServiceError> {
        let mut faults = Vec::new();
        let mut groups = Groups::of(config, self.placement);
        let mut plans = Vec::new();
        let mut seen: BTreeMap<&PlanId, &str> = BTreeMap::new();
        for (path, id, body) in &self.plans {
            if seen.insert(id, path).is_some() {
                faults.push(within(path, FieldError::new("id", format!("must be unique: `{id}` occurs twice"))));
            }
            faults.extend(groups.take(&body.groups, path));
            match Plan::validate(id, revision, body.clone()) {
                Ok(plan) => plans.push((path.as_str(), plan)),
                Err(errors) => faults.extend(errors.into_iter().map(|fault| within(path, fault))),
            }
        }
        let policies = self.checked_policies(revision, &mut groups, &mut faults);
        faults.extend(self.shared_faults(config, &plans, &policies));
        let webhooks = self.checked_webhooks(config, &mut faults);
        let settings = self.settings.as_ref().unwrap_or(&config.settings);
        if let Err(message) = check_labels(&settings.report_labels) {
            faults.push(within(self.settings_path, FieldError::new("reportLabels", message)));
        }
        let is_code = |code: &String| code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_uppercase());
        if !settings.currency.as_ref().is_none_or(is_code) {
            let message = "must be an ISO 4217 code, such as `USD`";
            faults.push(within(self.settings_path, FieldError::new("currency", message)));
        }
        // Only a new figure is checked: an earlier version may have allowed the present one.
        let most = settings.max_scope_values;
        if most != config.settings.max_scope_values && !MOST_SCOPE_VALUES.contains(&most) {
            let message = format!("must be between {} and {}", MOST_SCOPE_VALUES.start(), MOST_SCOPE_VALUES.end());
            faults.push(within(self.settings_path, FieldError::new("maxScopeValues", message)));
        }
        let default_fault = |message: String| within(self.settings_path, FieldError::new("defaultPlanId", message));
        if let Some(default) = &settings.default_plan_id {
            let drafted = plans.iter().find(|(_, plan)| plan.id == *default);
            let present = config.plan(default).filter(|_| !self.delete.contains(default));
            match (drafted, present) {
                (Some((path, plan)), _) => faults.extend(default_faults(plan).map(|fault| within(path, fault))),
                (None, Some(plan)) if self.settings.is_some() => {
                    let fault = |_| {
                        default_fault(
                            "must be a plan whose groups do not have the anchor `subscription_start`".to_owned(),
                        )
                    };
                    faults.extend(default_faults(plan).take(1).map(fault));
                }
                (None, Some(_)) => {}
                (None, None) if self.delete.contains(default) => {
                    return Err(ServiceError::PlanInUse(format!("Plan `{default}` is the app's default plan.")));
                }
                // This is already reported as a fault of the plan itself.
                (None, None) if seen.contains_key(default) => {}
                (None, None) => {
                    faults.push(default_fault(format!("must be an existing plan; there is no plan `{default}`")));
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
                present.is_none_or(|entry| entry.closed_us.is_some() || entry.plan.body != plan.body)
            })
            .collect();
        let policies: Vec<Policy> = policies
            .into_iter()
            .map(|(_, policy)| policy)
            .filter(|policy| config.policy(&policy.id).is_none_or(|present| present.body != policy.body))
            .collect();
        let bodies = Bodies {
            plans: plans.iter().map(|plan| (&plan.id, plan.body.clone())).collect(),
            policies: policies.iter().map(|policy| (&policy.id, policy.body.clone())).collect(),
            webhooks: webhooks.iter().map(|(id, body)| (id, body.clone())).collect(),
        };
        let changed = self.changed(config, &bodies)?;
        Ok(Checked { plans, policies, changed, webhooks, new_groups: groups.new })
    }

    fn checked_policies(
        &self,
        revision: u64,
        groups: &mut Groups,
        faults: &mut Vec<FieldError>,
    ) -> Vec<(&str, Policy)> {
        let mut policies: Vec<(&str, Policy)> = Vec::new();
        for (path, id, body) in &self.policies {
            if policies.iter().any(|(_, known)| known.id == *id) {
                faults.push(within(path, FieldError::new("id", format!("must be unique: `{id}` occurs twice"))));
            }
            faults.extend(groups.take(&body.groups, path));
            match Policy::validate(id, revision, body.clone()) {
                Ok(policy) => policies.push((path, policy)),
                Err(errors) => faults.extend(errors.into_iter().map(|fault| within(path, fault))),
            }
        }
        policies
    }

    /// The webhooks that differ from the present ones.
    fn checked_webhooks(&self, config: &AppConfig, faults: &mut Vec<FieldError>) -> Vec<(WebhookId, WebhookBody)> {
        let mut webhooks: Vec<(WebhookId, WebhookBody)> = Vec::new();
        for (path, id, body) in &self.webhooks {
            if webhooks.iter().any(|(known, _)| known == id) {
                faults.push(within(path, FieldError::new("id", format!("must be unique: `{id}` occurs twice"))));
            }
            faults.extend(body.faults().into_iter().map(|fault| within(path, fault)));
            webhooks.push((id.clone(), WebhookBody { id: Some(id.to_string()), ..body.clone() }));
        }
        webhooks.retain(|(id, body)| config.webhooks.get(id).is_none_or(|present| present.body != *body));
        webhooks
    }

    /// Conflicts between documents. `plans` and `policies` are drafted; everything else stays unchanged.
    fn shared_faults(
        &self,
        config: &AppConfig,
        plans: &[(&str, Plan)],
        policies: &[(&str, Policy)],
    ) -> Vec<FieldError> {
        let drafted_plan = |id: &PlanId| self.plans.iter().any(|(_, drafted, _)| drafted == id);
        let drafted_policy = |id: &PolicyId| self.policies.iter().any(|(_, drafted, _)| drafted == id);
        let kept_plans = config.plans.values().map(|entry| entry.plan.as_ref());
        let kept_plans = kept_plans.filter(|plan| !drafted_plan(&plan.id) && !self.delete.contains(&plan.id));
        let kept_policies = config.policies.iter().map(Arc::as_ref);
        let kept_policies =
            kept_policies.filter(|policy| !drafted_policy(&policy.id) && !self.delete_policies.contains(&policy.id));
        // Each with its path, if it is drafted.
        let drafted = plans.iter().map(|(path, plan)| (Some(*path), Side::plan(plan)));
        let drafted = drafted.chain(policies.iter().map(|(path, policy)| (Some(*path), Side::policy(policy))));
        let kept = kept_plans.map(|plan| (None, Side::plan(plan)));
        let kept = kept.chain(kept_policies.map(|policy| (None, Side::policy(policy))));
        let all: Vec<_> = kept.chain(drafted).collect();
        let mut faults = Vec::new();
        for (place, (path, one)) in all.iter().enumerate() {
            // Faults are reported for the drafted document; if both are drafted, for the later one.
            let Some(path) = path else { continue };
            for (_, other) in &all[..place] {
                faults.extend(clashes(path, *one, *other));
            }
        }
        faults
    }

    /// What would change if nothing were wrong with the draft.
    ///
    /// # Errors
    /// [`ServiceError::Internal`]; none in practice.
    pub fn unchecked(&self, config: &AppConfig) -> Result<Vec<Changed>, ServiceError> {
        let plans = self.plans.iter().map(|(_, id, body)| (id, PlanBody { id: Some(id.to_string()), ..body.clone() }));
        let policies =
            self.policies.iter().map(|(_, id, body)| (id, PolicyBody { id: Some(id.to_string()), ..body.clone() }));
        let webhooks =
            self.webhooks.iter().map(|(_, id, body)| (id, WebhookBody { id: Some(id.to_string()), ..body.clone() }));
        let bodies = Bodies {
            plans: plans.filter(|(id, body)| config.plan(id).is_none_or(|present| present.body != *body)).collect(),
            policies: policies
                .filter(|(id, body)| config.policy(id).is_none_or(|present| present.body != *body))
                .collect(),
            webhooks: webhooks
                .filter(|(id, body)| config.webhooks.get(*id).is_none_or(|present| present.body != *body))
                .collect(),
        };
        self.changed(config, &bodies)
    }

    fn changed(&self, config: &AppConfig, bodies: &Bodies<'_>) -> Result<Vec<Changed>, ServiceError> {
        let mut changed = Vec::new();
        for (id, body) in &bodies.plans {
            let before = config.plan(id).map(|present| &present.body);
            changed.push(compare(format!("plan:{id}"), before, Some(body))?);
        }
        for id in &self.delete {
            if let Some(present) = config.plan(id) {
                changed.push(compare(format!("plan:{id}"), Some(&present.body), None)?);
            }
        }
        for (id, body) in &bodies.policies {
            let before = config.policy(id).map(|present| &present.body);
            changed.push(compare(format!("policy:{id}"), before, Some(body))?);
        }
        for id in &self.delete_policies {
            if let Some(present) = config.policy(id) {
                changed.push(compare(format!("policy:{id}"), Some(&present.body), None)?);
            }
        }
        for (id, body) in &bodies.webhooks {
            let before = config.webhooks.get(*id).map(|present| &present.body);
            changed.push(compare(format!("webhook:{id}"), before, Some(body))?);
        }
        for id in &self.delete_webhooks {
            if let Some(present) = config.webhooks.get(id) {
                changed.push(compare(format!("webhook:{id}"), Some(&present.body), None)?);
            }
        }
        if let Some(settings) = self.settings.as_ref().filter(|settings| **settings != config.settings) {
            changed.push(compare("app".to_owned(), Some(&config.settings), Some(settings))?);
        }
        Ok(changed)
    }

    /// The configuration with the draft applied, at the same revision.
    ///
    /// # Errors
    /// As [`Draft::check`].
    pub fn applied(&self, config: &AppConfig) -> Result<AppConfig, ServiceError> {
        let checked = self.check(config, config.revision)?;
        let mut applied = config.clone();
        applied.plans.retain(|id, _| !self.delete.contains(id));
        let put = checked.plans.into_iter();
        applied.plans.extend(put.map(|plan| (plan.id.clone(), PlanEntry { plan: Arc::new(plan), closed_us: None })));
        let drafted = |id: &PolicyId| checked.policies.iter().any(|policy| policy.id == *id);
        applied.policies.retain(|policy| !self.delete_policies.contains(&policy.id) && !drafted(&policy.id));
        applied.policies.extend(checked.policies.into_iter().map(Arc::new));
        applied.policies.sort_by(|one, other| one.id.cmp(&other.id));
        applied.groups.extend(checked.new_groups);
        applied.settings = self.settings.clone().unwrap_or(applied.settings);
        Ok(applied)
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
            change.set.push(AppConfig::plan_field(plan, None)?);
            let document = VersionDocument { body: plan.body.clone(), by: by.to_string(), at: at.clone() };
            change.versions.push((Versioned::Plan(plan.id.clone()), Some(json(&document)?)));
        }
        for policy in &checked.policies {
            change.set.push(AppConfig::policy_field(policy)?);
            let document = VersionDocument { body: policy.body.clone(), by: by.to_string(), at: at.clone() };
            change.versions.push((Versioned::Policy(policy.id.clone()), Some(json(&document)?)));
            // A change of a policy counts as a review.
            let review = Review { at: at.clone(), by: by.to_string(), note: None };
            change.set.push(AppConfig::review_field(&policy.id, &review)?);
        }
        for (id, body) in checked.webhooks {
            let webhook = match config.webhooks.get(&id) {
                Some(present) => StoredWebhook { version: revision, body, ..present.as_ref().clone() },
                None => {
                    let secret = StoredWebhook::new_secret();
                    StoredWebhook { version: revision, body, secret, previous: None, created_at: at.clone() }
                }
            };
            change.set.push(AppConfig::webhook_field(&id, &webhook)?);
        }
        for (group, kind) in &checked.new_groups {
            change.set.push(AppConfig::group_field(group, kind)?);
        }
        for id in self.delete.iter().filter(|id| config.plans.contains_key(*id)) {
            change.delete.push(format!("plan:{id}"));
            change.versions.push((Versioned::Plan(id.clone()), None));
        }
        for id in self.delete_policies.iter().filter(|id| config.policy(id).is_some()) {
            change.delete.extend([format!("policy:{id}"), format!("review:{id}")]);
            change.versions.push((Versioned::Policy(id.clone()), None));
        }
        let gone = self.delete_webhooks.iter().filter(|id| config.webhooks.contains_key(*id));
        change.delete.extend(gone.map(|id| format!("webhook:{id}")));
        if let Some(settings) = &self.settings {
            change.set.push(AppConfig::settings_field(settings)?);
        }
        change.audit_entries = checked.changed.iter().map(|changed| changed.audit_entry(by)).collect();
        Ok(change)
    }
}

/// Faults of groups that a default plan must not have, since its users have no subscription.
fn default_faults(plan: &Plan) -> impl Iterator<Item = FieldError> {
    let anchored = plan.groups.iter().enumerate().filter(|(_, group)| group.period.needs_subscription());
    anchored.map(|(place, _)| {
        FieldError::new(
            format!("groups[{place}].periodAnchor"),
            "must be `calendar`, because this is the app's default plan and its users have no subscription",
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
    fn audit_entry(&self, by: &KeyId) -> AuditEntry {
        let kind = self.target.split(':').next().unwrap_or_default();
        let word = match self.action {
            ChangeAction::Create | ChangeAction::Update => "put",
            ChangeAction::Delete => "delete",
        };
        AuditEntry {
            actor: by.to_string(),
            action: format!("{kind}.{word}"),
            target: self.target.clone(),
            before: self.before.as_deref().map(|text| audited(&self.target, text).to_string()),
            after: self.after.as_deref().map(|text| audited(&self.target, text).to_string()),
            note: None,
        }
    }
}

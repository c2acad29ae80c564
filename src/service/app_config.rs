//! What an app is configured to do, as the store keeps it: one hash field per plan, group id, sandbox, and for the
//! app's settings.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ServiceError, json};
use crate::domain::amount::Unit;
use crate::domain::ids::{GroupId, PlanId, Sandbox};
use crate::domain::plan::Plan;
use crate::domain::plan_body::PlanBody;

/// What reserve answers while Redis cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreFailure {
    /// 503.
    #[default]
    Deny,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The plan of users without subscription; calendar and endless groups only. Null: they are denied.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub default_plan_id: Option<PlanId>,
    #[serde(default)]
    pub on_store_failure: OnStoreFailure,
}

/// One app's configuration at one revision.
#[derive(Clone, Debug, Default)]
pub struct AppConfig {
    pub revision: u64,
    pub plans: HashMap<PlanId, PlanEntry>,
    /// Every group id that ever was, with its unit: it never changes.
    pub units: HashMap<GroupId, Unit>,
    pub sandboxes: BTreeSet<Sandbox>,
    pub settings: Settings,
}

#[derive(Clone, Debug)]
pub struct PlanEntry {
    pub plan: Arc<Plan>,
    /// About to be deleted: takes no new users.
    pub closing: bool,
}

/// A plan as the configuration keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct StoredPlan {
    version: u64,
    #[serde(default)]
    closing: bool,
    body: PlanBody,
}

impl AppConfig {
    pub(super) fn read(fields: HashMap<String, String>) -> Result<Self, ServiceError> {
        let damaged = |name: &str| ServiceError::Internal(format!("the stored configuration: {name}"));
        let mut config = Self::default();
        for (name, value) in fields {
            if name == "revision" {
                config.revision = value.parse().map_err(|_| damaged(&name))?;
            } else if let Some(id) = name.strip_prefix("plan:") {
                let id = PlanId::parse(id).map_err(|_| damaged(&name))?;
                let stored: StoredPlan = serde_json::from_str(&value).map_err(|_| damaged(&name))?;
                let plan = Plan::validate(&id, stored.version, stored.body).map_err(|_| damaged(&name))?;
                config.plans.insert(id, PlanEntry { plan: Arc::new(plan), closing: stored.closing });
            } else if let Some(id) = name.strip_prefix("group:") {
                let id = GroupId::parse(id).map_err(|_| damaged(&name))?;
                let unit = serde_json::from_str(&value).map_err(|_| damaged(&name))?;
                config.units.insert(id, unit);
            } else if name == "settings" {
                config.settings = serde_json::from_str(&value).map_err(|_| damaged(&name))?;
            } else if let Some(sandbox) = name.strip_prefix("sandbox:") {
                config.sandboxes.insert(Sandbox::parse(sandbox).map_err(|_| damaged(&name))?);
            }
        }
        config.sandboxes.insert(Sandbox::parse("main").map_err(|_| damaged("main"))?);
        Ok(config)
    }

    /// The plan of that id.
    pub fn plan(&self, id: &PlanId) -> Option<&Arc<Plan>> {
        self.plans.get(id).map(|entry| &entry.plan)
    }

    /// The field of a plan.
    pub fn plan_field(plan: &Plan, closing: bool) -> Result<(String, String), ServiceError> {
        let stored = StoredPlan { version: plan.version, closing, body: plan.body.clone() };
        let text = json(&stored)?;
        Ok((format!("plan:{}", plan.id), text))
    }

    pub fn unit_field(group: &GroupId, unit: Unit) -> (String, String) {
        (format!("group:{group}"), format!("\"{unit}\""))
    }

    pub fn sandbox_field(sandbox: &Sandbox) -> (String, String) {
        (format!("sandbox:{sandbox}"), "1".to_owned())
    }

    pub fn settings_field(settings: &Settings) -> Result<(String, String), ServiceError> {
        let text = json(settings)?;
        Ok(("settings".to_owned(), text))
    }

    /// The plans, by id.
    pub fn sorted_plans(&self) -> Vec<&Arc<Plan>> {
        let mut plans: Vec<&Arc<Plan>> = self.plans.values().map(|entry| &entry.plan).collect();
        plans.sort_by(|one, other| one.id.cmp(&other.id));
        plans
    }
}

/// A version as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VersionDocument {
    pub body: PlanBody,
    /// Id of the key that wrote it.
    pub by: String,
    pub at: String,
}

impl VersionDocument {
    pub fn read(text: &str) -> Result<Self, ServiceError> {
        serde_json::from_str(text).map_err(|error| ServiceError::Internal(format!("a version of a plan: {error}")))
    }

    pub fn plan(self, id: &PlanId, version: u64) -> Result<Plan, ServiceError> {
        Plan::validate(id, version, self.body)
            .map_err(|_| ServiceError::Internal(format!("version {version} of plan {id}")))
    }
}

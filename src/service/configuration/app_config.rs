//! The configuration of an app as stored: one hash field per plan, policy, group ID, webhook and sandbox, and one for
//! the app's settings.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::access::audit::AuditEntry;
use crate::domain::configuration::estimate::LearnedFigure;
use crate::domain::configuration::limit_group::{LimitGroup, LimitKind};
use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::configuration::policy::Policy;
use crate::domain::configuration::policy_body::PolicyBody;
use crate::domain::configuration::scope::Scope;
use crate::domain::values::amount::Unit;
use crate::domain::values::ids::{GroupId, PlanId, PolicyId, Sandbox, WebhookId};
use crate::domain::webhooks::webhook::{WebhookBody, WebhookEvent};
use crate::service::error::{ServiceError, json};
use crate::store::keys::Versioned;

/// How reserve answers while Redis is unavailable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreFailure {
    /// With 503.
    #[default]
    Deny,
    /// With `allowed: true, degraded: true` and without a reservation, unless the node knows of a reason to deny, up
    /// to a number per node. Such calls are counted once when Redis is back.
    Allow,
}

/// The range of `maxScopeValues`.
pub const MOST_SCOPE_VALUES: RangeInclusive<u64> = 1..=10_000_000;

const fn default_scope_values() -> u64 {
    100_000
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The plan of users without a subscription; it may only have calendar and endless groups. Null: such users are
    /// denied.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub default_plan_id: Option<PlanId>,
    #[serde(default)]
    pub on_store_failure: OnStoreFailure,
    /// How many values (or combinations of values) of one scope with metadata may have counters at the same time, in
    /// each mode (and bucket, with placement `user`). Calls with further values are denied. 1 to 10,000,000.
    #[serde(default = "default_scope_values")]
    #[schema(minimum = 1, maximum = 10_000_000, default = 100_000)]
    pub max_scope_values: u64,
    /// Metadata fields that reports can group and filter by, in addition to those that groups use and the documented
    /// ones: at most 16.
    #[serde(default)]
    #[schema(max_items = 16)]
    pub report_labels: Vec<String>,
    /// How the dashboard writes cents: ISO 4217, such as `USD`. Null: as cents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_plan_id: None,
            on_store_failure: OnStoreFailure::Deny,
            max_scope_values: default_scope_values(),
            report_labels: Vec::new(),
            currency: None,
        }
    }
}

/// The properties of a group ID that never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKind {
    pub unit: Unit,
    pub scope: Scope,
    pub limit: LimitKind,
}

#[derive(Serialize, Deserialize)]
struct StoredKind {
    unit: Unit,
    scope: Vec<String>,
    #[serde(default, skip_serializing_if = "LimitKind::is_default")]
    limit: LimitKind,
}

/// A webhook as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredWebhook {
    pub version: u64,
    pub body: WebhookBody,
    /// `whsec_` + base64.
    pub secret: String,
    /// The secret before the last rotation, and until when (ms) it is used too.
    #[serde(default)]
    pub previous: Option<(String, i64)>,
    pub created_at: String,
}

impl StoredWebhook {
    /// A new signing secret in the format of Standard Webhooks.
    pub fn new_secret() -> String {
        format!("whsec_{}", STANDARD.encode(rand::random::<[u8; 32]>()))
    }
}

/// When a policy was last reviewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// RFC 3339, UTC.
    pub at: String,
    /// ID of the key.
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One app's configuration at one revision.
#[derive(Clone, Debug, Default)]
pub struct AppConfig {
    pub revision: u64,
    pub plans: HashMap<PlanId, PlanEntry>,
    /// Sorted by ID.
    pub policies: Vec<Arc<Policy>>,
    /// The last review of each policy, or its last change if that is later.
    pub reviews: HashMap<PolicyId, Review>,
    /// Every group ID that was ever used, with its unit and scope, which never change.
    pub groups: HashMap<GroupId, GroupKind>,
    pub webhooks: HashMap<WebhookId, Arc<StoredWebhook>>,
    pub sandboxes: BTreeSet<Sandbox>,
    pub settings: Settings,
    /// The figures from which estimates are learned.
    pub learned: Arc<[LearnedFigure]>,
}

#[derive(Clone, Debug)]
pub struct PlanEntry {
    pub plan: Arc<Plan>,
    /// When it was closed for deletion (µs, Redis time). A closed plan takes no new users for a while.
    pub closed_us: Option<u64>,
}

/// How long a plan that is being deleted takes no new users: longer than it takes to move and count its users. If the
/// node dies meanwhile, the plan opens again after this time.
const CLOSED_FOR_US: u64 = 10 * 60 * 1_000_000;

impl PlanEntry {
    pub fn is_closed(&self, now_us: u64) -> bool {
        self.closed_us.is_some_and(|closed| now_us < closed + CLOSED_FOR_US)
    }

    /// Whether the plan is certain to stay closed until the deletion is written. Nodes may differ by half of the time.
    pub fn stays_closed(&self, now_us: u64) -> bool {
        self.is_closed(now_us + CLOSED_FOR_US / 2)
    }
}

/// A policy as stored.
#[derive(Debug, Serialize, Deserialize)]
struct StoredPolicy {
    version: u64,
    body: PolicyBody,
}

/// A plan as stored.
#[derive(Debug, Serialize, Deserialize)]
struct StoredPlan {
    version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed_us: Option<u64>,
    body: PlanBody,
}

impl AppConfig {
    pub(in crate::service) fn read(fields: HashMap<String, String>) -> Result<Self, ServiceError> {
        let damaged = |name: &str| ServiceError::Internal(format!("the stored configuration: {name}"));
        let mut config = Self::default();
        for (name, value) in fields {
            if name == "revision" {
                config.revision = value.parse().map_err(|_| damaged(&name))?;
            } else if let Some(id) = name.strip_prefix("plan:") {
                let id = PlanId::parse(id).map_err(|_| damaged(&name))?;
                let stored: StoredPlan = serde_json::from_str(&value).map_err(|_| damaged(&name))?;
                let plan = Plan::validate(&id, stored.version, stored.body).map_err(|_| damaged(&name))?;
                config.plans.insert(id, PlanEntry { plan: Arc::new(plan), closed_us: stored.closed_us });
            } else if let Some(id) = name.strip_prefix("policy:") {
                let id = PolicyId::parse(id).map_err(|_| damaged(&name))?;
                let stored: StoredPolicy = serde_json::from_str(&value).map_err(|_| damaged(&name))?;
                let policy = Policy::validate(&id, stored.version, stored.body).map_err(|_| damaged(&name))?;
                config.policies.push(Arc::new(policy));
            } else if let Some(id) = name.strip_prefix("review:") {
                let id = PolicyId::parse(id).map_err(|_| damaged(&name))?;
                config.reviews.insert(id, serde_json::from_str(&value).map_err(|_| damaged(&name))?);
            } else if let Some(id) = name.strip_prefix("webhook:") {
                let id = WebhookId::parse(id).map_err(|_| damaged(&name))?;
                let stored: StoredWebhook = serde_json::from_str(&value).map_err(|_| damaged(&name))?;
                config.webhooks.insert(id, Arc::new(stored));
            } else if let Some(id) = name.strip_prefix("group:") {
                let id = GroupId::parse(id).map_err(|_| damaged(&name))?;
                let stored: StoredKind = serde_json::from_str(&value).map_err(|_| damaged(&name))?;
                let scope = Scope::parse(&stored.scope).map_err(|_| damaged(&name))?;
                config.groups.insert(id, GroupKind { unit: stored.unit, scope, limit: stored.limit });
            } else if name == "settings" {
                config.settings = serde_json::from_str(&value).map_err(|_| damaged(&name))?;
            } else if let Some(sandbox) = name.strip_prefix("sandbox:") {
                config.sandboxes.insert(Sandbox::parse(sandbox).map_err(|_| damaged(&name))?);
            }
        }
        config.policies.sort_by(|one, other| one.id.cmp(&other.id));
        config.sandboxes.insert(Sandbox::parse("main").map_err(|_| damaged("main"))?);
        config.learned = config.learned_figures().into();
        Ok(config)
    }

    /// The plan with that ID.
    pub fn plan(&self, id: &PlanId) -> Option<&Arc<Plan>> {
        self.plans.get(id).map(|entry| &entry.plan)
    }

    /// The hash field of a plan.
    pub fn plan_field(plan: &Plan, closed_us: Option<u64>) -> Result<(String, String), ServiceError> {
        let stored = StoredPlan { version: plan.version, closed_us, body: plan.body.clone() };
        let text = json(&stored)?;
        Ok((format!("plan:{}", plan.id), text))
    }

    /// The policy with that ID.
    pub fn policy(&self, id: &PolicyId) -> Option<&Arc<Policy>> {
        self.policies.iter().find(|policy| policy.id == *id)
    }

    /// The policy that a group belongs to.
    pub fn policy_of(&self, group: &GroupId) -> Option<&Arc<Policy>> {
        self.policies.iter().find(|policy| policy.group(group).is_some())
    }

    /// A group of any policy, otherwise of any plan: for properties that are the same in all of them.
    pub fn group(&self, id: &GroupId) -> Option<&Arc<LimitGroup>> {
        let of_policy = self.policies.iter().find_map(|policy| policy.group(id));
        of_policy.or_else(|| self.sorted_plans().into_iter().find_map(|plan| plan.group(id)))
    }

    /// The unit of a present or former group; it never changes.
    pub fn unit_of(&self, group: &GroupId) -> Unit {
        self.groups.get(group).map_or(Unit::Count, |kind| kind.unit)
    }

    /// Whether any webhook subscribes to the event.
    pub fn wants(&self, event: WebhookEvent) -> bool {
        self.webhooks.values().any(|webhook| webhook.body.events.contains(&event))
    }

    /// The hash field of a policy.
    pub fn policy_field(policy: &Policy) -> Result<(String, String), ServiceError> {
        let stored = StoredPolicy { version: policy.version, body: policy.body.clone() };
        Ok((format!("policy:{}", policy.id), json(&stored)?))
    }

    pub fn review_field(policy: &PolicyId, review: &Review) -> Result<(String, String), ServiceError> {
        Ok((format!("review:{policy}"), json(review)?))
    }

    pub fn webhook_field(id: &WebhookId, webhook: &StoredWebhook) -> Result<(String, String), ServiceError> {
        Ok((format!("webhook:{id}"), json(webhook)?))
    }

    pub fn group_field(group: &GroupId, kind: &GroupKind) -> Result<(String, String), ServiceError> {
        let stored = StoredKind { unit: kind.unit, scope: kind.scope.names(), limit: kind.limit };
        Ok((format!("group:{group}"), json(&stored)?))
    }

    pub fn sandbox_field(sandbox: &Sandbox) -> (String, String) {
        (format!("sandbox:{sandbox}"), "1".to_owned())
    }

    pub fn settings_field(settings: &Settings) -> Result<(String, String), ServiceError> {
        let text = json(settings)?;
        Ok(("settings".to_owned(), text))
    }

    /// The plans, sorted by ID.
    pub fn sorted_plans(&self) -> Vec<&Arc<Plan>> {
        let mut plans: Vec<&Arc<Plan>> = self.plans.values().map(|entry| &entry.plan).collect();
        plans.sort_by(|one, other| one.id.cmp(&other.id));
        plans
    }
}

/// A stored version of a plan or policy.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VersionDocument<T> {
    pub body: T,
    /// ID of the key that wrote it.
    pub by: String,
    pub at: String,
}

impl<T: serde::de::DeserializeOwned> VersionDocument<T> {
    pub fn read(text: &str) -> Result<Self, ServiceError> {
        serde_json::from_str(text).map_err(|error| ServiceError::Internal(format!("a kept version: {error}")))
    }
}

impl VersionDocument<PolicyBody> {
    pub fn policy(self, id: &PolicyId, version: u64) -> Result<Policy, ServiceError> {
        Policy::validate(id, version, self.body)
            .map_err(|_| ServiceError::Internal(format!("version {version} of policy {id}")))
    }
}

impl VersionDocument<PlanBody> {
    pub fn plan(self, id: &PlanId, version: u64) -> Result<Plan, ServiceError> {
        Plan::validate(id, version, self.body)
            .map_err(|_| ServiceError::Internal(format!("version {version} of plan {id}")))
    }
}

/// The changes of a configuration write.
#[derive(Debug, Default)]
pub struct Change {
    pub set: Vec<(String, String)>,
    pub delete: Vec<String>,
    /// Plans and policies with their document at the new revision; None if deleted.
    pub versions: Vec<(Versioned, Option<String>)>,
    /// Entries for the audit log.
    pub audit_entries: Vec<AuditEntry>,
    /// The answer, also stored for the idempotency key.
    pub answer: String,
    /// Nothing differs: return the answer without a write.
    pub unchanged: bool,
}

//! Plans: read, put, delete.

use serde::{Deserialize, Serialize};

use super::Gateway;
use super::config::{AppConfig, Change};
use super::error::ServiceError;
use super::tenant::Tenant;
use crate::domain::field_error::FieldError;
use crate::domain::ids::{Mode, PlanId};
use crate::domain::plan::{Plan, units};
use crate::domain::plan_body::PlanBody;
use crate::store::operation::{Idempotency, Operation};

/// What `If-Match` says: nothing, any version, or exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    Absent,
    Any,
    Version(u64),
    /// A tag that no version ever had.
    Never,
}

impl IfMatch {
    fn check(self, present: Option<u64>) -> Result<(), ServiceError> {
        let holds = match self {
            Self::Absent => true,
            Self::Any => present.is_some(),
            Self::Version(version) => present == Some(version),
            Self::Never => false,
        };
        if holds { Ok(()) } else { Err(ServiceError::VersionConflict) }
    }
}

/// A plan with its version, which is also its `ETag`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanView {
    #[serde(flatten)]
    pub body: PlanBody,
    pub version: u64,
}

fn view(plan: &Plan) -> PlanView {
    PlanView { body: plan.body.clone(), version: plan.version }
}

fn json(value: &impl Serialize) -> Result<String, ServiceError> {
    serde_json::to_string(value).map_err(|error| ServiceError::Internal(error.to_string()))
}

impl Gateway {
    /// All plans, by id.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn plans(&self, tenant: &Tenant) -> Result<Vec<PlanView>, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let mut plans: Vec<PlanView> = config.plans.values().map(|entry| view(&entry.plan)).collect();
        plans.sort_by(|one, other| one.body.id.cmp(&other.body.id));
        Ok(plans)
    }

    /// # Errors
    /// [`ServiceError`]
    pub async fn plan(&self, tenant: &Tenant, id: &str) -> Result<PlanView, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let plan = PlanId::parse(id).ok().and_then(|id| config.plan(&id).cloned());
        plan.map(|plan| view(&plan)).ok_or_else(|| no_plan(id))
    }

    /// Creates or replaces a plan; the same body again changes nothing. Answers JSON.
    ///
    /// # Errors
    /// [`ServiceError`]; all faults of the body at once.
    pub async fn put_plan(
        &self,
        tenant: &Tenant,
        id: &str,
        body: &PlanBody,
        if_match: IfMatch,
        idempotency: Option<&Idempotency>,
    ) -> Result<String, ServiceError> {
        let id = PlanId::parse(id).map_err(|error| ServiceError::invalid("id", error.to_string()))?;
        let operation = Operation::new("configuration", idempotency, false);
        self.write_config(&tenant.app, tenant.placement, &operation, 0, async |config, revision| {
            let plan = Plan::validate(&id, revision, body.clone()).map_err(ServiceError::Invalid)?;
            let present = config.plans.get(&id);
            if_match.check(present.map(|entry| entry.plan.version))?;
            if let Some(entry) = present.filter(|entry| entry.plan.body == plan.body && !entry.closing) {
                return Ok(Change { answer: json(&view(&entry.plan))?, unchanged: true, ..Change::default() });
            }
            let mut set = vec![AppConfig::plan_field(&plan, false)?];
            set.extend(new_units(config, &plan)?);
            self.store.keep_version(&tenant.app, &id, revision, &json(&plan.body)?).await?;
            Ok(Change { set, answer: json(&view(&plan))?, ..Change::default() })
        })
        .await
    }

    /// Deletes a plan that nobody is on.
    ///
    /// # Errors
    /// [`ServiceError`]; plan_in_use says how many users are on it.
    pub async fn delete_plan(&self, tenant: &Tenant, id: &str, if_match: IfMatch) -> Result<(), ServiceError> {
        let id = PlanId::parse(id).map_err(|_| no_plan(id))?;
        // First it takes no new users, on any node; then those on it are counted.
        self.close_plan(tenant, &id, true, if_match).await?;
        let users = match self.subscribers(tenant, &id).await {
            Ok(users) => users,
            Err(error) => {
                self.close_plan(tenant, &id, false, IfMatch::Absent).await?;
                return Err(error);
            }
        };
        if users > 0 {
            self.close_plan(tenant, &id, false, IfMatch::Absent).await?;
            let are = if users == 1 { "1 user is" } else { &format!("{users} users are") };
            return Err(ServiceError::PlanInUse(format!("{are} on plan `{id}`: move them to another plan first")));
        }
        let operation = Operation::new("", None, false);
        self.write_config(&tenant.app, tenant.placement, &operation, 0, async |_, _| {
            Ok(Change { delete: vec![format!("plan:{id}")], ..Change::default() })
        })
        .await
        .map(|_| ())
    }

    async fn close_plan(
        &self,
        tenant: &Tenant,
        id: &PlanId,
        closing: bool,
        if_match: IfMatch,
    ) -> Result<(), ServiceError> {
        let operation = Operation::new("", None, false);
        self.write_config(&tenant.app, tenant.placement, &operation, 0, async |config, _| {
            let entry = config.plans.get(id).ok_or_else(|| no_plan(id.as_str()))?;
            if_match.check(Some(entry.plan.version))?;
            Ok(Change { set: vec![AppConfig::plan_field(&entry.plan, closing)?], ..Change::default() })
        })
        .await
        .map(|_| ())
    }

    /// Users whose subscription to the plan runs, over all modes.
    async fn subscribers(&self, tenant: &Tenant, id: &PlanId) -> Result<u64, ServiceError> {
        let config = self.config(&tenant.app).await?;
        let modes = std::iter::once(Mode::Live).chain(config.sandboxes.iter().cloned().map(Mode::Test));
        let mut users = 0;
        for mode in modes {
            for bucket in (Tenant { mode, ..tenant.clone() }).buckets() {
                let now = self.now(&bucket).await?;
                users += self.store.subscriber_count(&bucket, id, now).await?;
            }
        }
        Ok(users)
    }
}

fn no_plan(id: &str) -> ServiceError {
    ServiceError::NotFound(format!("there is no plan `{id}`"))
}

/// The group ids that are new. The unit of an id never changes, in any plan.
fn new_units(config: &AppConfig, plan: &Plan) -> Result<Vec<(String, String)>, ServiceError> {
    let mut fields = Vec::new();
    let mut errors = Vec::new();
    for (place, (group, unit)) in units(plan).enumerate() {
        match config.units.get(group) {
            None => fields.push(AppConfig::unit_field(group, unit)),
            Some(known) if *known == unit => {}
            Some(known) => errors.push(FieldError::new(
                format!("groups[{place}].unit"),
                format!("group `{group}` counts {known}, here or in another plan; the unit of an id never changes: choose another id"),
            )),
        }
    }
    if errors.is_empty() { Ok(fields) } else { Err(ServiceError::Invalid(errors)) }
}

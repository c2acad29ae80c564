//! Plans: read, put, delete.

use serde::{Deserialize, Serialize};

use super::app_config::{AppConfig, Change};
use super::draft::Draft;
use super::preview::Preview;
use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::values::ids::{KeyId, PlanId};
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::service::tenant::{Author, Tenant};
use crate::store::configuration::configure::ConfigureReply;
use crate::store::metering::operation::Operation;

/// The value of `If-Match`: absent, any version, or exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    Absent,
    Any,
    Version(u64),
}

impl IfMatch {
    pub(crate) fn check(self, present: Option<u64>) -> Result<(), ServiceError> {
        let holds = match self {
            Self::Absent => true,
            Self::Any => present.is_some(),
            Self::Version(version) => present == Some(version),
        };
        if holds { Ok(()) } else { Err(ServiceError::VersionConflict) }
    }
}

/// A plan with its version, which is also its `ETag`.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PlanView {
    #[serde(flatten)]
    pub body: PlanBody,
    pub version: u64,
}

fn view(plan: &Plan) -> PlanView {
    PlanView { body: plan.body.clone(), version: plan.version }
}

/// A plan that is being deleted and accepts no new users.
#[derive(Clone, Copy)]
struct ClosedPlan<'a> {
    /// The configuration without the plan.
    draft: &'a Draft,
    id: &'a PlanId,
    /// The plan that its users move to.
    target: Option<&'a PlanId>,
}

impl Gateway {
    /// All plans, by id.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn plans(&self, tenant: &Tenant) -> Result<Vec<PlanView>, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        Ok(config.sorted_plans().into_iter().map(|plan| view(plan)).collect())
    }

    /// # Errors
    /// [`ServiceError`]
    pub async fn plan(&self, tenant: &Tenant, id: &str) -> Result<PlanView, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let plan = PlanId::parse(id).ok().and_then(|id| config.plan(&id).cloned());
        plan.map(|plan| view(&plan)).ok_or_else(|| no_plan(id))
    }

    /// Creates or replaces a plan; repeating the same body changes nothing.
    ///
    /// # Errors
    /// [`ServiceError`]; all faults of the body at once.
    pub async fn put_plan(
        &self,
        tenant: &Tenant,
        id: &str,
        body: &PlanBody,
        if_match: IfMatch,
        author: Author<'_>,
    ) -> Result<PlanView, ServiceError> {
        let (id, draft) = drafted(tenant, id, body)?;
        let operation = Operation::new("configuration", author.idempotency, false);
        self.write_document(tenant, &operation, async |config, revision| {
            if_match.check(config.plan(&id).map(|plan| plan.version))?;
            let mut change = draft.change(config, revision, author.key)?;
            change.answer = match config.plan(&id).filter(|_| change.unchanged) {
                Some(present) => json(&view(present))?,
                None => json(&PlanView { body: validated(&id, revision, body)?, version: revision })?,
            };
            Ok(change)
        })
        .await
    }

    /// What putting this body would change.
    ///
    /// # Errors
    /// [`ServiceError`]; all faults of the body at once.
    pub async fn preview_plan(
        &self,
        tenant: &Tenant,
        id: &str,
        body: &PlanBody,
        if_match: IfMatch,
    ) -> Result<Preview, ServiceError> {
        let (id, draft) = drafted(tenant, id, body)?;
        let config = self.load_config(&tenant.app).await?;
        if_match.check(config.plan(&id).map(|plan| plan.version))?;
        self.preview(tenant, &config, &draft).await
    }

    /// Deletes a plan without users; with `move_to`, its users are first moved there.
    ///
    /// # Errors
    /// [`ServiceError`]; plan_in_use says how many users each plan has.
    pub async fn delete_plan(
        &self,
        tenant: &Tenant,
        id: &str,
        if_match: IfMatch,
        move_to: Option<&str>,
        author: Author<'_>,
    ) -> Result<(), ServiceError> {
        let id = PlanId::parse(id).map_err(|_| no_plan(id))?;
        let operation = Operation::new("configuration", author.idempotency, false);
        match self.store.configured_before(&tenant.app, &operation).await? {
            Some(ConfigureReply::Before(_)) => return Ok(()),
            Some(_) => return Err(ServiceError::IdempotencyKeyReused),
            None => {}
        }
        let config = self.load_config(&tenant.app).await?;
        let draft = Draft { delete: vec![id.clone()], placement: tenant.placement, ..Draft::default() };
        if_match.check(Some(config.plan(&id).ok_or_else(|| no_plan(id.as_str()))?.version))?;
        draft.check(&config, config.revision)?;
        let now_us = self.store.time_us().await?;
        let target = move_to.map(|target| target_of(&config, &id, target, now_us)).transpose()?;
        // First it takes no new users on any node; then its users are moved and counted.
        self.close_plans(tenant, std::slice::from_ref(&id)).await?;
        let deleted = self
            .delete_closed(
                tenant,
                ClosedPlan { draft: &draft, id: &id, target: target.as_ref() },
                author.key,
                &operation,
            )
            .await;
        if deleted.is_err() {
            self.reopen_plans(tenant, &[id]).await?;
        }
        deleted
    }

    async fn delete_closed(
        &self,
        tenant: &Tenant,
        plan: ClosedPlan<'_>,
        by: &KeyId,
        operation: &Operation,
    ) -> Result<(), ServiceError> {
        let ClosedPlan { draft, id, target } = plan;
        if let Some(target) = target {
            self.move_subscribers(tenant, id, target, by).await?;
            // Moving many users may have taken long.
            self.close_plans(tenant, std::slice::from_ref(id)).await?;
        }
        self.nobody_on(tenant, std::slice::from_ref(id)).await?;
        self.write_config(&tenant.app, tenant.placement, operation, 0, async |config, revision| {
            still_closed(config, &draft.delete, revision)?;
            draft.change(config, revision, by)
        })
        .await
        .map(|_| ())
    }

    /// # Errors
    /// plan_in_use, with the number of users of each plan.
    pub(crate) async fn nobody_on(&self, tenant: &Tenant, plans: &[PlanId]) -> Result<(), ServiceError> {
        let mut users = Vec::new();
        for plan in plans {
            users.push((plan.clone(), self.subscribers(tenant, plan).await?));
        }
        in_use(&users).map_or(Ok(()), |users_on| Err(ServiceError::PlanInUse(users_on)))
    }

    /// Closes plans that are about to be deleted.
    pub(crate) async fn close_plans(&self, tenant: &Tenant, plans: &[PlanId]) -> Result<(), ServiceError> {
        self.mark_plans(tenant, plans, Some).await
    }

    /// Opens plans again that are not deleted after all. Plans that are deleted or open are not changed.
    pub(crate) async fn reopen_plans(&self, tenant: &Tenant, plans: &[PlanId]) -> Result<(), ServiceError> {
        self.mark_plans(tenant, plans, |_| None).await
    }

    async fn mark_plans(
        &self,
        tenant: &Tenant,
        plans: &[PlanId],
        closed_us: impl Fn(u64) -> Option<u64>,
    ) -> Result<(), ServiceError> {
        let operation = Operation::new("", None, false);
        self.write_config(&tenant.app, tenant.placement, &operation, 0, async |config, revision| {
            // A revision is a time in µs.
            let closed_us = closed_us(revision);
            let entries =
                plans.iter().filter_map(|id| config.plans.get(id)).filter(|entry| entry.closed_us != closed_us);
            let set: Vec<_> =
                entries.map(|entry| AppConfig::plan_field(&entry.plan, closed_us)).collect::<Result<_, _>>()?;
            Ok(Change { unchanged: set.is_empty(), set, ..Change::default() })
        })
        .await
        .map(|_| ())
    }
}

fn drafted(tenant: &Tenant, id: &str, body: &PlanBody) -> Result<(PlanId, Draft), ServiceError> {
    let id = PlanId::parse(id).map_err(|error| ServiceError::invalid("id", error.to_string()))?;
    let plans = vec![(String::new(), id.clone(), body.clone())];
    Ok((id, Draft { placement: tenant.placement, plans, ..Draft::default() }))
}

/// A plan that was put again meanwhile, or was closed too long ago, may have users again.
pub(crate) fn still_closed(config: &AppConfig, plans: &[PlanId], now_us: u64) -> Result<(), ServiceError> {
    let open = plans.iter().filter_map(|id| config.plans.get(id)).any(|entry| !entry.stays_closed(now_us));
    if open { Err(ServiceError::VersionConflict) } else { Ok(()) }
}

/// Why plans cannot be deleted, if any of them has users.
pub(crate) fn in_use(plans: &[(PlanId, u64)]) -> Option<String> {
    let users_on = plans.iter().filter_map(|(plan, users)| match users {
        0 => None,
        1 => Some(format!("1 user is on plan `{plan}`")),
        users => Some(format!("{users} users are on plan `{plan}`")),
    });
    let users_on: Vec<String> = users_on.collect();
    let users_on = (!users_on.is_empty()).then(|| users_on.join(", "))?;
    Some(format!("{users_on}. Move them to another plan first, or delete the plan with `DELETE plans/{{id}}?moveTo=`."))
}

pub(crate) fn no_plan(id: &str) -> ServiceError {
    ServiceError::NotFound(format!("Plan `{id}` not found."))
}

pub(crate) fn target_of(config: &AppConfig, from: &PlanId, target: &str, now_us: u64) -> Result<PlanId, ServiceError> {
    let known = PlanId::parse(target).ok().filter(|target| target != from);
    let known = known.filter(|target| config.plans.get(target).is_some_and(|entry| !entry.is_closed(now_us)));
    known.ok_or_else(|| ServiceError::invalid("moveTo", format!("must be another existing plan; `{target}` is not")))
}

/// The body with its canonical ID.
fn validated(id: &PlanId, revision: u64, body: &PlanBody) -> Result<PlanBody, ServiceError> {
    Plan::validate(id, revision, body.clone()).map(|plan| plan.body).map_err(ServiceError::Invalid)
}

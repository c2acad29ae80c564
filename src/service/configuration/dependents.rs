//! What depends on a plan or a policy, shown before it is deleted.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app_config::AppConfig;
use super::draft::Draft;
use super::plans::{IfMatch, in_use, no_plan, target_of};
use super::policies::no_policy;
use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::values::ids::{PlanId, PolicyId};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::{BucketCursor, Tenant};

/// The search ends after this time; the answer then says that it is incomplete.
const LOOK_FOR: Duration = Duration::from_secs(10);
/// Grants and requests read at a time.
const PAGE: usize = 200;

/// What a deletion would remove or affect. Nothing was written.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletePreview {
    /// Why the deletion would fail now with `plan_in_use`; null if it would succeed.
    pub refusal: Option<String>,
    /// It is the app's default plan, which cannot be deleted.
    pub is_default: bool,
    /// Users with a running subscription to the plan, by mode; modes without users are left out. With `moveTo` they
    /// are moved.
    pub users: Vec<UsersOn>,
    pub groups: Vec<GroupLeft>,
    /// Active grants in all modes for groups that exist nowhere else.
    pub grants: u64,
    /// Open approval requests in all modes for groups that exist nowhere else.
    pub open_approvals: u64,
    /// IDs of webhooks whose filter names only the policy, or only groups that exist nowhere else: they no longer
    /// receive events.
    pub webhooks: Vec<String>,
    /// False if not everything could be searched in time, so there may be more.
    pub complete: bool,
}

/// The users of one mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsersOn {
    /// `live` or `test/<sandbox>`.
    pub mode: String,
    pub users: u64,
    /// How many of them have custom limits, which are dropped when they are moved.
    pub own_limits: u64,
}

/// A limit group of the plan or policy.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupLeft {
    pub group_id: String,
    pub label: String,
    /// IDs of other plans with the group; if empty, the group ends.
    pub also_in: Vec<String>,
}

impl Gateway {
    /// What deleting the plan would do; with `move_to`, after moving its users there.
    ///
    /// # Errors
    /// [`ServiceError`], as the deletion would return, except plan_in_use.
    pub async fn preview_plan_delete(
        &self,
        tenant: &Tenant,
        id: &str,
        if_match: IfMatch,
        move_to: Option<&str>,
    ) -> Result<DeletePreview, ServiceError> {
        let id = PlanId::parse(id).map_err(|_| no_plan(id))?;
        let config = self.load_config(&tenant.app).await?;
        let plan = config.plan(&id).ok_or_else(|| no_plan(id.as_str()))?;
        if_match.check(Some(plan.version))?;
        let now_us = self.store.time_us().await?;
        let target = move_to.map(|target| target_of(&config, &id, target, now_us)).transpose()?;
        let draft = Draft { delete: vec![id.clone()], placement: tenant.placement, ..Draft::default() };
        let mut preview = self.left_behind(tenant, &config, &plan.groups, Some(&id)).await?;
        let (users, complete) = self.users_on(tenant, &id).await?;
        (preview.users, preview.complete) = (users, complete && preview.complete);
        preview.is_default = config.settings.default_plan_id.as_ref() == Some(&id);
        let users = preview.users.iter().map(|mode| mode.users).sum();
        preview.refusal = match draft.check(&config, config.revision) {
            Err(ServiceError::PlanInUse(refusal)) => Some(refusal),
            Err(error) => return Err(error),
            Ok(_) if target.is_some() => None,
            Ok(_) => in_use(&[(id, users)]),
        };
        preview.webhooks = webhooks(&config, None, &preview.groups);
        Ok(preview)
    }

    /// What deleting the policy would do.
    ///
    /// # Errors
    /// [`ServiceError`], as the deletion would return.
    pub async fn preview_policy_delete(
        &self,
        tenant: &Tenant,
        id: &str,
        if_match: IfMatch,
    ) -> Result<DeletePreview, ServiceError> {
        let id = PolicyId::parse(id).map_err(|_| no_policy(id))?;
        let config = self.load_config(&tenant.app).await?;
        let policy = config.policy(&id).ok_or_else(|| no_policy(id.as_str()))?;
        if_match.check(Some(policy.version))?;
        let mut preview = self.left_behind(tenant, &config, &policy.groups, None).await?;
        preview.webhooks = webhooks(&config, Some(&id), &preview.groups);
        Ok(preview)
    }

    /// The groups, and what depends on those that exist nowhere else. A policy's groups are only in that policy; a
    /// plan's may be in other plans.
    async fn left_behind(
        &self,
        tenant: &Tenant,
        config: &AppConfig,
        groups: &[Arc<LimitGroup>],
        plan: Option<&PlanId>,
    ) -> Result<DeletePreview, ServiceError> {
        let others = |group: &LimitGroup| {
            let others = config.sorted_plans().into_iter().filter(|other| Some(&other.id) != plan);
            let others = others.filter(|other| other.group(&group.id).is_some());
            others.map(|other| other.id.to_string()).collect()
        };
        let left = |group: &Arc<LimitGroup>| GroupLeft {
            group_id: group.id.to_string(),
            label: group.label.to_string(),
            also_in: others(group),
        };
        let groups: Vec<GroupLeft> = groups.iter().map(left).collect();
        let gone: HashSet<&str> = gone(&groups).collect();
        let until = Instant::now() + LOOK_FOR;
        let grants = self.count_in(tenant, &gone, until, async |tenant, from| {
            let (grants, next) = self.grants(tenant, from, PAGE).await?;
            Ok((grants.into_iter().map(|grant| grant.group_id.to_string()).collect(), next))
        });
        let (grants, all_grants) = grants.await?;
        let approvals = self.count_in(tenant, &gone, until, async |tenant, from| {
            let (requests, next) = self.approvals(tenant, true, from, PAGE).await?;
            Ok((requests.into_iter().map(|request| request.group_id).collect(), next))
        });
        let (open_approvals, all_approvals) = approvals.await?;
        let complete = all_grants && all_approvals;
        let (refusal, users, webhooks) = (None, Vec::new(), Vec::new());
        Ok(DeletePreview { refusal, is_default: false, users, groups, grants, open_approvals, webhooks, complete })
    }

    /// How many users the plan has in each mode, and whether all users were checked.
    async fn users_on(&self, tenant: &Tenant, plan: &PlanId) -> Result<(Vec<UsersOn>, bool), ServiceError> {
        let until = Instant::now() + LOOK_FOR;
        let mut modes: Vec<UsersOn> = Vec::new();
        let mut complete = true;
        self.walk_subscribers(tenant, plan, async |tenant, users| {
            if !users.is_empty() {
                let mode = tenant.mode.to_string();
                if modes.last().is_none_or(|last| last.mode != mode) {
                    modes.push(UsersOn { mode, users: 0, own_limits: 0 });
                }
                let own = users.iter().filter(|(_, subscription)| subscription.custom_limits.is_some()).count();
                if let Some(last) = modes.last_mut() {
                    last.users += users.len() as u64;
                    last.own_limits += own as u64;
                }
            }
            complete = Instant::now() < until;
            Ok(if complete { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })
        .await?;
        Ok((modes, complete))
    }

    /// How many entries of these groups the pages of all modes have, and whether all were read. `page` returns the
    /// groups of a page's entries.
    async fn count_in(
        &self,
        tenant: &Tenant,
        groups: &HashSet<&str>,
        until: Instant,
        page: impl AsyncFn(&Tenant, BucketCursor) -> Result<(Vec<String>, Option<BucketCursor>), ServiceError>,
    ) -> Result<(u64, bool), ServiceError> {
        let mut count = 0;
        for tenant in self.modes(tenant).await? {
            let mut place = (!groups.is_empty()).then_some(BucketCursor::default());
            while let Some(from) = place {
                if Instant::now() > until {
                    return Ok((count, false));
                }
                let (found, next) = page(&tenant, from).await?;
                count += found.iter().filter(|group| groups.contains(group.as_str())).count() as u64;
                place = next;
            }
        }
        Ok((count, true))
    }
}

/// IDs of the groups that exist nowhere else.
fn gone(groups: &[GroupLeft]) -> impl Iterator<Item = &str> {
    groups.iter().filter(|group| group.also_in.is_empty()).map(|group| group.group_id.as_str())
}

/// Webhooks that would no longer receive events.
fn webhooks(config: &AppConfig, policy: Option<&PolicyId>, groups: &[GroupLeft]) -> Vec<String> {
    let gone: HashSet<&str> = gone(groups).collect();
    let only = |named: &[String], all_gone: &dyn Fn(&str) -> bool| {
        !named.is_empty() && named.iter().all(|name| all_gone(name.as_str()))
    };
    let idle = config.webhooks.iter().filter(|(_, webhook)| {
        let filter = &webhook.body.filter;
        only(&filter.policy_ids, &|name| policy.is_some_and(|policy| policy.as_str() == name))
            || only(&filter.group_ids, &|name| gone.contains(name))
    });
    let mut ids: Vec<String> = idle.map(|(id, _)| id.to_string()).collect();
    ids.sort();
    ids
}

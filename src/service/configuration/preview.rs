//! Previews a draft: what it would change, and which users a lowered quota would put over the limit.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app_config::AppConfig;
use super::draft::{ChangeAction, Changed, Draft};
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::difference::Difference;
use crate::domain::values::ids::{GroupId, PlanId};
use crate::domain::values::number::Number;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::accounts::users::StoredOwner;

/// The search through users ends after this time; the answer then says that it is incomplete.
const LOOK_FOR: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// Empty if nothing would change.
    pub changes: Vec<ChangeView>,
    /// Groups with a lowered quota, and the users whose usage in the current window exceeds the new quota.
    pub over_limit: Vec<OverLimit>,
    /// False if not all users could be checked in time, or the draft has faults.
    pub complete: bool,
}

impl Preview {
    /// Of a draft with faults: what would change without them.
    ///
    /// # Errors
    /// [`ServiceError::Internal`]; none in practice.
    pub(super) fn unchecked(config: &AppConfig, draft: &Draft) -> Result<Self, ServiceError> {
        let changes = draft.unchecked(config)?.into_iter().map(ChangeView::new).collect();
        Ok(Self { changes, over_limit: Vec::new(), complete: false })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChangeView {
    /// `plan:<id>`, `policy:<id>`, `webhook:<id>` or `app`.
    pub target: String,
    pub action: ChangeAction,
    pub fields: Vec<Difference>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverLimit {
    pub plan_id: String,
    pub group_id: String,
    /// Null counted without limit.
    #[schema(value_type = Option<f64>)]
    pub quota_before: Option<Number>,
    #[schema(value_type = f64)]
    pub quota_after: Number,
    pub users: u64,
}

impl ChangeView {
    fn new(changed: Changed) -> Self {
        Self { target: changed.target, action: changed.action, fields: changed.fields }
    }
}

/// A group whose quota a draft lowers.
struct LoweredQuota {
    plan: PlanId,
    group: GroupId,
    unit: Unit,
    before: Option<Amount>,
    after: Amount,
    users: u64,
}

impl Gateway {
    /// # Errors
    /// [`ServiceError`], as writing the draft would return.
    pub(crate) async fn preview(
        &self,
        tenant: &Tenant,
        config: &AppConfig,
        draft: &Draft,
    ) -> Result<Preview, ServiceError> {
        let checked = draft.check(config, config.revision)?;
        let mut lowered: Vec<LoweredQuota> = Vec::new();
        for plan in &checked.plans {
            for group in &plan.groups {
                let present = config.plan(&plan.id).and_then(|present| present.group(&group.id));
                let (Some(present), Some(after)) = (present, group.quota) else { continue };
                if present.quota.is_none_or(|before| before > after) {
                    let (plan, group, unit) = (plan.id.clone(), group.id.clone(), group.unit);
                    lowered.push(LoweredQuota { plan, group, unit, before: present.quota, after, users: 0 });
                }
            }
        }
        let complete = lowered.is_empty() || self.count_over(tenant, &mut lowered).await?;
        Ok(Preview {
            changes: checked.changed.into_iter().map(ChangeView::new).collect(),
            over_limit: lowered.into_iter().map(LoweredQuota::view).collect(),
            complete,
        })
    }

    /// Returns whether all users of the mode could be checked in time.
    async fn count_over(&self, tenant: &Tenant, lowered: &mut [LoweredQuota]) -> Result<bool, ServiceError> {
        let started = Instant::now();
        for bucket in tenant.buckets() {
            let now = self.now(&bucket).await?;
            let mut after = None;
            loop {
                let names = self.store.user_names(&bucket, "", after.as_deref(), 1000).await?;
                for stored in self.store.stored_users(&bucket, &names).await? {
                    let running = stored.subscribed.at(now).0;
                    for group in lowered.iter_mut() {
                        let on =
                            running.filter(|running| running.plan == group.plan && running.custom_limits.is_none());
                        group.users += u64::from(on.is_some() && group.is_over(&stored, now));
                    }
                }
                match names.last() {
                    None => break,
                    Some(_) if started.elapsed() > LOOK_FOR => return Ok(false),
                    Some(last) => after = Some(last.to_string()),
                }
            }
        }
        Ok(true)
    }
}

impl LoweredQuota {
    fn is_over(&self, stored: &StoredOwner, now: i64) -> bool {
        let counter = stored.windows.iter().find(|counter| counter.group == self.group);
        counter.is_some_and(|counter| {
            let current = counter.window.end_ms.is_none_or(|end| now < end);
            let extra = stored.granted(counter, now).saturating_add(counter.rolled);
            current && counter.used > self.after.saturating_add(extra)
        })
    }

    fn view(self) -> OverLimit {
        let number = |amount: Amount| Number(amount.to_decimal(self.unit));
        OverLimit {
            quota_before: self.before.map(number),
            quota_after: number(self.after),
            plan_id: self.plan.to_string(),
            group_id: self.group.to_string(),
            users: self.users,
        }
    }
}

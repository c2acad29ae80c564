//! The present state of the users in a timeline, and what changes their limits.

use super::own_quotas::OwnerQuota;
use super::timeline::Timeline;
use crate::domain::accounts::subscription::Subscribed;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::simulation::in_memory_counters::{InMemoryCounters, LimitChange};
use crate::domain::time::window::parse_rfc3339;
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::GroupId;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::{BucketCursor, Tenant};
use crate::store::keys::Bucket;

/// Users or grants per read.
pub(super) const MANY: usize = 5_000;

/// A change of a counter's limit.
pub type OwnerLimitChange = (OwnerName, GroupId, LimitChange);

impl Gateway {
    /// The present state of a timeline's users, in its order, and the amounts that plan changes have blocked.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn users_of_timeline(
        &self,
        bucket: &Bucket,
        timeline: &Timeline,
    ) -> Result<(Vec<Subscribed>, Vec<OwnerLimitChange>), ServiceError> {
        let (mut subscribed, mut moved) = (Vec::with_capacity(timeline.users.len()), Vec::new());
        for users in timeline.users.chunks(MANY) {
            for (user, stored) in users.iter().zip(self.store.stored_users(bucket, users).await?) {
                let since_ms = stored.subscribed.subscription.as_ref().map(|subscription| subscription.started_at_ms);
                for (group, window, amount) in stored.blocked {
                    let from_ms = since_ms.unwrap_or(window.start_ms).max(window.start_ms);
                    let limit_change = LimitChange { from_ms, until_ms: window.end_ms, amount, blocks: true };
                    moved.push((OwnerName::of_user(user), group, limit_change));
                }
                subscribed.push(stored.subscribed);
            }
        }
        Ok((subscribed, moved))
    }

    /// The active grants. Ended ones are not known.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn limit_changes_by_grants(&self, tenant: &Tenant) -> Result<Vec<OwnerLimitChange>, ServiceError> {
        let (mut grants, mut place) = (Vec::new(), Some(BucketCursor::default()));
        while let Some(from) = place {
            let (page, next) = self.grants(tenant, from, MANY).await?;
            for grant in page {
                let damaged = |what: &str| ServiceError::Internal(format!("grant {}: {what}", grant.id));
                let owner = OwnerName::from_map(&grant.scope).map_err(|_| damaged("scope"))?;
                let amount = Amount::exactly(grant.amount.0, grant.unit).map_err(|_| damaged("amount"))?;
                let from_ms = parse_rfc3339(&grant.created_at).ok_or_else(|| damaged("createdAt"))?;
                let until_ms = grant.ends_at.as_deref().and_then(parse_rfc3339);
                grants.push((owner, grant.group_id, LimitChange { from_ms, until_ms, amount, blocks: false }));
            }
            place = next;
        }
        Ok(grants)
    }
}

/// Empty counters with these changes of limits and these quotas of owners.
pub fn counters_with(moved: &[OwnerLimitChange], own: &[OwnerQuota]) -> InMemoryCounters {
    let mut counters = InMemoryCounters::default();
    for (owner, group, limit_change) in moved {
        counters.limit_change(owner, group, *limit_change);
    }
    for (owner, group, own_quota) in own {
        counters.own_quota(owner, group, *own_quota);
    }
    counters
}

//! The present state of the users in a timeline, and what changes their limits.

use super::past::Past;
use crate::domain::accounts::subscription::Subscribed;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::simulation::in_memory_counters::{Book, Extra};
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
pub type Moved = (OwnerName, GroupId, Extra);

impl Gateway {
    /// The present state of a timeline's users, in its order, and the amounts that plan changes have blocked.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn people(&self, bucket: &Bucket, past: &Past) -> Result<(Vec<Subscribed>, Vec<Moved>), ServiceError> {
        let (mut subscribed, mut moved) = (Vec::with_capacity(past.users.len()), Vec::new());
        for users in past.users.chunks(MANY) {
            for (user, stored) in users.iter().zip(self.store.stored_users(bucket, users).await?) {
                let since_ms = stored.subscribed.subscription.as_ref().map(|subscription| subscription.started_at_ms);
                for (group, window, amount) in stored.blocked {
                    let from_ms = since_ms.unwrap_or(window.start_ms).max(window.start_ms);
                    let extra = Extra { from_ms, until_ms: window.end_ms, amount, blocks: true };
                    moved.push((OwnerName::of_user(user), group, extra));
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
    pub async fn moved_by_grants(&self, tenant: &Tenant) -> Result<Vec<Moved>, ServiceError> {
        let (mut grants, mut place) = (Vec::new(), Some(BucketCursor::default()));
        while let Some(from) = place {
            let (page, next) = self.grants(tenant, from, MANY).await?;
            for grant in page {
                let damaged = |what: &str| ServiceError::Internal(format!("grant {}: {what}", grant.id));
                let owner = OwnerName::from_map(&grant.scope).map_err(|_| damaged("scope"))?;
                let amount = Amount::exactly(grant.amount.0, grant.unit).map_err(|_| damaged("amount"))?;
                let from_ms = parse_rfc3339(&grant.created_at).ok_or_else(|| damaged("createdAt"))?;
                let until_ms = grant.ends_at.as_deref().and_then(parse_rfc3339);
                grants.push((owner, grant.group_id, Extra { from_ms, until_ms, amount, blocks: false }));
            }
            place = next;
        }
        Ok(grants)
    }
}

/// Empty counters with these changes of limits.
pub fn book(moved: &[Moved]) -> Book {
    let mut book = Book::default();
    for (owner, group, extra) in moved {
        book.extra(owner, group, *extra);
    }
    book
}

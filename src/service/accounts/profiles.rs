//! Display names and tags of users.

use super::users::UserEdit;
use crate::domain::access::audit::AuditEntry;
use crate::domain::accounts::profile::Profile;
use crate::domain::values::ids::UserId;
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::service::tenant::{Author, Tenant};
use crate::store::accounts::change_user::{Reset, UserChange};

impl Gateway {
    /// Replaces a user's display name and tags. The same again changes nothing.
    ///
    /// # Errors
    /// [`ServiceError`]; all faults of the profile at once.
    pub async fn put_profile(
        &self,
        tenant: &Tenant,
        user: &UserId,
        profile: &Profile,
        author: Author<'_>,
    ) -> Result<(), ServiceError> {
        let faults = profile.faults();
        if !faults.is_empty() {
            return Err(ServiceError::Invalid(faults));
        }
        let before = self.profile(tenant, user).await?;
        let text = if profile.is_empty() { String::new() } else { json(profile)? };
        let change = if before == *profile { UserChange::Nothing } else { UserChange::Profile(&text) };
        let audit_entry = AuditEntry {
            action: "user.profile".to_owned(),
            before: Some(json(&before)?),
            after: Some(json(profile)?),
            ..AuditEntry::of_user(user, None, author.key)
        };
        let edit = UserEdit { change, reset: Reset::Nothing, audit_entry };
        self.change_user(tenant, user, edit, author.idempotency).await.map(|_| ())
    }

    /// A user's display name and tags; empty where nothing is known.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn profile(&self, tenant: &Tenant, user: &UserId) -> Result<Profile, ServiceError> {
        let found = self.store.profiles(&tenant.bucket_of(user), std::slice::from_ref(user)).await?;
        Ok(found.into_iter().next().unwrap_or_default())
    }
}

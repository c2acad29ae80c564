//! Versions of plans and policies: every revision is stored, at least the last hundred.

use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::app_config::VersionDocument;
use super::plans::{IfMatch, PlanView, no_plan};
use super::policies::{PolicyView, no_policy};
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::configuration::policy_body::PolicyBody;
use crate::domain::values::ids::{PlanId, PolicyId};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::{Author, Tenant};
use crate::store::keys::Versioned;

/// One version of a plan.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionView {
    pub version: u64,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// ID of the key that wrote it.
    pub created_by: String,
    pub plan: PlanBody,
}

/// One version of a policy.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyVersionView {
    pub version: u64,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// ID of the key that wrote it.
    pub created_by: String,
    pub policy: PolicyBody,
}

impl Gateway {
    /// The stored versions of a plan, newest first, including a plan that was deleted less than 90 days ago.
    ///
    /// # Errors
    /// [`ServiceError`]; not found if there never was such a plan.
    pub async fn plan_history(&self, tenant: &Tenant, id: &str) -> Result<Vec<VersionView>, ServiceError> {
        let plan = PlanId::parse(id).map_err(|_| no_plan(id))?;
        let view = |version, VersionDocument { body: plan, by: created_by, at: created_at }| VersionView {
            version,
            created_at,
            created_by,
            plan,
        };
        self.history_of(tenant, &Versioned::Plan(plan), view).await?.ok_or_else(|| no_plan(id))
    }

    /// The stored versions of a policy, newest first, including a policy that was deleted less than 90 days ago.
    ///
    /// # Errors
    /// [`ServiceError`]; not found if there never was such a policy.
    pub async fn policy_history(&self, tenant: &Tenant, id: &str) -> Result<Vec<PolicyVersionView>, ServiceError> {
        let policy = PolicyId::parse(id).map_err(|_| no_policy(id))?;
        let view = |version, VersionDocument { body: policy, by: created_by, at: created_at }| PolicyVersionView {
            version,
            created_at,
            created_by,
            policy,
        };
        self.history_of(tenant, &Versioned::Policy(policy), view).await?.ok_or_else(|| no_policy(id))
    }

    /// None if there are no versions.
    async fn history_of<T: DeserializeOwned, V>(
        &self,
        tenant: &Tenant,
        of: &Versioned,
        view: impl Fn(u64, VersionDocument<T>) -> V,
    ) -> Result<Option<Vec<V>>, ServiceError> {
        let mut versions = Vec::new();
        for (version, text) in self.store.versions(&tenant.app, of).await? {
            let version = version.parse().map_err(|_| ServiceError::Internal(format!("a version of {of:?}")))?;
            versions.push((version, VersionDocument::read(&text)?));
        }
        versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        let views = versions.into_iter().map(|(version, document)| view(version, document)).collect();
        Ok(Some(views).filter(|views: &Vec<V>| !views.is_empty()))
    }

    async fn kept_version<T: DeserializeOwned>(
        &self,
        tenant: &Tenant,
        of: &Versioned,
        version: u64,
    ) -> Result<T, ServiceError> {
        let text = self.store.version(&tenant.app, of, version).await?;
        let text = text.ok_or_else(|| {
            ServiceError::invalid("version", format!("must be a stored version; there is no version {version}"))
        })?;
        Ok(VersionDocument::read(&text)?.body)
    }

    /// Restores an earlier version as a new version.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn roll_back_policy(
        &self,
        tenant: &Tenant,
        id: &str,
        version: u64,
        if_match: IfMatch,
        author: Author<'_>,
    ) -> Result<PolicyView, ServiceError> {
        let policy = PolicyId::parse(id).map_err(|_| no_policy(id))?;
        let body = self.kept_version(tenant, &Versioned::Policy(policy), version).await?;
        self.put_policy(tenant, id, &body, if_match, author).await
    }

    /// Restores an earlier version as a new version.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn roll_back_plan(
        &self,
        tenant: &Tenant,
        id: &str,
        version: u64,
        if_match: IfMatch,
        author: Author<'_>,
    ) -> Result<PlanView, ServiceError> {
        let plan = PlanId::parse(id).map_err(|_| no_plan(id))?;
        let body = self.kept_version(tenant, &Versioned::Plan(plan), version).await?;
        self.put_plan(tenant, id, &body, if_match, author).await
    }
}

//! Versions of plans: every revision of a plan is kept, the last hundred at least.

use serde::Serialize;
use utoipa::ToSchema;

use super::Gateway;
use super::app_config::VersionDocument;
use super::error::ServiceError;
use super::plans::{IfMatch, no_plan};
use super::tenant::Tenant;
use crate::domain::ids::{KeyId, PlanId};
use crate::domain::plan_body::PlanBody;
use crate::store::operation::Idempotency;

/// One version of a plan.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionView {
    pub version: u64,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Id of the key that wrote it.
    pub created_by: String,
    pub plan: PlanBody,
}

impl Gateway {
    /// The kept versions of a plan, newest first; also of one that was deleted less than 90 days ago.
    ///
    /// # Errors
    /// [`ServiceError`]; not found if there never was such a plan.
    pub async fn plan_history(&self, tenant: &Tenant, id: &str) -> Result<Vec<VersionView>, ServiceError> {
        let plan = PlanId::parse(id).map_err(|_| no_plan(id))?;
        let mut versions = Vec::new();
        for (version, text) in self.store.plan_versions(&tenant.app, &plan).await? {
            let document = VersionDocument::read(&text)?;
            let version = version.parse().map_err(|_| ServiceError::Internal(format!("a version of plan {id}")))?;
            versions.push(VersionView {
                version,
                created_at: document.at,
                created_by: document.by,
                plan: document.body,
            });
        }
        if versions.is_empty() {
            return Err(no_plan(id));
        }
        versions.sort_by_key(|version| std::cmp::Reverse(version.version));
        Ok(versions)
    }

    /// Puts an earlier version's content as a new version. Answers JSON.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn roll_back_plan(
        &self,
        tenant: &Tenant,
        id: &str,
        version: u64,
        if_match: IfMatch,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<String, ServiceError> {
        let plan = PlanId::parse(id).map_err(|_| no_plan(id))?;
        let text = self.store.plan_version(&tenant.app, &plan, version).await?;
        let text =
            text.ok_or_else(|| ServiceError::invalid("version", format!("plan `{id}` has no version {version}")))?;
        let body = VersionDocument::read(&text)?.body;
        self.put_plan(tenant, id, &body, if_match, by, idempotency).await
    }
}

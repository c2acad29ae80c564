//! Policies: list, put, delete, review.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app_config::{AppConfig, Change, Review};
use super::draft::Draft;
use super::plans::IfMatch;
use super::preview::Preview;
use crate::domain::access::audit::AuditEntry;
use crate::domain::configuration::policy::Policy;
use crate::domain::configuration::policy_body::PolicyBody;
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::time::window::{TimeMs, parse_rfc3339, rfc3339};
use crate::domain::values::ids::{KeyId, PolicyId};
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::service::tenant::{Author, Tenant};
use crate::store::metering::operation::Operation;

/// A policy with its version, which is also its `ETag`, and the date of its next review.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyView {
    #[serde(flatten)]
    pub body: PolicyBody,
    pub version: u64,
    /// The last review, or the last change if that is later.
    #[serde(default)]
    pub reviewed: Option<Review>,
    /// RFC 3339, by `reviewCadence`; null without one.
    #[serde(default)]
    pub review_due_at: Option<String>,
    /// The review is due.
    #[serde(default)]
    pub review_due: bool,
}

fn view(config: &AppConfig, policy: &Policy, now_ms: TimeMs) -> PolicyView {
    let reviewed = config.reviews.get(&policy.id).cloned();
    let last = reviewed.as_ref().and_then(|review| parse_rfc3339(&review.at));
    let due_ms = last.and_then(|last| policy.review_due_ms(last));
    PolicyView {
        body: policy.body.clone(),
        version: policy.version,
        reviewed,
        review_due_at: due_ms.map(rfc3339),
        review_due: due_ms.is_some_and(|due| due <= now_ms),
    }
}

impl Gateway {
    /// Redis time, since reviews use the calendar and not a sandbox's clock.
    async fn real_now_ms(&self) -> Result<TimeMs, ServiceError> {
        Ok(TimeMs::try_from(self.store.time_us().await? / 1000).unwrap_or(TimeMs::MAX))
    }

    /// All policies, by id.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn policies(&self, tenant: &Tenant) -> Result<Vec<PolicyView>, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let now_ms = self.real_now_ms().await?;
        Ok(config.policies.iter().map(|policy| view(&config, policy, now_ms)).collect())
    }

    /// # Errors
    /// [`ServiceError`]
    pub async fn policy(&self, tenant: &Tenant, id: &str) -> Result<PolicyView, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let now_ms = self.real_now_ms().await?;
        let policy = PolicyId::parse(id).ok().and_then(|id| config.policy(&id).cloned());
        policy.map(|policy| view(&config, &policy, now_ms)).ok_or_else(|| no_policy(id))
    }

    /// Creates or replaces a policy; repeating the same body changes nothing.
    ///
    /// # Errors
    /// [`ServiceError`]; all faults of the body at once.
    pub async fn put_policy(
        &self,
        tenant: &Tenant,
        id: &str,
        body: &PolicyBody,
        if_match: IfMatch,
        author: Author<'_>,
    ) -> Result<PolicyView, ServiceError> {
        let (id, draft) = drafted(tenant, id, body)?;
        let operation = Operation::new("configuration", author.idempotency, false);
        self.write_document(tenant, &operation, async |config, revision| {
            if_match.check(config.policy(&id).map(|policy| policy.version))?;
            let mut change = draft.change(config, revision, author.key)?;
            let now_ms = TimeMs::try_from(revision / 1_000_000 * 1000).unwrap_or(TimeMs::MAX);
            change.answer = match config.policy(&id).filter(|_| change.unchanged) {
                Some(present) => json(&view(config, present, now_ms))?,
                None => {
                    let policy = Policy::validate(&id, revision, body.clone()).map_err(ServiceError::Invalid)?;
                    let review = Review { at: rfc3339(now_ms), by: author.key.to_string(), note: None };
                    let reviews = [(id.clone(), review)].into();
                    json(&view(&AppConfig { reviews, ..AppConfig::default() }, &policy, now_ms))?
                }
            };
            Ok(change)
        })
        .await
    }

    /// What putting this body would change.
    ///
    /// # Errors
    /// [`ServiceError`]; all faults of the body at once.
    pub async fn preview_policy(
        &self,
        tenant: &Tenant,
        id: &str,
        body: &PolicyBody,
        if_match: IfMatch,
    ) -> Result<Preview, ServiceError> {
        let (id, draft) = drafted(tenant, id, body)?;
        let config = self.load_config(&tenant.app).await?;
        if_match.check(config.policy(&id).map(|policy| policy.version))?;
        self.preview(tenant, &config, &draft).await
    }

    /// Deletes a policy. Open reservations in its groups can still be committed or released.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn delete_policy(
        &self,
        tenant: &Tenant,
        id: &str,
        if_match: IfMatch,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<(), ServiceError> {
        let id = PolicyId::parse(id).map_err(|_| no_policy(id))?;
        let draft = Draft { placement: tenant.placement, delete_policies: vec![id.clone()], ..Draft::default() };
        let operation = Operation::new("configuration", idempotency, false);
        self.write_config(&tenant.app, tenant.placement, &operation, 0, async |config, revision| {
            let present = config.policy(&id).ok_or_else(|| no_policy(id.as_str()))?;
            if_match.check(Some(present.version))?;
            draft.change(config, revision, by)
        })
        .await
        .map(|_| ())
    }

    /// Records a review of the policy.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn review_policy(
        &self,
        tenant: &Tenant,
        id: &str,
        note: Option<&str>,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<PolicyView, ServiceError> {
        let id = PolicyId::parse(id).map_err(|_| no_policy(id))?;
        let operation = Operation::new("configuration", idempotency, false);
        self.write_document(tenant, &operation, async |config, revision| {
            let policy = config.policy(&id).ok_or_else(|| no_policy(id.as_str()))?;
            let now_ms = TimeMs::try_from(revision / 1_000_000 * 1000).unwrap_or(TimeMs::MAX);
            let review = Review { at: rfc3339(now_ms), by: by.to_string(), note: note.map(str::to_owned) };
            let reviews = [(id.clone(), review.clone())].into();
            let reviewed = AppConfig { reviews, ..AppConfig::default() };
            let audit_entry = AuditEntry {
                actor: by.to_string(),
                action: "policy.review".to_owned(),
                target: format!("policy:{id}"),
                note: note.map(str::to_owned),
                ..AuditEntry::default()
            };
            Ok(Change {
                set: vec![AppConfig::review_field(&id, &review)?],
                audit_entries: vec![audit_entry],
                answer: json(&view(&reviewed, policy, now_ms))?,
                ..Change::default()
            })
        })
        .await
    }
}

fn drafted(tenant: &Tenant, id: &str, body: &PolicyBody) -> Result<(PolicyId, Draft), ServiceError> {
    let id = PolicyId::parse(id).map_err(|error| ServiceError::invalid("id", error.to_string()))?;
    let policies = vec![(String::new(), id.clone(), body.clone())];
    Ok((id, Draft { placement: tenant.placement, policies, ..Draft::default() }))
}

pub(crate) fn no_policy(id: &str) -> ServiceError {
    ServiceError::NotFound(format!("Policy `{id}` not found."))
}

//! Approval requests: denied calls open them, operators decide them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::grants::{Grant, NewGrant, audit_entry_for};
use crate::domain::access::audit::AuditEntry;
use crate::domain::configuration::policy_body::ApprovalBody;
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::metering::reservation::OperationName;
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::ids::KeyId;
use crate::domain::values::number::Number;
use crate::service::configuration::app_config::AppConfig;
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::service::metering::admit::RequestedApproval;
use crate::service::tenant::{BucketCursor, Tenant};
use crate::store::accounts::approvals::{DecideArgs, DecideReply, StoredApproval};
use crate::store::keys::Bucket;
use crate::store::metering::operation::Operation;

/// The status of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalStatus {
    Open,
    Approved,
    Rejected,
}

/// The decision on a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    /// RFC 3339, UTC.
    pub at: String,
    /// ID of the key.
    pub by: String,
    /// In the group's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub amount: Option<Number>,
    /// RFC 3339; absent if the grant ends with the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who undoes the approval if it causes a problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_owner: Option<String>,
}

/// A request for approval. Amounts are in the unit.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalView {
    pub id: String,
    pub status: ApprovalStatus,
    pub group_id: String,
    pub label: String,
    pub unit: Option<Unit>,
    /// The owner of the counter.
    pub scope: BTreeMap<String, String>,
    /// RFC 3339, UTC.
    pub requested_at: String,
    /// The user of the call that opened it.
    pub requested_by: String,
    /// ID of the key of that call.
    pub key_id: String,
    pub event: String,
    pub metadata: BTreeMap<String, String>,
    /// The amount that the call requested.
    #[schema(value_type = f64)]
    pub requested: Number,
    /// At the time of the request.
    #[schema(value_type = f64)]
    pub used: Number,
    #[schema(value_type = f64)]
    pub held: Number,
    /// Quota and grants at the time of the request.
    #[schema(value_type = f64)]
    pub limit: Number,
    /// RFC 3339; the end of the window at the time of the request; null for lifetime.
    pub window_ends_at: Option<String>,
    /// The group's policy, its owner, and who may approve on what condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
}

/// The amount that an operator approves.
#[derive(Clone, Debug)]
pub struct Approve {
    pub amount: Number,
    pub until_ms: Option<TimeMs>,
    pub note: Option<String>,
    pub rollback_owner: Option<String>,
}

/// An operator's decision.
#[derive(Clone, Copy, Debug)]
pub struct ApprovalDecision<'a> {
    pub status: ApprovalStatus,
    pub note: Option<&'a str>,
}

impl Gateway {
    /// Requests with one status, newest first, by bucket. Returns a page and the cursor of the next one.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn approvals(
        &self,
        tenant: &Tenant,
        open: bool,
        from: BucketCursor,
        count: usize,
    ) -> Result<(Vec<ApprovalView>, Option<BucketCursor>), ServiceError> {
        let BucketCursor { bucket: mut place, mut offset } = from;
        let config = self.load_config(&tenant.app).await?;
        let buckets = tenant.buckets();
        let mut found = Vec::new();
        while let Some(bucket) = buckets.get(place) {
            let wanted = count - found.len();
            let ids = self.store.approval_ids(bucket, open, offset, wanted + 1).await?;
            let more = ids.len() > wanted;
            for id in ids.into_iter().take(wanted) {
                if let Some(stored) = self.store.approval(bucket, &id).await? {
                    found.push(view(&config, &id, stored)?);
                }
            }
            if more {
                return Ok((found, Some(BucketCursor { bucket: place, offset: offset + wanted })));
            }
            (place, offset) = (place + 1, 0);
        }
        Ok((found, None))
    }

    /// # Errors
    /// [`ServiceError`]; not found.
    pub async fn approval(&self, tenant: &Tenant, id: &str) -> Result<ApprovalView, ServiceError> {
        let (_, stored) = self.stored_approval(tenant, id).await?;
        view(self.load_config(&tenant.app).await?.as_ref(), id, stored)
    }

    async fn stored_approval(&self, tenant: &Tenant, id: &str) -> Result<(Bucket, StoredApproval), ServiceError> {
        let missing = || ServiceError::NotFound(format!("Approval request `{id}` not found."));
        let bucket = bucket_of(tenant, id).ok_or_else(missing)?;
        let stored = self.store.approval(&bucket, id).await?.ok_or_else(missing)?;
        Ok((bucket, stored))
    }

    /// Grants the counter the approved amount, effective from the next call.
    ///
    /// # Errors
    /// [`ServiceError`]; already_decided if it was approved before.
    pub async fn approve(
        &self,
        tenant: &Tenant,
        id: &str,
        approve: Approve,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<Grant, ServiceError> {
        let (bucket, stored) = self.stored_approval(tenant, id).await?;
        let Approve { amount, until_ms, note, rollback_owner } = approve;
        let decided = Decided {
            at: rfc3339(self.now(&bucket).await?.div_euclid(1000) * 1000),
            by: by.to_string(),
            amount: Some(amount),
            until: until_ms.map(rfc3339),
            note: note.clone(),
            rollback_owner,
        };
        let grant = NewGrant {
            owner: stored.owner,
            group: stored.group,
            amount,
            expires_at_ms: until_ms,
            note,
            approval: Some((id.to_owned(), json(&decided)?)),
        };
        let granted = self.create_grant(tenant, &grant, by, idempotency).await;
        // The fields of an approval have other names than those of a grant.
        granted.map_err(|error| match error {
            ServiceError::Invalid(faults) => ServiceError::Invalid(faults.into_iter().map(renamed).collect()),
            other => other,
        })
    }

    /// Rejects a request, or reopens a rejected one.
    ///
    /// # Errors
    /// [`ServiceError`]; already_decided if it was approved, or already has this status.
    pub async fn decide_approval(
        &self,
        tenant: &Tenant,
        id: &str,
        decision: ApprovalDecision<'_>,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<ApprovalView, ServiceError> {
        let ApprovalDecision { status, note } = decision;
        let (bucket, stored) = self.stored_approval(tenant, id).await?;
        let (word, action) = match status {
            ApprovalStatus::Open => ("open", "approval.reopen"),
            ApprovalStatus::Approved | ApprovalStatus::Rejected => ("rejected", "approval.reject"),
        };
        let decided = Decided {
            at: rfc3339(self.now(&bucket).await?.div_euclid(1000) * 1000),
            by: by.to_string(),
            amount: None,
            until: None,
            note: note.map(str::to_owned),
            rollback_owner: None,
        };
        let audit_entry = AuditEntry {
            action: action.to_owned(),
            before: Some(stored.status.clone()),
            after: Some(word.to_owned()),
            ..audit_entry_for(&stored.owner, note, by)
        };
        let operation = Operation::new(id, idempotency, false);
        let how = json(&decided)?;
        let args = DecideArgs { id, approval: &stored, status: word, how: &how, audit_entry: &audit_entry };
        match self.store.decide(&bucket, &operation, args).await? {
            DecideReply::Changed => self.approval(tenant, id).await,
            DecideReply::Decided => Err(ServiceError::AlreadyDecided),
            DecideReply::Missing => Err(ServiceError::NotFound(format!("Approval request `{id}` not found."))),
            DecideReply::Reused => Err(ServiceError::IdempotencyKeyReused),
        }
    }
}

fn renamed(
    mut fault: crate::domain::values::field_error::FieldError,
) -> crate::domain::values::field_error::FieldError {
    if fault.field == "expiresAt" {
        fault.field = "until".to_owned();
    }
    fault
}

/// A request's ID consists of `apr_`, an operation's name, the bucket (2 hex digits), and `_` with the group. A name may
/// contain `_`, too.
fn bucket_of(tenant: &Tenant, id: &str) -> Option<Bucket> {
    let name = id.strip_prefix("apr_")?;
    let number = OperationName::LENGTHS.into_iter().find_map(|length| {
        let (name, rest) = name.split_at_checked(length)?;
        let (bucket, group) = rest.split_at_checked(2)?;
        let is_whole = OperationName::parse(name).is_some() && group.starts_with('_');
        u8::from_str_radix(bucket, 16).ok().filter(|_| is_whole)
    })?;
    tenant.bucket(number).filter(|bucket| bucket.number() == number)
}

fn view(config: &AppConfig, id: &str, stored: StoredApproval) -> Result<ApprovalView, ServiceError> {
    let damaged = || ServiceError::Internal("an approval request".to_owned());
    let asking: RequestedApproval = serde_json::from_str(&stored.about).map_err(|_| damaged())?;
    let policy = config.policy_of(&stored.group);
    let group = config.group(&stored.group);
    let unit = config.groups.get(&stored.group).map(|kind| kind.unit);
    let number = |amount: Amount| Number(amount.to_decimal(unit.unwrap_or(Unit::Count)));
    Ok(ApprovalView {
        id: id.to_owned(),
        status: match stored.status.as_str() {
            "open" => ApprovalStatus::Open,
            "approved" => ApprovalStatus::Approved,
            "rejected" => ApprovalStatus::Rejected,
            _ => return Err(damaged()),
        },
        label: group.map_or_else(|| stored.group.to_string(), |group| group.label.to_string()),
        group_id: stored.group.to_string(),
        unit,
        scope: stored.owner.to_map(),
        requested_at: rfc3339(stored.opened_at_ms.div_euclid(1000) * 1000),
        requested_by: asking.user_id,
        key_id: asking.key_id,
        event: asking.event,
        metadata: asking.metadata,
        requested: number(stored.requested),
        used: number(stored.used),
        held: number(stored.held),
        limit: number(stored.limit),
        window_ends_at: stored.window.end_ms.map(rfc3339),
        policy_id: policy.map(|policy| policy.id.to_string()),
        owner: policy.and_then(|policy| policy.body.owner.clone()),
        approval: policy.and_then(|policy| policy.body.approval.clone()),
        decided: stored.how.map(|how| serde_json::from_str(&how)).transpose().map_err(|_| damaged())?,
    })
}

//! Grants: extra quota for one counter for a limited time.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::access::audit::AuditEntry;
use crate::domain::configuration::limit_group::{LimitGroup, Limits};
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::Admission;
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::metering::reservation::OperationName;
use crate::domain::time::window::{TimeMs, parse_rfc3339, rfc3339};
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{GroupId, KeyId, UserId};
use crate::domain::values::number::Number;
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::service::metering::facts::{Attempt, CallFacts, rounded_up};
use crate::service::tenant::{BucketCursor, Tenant};
use crate::store::accounts::grants::{GrantArgs, GrantReply, RevokeArgs, RevokeReply};
use crate::store::keys::Bucket;
use crate::store::metering::admission::{Facts, NO_USER};
use crate::store::metering::operation::Operation;

/// Grants that are read concurrently.
const PARALLEL: usize = 64;

/// A grant as stored and returned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    pub id: String,
    #[schema(value_type = String)]
    pub group_id: GroupId,
    /// Who the grant is for, such as `{"user": "u_42"}`: a value for each name in the group's scope.
    pub scope: BTreeMap<String, String>,
    pub unit: Unit,
    #[schema(value_type = f64)]
    pub amount: Number,
    /// RFC 3339. Until then the grant enlarges each window. Null if it ends with the window in which it was made.
    pub expires_at: Option<String>,
    /// RFC 3339: when it ends, as far as known; null if never.
    pub ends_at: Option<String>,
    pub note: Option<String>,
    /// The approval request that led to the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<String>,
    pub created_at: String,
    /// ID of the key.
    pub created_by: String,
}

/// A new grant.
#[derive(Clone, Debug)]
pub struct NewGrant {
    pub owner: OwnerName,
    pub group: GroupId,
    pub amount: Number,
    pub expires_at_ms: Option<TimeMs>,
    pub note: Option<String>,
    /// The approval request, with the stored decision (JSON).
    pub approval: Option<(String, String)>,
}

impl Gateway {
    /// # Errors
    /// [`ServiceError`]; a group that the user's plan does not have, an expiry in the past, more than 8 active grants.
    pub async fn create_grant(
        &self,
        tenant: &Tenant,
        new: &NewGrant,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<Grant, ServiceError> {
        let operation = Operation::new(&new.owner.values().join(" "), idempotency, true);
        self.with_owner(tenant, &new.owner, async |facts| self.grant_attempt(facts, new, by, &operation).await).await
    }

    async fn grant_attempt(
        &self,
        facts: &CallFacts,
        new: &NewGrant,
        by: &KeyId,
        operation: &Operation,
    ) -> Result<Attempt<Grant>, ServiceError> {
        let user = new.owner.user().and_then(|user| UserId::parse(user).ok());
        let drafted = drafted(facts, new, by, operation);
        // A denial must be based on current facts. So must the window of a shared counter, since the script only
        // checks the version of its owner.
        if let Some(user) = user.as_ref().filter(|_| drafted.is_err() || !new.owner.scope().is_user())
            && let Some(retry) = self.check_facts(facts, user).await?
        {
            return Ok(retry);
        }
        let (grant, admission, amount) = match drafted {
            Ok(drafted) => drafted,
            // A stored answer is returned, whatever the configuration and the time are now.
            Err(refusal) => {
                return match self.store.granted_before(&facts.bucket, operation).await? {
                    Some(reply) => self.grant_answer(facts, None, reply),
                    None => Err(refusal),
                };
            }
        };
        let about = json(&grant)?;
        let audit_entry = AuditEntry {
            action: if new.approval.is_some() { "approval.approve" } else { "grant.create" }.to_owned(),
            after: Some(about.clone()),
            ..audit_entry_for(&new.owner, new.note.as_deref(), by)
        };
        let mut validity = admission.validity;
        validity.narrow(TimeMs::MIN, new.expires_at_ms.unwrap_or(TimeMs::MAX));
        let mut owners = facts.owners(&admission, Limits::Ignored);
        let Some(owner) = owners.first_mut() else {
            return Err(ServiceError::Internal("a grant without an owner".to_owned()));
        };
        let kept_until = owner.renew.and_then(|renew| renew.at_ms).zip(new.expires_at_ms);
        if let (Some(renew), Some((kept, expires))) = (&mut owner.renew, kept_until) {
            renew.at_ms = Some(kept.max(rounded_up(expires)));
        }
        let is_user = new.owner.scope().is_user();
        let checked = facts.for_script(validity);
        let args = GrantArgs {
            bucket: &facts.bucket,
            operation,
            facts: if is_user { checked } else { Facts { version: NO_USER, ..checked } },
            owner,
            user: user.as_ref().filter(|_| is_user),
            group_id: &new.group,
            grant: &grant.id,
            amount,
            ends_at_ms: new.expires_at_ms,
            expected_end_ms: grant.ends_at.as_deref().and_then(parse_rfc3339),
            about: &about,
            audit_entry: &audit_entry,
            approval: new.approval.as_ref().map(|(id, how)| (id.as_str(), how.as_str())),
            answer: &about,
        };
        let reply = self.store.grant(args).await?;
        self.grant_answer(facts, Some(grant), reply)
    }

    /// `grant` is the new grant, unless the answer is known to be an earlier one.
    fn grant_answer(
        &self,
        facts: &CallFacts,
        grant: Option<Grant>,
        reply: GrantReply,
    ) -> Result<Attempt<Grant>, ServiceError> {
        Ok(match reply {
            GrantReply::Reused => return Err(ServiceError::IdempotencyKeyReused),
            GrantReply::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
            GrantReply::Full => {
                return Err(ServiceError::invalid(
                    "groupId",
                    "must be a group with fewer than 8 active grants for this counter; revoke one first",
                ));
            }
            GrantReply::NoRequest => {
                return Err(ServiceError::NotFound("Approval request not found.".to_owned()));
            }
            GrantReply::Decided => return Err(ServiceError::AlreadyDecided),
            GrantReply::Overflow => {
                return Err(ServiceError::invalid("amount", "must not exceed what a counter can hold"));
            }
            GrantReply::Granted(now_ms) => {
                self.clocks.observe_time(&facts.bucket, now_ms);
                Attempt::Done(grant.ok_or_else(|| ServiceError::Internal("a grant of nothing".to_owned()))?)
            }
            GrantReply::Before(first) => Attempt::Done(read(&first)?),
        })
    }

    /// Revokes a grant; amounts that were already used stay used.
    ///
    /// # Errors
    /// [`ServiceError`]; not found if it has ended or never existed.
    pub async fn revoke_grant(
        &self,
        tenant: &Tenant,
        id: &str,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<(), ServiceError> {
        let missing = || ServiceError::NotFound(format!("Active grant `{id}` not found."));
        let bucket = bucket_of(tenant, id).ok_or_else(missing)?;
        let operation = Operation::new("grants", idempotency, false);
        let answer = |reply: RevokeReply| match reply {
            RevokeReply::Revoked => Ok(()),
            RevokeReply::Missing => Err(missing()),
            RevokeReply::Reused => Err(ServiceError::IdempotencyKeyReused),
        };
        if let Some(before) = self.store.revoked_before(&bucket, &operation).await? {
            return answer(before);
        }
        let about = self.store.grant_about(&bucket, id).await?.ok_or_else(missing)?;
        let grant = read(&about)?;
        let owner = OwnerName::from_map(&grant.scope).map_err(ServiceError::Internal)?;
        let audit_entry =
            AuditEntry { action: "grant.revoke".to_owned(), before: Some(about), ..audit_entry_for(&owner, None, by) };
        let args = RevokeArgs {
            owner: &owner,
            group: &grant.group_id,
            grant: id,
            operation: &operation,
            audit_entry: &audit_entry,
        };
        answer(self.store.revoke(&bucket, args).await?)
    }

    /// A user's active grants, those that end first at the top.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn grants_of(&self, tenant: &Tenant, user: &UserId) -> Result<Vec<Grant>, ServiceError> {
        let bucket = tenant.bucket_of(user);
        let now = self.now(&bucket).await?;
        let stored = self.store.stored_users(&bucket, std::slice::from_ref(user)).await?;
        let ids = stored.iter().flat_map(|stored| stored.live_grants(now)).map(|(id, _)| id.to_owned()).collect();
        let grants = self.read_grants(&bucket, ids, now).await?;
        Ok(sorted(grants.into_iter().flatten().collect()))
    }

    /// Active grants of all users, by bucket and end. Returns a page and the cursor of the next one.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn grants(
        &self,
        tenant: &Tenant,
        from: BucketCursor,
        count: usize,
    ) -> Result<(Vec<Grant>, Option<BucketCursor>), ServiceError> {
        let BucketCursor { bucket: mut place, mut offset } = from;
        let buckets = tenant.buckets();
        let mut grants = Vec::new();
        while let Some(bucket) = buckets.get(place) {
            let wanted = count - grants.len();
            let now = self.now(bucket).await?;
            let mut ids = self.store.grant_ids(bucket, offset, wanted + 1).await?;
            let more = ids.len() > wanted;
            ids.truncate(wanted);
            offset += ids.len();
            grants.extend(self.read_grants(bucket, ids, now).await?.into_iter().flatten());
            if !more {
                (place, offset) = (place + 1, 0);
            } else if grants.len() == count {
                return Ok((sorted(grants), Some(BucketCursor { bucket: place, offset })));
            }
        }
        Ok((sorted(grants), None))
    }

    /// The active grants among them, with their present end.
    async fn read_grants(
        &self,
        bucket: &Bucket,
        ids: Vec<String>,
        now: TimeMs,
    ) -> Result<Vec<Option<Grant>>, ServiceError> {
        stream::iter(ids)
            .map(|id| async move {
                let Some(about) = self.store.grant_about(bucket, &id).await? else { return Ok(None) };
                let grant = read(&about)?;
                let owner = OwnerName::from_map(&grant.scope).map_err(ServiceError::Internal)?;
                let stored = self.store.stored_owner(bucket, &owner).await?;
                let live = stored.live_grants(now).into_iter().find(|(live, _)| *live == id);
                Ok(live.map(|(_, end)| Grant { ends_at: end.map(rfc3339), ..grant }))
            })
            .buffered(PARALLEL)
            .try_collect()
            .await
    }
}

/// Grants without an end come last.
fn sorted(mut grants: Vec<Grant>) -> Vec<Grant> {
    grants.sort_by_key(|grant| (grant.ends_at.is_none(), grant.ends_at.clone(), grant.id.clone()));
    grants
}

/// The grant according to the facts, with the counter's window.
fn drafted(
    facts: &CallFacts,
    new: &NewGrant,
    by: &KeyId,
    operation: &Operation,
) -> Result<(Grant, Admission, Amount), ServiceError> {
    let group = group_for(facts, new)?;
    let mut faults = Faults::default();
    let amount = faults.take(positive_amount(new.amount, group.unit));
    if new.expires_at_ms.is_some_and(|end| end <= facts.now_ms) {
        faults.add("expiresAt", "must be in the future");
    }
    let amount = faults.or(amount)?;
    let effective_limits = facts.effective_limits();
    let mut admission = Admission::empty(effective_limits, new.owner.clone());
    admission.place(&group, 0, Amount::ZERO, effective_limits.anchor, facts.now_ms)?;
    let window = admission.matched.first().map(|matched| matched.window);
    if window.is_none() && new.expires_at_ms.is_none() {
        return Err(ServiceError::invalid("expiresAt", "is required, because the group's period is not running now"));
    }
    let ends_at_ms = new.expires_at_ms.or(window.and_then(|window| window.end_ms));
    let grant = Grant {
        id: format!("grt_{}{:02x}", operation.name.as_str(), facts.bucket.number()),
        group_id: new.group.clone(),
        scope: new.owner.to_map(),
        unit: group.unit,
        amount: new.amount,
        expires_at: new.expires_at_ms.map(rfc3339),
        ends_at: ends_at_ms.map(rfc3339),
        note: new.note.clone(),
        approval_id: new.approval.as_ref().map(|(id, _)| id.clone()),
        created_at: rfc3339(facts.now_ms.div_euclid(1000) * 1000),
        created_by: by.to_string(),
    };
    Ok((grant, admission, amount))
}

/// The group in the user's plan, otherwise in the policies; for a shared counter in any plan.
fn group_for(facts: &CallFacts, new: &NewGrant) -> Result<Arc<LimitGroup>, ServiceError> {
    let of_user = facts.effective_limits().groups().find(|group| group.id == new.group).cloned();
    let shared = || facts.config.group(&new.group).filter(|group| !group.scope.contains_user()).cloned();
    let Some(group) = of_user.or_else(shared) else {
        return Err(match (new.owner.user(), facts.plan()) {
            (Some(_), None) => ServiceError::invalid("scope.user", "must be a user with a subscription"),
            (Some(_), Some(plan)) => {
                let message = format!("must be a group of plan `{}` or of a policy; `{}` is not", plan.id, new.group);
                ServiceError::invalid("groupId", message)
            }
            (None, _) => ServiceError::invalid(
                "groupId",
                format!(
                    "must be an existing group whose counters users share, unless `scope` has a user; `{}` is not",
                    new.group
                ),
            ),
        });
    };
    if group.is_balance() {
        return Err(ServiceError::invalid("groupId", "must be a group with a quota; add credits to a balance instead"));
    }
    if group.scope != *new.owner.scope() {
        let names = group.scope.names().join(", ");
        return Err(ServiceError::invalid("scope", format!("must have a value for each of: {names}")));
    }
    Ok(group)
}

/// The amount of a grant or credit, in steps of the group's unit.
pub(super) fn positive_amount(amount: Number, unit: Unit) -> Result<Amount, FieldError> {
    match Amount::exactly(amount.0, unit) {
        Ok(Amount::ZERO) => Err(FieldError::new("amount", "must be greater than 0")),
        Ok(amount) => Ok(amount),
        Err(error) => Err(FieldError::new("amount", error.to_string())),
    }
}

pub(crate) fn audit_entry_for(owner: &OwnerName, note: Option<&str>, by: &KeyId) -> AuditEntry {
    let target = owner.to_map().into_iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>();
    AuditEntry {
        actor: by.to_string(),
        target: target.join(","),
        note: note.map(str::to_owned),
        ..AuditEntry::default()
    }
}

/// A grant's ID ends with its bucket.
fn bucket_of(tenant: &Tenant, id: &str) -> Option<Bucket> {
    let name = id.strip_prefix("grt_")?;
    let (name, digits) = name.split_at_checked(name.len().checked_sub(2)?)?;
    let number = OperationName::parse(name).and_then(|_| u8::from_str_radix(digits, 16).ok())?;
    tenant.bucket(number).filter(|bucket| bucket.number() == number)
}

fn read(about: &str) -> Result<Grant, ServiceError> {
    serde_json::from_str(about).map_err(|error| ServiceError::Internal(format!("a grant: {error}")))
}

//! Limits of one owner: another quota than the group's, for one user, team, key, or other value of the group's scope.
//!
//! For a user and a group of plans this is the quota in the `customLimits` of the subscription. All others are stored
//! with the owner's counters (`lua/lib/own_quota.lua`), where scripts see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::grants::audit_entry_for;
use super::subscriptions::{GroupRegistration, QuotaChange, SubscriptionWrite};
use crate::domain::access::audit::AuditEntry;
use crate::domain::accounts::custom_limits::CustomQuota;
use crate::domain::configuration::limit_group::{LimitGroup, Limits};
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::Admission;
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{GroupId, UserId};
use crate::domain::values::number::Number;
use crate::service::configuration::app_config::AppConfig;
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::service::metering::facts::{Attempt, CallFacts};
use crate::service::tenant::{Author, BucketCursor, Tenant};
use crate::store::accounts::limits::{LimitArgs, LimitReply, OwnQuota};
use crate::store::keys::Bucket;
use crate::store::metering::admission::{Facts, NO_USER};
use crate::store::metering::operation::Operation;

/// Owners that are read at a time for a page, and in total.
const OWNERS_AT_ONCE: usize = 500;
const MOST_OWNERS_READ: usize = 5_000;

/// A limit of one owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OwnerLimit)]
pub struct OwnerLimit {
    #[schema(value_type = String)]
    pub group_id: GroupId,
    /// Whose limit it is, such as `{"metadata.team": "red"}`: a value for each name in the group's scope.
    pub scope: BTreeMap<String, String>,
    pub unit: Unit,
    /// Instead of the group's quota. 0 denies every matching call; null counts without limit.
    #[schema(value_type = Option<f64>)]
    pub quota: Option<Number>,
    /// RFC 3339: the limit ends at this time. Null if it does not end.
    pub until: Option<String>,
    pub note: Option<String>,
}

/// A limit to set.
#[derive(Clone, Debug)]
pub struct NewLimit {
    /// None counts without limit.
    pub quota: Option<Number>,
    pub until_ms: Option<TimeMs>,
    pub note: Option<String>,
}

/// The group and the owner of a limit.
#[derive(Clone, Copy, Debug)]
pub struct LimitName<'a> {
    pub group: &'a GroupId,
    pub owner: &'a OwnerName,
}

impl LimitName<'_> {
    fn limit(&self, unit: Unit, new: &NewLimit) -> OwnerLimit {
        OwnerLimit {
            group_id: self.group.clone(),
            scope: self.owner.to_map(),
            unit,
            quota: new.quota,
            until: new.until_ms.map(rfc3339),
            note: new.note.clone(),
        }
    }
}

impl Gateway {
    /// Sets the owner's limit; it applies to the next call on every node.
    ///
    /// # Errors
    /// [`ServiceError`]; an unknown group, a scope that is not the group's, a quota that the unit cannot have.
    pub async fn put_limit(
        &self,
        tenant: &Tenant,
        name: LimitName<'_>,
        new: &NewLimit,
        author: Author<'_>,
    ) -> Result<OwnerLimit, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let group = limited_group(&config, name)?;
        let mut faults = Faults::default();
        faults.take(check_owner(&group, tenant, name.owner));
        let quota = new.quota.map(|quota| Amount::exactly(quota.0, group.unit)).transpose();
        let quota = faults.check("quota", quota);
        let quota = faults.or(quota)?;
        let limit = name.limit(group.unit, new);
        if let Some(user) = custom_limits_user(&config, name)? {
            let mut custom = CustomQuota { quota: new.quota, until_ms: new.until_ms, note: new.note.as_deref() };
            custom.until_ms = custom.until_ms.map(|until_ms| until_ms.div_euclid(1000) * 1000);
            self.check_until(tenant, &user, new.until_ms).await?;
            let written = SubscriptionWrite {
                user: &user,
                by: author.key,
                note: new.note.as_deref(),
                rules: GroupRegistration::New,
            };
            let change = QuotaChange { group: name.group, quota: Some(custom) };
            self.set_custom_quota(tenant, written, change, author.idempotency).await?;
            return Ok(limit);
        }
        let own = OwnQuota { group: name.group.clone(), quota, until_ms: new.until_ms, note: new.note.clone() };
        let operation = Operation::new(&name.owner.values().join(" "), author.idempotency, false);
        let change = Change { name, own: Some((&own, group.unit)), after: Some(&limit), note: new.note.as_deref() };
        let set = self
            .with_owner(tenant, name.owner, async |facts| self.limit_attempt(facts, change, author, &operation).await)
            .await?;
        set.ok_or_else(|| ServiceError::Internal("a limit that was not set".to_owned()))
    }

    /// Removes the owner's limit, so that the group's quota applies again.
    ///
    /// # Errors
    /// [`ServiceError`]; not found if the owner has none.
    pub async fn delete_limit(
        &self,
        tenant: &Tenant,
        name: LimitName<'_>,
        author: Author<'_>,
    ) -> Result<(), ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let group = limited_group(&config, name)?;
        check_owner(&group, tenant, name.owner)?;
        let missing =
            || ServiceError::NotFound("No quota is set for this owner: that of the group applies.".to_owned());
        if let Some(user) = custom_limits_user(&config, name)? {
            let written =
                SubscriptionWrite { user: &user, by: author.key, note: None, rules: GroupRegistration::Checked };
            let change = QuotaChange { group: name.group, quota: None };
            let removed = self.set_custom_quota(tenant, written, change, author.idempotency).await?;
            return removed.map(|_| ()).ok_or_else(missing);
        }
        let operation = Operation::new(&name.owner.values().join(" "), author.idempotency, false);
        let change = Change { name, own: None, after: None, note: None };
        let removed = self
            .with_owner(tenant, name.owner, async |facts| self.limit_attempt(facts, change, author, &operation).await)
            .await;
        removed.map(|_| ())
    }

    async fn check_until(&self, tenant: &Tenant, user: &UserId, until_ms: Option<TimeMs>) -> Result<(), ServiceError> {
        let Some(until_ms) = until_ms else { return Ok(()) };
        check_end(until_ms, self.now(&tenant.bucket_of(user)).await?)
    }

    /// None after removing it.
    async fn limit_attempt(
        &self,
        facts: &CallFacts,
        change: Change<'_>,
        author: Author<'_>,
        operation: &Operation,
    ) -> Result<Attempt<Option<OwnerLimit>>, ServiceError> {
        let Change { name, own, after, note } = change;
        let user = name.owner.user().and_then(|user| UserId::parse(user).ok());
        let is_user = name.owner.scope().is_user();
        // The script checks the version of its owner only.
        if let Some(user) = user.as_ref().filter(|_| !is_user)
            && let Some(retry) = self.check_facts(facts, user).await?
        {
            return Ok(retry);
        }
        let end = own.and_then(|(own, _)| own.until_ms);
        if let Err(refusal) = end.map_or(Ok(()), |until_ms| check_end(until_ms, facts.now_ms)) {
            // A stored answer is returned, whatever the time is now.
            return match self.store.limited_before(&facts.bucket, operation).await? {
                Some(reply) => self.limit_answer(facts, after, reply),
                None => Err(refusal),
            };
        }
        let effective_limits = facts.effective_limits();
        let mut admission = Admission::empty(effective_limits, name.owner.clone());
        for group in groups_of(&facts.config).filter(|group| group.scope == *name.owner.scope()) {
            admission.place(group, 0, Amount::ZERO, effective_limits.anchor, facts.now_ms)?;
        }
        let mut owners = facts.owners(&admission, Limits::Ignored);
        let owner = owners.pop().ok_or_else(|| ServiceError::Internal("a limit without an owner".to_owned()))?;
        let before = self.own_quota(&facts.bucket, name, facts.now_ms).await?;
        let before = before.map(|own| json(&limit_of(name, &facts.config, &own))).transpose()?;
        let answer = after.map(json).transpose()?;
        let audit_entry = AuditEntry {
            action: if after.is_some() { "limit.put" } else { "limit.delete" }.to_owned(),
            before,
            after: answer.clone(),
            ..audit_entry_for(name.owner, note, author.key)
        };
        let mut validity = admission.validity;
        validity.narrow(TimeMs::MIN, end.unwrap_or(TimeMs::MAX));
        let checked = facts.for_script(validity);
        let args = LimitArgs {
            bucket: &facts.bucket,
            operation,
            facts: if is_user { checked } else { Facts { version: NO_USER, ..checked } },
            owner: &owner,
            user: user.as_ref().filter(|_| is_user),
            group: name.group,
            quota: own,
            audit_entry: &audit_entry,
            answer: answer.as_deref().unwrap_or("null"),
        };
        let reply = self.store.limit(args).await?;
        self.limit_answer(facts, after, reply)
    }

    fn limit_answer(
        &self,
        facts: &CallFacts,
        after: Option<&OwnerLimit>,
        reply: LimitReply,
    ) -> Result<Attempt<Option<OwnerLimit>>, ServiceError> {
        Ok(match reply {
            LimitReply::Reused => return Err(ServiceError::IdempotencyKeyReused),
            LimitReply::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
            LimitReply::Missing => {
                return Err(ServiceError::NotFound(
                    "No quota is set for this owner: that of the group applies.".to_owned(),
                ));
            }
            LimitReply::Limited(now_ms) => {
                self.clocks.observe_time(&facts.bucket, now_ms);
                Attempt::Done(after.cloned())
            }
            LimitReply::Before(first) => {
                Attempt::Done(serde_json::from_str(&first).map_err(|_| ServiceError::IdempotencyKeyReused)?)
            }
        })
    }

    async fn own_quota(
        &self,
        bucket: &Bucket,
        name: LimitName<'_>,
        now: TimeMs,
    ) -> Result<Option<OwnQuota>, ServiceError> {
        let found = self.store.own_quotas(bucket, std::slice::from_ref(name.owner)).await?;
        Ok(found.into_iter().flatten().find(|own| own.group == *name.group && is_live(own, now)))
    }

    /// The limits of a group, by bucket and owner. A page may have fewer than `count`, also if there are more.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn owner_limits(
        &self,
        tenant: &Tenant,
        group: &GroupId,
        from: BucketCursor,
        count: usize,
    ) -> Result<(Vec<OwnerLimit>, Option<BucketCursor>), ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let known = known_group(&config, group)?;
        let is_custom = known.scope.is_user() && config.policy_of(group).is_none();
        let buckets = tenant.buckets();
        let BucketCursor { bucket: mut place, mut offset } = from;
        let (mut limits, mut looked) = (Vec::new(), 0);
        while let Some(bucket) = buckets.get(place) {
            if limits.len() >= count || looked >= MOST_OWNERS_READ {
                return Ok((limits, Some(BucketCursor { bucket: place, offset })));
            }
            let now = self.now(bucket).await?;
            let owners = self.owners_from(bucket, known, offset).await?;
            let found = match is_custom {
                true => self.custom_quotas(bucket, known, &owners, now).await?,
                false => self.stored_quotas(bucket, known, &owners, now).await?,
            };
            for (read, limit) in found.into_iter().enumerate() {
                if limits.len() == count {
                    return Ok((limits, Some(BucketCursor { bucket: place, offset: offset + read })));
                }
                limits.extend(limit);
            }
            looked += owners.len();
            match owners.len() == OWNERS_AT_ONCE {
                true => offset += OWNERS_AT_ONCE,
                false => (place, offset) = (place + 1, 0),
            }
        }
        Ok((limits, None))
    }

    async fn owners_from(
        &self,
        bucket: &Bucket,
        group: &LimitGroup,
        offset: usize,
    ) -> Result<Vec<OwnerName>, ServiceError> {
        if !group.scope.is_user() {
            return Ok(self.store.owners(bucket, &group.scope, offset, OWNERS_AT_ONCE).await?);
        }
        let users = self.store.users_from(bucket, offset, OWNERS_AT_ONCE).await?;
        Ok(users.iter().map(OwnerName::of_user).collect())
    }

    async fn stored_quotas(
        &self,
        bucket: &Bucket,
        group: &LimitGroup,
        owners: &[OwnerName],
        now: TimeMs,
    ) -> Result<Vec<Option<OwnerLimit>>, ServiceError> {
        let found = self.store.own_quotas(bucket, owners).await?;
        let limits = owners.iter().zip(found).map(|(owner, quotas)| {
            let own = quotas.into_iter().find(|own| own.group == group.id && is_live(own, now))?;
            Some(limit_in(LimitName { group: &group.id, owner }, group.unit, &own))
        });
        Ok(limits.collect())
    }

    async fn custom_quotas(
        &self,
        bucket: &Bucket,
        group: &LimitGroup,
        owners: &[OwnerName],
        now: TimeMs,
    ) -> Result<Vec<Option<OwnerLimit>>, ServiceError> {
        let users = owners.iter().filter_map(|owner| UserId::parse(owner.user()?).ok()).collect::<Vec<_>>();
        let found = self.store.read_users(bucket, &users).await?;
        let limits = owners.iter().zip(&found).map(|(owner, subscribed)| {
            let running = subscribed.as_ref()?.at(now).0?;
            let custom = running.custom_limits.as_ref()?.quota(&group.id, now)?;
            let note = custom.note.map(str::to_owned);
            let new = NewLimit { quota: custom.quota, until_ms: custom.until_ms, note };
            Some(LimitName { group: &group.id, owner }.limit(group.unit, &new))
        });
        Ok(limits.collect())
    }
}

/// A limit to set (`own`, with `after` as its answer), or to remove.
#[derive(Clone, Copy)]
struct Change<'a> {
    name: LimitName<'a>,
    own: Option<(&'a OwnQuota, Unit)>,
    after: Option<&'a OwnerLimit>,
    note: Option<&'a str>,
}

fn is_live(own: &OwnQuota, now: TimeMs) -> bool {
    own.until_ms.is_none_or(|until_ms| now < until_ms)
}

fn check_end(until_ms: TimeMs, now: TimeMs) -> Result<(), ServiceError> {
    match until_ms > now {
        true => Ok(()),
        false => Err(ServiceError::invalid("until", "must be in the future")),
    }
}

fn limit_in(name: LimitName<'_>, unit: Unit, own: &OwnQuota) -> OwnerLimit {
    let quota = own.quota.map(|quota| Number(quota.to_decimal(unit)));
    name.limit(unit, &NewLimit { quota, until_ms: own.until_ms, note: own.note.clone() })
}

fn limit_of(name: LimitName<'_>, config: &AppConfig, own: &OwnQuota) -> OwnerLimit {
    limit_in(name, config.unit_of(name.group), own)
}

/// Every group of plans and policies.
fn groups_of(config: &AppConfig) -> impl Iterator<Item = &Arc<LimitGroup>> {
    let plans = config.plans.values().flat_map(|entry| &entry.plan.groups);
    plans.chain(config.policies.iter().flat_map(|policy| &policy.groups))
}

fn known_group<'a>(config: &'a AppConfig, group: &GroupId) -> Result<&'a Arc<LimitGroup>, ServiceError> {
    config.group(group).ok_or_else(|| ServiceError::NotFound(format!("Limit group `{group}` not found.")))
}

/// The group, if it has a quota.
fn limited_group(config: &AppConfig, name: LimitName<'_>) -> Result<Arc<LimitGroup>, ServiceError> {
    let group = known_group(config, name.group)?;
    if group.is_balance() {
        return Err(ServiceError::invalid("groupId", "must be a group with a quota; add credits to a balance instead"));
    }
    Ok(Arc::clone(group))
}

/// Whether the owner has a value for each name in the group's scope, and belongs to the tenant.
pub(super) fn check_owner(group: &LimitGroup, tenant: &Tenant, owner: &OwnerName) -> Result<(), FieldError> {
    if group.scope != *owner.scope() {
        let names = group.scope.names().join(", ");
        return Err(FieldError::new("scope", format!("must have a value for each of: {names}")));
    }
    match owner.value("app").is_some_and(|app| app != tenant.app.as_str()) {
        true => Err(FieldError::new("scope.app", format!("must be `{}`", tenant.app))),
        false => Ok(()),
    }
}

/// The user whose `customLimits` have the quota: the owner, for a group of plans that counts per user.
fn custom_limits_user(config: &AppConfig, name: LimitName<'_>) -> Result<Option<UserId>, ServiceError> {
    if !name.owner.scope().is_user() || config.policy_of(name.group).is_some() {
        return Ok(None);
    }
    let user = name.owner.user().map(UserId::parse).transpose();
    user.map_err(|error| ServiceError::invalid("scope.user", error.to_string()))
}

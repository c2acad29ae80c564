//! Credits: prepaid amounts of one owner in a balance group.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::grants::{audit_entry_for, positive_amount};
use super::limits::check_owner;
use crate::domain::access::audit::AuditEntry;
use crate::domain::configuration::limit_group::{LimitGroup, Limits};
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::Admission;
use crate::domain::metering::reservation::OperationName;
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{GroupId, UserId};
use crate::domain::values::number::Number;
use crate::service::configuration::app_config::AppConfig;
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::service::metering::facts::{Attempt, CallFacts};
use crate::service::tenant::{Author, Tenant};
use crate::store::accounts::credits::{
    CreditAmounts, CreditArgs, CreditDetails, CreditReply, CreditState, StoredCredit, VoidArgs, VoidReply,
};
use crate::store::keys::Bucket;
use crate::store::metering::admission::{Facts, NO_USER};
use crate::store::metering::operation::Operation;

/// The status of a credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CreditStatus {
    /// Something of it remains or is held.
    Live,
    /// Nothing remains or is held: it was used up, or the rest was voided.
    Used,
    /// It has expired; what open reservations return lapses.
    Expired,
    /// It was voided; what open reservations return is voided too.
    Voided,
}

/// A prepaid amount. `amount` is the sum of `remaining`, `held`, `used`, `lapsed` and `voided`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credit {
    pub id: String,
    #[schema(value_type = String)]
    pub group_id: GroupId,
    /// Whose credit it is, such as `{"user": "u_42"}`: a value for each name in the group's scope.
    pub scope: BTreeMap<String, String>,
    pub unit: Unit,
    #[schema(value_type = f64)]
    pub amount: Number,
    #[schema(value_type = f64)]
    pub remaining: Number,
    /// Held by open reservations, which can still be committed after the credit has expired or was voided.
    #[schema(value_type = f64)]
    pub held: Number,
    #[schema(value_type = f64)]
    pub used: Number,
    /// What remained when the credit expired, and what was returned later.
    #[schema(value_type = f64)]
    pub lapsed: Number,
    #[schema(value_type = f64)]
    pub voided: Number,
    pub status: CreditStatus,
    /// RFC 3339; null if it does not expire.
    pub expires_at: Option<String>,
    /// What paid for it, such as the ID of a payment. It adds at most one credit to the owner in this group.
    pub source_id: Option<String>,
    pub note: Option<String>,
    pub created_at: String,
    /// ID of the key.
    pub created_by: String,
}

/// A credit to add.
#[derive(Clone, Debug)]
pub struct NewCredit {
    pub owner: OwnerName,
    pub group: GroupId,
    pub amount: Number,
    pub expires_at_ms: Option<TimeMs>,
    pub source: Option<String>,
    pub note: Option<String>,
}

/// What to remove of a credit.
#[derive(Clone, Debug)]
pub struct NewVoid {
    /// None: all that remains, and what comes back later.
    pub amount: Option<Number>,
    pub note: Option<String>,
}

/// The result of adding a credit.
#[derive(Clone, Debug)]
pub struct Added {
    pub credit: Credit,
    /// The same source had already added it.
    pub is_known: bool,
}

impl CreditStatus {
    fn of(amounts: &CreditAmounts) -> Self {
        match amounts.state {
            CreditState::Lapsed => Self::Expired,
            CreditState::Voided => Self::Voided,
            CreditState::Open if amounts.remaining.saturating_add(amounts.held) > Amount::ZERO => Self::Live,
            CreditState::Open if amounts.voided == amounts.amount => Self::Voided,
            CreditState::Open => Self::Used,
        }
    }
}

impl Credit {
    fn of(owner: &OwnerName, group: &GroupId, unit: Unit, stored: &StoredCredit) -> Self {
        let StoredCredit { details, amounts } = stored;
        let number = |amount: Amount| Number(amount.to_decimal(unit));
        Self {
            id: details.id.clone(),
            group_id: group.clone(),
            scope: owner.to_map(),
            unit,
            amount: number(amounts.amount),
            remaining: number(amounts.remaining),
            held: number(amounts.held),
            used: number(amounts.used),
            lapsed: number(amounts.lapsed),
            voided: number(amounts.voided),
            status: CreditStatus::of(amounts),
            expires_at: details.expires_at_ms.map(rfc3339),
            source_id: details.source.clone(),
            note: details.note.clone(),
            created_at: rfc3339(details.created_at_ms),
            created_by: details.created_by.to_string(),
        }
    }
}

impl Gateway {
    /// Adds a credit, which the next call can use on every node. A source that has added one before adds nothing.
    ///
    /// # Errors
    /// [`ServiceError`]; an unknown group, a scope that is not the group's, an expiry in the past.
    pub async fn create_credit(
        &self,
        tenant: &Tenant,
        new: &NewCredit,
        author: Author<'_>,
    ) -> Result<Added, ServiceError> {
        let operation = Operation::new(&new.owner.values().join(" "), author.idempotency, true);
        self.with_owner(tenant, &new.owner, async |facts| {
            self.credit_attempt(facts, tenant, new, author, &operation).await
        })
        .await
    }

    async fn credit_attempt(
        &self,
        facts: &CallFacts,
        tenant: &Tenant,
        new: &NewCredit,
        author: Author<'_>,
        operation: &Operation,
    ) -> Result<Attempt<Added>, ServiceError> {
        let (group, amount) = match self.checked_credit(facts, tenant, new).await {
            Ok(checked) => checked,
            Err(refusal) => return self.earlier_credit(facts, new, operation).await?.ok_or(refusal),
        };
        let details = CreditDetails {
            id: credit_id(operation, facts),
            created_at_ms: facts.now_ms.div_euclid(1000) * 1000,
            created_by: author.key.clone(),
            expires_at_ms: new.expires_at_ms,
            source: new.source.clone(),
            note: new.note.clone(),
        };
        let (zero, state) = (Amount::ZERO, CreditState::Open);
        let amounts =
            CreditAmounts { amount, remaining: amount, held: zero, used: zero, lapsed: zero, voided: zero, state };
        let stored = StoredCredit { details, amounts };
        let credit = Credit::of(&new.owner, &new.group, group.unit, &stored);
        let answer = json(&credit)?;
        let audit_entry = AuditEntry {
            action: "credit.create".to_owned(),
            after: Some(answer.clone()),
            ..audit_entry_for(&new.owner, new.note.as_deref(), author.key)
        };
        let effective_limits = facts.effective_limits();
        let mut admission = Admission::empty(effective_limits, new.owner.clone());
        admission.place(&group, 0, zero, effective_limits.anchor, facts.now_ms)?;
        let mut validity = admission.validity;
        validity.narrow(TimeMs::MIN, new.expires_at_ms.unwrap_or(TimeMs::MAX));
        let owners = facts.owners(&admission, Limits::Enforced);
        let owner = owners.first().ok_or_else(|| ServiceError::Internal("a credit without an owner".to_owned()))?;
        let user = new.owner.user().and_then(|user| UserId::parse(user).ok());
        let is_user = new.owner.scope().is_user();
        let checked = facts.for_script(validity);
        let args = CreditArgs {
            bucket: &facts.bucket,
            operation,
            facts: if is_user { checked } else { Facts { version: NO_USER, ..checked } },
            owner,
            user: user.as_ref().filter(|_| is_user),
            amount,
            details: &stored.details,
            audit_entry: &audit_entry,
            answer: &answer,
        };
        let reply = self.store.credit(args).await?;
        self.credit_answer(facts, new, Some(credit), reply)
    }

    /// The answer of the same operation, or the credit that the same source has added, whatever the configuration and
    /// the time are now: a payment's message may be repeated after its credit has expired.
    async fn earlier_credit(
        &self,
        facts: &CallFacts,
        new: &NewCredit,
        operation: &Operation,
    ) -> Result<Option<Attempt<Added>>, ServiceError> {
        if let Some(reply) = self.store.credited_before(&facts.bucket, operation).await? {
            return self.credit_answer(facts, new, None, reply).map(Some);
        }
        let Some(source) = &new.source else { return Ok(None) };
        let known = self.store.credit_of_source(&facts.bucket, &new.owner, &new.group, source).await?;
        let unit = facts.config.unit_of(&new.group);
        Ok(known.map(|stored| {
            Attempt::Done(Added { credit: Credit::of(&new.owner, &new.group, unit, &stored), is_known: true })
        }))
    }

    /// The group and the amount, by the present configuration.
    async fn checked_credit(
        &self,
        facts: &CallFacts,
        tenant: &Tenant,
        new: &NewCredit,
    ) -> Result<(Arc<LimitGroup>, Amount), ServiceError> {
        let of_user = facts.effective_limits().groups().find(|group| group.id == new.group).cloned();
        let config = self.load_config(&tenant.app).await?;
        let mut faults = Faults::default();
        let group = faults.take(balance_group(&config, &new.group));
        let checked = group.and_then(|group| {
            faults.take(check_owner(&group, tenant, &new.owner));
            let amount = faults.take(positive_amount(new.amount, group.unit))?;
            Some((group, amount))
        });
        if let Some(end) = new.expires_at_ms.filter(|end| *end <= facts.now_ms)
            && end <= self.now(&facts.bucket).await?
        {
            faults.add("expiresAt", "must be in the future");
        }
        let (group, amount) = faults.or(checked)?;
        // The thresholds are those of the user's plan.
        Ok((of_user.filter(|group| group.is_balance()).unwrap_or(group), amount))
    }

    /// `credit` is the new credit, unless the answer is known to be an earlier one.
    fn credit_answer(
        &self,
        facts: &CallFacts,
        new: &NewCredit,
        credit: Option<Credit>,
        reply: CreditReply,
    ) -> Result<Attempt<Added>, ServiceError> {
        let added = |credit: Credit, is_known: bool| Attempt::Done(Added { credit, is_known });
        Ok(match reply {
            CreditReply::Reused => return Err(ServiceError::IdempotencyKeyReused),
            CreditReply::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
            CreditReply::Full => return Err(ServiceError::TooManyCredits),
            CreditReply::Overflow => {
                return Err(ServiceError::invalid("amount", "must not exceed what a counter can hold"));
            }
            CreditReply::Known(now_ms, stored) => {
                self.clocks.observe_time(&facts.bucket, now_ms);
                let unit = facts.config.unit_of(&new.group);
                added(Credit::of(&new.owner, &new.group, unit, &stored), true)
            }
            CreditReply::Credited(now_ms) => {
                self.clocks.observe_time(&facts.bucket, now_ms);
                let credit = credit.ok_or_else(|| ServiceError::Internal("a credit of nothing".to_owned()))?;
                added(credit, false)
            }
            CreditReply::Before(first) => {
                added(serde_json::from_str(&first).map_err(|_| ServiceError::IdempotencyKeyReused)?, false)
            }
        })
    }

    /// Removes what remains of a credit, or a part of it.
    ///
    /// # Errors
    /// [`ServiceError`]; not found, or an amount that exceeds what remains.
    pub async fn void_credit(
        &self,
        tenant: &Tenant,
        id: &str,
        new: &NewVoid,
        author: Author<'_>,
    ) -> Result<Credit, ServiceError> {
        let missing = || ServiceError::NotFound(format!("Credit `{id}` not found."));
        let bucket = bucket_of(tenant, id).ok_or_else(missing)?;
        let place = self.store.credit_place(&bucket, id).await?.ok_or_else(missing)?;
        let details = self.store.credit_details(&bucket, &place).await?.ok_or_else(missing)?;
        let config = self.load_config(&tenant.app).await?;
        let unit = config.unit_of(&place.group);
        let operation = Operation::new(&place.owner.values().join(" "), author.idempotency, new.amount.is_some());
        let answer = |reply: VoidReply| match reply {
            VoidReply::Reused => Err(ServiceError::IdempotencyKeyReused),
            VoidReply::Missing => Err(missing()),
            VoidReply::Exceeds(amounts) => {
                let remaining = amounts.remaining.to_decimal(unit);
                Err(ServiceError::invalid("amount", format!("must be at most what remains of the credit: {remaining}")))
            }
            VoidReply::Voided(amounts) => Ok(amounts),
        };
        let amounts = match self.store.voided_before(&bucket, &operation).await? {
            Some(before) => answer(before)?,
            None => {
                let amount = new.amount.map(|amount| positive_amount(amount, unit)).transpose()?;
                let audit_entry = AuditEntry {
                    action: "credit.void".to_owned(),
                    before: Some(id.to_owned()),
                    after: new.amount.map(|amount| amount.0.to_string()),
                    ..audit_entry_for(&place.owner, new.note.as_deref(), author.key)
                };
                let (by, note, place) = (author.key, new.note.as_deref(), &place);
                let (operation, reports_expiry) = (&operation, self.reports_expiry(tenant).await?);
                let audit_entry = &audit_entry;
                let args = VoidArgs { place, amount, by, note, reports_expiry, operation, audit_entry };
                answer(self.store.void_credit(&bucket, args).await?)?
            }
        };
        Ok(Credit::of(&place.owner, &place.group, unit, &StoredCredit { details, amounts }))
    }

    /// The credits of an owner in a balance group, the newest first. Returns a page and the number with which the next
    /// one begins.
    ///
    /// # Errors
    /// [`ServiceError`]; an unknown group, a scope that is not the group's.
    pub async fn credits(
        &self,
        tenant: &Tenant,
        group: &GroupId,
        owner: impl FnOnce(&LimitGroup) -> Result<OwnerName, ServiceError>,
        from: Option<u64>,
        count: usize,
    ) -> Result<(Vec<Credit>, Option<u64>), ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let group = balance_group(&config, group)?;
        let owner = owner(&group)?;
        let user = owner.user().map(UserId::parse).transpose();
        let user = user.map_err(|error| ServiceError::invalid("userId", error.to_string()))?;
        let bucket = match &user {
            Some(user) => tenant.bucket_of(user),
            None => tenant.shared_bucket()?,
        };
        let page = self.store.credits(&bucket, &owner, &group.id, from, count).await?;
        let credits = page.credits.iter().map(|stored| Credit::of(&owner, &group.id, group.unit, stored));
        Ok((credits.collect(), page.next))
    }
}

fn balance_group(config: &AppConfig, id: &GroupId) -> Result<Arc<LimitGroup>, FieldError> {
    match config.group(id) {
        Some(group) if group.is_balance() => Ok(Arc::clone(group)),
        Some(_) => {
            Err(FieldError::new("groupId", format!("must be a group of the kind `balance`; `{id}` has a quota")))
        }
        None => Err(FieldError::new("groupId", format!("must be an existing group; there is no group `{id}`"))),
    }
}

/// `crd_` + operation name + creation time (ms, 11 hex digits) + bucket (2 hex digits): another one after the client's
/// key was forgotten.
fn credit_id(operation: &Operation, facts: &CallFacts) -> String {
    format!("crd_{}{:011x}{:02x}", operation.name.as_str(), facts.now_ms, facts.bucket.number())
}

/// A credit's ID ends with its bucket.
fn bucket_of(tenant: &Tenant, id: &str) -> Option<Bucket> {
    let name = id.strip_prefix("crd_")?;
    let (name, digits) = name.split_at_checked(name.len().checked_sub(13)?)?;
    let (_created, bucket) = digits.split_at_checked(11)?;
    let number = OperationName::parse(name).and_then(|_| u8::from_str_radix(bucket, 16).ok())?;
    tenant.bucket(number).filter(|bucket| bucket.number() == number)
}

//! `lua/grant.lua` and `lua/revoke.lua`: extra quota for one counter for a limited time.

use crate::domain::access::audit::AuditEntry;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{GroupId, UserId};
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::metering::admission::{Facts, Owner, Stale, read_stale};
use crate::store::metering::operation::Operation;
use crate::store::metering::proposal::Proposal;
use crate::store::metering::record::Record;
use crate::store::reply::{Fields, optional_text};
use crate::store::{Arguments, Store};

#[derive(Clone, Copy, Debug)]
pub struct GrantArgs<'a> {
    pub bucket: &'a Bucket,
    pub operation: &'a Operation,
    pub facts: Facts<'a>,
    /// With the counter's present window, or without a group while a fixed period is not running.
    pub owner: &'a Owner,
    /// None if the owner is not a user.
    pub user: Option<&'a UserId>,
    pub group_id: &'a GroupId,
    pub grant: &'a str,
    pub amount: Amount,
    /// None if it ends with the window.
    pub ends_at_ms: Option<TimeMs>,
    /// When it ends, as far as known; None if never.
    pub expected_end_ms: Option<TimeMs>,
    /// Details of the grant, as JSON.
    pub about: &'a str,
    pub audit_entry: &'a AuditEntry,
    /// The approval request with the decision, as JSON.
    pub approval: Option<(&'a str, &'a str)>,
    pub answer: &'a str,
}

/// The result.
#[derive(Debug)]
pub enum GrantReply {
    Reused,
    Stale(Stale, TimeMs),
    /// There is no such approval request.
    NoRequest,
    /// The approval request was approved before.
    Decided,
    /// The counter has the maximum number of active grants.
    Full,
    /// The sum would exceed what a counter can hold.
    Overflow,
    Granted(TimeMs),
    /// The first answer of the same operation.
    Before(String),
}

/// The result of revoking a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeReply {
    /// Revoked now, or by the same call before.
    Revoked,
    /// There is no grant with that ID, or it has ended.
    Missing,
    Reused,
}

/// A grant to revoke.
#[derive(Clone, Copy, Debug)]
pub struct RevokeArgs<'a> {
    pub owner: &'a OwnerName,
    pub group: &'a GroupId,
    pub grant: &'a str,
    pub operation: &'a Operation,
    pub audit_entry: &'a AuditEntry,
}

impl Store {
    /// # Errors
    /// [`StoreError`]
    pub async fn grant(&self, args: GrantArgs<'_>) -> Result<GrantReply, StoreError> {
        let bucket = args.bucket;
        let owners = std::slice::from_ref(args.owner);
        let proposal = Proposal {
            bucket,
            fingerprint: args.operation.fingerprint(),
            facts: args.facts,
            precheck_denial: "",
            owners,
            approval_request: None,
            observed: "",
            fit: "",
        };
        let keys = [bucket.operation(&args.operation.name)];
        let fields = self.propose(&self.library.grant, &proposal, &keys, |arguments| {
            arguments.text(args.user.map_or("", UserId::as_str)).text(args.group_id.as_str());
            arguments.text(args.grant).int(args.amount.steps());
            arguments.text(args.ends_at_ms.map_or_else(|| "*".to_owned(), |end| end.to_string()));
            arguments.text(args.expected_end_ms.map_or_else(|| "+inf".to_owned(), |end| end.to_string()));
            let (request, how) = args.approval.unwrap_or(("-", ""));
            arguments.text(args.about).text(request).text(how).text(args.answer);
            AuditEntry::write(Some(args.audit_entry), arguments);
        });
        let reply = read(fields.await?)?;
        if matches!(reply, GrantReply::Before(_)) {
            args.operation.is_replayed();
        }
        Ok(reply)
    }

    /// The answer of an earlier call with the same idempotency key; it takes precedence over any rejection.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn granted_before(
        &self,
        bucket: &Bucket,
        operation: &Operation,
    ) -> Result<Option<GrantReply>, StoreError> {
        let seen = self.seen("grant", bucket, operation).await?.map(read).transpose()?;
        if matches!(seen, Some(GrantReply::Before(_))) {
            operation.is_replayed();
        }
        Ok(seen)
    }

    /// Revokes a grant.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn revoke(&self, bucket: &Bucket, args: RevokeArgs<'_>) -> Result<RevokeReply, StoreError> {
        let RevokeArgs { owner, group, grant, operation, audit_entry } = args;
        let keys = [
            bucket.owner(owner).account,
            bucket.grants(),
            bucket.grant_ends(),
            bucket.audit(),
            bucket.clock(),
            bucket.operation(&operation.name),
        ];
        let mut arguments = Arguments::default();
        operation.write(&mut arguments);
        arguments.flag(bucket.is_sandbox()).text(group.as_str()).text(grant);
        AuditEntry::write(Some(audit_entry), &mut arguments);
        read_revoke(self.call(&self.library.revoke, &keys, &arguments).await?, operation)
    }

    /// The first answer of the same revocation, if there was one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn revoked_before(
        &self,
        bucket: &Bucket,
        operation: &Operation,
    ) -> Result<Option<RevokeReply>, StoreError> {
        self.seen("revoke", bucket, operation).await?.map(|fields| read_revoke(fields, operation)).transpose()
    }

    /// Details of a grant, as JSON. In Redis its counters and group come first, for the script.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn grant_about(&self, bucket: &Bucket, grant: &str) -> Result<Option<String>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(bucket.grants()).arg(grant);
        let kept = optional_text(self.command(&command).await?)?;
        Ok(kept.and_then(|kept| kept.split_once('\n').map(|(_, about)| about.to_owned())))
    }

    /// IDs of grants by their known end, from `offset` on; some may have ended.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn grant_ids(&self, bucket: &Bucket, offset: usize, count: usize) -> Result<Vec<String>, StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(bucket.grant_ends()).arg(offset).arg(offset + count - 1);
        redis::from_redis_value(self.command(&command).await?)
            .map_err(|error| StoreError::Unexpected(error.to_string()))
    }
}

pub(in crate::store) fn read(mut fields: Fields) -> Result<GrantReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "replayed" => match Record::read(&mut fields)? {
            Record::Reservation(_) => GrantReply::Reused,
            Record::Answer(text) => {
                let mut kept = Fields::stored("grant", &text);
                match kept.text()?.as_str() {
                    "full" => GrantReply::Full,
                    "overflow" => GrantReply::Overflow,
                    "granted" => {
                        let _now = kept.time()?;
                        GrantReply::Before(kept.text()?)
                    }
                    _ => GrantReply::Reused,
                }
            }
        },
        "reused" => GrantReply::Reused,
        "missing" => GrantReply::NoRequest,
        "decided" => GrantReply::Decided,
        "full" => GrantReply::Full,
        "overflow" => GrantReply::Overflow,
        "granted" => GrantReply::Granted(fields.time()?),
        stale => read_stale(stale, &mut fields).map(|(stale, now)| GrantReply::Stale(stale, now))?,
    })
}

fn read_revoke(mut fields: Fields, operation: &Operation) -> Result<RevokeReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "revoked" => RevokeReply::Revoked,
        "missing" => RevokeReply::Missing,
        "reused" => RevokeReply::Reused,
        "replayed" => match Record::read(&mut fields)? {
            Record::Reservation(_) => RevokeReply::Reused,
            Record::Answer(_) => {
                operation.is_replayed();
                RevokeReply::Revoked
            }
        },
        other => return Err(fields.unexpected(&format!("status {other}"))),
    })
}

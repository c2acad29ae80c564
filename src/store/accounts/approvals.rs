//! `lua/decide.lua`, and approval requests as `lua/lib/approval.lua` stores them.

use crate::domain::access::audit::AuditEntry;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::time::window::{TimeMs, Window};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::GroupId;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::metering::operation::Operation;
use crate::store::metering::record::Record;
use crate::store::reply::optional_text;
use crate::store::{Arguments, Store};

/// A stored approval request.
#[derive(Clone, Debug)]
pub struct StoredApproval {
    /// `open`, `approved` or `rejected`.
    pub status: String,
    pub opened_at_ms: TimeMs,
    pub owner: OwnerName,
    /// The key of the owner's counters.
    pub counters: String,
    pub group: GroupId,
    /// The window at the time of the request.
    pub window: Window,
    pub requested: Amount,
    /// At the time of the request.
    pub used: Amount,
    pub held: Amount,
    pub limit: Amount,
    /// Details of the call, as JSON.
    pub about: String,
    /// The decision, as JSON.
    pub how: Option<String>,
}

/// The result of a decision.
#[derive(Debug, PartialEq, Eq)]
pub enum DecideReply {
    Reused,
    Missing,
    /// It is approved, or has this status already.
    Decided,
    Changed,
}

impl StoredApproval {
    fn parse(bucket: &Bucket, text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let (status, opened_at) = lines.next()?.split_once(' ')?;
        let (counters, rest) = lines.next()?.split_once(' ')?;
        let (group, window) = rest.split_once(' ')?;
        let mut amounts = lines.next()?.split(' ').map(|steps| Amount::from_steps(steps.parse().ok()?).ok());
        Some(Self {
            status: status.to_owned(),
            opened_at_ms: opened_at.parse().ok()?,
            owner: bucket.owner_of(counters)?,
            counters: counters.to_owned(),
            group: GroupId::parse(group).ok()?,
            window: Window::parse(window)?,
            requested: amounts.next()??,
            used: amounts.next()??,
            held: amounts.next()??,
            limit: amounts.next()??,
            about: lines.next()?.to_owned(),
            how: lines.next().map(str::to_owned),
        })
    }
}

/// A decision on an approval request.
#[derive(Clone, Copy, Debug)]
pub struct DecideArgs<'a> {
    pub id: &'a str,
    pub approval: &'a StoredApproval,
    pub status: &'a str,
    /// When, by whom and why, as JSON.
    pub how: &'a str,
    pub audit_entry: &'a AuditEntry,
}

impl Store {
    /// # Errors
    /// [`StoreError`]
    pub async fn approval(&self, bucket: &Bucket, id: &str) -> Result<Option<StoredApproval>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(bucket.approvals()).arg(id);
        let text = optional_text(self.command(&command).await?)?;
        let damaged = || StoreError::Unexpected("a damaged approval request".to_owned());
        text.map(|text| StoredApproval::parse(bucket, &text).ok_or_else(damaged)).transpose()
    }

    /// IDs of the open (or the decided) requests, newest first, from `offset` on.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn approval_ids(
        &self,
        bucket: &Bucket,
        open: bool,
        offset: usize,
        count: usize,
    ) -> Result<Vec<String>, StoreError> {
        let mut command = redis::cmd("ZREVRANGE");
        command.arg(if open { bucket.open_approvals() } else { bucket.decided_approvals() });
        command.arg(offset).arg(offset + count - 1);
        redis::from_redis_value(self.command(&command).await?)
            .map_err(|error| StoreError::Unexpected(error.to_string()))
    }

    /// Rejects a request, or reopens it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn decide(
        &self,
        bucket: &Bucket,
        operation: &Operation,
        args: DecideArgs<'_>,
    ) -> Result<DecideReply, StoreError> {
        let DecideArgs { id, approval, status, how, audit_entry } = args;
        let keys = [
            bucket.operation(&operation.name),
            bucket.clock(),
            approval.counters.clone(),
            bucket.approvals(),
            bucket.open_approvals(),
            bucket.decided_approvals(),
            bucket.outbox(),
            bucket.audit(),
        ];
        let mut arguments = Arguments::default();
        operation.write(&mut arguments);
        arguments.flag(bucket.is_sandbox()).text(id).text(status).text(how);
        AuditEntry::write(Some(audit_entry), &mut arguments);
        let mut fields = self.call(&self.library.decide, &keys, &arguments).await?;
        let status = fields.text()?;
        Ok(match status.as_str() {
            "replayed" => match Record::read(&mut fields)? {
                Record::Reservation(_) => DecideReply::Reused,
                Record::Answer(_) => {
                    operation.is_replayed();
                    DecideReply::Changed
                }
            },
            "reused" => DecideReply::Reused,
            "missing" => DecideReply::Missing,
            "decided" => DecideReply::Decided,
            "changed" => DecideReply::Changed,
            other => return Err(fields.unexpected(&format!("status {other}"))),
        })
    }
}

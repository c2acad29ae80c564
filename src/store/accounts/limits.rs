//! `lua/limit.lua`: another quota for one owner. Reads of what it stored, see `lua/lib/own_quota.lua`.

use futures::stream::{self, StreamExt, TryStreamExt};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::domain::access::audit::AuditEntry;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::ids::{GroupId, UserId};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::keys::{Bucket, decode};
use crate::store::metering::account::QUOTAS;
use crate::store::metering::admission::{Facts, Owner, Stale, read_stale};
use crate::store::metering::operation::Operation;
use crate::store::metering::proposal::Proposal;
use crate::store::metering::record::Record;
use crate::store::reply::{Fields, optional_text};

/// Concurrent reads; they share the node's connections.
const PARALLEL: usize = 64;

/// Another quota for one owner in one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnQuota {
    pub group: GroupId,
    /// None counts without limit.
    pub quota: Option<Amount>,
    /// It ends at this time; None if it does not end.
    pub until_ms: Option<TimeMs>,
    pub note: Option<String>,
}

/// A quota to set or to remove.
#[derive(Clone, Copy, Debug)]
pub struct LimitArgs<'a> {
    pub bucket: &'a Bucket,
    pub operation: &'a Operation,
    pub facts: Facts<'a>,
    pub owner: &'a Owner,
    /// None if the owner is not a user.
    pub user: Option<&'a UserId>,
    pub group: &'a GroupId,
    /// With the unit of the group; None removes the quota.
    pub quota: Option<(&'a OwnQuota, Unit)>,
    pub audit_entry: &'a AuditEntry,
    pub answer: &'a str,
}

/// The result.
#[derive(Debug)]
pub enum LimitReply {
    Reused,
    Stale(Stale, TimeMs),
    /// There is nothing to remove.
    Missing,
    Limited(TimeMs),
    /// The first answer of the same operation.
    Before(String),
}

impl OwnQuota {
    /// `<group>:<quota|->:<most>:<until_ms|*>:<note>`
    fn to_text(&self, unit: Unit) -> String {
        let quota = self.quota.map_or_else(|| "-".to_owned(), |quota| quota.steps().to_string());
        let note = utf8_percent_encode(self.note.as_deref().unwrap_or_default(), NON_ALPHANUMERIC);
        format!("{}:{quota}:{}:{}:{note}", self.group, unit.most().steps(), until_text(self.until_ms))
    }

    /// The quotas in [`QUOTAS`]. None for a text that scripts never write.
    pub fn parse_all(text: &str) -> Option<Vec<Self>> {
        text.split(',').filter(|item| !item.is_empty()).map(Self::parse).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (group, quota, _most) = (GroupId::parse(parts.next()?).ok()?, parts.next()?, parts.next()?);
        let quota = match quota {
            "-" => None,
            steps => Some(Amount::from_steps(steps.parse().ok()?).ok()?),
        };
        let until_ms = match parts.next()? {
            "*" => None,
            ms => Some(ms.parse().ok()?),
        };
        let note = decode(parts.next()?)?;
        Some(Self { group, quota, until_ms, note: (!note.is_empty()).then_some(note) })
    }
}

fn until_text(until_ms: Option<TimeMs>) -> String {
    until_ms.map_or_else(|| "*".to_owned(), |until_ms| until_ms.to_string())
}

impl Store {
    /// Sets or removes a quota.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn limit(&self, args: LimitArgs<'_>) -> Result<LimitReply, StoreError> {
        let bucket = args.bucket;
        let proposal = Proposal {
            bucket,
            fingerprint: args.operation.fingerprint(),
            facts: args.facts,
            precheck_denial: "",
            owners: std::slice::from_ref(args.owner),
            approval_request: None,
            observed: "",
            fit: "",
        };
        let keys = [bucket.operation(&args.operation.name)];
        let fields = self.propose(&self.library.limit, &proposal, &keys, |arguments| {
            let (text, until) = match args.quota {
                Some((quota, unit)) => (quota.to_text(unit), until_text(quota.until_ms)),
                None => Default::default(),
            };
            arguments.text(args.user.map_or("", UserId::as_str)).text(args.group.as_str());
            arguments.text(text).text(until).text(args.answer);
            AuditEntry::write(Some(args.audit_entry), arguments);
        });
        let reply = read(fields.await?)?;
        if matches!(reply, LimitReply::Before(_)) {
            args.operation.is_replayed();
        }
        Ok(reply)
    }

    /// The answer of an earlier call with the same idempotency key; it takes precedence over any rejection.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn limited_before(
        &self,
        bucket: &Bucket,
        operation: &Operation,
    ) -> Result<Option<LimitReply>, StoreError> {
        let seen = self.seen("limit", bucket, operation).await?.map(read).transpose()?;
        if matches!(seen, Some(LimitReply::Before(_))) {
            operation.is_replayed();
        }
        Ok(seen)
    }

    /// The quotas of owners, in the same order, also those that have ended.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn own_quotas(&self, bucket: &Bucket, owners: &[OwnerName]) -> Result<Vec<Vec<OwnQuota>>, StoreError> {
        let read = async |owner: &OwnerName| {
            let mut command = redis::cmd("HGET");
            command.arg(bucket.owner(owner).account).arg(QUOTAS);
            let text = optional_text(self.command(&command).await?)?.unwrap_or_default();
            OwnQuota::parse_all(&text).ok_or_else(|| StoreError::Unexpected(format!("quotas {text:?}")))
        };
        stream::iter(owners).map(read).buffered(PARALLEL).try_collect().await
    }

    /// Names of users in their order, from `offset` on.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn users_from(&self, bucket: &Bucket, offset: usize, count: usize) -> Result<Vec<UserId>, StoreError> {
        let unexpected = |error: String| StoreError::Unexpected(error);
        let mut command = redis::cmd("ZRANGE");
        command.arg(bucket.users()).arg(offset).arg(offset + count - 1);
        let names: Vec<String> =
            redis::from_redis_value(self.command(&command).await?).map_err(|error| unexpected(error.to_string()))?;
        names.iter().map(|name| UserId::parse(name).map_err(|error| unexpected(error.to_string()))).collect()
    }
}

fn read(mut fields: Fields) -> Result<LimitReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "replayed" => match Record::read(&mut fields)? {
            Record::Reservation(_) => LimitReply::Reused,
            Record::Answer(text) => {
                let mut kept = Fields::stored("limit", &text);
                match kept.text()?.as_str() {
                    "limited" => {
                        let _now = kept.time()?;
                        LimitReply::Before(kept.text()?)
                    }
                    _ => LimitReply::Reused,
                }
            }
        },
        "reused" => LimitReply::Reused,
        "missing" => LimitReply::Missing,
        "limited" => LimitReply::Limited(fields.time()?),
        stale => read_stale(stale, &mut fields).map(|(stale, now)| LimitReply::Stale(stale, now))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_read_as_they_were_written() {
        let group = GroupId::parse("lg_a-1").unwrap();
        let amount = |steps| Some(Amount::from_steps(steps).unwrap());
        for (quota, until_ms, note) in [
            (amount(0), None, None),
            (None, Some(1_800_000_000_000), Some("a, b: 20 %\n")),
            (amount(9_007_199_254_740_991), None, Some("ä")),
        ] {
            let quota = OwnQuota { group: group.clone(), quota, until_ms, note: note.map(str::to_owned) };
            let text = quota.to_text(Unit::Count);
            assert!(!text.contains([',', ' ', '\n']), "{text}");
            assert_eq!(OwnQuota::parse(&text), Some(quota));
        }
        for damaged in ["", "g", "g:1", "g:x:1:*:", "g:1:1:x:", "g:1:1:*"] {
            assert_eq!(OwnQuota::parse(damaged), None, "{damaged}");
        }
    }
}

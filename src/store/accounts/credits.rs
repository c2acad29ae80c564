//! `lua/credit.lua`, `lua/void_credit.lua` and `lua/list_credits.lua`: prepaid amounts of one owner.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::domain::access::audit::AuditEntry;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::reporting::ledger::EntryDetails;
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{GroupId, KeyId, UserId};
use crate::store::error::StoreError;
use crate::store::keys::{Bucket, decode, encode};
use crate::store::metering::admission::{Facts, Owner, Stale, read_stale};
use crate::store::metering::operation::Operation;
use crate::store::metering::proposal::Proposal;
use crate::store::metering::record::Record;
use crate::store::reply::{Fields, optional_text};
use crate::store::reporting::ledger::details_text;
use crate::store::{Arguments, Store};

/// What is known of a credit, apart from its amounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditDetails {
    pub id: String,
    pub created_at_ms: TimeMs,
    pub created_by: KeyId,
    /// None if it does not expire.
    pub expires_at_ms: Option<TimeMs>,
    /// What paid for it.
    pub source: Option<String>,
    pub note: Option<String>,
}

/// Whether amounts that come back remain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreditState {
    Open,
    Lapsed,
    Voided,
}

/// The amounts of a credit; the last five add up to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditAmounts {
    pub amount: Amount,
    pub remaining: Amount,
    pub held: Amount,
    pub used: Amount,
    pub lapsed: Amount,
    pub voided: Amount,
    pub state: CreditState,
}

/// A credit as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCredit {
    pub details: CreditDetails,
    pub amounts: CreditAmounts,
}

/// The location of a credit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CreditPlace {
    pub owner: OwnerName,
    pub group: GroupId,
    /// `b<number>`
    name: String,
}

/// In place of a credit: what no credit covered.
const UNCOVERED: &str = "b0";

/// A credit to add.
#[derive(Clone, Copy, Debug)]
pub struct CreditArgs<'a> {
    pub bucket: &'a Bucket,
    pub operation: &'a Operation,
    pub facts: Facts<'a>,
    /// With the balance group.
    pub owner: &'a Owner,
    /// None if the owner is not a user.
    pub user: Option<&'a UserId>,
    pub amount: Amount,
    pub details: &'a CreditDetails,
    pub audit_entry: &'a AuditEntry,
    pub answer: &'a str,
}

/// The result of adding one.
#[derive(Debug)]
pub enum CreditReply {
    Reused,
    Stale(Stale, TimeMs),
    /// The source added this credit before.
    Known(TimeMs, Box<StoredCredit>),
    /// The owner has the maximum number of live credits.
    Full,
    /// The sum would exceed what a counter can hold.
    Overflow,
    Credited(TimeMs),
    /// The first answer of the same operation.
    Before(String),
}

/// A credit to void.
#[derive(Clone, Copy, Debug)]
pub struct VoidArgs<'a> {
    pub place: &'a CreditPlace,
    /// None: all that remains, and what comes back later.
    pub amount: Option<Amount>,
    pub by: &'a KeyId,
    pub note: Option<&'a str>,
    /// A webhook subscribes to expired reservations.
    pub reports_expiry: bool,
    pub operation: &'a Operation,
    pub audit_entry: &'a AuditEntry,
}

/// The result of voiding one.
#[derive(Debug)]
pub enum VoidReply {
    Reused,
    Missing,
    /// Less remains than the amount.
    Exceeds(CreditAmounts),
    Voided(CreditAmounts),
}

/// A page of credits, the newest first.
#[derive(Debug)]
pub struct CreditPage {
    pub credits: Vec<StoredCredit>,
    /// The number of the next one; None if that was the oldest.
    pub next: Option<u64>,
}

impl CreditDetails {
    /// `<id> <created at ms> <key> <expires at ms|*> <source|-> <note|->`
    fn to_text(&self) -> String {
        let optional = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), encoded);
        let end = self.expires_at_ms.map_or_else(|| "*".to_owned(), |end| end.to_string());
        let Self { id, created_at_ms, created_by, source, note, .. } = self;
        format!("{id} {created_at_ms} {created_by} {end} {} {}", optional(source), optional(note))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let id = words.next()?.to_owned();
        let (created_at_ms, created_by) = (words.next()?.parse().ok()?, KeyId::parse(words.next()?).ok()?);
        let expires_at_ms = match words.next()? {
            "*" => None,
            end => Some(end.parse().ok()?),
        };
        let mut optional = || match words.next()? {
            "-" => Some(None),
            text => decode(text).map(Some),
        };
        Some(Self { id, created_at_ms, created_by, expires_at_ms, source: optional()?, note: optional()? })
    }
}

impl CreditPlace {
    /// The credit that an entry names in place of a window; None if it names a window or no credit.
    pub fn of_entry(owner: &OwnerName, group: &GroupId, window_seq: &str) -> Option<Self> {
        let is_credit = window_seq.starts_with('b') && window_seq != UNCOVERED;
        is_credit.then(|| Self { owner: owner.clone(), group: group.clone(), name: window_seq.to_owned() })
    }
}

impl CreditAmounts {
    /// `b<number>:<amount>:<remaining>:<held>:<used>:<lapsed>:<voided>:<expires at ms|*|lapsed|voided>`
    pub(in crate::store) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':').skip(1);
        let mut steps = || Amount::from_steps(parts.next()?.parse().ok()?).ok();
        let (amount, remaining, held) = (steps()?, steps()?, steps()?);
        let (used, lapsed, voided) = (steps()?, steps()?, steps()?);
        let state = match parts.next()? {
            "lapsed" => CreditState::Lapsed,
            "voided" => CreditState::Voided,
            _ => CreditState::Open,
        };
        Some(Self { amount, remaining, held, used, lapsed, voided, state })
    }
}

/// A source's characters may have a meaning in a field's name or in a line.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// `- <key> <user|->`, for the ledger.
fn label(by: &KeyId, user: Option<&str>) -> String {
    format!("- {by} {}", user.map_or_else(|| "-".to_owned(), encode))
}

/// A note as the ledger stores it.
fn note_text(note: Option<&str>) -> Result<String, StoreError> {
    details_text(&EntryDetails { reason: note.map(str::to_owned), ..EntryDetails::default() })
}

impl Store {
    /// Adds a credit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn credit(&self, args: CreditArgs<'_>) -> Result<CreditReply, StoreError> {
        let CreditArgs { bucket, details, user, .. } = args;
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
        let (user, note) = (user.map(UserId::as_str), note_text(details.note.as_deref())?);
        let fields = self.propose(&self.library.credit, &proposal, &keys, |arguments| {
            arguments.text(user.unwrap_or_default()).text(&details.id).int(args.amount.steps());
            arguments.text(details.expires_at_ms.map_or_else(|| "*".to_owned(), |end| end.to_string()));
            arguments.text(details.source.as_deref().map(encoded).unwrap_or_default()).text(details.to_text());
            arguments.text(label(&details.created_by, user)).text(note).text(args.answer);
            AuditEntry::write(Some(args.audit_entry), arguments);
        });
        read(fields.await?, args.operation)
    }

    /// The answer of an earlier call with the same idempotency key; it takes precedence over any rejection.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn credited_before(
        &self,
        bucket: &Bucket,
        operation: &Operation,
    ) -> Result<Option<CreditReply>, StoreError> {
        self.seen("credit", bucket, operation).await?.map(|fields| read(fields, operation)).transpose()
    }

    /// The credit that a source has added to an owner's balance.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn credit_of_source(
        &self,
        bucket: &Bucket,
        owner: &OwnerName,
        group: &GroupId,
        source: &str,
    ) -> Result<Option<StoredCredit>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(bucket.credits(owner)).arg(format!("{group}:{}", encoded(source)));
        let Some(name) = optional_text(self.command(&command).await?)? else { return Ok(None) };
        let number = name.strip_prefix('b').and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| StoreError::Unexpected(format!("the credit of a source {name:?}")))?;
        Ok(self.credits(bucket, owner, group, Some(number), 1).await?.credits.pop())
    }

    /// The owner and group of a credit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn credit_place(&self, bucket: &Bucket, id: &str) -> Result<Option<CreditPlace>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(bucket.credit_ids()).arg(id);
        let Some(text) = optional_text(self.command(&command).await?)? else { return Ok(None) };
        let read = || {
            let mut words = text.split(' ');
            let (owner, group) = (bucket.owner_word(words.next()?)?, GroupId::parse(words.next()?).ok()?);
            Some(CreditPlace { owner, group, name: words.next()?.to_owned() })
        };
        read().map(Some).ok_or_else(|| StoreError::Unexpected(format!("the place of a credit {text:?}")))
    }

    /// The details of a credit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn credit_details(
        &self,
        bucket: &Bucket,
        place: &CreditPlace,
    ) -> Result<Option<CreditDetails>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(bucket.credits(&place.owner)).arg(format!("{}.{}", place.group, place.name));
        let Some(text) = optional_text(self.command(&command).await?)? else { return Ok(None) };
        let details = CreditDetails::parse(&text);
        details.map(Some).ok_or_else(|| StoreError::Unexpected(format!("a credit {text:?}")))
    }

    /// Removes what remains of a credit, or a part of it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn void_credit(&self, bucket: &Bucket, args: VoidArgs<'_>) -> Result<VoidReply, StoreError> {
        let VoidArgs { place, amount, by, note, reports_expiry, operation, audit_entry } = args;
        let keys = [
            bucket.owner(&place.owner).account,
            bucket.credits(&place.owner),
            bucket.audit(),
            bucket.clock(),
            bucket.operation(&operation.name),
            bucket.ledger(),
            bucket.outbox(),
        ];
        let user = place.owner.user().filter(|_| place.owner.scope().is_user());
        let mut arguments = Arguments::default();
        operation.write(&mut arguments);
        arguments.flag(bucket.is_sandbox()).int(self.ledger_entries).flag(reports_expiry);
        arguments.text(place.group.as_str()).text(&place.name);
        match amount {
            Some(amount) => arguments.int(amount.steps()),
            None => arguments.text("*"),
        };
        arguments.text(label(by, user)).text(note_text(note)?);
        AuditEntry::write(Some(audit_entry), &mut arguments);
        read_void(self.call(&self.library.void_credit, &keys, &arguments).await?, operation)
    }

    /// The first answer of the same void, if there was one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn voided_before(&self, bucket: &Bucket, operation: &Operation) -> Result<Option<VoidReply>, StoreError> {
        self.seen("void_credit", bucket, operation).await?.map(|fields| read_void(fields, operation)).transpose()
    }

    /// Credits of an owner, the newest first, from the one with the number `from` on (None: the newest).
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn credits(
        &self,
        bucket: &Bucket,
        owner: &OwnerName,
        group: &GroupId,
        from: Option<u64>,
        count: usize,
    ) -> Result<CreditPage, StoreError> {
        let keys = {
            let owner_keys = bucket.owner(owner);
            let holds = owner_keys.holds();
            [owner_keys.account, bucket.credits(owner), holds, bucket.clock()]
        };
        let mut arguments = Arguments::default();
        arguments.flag(bucket.is_sandbox()).text(group.as_str());
        arguments.text(from.map_or_else(String::new, |from| from.to_string())).int(count);
        let mut fields = self.call(&self.library.list_credits, &keys, &arguments).await?;
        fields.only_status("listed")?;
        let _now = fields.time()?;
        let next = u64::try_from(fields.int()?).map_err(|_| fields.unexpected("a negative number"))?;
        let count = fields.int()?;
        let credits = (0..count).map(|_| read_credit(&mut fields)).collect::<Result<_, _>>()?;
        Ok(CreditPage { credits, next: (next > 0).then_some(next) })
    }
}

fn read_amounts(fields: &mut Fields) -> Result<CreditAmounts, StoreError> {
    let text = fields.text()?;
    CreditAmounts::parse(&text).ok_or_else(|| fields.unexpected(&format!("a credit {text:?}")))
}

fn read_credit(fields: &mut Fields) -> Result<StoredCredit, StoreError> {
    let text = fields.text()?;
    let details = CreditDetails::parse(&text).ok_or_else(|| fields.unexpected(&format!("a credit {text:?}")))?;
    Ok(StoredCredit { details, amounts: read_amounts(fields)? })
}

fn read(mut fields: Fields, operation: &Operation) -> Result<CreditReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "replayed" => match Record::read(&mut fields)? {
            Record::Reservation(_) => CreditReply::Reused,
            Record::Answer(text) => {
                let mut kept = Fields::stored("credit", &text);
                match kept.text()?.as_str() {
                    "credited" => {
                        operation.is_replayed();
                        let _now = kept.time()?;
                        CreditReply::Before(kept.text()?)
                    }
                    "known" => {
                        operation.is_replayed();
                        read(Fields::stored("credit", &text), operation)?
                    }
                    "full" | "overflow" => read(Fields::stored("credit", &text), operation)?,
                    _ => CreditReply::Reused,
                }
            }
        },
        "reused" => CreditReply::Reused,
        "credited" => CreditReply::Credited(fields.time()?),
        "known" => CreditReply::Known(fields.time()?, Box::new(read_credit(&mut fields)?)),
        "full" => CreditReply::Full,
        "overflow" => CreditReply::Overflow,
        stale => read_stale(stale, &mut fields).map(|(stale, now)| CreditReply::Stale(stale, now))?,
    })
}

fn read_void(mut fields: Fields, operation: &Operation) -> Result<VoidReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "missing" => VoidReply::Missing,
        "reused" => VoidReply::Reused,
        "replayed" => match Record::read(&mut fields)? {
            Record::Reservation(_) => VoidReply::Reused,
            Record::Answer(text) => {
                let mut kept = Fields::stored("void_credit", &text);
                match kept.text()?.as_str() {
                    "voided" => {
                        operation.is_replayed();
                        let _now = kept.time()?;
                        VoidReply::Voided(read_amounts(&mut kept)?)
                    }
                    "exceeds" => {
                        let _now = kept.time()?;
                        VoidReply::Exceeds(read_amounts(&mut kept)?)
                    }
                    _ => VoidReply::Reused,
                }
            }
        },
        "exceeds" => {
            let _now = fields.time()?;
            VoidReply::Exceeds(read_amounts(&mut fields)?)
        }
        "voided" => {
            let _now = fields.time()?;
            VoidReply::Voided(read_amounts(&mut fields)?)
        }
        other => return Err(fields.unexpected(&format!("status {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_are_read_as_they_are_written() {
        for (expires_at_ms, source, note) in [
            (None, None, None),
            (Some(1_798_761_600_000), Some("pay_123 ä:-".to_owned()), Some("two\nlines".to_owned())),
            (None, Some("-".to_owned()), None),
        ] {
            let created_by = KeyId::parse("key_1").unwrap();
            let (id, created_at_ms) = ("crd_1".to_owned(), 7);
            let details = CreditDetails { id, created_at_ms, created_by, expires_at_ms, source, note };
            assert_eq!(CreditDetails::parse(&details.to_text()), Some(details));
        }
        let amounts = CreditAmounts::parse("b2:50:41:1:5:2:1:lapsed").unwrap();
        assert_eq!((amounts.amount.steps(), amounts.remaining.steps(), amounts.held.steps()), (50, 41, 1));
        assert_eq!((amounts.used.steps(), amounts.lapsed.steps(), amounts.voided.steps()), (5, 2, 1));
        assert_eq!(amounts.state, CreditState::Lapsed);
        for damaged in ["", "b2", "b2:50:41:1:5:2:1", "b2:50:41:1:5:2:x:*"] {
            assert_eq!(CreditAmounts::parse(damaged), None, "{damaged}");
        }
    }
}

//! `lua/commit.lua`, `lua/release.lua` and `lua/refund.lua`: calls that settle a reservation.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use super::account::read_limit;
use super::admission::read_crossed;
use super::operation::Operation;
use super::record::{Record, StoredOverflow};
use super::request_snapshot::{parse_request, snapshot_text};
use crate::domain::access::audit::AuditEntry;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::counter::{CounterState, CrossedThreshold};
use crate::domain::metering::reservation::{RequestSnapshot, ReservationId, Total};
use crate::domain::reporting::ledger::{EntryDetails, Outcome};
use crate::domain::time::window::{TimeMs, Window};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::GroupId;
use crate::store::client::library::WhenFull;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::parts::{Parsed, Parts, cut};
use crate::store::reply::Fields;
use crate::store::reporting::ledger::details_text;
use crate::store::{Arguments, Store};

/// A reservation to settle.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub bucket: &'a Bucket,
    pub id: &'a ReservationId,
    pub operation: &'a Operation,
    /// A webhook subscribes to expired reservations.
    pub reports_expiry: bool,
}

/// Actual figures, computed from the reservation's state after `changes` changes.
#[derive(Clone, Debug)]
pub struct Measured {
    pub changes: u64,
    /// The new request snapshot.
    pub snapshot: Option<RequestSnapshot>,
    pub totals: Vec<Total>,
}

/// A counter in which a reservation was settled.
#[derive(Clone, Debug)]
pub struct Account {
    pub group: GroupId,
    pub owner: Arc<OwnerName>,
    pub state: CounterState,
    /// None if the window is so old that it was dropped.
    pub window: Option<Window>,
}

/// The state of a reservation after a call.
#[derive(Clone, Debug)]
pub struct Settled {
    /// `held`, `committed` or `released`.
    pub status: String,
    pub late: bool,
    pub replayed: bool,
    pub snapshot: RequestSnapshot,
    /// Version of the user's state, if the first account is the user's.
    pub user_version: String,
    pub crossed: Vec<CrossedThreshold>,
    pub accounts: Vec<Account>,
    /// What was charged to balances because it did not fit into a limit group.
    pub overflow: Vec<StoredOverflow>,
}

/// The result, or why nothing was settled.
#[derive(Debug)]
pub enum SettleReply {
    Reused,
    Missing(TimeMs),
    Expired(TimeMs),
    NotPending { now_ms: TimeMs, status: String },
    StaleReservation,
    Overflow,
    Settled(TimeMs, Box<Settled>),
}

impl Target<'_> {
    /// In the order of `settle.call` in `lua/lib/settle.lua`.
    pub(in crate::store) fn keys(&self) -> Vec<String> {
        let mut keys = vec![self.bucket.operation(&self.id.name)];
        if self.operation.is_kept() {
            keys.push(self.bucket.operation(&self.operation.name));
        }
        keys
    }

    /// The arguments that commit, release, refund and outcome have in common.
    pub(in crate::store) fn arguments(&self, store: &Store, details: &EntryDetails) -> Result<Arguments, StoreError> {
        let (sandbox, reports) = (self.bucket.is_sandbox(), self.reports_expiry);
        let mut arguments = Arguments::default();
        arguments.numbers(&[sandbox.into(), reports.into(), store.ledger_entries]).signed(self.id.created_at_ms);
        arguments.text(details_text(details)?).text(self.operation.fingerprint());
        Ok(arguments)
    }
}

impl Store {
    /// Without figures, charges everything that is still held.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn commit(
        &self,
        target: Target<'_>,
        is_final: bool,
        reject_late: bool,
        measured: Option<&Measured>,
        details: &EntryDetails,
    ) -> Result<SettleReply, StoreError> {
        let mut arguments = target.arguments(self, details)?;
        if !is_final || reject_late || details.outcome.is_some() || measured.is_some() {
            arguments.flag(is_final).flag(reject_late).text(details.outcome.map_or("-", Outcome::as_str));
            match measured {
                Some(measured) => {
                    arguments.int(measured.changes);
                    write_memo(measured.snapshot.as_ref(), &mut arguments)?;
                    for text in figures_texts(&measured.totals) {
                        arguments.text(text);
                    }
                }
                None => {
                    arguments.text("-").text("");
                }
            }
        }
        // Each reservation is committed once, however many draws it has.
        let when_full = if is_final { WhenFull::Done } else { WhenFull::Headroom };
        read(target.bucket, self.call_when_full(&self.library.commit, when_full, &target.keys(), &arguments).await?)
    }

    /// `audit_entry`: for a release by an operator.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn release(
        &self,
        target: Target<'_>,
        details: &EntryDetails,
        audit_entry: Option<&AuditEntry>,
    ) -> Result<SettleReply, StoreError> {
        let mut arguments = target.arguments(self, details)?;
        if audit_entry.is_some() {
            AuditEntry::write(audit_entry, &mut arguments);
        }
        read(target.bucket, self.call(&self.library.release, &target.keys(), &arguments).await?)
    }

    /// Refunds `amounts`, and the groups of `whole` once everything else is refunded.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn refund(
        &self,
        target: Target<'_>,
        amounts: &[(GroupId, Amount)],
        whole: &[GroupId],
        details: &EntryDetails,
    ) -> Result<SettleReply, StoreError> {
        let mut arguments = target.arguments(self, details)?;
        arguments.int(amounts.len());
        for (group, amount) in amounts {
            arguments.text(group.as_str()).int(amount.steps());
        }
        arguments.int(whole.len());
        for group in whole {
            arguments.text(group.as_str());
        }
        read(target.bucket, self.call(&self.library.refund, &target.keys(), &arguments).await?)
    }
}

pub(in crate::store) fn read(bucket: &Bucket, mut fields: Fields) -> Result<SettleReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "replayed" => match Record::read(&mut fields)? {
            Record::Reservation(_) => SettleReply::Reused,
            Record::Answer(text) => match read(bucket, Fields::stored("settle", &text))? {
                SettleReply::Settled(now, mut settled) => {
                    settled.replayed = true;
                    SettleReply::Settled(now, settled)
                }
                other => other,
            },
        },
        "reused" => SettleReply::Reused,
        "missing" => SettleReply::Missing(fields.time()?),
        "expired" => SettleReply::Expired(fields.time()?),
        "not_pending" => SettleReply::NotPending { now_ms: fields.time()?, status: fields.text()? },
        "stale_reservation" => SettleReply::StaleReservation,
        "overflow" => SettleReply::Overflow,
        "settled" => {
            let now = fields.time()?;
            let status = fields.text()?;
            let (late, replayed) = (fields.flag()?, fields.flag()?);
            let snapshot = read_snapshot(&mut fields)?;
            let user_version = fields.text()?;
            let crossed = read_crossed(&mut fields)?;
            let text = fields.text()?;
            let accounts = read_accounts(bucket, &text).ok_or_else(|| fields.unexpected("entries"))?;
            let overflow = read_overflow(&mut fields)?;
            SettleReply::Settled(
                now,
                Box::new(Settled { status, late, replayed, snapshot, user_version, crossed, accounts, overflow }),
            )
        }
        other => return Err(fields.unexpected(&format!("status {other}"))),
    })
}

/// Per owner `<owner>[ <group> <used>+<held>[+<granted>+<blocked>[+<rolled>]]/<quota|->[+<rolled>] <kind>/<start>/<end>#<sequence
/// number>]…`, separated by ` ; `. No group is called `;`. The window says what was rolled over into it, also a closed one.
fn read_accounts(bucket: &Bucket, text: &str) -> Option<Vec<Account>> {
    let (mut accounts, mut words) = (Vec::new(), Parts::of(text, b' ').filter(|word| !word.is_empty()));
    // Groups of a plan mostly have the same window.
    let mut windows = Parsed::default();
    while let Some(owner) = words.next() {
        let owner = Arc::new(bucket.owner_word(owner)?);
        while let Some(group) = words.next().filter(|word| *word != ";") {
            let (state, limit) = cut(words.next()?, b'/')?;
            let (window, _) = cut(words.next()?, b'#')?;
            let window = windows.get(window, |window| Window::parse(window));
            let (_quota, rolled) = read_limit(limit)?;
            let (group, state) = (GroupId::parse(group).ok()?, CounterState { rolled, ..CounterState::parse(state)? });
            accounts.push(Account { group, owner: Arc::clone(&owner), state, window });
        }
    }
    Some(accounts)
}

/// `<limit group>><balance>:<amount>,…`; the straight path does not return it.
fn read_overflow(fields: &mut Fields) -> Result<Vec<StoredOverflow>, StoreError> {
    let mut overflow = Vec::new();
    let text = if fields.len() == 0 { String::new() } else { fields.text()? };
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let added = item.split_once(':').and_then(|(id, amount)| StoredOverflow::add(&mut overflow, id, amount));
        added.ok_or_else(|| fields.unexpected("an overflow"))?;
    }
    Ok(overflow)
}

/// Parses the request in a reply: `<event> <key> <user>`, then the snapshot.
pub(in crate::store) fn read_snapshot(fields: &mut Fields) -> Result<RequestSnapshot, StoreError> {
    let (call_label, snapshot) = (fields.text()?, fields.text()?);
    parse_request(&call_label, &snapshot).map(|(_, snapshot)| snapshot).ok_or_else(|| fields.unexpected("a request"))
}

/// The amounts to charge, one text per owner: `<owner> <group>:<total>,…`, with `<group>><balance>` for a group that
/// overflows.
fn figures_texts(totals: &[Total]) -> Vec<String> {
    let mut texts: Vec<(&OwnerName, String)> = Vec::new();
    for total in totals {
        let amount = total.amount.steps();
        let group = match &total.overflow {
            None => Cow::Borrowed(total.group.as_str()),
            Some(balance) => Cow::Owned(format!("{}>{balance}", total.group)),
        };
        // Writing to a String cannot fail.
        let _ = match texts.iter_mut().find(|(owner, _)| *owner == &total.owner) {
            Some((_, text)) => write!(text, ",{group}:{amount}"),
            None => {
                texts.push((&total.owner, format!("{} {group}:{amount}", Bucket::word_of(&total.owner))));
                Ok(())
            }
        };
    }
    texts.into_iter().map(|(_, text)| text).collect()
}

fn write_memo(snapshot: Option<&RequestSnapshot>, arguments: &mut Arguments) -> Result<(), StoreError> {
    arguments.text(snapshot.map(snapshot_text).transpose()?.unwrap_or_default());
    Ok(())
}

//! Parses the records of operations that scripts write (`lua/lib/operation.lua`, `lua/lib/record.lua`).

use std::borrow::Cow;

use super::operation::Operation;
use super::request_snapshot::{parse_request, request_text};
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::reservation::{OperationName, RequestSnapshot};
use crate::domain::reporting::ledger::Outcome;
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{GroupId, KeyId, UserId};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::keys::{Bucket, decode};
use crate::store::reply::{Fields, optional_text};

/// A reservation as its record describes it.
#[derive(Clone, Debug)]
pub struct StoredReservation {
    pub created_at_ms: TimeMs,
    pub expires_at_ms: TimeMs,
    /// The number of draws and amount extensions so far.
    pub changes: u64,
    pub snapshot: RequestSnapshot,
    /// The groups in which it holds or was charged.
    pub groups: Vec<GroupId>,
    /// What it holds in balances because it did not fit into a limit group, or was charged there. From a cache, without
    /// amounts.
    pub overflow: Vec<StoredOverflow>,
}

/// An amount in a balance that did not fit into a limit group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOverflow {
    pub from: GroupId,
    pub balance: GroupId,
    pub amount: Amount,
}

impl StoredOverflow {
    /// Adds an amount; `id` is `<limit group>><balance>`. None if it is damaged.
    pub(in crate::store) fn add(list: &mut Vec<Self>, id: &str, amount: &str) -> Option<()> {
        let (from, balance) = id.split_once('>')?;
        let (from, balance) = (GroupId::parse(from).ok()?, GroupId::parse(balance).ok()?);
        let amount = Amount::from_steps(amount.parse().ok()?).ok()?;
        match list.iter_mut().find(|known| known.from == from && known.balance == balance) {
            Some(known) => known.amount = known.amount.saturating_add(amount),
            None => list.push(Self { from, balance, amount }),
        }
        Some(())
    }
}

/// A compact form of a reservation with one allocation, since a node caches many.
#[derive(Clone, Debug)]
pub struct PackedReservation {
    pub created_at_ms: TimeMs,
    expires_at_ms: TimeMs,
    changes: u64,
    /// Four lines: `<event> <key> <user>`, the request snapshot, the IDs of groups, and `<limit group>><balance>` for
    /// what overflows.
    text: Box<str>,
}

impl PackedReservation {
    /// A new reservation, with `call_label` and a snapshot as [`super::request_snapshot::snapshot_text`] wrote it, and
    /// the groups that overflow with their balances.
    pub fn fresh<'a>(
        created_at_ms: TimeMs,
        expires_at_ms: TimeMs,
        request: [&str; 2],
        groups: &[GroupId],
        overflow: impl Iterator<Item = (&'a GroupId, &'a GroupId)>,
    ) -> Self {
        let [call_label, snapshot] = request;
        let of_groups: usize = groups.iter().map(|group| group.as_str().len() + 1).sum();
        let mut text = String::with_capacity(call_label.len() + snapshot.len() + of_groups + 3);
        for part in [call_label, "\n", snapshot, "\n"] {
            text.push_str(part);
        }
        for group in groups {
            text.push_str(group.as_str());
            text.push(' ');
        }
        text.push('\n');
        for (from, balance) in overflow {
            text.extend([from.as_str(), ">", balance.as_str(), " "]);
        }
        Self { created_at_ms, expires_at_ms, changes: 0, text: text.into() }
    }

    /// # Errors
    /// [`StoreError::Unexpected`] if the snapshot cannot be serialized; never in practice.
    pub fn of(reservation: &StoredReservation) -> Result<Self, StoreError> {
        let StoredReservation { created_at_ms, expires_at_ms, changes, snapshot, groups, overflow } = reservation;
        let (call_label, snapshot) = request_text(snapshot)?;
        let overflow = overflow.iter().map(|overflow| (&overflow.from, &overflow.balance));
        let packed = Self::fresh(*created_at_ms, *expires_at_ms, [&call_label, &snapshot], groups, overflow);
        Ok(Self { changes: *changes, ..packed })
    }

    /// The user, without parsing the rest.
    pub fn user(&self) -> Option<UserId> {
        let call_label = self.text.lines().next()?;
        call_label.split(' ').nth(2).and_then(decode).and_then(|user| UserId::parse(&user).ok())
    }

    /// None if it is damaged, which cannot happen within one process.
    pub fn unpack(&self) -> Option<StoredReservation> {
        let Self { created_at_ms, expires_at_ms, changes, text } = self;
        let mut lines = text.split('\n');
        let (call_label, snapshot) = (lines.next()?, lines.next()?);
        let groups = lines.next()?.split_whitespace().map(GroupId::parse).collect::<Result<_, _>>().ok()?;
        let mut overflow = Vec::new();
        for id in lines.next()?.split_whitespace() {
            StoredOverflow::add(&mut overflow, id, "0")?;
        }
        Some(StoredReservation {
            created_at_ms: *created_at_ms,
            expires_at_ms: *expires_at_ms,
            changes: *changes,
            snapshot: parse_request(call_label, snapshot)?.1,
            groups,
            overflow,
        })
    }
}

/// A reservation with its status and its entries.
#[derive(Clone, Debug)]
pub struct ReservationState {
    pub stored: StoredReservation,
    /// `held`, `committed` or `released`; an expired one is still `held` here.
    pub status: String,
    /// Something was charged after the reservation had expired.
    pub late: bool,
    pub outcome: Option<Outcome>,
    /// The key that reserved.
    pub key: Option<KeyId>,
    pub entries: Vec<ReservedEntry>,
}

/// The amounts of a reservation in one counter's window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedEntry {
    pub owner: OwnerName,
    pub group: GroupId,
    /// The limit group whose quota was exceeded, if the group is the balance that took over.
    pub from: Option<GroupId>,
    /// Of a balance, `b` and the number of the credit.
    pub window_seq: String,
    pub held: Amount,
    pub charged: Amount,
}

/// What a repeated operation finds.
#[derive(Debug)]
pub enum Record {
    Reservation(Box<StoredReservation>),
    /// The first answer, parsed like a new one.
    Answer(String),
}

impl Record {
    /// # Errors
    /// [`StoreError::Unexpected`] for a text that scripts never write.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let damaged = || StoreError::Unexpected("a damaged record".to_owned());
        match text.strip_prefix("answer\n") {
            Some(rest) => rest.split_once('\n').map(|(_, answer)| Self::Answer(answer.to_owned())).ok_or_else(damaged),
            None => StoredReservation::parse(text).map(|found| Self::Reservation(Box::new(found))).ok_or_else(damaged),
        }
    }

    /// Parses the record in a `replayed` reply.
    pub(in crate::store) fn read(fields: &mut Fields) -> Result<Self, StoreError> {
        Self::parse(&fields.text()?)
    }
}

/// The fingerprint in an operation's record.
fn fingerprint_of(record: &str) -> Option<&str> {
    match record.strip_prefix("answer\n") {
        Some(rest) => rest.split('\n').next(),
        None => {
            let mut words = record.lines().next()?.split(' ');
            Some(words.find_map(|word| word.strip_prefix("request=")).unwrap_or("-"))
        }
    }
}

/// `<event> <key> <user>`, from the label in a record, which leaves out a user who is the first owner (`lua/lib/hold.lua`).
fn whole_label<'a>(label: &'a str, first_owner: Option<&&str>) -> Option<Cow<'a, str>> {
    if label.split(' ').count() > 2 {
        return Some(Cow::Borrowed(label));
    }
    let (user, _) = first_owner?.strip_prefix("user:")?.split_once(' ')?;
    Some(Cow::Owned(format!("{label} {user}")))
}

impl StoredReservation {
    /// Whether it holds in the group or was charged there.
    pub fn has(&self, group: &GroupId) -> bool {
        self.groups.contains(group) || self.overflow.iter().any(|overflow| overflow.balance == *group)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut status = lines.next()?.split(' ').skip(1);
        let (created, life, _program) = (status.next()?, status.next()?, status.next()?);
        let changes = status.find_map(|word| word.strip_prefix("changes=")).unwrap_or("0");
        let created_at_ms: TimeMs = created.parse().ok()?;
        let (label, snapshot) = (lines.next()?, lines.next()?);
        let owners: Vec<&str> = lines.collect();
        let (_, snapshot) = parse_request(&whole_label(label, owners.first())?, snapshot)?;
        let (mut groups, mut overflow): (Vec<GroupId>, Vec<StoredOverflow>) = (Vec::new(), Vec::new());
        for owner in owners {
            // What is still held, otherwise what was charged.
            for (place, list) in owner.split(' ').skip(1).filter(|list| *list != "-").enumerate() {
                for entry in list.split(',') {
                    let mut parts = entry.split(':');
                    let (id, _, amount) = (parts.next()?, parts.next()?, parts.next()?);
                    if id.contains('>') {
                        StoredOverflow::add(&mut overflow, id, if place == 0 { amount } else { "0" })?;
                        continue;
                    }
                    let group = GroupId::parse(id).ok()?;
                    if !groups.contains(&group) {
                        groups.push(group);
                    }
                }
            }
        }
        Some(Self {
            created_at_ms,
            expires_at_ms: created_at_ms.checked_add(life.parse().ok()?)?,
            changes: changes.parse().ok()?,
            snapshot,
            groups,
            overflow,
        })
    }
}

impl ReservationState {
    fn parse(bucket: &Bucket, text: &str) -> Option<Self> {
        let stored = StoredReservation::parse(text)?;
        let mut lines = text.lines();
        let mut words = lines.next()?.split(' ');
        // The straight path changes only the first word (`lua/lib/record.lua`).
        let (status, charged_as_held) = match words.next()? {
            "used" => ("committed", true),
            "free" => ("released", false),
            status => (status, false),
        };
        let flags: Vec<&str> = words.skip(3).collect();
        let key = lines.next()?.split(' ').nth(1).and_then(decode).and_then(|key| KeyId::parse(&key).ok());
        let mut entries: Vec<ReservedEntry> = Vec::new();
        for line in lines.skip(1) {
            let words: Vec<&str> = line.split(' ').collect();
            let (owner, held, charged) = match *words.as_slice() {
                [owner, held] => (owner, held, "-"),
                [owner, held, charged] => (owner, held, charged),
                _ => return None,
            };
            let owner = bucket.owner_word(owner)?;
            for (list, is_held) in [(held, !charged_as_held), (charged, false)] {
                for entry in list.split(',').filter(|entry| *entry != "-") {
                    add_entry(&mut entries, &owner, entry, is_held)?;
                }
            }
        }
        if status == "released" {
            entries.iter_mut().for_each(|entry| entry.held = Amount::ZERO);
        }
        let outcome = [Outcome::Accepted, Outcome::Rejected].into_iter().find(|it| flags.contains(&it.as_str()));
        let status = status.to_owned();
        Some(Self { stored, status, late: flags.contains(&"late"), outcome, key, entries })
    }
}

/// `<group>:<window_seq>:<amount>`, or `<limit group>><balance>:b<number>:<amount>`
fn add_entry(entries: &mut Vec<ReservedEntry>, owner: &OwnerName, text: &str, is_held: bool) -> Option<()> {
    let mut parts = text.split(':');
    let (id, window_seq) = (parts.next()?, parts.next()?);
    let (from, group) = id.split_once('>').map_or((None, id), |(from, balance)| (Some(from), balance));
    let (from, group) = (from.map(GroupId::parse).transpose().ok()?, GroupId::parse(group).ok()?);
    let amount = Amount::from_steps(parts.next()?.parse().ok()?).ok()?;
    let same = |known: &&mut ReservedEntry| {
        known.owner == *owner && known.group == group && known.from == from && known.window_seq == window_seq
    };
    let (held, charged) = if is_held { (amount, Amount::ZERO) } else { (Amount::ZERO, amount) };
    match entries.iter_mut().find(same) {
        Some(known) => {
            known.held = known.held.saturating_add(held);
            known.charged = known.charged.saturating_add(charged);
        }
        None => {
            entries.push(ReservedEntry {
                owner: owner.clone(),
                group,
                from,
                window_seq: window_seq.to_owned(),
                held,
                charged,
            });
        }
    }
    Some(())
}

impl Store {
    /// The state of a reservation, if its record still exists.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn reservation_state(
        &self,
        bucket: &Bucket,
        name: &OperationName,
    ) -> Result<Option<ReservationState>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(bucket.operation(name));
        let Some(text) = optional_text(self.command(&command).await?)? else { return Ok(None) };
        if text.starts_with("answer\n") {
            return Ok(None);
        }
        ReservationState::parse(bucket, &text)
            .map(Some)
            .ok_or_else(|| StoreError::Unexpected("a damaged record".to_owned()))
    }

    /// The reservation with that name, if its record still exists.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn reservation(
        &self,
        bucket: &Bucket,
        name: &OperationName,
    ) -> Result<Option<StoredReservation>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(bucket.operation(name));
        match self.command(&command).await? {
            redis::Value::BulkString(bytes) => {
                let text =
                    String::from_utf8(bytes).map_err(|_| StoreError::Unexpected("a record is not UTF-8".to_owned()))?;
                match Record::parse(&text)? {
                    Record::Reservation(found) => Ok(Some(*found)),
                    Record::Answer(_) => Ok(None),
                }
            }
            redis::Value::Nil => Ok(None),
            other => Err(StoreError::Unexpected(format!("{other:?} instead of a record"))),
        }
    }
}

impl Store {
    /// What a script would return to a repetition of this operation before any other check; None if the operation is
    /// new.
    pub(in crate::store) async fn seen(
        &self,
        script: &'static str,
        bucket: &Bucket,
        operation: &Operation,
    ) -> Result<Option<Fields>, StoreError> {
        if !operation.may_come_again() {
            return Ok(None);
        }
        let mut command = redis::cmd("GET");
        command.arg(bucket.operation(&operation.name));
        let Some(record) = optional_text(self.command(&command).await?)? else { return Ok(None) };
        let same = fingerprint_of(&record) == Some(operation.fingerprint());
        let words = if same { vec!["replayed", record.as_str()] } else { vec!["reused"] };
        let words = words.into_iter().map(|word| redis::Value::BulkString(word.into())).collect();
        Fields::new(script, redis::Value::Array(words)).map(Some)
    }

    /// A stored answer with its fingerprint.
    pub(in crate::store) async fn kept_answer(&self, key: &str) -> Result<Option<(String, String)>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(key);
        let text = optional_text(self.command(&command).await?)?;
        Ok(text
            .as_deref()
            .and_then(|text| text.strip_prefix("answer\n")?.split_once('\n'))
            .map(|(one, two)| (one.to_owned(), two.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::values::ids::{AppId, Mode};
    use proptest::prelude::*;

    const WHOLE: &str = "held 1795228329143 60000 AbCdEfGh-_12 request=f1\nimage.a key_1\np 7\nuser:u g:1:5,h:c1:1";

    #[test]
    fn a_cached_reservation_names_its_user() {
        let packed = PackedReservation::fresh(1, 2, ["image.a key_1 u%20v", "p 7 u=w"], &[], std::iter::empty());
        assert_eq!(packed.user().map(|user| user.to_string()).as_deref(), Some("u v"));
        let again = PackedReservation::of(&packed.unpack().unwrap()).unwrap();
        assert_eq!(again.user(), packed.user());
    }

    #[test]
    fn the_user_of_a_record_is_its_first_owner_or_in_the_label() {
        let user_of = |label: &str, owner: &str| {
            let record = format!("held 1 60000 -\n{label}\np 7\n{owner} g:1:5");
            StoredReservation::parse(&record).map(|found| found.snapshot.user.to_string())
        };
        assert_eq!(user_of("image.a key_1", "user:u%3A1").as_deref(), Some("u:1"));
        assert_eq!(user_of("image.a key_1 v", "app:acme").as_deref(), Some("v"));
        assert_eq!(user_of("image.a key_1 v", "user:u").as_deref(), Some("v"), "as layout 6 wrote it");
        assert_eq!(user_of("image.a key_1", "app:acme"), None);
    }

    #[test]
    fn a_record_is_read_as_scripts_write_it() {
        let changes = |record: &str| StoredReservation::parse(record).map(|found| found.changes);
        assert_eq!((changes(WHOLE), fingerprint_of(WHOLE)), (Some(0), Some("f1")));
        let drawn = WHOLE.replacen("AbCdEfGh-_12 request=f1", "- changes=2", 1) + " g:1:3";
        assert_eq!((changes(&drawn), fingerprint_of(&drawn)), (Some(2), Some("-")));
        let bucket = Bucket::whole(&AppId::parse("a").unwrap(), &Mode::Live);
        let amounts = |record: &str| {
            let state = ReservationState::parse(&bucket, record).unwrap();
            let entries = state.entries.iter().map(|entry| (entry.held.steps(), entry.charged.steps()));
            let entries: Vec<(u64, u64)> = entries.collect();
            (state.status, state.late, state.outcome, entries)
        };
        let entries = |amounts: &[(u64, u64)]| amounts.to_vec();
        assert_eq!(amounts(WHOLE), ("held".to_owned(), false, None, entries(&[(5, 0), (1, 0)])));
        assert_eq!(amounts(&drawn), ("held".to_owned(), false, None, entries(&[(5, 3), (1, 0)])));
        let used = WHOLE.replacen("held", "used", 1);
        assert_eq!(amounts(&used), ("committed".to_owned(), false, None, entries(&[(0, 5), (0, 1)])));
        let free = WHOLE.replacen("held", "free", 1);
        assert_eq!(amounts(&free), ("released".to_owned(), false, None, entries(&[(0, 0), (0, 0)])));
        let late = WHOLE.replacen("AbCdEfGh-_12", "-", 1).replacen("f1", "f1 late accepted", 1);
        assert_eq!(amounts(&late), ("held".to_owned(), true, Some(Outcome::Accepted), entries(&[(5, 0), (1, 0)])));
        // The name of a program is none of these words.
        let named = WHOLE.replacen("AbCdEfGh-_12", "late", 1);
        assert!(!amounts(&named).1);
    }

    proptest! {
        #[test]
        fn a_damaged_record_is_an_error_without_a_panic(
            at in 0..WHOLE.len(), put in "[\\n \\-:,{}0-9a-z\"]{0,6}", text in any::<String>()
        ) {
            for record in [format!("{}{put}{}", &WHOLE[..at], &WHOLE[at..]), WHOLE[..at].to_owned(), text] {
                if let Ok(Record::Reservation(found)) = Record::parse(&record) {
                    prop_assert!(found.groups.iter().all(|group| !group.as_str().is_empty()));
                }
            }
        }
    }
}

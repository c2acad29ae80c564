//! `lua/survey.lua`: reads counters and the newest ledger entries in the same moment.

use std::collections::HashMap;

use super::ledger_entry::read_charges;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::reporting::ledger::Charge;
use crate::domain::reporting::proof::{StoredCounter, StoredCounters};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::GroupId;
use crate::store::accounts::credits::CreditAmounts;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::metering::account::CounterText;
use crate::store::reply::{Fields, optional_text};
use crate::store::{Arguments, Store};

/// The maximum number of an owner's live holds that are added up in one step, which takes about 5 ms.
const MOST_HOLDS: usize = 5_000;
/// Ledger entries per survey.
const MOST_ENTRIES: usize = 500;

/// The state at one moment.
#[derive(Debug)]
pub struct Survey {
    /// Entries after the known ones, oldest first; without charges if these cannot be read.
    pub entries: Vec<(EntryId, Option<Vec<Charge>>)>,
    /// There are more entries, so the counters may be ahead of them.
    pub more: bool,
    /// In the order of the request.
    pub stored: Vec<StoredCounters>,
}

impl Store {
    /// Reads some owners, and the ledger entries since `after`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn survey(&self, bucket: &Bucket, after: EntryId, owners: &[OwnerName]) -> Result<Survey, StoreError> {
        let mut keys = vec![bucket.ledger()];
        for owner in owners {
            let credits = bucket.credits(owner);
            let owner = bucket.owner(owner);
            let (holds, past) = (owner.holds(), owner.past());
            keys.extend([owner.account, holds, past, credits]);
        }
        let mut arguments = Arguments::default();
        arguments.text(after.text()).int(MOST_ENTRIES).int(MOST_HOLDS);
        read(bucket, self.call(&self.library.survey, &keys, &arguments).await?, owners.len())
    }

    /// Stores the result of a complete run.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn keep_verified(&self, bucket: &Bucket, text: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("SET");
        command.arg(bucket.verified()).arg(text);
        self.command(&command).await.map(|_| ())
    }

    /// # Errors
    /// [`StoreError`]
    pub async fn last_verified(&self, bucket: &Bucket) -> Result<Option<String>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(bucket.verified());
        optional_text(self.command(&command).await?)
    }

    /// Whether this owner never expires.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn stays(&self, bucket: &Bucket, owner: &OwnerName) -> Result<bool, StoreError> {
        let score = async |key: String, name: &str| {
            let mut command = redis::cmd("ZSCORE");
            command.arg(key).arg(name);
            let score = self.command(&command).await?;
            redis::from_redis_value::<Option<f64>>(score).map_err(|error| StoreError::Unexpected(error.to_string()))
        };
        match (bucket.place_of(owner), owner.user()) {
            (Some(index), _) => Ok(score(index.key, &index.name).await?.is_some_and(f64::is_infinite)),
            (None, Some(user)) => {
                Ok(score(bucket.users(), user).await?.is_some() && score(bucket.leaving(), user).await?.is_none())
            }
            (None, None) => Ok(false),
        }
    }
}

/// `owners` is the number of requested owners.
pub(in crate::store) fn read(bucket: &Bucket, mut fields: Fields, owners: usize) -> Result<Survey, StoreError> {
    fields.only_status("surveyed")?;
    let more = fields.flag()?;
    let mut entries = Vec::new();
    for _ in 0..fields.int()? {
        let (id, charges) = (fields.text()?, fields.lossy_text()?);
        let id = EntryId::parse(&id).ok_or_else(|| fields.unexpected("an id"))?;
        entries.push((id, read_charges(bucket, &charges)));
    }
    let stored = (0..owners).map(|_| read_counters(&mut fields)).collect::<Result<_, _>>()?;
    Ok(Survey { entries, more, stored })
}

fn read_hash(fields: &mut Fields) -> Result<HashMap<String, String>, StoreError> {
    let count = fields.int()?;
    (0..count / 2).map(|_| Ok((fields.text()?, fields.text()?))).collect()
}

fn read_counters(fields: &mut Fields) -> Result<StoredCounters, StoreError> {
    let (counters, past, credits) = (read_hash(fields)?, read_hash(fields)?, read_hash(fields)?);
    let holds = read_holds(&fields.text()?).ok_or_else(|| fields.unexpected("holds"))?;
    let mut stored_counters = StoredCounters::default();
    // Apart from counters, an account has its own fields and rare fields of groups, all with a dot in their names.
    for (name, value) in counters.iter().filter(|(name, _)| !name.contains('.')) {
        let mut read = || {
            let CounterText { used, held, quota, rolled, seq, .. } = CounterText::parse(value)?;
            let group = GroupId::parse(name).ok()?;
            if seq.starts_with('b') {
                let list = counters.get(&format!("{name}.credits")).map_or("0 0 - -;", String::as_str);
                let balance = Balance { group, used, held, list, ended: &credits };
                return balance.read(holds.as_ref(), &mut stored_counters);
            }
            let rolled = quota.filter(|quota| *quota > Amount::ZERO).map(|_| rolled);
            let (window_seq, holds) = (seq.to_owned(), holds.as_ref().map(|holds| held_in(holds, &group, seq)));
            stored_counters.counters.push(StoredCounter { window_seq, used, held, rolled, holds, group });
            Some(())
        };
        read().ok_or_else(|| fields.unexpected(name))?;
    }
    stored_counters.counters.sort_by(|one, other| one.group.cmp(&other.group));
    for (name, value) in &past {
        let mut read = || {
            let (group, window_seq) = name.rsplit_once('.')?;
            let group = GroupId::parse(group).ok()?;
            if window_seq == "first" {
                stored_counters.oldest.insert(group, value.parse().ok()?);
            } else {
                let used = steps(value.split(' ').next()?)?;
                stored_counters.closed.insert((group, window_seq.to_owned()), used);
            }
            Some(())
        };
        read().ok_or_else(|| fields.unexpected(name))?;
    }
    Ok(stored_counters)
}

/// The balance of an owner in one group.
struct Balance<'a> {
    group: GroupId,
    used: Amount,
    held: Amount,
    /// The credits of which something remains or is held.
    list: &'a str,
    /// The owner's hash with those that have ended, among other fields.
    ended: &'a HashMap<String, String>,
}

impl Balance<'_> {
    /// Adds its credits; see `lua/lib/credits.lua`.
    fn read(self, holds: Option<&Holds>, stored: &mut StoredCounters) -> Option<()> {
        let (head, live) = self.list.split_once(';')?;
        let mut head = head.split(' ');
        let (remaining, uncovered) = (steps(head.next()?)?, steps(head.next()?)?);
        let group = self.group;
        let (mut used, mut held, mut left) = (uncovered, Amount::ZERO, Amount::ZERO);
        stored.closed.insert((group.clone(), "b0".to_owned()), uncovered);
        for text in live.split(',').filter(|text| !text.is_empty()) {
            let (name, amounts) = (text.split(':').next()?.to_owned(), CreditAmounts::parse(text)?);
            used = used.saturating_add(amounts.used);
            held = held.saturating_add(amounts.held);
            left = left.saturating_add(amounts.remaining);
            let holds = holds.map(|holds| held_in(holds, &group, &name));
            let (used, held, rolled) = (amounts.used, amounts.held, None);
            let credit = StoredCounter { group: group.clone(), used, held, rolled, holds, window_seq: name };
            add_credit(stored, &group, &credit.window_seq, &amounts);
            stored.counters.push(credit);
        }
        let is_own = |field: &str| {
            Some(field.strip_prefix(group.as_str())?.strip_prefix('.')?.strip_suffix(".ended")?.to_owned())
        };
        for (name, text) in self.ended.iter().filter_map(|(field, text)| Some((is_own(field)?, text))) {
            let amounts = CreditAmounts::parse(text)?;
            used = used.saturating_add(amounts.used);
            add_credit(stored, &group, &name, &amounts);
            stored.closed.insert((group.clone(), name), amounts.used);
        }
        let sums = [("b.used", self.used, used), ("b.held", self.held, held), ("b.remaining", remaining, left)];
        stored.sums.extend(sums.map(|(name, sum, parts)| ((group.clone(), name.to_owned()), sum, parts)));
        Some(())
    }
}

/// What the ledger proves of a credit, and that its amounts add up.
fn add_credit(stored: &mut StoredCounters, group: &GroupId, name: &str, amounts: &CreditAmounts) {
    let CreditAmounts { amount, remaining, held, used, lapsed, voided, .. } = *amounts;
    for (what, figure) in [("credited", amount), ("lapsed", lapsed), ("voided", voided)] {
        stored.closed.insert((group.clone(), format!("{name}.{what}")), figure);
    }
    let parts = [remaining, held, used, lapsed, voided].into_iter().fold(Amount::ZERO, Amount::saturating_add);
    stored.sums.push(((group.clone(), name.to_owned()), amount, parts));
}

fn held_in(holds: &Holds, group: &GroupId, window_seq: &str) -> Amount {
    holds.get(&(group.clone(), window_seq.to_owned())).copied().unwrap_or_default()
}

fn steps(text: &str) -> Option<Amount> {
    Amount::from_steps(text.parse().ok()?).ok()
}

type Holds = HashMap<(GroupId, String), Amount>;

/// `<group>:<window_seq>:<sum>,…`; the inner None means too many to add up.
fn read_holds(text: &str) -> Option<Option<Holds>> {
    if text == "-" {
        return Some(None);
    }
    let mut holds = Holds::new();
    for sum in text.split(',').filter(|sum| !sum.is_empty()) {
        let mut parts = sum.split(':');
        let (group, window_seq) = (GroupId::parse(parts.next()?).ok()?, parts.next()?.to_owned());
        holds.insert((group, window_seq), steps(parts.next()?)?);
    }
    Some(Some(holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_as_the_script_returns_it() {
        let text = "4\n.account\nv0 expiry=0 ttl=0\ng\n3+0/5 daily/20270131/20270201#2\n4\ng.1\n7 5 daily/20270130/20270131 \
                    0 1\ng.first\n1\n0\ng:2:4,g:1:9";
        let stored_counters = read_counters(&mut Fields::stored("survey", text)).unwrap();
        let counter = &stored_counters.counters[0];
        let amounts = (counter.used.steps(), counter.held.steps(), counter.holds.map(Amount::steps));
        assert_eq!((counter.window_seq.as_str(), amounts), ("2", (3, 0, Some(4))));
        assert_eq!(stored_counters.closed.values().map(|used| used.steps()).collect::<Vec<_>>(), [7]);
        assert_eq!(stored_counters.oldest.values().copied().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_balance_is_read_credit_by_credit() {
        let text = "4\nc\n9+5/- lifetime/19700101/99991231T235959#b3\nc.credits\n86 1 - -;b2:50:45:5:0:0:0:*,b1:50:41:0:8:1:0:*\n\
                    0\n4\nc.b3.ended\nb3:7:0:0:0:0:7:voided\nc.b1\ncrd\nc:b2:5";
        let stored = read_counters(&mut Fields::stored("survey", text)).unwrap();
        let live = stored.counters.iter().map(|credit| (credit.window_seq.as_str(), credit.held.steps(), credit.holds));
        let held = |steps| Some(Amount::from_steps(steps).unwrap());
        assert_eq!(live.collect::<Vec<_>>(), [("b2", 5, held(5)), ("b1", 0, held(0))]);
        let closed = stored.closed.iter().filter(|(_, amount)| **amount > Amount::ZERO);
        let closed: Vec<_> = closed.map(|((_, name), amount)| (name.as_str(), amount.steps())).collect();
        let credited = [("b0", 1), ("b1.credited", 50), ("b1.lapsed", 1), ("b2.credited", 50), ("b3.credited", 7)];
        assert_eq!(closed, [&credited[..], &[("b3.voided", 7)]].concat());
        assert!(stored.sums.iter().all(|(_, sum, parts)| sum == parts), "{:?}", stored.sums);
        assert_eq!(stored.sums.len(), 6);
    }

    #[test]
    fn too_many_holds_are_not_taken_for_none() {
        assert_eq!(read_holds("-"), Some(None));
        assert_eq!(read_holds(""), Some(Some(Holds::new())));
        assert_eq!(read_holds("g:1"), None);
    }

    #[test]
    fn values_of_redis_are_distinguished_from_texts() {
        let value = redis::Value::Array(vec![
            redis::Value::Int(0),
            redis::Value::Int(0),
            redis::Value::Int(0),
            redis::Value::BulkString(b"-".to_vec()),
        ]);
        let stored_counters = read_counters(&mut Fields::new("survey", value).unwrap()).unwrap();
        assert_eq!(stored_counters, StoredCounters::default());
    }
}

//! `lua/survey.lua`: reads counters and the newest ledger entries in the same moment.

use std::collections::HashMap;

use super::ledger::read_charges;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::reporting::ledger::Charge;
use crate::domain::reporting::proof::{StoredCounter, StoredCounters};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::GroupId;
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
            let owner = bucket.owner(owner);
            keys.extend([owner.account, owner.holds, owner.past]);
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
        match (bucket.owner(owner).index, owner.user()) {
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
    let (counters, past) = (read_hash(fields)?, read_hash(fields)?);
    let holds = read_holds(&fields.text()?).ok_or_else(|| fields.unexpected("holds"))?;
    let mut stored_counters = StoredCounters::default();
    // Apart from counters, an account has its own fields and rare fields of groups, all with a dot in their names.
    for (name, value) in counters.iter().filter(|(name, _)| !name.contains('.')) {
        let read = || {
            let CounterText { used, held, quota, rolled, seq, .. } = CounterText::parse(value)?;
            let rolled = quota.filter(|quota| *quota > Amount::ZERO).map(|_| rolled);
            let group = GroupId::parse(name).ok()?;
            let held_by = |holds: &Holds| holds.get(&(group.clone(), seq.to_owned())).copied().unwrap_or_default();
            let holds = holds.as_ref().map(held_by);
            Some(StoredCounter { window_seq: seq.to_owned(), used, held, rolled, holds, group })
        };
        stored_counters.counters.push(read().ok_or_else(|| fields.unexpected(name))?);
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
        let text = "4\n.account\nversion=0 expiry=0 ttl=0\ng\n3+0/5 daily/20270131/20270201#2\n4\ng.1\n7 5 daily/20270130/20270131 \
                    0 1\ng.first\n1\ng:2:4,g:1:9";
        let stored_counters = read_counters(&mut Fields::stored("survey", text)).unwrap();
        let counter = &stored_counters.counters[0];
        let amounts = (counter.used.steps(), counter.held.steps(), counter.holds.map(Amount::steps));
        assert_eq!((counter.window_seq.as_str(), amounts), ("2", (3, 0, Some(4))));
        assert_eq!(stored_counters.closed.values().map(|used| used.steps()).collect::<Vec<_>>(), [7]);
        assert_eq!(stored_counters.oldest.values().copied().collect::<Vec<_>>(), [1]);
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
            redis::Value::BulkString(b"-".to_vec()),
        ]);
        let stored_counters = read_counters(&mut Fields::new("survey", value).unwrap()).unwrap();
        assert_eq!(stored_counters, StoredCounters::default());
    }
}

//! `lua/near.lua`: counters near or at their limits.

use std::collections::HashSet;

use crate::domain::configuration::scope::OwnerName;
use crate::domain::time::window::{LATEST_MS, TimeMs};
use crate::domain::values::ids::GroupId;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::{Arguments, Store};

/// The owner and group of a counter.
pub type CounterName<'a> = (&'a OwnerName, &'a GroupId);

/// The state of a counter near or at its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearCounter<'a> {
    pub name: CounterName<'a>,
    /// Used thousandths of its limit.
    pub share: u64,
    /// When its window ends; None if never.
    pub ends_at_ms: Option<TimeMs>,
}

/// A recorded counter near or at its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredNearCounter {
    pub owner: OwnerName,
    pub group: GroupId,
    /// Used thousandths of its limit when it was recorded.
    pub share: u64,
}

/// How many recorded counters are read to find out which of many counters are recorded.
const READ: usize = 200;
/// Larger shares are capped.
const MOST_SHARE: u64 = 1_000_000_000;

/// `<owner> <group>` for each.
fn members<'a>(names: impl Iterator<Item = CounterName<'a>>) -> Vec<String> {
    let mut last: Option<(&'a OwnerName, String)> = None;
    let member = |(owner, group): CounterName<'a>| {
        let (_, word) = match last.take() {
            Some(known) if known.0 == owner => last.insert(known),
            _ => last.insert((owner, Bucket::word_of(owner))),
        };
        [word.as_str(), " ", group.as_str()].concat()
    };
    names.map(member).collect()
}

fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::Unexpected(format!("near: {what}"))
}

impl Store {
    /// Records counters, keeping at most `most` at their limits and `most` near them, and drops those whose windows
    /// are over.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_near(
        &self,
        bucket: &Bucket,
        most: usize,
        counters: &[NearCounter<'_>],
    ) -> Result<(), StoreError> {
        let mut arguments = Arguments::default();
        arguments.flag(bucket.is_sandbox()).int(most).int(counters.len());
        let members = members(counters.iter().map(|counter| counter.name));
        for (member, counter) in members.iter().zip(counters) {
            arguments.text(member).int(counter.share.min(MOST_SHARE));
            arguments.int(counter.ends_at_ms.unwrap_or(LATEST_MS));
        }
        let keys = [bucket.near(), bucket.near_ends(), bucket.clock()];
        self.call(&self.library.near, &keys, &arguments).await?.only_status("noted")
    }

    /// Some of the recorded counters, as the other calls name them: all, unless there are many.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn recorded_near(&self, bucket: &Bucket) -> Result<HashSet<String>, StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(bucket.near()).arg(0).arg(READ);
        redis::from_redis_value(self.command(&command).await?).map_err(damaged)
    }

    /// Drops counters that are no longer near their limits. `recorded`: [`Self::recorded_near`].
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn drop_near(
        &self,
        bucket: &Bucket,
        recorded: &HashSet<String>,
        names: &[CounterName<'_>],
    ) -> Result<(), StoreError> {
        let mut members = members(names.iter().copied());
        if recorded.len() <= READ {
            members.retain(|member| recorded.contains(member));
        }
        let drop_from = async |key: String| {
            let mut command = redis::cmd("ZREM");
            command.arg(key).arg(&members);
            redis::from_redis_value::<u64>(self.command(&command).await?).map_err(damaged)
        };
        // Usually none of them is recorded.
        if !members.is_empty() && drop_from(bucket.near()).await? > 0 {
            drop_from(bucket.near_ends()).await?;
        }
        Ok(())
    }

    /// All recorded counters, the fullest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn near(&self, bucket: &Bucket) -> Result<Vec<StoredNearCounter>, StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(bucket.near()).arg(0).arg(-1).arg("REV").arg("WITHSCORES");
        let pairs: Vec<(String, f64)> = redis::from_redis_value(self.command(&command).await?).map_err(damaged)?;
        let read = |(name, share): (String, f64)| {
            let (owner, group) = name.split_once(' ')?;
            let (owner, group) = (bucket.owner_word(owner)?, GroupId::parse(group).ok()?);
            // The script writes whole numbers of at most ten digits.
            Some(StoredNearCounter { owner, group, share: share as u64 })
        };
        pairs.into_iter().map(|pair| read(pair).ok_or_else(|| damaged("a name"))).collect()
    }
}

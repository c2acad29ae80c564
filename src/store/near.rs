//! `lua/near.lua`: which counters are near their limits, or at them.

use super::error::StoreError;
use super::keys::Bucket;
use super::{Arguments, Store};
use crate::domain::ids::GroupId;
use crate::domain::scope::OwnerName;
use crate::domain::window::{LATEST_MS, TimeMs};

/// A counter as a fold has found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    pub owner: OwnerName,
    pub group: GroupId,
    /// Thousandths of its limit that are used; None: it is not near.
    pub share: Option<u64>,
    /// When its window ends; None: never.
    pub ends_at_ms: Option<TimeMs>,
}

/// A counter that is near its limit, or at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    pub owner: OwnerName,
    pub group: GroupId,
    /// Thousandths of its limit that were used when it was noted.
    pub share: u64,
}

/// Beyond this a share is no figure that anybody compares.
const MOST_SHARE: u64 = 1_000_000_000;

impl Store {
    /// Notes counters, of which at most `most` at their limits and `most` near them stay.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn note_near(
        &self,
        bucket: &Bucket,
        now_ms: TimeMs,
        most: usize,
        noted: &[Noted],
    ) -> Result<(), StoreError> {
        let mut arguments = Arguments::default();
        arguments.int(now_ms).int(most).int(noted.len());
        for counter in noted {
            arguments.text(format!("{} {}", bucket.word_of(&counter.owner), counter.group));
            match counter.share {
                Some(share) => arguments.int(share.min(MOST_SHARE)),
                None => arguments.int(-1),
            };
            arguments.int(counter.ends_at_ms.unwrap_or(LATEST_MS));
        }
        let keys = [bucket.near(), bucket.near_ends()];
        self.call(&self.library.near, &keys, &arguments).await?.only_status("noted")
    }

    /// All that are known, the fullest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn near(&self, bucket: &Bucket) -> Result<Vec<Near>, StoreError> {
        let damaged = |what: &str| StoreError::Unexpected(format!("near: {what}"));
        let mut command = redis::cmd("ZRANGE");
        command.arg(bucket.near()).arg(0).arg(-1).arg("REV").arg("WITHSCORES");
        let pairs: Vec<(String, f64)> =
            redis::from_redis_value(self.command(&command).await?).map_err(|error| damaged(&error.to_string()))?;
        let read = |(name, share): (String, f64)| {
            let (owner, group) = name.split_once(' ')?;
            let (owner, group) = (bucket.owner_word(owner)?, GroupId::parse(group).ok()?);
            // The script writes whole numbers of at most ten digits.
            Some(Near { owner, group, share: share as u64 })
        };
        pairs.into_iter().map(|pair| read(pair).ok_or_else(|| damaged("a name"))).collect()
    }
}

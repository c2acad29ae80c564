//! Redis time, and the test clock of a sandbox (`lua/set_clock.lua`).

use redis::Value;

use crate::domain::time::window::TimeMs;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::reply::{optional_text, text_map};
use crate::store::{Arguments, Store};

/// The result of setting the test clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetClockReply {
    Frozen,
    /// The clock is already at this later time.
    Backwards(TimeMs),
    /// The first time is in the past, but the sandbox has users.
    NotEmpty(TimeMs),
}

fn int(value: Value) -> Result<i64, StoreError> {
    redis::from_redis_value(value).map_err(|error| StoreError::Unexpected(error.to_string()))
}

impl Store {
    /// Redis time in microseconds.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn time_us(&self) -> Result<u64, StoreError> {
        let value = self.command(&redis::cmd("TIME")).await?;
        let (seconds, micros): (u64, u64) =
            redis::from_redis_value(value).map_err(|error| StoreError::Unexpected(error.to_string()))?;
        Ok(seconds * 1_000_000 + micros)
    }

    /// Freezes a bucket's clock, which only moves forward. `empty`: no bucket of the sandbox has users.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn set_clock(&self, bucket: &Bucket, time_ms: TimeMs, empty: bool) -> Result<SetClockReply, StoreError> {
        let mut arguments = Arguments::default();
        arguments.int(time_ms).flag(empty);
        let mut fields = self.call(&self.library.set_clock, &[bucket.clock(), bucket.users()], &arguments).await?;
        let status = fields.text()?;
        let time = fields.time()?;
        match status.as_str() {
            "frozen" => Ok(SetClockReply::Frozen),
            "backwards" => Ok(SetClockReply::Backwards(time)),
            "not_empty" => Ok(SetClockReply::NotEmpty(time)),
            other => Err(fields.unexpected(&format!("status {other}"))),
        }
    }

    /// The frozen time of a sandbox's bucket, if there is one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn frozen_ms(&self, bucket: &Bucket) -> Result<Option<TimeMs>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(bucket.clock());
        let text = optional_text(self.command(&command).await?)?;
        text.map(|text| text.parse().map_err(|_| StoreError::Unexpected("a test clock".to_owned()))).transpose()
    }

    /// The number of users in a bucket.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn user_count(&self, bucket: &Bucket) -> Result<u64, StoreError> {
        let mut command = redis::cmd("ZCARD");
        command.arg(bucket.users());
        int(self.command(&command).await?).map(|count| count.unsigned_abs())
    }

    /// All fields of a user's hash, for display.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn counters_hash(&self, key: &str) -> Result<std::collections::HashMap<String, String>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(key);
        text_map(self.command(&command).await?)
    }
}

//! Display names and tags of users: one hash per bucket, written by `lua/change_user.lua`. No metering call reads it.

use crate::domain::accounts::profile::Profile;
use crate::domain::values::ids::UserId;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;

fn unexpected(error: &impl std::fmt::Display) -> StoreError {
    StoreError::Unexpected(error.to_string())
}

impl Store {
    /// The profiles of users, in their order; empty ones where nothing is known.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn profiles(&self, bucket: &Bucket, users: &[UserId]) -> Result<Vec<Profile>, StoreError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("HMGET");
        command.arg(bucket.profiles());
        for user in users {
            command.arg(user.as_str());
        }
        let texts: Vec<Option<String>> =
            redis::from_redis_value(self.command(&command).await?).map_err(|error| unexpected(&error))?;
        let read = |text: Option<String>| match text {
            Some(text) => serde_json::from_str(&text).map_err(|error| unexpected(&error)),
            None => Ok(Profile::default()),
        };
        texts.into_iter().map(read).collect()
    }

    /// Does any user of the bucket have a profile?
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn has_profiles(&self, bucket: &Bucket) -> Result<bool, StoreError> {
        let mut command = redis::cmd("EXISTS");
        command.arg(bucket.profiles());
        Ok(self.command(&command).await? == redis::Value::Int(1))
    }
}

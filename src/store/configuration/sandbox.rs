//! Empties a sandbox, and removes an app's data.

use crate::domain::values::ids::AppId;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::keys::{self, Bucket};

impl Store {
    /// Removes every key of a bucket except its configuration stamp, the test clock last. Never blocks Redis for long.
    ///
    /// # Errors
    /// [`StoreError`]; keys that were removed stay removed.
    pub async fn empty(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.unlink_matching(&bucket.stamp(), &bucket.pattern(), |key| key != bucket.stamp() && key != bucket.clock())
            .await?;
        let mut unlink = redis::cmd("UNLINK");
        unlink.arg(bucket.clock());
        self.command(&unlink).await.map(|_| ())
    }

    /// Removes every key of a bucket of a deleted app.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn empty_for_good(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.unlink_matching(&bucket.stamp(), &bucket.pattern(), |_| true).await
    }

    /// Removes an app's configuration with its versions and its part of the audit log.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn drop_configuration(&self, app: &AppId) -> Result<(), StoreError> {
        self.unlink_matching(&keys::configuration(app), &keys::configuration_pattern(app), |key| {
            keys::is_configuration(app, key)
        })
        .await?;
        let mut forget = redis::cmd("ZREM");
        forget.arg(keys::CONFIGURED).arg(app.as_str());
        self.command(&forget).await.map(|_| ())
    }

    async fn unlink_matching(&self, at: &str, pattern: &str, goes: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1000);
            let (next, mut keys): (String, Vec<String>) = redis::from_redis_value(self.page_at(at, &scan).await?)
                .map_err(|error| StoreError::Unexpected(error.to_string()))?;
            keys.retain(|key| goes(key));
            if !keys.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(keys);
                self.command(&unlink).await?;
            }
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }
}

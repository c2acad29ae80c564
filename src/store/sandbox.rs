//! Emptying a sandbox.

use super::Store;
use super::error::StoreError;
use super::keys::Bucket;

impl Store {
    /// Removes every key of a bucket but its configuration stamp, the test clock last. Never blocks Redis for long.
    ///
    /// # Errors
    /// [`StoreError`]; what is removed by then stays removed.
    pub async fn empty(&self, bucket: &Bucket) -> Result<(), StoreError> {
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(bucket.pattern()).arg("COUNT").arg(1000);
            let (next, mut keys): (String, Vec<String>) =
                redis::from_redis_value(self.command_at(&bucket.stamp(), &scan).await?)
                    .map_err(|error| StoreError::Unexpected(error.to_string()))?;
            keys.retain(|key| *key != bucket.stamp() && *key != bucket.clock());
            if !keys.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(keys);
                self.command(&unlink).await?;
            }
            if next == "0" {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(bucket.clock());
                return self.command(&unlink).await.map(|_| ());
            }
            cursor = next;
        }
    }
}

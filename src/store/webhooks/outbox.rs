//! Reads the outbox, the stream of events that scripts emit (`lua/lib/outbox.lua`). Nodes read it in one consumer
//! group, so each entry is processed by one node, and by another one if that node dies.

use std::collections::HashMap;

use redis::streams::{StreamAutoClaimReply, StreamId, StreamInfoGroupsReply, StreamRangeReply, StreamReadReply};

use crate::domain::reporting::entry_id::EntryId;
use crate::store::Store;
use crate::store::client::migrate::outbox_field;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;

const GROUP: &str = "webhooks";
/// After this time, another node may take over an unfinished entry.
const TAKEN_OVER_MS: u64 = 10_000;

/// An event.
#[derive(Clone, Debug)]
pub struct OutboxEntry {
    pub id: EntryId,
    fields: HashMap<String, String>,
}

impl OutboxEntry {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    fn read(entry: StreamId) -> Result<Self, StoreError> {
        let id = EntryId::parse(&entry.id).ok_or_else(|| StoreError::Unexpected("an outbox entry".to_owned()))?;
        let text = |value| redis::from_redis_value::<String>(value).ok();
        let fields = entry.map.into_iter().filter_map(|(name, value)| {
            let value = outbox_field(&name, text(value)?);
            Some((name, value))
        });
        Ok(Self { id, fields: fields.collect() })
    }
}

/// Whether it is that error of Redis.
fn says(error: &StoreError, code: &str) -> bool {
    let (StoreError::Unavailable(what)
    | StoreError::Refused(what)
    | StoreError::Full(what)
    | StoreError::Unexpected(what)) = error;
    what.contains(code)
}

fn unexpected(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unexpected(error.to_string())
}

impl Store {
    /// Creates the consumer group of all nodes, starting at the oldest entry.
    async fn make_group(&self, bucket: &Bucket) -> Result<(), StoreError> {
        let mut command = redis::cmd("XGROUP");
        command.arg("CREATE").arg(bucket.outbox()).arg(GROUP).arg("0").arg("MKSTREAM");
        match self.command(&command).await {
            Err(error) if !says(&error, "BUSYGROUP") => Err(error),
            _ => Ok(()),
        }
    }

    /// How many entries no node has turned into deliveries yet; 0 if no node has read the outbox.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn outbox_lag(&self, bucket: &Bucket) -> Result<u64, StoreError> {
        let mut command = redis::cmd("XINFO");
        command.arg("GROUPS").arg(bucket.outbox());
        let reply = match self.command(&command).await {
            Err(error) if says(&error, "no such key") => return Ok(0),
            other => other?,
        };
        let reply: StreamInfoGroupsReply = redis::from_redis_value(reply).map_err(unexpected)?;
        let groups = reply.groups.iter().filter(|group| group.name == GROUP);
        Ok(groups.map(|group| (group.pending + group.lag.unwrap_or(0)) as u64).sum())
    }

    /// Reads entries that no node has taken yet.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn take_new(&self, bucket: &Bucket, node: &str, count: usize) -> Result<Vec<OutboxEntry>, StoreError> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(node).arg("COUNT").arg(count);
        command.arg("STREAMS").arg(bucket.outbox()).arg(">");
        let value = match self.command(&command).await {
            Err(error) if says(&error, "NOGROUP") => {
                self.make_group(bucket).await?;
                self.command(&command).await?
            }
            other => other?,
        };
        let reply: Option<StreamReadReply> = redis::from_redis_value(value).map_err(unexpected)?;
        let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
        entries.map(OutboxEntry::read).collect()
    }

    /// Takes over entries that another node has not finished.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn take_over(&self, bucket: &Bucket, node: &str, count: usize) -> Result<Vec<OutboxEntry>, StoreError> {
        let mut command = redis::cmd("XAUTOCLAIM");
        command.arg(bucket.outbox()).arg(GROUP).arg(node).arg(TAKEN_OVER_MS).arg("0-0").arg("COUNT").arg(count);
        let value = match self.command(&command).await {
            Err(error) if says(&error, "NOGROUP") => return Ok(Vec::new()),
            other => other?,
        };
        let reply: StreamAutoClaimReply = redis::from_redis_value(value).map_err(unexpected)?;
        reply.claimed.into_iter().map(OutboxEntry::read).collect()
    }

    /// Acknowledges an entry.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn acknowledge(&self, bucket: &Bucket, entry: EntryId) -> Result<(), StoreError> {
        let mut command = redis::cmd("XACK");
        command.arg(bucket.outbox()).arg(GROUP).arg(entry.text());
        self.command(&command).await.map(|_| ())
    }

    /// At most `count` entries, newest first, before `before`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn recorded_before(
        &self,
        bucket: &Bucket,
        before: Option<EntryId>,
        count: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let start = before.map_or_else(|| "+".to_owned(), |id| format!("({}", id.text()));
        let mut command = redis::cmd("XREVRANGE");
        command.arg(bucket.outbox()).arg(start).arg("-").arg("COUNT").arg(count);
        let reply: StreamRangeReply = redis::from_redis_value(self.command(&command).await?).map_err(unexpected)?;
        reply.ids.into_iter().map(OutboxEntry::read).collect()
    }
}

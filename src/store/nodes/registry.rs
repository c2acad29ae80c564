//! The nodes that use this Redis: one hash with their heartbeats.

use std::collections::HashMap;

use crate::store::error::StoreError;
use crate::store::reply::text_map;
use crate::store::{Store, keys};

/// Without any node, the list expires after this time.
const KEPT_S: u64 = 24 * 60 * 60;

impl Store {
    /// Writes a node's heartbeat, replacing the previous one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn store_node(&self, id: &str, about: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("HSET");
        command.arg(keys::NODES).arg(id).arg(about);
        self.command(&command).await?;
        let mut command = redis::cmd("EXPIRE");
        command.arg(keys::NODES).arg(KEPT_S);
        self.command(&command).await.map(|_| ())
    }

    /// The last heartbeat of each node, by its ID.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn nodes(&self) -> Result<HashMap<String, String>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(keys::NODES);
        text_map(self.command(&command).await?)
    }

    /// # Errors
    /// [`StoreError`]
    pub async fn forget_node(&self, id: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("HDEL");
        command.arg(keys::NODES).arg(id);
        self.command(&command).await.map(|_| ())
    }
}

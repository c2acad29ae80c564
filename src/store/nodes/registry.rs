//! The nodes that run on this Redis: one hash, in which each tells of itself.

use std::collections::HashMap;

use crate::store::error::StoreError;
use crate::store::reply::text_map;
use crate::store::{Store, keys};

/// Without any node the list of them goes after this.
const KEPT_S: u64 = 24 * 60 * 60;

impl Store {
    /// Tells of a node; what it told before is replaced.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn tell_node(&self, id: &str, about: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("HSET");
        command.arg(keys::NODES).arg(id).arg(about);
        self.command(&command).await?;
        let mut command = redis::cmd("EXPIRE");
        command.arg(keys::NODES).arg(KEPT_S);
        self.command(&command).await.map(|_| ())
    }

    /// What each node told last, by its id.
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

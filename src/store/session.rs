//! Sessions of the dashboard: one key each, which Redis forgets by itself.

use super::Store;
use super::error::StoreError;
use super::keys;
use super::reply::optional_text;

impl Store {
    /// Keeps a session for that long.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn keep_session(&self, name: &str, value: &str, lifetime_ms: u64) -> Result<(), StoreError> {
        let mut command = redis::cmd("SET");
        command.arg(keys::session(name)).arg(value).arg("PX").arg(lifetime_ms);
        self.command(&command).await.map(|_| ())
    }

    /// # Errors
    /// [`StoreError`]
    pub async fn session(&self, name: &str) -> Result<Option<String>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(keys::session(name));
        optional_text(self.command(&command).await?)
    }

    /// # Errors
    /// [`StoreError`]
    pub async fn end_session(&self, name: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("DEL");
        command.arg(keys::session(name));
        self.command(&command).await.map(|_| ())
    }
}

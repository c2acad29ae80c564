//! `lua/session.lua`: sessions of the dashboard, one key each with a TTL.

use crate::domain::access::audit::AuditEntry;
use crate::store::error::StoreError;
use crate::store::reply::{Fields, optional_text};
use crate::store::{Arguments, Store, keys};

impl Store {
    /// Stores a session for that time; `audit_entry` is added to the audit log `log`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn keep_session(
        &self,
        name: &str,
        value: &str,
        lifetime_ms: u64,
        log: &str,
        audit_entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        self.change_session(name, value, lifetime_ms, log, audit_entry).await?.only_status("opened")
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
    pub async fn end_session(&self, name: &str, log: &str, audit_entry: &AuditEntry) -> Result<(), StoreError> {
        self.change_session(name, "", 0, log, audit_entry).await?.only_status("ended")
    }

    async fn change_session(
        &self,
        name: &str,
        value: &str,
        lifetime_ms: u64,
        log: &str,
        audit_entry: &AuditEntry,
    ) -> Result<Fields, StoreError> {
        let mut arguments = Arguments::default();
        arguments.text(value).int(lifetime_ms);
        AuditEntry::write(Some(audit_entry), &mut arguments);
        self.call(&self.library.session, &[keys::session(name), log.to_owned()], &arguments).await
    }
}

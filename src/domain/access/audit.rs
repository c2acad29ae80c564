//! Changes by operators, as stored in the audit log.

use crate::domain::reporting::entry_id::EntryId;
use crate::domain::values::ids::{KeyId, UserId};

/// A change by an operator, to be logged together with the change. Values are JSON or plain text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditEntry {
    /// ID of the key.
    pub actor: String,
    /// `plan.put`, `user.block` …
    pub action: String,
    /// `plan:<id>`, `user:<id>` …
    pub target: String,
    pub before: Option<String>,
    pub after: Option<String>,
    pub note: Option<String>,
}

impl AuditEntry {
    /// A change of a user; action and values are still to be set.
    pub fn of_user(user: &UserId, note: Option<&str>, by: &KeyId) -> Self {
        Self { actor: by.to_string(), target: format!("user:{user}"), note: note.map(str::to_owned), ..Self::default() }
    }
}

/// An entry as stored.
#[derive(Clone, Debug)]
pub struct StoredAuditEntry {
    pub id: EntryId,
    pub audit_entry: AuditEntry,
}

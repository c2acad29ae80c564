//! The audit log: who changed what, before and after. Written by the scripts that make the changes, read here.

use redis::Value;

use crate::domain::access::audit::{AuditEntry, StoredAuditEntry};
use crate::domain::reporting::entry_id::EntryId;
use crate::store::error::StoreError;
use crate::store::{Arguments, Store};

impl AuditEntry {
    pub(in crate::store) fn write(audit_entry: Option<&Self>, arguments: &mut Arguments) {
        let Some(audit_entry) = audit_entry else {
            arguments.int(0);
            return;
        };
        let named = [("actor", &audit_entry.actor), ("action", &audit_entry.action), ("target", &audit_entry.target)];
        let optional = [("before", &audit_entry.before), ("after", &audit_entry.after), ("note", &audit_entry.note)];
        let fields: Vec<(&str, &String)> = named
            .into_iter()
            .chain(optional.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))))
            .collect();
        arguments.int(fields.len());
        for (name, value) in fields {
            arguments.text(name).text(value.as_str());
        }
    }
}

impl Store {
    /// Logs a change that no script makes.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn log(&self, log: &str, audit_entry: &AuditEntry) -> Result<(), StoreError> {
        let mut arguments = Arguments::default();
        AuditEntry::write(Some(audit_entry), &mut arguments);
        self.call(&self.library.log, &[log.to_owned()], &arguments).await?.only_status("logged")
    }

    /// At most `count` entries of a log, newest first, from `from` (including it if `inclusive`) or from the newest.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn audit_entries(
        &self,
        log: &str,
        from: Option<(EntryId, bool)>,
        count: usize,
    ) -> Result<Vec<StoredAuditEntry>, StoreError> {
        let start = match from {
            None => "+".to_owned(),
            Some((id, true)) => id.text(),
            Some((id, false)) => format!("({}", id.text()),
        };
        let mut command = redis::cmd("XREVRANGE");
        command.arg(log).arg(start).arg("-").arg("COUNT").arg(count);
        let Value::Array(entries) = self.command(&command).await? else {
            return Err(StoreError::Unexpected("an audit log".to_owned()));
        };
        entries.into_iter().map(read_entry).collect()
    }
}

fn read_entry(value: Value) -> Result<StoredAuditEntry, StoreError> {
    let unexpected = |what: &str| StoreError::Unexpected(format!("audit log: {what}"));
    let (id, fields): (String, Vec<String>) =
        redis::from_redis_value(value).map_err(|error| unexpected(&error.to_string()))?;
    let mut audit_entry = AuditEntry::default();
    for pair in fields.chunks_exact(2) {
        let value = pair[1].clone();
        match pair[0].as_str() {
            "actor" => audit_entry.actor = value,
            "action" => audit_entry.action = value,
            "target" => audit_entry.target = value,
            "before" => audit_entry.before = Some(value),
            "after" => audit_entry.after = Some(value),
            "note" => audit_entry.note = Some(value),
            _ => {}
        }
    }
    Ok(StoredAuditEntry { id: EntryId::parse(&id).ok_or_else(|| unexpected("an id"))?, audit_entry })
}

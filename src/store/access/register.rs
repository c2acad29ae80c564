//! `lua/register.lua`: the registers of apps and of keys, shared by all nodes.

use std::collections::HashMap;

use crate::domain::access::audit::AuditEntry;
use crate::domain::values::ids::AppId;
use crate::store::error::StoreError;
use crate::store::keys::{self, Register};
use crate::store::metering::operation::Operation;
use crate::store::metering::record::Record;
use crate::store::reply::{Fields, optional_text, text_map};
use crate::store::{Arguments, Store};

/// A change of one entry.
#[derive(Clone, Copy, Debug)]
pub enum RegisterChange<'a> {
    Create { name: &'a str, value: &'a str },
    Replace { name: &'a str, value: &'a str },
    Delete { name: &'a str },
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterReply {
    Reused,
    Exists,
    Missing,
    Registered,
    /// The first answer of the same operation.
    Before(String),
}

/// A change of a register.
#[derive(Clone, Copy, Debug)]
pub struct RegisterArgs<'a> {
    pub operation: &'a Operation,
    pub change: RegisterChange<'a>,
    /// Stored as the answer of the operation.
    pub answer: &'a str,
    /// The app whose audit log gets `audit_entry`.
    pub app: &'a AppId,
    pub audit_entry: &'a AuditEntry,
}

impl Store {
    /// # Errors
    /// [`StoreError`]
    pub async fn register(&self, register: Register, args: RegisterArgs<'_>) -> Result<RegisterReply, StoreError> {
        let RegisterArgs { operation, change, answer, app, audit_entry } = args;
        let keys =
            [register.key(), register.changes(), keys::register_operation(&operation.name), keys::register_audit(app)];
        let mut arguments = Arguments::default();
        operation.write(&mut arguments);
        match change {
            RegisterChange::Create { name, value } => arguments.text("create").text(name).text(value),
            RegisterChange::Replace { name, value } => arguments.text("replace").text(name).text(value),
            RegisterChange::Delete { name } => arguments.text("delete").text(name).text(""),
        };
        arguments.text(answer);
        AuditEntry::write(Some(audit_entry), &mut arguments);
        let mut fields = self.call(&self.library.register, &keys, &arguments).await?;
        let status = fields.text()?;
        Ok(match status.as_str() {
            "replayed" => match Record::read(&mut fields)? {
                Record::Reservation(_) => RegisterReply::Reused,
                Record::Answer(text) => {
                    operation.is_replayed();
                    let mut kept = Fields::stored("register", &text);
                    let _status = kept.text()?;
                    RegisterReply::Before(kept.text()?)
                }
            },
            "reused" => RegisterReply::Reused,
            "exists" => RegisterReply::Exists,
            "missing" => RegisterReply::Missing,
            "registered" => RegisterReply::Registered,
            other => return Err(fields.unexpected(&format!("status {other}"))),
        })
    }

    /// One entry.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn registered(&self, register: Register, name: &str) -> Result<Option<String>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(register.key()).arg(name);
        optional_text(self.command(&command).await?)
    }

    /// All entries.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn register_entries(&self, register: Register) -> Result<HashMap<String, String>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(register.key());
        text_map(self.command(&command).await?)
    }
}

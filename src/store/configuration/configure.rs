//! `lua/configure.lua`, `lua/announce.lua` and `lua/stamp.lua`: an app's configuration, its versions, and the stamps
//! of its buckets.

use std::collections::HashMap;

use crate::domain::access::audit::AuditEntry;
use crate::domain::values::ids::AppId;
use crate::store::error::StoreError;
use crate::store::keys::{self, Bucket, Versioned};
use crate::store::metering::operation::Operation;
use crate::store::metering::record::Record;
use crate::store::reply::{Fields, optional_text, text_map};
use crate::store::{Arguments, Store};

/// Fields of the configuration to write if its revision is still `expected`.
#[derive(Clone, Copy, Debug)]
pub struct ConfigureArgs<'a> {
    pub app: &'a AppId,
    pub operation: &'a Operation,
    pub expected: u64,
    /// Greater than `expected`.
    pub revision: u64,
    /// The answer to store for the idempotency key.
    pub answer: &'a str,
    pub set: &'a [(String, String)],
    pub delete: &'a [String],
    /// Plans and policies with their document at the new revision; None if deleted.
    pub versions: &'a [(Versioned, Option<String>)],
    pub audit_entries: &'a [AuditEntry],
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigureReply {
    Reused,
    /// Another writer was first.
    Stale,
    Configured,
    /// The first answer of the same operation.
    Before(String),
}

impl Store {
    /// # Errors
    /// [`StoreError`]
    pub async fn configure(&self, args: ConfigureArgs<'_>) -> Result<ConfigureReply, StoreError> {
        let mut keys = vec![
            keys::configuration(args.app),
            keys::configuration_operation(args.app, &args.operation.name),
            keys::configuration_audit(args.app),
        ];
        keys.extend(args.versions.iter().map(|(of, _)| keys::versions(args.app, of)));
        let mut arguments = Arguments::default();
        args.operation.write(&mut arguments);
        arguments.int(args.expected).int(args.revision).text(args.answer).int(args.set.len());
        for (name, value) in args.set {
            arguments.text(name.as_str()).text(value.as_str());
        }
        arguments.int(args.delete.len());
        for name in args.delete {
            arguments.text(name.as_str());
        }
        arguments.int(args.versions.len());
        for (_, document) in args.versions {
            arguments.text(document.as_deref().unwrap_or_default());
        }
        arguments.int(args.audit_entries.len());
        for audit_entry in args.audit_entries {
            AuditEntry::write(Some(audit_entry), &mut arguments);
        }
        let mut fields = self.call(&self.library.configure, &keys, &arguments).await?;
        let status = fields.text()?;
        Ok(match status.as_str() {
            "replayed" => match Record::read(&mut fields)? {
                Record::Reservation(_) => ConfigureReply::Reused,
                Record::Answer(text) => {
                    args.operation.is_replayed();
                    let mut kept = Fields::stored("configure", &text);
                    let _status = kept.text()?;
                    ConfigureReply::Before(kept.text()?)
                }
            },
            "reused" => ConfigureReply::Reused,
            "stale" => ConfigureReply::Stale,
            "configured" => ConfigureReply::Configured,
            other => return Err(fields.unexpected(&format!("status {other}"))),
        })
    }

    /// The first answer of the same operation, if it has a client's key.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn configured_before(
        &self,
        app: &AppId,
        operation: &Operation,
    ) -> Result<Option<ConfigureReply>, StoreError> {
        if !operation.is_kept() {
            return Ok(None);
        }
        let Some((fingerprint, text)) = self.kept_answer(&keys::configuration_operation(app, &operation.name)).await?
        else {
            return Ok(None);
        };
        if fingerprint != operation.fingerprint() {
            return Ok(Some(ConfigureReply::Reused));
        }
        operation.is_replayed();
        let mut kept = Fields::stored("configure", &text);
        let _status = kept.text()?;
        Ok(Some(ConfigureReply::Before(kept.text()?)))
    }

    /// All fields of an app's configuration.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn configuration(&self, app: &AppId) -> Result<HashMap<String, String>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(keys::configuration(app));
        text_map(self.command(&command).await?)
    }

    /// The revision of an app's configuration; 0 if there is none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn configuration_revision(&self, app: &AppId) -> Result<u64, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(keys::configuration(app)).arg("revision");
        let revision = optional_text(self.command(&command).await?)?;
        revision.map_or(Ok(0), |text| text.parse().map_err(|_| StoreError::Unexpected("a revision".to_owned())))
    }

    /// Announces to all nodes that an app's configuration is about to change.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn announce_configuration(&self, app: &AppId) -> Result<(), StoreError> {
        let keys = [keys::CONFIGURED_CHANGES, keys::CONFIGURED].map(str::to_owned);
        let mut arguments = Arguments::default();
        arguments.text(app.as_str());
        self.call(&self.library.announce, &keys, &arguments).await?.only_status("announced")
    }

    /// The apps whose configurations have changed since this change count.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn announced_since(&self, count: u64) -> Result<Vec<AppId>, StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(keys::CONFIGURED).arg(format!("({count}")).arg("+inf").arg("BYSCORE");
        let damaged = |error: &dyn std::fmt::Display| StoreError::Unexpected(error.to_string());
        let apps: Vec<String> =
            redis::from_redis_value(self.command(&command).await?).map_err(|error| damaged(&error))?;
        apps.iter().map(|app| AppId::parse(app).map_err(|error| damaged(&error))).collect()
    }

    /// A plan at an earlier revision.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn version(&self, app: &AppId, of: &Versioned, revision: u64) -> Result<Option<String>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(keys::versions(app, of)).arg(revision);
        optional_text(self.command(&command).await?)
    }

    /// The stored versions of a plan, by revision.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn versions(&self, app: &AppId, of: &Versioned) -> Result<HashMap<String, String>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(keys::versions(app, of));
        text_map(self.command(&command).await?)
    }

    /// Raises a bucket's stamp. Returns the stamp, which may be higher.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn stamp(&self, bucket: &Bucket, revision: u64) -> Result<u64, StoreError> {
        let mut arguments = Arguments::default();
        arguments.int(revision);
        let mut fields = self.call(&self.library.stamp, &[bucket.stamp()], &arguments).await?;
        fields.only_status("stamped")?;
        let stamp = fields.int()?;
        u64::try_from(stamp).map_err(|_| fields.unexpected("a negative stamp"))
    }
}

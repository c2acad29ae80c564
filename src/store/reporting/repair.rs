//! `lua/repair.lua`

use crate::domain::access::audit::AuditEntry;
use crate::domain::reporting::proof::{Drift, Figure};
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::{Arguments, Store};

impl Store {
    /// Repairs one counter. False if it has changed meanwhile, or no longer exists.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn repair<I>(
        &self,
        bucket: &Bucket,
        drift: &Drift<I>,
        audit_entry: &AuditEntry,
    ) -> Result<bool, StoreError> {
        let keys = bucket.owner(&drift.owner);
        let (key, field, figure) = match drift.figure {
            Figure::Used => (keys.account, drift.group.to_string(), "used"),
            Figure::Held => (keys.account, drift.group.to_string(), "held"),
            Figure::Rolled => (keys.account, drift.group.to_string(), "rolled"),
            Figure::Closed => (keys.past(), format!("{}.{}", drift.group, drift.window_seq), "closed"),
            Figure::Gone | Figure::Credits => return Ok(false),
        };
        let mut arguments = Arguments::default();
        arguments.text(field).text(figure).int(drift.stored).int(drift.proven.max(0));
        AuditEntry::write(Some(audit_entry), &mut arguments);
        let mut fields = self.call(&self.library.repair, &[key, bucket.audit()], &arguments).await?;
        match fields.text()?.as_str() {
            "repaired" => Ok(true),
            "changed" => Ok(false),
            other => Err(fields.unexpected(&format!("status {other}"))),
        }
    }
}

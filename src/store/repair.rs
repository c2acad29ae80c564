//! `lua/repair.lua`

use super::audit::Trail;
use super::error::StoreError;
use super::keys::Bucket;
use super::{Arguments, Store};
use crate::domain::proof::{Drift, Figure};

impl Store {
    /// Puts one counter right. False: it is not what was found any more, or it is gone.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn repair<I>(&self, bucket: &Bucket, drift: &Drift<I>, trail: &Trail) -> Result<bool, StoreError> {
        let keys = bucket.owner(&drift.owner);
        let (key, field) = match drift.figure {
            Figure::Used => (keys.counters, format!("{}.used", drift.group)),
            Figure::Held => (keys.counters, format!("{}.held", drift.group)),
            Figure::Closed => (keys.past, format!("{}.{}", drift.group, drift.serial)),
            Figure::Gone => return Ok(false),
        };
        let mut arguments = Arguments::default();
        arguments.text(field).int(drift.stored).int(drift.proven.max(0));
        Trail::write(Some(trail), &mut arguments);
        let mut fields = self.call(&self.library.repair, &[key, bucket.audit()], arguments).await?;
        match fields.text()?.as_str() {
            "repaired" => Ok(true),
            "changed" => Ok(false),
            other => Err(fields.unexpected(&format!("status {other}"))),
        }
    }
}

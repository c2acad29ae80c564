//! `lua/usage.lua` and `lua/reclaim.lua`

use super::admission::{Facts, Owner, Stale, read_stale, read_states};
use super::proposal::Proposal;
use super::reserve::fit_text;
use crate::domain::configuration::scope::{OwnerName, Scope};
use crate::domain::metering::counter::CounterState;
use crate::domain::metering::fit::Growth;
use crate::domain::time::window::TimeMs;
use crate::store::error::StoreError;
use crate::store::keys::{Bucket, OwnerKeys};
use crate::store::reply::Fields;
use crate::store::{Arguments, Store};

/// The state of counters.
#[derive(Debug)]
pub enum UsageReply {
    Stale(Stale, TimeMs),
    /// Too many expired holds to subtract while reading: remove them first.
    Reclaim(TimeMs),
    Usage {
        now_ms: TimeMs,
        /// Per group of the arguments.
        states: Vec<CounterState>,
        /// When the first hold of every full concurrent group ends.
        free_at_ms: Option<TimeMs>,
        /// The value of the fitted figure, if the call is allowed.
        fitted: Option<u64>,
    },
}

impl Store {
    /// Reads without writing.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn usage(&self, bucket: &Bucket, facts: Facts<'_>, owners: &[Owner]) -> Result<UsageReply, StoreError> {
        self.usage_for(bucket, facts, owners, None).await
    }

    /// Reads without writing for a call. `growth`: how far its amounts may grow.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn usage_for(
        &self,
        bucket: &Bucket,
        facts: Facts<'_>,
        owners: &[Owner],
        growth: Option<&Growth>,
    ) -> Result<UsageReply, StoreError> {
        // Nothing is stored, so the place does not matter.
        let fit = growth.map(|growth| fit_text(growth, 1)).unwrap_or_default();
        let proposal = Proposal {
            bucket,
            fingerprint: "-",
            facts,
            precheck_denial: "",
            owners,
            approval_request: None,
            observed: "",
            fit: &fit,
        };
        read(self.propose(&self.library.usage, &proposal, &[], |_| {}).await?)
    }

    /// Owners of a scope with more than `user`, by expiry, from `offset` on.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn owners(
        &self,
        bucket: &Bucket,
        scope: &Scope,
        offset: usize,
        count: usize,
    ) -> Result<Vec<OwnerName>, StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(bucket.owners(scope)).arg(offset).arg(offset + count - 1);
        let names: Vec<String> = redis::from_redis_value(self.command(&command).await?)
            .map_err(|error| StoreError::Unexpected(error.to_string()))?;
        let damaged = || StoreError::Unexpected("the name of an owner".to_owned());
        names.iter().map(|name| bucket.owner_named(scope, name).ok_or_else(damaged)).collect()
    }

    /// Removes one batch of expired holds. Returns their number, and whether there are more.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn reclaim(
        &self,
        bucket: &Bucket,
        owner: &OwnerKeys,
        reports_expiry: bool,
    ) -> Result<(u64, bool), StoreError> {
        let keys = [bucket.clock(), owner.account.clone(), owner.holds(), bucket.outbox(), bucket.ledger()];
        let mut arguments = Arguments::default();
        arguments.flag(bucket.is_sandbox()).flag(reports_expiry).int(self.ledger_entries);
        let mut fields = self.call(&self.library.reclaim, &keys, &arguments).await?;
        fields.only_status("reclaimed")?;
        let count = fields.int()?;
        Ok((u64::try_from(count).map_err(|_| fields.unexpected("a negative count"))?, fields.flag()?))
    }
}

pub(in crate::store) fn read(mut fields: Fields) -> Result<UsageReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "reclaim" => UsageReply::Reclaim(fields.time()?),
        "usage" => {
            let now_ms = fields.time()?;
            let free_at_ms = Some(fields.time()?).filter(|at_ms| *at_ms > 0);
            let states = read_states(&mut fields)?;
            let value = (fields.len() > 0).then(|| fields.int()).transpose()?;
            let fitted = value.map(u64::try_from).transpose();
            let fitted = fitted.map_err(|_| fields.unexpected("a negative figure"))?;
            UsageReply::Usage { now_ms, states, free_at_ms, fitted }
        }
        stale => read_stale(stale, &mut fields).map(|(stale, now)| UsageReply::Stale(stale, now))?,
    })
}

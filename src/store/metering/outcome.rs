//! `lua/outcome.lua`

use super::operation::Operation;
use super::record::Record;
use super::settle::{Target, read_memo};
use crate::domain::metering::reservation::{Memo, ReservationId};
use crate::domain::reporting::ledger::{Outcome, Told};
use crate::domain::time::window::TimeMs;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::reporting::ledger::told_text;

/// The result of recording an outcome.
#[derive(Debug)]
pub enum OutcomeReply {
    Reused,
    /// The same call has recorded it before.
    Before,
    Missing(TimeMs),
    Expired(TimeMs),
    NotPending {
        now_ms: TimeMs,
        status: String,
    },
    Told {
        now_ms: TimeMs,
        replayed: bool,
        memo: Box<Memo>,
    },
}

impl Store {
    /// Records the outcome of a committed reservation.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn outcome(
        &self,
        bucket: &Bucket,
        id: &ReservationId,
        outcome: Outcome,
        operation: &Operation,
    ) -> Result<OutcomeReply, StoreError> {
        let told = Told { outcome: Some(outcome), ..Told::default() };
        let other = match outcome {
            Outcome::Accepted => Outcome::Rejected,
            Outcome::Rejected => Outcome::Accepted,
        };
        let again = Told { before: Some(other), ..told.clone() };
        let target = Target { bucket, id, operation, tells_expiry: false };
        let mut arguments = target.arguments(self, &told)?;
        arguments.text(outcome.as_str()).text(told_text(&again)?);
        let mut fields = self.call(&self.library.outcome, &target.keys(), &arguments).await?;
        let status = fields.text()?;
        Ok(match status.as_str() {
            "reused" => OutcomeReply::Reused,
            "replayed" => match Record::read(&mut fields)? {
                Record::Reservation(_) => OutcomeReply::Reused,
                Record::Answer(_) => {
                    operation.is_replayed();
                    OutcomeReply::Before
                }
            },
            "missing" => OutcomeReply::Missing(fields.time()?),
            "expired" => OutcomeReply::Expired(fields.time()?),
            "not_pending" => OutcomeReply::NotPending { now_ms: fields.time()?, status: fields.text()? },
            "told" => {
                let (now_ms, replayed) = (fields.time()?, fields.flag()?);
                OutcomeReply::Told { now_ms, replayed, memo: Box::new(read_memo(&mut fields)?) }
            }
            other => return Err(fields.unexpected(&format!("status {other}"))),
        })
    }
}

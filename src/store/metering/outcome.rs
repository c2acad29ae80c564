//! `lua/outcome.lua`

use super::operation::Operation;
use super::record::Record;
use super::settle::{Target, read_snapshot};
use crate::domain::metering::reservation::{RequestSnapshot, ReservationId};
use crate::domain::reporting::ledger::{EntryDetails, Outcome};
use crate::domain::time::window::TimeMs;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::reporting::ledger::details_text;

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
    Recorded {
        now_ms: TimeMs,
        replayed: bool,
        snapshot: Box<RequestSnapshot>,
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
        let details = EntryDetails { outcome: Some(outcome), ..EntryDetails::default() };
        let other = match outcome {
            Outcome::Accepted => Outcome::Rejected,
            Outcome::Rejected => Outcome::Accepted,
        };
        let again = EntryDetails { before: Some(other), ..details.clone() };
        let target = Target { bucket, id, operation, reports_expiry: false };
        let mut arguments = target.arguments(self, &details)?;
        arguments.text(outcome.as_str()).text(details_text(&again)?);
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
            "recorded" => {
                let (now_ms, replayed) = (fields.time()?, fields.flag()?);
                OutcomeReply::Recorded { now_ms, replayed, snapshot: Box::new(read_snapshot(&mut fields)?) }
            }
            other => return Err(fields.unexpected(&format!("status {other}"))),
        })
    }
}

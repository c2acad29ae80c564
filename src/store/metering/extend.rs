//! `lua/extend.lua`

use super::admission::{
    ApprovalRequest, Denied, Facts, OwnedGroup, Owner, ScriptRun, Stale, read_denied, read_groups, read_ran,
    read_stale, read_states,
};
use super::operation::Operation;
use super::proposal::Proposal;
use super::record::Record;
use super::request_snapshot::snapshot_text;
use super::settle::{Measured, Target, read_snapshot};
use crate::domain::metering::counter::CounterState;
use crate::domain::metering::reservation::RequestSnapshot;
use crate::domain::time::window::TimeMs;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::reply::Fields;

/// An extension of time, amount, or both.
#[derive(Clone, Copy, Debug)]
pub struct ExtendArgs<'a> {
    pub target: Target<'a>,
    /// Counted from now; 0 if the time is not extended.
    pub ttl_ms: TimeMs,
    /// For a larger amount: the state that it was computed from, and the new request snapshot.
    pub measured: Option<&'a Measured>,
    pub facts: Facts<'a>,
    /// The denial that the node found in the facts, or empty.
    pub verdict: &'a str,
    pub owners: &'a [Owner],
    pub asked: Option<&'a ApprovalRequest>,
    /// The reason for which groups that only observe would have denied the call, or empty.
    pub observed: &'a str,
}

/// The decision on an extension.
#[derive(Debug)]
pub enum ExtendReply {
    Reused,
    Missing(TimeMs),
    Expired(TimeMs),
    NotPending {
        now_ms: TimeMs,
        status: String,
    },
    StaleReservation,
    Stale(Stale, TimeMs),
    Again(ScriptRun),
    Denied(ScriptRun, Denied),
    /// The reservation would hold in more windows than allowed.
    Full,
    /// Includes the proposed groups if the answer is stored.
    Extended {
        now_ms: TimeMs,
        expires_at_ms: TimeMs,
        snapshot: Box<RequestSnapshot>,
        states: Vec<CounterState>,
        groups: Vec<OwnedGroup>,
    },
    /// The first answer of the same operation.
    Before(Box<ExtendReply>),
}

impl Store {
    /// # Errors
    /// [`StoreError`]
    pub async fn extend(&self, args: ExtendArgs<'_>) -> Result<ExtendReply, StoreError> {
        let target = args.target;
        let bucket = target.bucket;
        let proposal = Proposal {
            bucket,
            fingerprint: target.operation.fingerprint(),
            facts: args.facts,
            precheck_denial: args.verdict,
            owners: args.owners,
            approval_request: args.asked,
            observed: args.observed,
            fit: "",
        };
        let keys = [bucket.operation(&target.id.name), bucket.operation(&target.operation.name)];
        let snapshot = args.measured.and_then(|measured| measured.snapshot.as_ref()).map(snapshot_text).transpose()?;
        let fields = self.propose(&self.library.extend, &proposal, &keys, |arguments| {
            arguments.int(target.id.created_at_ms).int(args.ttl_ms);
            arguments.text(args.measured.map_or_else(|| "-".to_owned(), |measured| measured.changes.to_string()));
            arguments.text(snapshot.unwrap_or_default());
        });
        read(fields.await?)
    }

    /// The answer of an earlier call with the same idempotency key; it takes precedence over any denial.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn extended_before(
        &self,
        bucket: &Bucket,
        operation: &Operation,
    ) -> Result<Option<ExtendReply>, StoreError> {
        self.seen("extend", bucket, operation).await?.map(read).transpose()
    }
}

pub(in crate::store) fn read(mut fields: Fields) -> Result<ExtendReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "replayed" => match Record::read(&mut fields)? {
            Record::Reservation(_) => ExtendReply::Reused,
            Record::Answer(text) => ExtendReply::Before(Box::new(read(Fields::stored("extend", &text))?)),
        },
        "reused" => ExtendReply::Reused,
        "missing" => ExtendReply::Missing(fields.time()?),
        "expired" => ExtendReply::Expired(fields.time()?),
        "not_pending" => ExtendReply::NotPending { now_ms: fields.time()?, status: fields.text()? },
        "stale_reservation" => ExtendReply::StaleReservation,
        "again" => ExtendReply::Again(read_ran(&mut fields)?),
        "denied" => ExtendReply::Denied(read_ran(&mut fields)?, read_denied(&mut fields)?),
        "full" => ExtendReply::Full,
        "extended" => {
            let (now_ms, expires_at_ms) = (fields.time()?, fields.time()?);
            let snapshot = Box::new(read_snapshot(&mut fields)?);
            let states = read_states(&mut fields)?;
            ExtendReply::Extended { now_ms, expires_at_ms, snapshot, states, groups: read_groups(&mut fields)? }
        }
        stale => read_stale(stale, &mut fields).map(|(stale, now)| ExtendReply::Stale(stale, now))?,
    })
}

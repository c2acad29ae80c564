//! `lua/reserve.lua`

use super::admission::{
    ApprovalRequest, Denied, Facts, Owner, ScriptRun, Stale, read_denied, read_ran, read_stale, read_states,
};
use super::operation::Operation;
use super::proposal::Proposal;
use super::record::{Record, StoredReservation};
use super::track::{self, TrackReply};
use crate::domain::metering::counter::CounterState;
use crate::domain::time::window::TimeMs;
use crate::domain::values::ids::GroupId;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::reply::Fields;

/// A reserve to decide.
#[derive(Clone, Copy, Debug)]
pub struct ReserveArgs<'a> {
    pub bucket: &'a Bucket,
    pub operation: &'a Operation,
    pub facts: Facts<'a>,
    /// The denial that the node found in the facts, or empty.
    pub verdict: &'a str,
    pub ttl_ms: TimeMs,
    /// How expired holds refer to the call.
    pub call_label: &'a str,
    /// The request snapshot for later calls: the result of [`super::request_snapshot::snapshot_text`].
    pub snapshot: &'a str,
    pub owners: &'a [Owner],
    pub asked: Option<&'a ApprovalRequest>,
    /// The reason for which groups that only observe would have denied the call, or empty.
    pub observed: &'a str,
}

/// The decision.
#[derive(Debug)]
pub enum ReserveReply {
    Reused,
    Stale(Stale, TimeMs),
    Again(ScriptRun),
    Denied(ScriptRun, Denied),
    Held {
        ran: ScriptRun,
        expires_at_ms: TimeMs,
        states: Vec<CounterState>,
    },
    Unmetered(ScriptRun),
    /// It was allowed while Redis was unavailable, and has been counted since.
    Degraded(ScriptRun, Vec<GroupId>),
    /// The same operation was allowed before.
    HeldBefore(Box<StoredReservation>),
    /// The first answer of the same operation.
    Before(Box<ReserveReply>),
}

impl Store {
    /// # Errors
    /// [`StoreError`]
    pub async fn reserve(&self, args: ReserveArgs<'_>) -> Result<ReserveReply, StoreError> {
        let proposal = Proposal {
            bucket: args.bucket,
            fingerprint: args.operation.fingerprint(),
            facts: args.facts,
            precheck_denial: args.verdict,
            owners: args.owners,
            approval_request: args.asked,
            observed: args.observed,
        };
        let keys = [args.bucket.operation(&args.operation.name)];
        let fields = self.propose(&self.library.reserve, proposal, &keys, |arguments| {
            arguments.int(args.ttl_ms).text(args.call_label).text(args.snapshot);
        });
        read(fields.await?, args.ttl_ms)
    }

    /// The answer of an earlier call with the same idempotency key; it takes precedence over any denial.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn reserved_before(
        &self,
        bucket: &Bucket,
        operation: &Operation,
    ) -> Result<Option<ReserveReply>, StoreError> {
        self.seen("reserve", bucket, operation).await?.map(|fields| read(fields, 0)).transpose()
    }
}

/// `ttl_ms`: the lifetime that the reserve requested.
pub(in crate::store) fn read(mut fields: Fields, ttl_ms: TimeMs) -> Result<ReserveReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "replayed" => match Record::read(&mut fields)? {
            Record::Reservation(found) => ReserveReply::HeldBefore(found),
            Record::Answer(text) if text.starts_with("tracked\n") => {
                match track::read(Fields::stored("track_degraded", &text))? {
                    TrackReply::Tracked { ran, groups, .. } => {
                        let groups = groups.into_iter().map(|group| group.id).collect();
                        ReserveReply::Before(Box::new(ReserveReply::Degraded(ran, groups)))
                    }
                    _ => return Err(fields.unexpected("a kept answer")),
                }
            }
            Record::Answer(text) => ReserveReply::Before(Box::new(read(Fields::stored("reserve", &text), ttl_ms)?)),
        },
        "reused" => ReserveReply::Reused,
        "again" => ReserveReply::Again(read_ran(&mut fields)?),
        "denied" => ReserveReply::Denied(read_ran(&mut fields)?, read_denied(&mut fields)?),
        "held" => {
            let ran = read_ran(&mut fields)?;
            let expires_at_ms = ran.now_ms.saturating_add(ttl_ms);
            ReserveReply::Held { ran, expires_at_ms, states: read_states(&mut fields)? }
        }
        "unmetered" => ReserveReply::Unmetered(ScriptRun { now_ms: fields.time()?, reclaimed: 0 }),
        stale => read_stale(stale, &mut fields).map(|(stale, now)| ReserveReply::Stale(stale, now))?,
    })
}

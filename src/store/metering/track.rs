//! `lua/track.lua` and `lua/track_enforce.lua`

use super::admission::{
    ApprovalRequest, Denied, Facts, OwnedGroup, Owner, ScriptRun, Stale, read_crossed, read_denied, read_groups,
    read_ran, read_stale, read_states,
};
use super::operation::Operation;
use super::proposal::Proposal;
use super::record::{Record, StoredReservation};
use super::request_snapshot::snapshot_text;
use crate::domain::metering::counter::{CounterState, CrossedThreshold};
use crate::domain::metering::reservation::RequestSnapshot;
use crate::domain::time::window::TimeMs;
use crate::store::Store;
use crate::store::client::library::Function;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::reply::Fields;

/// Usage to be counted.
#[derive(Clone, Copy, Debug)]
pub struct TrackArgs<'a> {
    pub bucket: &'a Bucket,
    pub operation: &'a Operation,
    pub facts: Facts<'a>,
    /// The denial that the node found in the facts, or empty.
    pub verdict: &'a str,
    /// Count only if no group's limit is reached.
    pub enforce: bool,
    /// Subtract the amounts instead, never below 0.
    pub refund: bool,
    /// The request, for the ledger: its event, key and user, and its snapshot.
    pub call_label: &'a str,
    pub snapshot: &'a RequestSnapshot,
    /// What a repetition needs in addition to the figures.
    pub match_facts: &'a str,
    pub owners: &'a [Owner],
    pub asked: Option<&'a ApprovalRequest>,
    /// The reason for which groups that only observe would have denied the call, or empty.
    pub observed: &'a str,
}

/// The result.
#[derive(Debug)]
pub enum TrackReply {
    Reused,
    Stale(Stale, TimeMs),
    Again(ScriptRun),
    /// The operation is a reserve that holds; only possible for a degraded one.
    Held(Box<StoredReservation>),
    /// The operation is a reserve that held nothing; only possible for a degraded one.
    Unmetered(ScriptRun),
    Denied(ScriptRun, Denied),
    /// Includes the proposed groups if the answer is stored.
    Tracked {
        ran: ScriptRun,
        crossed: Vec<CrossedThreshold>,
        /// The number of owners left out because their scope has reached its maximum number of values.
        full_scopes: u64,
        states: Vec<CounterState>,
        /// As passed in the arguments.
        match_facts: String,
        groups: Vec<OwnedGroup>,
    },
    /// The first answer of the same operation.
    Before(Box<TrackReply>),
}

impl Store {
    /// # Errors
    /// [`StoreError`]
    pub async fn track(&self, args: TrackArgs<'_>) -> Result<TrackReply, StoreError> {
        let script = if args.enforce { &self.library.track_enforce } else { &self.library.track };
        self.track_by(script, args).await
    }

    /// Counts a reserve that was allowed while Redis was unavailable. It uses the reserve's operation name, since the
    /// reserve may have reached Redis.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn track_degraded(&self, args: TrackArgs<'_>) -> Result<TrackReply, StoreError> {
        self.track_by(&self.library.track_degraded, args).await
    }

    async fn track_by(&self, script: &'static Function, args: TrackArgs<'_>) -> Result<TrackReply, StoreError> {
        let proposal = Proposal {
            bucket: args.bucket,
            fingerprint: args.operation.fingerprint(),
            facts: args.facts,
            precheck_denial: args.verdict,
            owners: args.owners,
            approval_request: args.asked,
            observed: args.observed,
            fit: "",
        };
        let snapshot = snapshot_text(args.snapshot)?;
        let keys = [args.bucket.operation(&args.operation.name)];
        let fields = self.propose(script, &proposal, &keys, |arguments| {
            arguments.flag(args.refund).text(args.call_label).text(snapshot).text(args.match_facts);
        });
        read(fields.await?)
    }

    /// The answer of an earlier call with the same idempotency key; it takes precedence over any denial.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn tracked_before(
        &self,
        bucket: &Bucket,
        operation: &Operation,
    ) -> Result<Option<TrackReply>, StoreError> {
        self.seen("track", bucket, operation).await?.map(read).transpose()
    }
}

pub(in crate::store) fn read(mut fields: Fields) -> Result<TrackReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "replayed" => match Record::read(&mut fields)? {
            Record::Reservation(found) => TrackReply::Held(found),
            Record::Answer(text) => TrackReply::Before(Box::new(read(Fields::stored("track", &text))?)),
        },
        "unmetered" => TrackReply::Unmetered(ScriptRun { now_ms: fields.time()?, reclaimed: 0 }),
        "reused" => TrackReply::Reused,
        "again" => TrackReply::Again(read_ran(&mut fields)?),
        "denied" => TrackReply::Denied(read_ran(&mut fields)?, read_denied(&mut fields)?),
        "tracked" => {
            let ran = read_ran(&mut fields)?;
            let crossed = read_crossed(&mut fields)?;
            let full_scopes = fields.int()?;
            let full_scopes = u64::try_from(full_scopes).map_err(|_| fields.unexpected("a negative count"))?;
            let (states, match_facts) = (read_states(&mut fields)?, fields.text()?);
            TrackReply::Tracked { ran, crossed, full_scopes, states, match_facts, groups: read_groups(&mut fields)? }
        }
        stale => read_stale(stale, &mut fields).map(|(stale, now)| TrackReply::Stale(stale, now))?,
    })
}

//! `lua/reserve.lua`

use std::fmt::Write as _;

use super::admission::{
    ApprovalRequest, Denied, Facts, Owner, ScriptRun, Stale, read_denied, read_ran, read_stale, read_states,
};
use super::operation::Operation;
use super::proposal::Proposal;
use super::record::{Record, StoredReservation};
use super::request_snapshot::fitted_value;
use super::track::{self, TrackReply};
use crate::domain::configuration::measure::Slope;
use crate::domain::metering::counter::CounterState;
use crate::domain::metering::fit::Growth;
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
    /// The call has `fit`. Then a stored answer has a value too, even if the call would be denied now.
    pub is_fitted: bool,
    /// How far the amounts may grow. The snapshot then has the least value of a fitted figure.
    pub growth: Option<&'a Growth>,
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
        /// The value of the fitted figure.
        fitted: Option<u64>,
    },
    /// With the value of the fitted figure.
    Unmetered(ScriptRun, Option<u64>),
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
    pub async fn reserve(&self, args: &ReserveArgs<'_>) -> Result<ReserveReply, StoreError> {
        let fit = args.growth.map(|growth| fit_text(growth, fitted_value(args.snapshot).start + 1));
        let fit = fit.unwrap_or_default();
        let proposal = Proposal {
            bucket: args.bucket,
            fingerprint: args.operation.fingerprint(),
            facts: args.facts,
            precheck_denial: args.verdict,
            owners: args.owners,
            approval_request: args.asked,
            observed: args.observed,
            fit: &fit,
        };
        let keys = [args.bucket.operation(&args.operation.name)];
        let fields = self.propose(&self.library.reserve, &proposal, &keys, |arguments| {
            arguments.signed(args.ttl_ms).text(args.call_label).text(args.snapshot);
        });
        read(fields.await?, args.ttl_ms, args.is_fitted)
    }

    /// The answer of an earlier call with the same idempotency key; it takes precedence over any denial.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn reserved_before(
        &self,
        bucket: &Bucket,
        operation: &Operation,
        is_fitted: bool,
    ) -> Result<Option<ReserveReply>, StoreError> {
        self.seen("reserve", bucket, operation).await?.map(|fields| read(fields, 0, is_fitted)).transpose()
    }
}

/// How far the amounts may grow: see `lua/lib/fit.lua`. `place`: where the least value begins in the snapshot.
pub(super) fn fit_text(growth: &Growth, place: usize) -> String {
    let mut text = format!("{} {} {place}", growth.min, growth.most);
    for slope in &growth.slopes {
        let (whole, fraction) = (slope.each / Slope::PARTS, slope.each % Slope::PARTS);
        // Writing to a String cannot fail.
        let _ = write!(text, ";{whole} {fraction} {}", slope.spare);
    }
    text
}

/// `ttl_ms`: the lifetime that the reserve requested; `is_fitted`: whether it had a figure to fit.
pub(in crate::store) fn read(mut fields: Fields, ttl_ms: TimeMs, is_fitted: bool) -> Result<ReserveReply, StoreError> {
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
            Record::Answer(text) => {
                ReserveReply::Before(Box::new(read(Fields::stored("reserve", &text), ttl_ms, is_fitted)?))
            }
        },
        "reused" => ReserveReply::Reused,
        "again" => ReserveReply::Again(read_ran(&mut fields)?),
        "denied" => ReserveReply::Denied(read_ran(&mut fields)?, read_denied(&mut fields)?),
        "held" => {
            let ran = read_ran(&mut fields)?;
            let expires_at_ms = ran.now_ms.saturating_add(ttl_ms);
            let states = read_states(&mut fields)?;
            ReserveReply::Held { ran, expires_at_ms, states, fitted: read_fitted(&mut fields, is_fitted)? }
        }
        "unmetered" => {
            let ran = ScriptRun { now_ms: fields.time()?, reclaimed: 0 };
            ReserveReply::Unmetered(ran, read_fitted(&mut fields, is_fitted)?)
        }
        stale => read_stale(stale, &mut fields).map(|(stale, now)| ReserveReply::Stale(stale, now))?,
    })
}

fn read_fitted(fields: &mut Fields, is_fitted: bool) -> Result<Option<u64>, StoreError> {
    let value = is_fitted.then(|| fields.int()).transpose()?;
    let value = value.map(u64::try_from).transpose();
    value.map_err(|_| fields.unexpected("a negative figure"))
}

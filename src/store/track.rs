//! `lua/track.lua` and `lua/track_enforce.lua`

use super::admission::{
    Asked, Denied, Facts, OwnedGroup, Owner, Passed, Ran, Stale, Tally, count_groups, push_owner_keys, read_denied,
    read_groups, read_passed, read_ran, read_stale, read_tallies, write_asked, write_owners,
};
use super::error::StoreError;
use super::keys::Bucket;
use super::library::Function;
use super::memo::memo_text;
use super::operation::Operation;
use super::record::{Record, StoredReservation};
use super::reply::Fields;
use super::{Arguments, Store};
use crate::domain::reservation::Memo;
use crate::domain::window::TimeMs;

/// What has happened, to be counted.
#[derive(Clone, Copy, Debug)]
pub struct TrackArgs<'a> {
    pub bucket: &'a Bucket,
    pub operation: &'a Operation,
    pub facts: Facts<'a>,
    /// The node's own refusal under these facts, or empty.
    pub verdict: &'a str,
    /// Count only if there is room in every group.
    pub enforce: bool,
    /// Take the amounts away instead, never below 0.
    pub refund: bool,
    /// The request, for the ledger: its words and what it asked for.
    pub about: &'a str,
    pub memo: &'a Memo,
    /// What a repetition has to know beside the figures.
    pub told: &'a str,
    pub owners: &'a [Owner],
    pub asked: Option<&'a Asked>,
}

/// What became of it.
#[derive(Debug)]
pub enum TrackReply {
    Reused,
    Stale(Stale, TimeMs),
    Again(Ran),
    /// The operation is a reserve that holds: only a degraded one can meet it.
    Held(Box<StoredReservation>),
    /// The operation is a reserve that had nothing to hold: likewise.
    Unmetered(Ran),
    Denied(Ran, Denied),
    /// The groups as proposed are there if the answer was kept.
    Tracked {
        ran: Ran,
        passed: Vec<Passed>,
        /// Owners left out: their scope has no place for another name.
        crowded: u64,
        tallies: Vec<Tally>,
        /// As given; empty in an answer that an earlier version has kept.
        told: String,
        groups: Vec<OwnedGroup>,
    },
    /// The same operation was answered so before.
    Before(Box<TrackReply>),
}

impl Store {
    /// # Errors
    /// [`StoreError`]
    pub async fn track(&self, args: TrackArgs<'_>) -> Result<TrackReply, StoreError> {
        let script = if args.enforce { &self.library.track_enforce } else { &self.library.track };
        self.track_by(script, args).await
    }

    /// Counts a reserve that was allowed while Redis was away: its operation is the reserve's own, which may have been
    /// done after all.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn track_degraded(&self, args: TrackArgs<'_>) -> Result<TrackReply, StoreError> {
        self.track_by(&self.library.track_degraded, args).await
    }

    async fn track_by(&self, script: &Function, args: TrackArgs<'_>) -> Result<TrackReply, StoreError> {
        let bucket = args.bucket;
        let mut keys = vec![bucket.stamp(), bucket.operation(&args.operation.name), bucket.clock(), bucket.outbox()];
        keys.extend([bucket.ledger(), bucket.denials()]);
        push_owner_keys(args.owners, &mut keys);
        let mut arguments = Arguments::default();
        args.operation.write(&mut arguments);
        args.facts.write(self.ledger_entries, &mut arguments);
        arguments.text(args.verdict).flag(args.refund);
        arguments.text(args.operation.name.as_str()).text(args.about);
        arguments.text(memo_text(args.memo)?);
        arguments.text(args.told);
        write_owners(args.owners, &mut arguments);
        write_asked(args.asked, bucket, &mut keys, &mut arguments);
        args.facts.push_index_keys(bucket, &mut keys);
        let fields = self.call(script, &keys, arguments).await?;
        read(fields, Some(count_groups(args.owners)))
    }

    /// The answer to a repetition, which no refusal comes before.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn tracked_before(
        &self,
        bucket: &Bucket,
        operation: &Operation,
    ) -> Result<Option<TrackReply>, StoreError> {
        self.seen("track", bucket, operation).await?.map(|fields| read(fields, None)).transpose()
    }
}

/// `groups` is how many the call had; None reads a kept answer, which tells its groups at its end.
pub(super) fn read(mut fields: Fields, groups: Option<usize>) -> Result<TrackReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "replayed" => match Record::read(&mut fields)? {
            Record::Reservation(found) => TrackReply::Held(found),
            Record::Answer(text) => TrackReply::Before(Box::new(read(Fields::stored("track", &text), None)?)),
        },
        "unmetered" => TrackReply::Unmetered(Ran { now_ms: fields.time()?, reclaimed: 0 }),
        "reused" => TrackReply::Reused,
        "again" => TrackReply::Again(read_ran(&mut fields)?),
        "denied" => TrackReply::Denied(read_ran(&mut fields)?, read_denied(&mut fields)?),
        "tracked" => {
            let ran = read_ran(&mut fields)?;
            let passed = read_passed(&mut fields)?;
            let crowded = fields.int()?;
            let crowded = u64::try_from(crowded).map_err(|_| fields.unexpected("a negative count"))?;
            // Behind the figures of each group at most two words follow.
            let tallies = read_tallies(groups.unwrap_or(fields.len() / 4), &mut fields)?;
            let told = if groups.is_some() || fields.len() > 1 { fields.text()? } else { String::new() };
            TrackReply::Tracked { ran, passed, crowded, tallies, told, groups: read_groups(&mut fields)? }
        }
        stale => read_stale(stale, &mut fields).map(|(stale, now)| TrackReply::Stale(stale, now))?,
    })
}

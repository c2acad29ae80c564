//! `lua/track.lua` and `lua/track_enforce.lua`

use super::admission::{
    Denied, Facts, OwnedGroup, Owner, Ran, Stale, Tally, count_groups, push_owner_keys, read_denied, read_groups,
    read_ran, read_stale, read_tallies, write_owners,
};
use super::error::StoreError;
use super::keys::Bucket;
use super::operation::Operation;
use super::record::Record;
use super::reply::Fields;
use super::{Arguments, Store};
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
    pub owners: &'a [Owner],
}

/// What became of it.
#[derive(Debug)]
pub enum TrackReply {
    Reused,
    Stale(Stale, TimeMs),
    Again(Ran),
    Denied(Ran, Denied),
    /// The groups as proposed are there if the answer was kept.
    Tracked {
        ran: Ran,
        tallies: Vec<Tally>,
        groups: Vec<OwnedGroup>,
    },
    /// The same operation was answered so before.
    Before(Box<TrackReply>),
}

impl Store {
    /// # Errors
    /// [`StoreError`]
    pub async fn track(&self, args: TrackArgs<'_>) -> Result<TrackReply, StoreError> {
        let bucket = args.bucket;
        let mut keys = vec![bucket.stamp(), bucket.operation(&args.operation.name), bucket.clock()];
        push_owner_keys(args.owners, &mut keys);
        args.facts.push_index_keys(bucket, &mut keys);
        let mut arguments = Arguments::default();
        args.operation.write(&mut arguments);
        args.facts.write(&mut arguments);
        arguments.text(args.verdict).flag(args.refund);
        write_owners(args.owners, &mut arguments);
        let script = if args.enforce { &self.scripts.track_enforce } else { &self.scripts.track };
        let fields = self.call(script, &keys, arguments).await?;
        read(fields, Some(count_groups(args.owners)))
    }
}

/// `groups` is how many the call had; None reads a kept answer, which tells its groups at its end.
fn read(mut fields: Fields, groups: Option<usize>) -> Result<TrackReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "replayed" => match Record::read(&mut fields)? {
            Record::Reservation(_) => TrackReply::Reused,
            Record::Answer(text) => TrackReply::Before(Box::new(read(Fields::stored("track", &text), None)?)),
        },
        "reused" => TrackReply::Reused,
        "again" => TrackReply::Again(read_ran(&mut fields)?),
        "denied" => TrackReply::Denied(read_ran(&mut fields)?, read_denied(&mut fields)?),
        "tracked" => {
            let ran = read_ran(&mut fields)?;
            let count = groups.unwrap_or_else(|| fields.len().saturating_sub(1) / 4);
            TrackReply::Tracked { ran, tallies: read_tallies(count, &mut fields)?, groups: read_groups(&mut fields)? }
        }
        stale => read_stale(stale, &mut fields).map(|(stale, now)| TrackReply::Stale(stale, now))?,
    })
}

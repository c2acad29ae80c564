//! `lua/reserve.lua`

use super::admission::{
    Asked, Denied, Facts, Owner, Ran, Stale, Tally, count_groups, push_owner_keys, read_denied, read_ran, read_stale,
    read_tallies, write_asked, write_owners,
};
use super::error::StoreError;
use super::keys::Bucket;
use super::operation::Operation;
use super::record::{Record, StoredReservation};
use super::reply::Fields;
use super::track::{self, TrackReply};
use super::{Arguments, Store};
use crate::domain::ids::GroupId;
use crate::domain::window::TimeMs;

/// A reserve to decide.
#[derive(Clone, Copy, Debug)]
pub struct ReserveArgs<'a> {
    pub bucket: &'a Bucket,
    pub operation: &'a Operation,
    pub facts: Facts<'a>,
    /// The node's own refusal under these facts, or empty.
    pub verdict: &'a str,
    pub ttl_ms: TimeMs,
    /// What is told when the holds expire.
    pub about: &'a str,
    /// The request, for whoever settles it: what [`super::memo::memo_text`] wrote.
    pub memo: &'a str,
    pub owners: &'a [Owner],
    pub asked: Option<&'a Asked>,
}

/// How it was decided.
#[derive(Debug)]
pub enum ReserveReply {
    Reused,
    Stale(Stale, TimeMs),
    Again(Ran),
    Denied(Ran, Denied),
    Held {
        ran: Ran,
        expires_at_ms: TimeMs,
        tallies: Vec<Tally>,
    },
    Unmetered(Ran),
    /// It was allowed while Redis was away, and has been counted since.
    Degraded(Ran, Vec<GroupId>),
    /// The same operation was allowed before.
    HeldBefore(Box<StoredReservation>),
    /// The same operation was answered so before.
    Before(Box<ReserveReply>),
}

impl Store {
    /// # Errors
    /// [`StoreError`]
    pub async fn reserve(&self, args: ReserveArgs<'_>) -> Result<ReserveReply, StoreError> {
        let bucket = args.bucket;
        let mut keys = vec![bucket.stamp(), bucket.operation(&args.operation.name), bucket.clock(), bucket.outbox()];
        keys.extend([bucket.ledger(), bucket.denials()]);
        push_owner_keys(args.owners, &mut keys);
        let mut arguments = Arguments::default();
        args.operation.write(&mut arguments);
        args.facts.write(self.ledger_entries, &mut arguments);
        arguments.text(args.operation.name.as_str()).text(args.verdict).int(args.ttl_ms).text(args.about);
        arguments.text(args.memo);
        write_owners(args.owners, &mut arguments);
        write_asked(args.asked, bucket, &mut keys, &mut arguments);
        args.facts.push_index_keys(bucket, &mut keys);
        let fields = self.call(&self.library.reserve, &keys, arguments).await?;
        read(fields, count_groups(args.owners))
    }

    /// The answer to a repetition, which no refusal comes before.
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

pub(super) fn read(mut fields: Fields, groups: usize) -> Result<ReserveReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "replayed" => match Record::read(&mut fields)? {
            Record::Reservation(found) => ReserveReply::HeldBefore(found),
            Record::Answer(text) if text.starts_with("tracked\n") => {
                match track::read(Fields::stored("track_degraded", &text), None)? {
                    TrackReply::Tracked { ran, groups, .. } => {
                        let groups = groups.into_iter().map(|group| group.id).collect();
                        ReserveReply::Before(Box::new(ReserveReply::Degraded(ran, groups)))
                    }
                    _ => return Err(fields.unexpected("a kept answer")),
                }
            }
            Record::Answer(text) => ReserveReply::Before(Box::new(read(Fields::stored("reserve", &text), 0)?)),
        },
        "reused" => ReserveReply::Reused,
        "again" => ReserveReply::Again(read_ran(&mut fields)?),
        "denied" => ReserveReply::Denied(read_ran(&mut fields)?, read_denied(&mut fields)?),
        "held" => ReserveReply::Held {
            ran: read_ran(&mut fields)?,
            expires_at_ms: fields.time()?,
            tallies: read_tallies(groups, &mut fields)?,
        },
        "unmetered" => ReserveReply::Unmetered(Ran { now_ms: fields.time()?, reclaimed: 0 }),
        stale => read_stale(stale, &mut fields).map(|(stale, now)| ReserveReply::Stale(stale, now))?,
    })
}

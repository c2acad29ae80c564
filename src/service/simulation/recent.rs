//! Replays recent calls against a draft, limited in entries and time, so that it can run while the user is typing.

use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::comparison::{Comparison, RuleSet, SimulationInput, Source};
use super::own_quotas::OwnerReads;
use super::relevant::Relevant;
use super::report::Report;
use super::timeline::{Timeline, TimelineBuilder, Units};
use super::users::counters_with;
use super::weight::{OWN_GROUP_BYTES, Weight};
use super::whatif::units;
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::configuration::policy_body::PolicyBody;
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::reporting::ledger::{EntryKind, StoredEntry};
use crate::domain::time::window::TimeMs;
use crate::domain::values::ids::{PlanId, PolicyId};
use crate::service::configuration::app_config::AppConfig;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::{Placement, Tenant};
use crate::store::client::pace::Pace;
use crate::store::keys::Bucket;
use crate::store::reporting::ledger::MOST_PER_PAGE;
use crate::store::reporting::stream::Stream;

/// The approximate maximum memory for the entries of all buckets.
const MOST_BYTES: usize = 80 * 1024 * 1024;
/// Reading ends after this time.
const READ_FOR: Duration = Duration::from_secs(5);

/// The maximum and the default number of entries.
pub const MOST_ENTRIES: usize = 50_000;
pub const ENTRIES: usize = 20_000;
/// Fewer entries are not meaningful.
pub const LEAST_ENTRIES: usize = 100;

/// The draft.
#[derive(Clone, Debug)]
pub enum Draft {
    /// `instead`: replay with the users of this plan.
    Plan {
        id: PlanId,
        body: Box<PlanBody>,
        instead: Option<PlanId>,
    },
    Policy {
        id: PolicyId,
        body: Box<PolicyBody>,
    },
}

/// Why not all recorded entries were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = WhatifCut)]
pub enum ReadLimit {
    /// There are more entries than requested.
    Entries,
    /// Reading took too long.
    Time,
    /// The entries took too much memory.
    Size,
}

/// How a draft would have changed recent decisions.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecentWhatif)]
pub struct RecentReport {
    #[serde(flatten)]
    pub report: Report,
    /// Null if all recorded entries were read. Otherwise counters begin with the amounts that are known for `since`,
    /// and those of new groups with 0.
    pub cut: Option<ReadLimit>,
    /// The maximum number of entries.
    pub most_entries: u64,
}

/// The newest entries of a bucket, each stream's newest first.
struct NewestEntries {
    streams: Vec<StreamPart>,
    /// Their approximate size.
    bytes: usize,
    cut: Option<ReadLimit>,
}

/// The part of a stream that was read.
struct StreamPart {
    stream: Stream,
    entries: Vec<StoredEntry>,
    /// The number of unreadable entries.
    damaged: usize,
    reached: Option<EntryId>,
}

impl StreamPart {
    fn of(stream: Stream) -> Self {
        Self { stream, entries: Vec::new(), damaged: 0, reached: None }
    }
}

/// Faults of a draft, with their path in the request.
fn within(path: &str, error: ServiceError) -> ServiceError {
    match error {
        ServiceError::Invalid(faults) => {
            ServiceError::Invalid(faults.into_iter().map(|fault| fault.within(path)).collect())
        }
        other => other,
    }
}

impl Draft {
    fn title(&self) -> String {
        match self {
            Self::Plan { id, .. } => format!("Plan {id}"),
            Self::Policy { id, .. } => format!("Policy {id}"),
        }
    }

    /// The configuration with the draft applied.
    ///
    /// # Errors
    /// Every fault of the draft, under `plan` or `policy`.
    pub fn applied(&self, present: &AppConfig, placement: Placement) -> Result<AppConfig, ServiceError> {
        match self {
            Self::Plan { id, body, .. } => {
                present.with_plan(placement, id, body.as_ref().clone()).map_err(|error| within("plan", error))
            }
            Self::Policy { id, body } => {
                present.with_policy(placement, id, body.as_ref().clone()).map_err(|error| within("policy", error))
            }
        }
    }

    /// A new plan needs `usersOf`.
    fn check_users(&self, present: &AppConfig) -> Result<(), ServiceError> {
        let Self::Plan { id, instead, .. } = self else { return Ok(()) };
        match instead {
            Some(instead) if present.plan(instead).is_none() => {
                Err(ServiceError::invalid("usersOf", format!("must be an existing plan; there is no plan `{instead}`")))
            }
            None if present.plan(id).is_none() => {
                let message =
                    format!("is required, since plan `{id}` does not exist yet: the plan whose users would get it");
                Err(ServiceError::invalid("usersOf", message))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Users of the first plan get the second.
    fn instead(&self) -> Option<(&PlanId, &PlanId)> {
        match self {
            Self::Plan { id, instead, .. } => instead.as_ref().filter(|instead| *instead != id).map(|of| (of, id)),
            Self::Policy { .. } => None,
        }
    }
}

/// How much of a bucket is read.
#[derive(Clone, Copy)]
struct Bounds {
    entries: usize,
    bytes: usize,
    until: Instant,
}

impl Gateway {
    /// Replays at most `most` of the newest entries. It blocks its thread for long, so it needs a separate one.
    ///
    /// # Errors
    /// [`ServiceError`]; every fault of the draft.
    pub async fn whatif_recent(
        &self,
        tenant: &Tenant,
        draft: &Draft,
        most: usize,
    ) -> Result<RecentReport, ServiceError> {
        let began = Instant::now();
        let present = self.present_config(&tenant.app).await?;
        draft.check_users(&present)?;
        let drafted = draft.applied(&present, tenant.placement)?;
        let units = units(&drafted);
        let configs = [&present, &drafted];
        let (mut relevant, mut weight) = (Relevant::new(configs), Weight::new(configs));
        let grants = self.limit_changes_by_grants(tenant).await?;
        let mut reads = OwnerReads::default();
        let buckets = tenant.buckets();
        let share = most.div_ceil(buckets.len().max(1));
        let (mut whole, mut entries, mut complete, mut cut) = (Comparison::default(), 0, true, None);
        for (place, bucket) in buckets.iter().enumerate() {
            for stream in Stream::ALL {
                complete &= self.store.stream_info(bucket, stream).await?.whole;
            }
            // Time that one bucket does not need is available to the others.
            let buckets_left = u32::try_from(buckets.len() - place).unwrap_or(u32::MAX);
            let until = Instant::now() + READ_FOR.saturating_sub(began.elapsed()) / buckets_left;
            let bounds = Bounds { entries: share, bytes: MOST_BYTES / buckets.len().max(1), until };
            let newest = self.newest(bucket, &mut relevant, &mut weight, bounds).await?;
            cut = cut.or(newest.cut);
            entries += newest.count();
            complete &= newest.is_sound();
            let (since_ms, timeline) = newest.timeline(&units, complete);
            let (subscribed, mut moved) = self.users_of_timeline(bucket, &timeline).await?;
            moved.extend(grants.iter().cloned());
            let work = SimulationInput {
                timeline: &timeline,
                units: &units,
                app: &tenant.app,
                subscribed: &subscribed,
                since_ms,
                refuses: true,
            };
            let rules = RuleSet { config: &drafted, instead: draft.instead() };
            let both = [RuleSet { config: &present, instead: None }, rules];
            let own = self.own_quotas_of_timeline(bucket, &work, both, &mut reads).await?;
            // The counters of the first replay are freed before the second allocates its own.
            let mut verdicts = Vec::new();
            let counters = || counters_with(&moved, &own);
            let under_present = work.present(&present, counters(), |_| {}, |verdict| verdicts.push(verdict));
            let under_draft = work.draft(rules, counters(), |_| {}, verdicts.into_iter());
            whole.add(&timeline, under_draft.without_accounts(), under_present, since_ms);
        }
        let source = format!("the ledger of {}, {}", tenant.app, tenant.mode);
        let source = Source { name: source, entries: entries as u64, whole: complete, unread_owners: reads.unread };
        let into_result = whole.into_result(draft.title(), source, &units, began);
        Ok(RecentReport { report: into_result.report, cut, most_entries: most as u64 })
    }

    /// The newest entries of both streams of a bucket, equally far back. One page of each is read even if time is up.
    async fn newest(
        &self,
        bucket: &Bucket,
        relevant: &mut Relevant<'_>,
        weight: &mut Weight<'_>,
        bounds: Bounds,
    ) -> Result<NewestEntries, ServiceError> {
        let Bounds { entries: most, bytes: most_bytes, until } = bounds;
        let mut newest = NewestEntries { streams: Stream::ALL.map(StreamPart::of).into(), bytes: 0, cut: None };
        let mut open: Vec<usize> = (0..newest.streams.len()).collect();
        // No stream may use all entries before the other was read.
        let first = (most / 4).clamp(1, MOST_PER_PAGE);
        let (mut page, mut pace) = (first, Pace::default());
        // The stream that was read least far back is read next.
        while let Some(next) = open.iter().copied().max_by_key(|place| newest.reached(*place)) {
            let left = most.saturating_sub(newest.count());
            let is_begun = newest.reached(next) < u64::MAX;
            let cut = match () {
                () if left == 0 => Some(ReadLimit::Entries),
                () if is_begun && newest.bytes >= most_bytes => Some(ReadLimit::Size),
                () if is_begun && Instant::now() >= until => Some(ReadLimit::Time),
                () => None,
            };
            if cut.is_some() {
                newest.cut = cut;
                break;
            }
            pace.rest().await;
            let read = &newest.streams[next];
            let wanted = page.min(left);
            let mut found = self.store.entries_before(bucket, read.stream, read.reached, wanted).await?;
            page = found.next_count().min(first);
            newest.bytes += self.prune(bucket, relevant, &mut found.entries).await? * OWN_GROUP_BYTES;
            newest.bytes += found.entries.iter().map(|stored| weight.of(&stored.entry)).sum::<usize>();
            let read = &mut newest.streams[next];
            if found.count() < wanted {
                open.retain(|place| *place != next);
            }
            read.reached = found.last.or(read.reached);
            read.damaged += found.damaged.len();
            read.entries.extend(found.entries);
        }
        // Where only one of the streams was read, the record is incomplete.
        let edge = open.iter().map(|place| newest.reached(*place)).max().filter(|_| newest.cut.is_some());
        if let Some(edge_ms) = edge {
            for read in &mut newest.streams {
                read.entries.retain(|entry| entry.id.time_ms >= edge_ms);
            }
        }
        Ok(newest)
    }
}

impl NewestEntries {
    fn count(&self) -> usize {
        self.streams.iter().map(|read| read.entries.len() + read.damaged).sum()
    }

    /// Nothing that was read has been left out.
    fn is_sound(&self) -> bool {
        self.streams.iter().all(|read| read.damaged == 0)
    }

    /// The time (ms, Redis) of the oldest entry of a stream that was read; before the first read, later than any.
    fn reached(&self, place: usize) -> u64 {
        self.streams.get(place).and_then(|read| read.reached).map_or(u64::MAX, |reached| reached.time_ms)
    }

    /// The time from which calls are evaluated, and the timeline. Of earlier calls only their effect is known.
    fn timeline(self, units: &Units, complete: bool) -> (TimeMs, Timeline) {
        let of_calls = |entry: &&StoredEntry| entry.entry.kind != EntryKind::Expire;
        let oldest = self.streams.iter().filter_map(|read| read.entries.iter().rfind(of_calls));
        let since_ms = match self.cut {
            None => TimeMs::MIN,
            Some(_) => oldest.map(|stored| stored.entry.at_ms).min().unwrap_or(TimeMs::MAX),
        };
        let whole = complete && self.cut.is_none();
        let mut builder = TimelineBuilder::new(units.clone(), since_ms, TimeMs::MAX, whole);
        for read in self.streams {
            for entry in read.entries.into_iter().rev() {
                builder.add(read.stream, entry);
            }
        }
        (since_ms, builder.finish())
    }
}

//! The filter of events.

use std::collections::BTreeSet;

use crate::domain::metering::reservation::ReservationId;
use crate::domain::reporting::ledger::{Entry, EntryKind, Outcome};
use crate::domain::values::glob;
use crate::domain::values::ids::{GroupId, KeyId, UserId};
use crate::service::tenant::Tenant;
use crate::store::keys::Bucket;
use crate::store::reporting::stream::Stream;

/// All given conditions must match.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Any of them; if empty, every type.
    pub types: BTreeSet<EntryKind>,
    pub user: Option<UserId>,
    /// A name or a glob that matches any event of the call.
    pub event: Option<String>,
    pub key: Option<KeyId>,
    /// The call charged, held in, or was denied by this group.
    pub group: Option<GroupId>,
    pub reservation: Option<ReservationId>,
    pub outcome: Option<Outcome>,
    pub late: Option<bool>,
    /// Whether groups that only observe would have denied the call.
    pub observed: Option<bool>,
    /// The reason of a denial or of a release.
    pub reason: Option<String>,
    /// Names with values that a single event of the call must have.
    pub metadata: Vec<(String, String)>,
}

impl EventFilter {
    /// The streams that may contain such events.
    pub(super) fn sources(&self, tenant: &Tenant) -> Vec<(Bucket, Stream)> {
        let buckets = match (&self.user, &self.reservation) {
            (Some(user), _) => vec![tenant.bucket_of(user)],
            (None, Some(id)) => tenant.bucket(id.bucket).into_iter().collect(),
            (None, None) => tenant.buckets(),
        };
        let holds = |stream| match stream {
            Stream::Ledger => self.types.is_empty() || self.types.iter().any(|kind| *kind != EntryKind::Denial),
            Stream::Denials => self.types.is_empty() || self.types.contains(&EntryKind::Denial),
        };
        let streams: Vec<Stream> = Stream::ALL.into_iter().filter(|stream| holds(*stream)).collect();
        buckets.iter().flat_map(|bucket| streams.iter().map(|stream| (bucket.clone(), *stream))).collect()
    }

    pub fn wants(&self, entry: &Entry) -> bool {
        let reservation = |id: &ReservationId| {
            entry.operation.as_ref() == Some(&id.name) && entry.created_at_ms == Some(id.created_at_ms)
        };
        (self.types.is_empty() || self.types.contains(&entry.kind))
            && self.user.as_ref().is_none_or(|user| entry.user.as_ref() == Some(user))
            && self.key.as_ref().is_none_or(|key| entry.key.as_ref() == Some(key))
            && self.reservation.as_ref().is_none_or(reservation)
            && self.outcome.is_none_or(|outcome| entry.details.outcome == Some(outcome))
            && self.late.is_none_or(|late| entry.late == late)
            && self.observed.is_none_or(|observed| observes(entry) == observed)
            && self.reason.as_deref().is_none_or(|reason| says(entry, reason))
            && self.group.as_ref().is_none_or(|group| concerns(entry, group))
            && self.event.as_deref().is_none_or(|pattern| names(entry, pattern))
            && (self.metadata.is_empty() || self.has_metadata(entry))
    }

    fn has_metadata(&self, entry: &Entry) -> bool {
        entry.entry_items().any(|entry_items| {
            self.metadata.iter().all(|(name, value)| entry_items.metadata.get(name) == Some(value.as_str()))
        })
    }
}

fn says(entry: &Entry, reason: &str) -> bool {
    entry.reason.is_some_and(|known| known.as_str() == reason) || entry.details.reason.as_deref() == Some(reason)
}

fn observes(entry: &Entry) -> bool {
    entry.observed || entry.denying.iter().any(|counter| counter.observed)
}

fn concerns(entry: &Entry, group: &GroupId) -> bool {
    entry.charges.iter().any(|charge| charge.group == *group)
        || entry.denying.iter().any(|denying_counter| denying_counter.group == *group)
        || entry.held.iter().any(|held| held.group == *group)
}

fn names(entry: &Entry, pattern: &str) -> bool {
    let items = entry.snapshot.iter().flat_map(|snapshot| snapshot.items.iter().map(|item| &item.event));
    entry.event.iter().chain(items).any(|event| glob::matches(pattern, event.as_str()))
}

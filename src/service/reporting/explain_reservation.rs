//! Explains a reservation from its record and its ledger entries.

use std::collections::{HashMap, HashSet};

use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::{Caller, EffectiveLimits, Request};
use crate::domain::metering::explain::{ExplainedGroup, trace};
use crate::domain::metering::reservation::{GRACE_MS, Item, LONGEST_LIFE_MS, RequestSnapshot, ReservationId, Rules};
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::reporting::ledger::{Entry, EntryKind, Outcome, StoredEntry};
use crate::domain::time::window::{TimeMs, Window};
use crate::domain::values::ids::{EventName, GroupId, KeyId, UserId};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::metering::facts::NO_ANCHOR;
use crate::service::metering::settle::locate;
use crate::service::tenant::Tenant;
use crate::store::accounts::credits::CreditPlace;
use crate::store::client::pace::Pace;
use crate::store::keys::Bucket;
use crate::store::metering::record::{ReservationState, ReservedEntry};
use crate::store::reporting::stream::Stream;

/// How many entries are searched for those of one reservation.
const MOST_SEARCHED: usize = 50_000;
const PAGE: usize = 200;

/// A reservation, explained.
#[derive(Clone, Debug)]
pub struct ExplainedReservation {
    pub id: ReservationId,
    pub status: Status,
    pub late: bool,
    pub outcome: Option<Outcome>,
    /// None if its record no longer exists.
    pub expires_at_ms: Option<TimeMs>,
    pub user: Option<UserId>,
    pub key: Option<KeyId>,
    /// The first event, if the request is not known.
    pub event: Option<EventName>,
    /// The request, with the plan and policies in effect. None if neither the record nor an entry has it.
    pub snapshot: Option<RequestSnapshot>,
    /// Per item of the request, how each group of those versions treats it; empty if a version is no longer stored.
    pub items: Vec<(Item, Vec<ExplainedGroup>)>,
    /// With the present window if the entry belongs to it.
    pub accounts: Vec<(ReservedEntry, Option<Window>)>,
    /// IDs of the credits that the record and the entries name.
    credits: HashMap<CreditPlace, String>,
    /// Oldest first.
    pub entries: Vec<StoredEntry>,
    /// There were too many entries to search all of them.
    pub search_cut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Held,
    /// The reservation has expired; a commit may still follow within the grace period.
    Expired,
    Committed,
    Released,
}

impl ExplainedReservation {
    /// The ID of the credit that an entry names in place of a window.
    pub fn credit_id(&self, owner: &OwnerName, group: &GroupId, window_seq: &str) -> Option<&str> {
        self.credits.get(&CreditPlace::of_entry(owner, group, window_seq)?).map(String::as_str)
    }
}

impl Gateway {
    /// # Errors
    /// [`ServiceError`]; not found or expired, if there is neither a record nor an entry of it.
    pub async fn explain_reservation(&self, tenant: &Tenant, id: &str) -> Result<ExplainedReservation, ServiceError> {
        let (bucket, id) = locate(tenant, id)?;
        let now_ms = self.now(&bucket).await?;
        let state = self.store.reservation_state(&bucket, &id.name).await?;
        // A record of another time has the same name if its idempotency key was reused.
        let state = state.filter(|state| state.stored.created_at_ms == id.created_at_ms);
        let until_ms =
            state.as_ref().map_or(id.created_at_ms + LONGEST_LIFE_MS, |it| it.stored.expires_at_ms) + GRACE_MS;
        let (entries, search_cut) = self.entries_of(&bucket, &id, until_ms).await?;
        let last = entries.last().map(|stored| &stored.entry);
        let by_kind = |entry: &Entry| status_of(entry.kind);
        let status = match (&state, entries.iter().rev().find_map(|stored| by_kind(&stored.entry))) {
            (Some(state), _) => status(state, now_ms),
            (None, Some(status)) => status,
            (None, None) => return Err(self.gone(&id, now_ms).await),
        };
        let of_ledger = || entries.iter().rev().find_map(|stored| stored.entry.snapshot.clone());
        let snapshot = state.as_ref().map(|state| state.stored.snapshot.clone()).or_else(of_ledger);
        let key = state.as_ref().and_then(|state| state.key.clone()).or_else(|| last.and_then(|it| it.key.clone()));
        let items = match &snapshot {
            Some(snapshot) => self.traced(tenant, snapshot, key.as_ref()).await?,
            None => Vec::new(),
        };
        let mut accounts = Vec::new();
        for entry in state.iter().flat_map(|state| &state.entries) {
            let stored = self.store.stored_owner(&bucket, &entry.owner).await?;
            accounts.push((entry.clone(), stored.window_of(&entry.group, &entry.window_seq)));
        }
        let credits = self.credit_ids(&bucket, state.as_ref(), &entries).await?;
        let outcome = || entries.iter().rev().find_map(|stored| stored.entry.details.outcome);
        Ok(ExplainedReservation {
            status,
            late: entries.iter().any(|stored| stored.entry.late) || state.as_ref().is_some_and(|state| state.late),
            outcome: state.as_ref().and_then(|state| state.outcome).or_else(outcome),
            expires_at_ms: state.as_ref().map(|state| state.stored.expires_at_ms),
            user: snapshot
                .as_ref()
                .map(|snapshot| snapshot.user.clone())
                .or_else(|| last.and_then(|entry| entry.user.clone())),
            event: snapshot.as_ref().and_then(RequestSnapshot::event).or_else(|| last?.event.as_ref()).cloned(),
            key,
            snapshot,
            items,
            accounts,
            credits,
            entries,
            search_cut,
            id,
        })
    }

    /// The IDs of the credits that a record and ledger entries name.
    async fn credit_ids(
        &self,
        bucket: &Bucket,
        state: Option<&ReservationState>,
        entries: &[StoredEntry],
    ) -> Result<HashMap<CreditPlace, String>, ServiceError> {
        let reserved = state.into_iter().flat_map(|state| &state.entries);
        let reserved = reserved.map(|it| CreditPlace::of_entry(&it.owner, &it.group, &it.window_seq));
        let charges = entries.iter().flat_map(|stored| &stored.entry.charges);
        let charges = charges.map(|it| CreditPlace::of_entry(&it.owner, &it.group, &it.window_seq));
        let places: HashSet<CreditPlace> = reserved.chain(charges).flatten().collect();
        let mut ids = HashMap::new();
        for place in places {
            if let Some(details) = self.store.credit_details(bucket, &place).await? {
                ids.insert(place, details.id);
            }
        }
        Ok(ids)
    }

    /// How the groups of the versions in effect treat each item.
    async fn traced(
        &self,
        tenant: &Tenant,
        snapshot: &RequestSnapshot,
        key: Option<&KeyId>,
    ) -> Result<Vec<(Item, Vec<ExplainedGroup>)>, ServiceError> {
        let rules = match self.rules(&tenant.app, snapshot).await {
            Ok(rules) => rules,
            // A version that is no longer stored cannot be explained.
            Err(ServiceError::Internal(_)) => Rules { plan: None, policies: Vec::new() },
            Err(other) => return Err(other),
        };
        let effective_limits = EffectiveLimits {
            plan: rules.plan.as_deref(),
            policies: &rules.policies,
            anchor: NO_ANCHOR,
            until_ms: TimeMs::MAX,
            blocked: false,
        };
        let caller = Caller { user: &snapshot.user, app: &tenant.app, key: snapshot.key.as_ref().or(key) };
        let traced = snapshot.items.iter().map(|item| {
            let Item { event, quantity, metadata, estimated, .. } = item;
            let request = Request { event, quantity: quantity.0, metadata, learned: estimated };
            // The windows do not matter here.
            (item.clone(), trace(effective_limits, caller, request, 0).0)
        });
        Ok(traced.collect())
    }

    /// The ledger entries of a reservation, and whether some may be missing because the search ended early or entries
    /// are unreadable.
    async fn entries_of(
        &self,
        bucket: &Bucket,
        id: &ReservationId,
        until_ms: TimeMs,
    ) -> Result<(Vec<StoredEntry>, bool), ServiceError> {
        let own = |stored: &StoredEntry| {
            stored.entry.operation.as_ref() == Some(&id.name) && stored.entry.created_at_ms == Some(id.created_at_ms)
        };
        let at = |ms: TimeMs, number| EntryId { time_ms: u64::try_from(ms).unwrap_or(0), number };
        let mut place = match bucket.is_sandbox() {
            true => None,
            false => Some(at(id.created_at_ms, 0)),
        };
        let until = at(until_ms, u64::MAX);
        let (mut found, mut searched, mut unread, mut wanted) = (Vec::new(), 0, false, PAGE);
        let mut pace = Pace::default();
        while searched < MOST_SEARCHED {
            pace.rest().await;
            // IDs contain real time. With a test clock the newest entries are searched first.
            let page = match bucket.is_sandbox() {
                true => self.store.entries_before(bucket, Stream::Ledger, place, wanted).await?,
                false => self.store.entries_after(bucket, Stream::Ledger, place, Some(until), wanted).await?,
            };
            searched += page.count();
            place = page.last.or(place);
            let full = page.count() == wanted;
            wanted = page.next_count();
            // An unreadable entry may belong to the reservation.
            unread |= !page.damaged.is_empty();
            found.extend(page.entries.into_iter().filter(|stored| own(stored)));
            if !full {
                found.sort_by_key(|stored| stored.id);
                return Ok((found, unread));
            }
        }
        found.sort_by_key(|stored| stored.id);
        Ok((found, true))
    }
}

fn status(state: &ReservationState, now_ms: TimeMs) -> Status {
    match state.status.as_str() {
        "committed" => Status::Committed,
        "released" => Status::Released,
        _ if now_ms >= state.stored.expires_at_ms => Status::Expired,
        _ => Status::Held,
    }
}

/// The status of a reservation according to one entry.
fn status_of(kind: EntryKind) -> Option<Status> {
    match kind {
        EntryKind::Commit | EntryKind::Refund | EntryKind::Outcome => Some(Status::Committed),
        EntryKind::Release => Some(Status::Released),
        EntryKind::Expire | EntryKind::Draw => Some(Status::Expired),
        EntryKind::Track
        | EntryKind::Reset
        | EntryKind::Rollover
        | EntryKind::Credit
        | EntryKind::Lapse
        | EntryKind::Void
        | EntryKind::Denial => None,
    }
}

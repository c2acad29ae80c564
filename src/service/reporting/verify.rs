//! Verifies counters against the ledger and the live holds, while the gateway is running.

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::events::id::EventId;
use crate::domain::access::audit::AuditEntry;
use crate::domain::configuration::scope::{OwnerName, Scope};
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::reporting::ledger::Charge;
use crate::domain::reporting::proof::{Drift, Proof};
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::Unit;
use crate::domain::values::ids::{AppId, Mode, UserId};
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::client::pace::Pace;
use crate::store::keys::Bucket;
use crate::store::reporting::stream::Stream;

/// Owners that are read in one step.
const OWNERS: usize = 16;
/// Entries read at a time.
const ENTRIES: usize = 500;
/// Names of owners read at a time.
const NAMES: usize = 1_000;
/// Attempts to repair a counter that other calls change meanwhile.
const REPAIR_ROUNDS: usize = 100;

/// A drift with its location.
#[derive(Clone, Debug)]
pub struct LocatedDrift {
    pub bucket: Bucket,
    pub drift: Drift<EntryId>,
    pub unit: Unit,
}

/// The result of a verification.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    pub entries: u64,
    pub owners: u64,
    /// Windows of counters with at least one stored entry.
    pub accounts: u64,
    /// When the oldest stored entry was written (ms, real time); None if nothing was ever trimmed.
    pub since_ms: Option<TimeMs>,
    /// Ledger entries that cannot be read.
    pub damaged: Vec<EventId>,
    pub drifts: Vec<LocatedDrift>,
}

/// The stored result of the last complete run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastVerified {
    pub at_ms: TimeMs,
    pub drifts: u64,
    pub entries: u64,
    pub owners: u64,
    #[serde(default)]
    pub damaged: u64,
}

/// The entries of a bucket that were read so far.
struct Reading {
    bucket: Bucket,
    proof: Proof<EntryId>,
    cursor: EntryId,
    entries: u64,
    damaged: Vec<EventId>,
}

/// Entries in order, with None for charges that cannot be read.
type Charges = Vec<(EntryId, Option<Vec<Charge>>)>;

impl Reading {
    fn new(bucket: Bucket, whole: bool) -> Self {
        let cursor = EntryId { time_ms: 0, number: 0 };
        Self { proof: Proof::new(whole), cursor, entries: 0, damaged: Vec::new(), bucket }
    }
}

impl Gateway {
    /// Recomputes `used` from the ledger and `held` from live holds, for all owners or one user. Each owner is read in
    /// the same moment as its entries, so concurrent calls make no difference.
    ///
    /// `progress` receives the number of entries and owners so far.
    ///
    /// # Errors
    /// [`ServiceError`]
    /// [`ServiceError`]
    pub async fn verify(
        &self,
        tenant: &Tenant,
        user: Option<&UserId>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Verified, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let unit = |drift: &Drift<EntryId>| config.groups.get(&drift.group).map_or(Unit::Count, |kind| kind.unit);
        let mut verified = Verified::default();
        let buckets = user.map_or_else(|| tenant.buckets(), |user| vec![tenant.bucket_of(user)]);
        for bucket in buckets {
            let info = self.store.stream_info(&bucket, Stream::Ledger).await?;
            let first = info.first.filter(|_| !info.whole).and_then(|first| TimeMs::try_from(first.time_ms).ok());
            verified.since_ms = verified.since_ms.max(first);
            let mut reading = Reading::new(bucket, info.whole);
            self.read_on(&mut reading, |entries| progress(verified.entries + entries, verified.owners)).await?;
            let mut owners = Owners::new(user, self.scopes(tenant).await?);
            while let Some(batch) = self.next_owners(&mut owners, &reading).await? {
                for drift in self.compare(&mut reading, &batch).await? {
                    verified.drifts.push(LocatedDrift { bucket: reading.bucket.clone(), unit: unit(&drift), drift });
                }
                verified.owners += batch.len() as u64;
                progress(verified.entries + reading.entries, verified.owners);
            }
            verified.entries += reading.entries;
            verified.damaged.extend(reading.damaged);
            verified.accounts += reading.proof.accounts() as u64;
        }
        Ok(verified)
    }

    /// Repairs a counter. False if it is already correct.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn repair(&self, tenant: &Tenant, found: &LocatedDrift) -> Result<bool, ServiceError> {
        let mut drift = found.drift.clone();
        for _ in 0..REPAIR_ROUNDS {
            let progress = |amount: i64| Some(amount.to_string());
            let audit_entry = AuditEntry {
                actor: "verify".to_owned(),
                action: "counter.repair".to_owned(),
                target: format!("{}:{}:{}", drift.group, drift.window_seq, drift.figure.as_str()),
                before: progress(drift.stored),
                after: progress(drift.proven),
                note: Some(drift.owner.to_string()),
            };
            if self.store.repair(&found.bucket, &drift, &audit_entry).await? {
                return Ok(true);
            }
            let again = self.verify_owner(&found.bucket, &drift.owner).await?;
            let same = |other: &Drift<EntryId>| {
                (&other.group, &other.window_seq, other.figure) == (&drift.group, &drift.window_seq, drift.figure)
            };
            match again.into_iter().find(same) {
                Some(other) => drift = other,
                None => return Ok(false),
            }
        }
        Err(ServiceError::StoreUnavailable(format!("a counter of app {} kept changing", tenant.app)))
    }

    async fn verify_owner(&self, bucket: &Bucket, owner: &OwnerName) -> Result<Vec<Drift<EntryId>>, ServiceError> {
        let info = self.store.stream_info(bucket, Stream::Ledger).await?;
        let mut reading = Reading::new(bucket.clone(), info.whole);
        self.read_on(&mut reading, |_| ()).await?;
        self.compare(&mut reading, std::slice::from_ref(owner)).await
    }

    /// Reads entries up to the newest one.
    async fn read_on(&self, reading: &mut Reading, mut progress: impl FnMut(u64)) -> Result<(), ServiceError> {
        let mut pace = Pace::default();
        loop {
            pace.rest().await;
            let page =
                self.store.entries_after(&reading.bucket, Stream::Ledger, Some(reading.cursor), None, ENTRIES).await?;
            let whole = page.count() < ENTRIES;
            let (number, stream) = (reading.bucket.number(), Stream::Ledger);
            reading.damaged.extend(page.damaged.iter().map(|it| EventId { at: it.id, bucket: number, stream }));
            let sound = page.entries.into_iter().map(|stored| (stored.id, Some(stored.entry.charges)));
            let mut entries: Charges = sound.chain(page.damaged.into_iter().map(|it| (it.id, it.charges))).collect();
            entries.sort_by_key(|(id, _)| *id);
            self.add(reading, entries).await?;
            progress(reading.entries);
            if whole {
                return Ok(());
            }
        }
    }

    async fn add(&self, reading: &mut Reading, entries: Charges) -> Result<(), ServiceError> {
        let Some(last) = entries.last().map(|(id, _)| *id) else { return Ok(()) };
        // Trimming may have removed entries before they were read; then missing entries are not a drift.
        let info = self.store.stream_info(&reading.bucket, Stream::Ledger).await?;
        let overtaken = |first: EntryId| reading.entries > 0 && first > reading.cursor;
        let trimmed = !info.whole && info.first.is_some_and(overtaken);
        reading.entries += entries.len() as u64;
        for (id, charges) in entries {
            match charges {
                Some(charges) => reading.proof.add(&id, &charges, trimmed),
                None => reading.proof.add_unreadable(),
            }
        }
        reading.cursor = last;
        Ok(())
    }

    async fn compare(&self, reading: &mut Reading, owners: &[OwnerName]) -> Result<Vec<Drift<EntryId>>, ServiceError> {
        let mut stored = loop {
            let survey = self.store.survey(&reading.bucket, reading.cursor, owners).await?;
            let unreadable = survey.entries.iter().filter(|(_, charges)| charges.is_none());
            let (bucket, stream) = (reading.bucket.number(), Stream::Ledger);
            reading.damaged.extend(unreadable.map(|(at, _)| EventId { at: *at, bucket, stream }));
            self.add(reading, survey.entries).await?;
            if !survey.more {
                break survey.stored;
            }
        };
        let mut drifts = Vec::new();
        for (owner, stored_counters) in owners.iter().zip(&mut stored) {
            if stored_counters.counters.is_empty() && reading.proof.knows(owner) {
                stored_counters.lost = self.store.stays(&reading.bucket, owner).await?;
            }
            drifts.extend(reading.proof.compare(owner, stored_counters));
        }
        Ok(drifts)
    }

    /// Scopes whose owners are listed in an index.
    async fn scopes(&self, tenant: &Tenant) -> Result<Vec<Scope>, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let mut scopes: Vec<Scope> = Vec::new();
        for kind in config.groups.values().filter(|kind| !kind.scope.is_user()) {
            if !scopes.contains(&kind.scope) {
                scopes.push(kind.scope.clone());
            }
        }
        Ok(scopes)
    }

    async fn next_owners(
        &self,
        owners: &mut Owners,
        reading: &Reading,
    ) -> Result<Option<Vec<OwnerName>>, ServiceError> {
        while owners.ready.len() < OWNERS && !owners.is_done() {
            self.list_more(owners, reading).await?;
        }
        let count = owners.ready.len().min(OWNERS);
        let batch: Vec<OwnerName> = owners.ready.drain(..count).collect();
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// Lists users, then owners by scope, then those that occur in the ledger only.
    async fn list_more(&self, owners: &mut Owners, reading: &Reading) -> Result<(), ServiceError> {
        let bucket = &reading.bucket;
        match &mut owners.next {
            Next::Users(after) => {
                let names = self.store.user_names(bucket, "", after.as_deref(), NAMES).await?;
                let last = names.last().map(ToString::to_string);
                let found: Vec<OwnerName> = names.iter().map(OwnerName::of_user).collect();
                owners.next = if last.is_some() { Next::Users(last) } else { Next::Scope(0) };
                owners.push(found);
            }
            Next::Scope(offset) => match owners.scopes.last() {
                None => owners.next = Next::Ledger,
                Some(scope) => {
                    let found = self.store.owners(bucket, scope, *offset, NAMES).await?;
                    *offset += found.len();
                    if found.is_empty() {
                        *offset = 0;
                        owners.scopes.pop();
                    }
                    owners.push(found);
                }
            },
            Next::Ledger => {
                let wanted = |owner: &&OwnerName| owners.user.as_deref().is_none_or(|user| owner.user() == Some(user));
                let found: Vec<OwnerName> = reading.proof.owners().filter(wanted).cloned().collect();
                owners.next = Next::Nothing;
                owners.push(found);
            }
            Next::Nothing => {}
        }
        Ok(())
    }

    /// Stores the result of a complete run for the metrics of all nodes.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn keep_verified(&self, tenant: &Tenant, verified: &Verified) -> Result<(), ServiceError> {
        let Some(bucket) = tenant.buckets().into_iter().next() else { return Ok(()) };
        let last = LastVerified {
            at_ms: TimeMs::try_from(self.store.time_us().await? / 1000).unwrap_or(TimeMs::MAX),
            drifts: verified.drifts.len() as u64,
            entries: verified.entries,
            owners: verified.owners,
            damaged: verified.damaged.len() as u64,
        };
        Ok(self.store.keep_verified(&bucket, &json(&last)?).await?)
    }

    /// Sets the gauges from the last complete run of each app's live mode.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn gauge_verified(&self) -> Result<(), ServiceError> {
        for app in self.apps().await? {
            let id = AppId::parse(&app.id).map_err(|error| ServiceError::Internal(error.to_string()))?;
            let tenant = Tenant { app: id, mode: Mode::Live, placement: app.placement };
            let Some(bucket) = tenant.buckets().into_iter().next() else { continue };
            let text = self.store.last_verified(&bucket).await?;
            let last = text.and_then(|text| serde_json::from_str::<LastVerified>(&text).ok());
            if let Some(last) = last {
                metrics::gauge!("quotagate_verify_drifts", "app" => app.id.clone()).set(last.drifts as f64);
                let damaged = metrics::gauge!("quotagate_verify_damaged_entries", "app" => app.id.clone());
                damaged.set(last.damaged as f64);
                metrics::gauge!("quotagate_verify_time_seconds", "app" => app.id).set(last.at_ms as f64 / 1000.0);
            }
        }
        Ok(())
    }
}

/// The position in the listing of owners.
enum Next {
    Users(Option<String>),
    /// In the last of the scopes, from this offset on.
    Scope(usize),
    Ledger,
    Nothing,
}

struct Owners {
    user: Option<String>,
    scopes: Vec<Scope>,
    next: Next,
    ready: VecDeque<OwnerName>,
    seen: HashSet<OwnerName>,
}

impl Owners {
    fn new(user: Option<&UserId>, scopes: Vec<Scope>) -> Self {
        let (next, scopes) = match user {
            None => (Next::Users(None), scopes),
            Some(_) => (Next::Ledger, Vec::new()),
        };
        let mut owners = Self { user: None, scopes, next, ready: VecDeque::new(), seen: HashSet::new() };
        if let Some(user) = user {
            owners.user = Some(user.to_string());
            owners.push(vec![OwnerName::of_user(user)]);
        }
        owners
    }

    fn push(&mut self, found: Vec<OwnerName>) {
        for owner in found {
            if self.seen.insert(owner.clone()) {
                self.ready.push_back(owner);
            }
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.next, Next::Nothing)
    }
}

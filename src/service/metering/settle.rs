//! commit, release, and refunds of a reservation.

use std::sync::Arc;

use serde::Serialize;

use crate::domain::access::audit::AuditEntry;
use crate::domain::accounts::subscription::Subscribed;
use crate::domain::metering::counter::{Counter, CrossedThreshold, Overflow};
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::metering::reservation::{Actual, ReservationId};
use crate::domain::reporting::ledger::{EntryDetails, Outcome};
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{KeyId, UserId};
use crate::domain::webhooks::webhook::WebhookEvent;
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::keys::Bucket;
use crate::store::metering::admission::UNKNOWN_VERSION;
use crate::store::metering::operation::Operation;
use crate::store::metering::outcome::OutcomeReply;
use crate::store::metering::record::{PackedReservation, StoredOverflow, StoredReservation};
use crate::store::metering::settle::{Account, Measured, SettleReply, Settled, Target};

/// Attempts on a reservation that other calls change at the same time. In each round one call succeeds, so this is how
/// many parallel draws of one reservation are served without a 503.
pub(in crate::service) const ROUNDS: usize = 256;

/// The reason of a release by an operator who gave none.
const BY_HAND: &str = "by hand";

/// The entry in the audit log for a release by an operator.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeldBefore {
    reservation_id: String,
    event: Option<String>,
    created_at: String,
}

/// The state of a reservation after a call.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub id: ReservationId,
    pub user: UserId,
    /// `held`, `committed` or `released`.
    pub status: String,
    pub late: bool,
    pub replayed: bool,
    pub counters: Vec<Counter>,
    pub crossed: Vec<CrossedThreshold>,
    /// What was charged to balances, because it did not fit into a group's quota.
    pub overflow: Vec<Overflow>,
    pub now_ms: TimeMs,
}

/// The options of a commit.
#[derive(Clone, Debug)]
pub struct Commit {
    /// One per item of the reservation; empty to charge the held amounts.
    pub actual: Vec<Actual>,
    /// False for a draw.
    pub is_final: bool,
    /// After the expiry nothing is charged.
    pub reject_late: bool,
    pub outcome: Option<Outcome>,
}

impl Commit {
    fn details(&self) -> EntryDetails {
        EntryDetails { actual: self.actual.clone(), outcome: self.outcome, ..EntryDetails::default() }
    }
}

/// Why a reservation was released.
#[derive(Clone, Debug, Default)]
pub struct Release {
    pub reason: Option<String>,
    pub error_code: Option<String>,
}

impl Gateway {
    /// Charges the held amounts, or the actual figures.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn commit(
        &self,
        tenant: &Tenant,
        id: &str,
        commit: &Commit,
        idempotency: Option<&Idempotency>,
    ) -> Result<Settlement, ServiceError> {
        let (bucket, id) = locate(tenant, id)?;
        let draws = !commit.is_final;
        if draws && commit.actual.is_empty() {
            return Err(ServiceError::invalid(
                "quantity",
                "is required if `final` is false; provide `quantity` or `metadata`",
            ));
        }
        if draws && commit.outcome.is_some() {
            let message = "must be left out if `final` is false; send it with the final commit or later";
            return Err(ServiceError::invalid("outcome", message));
        }
        let details = commit.details();
        for _ in 0..ROUNDS {
            // Only figures and a client's key need more than the ID.
            let known = match commit.actual.is_empty() && idempotency.is_none() {
                true => None,
                false => Some(self.known(&bucket, &id).await?),
            };
            let scope = known.as_ref().map_or("", |known| known.snapshot.user.as_str());
            let operation = Operation::new(scope, idempotency, draws);
            let reports_expiry = self.reports_expiry(tenant).await?;
            let target = Target { bucket: &bucket, id: &id, operation: &operation, reports_expiry };
            let measured = match &known {
                Some(known) if !commit.actual.is_empty() => Some(self.measure(tenant, known, commit).await?),
                _ => None,
            };
            match self.store.commit(target, commit.is_final, commit.reject_late, measured.as_ref(), &details).await? {
                SettleReply::StaleReservation => self.forget(&bucket, &id),
                reply => {
                    // Which balances a draw has charged first is known from the record.
                    let drew = match (&reply, &known) {
                        (SettleReply::Settled(_, settled), Some(known)) if !settled.replayed => {
                            settled.overflow.iter().all(|overflow| known.has(&overflow.balance))
                        }
                        _ => false,
                    };
                    match (known, measured) {
                        (Some(known), Some(Measured { snapshot: Some(snapshot), changes, .. })) if drew => {
                            let after = StoredReservation { snapshot, changes: changes + 1, ..known };
                            let packed = PackedReservation::of(&after)?;
                            self.reservations.insert(bucket.operation(&id.name), packed);
                        }
                        // The state that another call has caused is not known here.
                        _ => self.forget(&bucket, &id),
                    }
                    return self.settlement(tenant, &bucket, id, reply).await;
                }
            }
        }
        Err(busy())
    }

    /// Releases everything that is still held.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn release(
        &self,
        tenant: &Tenant,
        id: &str,
        release: Release,
        idempotency: Option<&Idempotency>,
    ) -> Result<Settlement, ServiceError> {
        let (bucket, id) = locate(tenant, id)?;
        let operation = self.settling(&bucket, &id, idempotency).await?;
        let reports_expiry = self.reports_expiry(tenant).await?;
        let details =
            EntryDetails { reason: release.reason, error_code: release.error_code, ..EntryDetails::default() };
        let target = Target { bucket: &bucket, id: &id, operation: &operation, reports_expiry };
        let reply = self.store.release(target, &details, None).await?;
        self.settlement(tenant, &bucket, id, reply).await
    }

    /// A call on a reservation, with the state of its user.
    async fn settling(
        &self,
        bucket: &Bucket,
        id: &ReservationId,
        idempotency: Option<&Idempotency>,
    ) -> Result<Operation, ServiceError> {
        Ok(match idempotency {
            None => Operation::new("", None, false),
            Some(_) => Operation::new(self.known(bucket, id).await?.snapshot.user.as_str(), idempotency, false),
        })
    }

    /// Releases everything that is still held on behalf of an operator; the ledger and the audit log record the
    /// reason.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn release_by_hand(
        &self,
        tenant: &Tenant,
        id: &str,
        reason: Option<String>,
        by: &KeyId,
        idempotency: Option<&Idempotency>,
    ) -> Result<Settlement, ServiceError> {
        let (bucket, id) = locate(tenant, id)?;
        let known = self.known(&bucket, &id).await?;
        let user = &known.snapshot.user;
        let held = HeldBefore {
            reservation_id: id.to_string(),
            event: known.snapshot.event().map(ToString::to_string),
            created_at: rfc3339(known.created_at_ms),
        };
        let audit_entry = AuditEntry {
            action: "reservation.release".to_owned(),
            before: Some(json(&held)?),
            ..AuditEntry::of_user(user, reason.as_deref(), by)
        };
        let operation = Operation::new(user.as_str(), idempotency, false);
        let reports_expiry = self.reports_expiry(tenant).await?;
        let details =
            EntryDetails { reason: Some(reason.unwrap_or_else(|| BY_HAND.to_owned())), ..EntryDetails::default() };
        let target = Target { bucket: &bucket, id: &id, operation: &operation, reports_expiry };
        let reply = self.store.release(target, &details, Some(&audit_entry)).await?;
        self.forget(&bucket, &id);
        self.settlement(tenant, &bucket, id, reply).await
    }

    /// Records the outcome of a committed reservation. Returns whether the same outcome was recorded before.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn outcome(
        &self,
        tenant: &Tenant,
        id: &str,
        outcome: Outcome,
        idempotency: Option<&Idempotency>,
    ) -> Result<bool, ServiceError> {
        let (bucket, id) = locate(tenant, id)?;
        let operation = self.settling(&bucket, &id, idempotency).await?;
        match self.store.outcome(&bucket, &id, outcome, &operation).await? {
            OutcomeReply::Reused => Err(ServiceError::IdempotencyKeyReused),
            OutcomeReply::Before => Ok(true),
            OutcomeReply::Missing(now_ms) => Err(self.gone(&id, now_ms).await),
            OutcomeReply::Expired(_) => Err(ServiceError::ReservationExpired),
            OutcomeReply::NotPending { status, .. } => Err(ServiceError::ReservationNotPending { status }),
            OutcomeReply::Recorded { replayed, .. } => Ok(replayed),
        }
    }

    /// Refunds the charges of a settled reservation of `user`.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(crate) async fn refund(
        &self,
        tenant: &Tenant,
        user: &str,
        id: &str,
        actual: &Actual,
        operation: &Operation,
    ) -> Result<Settlement, ServiceError> {
        let (bucket, id) = locate(tenant, id)?;
        let known = self.known(&bucket, &id).await?;
        if known.snapshot.user.as_str() != user {
            return Err(unknown_reservation());
        }
        let rules = self.rules(&tenant.app, &known.snapshot).await?;
        let (amounts, whole) = known.snapshot.refund(&tenant.app, &rules, actual)?;
        let target = Target { bucket: &bucket, id: &id, operation, reports_expiry: self.reports_expiry(tenant).await? };
        let details = EntryDetails { actual: vec![actual.clone()], ..EntryDetails::default() };
        let reply = self.store.refund(target, &amounts, &whole, &details).await?;
        self.settlement(tenant, &bucket, id, reply).await
    }

    /// Measures figures with the reservation's present state.
    async fn measure(
        &self,
        tenant: &Tenant,
        known: &StoredReservation,
        commit: &Commit,
    ) -> Result<Measured, ServiceError> {
        let snapshot = &known.snapshot;
        let rules = self.rules(&tenant.app, snapshot).await?;
        if commit.is_final && !snapshot.is_drawn() {
            let totals = snapshot.settle(&tenant.app, &rules, &commit.actual)?;
            return Ok(Measured { changes: known.changes, snapshot: None, totals });
        }
        let (snapshot, totals) = snapshot.draw(&tenant.app, &rules, &commit.actual)?;
        Ok(Measured { changes: known.changes, snapshot: Some(snapshot), totals })
    }

    /// The user's state at that version, or at a later one.
    async fn subscribed_at(
        &self,
        bucket: &Bucket,
        user: &UserId,
        version: &str,
    ) -> Result<Arc<Subscribed>, ServiceError> {
        let key = bucket.account(user);
        if let Some(known) = self.subscriptions.get(&key).filter(|known| known.version == version) {
            return Ok(known);
        }
        let found = self.store.read_users(bucket, std::slice::from_ref(user)).await?;
        let found = Arc::new(found.into_iter().next().flatten().unwrap_or_else(Subscribed::never));
        self.subscriptions.insert(key, Arc::clone(&found));
        Ok(found)
    }

    /// The reservation from the cache or from its record.
    pub(in crate::service) async fn known(
        &self,
        bucket: &Bucket,
        id: &ReservationId,
    ) -> Result<StoredReservation, ServiceError> {
        let key = bucket.operation(&id.name);
        if let Some(known) = self.cached_reservation(&key, id).and_then(|packed| packed.unpack()) {
            return Ok(known);
        }
        match self.read_record(key, bucket, id).await? {
            Some(found) => Ok(found),
            None => Err(self.gone(id, self.clocks.estimate(bucket)).await),
        }
    }

    /// The user of a reservation; None if it has no record.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn user_of_reservation(&self, tenant: &Tenant, id: &str) -> Result<Option<UserId>, ServiceError> {
        let Ok((bucket, id)) = locate(tenant, id) else { return Ok(None) };
        let key = bucket.operation(&id.name);
        if let Some(user) = self.cached_reservation(&key, &id).and_then(|packed| packed.user()) {
            return Ok(Some(user));
        }
        let Some(found) = self.read_record(key, &bucket, &id).await? else { return Ok(None) };
        Ok(Some(found.snapshot.user))
    }

    /// The cached reservation. A record of another time has the same name if its idempotency key was reused.
    fn cached_reservation(&self, key: &str, id: &ReservationId) -> Option<PackedReservation> {
        self.reservations.get(key).filter(|known| known.created_at_ms == id.created_at_ms)
    }

    /// Reads the record and caches it.
    async fn read_record(
        &self,
        key: String,
        bucket: &Bucket,
        id: &ReservationId,
    ) -> Result<Option<StoredReservation>, ServiceError> {
        let found = self.store.reservation(bucket, &id.name).await?;
        let found = found.filter(|found| found.created_at_ms == id.created_at_ms);
        if let Some(found) = &found {
            self.reservations.insert(key, PackedReservation::of(found)?);
        }
        Ok(found)
    }

    pub(in crate::service) async fn reports_expiry(&self, tenant: &Tenant) -> Result<bool, ServiceError> {
        Ok(self.config(&tenant.app).await?.wants(WebhookEvent::ReservationExpired))
    }

    pub(in crate::service) fn forget(&self, bucket: &Bucket, id: &ReservationId) {
        self.reservations.remove(&bucket.operation(&id.name));
    }

    /// The error for a missing record: an ID that was once valid has expired, any other was not found. First checks
    /// that Redis has the data that this node expects.
    pub(in crate::service) async fn gone(&self, id: &ReservationId, now_ms: TimeMs) -> ServiceError {
        match Box::pin(self.store.verify_identity()).await {
            Err(error) => error.into(),
            Ok(()) if id.is_over(now_ms) => ServiceError::ReservationExpired,
            Ok(()) => unknown_reservation(),
        }
    }

    async fn settlement(
        &self,
        tenant: &Tenant,
        bucket: &Bucket,
        id: ReservationId,
        reply: SettleReply,
    ) -> Result<Settlement, ServiceError> {
        match reply {
            SettleReply::Reused => Err(ServiceError::IdempotencyKeyReused),
            SettleReply::Missing(now_ms) => Err(self.gone(&id, now_ms).await),
            SettleReply::Expired(_) => Err(ServiceError::ReservationExpired),
            SettleReply::NotPending { status, .. } => Err(ServiceError::ReservationNotPending { status }),
            SettleReply::StaleReservation => Err(busy()),
            SettleReply::Overflow => Err(ServiceError::invalid("quantity", "would exceed what a counter can hold")),
            SettleReply::Settled(now_ms, settled) => {
                self.clocks.observe_time(bucket, now_ms);
                let counters = self.counters(tenant, bucket, &settled, now_ms).await?;
                let overflow = self.overflow(tenant, &settled.overflow).await?;
                let Settled { status, late, replayed, snapshot, crossed, .. } = *settled;
                Ok(Settlement { id, user: snapshot.user, status, late, replayed, counters, crossed, overflow, now_ms })
            }
        }
    }

    /// The overflow in the units of its groups.
    pub(super) async fn overflow(
        &self,
        tenant: &Tenant,
        stored: &[StoredOverflow],
    ) -> Result<Vec<Overflow>, ServiceError> {
        if stored.is_empty() {
            return Ok(Vec::new());
        }
        let config = self.config(&tenant.app).await?;
        let overflow = stored.iter().filter(|overflow| overflow.amount > Amount::ZERO).map(|overflow| {
            let StoredOverflow { from, balance, amount } = overflow.clone();
            Overflow { unit: config.unit_of(&balance), balance, from, amount }
        });
        Ok(overflow.collect())
    }

    /// Settled amounts as counters, with the groups of the user's present plan, otherwise of the plan with which they
    /// were reserved; tightest first.
    async fn counters(
        &self,
        tenant: &Tenant,
        bucket: &Bucket,
        settled: &Settled,
        now_ms: TimeMs,
    ) -> Result<Vec<Counter>, ServiceError> {
        let snapshot = &settled.snapshot;
        let config = self.config(&tenant.app).await?;
        let reserved = self.rules(&tenant.app, snapshot).await?;
        // The version is the user's only if the first owner is the user.
        let of_user = settled.accounts.first().is_some_and(|account| account.owner.scope().is_user());
        let version = if of_user { settled.user_version.as_str() } else { UNKNOWN_VERSION };
        let subscribed = self.subscribed_at(bucket, &snapshot.user, version).await?;
        let present = self.plan_of(&bucket.account(&snapshot.user), &config, &subscribed, now_ms);
        let counter = |account: &Account| {
            let of_plan = present.as_ref().and_then(|plan| plan.group(&account.group));
            let of_policy = || config.policies.iter().find_map(|policy| policy.group(&account.group));
            let group = of_plan.or_else(of_policy).or_else(|| reserved.group(&account.group))?;
            let owner = Arc::clone(&account.owner);
            Some(Counter::of(account.state.group(group), owner, account.window, &account.state))
        };
        let mut counters: Vec<Counter> = settled.accounts.iter().filter_map(counter).collect();
        counters.sort_by(|one, other| one.by_tightness(other));
        Ok(counters)
    }
}

/// Parses an ID and finds its bucket.
pub(in crate::service) fn locate(tenant: &Tenant, id: &str) -> Result<(Bucket, ReservationId), ServiceError> {
    let id = ReservationId::parse(id).ok_or_else(unknown_reservation)?;
    let bucket =
        tenant.bucket(id.bucket).filter(|bucket| bucket.number() == id.bucket).ok_or_else(unknown_reservation)?;
    Ok((bucket, id))
}

fn unknown_reservation() -> ServiceError {
    ServiceError::NotFound("Reservation not found.".to_owned())
}

pub(in crate::service) fn busy() -> ServiceError {
    ServiceError::StoreUnavailable("the reservation kept changing".to_owned())
}

//! commit, release, extend, and refunds of a reservation.

use std::sync::Arc;

use super::Gateway;
use super::decision::{Decision, judge};
use super::error::{ServiceError, positive};
use super::facts::{Round, View};
use super::tenant::Tenant;
use crate::domain::admission::{Admission, Refusal};
use crate::domain::amount::Amount;
use crate::domain::counter::Counter;
use crate::domain::ids::UserId;
use crate::domain::limit_group::LimitGroup;
use crate::domain::number::Number;
use crate::domain::reason::Reason;
use crate::domain::reservation::{Actual, ReservationId};
use crate::domain::subscription::Subscribed;
use crate::domain::window::TimeMs;
use crate::store::admission::{OwnedGroup, Owner, Tally};
use crate::store::keys::Bucket;
use crate::store::operation::{Idempotency, Operation};
use crate::store::record::StoredReservation;
use crate::store::settle::{Account, ExtendArgs, ExtendReply, Measured, SettleReply, Settled, Target};

/// Rounds on a reservation that others change at the same time. In each round one of them gets through, so this is
/// how many parallel draws of one reservation are served without a 503.
const ROUNDS: usize = 256;

/// A reservation after a call.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub id: ReservationId,
    pub user: UserId,
    /// `held`, `committed` or `released`.
    pub status: String,
    pub late: bool,
    pub replayed: bool,
    pub counters: Vec<Counter>,
    pub now_ms: TimeMs,
}

/// How a commit is meant.
#[derive(Clone, Debug)]
pub struct Commit {
    pub actual: Actual,
    /// False: a draw.
    pub is_final: bool,
    /// Past the expiry nothing is charged.
    pub reject_late: bool,
}

/// More time, more amount, or both.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    pub ttl_ms: Option<TimeMs>,
    pub quantity: Option<Number>,
}

impl Gateway {
    /// What is held, or the actual figures, becomes used.
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
            return Err(ServiceError::invalid("quantity", "a commit with final:false needs a quantity or metadata"));
        }
        for _ in 0..ROUNDS {
            // Only figures and a client's key need to know more than the id.
            let known = match commit.actual.is_empty() && idempotency.is_none() {
                true => None,
                false => Some(self.known(&bucket, &id).await?),
            };
            let scope = known.as_ref().map_or("", |known| known.memo.user.as_str());
            let operation = Operation::new(scope, idempotency, draws);
            let target = Target { bucket: &bucket, id: &id, operation: &operation };
            let measured = match &known {
                Some(known) if !commit.actual.is_empty() => Some(self.measure(tenant, known, commit).await?),
                _ => None,
            };
            match self.store.commit(target, commit.is_final, commit.reject_late, measured.as_ref()).await? {
                SettleReply::StaleReservation => self.forget(&bucket, &id),
                reply => {
                    if let (Some(known), Some(Measured { memo: Some(memo), changes, .. })) = (known, measured) {
                        let after = StoredReservation { memo, changes: changes + 1, ..known.as_ref().clone() };
                        self.reservations.insert(bucket.operation(&id.name), Arc::new(after));
                    }
                    return self.settlement(tenant, &bucket, id, reply).await;
                }
            }
        }
        Err(busy())
    }

    /// Gives back all that is still held.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn release(
        &self,
        tenant: &Tenant,
        id: &str,
        idempotency: Option<&Idempotency>,
    ) -> Result<Settlement, ServiceError> {
        let (bucket, id) = locate(tenant, id)?;
        let operation = match idempotency {
            None => Operation::new("", None, false),
            Some(_) => Operation::new(self.known(&bucket, &id).await?.memo.user.as_str(), idempotency, false),
        };
        let reply = self.store.release(Target { bucket: &bucket, id: &id, operation: &operation }).await?;
        self.settlement(tenant, &bucket, id, reply).await
    }

    /// Gives back what a settled reservation of `user` charged.
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
        if known.memo.user.as_str() != user {
            return Err(unknown_reservation());
        }
        let plan = self.rules(&tenant.app, &known.memo).await?;
        let (amounts, whole) = known.memo.refund(&plan, actual)?;
        let reply = self.store.refund(Target { bucket: &bucket, id: &id, operation }, &amounts, &whole).await?;
        self.settlement(tenant, &bucket, id, reply).await
    }

    /// More time, or more amount if there is room; a denial changes nothing.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn extend(
        &self,
        tenant: &Tenant,
        id: &str,
        extension: Extension,
        idempotency: Option<&Idempotency>,
    ) -> Result<(UserId, Decision), ServiceError> {
        let (bucket, id) = locate(tenant, id)?;
        if let Some(quantity) = extension.quantity {
            positive(quantity)?;
        }
        for _ in 0..ROUNDS {
            let known = self.known(&bucket, &id).await?;
            let operation = Operation::new(known.memo.user.as_str(), idempotency, extension.quantity.is_some());
            let measured = match extension.quantity {
                None => None,
                Some(more) => {
                    let plan = self.rules(&tenant.app, &known.memo).await?;
                    let (memo, totals) = known.memo.enlarge(&plan, more)?;
                    Some(Measured { changes: known.changes, memo: Some(memo), totals })
                }
            };
            let target = Target { bucket: &bucket, id: &id, operation: &operation };
            let extended = self
                .with_facts(tenant, &known.memo.user, async |view| {
                    self.extend_round(tenant, view, &known, target, extension, measured.as_ref()).await
                })
                .await?;
            match extended {
                Some(decision) => {
                    self.forget(&bucket, &id);
                    return Ok((known.memo.user.clone(), decision));
                }
                None => self.forget(&bucket, &id),
            }
        }
        Err(busy())
    }

    /// None: the reservation has changed meanwhile.
    async fn extend_round(
        &self,
        tenant: &Tenant,
        view: &View,
        known: &StoredReservation,
        target: Target<'_>,
        extension: Extension,
        measured: Option<&Measured>,
    ) -> Result<Round<Option<Decision>>, ServiceError> {
        let admission = self.enlarged(tenant, view, known, measured).await?;
        if admission.refusal.is_some() {
            return Ok(match self.check_facts(view, &known.memo.user).await? {
                Some(learn) => learn,
                None => Round::Done(Some(Decision {
                    reservation: Some((target.id.clone(), known.expires_at_ms)),
                    ..Decision::denied(&[], &admission, None, view.now_ms)
                })),
            });
        }
        let owners: Vec<Owner> = match admission.matched.is_empty() {
            true => Vec::new(),
            false => vec![Owner {
                keys: view.bucket.user(&known.memo.user),
                groups: admission
                    .matched
                    .iter()
                    .map(|matched| OwnedGroup::of(matched, LimitGroup::refuses_beyond))
                    .collect(),
            }],
        };
        let args = ExtendArgs {
            target,
            ttl_ms: extension.ttl_ms.unwrap_or(0),
            measured: measured.filter(|_| !owners.is_empty()),
            facts: view.counting_facts(&known.memo.user, &admission),
            owners: &owners,
        };
        let reply = self.store.extend(args).await?;
        self.extend_answer(tenant, view, known, target, &admission, reply).await
    }

    async fn extend_answer(
        &self,
        tenant: &Tenant,
        view: &View,
        known: &StoredReservation,
        target: Target<'_>,
        admission: &Admission,
        reply: ExtendReply,
    ) -> Result<Round<Option<Decision>>, ServiceError> {
        Ok(match reply {
            ExtendReply::Reused => return Err(ServiceError::IdempotencyKeyReused),
            ExtendReply::Missing(now_ms) => return Err(gone(target.id, now_ms)),
            ExtendReply::Expired(_) => return Err(ServiceError::ReservationExpired),
            ExtendReply::NotPending { status, .. } => return Err(ServiceError::ReservationNotPending { status }),
            ExtendReply::StaleReservation => Round::Done(None),
            ExtendReply::Stale(stale, now_ms) => Round::Stale(stale, now_ms),
            ExtendReply::Again(ran) => Round::Again(ran),
            ExtendReply::Denied(ran, denied) => {
                self.hear(&view.bucket, ran);
                let judged = judge(admission, &denied.tallies, LimitGroup::refuses_beyond);
                let decision = Decision::denied(&judged, admission, denied.free_at_ms, ran.now_ms);
                let expires_at_ms = self.expiry(&view.bucket, target.id).await?;
                Round::Done(Some(Decision { reservation: Some((target.id.clone(), expires_at_ms)), ..decision }))
            }
            ExtendReply::Extended { now_ms, expires_at_ms, tallies, .. } => {
                self.clocks.hear(&view.bucket, now_ms);
                let tallies: Vec<(Tally, bool)> = tallies.into_iter().map(|tally| (tally, false)).collect();
                let judged = judge(admission, &tallies, LimitGroup::refuses_beyond);
                let mut decision = Decision::allowed(&judged, now_ms);
                if judged.is_empty() {
                    decision.matched_groups = known.groups.clone();
                    decision.matched = true;
                    decision.counters = self.standing(tenant, known).await?;
                }
                Round::Done(Some(Decision { reservation: Some((target.id.clone(), expires_at_ms)), ..decision }))
            }
            ExtendReply::Before(first) => {
                Round::Done(Some(self.repeat_extend(tenant, view, known, target, *first).await?))
            }
        })
    }

    async fn repeat_extend(
        &self,
        tenant: &Tenant,
        view: &View,
        known: &StoredReservation,
        target: Target<'_>,
        first: ExtendReply,
    ) -> Result<Decision, ServiceError> {
        let user = &known.memo.user;
        let (decision, expires_at_ms) = match first {
            ExtendReply::Denied(ran, denied) => {
                let expires_at_ms = self.expiry(&view.bucket, target.id).await?;
                (self.repeat_denied(tenant, view, user, ran.now_ms, denied).await?, expires_at_ms)
            }
            ExtendReply::Extended { now_ms, expires_at_ms, .. } => {
                let counters = self.standing(tenant, known).await?;
                let decision = Decision { counters, matched: true, ..Decision::allowed(&[], now_ms) };
                (Decision { matched_groups: known.groups.clone(), replayed: true, ..decision }, expires_at_ms)
            }
            _ => return Err(ServiceError::IdempotencyKeyReused),
        };
        Ok(Decision { reservation: Some((target.id.clone(), expires_at_ms)), ..decision })
    }

    /// The reservation's groups as they stand, tightest first.
    async fn standing(&self, tenant: &Tenant, known: &StoredReservation) -> Result<Vec<Counter>, ServiceError> {
        let usage = self.usage(tenant, &known.memo.user, |group| known.groups.contains(&group.id)).await?;
        let mut counters = usage.counters;
        counters.sort_by(|one, other| one.by_tightness(other));
        Ok(counters)
    }

    /// The further amounts against the user's present plan: its quotas and its current windows. A group that the
    /// present plan does not have keeps the definition under which it was reserved.
    async fn enlarged(
        &self,
        tenant: &Tenant,
        view: &View,
        known: &StoredReservation,
        measured: Option<&Measured>,
    ) -> Result<Admission, ServiceError> {
        let standing = view.standing();
        let mut admission = Admission::empty(standing);
        let Some(measured) = measured else {
            return Ok(admission);
        };
        let refused = if standing.blocked { Some(Reason::UserBlocked) } else { None };
        let refused = refused.or(standing.plan.is_none().then_some(Reason::NoSubscription));
        if let Some(reason) = refused {
            admission.refusal = Some(Refusal { reason, groups: Vec::new() });
            return Ok(admission);
        }
        let reserved = self.rules(&tenant.app, &known.memo).await?;
        for (id, amount) in measured.totals.iter().filter(|(_, amount)| *amount > Amount::ZERO) {
            let present = view.plan().and_then(|plan| plan.group(id));
            if let Some(group) = present.or_else(|| reserved.group(id)) {
                admission.place(group, *amount, standing.anchor, view.now_ms);
            }
        }
        if !admission.closed.is_empty() {
            admission.refusal = Some(Refusal { reason: Reason::LimitReached, groups: Vec::new() });
        }
        Ok(admission)
    }

    /// Computes figures on the reservation's present state.
    async fn measure(
        &self,
        tenant: &Tenant,
        known: &StoredReservation,
        commit: &Commit,
    ) -> Result<Measured, ServiceError> {
        let memo = &known.memo;
        let plan = self.rules(&tenant.app, memo).await?;
        if commit.is_final && memo.drawn.is_none() {
            return Ok(Measured { changes: known.changes, memo: None, totals: memo.settle(&plan, &commit.actual)? });
        }
        let (memo, totals) = memo.draw(&plan, &commit.actual)?;
        Ok(Measured { changes: known.changes, memo: Some(memo), totals })
    }

    /// What is true of the user at that version, or by now at a later one.
    async fn subscribed_at(
        &self,
        bucket: &Bucket,
        user: &UserId,
        version: &str,
    ) -> Result<Arc<Subscribed>, ServiceError> {
        let key = bucket.user(user).counters;
        if let Some(known) = self.subscriptions.get(&key).filter(|known| known.version == version) {
            return Ok(known);
        }
        let found = self.store.read_users(bucket, std::slice::from_ref(user)).await?;
        let found = Arc::new(found.into_iter().next().flatten().unwrap_or_else(Subscribed::never));
        self.subscriptions.insert(key, Arc::clone(&found));
        Ok(found)
    }

    /// The reservation, at hand or from its record.
    async fn known(&self, bucket: &Bucket, id: &ReservationId) -> Result<Arc<StoredReservation>, ServiceError> {
        let key = bucket.operation(&id.name);
        let known = match self.reservations.get(&key) {
            Some(known) => known,
            None => match self.store.reservation(bucket, &id.name).await? {
                Some(found) => {
                    let found = Arc::new(found);
                    self.reservations.insert(key, Arc::clone(&found));
                    found
                }
                None => return Err(gone(id, self.clocks.estimate(bucket))),
            },
        };
        if known.created_at_ms == id.created_at_ms { Ok(known) } else { Err(unknown_reservation()) }
    }

    /// When the reservation ends, by its record: another node may have given it more time.
    async fn expiry(&self, bucket: &Bucket, id: &ReservationId) -> Result<TimeMs, ServiceError> {
        self.forget(bucket, id);
        Ok(self.known(bucket, id).await?.expires_at_ms)
    }

    fn forget(&self, bucket: &Bucket, id: &ReservationId) {
        self.reservations.remove(&bucket.operation(&id.name));
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
            SettleReply::Missing(now_ms) => Err(gone(&id, now_ms)),
            SettleReply::Expired(_) => Err(ServiceError::ReservationExpired),
            SettleReply::NotPending { status, .. } => Err(ServiceError::ReservationNotPending { status }),
            SettleReply::StaleReservation => Err(busy()),
            SettleReply::Overflow => Err(ServiceError::invalid("quantity", "the counter would pass what it can hold")),
            SettleReply::Settled(now_ms, settled) => {
                self.clocks.hear(bucket, now_ms);
                let counters = self.counters(tenant, bucket, &settled, now_ms).await?;
                let Settled { status, late, replayed, memo, .. } = *settled;
                Ok(Settlement { id, user: memo.user, status, late, replayed, counters, now_ms })
            }
        }
    }

    /// Settled accounts as counters, by the definitions of the plan that the user is on now, else of the one that they
    /// were reserved under; tightest first.
    async fn counters(
        &self,
        tenant: &Tenant,
        bucket: &Bucket,
        settled: &Settled,
        now_ms: TimeMs,
    ) -> Result<Vec<Counter>, ServiceError> {
        let memo = &settled.memo;
        let config = self.config(&tenant.app).await?;
        let reserved = self.rules(&tenant.app, memo).await?;
        let subscribed = self.subscribed_at(bucket, &memo.user, &settled.user_version).await?;
        let present = self.plan_of(&bucket.user(&memo.user).counters, &config, &subscribed, now_ms);
        let counter = |account: &Account| {
            let group = present
                .as_ref()
                .and_then(|plan| plan.group(&account.group))
                .or_else(|| reserved.group(&account.group))?;
            let Tally { used, held, granted, blocked } = account.tally;
            Some(Counter { group: Arc::clone(group), window: account.window, used, held, granted, blocked })
        };
        let mut counters: Vec<Counter> = settled.accounts.iter().filter_map(counter).collect();
        counters.sort_by(|one, other| one.by_tightness(other));
        Ok(counters)
    }
}

/// Reads an id and finds its bucket.
fn locate(tenant: &Tenant, id: &str) -> Result<(Bucket, ReservationId), ServiceError> {
    let id = ReservationId::parse(id).ok_or_else(unknown_reservation)?;
    let bucket =
        tenant.bucket(id.bucket).filter(|bucket| bucket.number() == id.bucket).ok_or_else(unknown_reservation)?;
    Ok((bucket, id))
}

fn unknown_reservation() -> ServiceError {
    ServiceError::NotFound("there is no such reservation".to_owned())
}

/// There is no record: an id that once was given out is over, any other was never there.
fn gone(id: &ReservationId, now_ms: TimeMs) -> ServiceError {
    if id.is_over(now_ms) { ServiceError::ReservationExpired } else { unknown_reservation() }
}

fn busy() -> ServiceError {
    ServiceError::StoreUnavailable("the reservation kept changing".to_owned())
}

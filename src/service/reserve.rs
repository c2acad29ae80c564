//! reserve and can-use.

use std::sync::Arc;

use super::Gateway;
use super::decision::{Decision, Judged, judge};
use super::error::{ServiceError, positive};
use super::facts::{Round, View};
use super::tenant::Tenant;
use crate::domain::admission::{Admission, Purpose, Refusal, Request, prepare};
use crate::domain::counter::Counter;
use crate::domain::ids::{EventName, KeyId, UserId};
use crate::domain::limit_group::LimitGroup;
use crate::domain::metadata::Metadata;
use crate::domain::number::Number;
use crate::domain::reason::Reason;
use crate::domain::reservation::{Memo, ReservationId};
use crate::domain::window::TimeMs;
use crate::store::admission::{Denied, OwnedGroup, Owner, Tally};
use crate::store::keys::subject;
use crate::store::operation::{Idempotency, Operation};
use crate::store::record::StoredReservation;
use crate::store::reserve::{ReserveArgs, ReserveReply};
use crate::store::usage::UsageReply;

/// One call's inputs.
#[derive(Clone, Debug)]
pub struct Call {
    pub user: UserId,
    pub event: EventName,
    pub quantity: Number,
    /// With the key's fixed metadata.
    pub metadata: Metadata,
    pub key: KeyId,
}

impl Call {
    pub fn request(&self) -> Request<'_> {
        Request { event: &self.event, quantity: self.quantity.0, metadata: &self.metadata }
    }
}

impl Gateway {
    /// Checks every matched counter and holds in all of them, or in none.
    ///
    /// # Errors
    /// [`ServiceError`]; a denial is an answer.
    pub async fn reserve(
        &self,
        tenant: &Tenant,
        call: &Call,
        ttl_ms: TimeMs,
        idempotency: Option<&Idempotency>,
    ) -> Result<Decision, ServiceError> {
        refuse_refund(&call.event)?;
        positive(call.quantity)?;
        let operation = Operation::new(call.user.as_str(), idempotency, false);
        self.with_facts(tenant, &call.user, async |view| {
            self.reserve_round(tenant, view, call, ttl_ms, &operation).await
        })
        .await
    }

    async fn reserve_round(
        &self,
        tenant: &Tenant,
        view: &View,
        call: &Call,
        ttl_ms: TimeMs,
        operation: &Operation,
    ) -> Result<Round<Decision>, ServiceError> {
        let admission = match self.admission(view, call, Purpose::Ask).await? {
            Ok(admission) => admission,
            Err(learn) => return Ok(learn),
        };
        let memo = view.plan().map(|plan| Memo::new(&call.user, plan, view.has_own_rules(), call.request()));
        let owners = [owner(view, &call.user, &admission, LimitGroup::refuses_beyond)];
        let args = ReserveArgs {
            bucket: &view.bucket,
            operation,
            facts: view.counting_facts(&call.user, &admission),
            verdict: verdict(&admission),
            ttl_ms,
            subject: &subject(&call.event, call.key.as_str()),
            memo: memo.as_ref(),
            owners: &owners,
        };
        let reply = self.store.reserve(args).await?;
        self.reserve_answer(tenant, view, call, &admission, operation, memo, reply).await
    }

    #[allow(clippy::too_many_arguments)]
    async fn reserve_answer(
        &self,
        tenant: &Tenant,
        view: &View,
        call: &Call,
        admission: &Admission,
        operation: &Operation,
        memo: Option<Memo>,
        reply: ReserveReply,
    ) -> Result<Round<Decision>, ServiceError> {
        Ok(match reply {
            ReserveReply::Reused => return Err(ServiceError::IdempotencyKeyReused),
            ReserveReply::Stale(stale, now_ms) => Round::Stale(stale, now_ms),
            ReserveReply::Again(ran) => Round::Again(ran),
            ReserveReply::Unmetered(ran) => {
                self.hear(&view.bucket, ran);
                Round::Done(Decision::allowed(&[], ran.now_ms))
            }
            ReserveReply::Denied(ran, denied) => {
                self.hear(&view.bucket, ran);
                let judged = judge(admission, &denied.tallies, LimitGroup::refuses_beyond);
                Round::Done(Decision::denied(&judged, admission, denied.free_at_ms, ran.now_ms))
            }
            ReserveReply::Held { ran, expires_at_ms, tallies } => {
                self.hear(&view.bucket, ran);
                let id = ReservationId {
                    name: operation.name.clone(),
                    created_at_ms: ran.now_ms,
                    bucket: view.bucket.number(),
                };
                let tallies: Vec<(Tally, bool)> = tallies.into_iter().map(|tally| (tally, false)).collect();
                let decision = Decision::allowed(&judge(admission, &tallies, LimitGroup::refuses_beyond), ran.now_ms);
                if let Some(memo) = memo {
                    let groups = decision.matched_groups.clone();
                    let known =
                        StoredReservation { created_at_ms: ran.now_ms, expires_at_ms, changes: 0, memo, groups };
                    self.reservations.insert(view.bucket.operation(&id.name), Arc::new(known));
                }
                Round::Done(Decision { reservation: Some((id, expires_at_ms)), ..decision })
            }
            ReserveReply::HeldBefore(found) => {
                Round::Done(self.repeat_held(tenant, view, call, operation, &found).await?)
            }
            ReserveReply::Before(first) => Round::Done(self.repeat(tenant, view, call, *first).await?),
        })
    }

    /// The stored decision of an allowed reserve, with counters as of now.
    async fn repeat_held(
        &self,
        tenant: &Tenant,
        view: &View,
        call: &Call,
        operation: &Operation,
        found: &StoredReservation,
    ) -> Result<Decision, ServiceError> {
        let usage = self.usage(tenant, &call.user, |group| found.groups.contains(&group.id)).await?;
        let mut counters = usage.counters;
        counters.sort_by(|one, other| one.by_tightness(other));
        let id = ReservationId {
            name: operation.name.clone(),
            created_at_ms: found.created_at_ms,
            bucket: view.bucket.number(),
        };
        Ok(Decision {
            allowed: true,
            matched: true,
            matched_groups: found.groups.clone(),
            reservation: Some((id, found.expires_at_ms)),
            counters,
            now_ms: usage.now_ms,
            replayed: true,
            ..Decision::default()
        })
    }

    /// The stored answer to a reserve that held nothing.
    async fn repeat(
        &self,
        tenant: &Tenant,
        view: &View,
        call: &Call,
        first: ReserveReply,
    ) -> Result<Decision, ServiceError> {
        match first {
            ReserveReply::Denied(ran, denied) => self.repeat_denied(tenant, view, &call.user, ran.now_ms, denied).await,
            ReserveReply::Unmetered(ran) => Ok(Decision { replayed: true, ..Decision::allowed(&[], ran.now_ms) }),
            // The key was used for another kind of call.
            _ => Err(ServiceError::IdempotencyKeyReused),
        }
    }

    /// The stored denial, with counters as of now.
    pub(crate) async fn repeat_denied(
        &self,
        tenant: &Tenant,
        view: &View,
        user: &UserId,
        at_ms: TimeMs,
        denied: Denied,
    ) -> Result<Decision, ServiceError> {
        let wanted = |group: &LimitGroup| denied.groups.iter().any(|owned| owned.id == group.id);
        let usage = self.usage(tenant, user, wanted).await?;
        let judged = judge_again(view, &denied);
        let reason = Reason::parse(&denied.verdict);
        let refusal = reason.map(|reason| Refusal { reason, groups: Vec::new() });
        let admission = Admission { refusal, ..Admission::empty(view.standing()) };
        let decision = Decision::denied(&judged, &admission, denied.free_at_ms, at_ms);
        let retry_after_ms = decision.retry_after_ms.map(|wait| at_ms + wait - usage.now_ms).filter(|wait| *wait > 0);
        let refused =
            |counter: &Counter| judged.iter().any(|judged| judged.lacks && judged.group.id == counter.group.id);
        let mut counters = usage.counters;
        counters.sort_by(|one, other| refused(other).cmp(&refused(one)).then_with(|| one.by_tightness(other)));
        Ok(Decision { retry_after_ms, counters, now_ms: usage.now_ms, replayed: true, ..decision })
    }

    /// The answer that a reserve would get, without a write.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn can_use(&self, tenant: &Tenant, call: &Call) -> Result<Decision, ServiceError> {
        refuse_refund(&call.event)?;
        positive(call.quantity)?;
        self.with_facts(tenant, &call.user, async |view| {
            let admission = match self.admission(view, call, Purpose::Ask).await? {
                Ok(admission) => admission,
                Err(learn) => return Ok(learn),
            };
            let owners = [owner(view, &call.user, &admission, LimitGroup::refuses_beyond)];
            Ok(match self.store.usage(&view.bucket, view.facts(admission.validity), &owners).await? {
                UsageReply::Stale(stale, now_ms) => Round::Stale(stale, now_ms),
                UsageReply::Reclaim(now_ms) => self.reclaim_round(view, &call.user, now_ms).await?,
                UsageReply::Usage(now_ms, standing) => {
                    self.clocks.hear(&view.bucket, now_ms);
                    let judged = judge(&admission, &standing.tallies, LimitGroup::refuses_beyond);
                    let denied = admission.refusal.is_some() || judged.iter().any(|judged| judged.lacks);
                    Round::Done(if denied {
                        Decision::denied(&judged, &admission, standing.free_at_ms, now_ms)
                    } else {
                        Decision::allowed(&judged, now_ms)
                    })
                }
            })
        })
        .await
    }

    /// What the call comes to; or, before a refusal of its figures, a round that learns that a fact was stale.
    pub(crate) async fn admission<T>(
        &self,
        view: &View,
        call: &Call,
        purpose: Purpose,
    ) -> Result<Result<Admission, Round<T>>, ServiceError> {
        match prepare(view.standing(), call.request(), view.now_ms, purpose) {
            Ok(admission) => Ok(Ok(admission)),
            Err(fault) => match self.check_facts(view, &call.user).await? {
                Some(learn) => Ok(Err(learn)),
                None => Err(fault.into()),
            },
        }
    }
}

/// The groups of a kept denial as they were judged then; groups that are gone since are left out.
fn judge_again(view: &View, denied: &Denied) -> Vec<Judged> {
    let pairs = denied.groups.iter().zip(&denied.tallies);
    pairs
        .filter_map(|(owned, (tally, lacks))| {
            let group = view.plan()?.group(&owned.id)?;
            Some(Judged {
                group: Arc::clone(group),
                window: owned.window,
                amount: owned.amount,
                limit: owned.limit,
                tally: *tally,
                lacks: *lacks,
            })
        })
        .collect()
}

/// The user with the groups that a call matched.
pub(crate) fn owner(
    view: &View,
    user: &UserId,
    admission: &Admission,
    limit: impl Fn(&LimitGroup) -> crate::domain::amount::Amount,
) -> Owner {
    Owner {
        keys: view.bucket.user(user),
        groups: admission.matched.iter().map(|matched| OwnedGroup::of(matched, &limit)).collect(),
    }
}

/// The node's own refusal as scripts take it.
pub(crate) fn verdict(admission: &Admission) -> &'static str {
    admission.refusal.as_ref().map_or("", |refusal| refusal.reason.as_str())
}

fn refuse_refund(event: &EventName) -> Result<(), ServiceError> {
    if event.is_refund() {
        return Err(ServiceError::invalid("event", "a refund has already happened: send it to track"));
    }
    Ok(())
}

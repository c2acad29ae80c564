//! reserve and can-use.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::decision::{Decision, Judged, Retry, judge};
use super::facts::{Round, View};
use crate::domain::configuration::limit_group::{Enforcement, LimitGroup};
use crate::domain::configuration::policy::retry_of;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::{Admission, Caller, Matched, Purpose, Refusal, Request, prepare};
use crate::domain::metering::counter::Counter;
use crate::domain::metering::reason::Reason;
use crate::domain::metering::reservation::{Memo, ReservationId};
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{EventName, KeyId, UserId};
use crate::domain::values::metadata::Metadata;
use crate::domain::values::number::Number;
use crate::service::error::{ServiceError, json, positive};
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::keys::about;
use crate::store::metering::admission::{ApprovalRequest, Denied, OwnedGroup, Tally};
use crate::store::metering::memo::memo_text;
use crate::store::metering::operation::{Idempotency, Operation};
use crate::store::metering::record::{PackedReservation, StoredReservation};
use crate::store::metering::reserve::{ReserveArgs, ReserveReply};
use crate::store::metering::usage::UsageReply;

/// The input of a call.
#[derive(Clone, Debug)]
pub struct Call {
    pub user: UserId,
    /// One event, or several that are allowed together or not at all.
    pub items: Vec<CallItem>,
    pub key: KeyId,
}

/// One event of a call.
#[derive(Clone, Debug)]
pub struct CallItem {
    pub event: EventName,
    pub quantity: Number,
    /// Including the key's fixed metadata.
    pub metadata: Metadata,
}

impl Call {
    pub fn requests(&self) -> Vec<Request<'_>> {
        let requests = self.items.iter().map(|item| Request {
            event: &item.event,
            quantity: item.quantity.0,
            metadata: &item.metadata,
        });
        requests.collect()
    }

    pub fn caller<'a>(&'a self, view: &'a View) -> Caller<'a> {
        Caller { user: &self.user, app: &view.app, key: Some(&self.key) }
    }

    /// How the ledger and an expired hold refer to the call.
    pub(crate) fn about(&self) -> String {
        self.items.first().map(|item| about(&item.event, &self.key, &self.user)).unwrap_or_default()
    }

    fn check(&self) -> Result<(), ServiceError> {
        self.items.iter().try_for_each(CallItem::check)
    }
}

impl CallItem {
    /// Checks that the call can be reserved: it is not a refund and not empty.
    pub(in crate::service) fn check(&self) -> Result<(), ServiceError> {
        refuse_refund(&self.event)?;
        positive(self.quantity).map(|_| ())
    }
}

impl Gateway {
    /// Checks every matching counter, and holds the amount in all of them or in none.
    ///
    /// # Errors
    /// [`ServiceError`]; a denial is a result.
    pub async fn reserve(
        &self,
        tenant: &Tenant,
        call: &Call,
        ttl_ms: TimeMs,
        idempotency: Option<&Idempotency>,
    ) -> Result<Decision, ServiceError> {
        call.check()?;
        let operation = Operation::new(call.user.as_str(), idempotency, false);
        if self.degraded.is_engaged()
            && let Some(decision) = self.reserve_before_store(tenant, call, &operation).await?
        {
            return Ok(decision);
        }
        let decided = self.with_facts(tenant, &call.user, async |view| {
            self.reserve_round(tenant, view, call, ttl_ms, &operation).await
        });
        match decided.await {
            Err(ServiceError::StoreUnavailable(what)) => {
                let decision = self.reserve_without_store(tenant, call, &operation).await?;
                decision.ok_or(ServiceError::StoreUnavailable(what))
            }
            decided => decided,
        }
    }

    async fn reserve_round(
        &self,
        tenant: &Tenant,
        view: &View,
        call: &Call,
        ttl_ms: TimeMs,
        operation: &Operation,
    ) -> Result<Round<Decision>, ServiceError> {
        let admission = match self.admission(view, call, Purpose::Ask).await {
            Ok(Ok(admission)) => admission,
            Ok(Err(learn)) => return Ok(learn),
            Err(refusal) => {
                // A stored answer is returned, whatever the configuration is now.
                let first = self.store.reserved_before(&view.bucket, operation).await?.ok_or(refusal)?;
                let admission = Admission::empty(view.standing(), OwnerName::of_user(&call.user));
                return self.reserve_answer(tenant, view, call, &admission, operation, None, first).await;
            }
        };
        let requests = call.requests();
        let memo = memo_text(&Memo::new(call.caller(view), view.standing(), view.has_own_rules(), &requests))?;
        let about = call.about();
        let owners = view.owners(&admission, LimitGroup::refuses_beyond);
        let asked = asked(view, call, &admission, operation)?;
        let args = ReserveArgs {
            bucket: &view.bucket,
            operation,
            facts: view.counting_facts(&call.user, &admission),
            verdict: verdict(&admission),
            ttl_ms,
            about: &about,
            memo: &memo,
            owners: &owners,
            asked: asked.as_ref(),
        };
        let reply = self.store.reserve(args).await?;
        let round =
            self.reserve_answer(tenant, view, call, &admission, operation, Some((&about, &memo)), reply).await?;
        Ok(match round {
            Round::Done(decision) => Round::Done(Decision { retry: retry(view, call, &decision), ..decision }),
            other => other,
        })
    }

    #[allow(clippy::too_many_arguments)]
    async fn reserve_answer(
        &self,
        tenant: &Tenant,
        view: &View,
        call: &Call,
        admission: &Admission,
        operation: &Operation,
        request: Option<(&str, &str)>,
        reply: ReserveReply,
    ) -> Result<Round<Decision>, ServiceError> {
        Ok(match reply {
            // Only a stored answer can be that of a degraded call.
            ReserveReply::Reused | ReserveReply::Degraded(..) => return Err(ServiceError::IdempotencyKeyReused),
            ReserveReply::Stale(stale, now_ms) => Round::Stale(stale, now_ms),
            ReserveReply::Again(ran) => Round::Again(ran),
            ReserveReply::Unmetered(ran) => {
                self.hear(&view.bucket, ran);
                Round::Done(Decision::allowed(&[], ran.now_ms))
            }
            ReserveReply::Denied(ran, denied) => {
                self.hear(&view.bucket, ran);
                let judged = judge(admission, &denied.tallies, LimitGroup::refuses_beyond);
                let why = (denied.free_at_ms, denied.opened.as_slice());
                Round::Done(Decision::denied(&judged, admission, why, ran.now_ms))
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
                if let Some((about, memo)) = request {
                    let groups = &decision.matched_groups;
                    let known = PackedReservation::fresh(ran.now_ms, expires_at_ms, about, memo, groups);
                    self.reservations.insert(view.bucket.operation(&id.name), Arc::new(known));
                }
                Round::Done(Decision { reservation: Some((id, expires_at_ms)), ..decision })
            }
            ReserveReply::HeldBefore(_) | ReserveReply::Before(_)
                if let Some(learn) = self.check_facts(view, &call.user).await? =>
            {
                learn
            }
            ReserveReply::HeldBefore(found) => {
                Round::Done(self.repeat_held(tenant, view, call, operation, &found).await?)
            }
            ReserveReply::Before(first) => Round::Done(self.repeat(tenant, view, call, *first).await?),
        })
    }

    /// The stored decision of an allowed reserve, with the present counters.
    async fn repeat_held(
        &self,
        tenant: &Tenant,
        view: &View,
        call: &Call,
        operation: &Operation,
        found: &StoredReservation,
    ) -> Result<Decision, ServiceError> {
        let mut counters = Vec::new();
        let mut now_ms = view.now_ms;
        for asker in askers(view, call) {
            let usage = self.usage(tenant, asker, |group| found.groups.contains(&group.id)).await?;
            now_ms = usage.now_ms;
            add_counters(&mut counters, usage.counters);
        }
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
            now_ms,
            replayed: true,
            ..Decision::default()
        })
    }

    /// The stored answer of a reserve that held nothing.
    async fn repeat(
        &self,
        tenant: &Tenant,
        view: &View,
        call: &Call,
        first: ReserveReply,
    ) -> Result<Decision, ServiceError> {
        match first {
            ReserveReply::Denied(ran, denied) => {
                self.repeat_denied(tenant, view, &askers(view, call), ran.now_ms, denied).await
            }
            ReserveReply::Degraded(ran, groups) => Ok(Decision {
                allowed: true,
                degraded: true,
                matched: !groups.is_empty(),
                matched_groups: groups,
                now_ms: ran.now_ms,
                replayed: true,
                ..Decision::default()
            }),
            ReserveReply::Unmetered(ran) => Ok(Decision { replayed: true, ..Decision::allowed(&[], ran.now_ms) }),
            // The key was used for another kind of call.
            _ => Err(ServiceError::IdempotencyKeyReused),
        }
    }

    /// The stored denial, with the present counters.
    pub(crate) async fn repeat_denied(
        &self,
        tenant: &Tenant,
        view: &View,
        askers: &[Asker<'_>],
        at_ms: TimeMs,
        denied: Denied,
    ) -> Result<Decision, ServiceError> {
        let wanted = |group: &LimitGroup| denied.groups.iter().any(|owned| owned.id == group.id);
        let mut counters = Vec::new();
        let mut now_ms = at_ms;
        for asker in askers {
            let usage = self.usage(tenant, *asker, wanted).await?;
            now_ms = usage.now_ms;
            add_counters(&mut counters, usage.counters);
        }
        let judged = judge_again(view, askers, &denied.groups, &denied.tallies);
        let verdict = Reason::parse(&denied.verdict);
        let refusal = verdict.map(|reason| Refusal { reason, groups: Vec::new() });
        // The reason is that of the first answer, even if groups are gone or have another enforcement now. Approval
        // requests were opened exactly if approval was the only reason.
        let by_groups = if denied.opened.is_empty() { Reason::LimitReached } else { Reason::ApprovalRequired };
        let reasons = vec![verdict.unwrap_or(by_groups)];
        let user = askers.first().map(|asker| OwnerName::of_user(asker.caller.user));
        let user = user.ok_or_else(|| ServiceError::Internal("a call of nobody".to_owned()))?;
        let admission = Admission { refusal, ..Admission::empty(view.standing(), user) };
        let decision = Decision::denied(&judged, &admission, (denied.free_at_ms, &denied.opened), at_ms);
        let retry_after_ms = decision.retry_after_ms.map(|wait| at_ms + wait - now_ms).filter(|wait| *wait > 0);
        let refused =
            |counter: &Counter| judged.iter().any(|judged| judged.lacks && judged.group.id == counter.group.id);
        counters.sort_by(|one, other| refused(other).cmp(&refused(one)).then_with(|| one.by_tightness(other)));
        Ok(Decision { reasons, retry_after_ms, counters, now_ms, replayed: true, ..decision })
    }

    /// The decision that a reserve would get, without writing anything.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn can_use(&self, tenant: &Tenant, call: &Call) -> Result<Decision, ServiceError> {
        call.check()?;
        self.with_facts(tenant, &call.user, async |view| {
            let admission = match self.admission(view, call, Purpose::Ask).await? {
                Ok(admission) => admission,
                Err(learn) => return Ok(learn),
            };
            let owners = view.owners(&admission, LimitGroup::refuses_beyond);
            Ok(match self.store.usage(&view.bucket, view.facts(admission.validity), &owners).await? {
                UsageReply::Stale(stale, now_ms) => Round::Stale(stale, now_ms),
                UsageReply::Reclaim(now_ms) => self.reclaim_round(view, &owners, now_ms).await?,
                UsageReply::Usage(now_ms, standing) => {
                    self.clocks.hear(&view.bucket, now_ms);
                    let judged = judge(&admission, &standing.tallies, LimitGroup::refuses_beyond);
                    let denied = admission.refusal.is_some() || judged.iter().any(|judged| judged.lacks);
                    Round::Done(if denied {
                        let mut decision = Decision::denied(&judged, &admission, (standing.free_at_ms, &[]), now_ms);
                        decision.counters.extend(admission.closed_counters());
                        decision
                    } else {
                        Decision::allowed(&judged, now_ms)
                    })
                }
            })
        })
        .await
    }

    /// The evaluation of the call; or, before it is rejected as invalid, an attempt with updated facts.
    pub(crate) async fn admission<T>(
        &self,
        view: &View,
        call: &Call,
        purpose: Purpose,
    ) -> Result<Result<Admission, Round<T>>, ServiceError> {
        match prepare(view.standing(), call.caller(view), &call.requests(), view.now_ms, purpose) {
            Ok(admission) => Ok(Ok(admission)),
            Err(fault) => match self.check_facts(view, &call.user).await? {
                Some(learn) => Ok(Err(learn)),
                None => Err(fault.into()),
            },
        }
    }
}

/// A caller with the values that determine whose counters are used.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    pub caller: Caller<'a>,
    pub metadata: &'a Metadata,
}

/// The caller, once per item.
pub(crate) fn askers<'a>(view: &'a View, call: &'a Call) -> Vec<Asker<'a>> {
    call.items.iter().map(|item| Asker { caller: call.caller(view), metadata: &item.metadata }).collect()
}

/// Adds counters that are not in the list yet.
pub(crate) fn add_counters(counters: &mut Vec<Counter>, more: Vec<Counter>) {
    for counter in more {
        let same = |known: &Counter| known.group.id == counter.group.id && known.owner == counter.owner;
        if !counters.iter().any(same) {
            counters.push(counter);
        }
    }
}

/// The groups of a stored answer with their decision at that time; groups that no longer exist are left out.
pub(crate) fn judge_again(
    view: &View,
    askers: &[Asker<'_>],
    groups: &[OwnedGroup],
    tallies: &[(Tally, bool)],
) -> Vec<Judged> {
    let pairs = groups.iter().zip(tallies);
    pairs
        .filter_map(|(owned, (tally, lacks))| {
            let group = view.standing().groups().find(|group| group.id == owned.id)?;
            let owner = askers.iter().find_map(|asker| group.scope.owner(asker.caller.subject(asker.metadata)))?;
            Some(Judged {
                group: Arc::clone(group),
                owner: Arc::new(owner),
                window: owned.window,
                amount: owned.amount,
                limit: owned.limit,
                tally: *tally,
                lacks: *lacks,
            })
        })
        .collect()
}

/// What is stored about a call that requests an approval.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asking {
    pub user_id: String,
    /// ID of the key.
    pub key_id: String,
    pub event: String,
    pub metadata: BTreeMap<String, String>,
}

/// The approval request that a denial may open; None if no matched group uses approval.
pub(crate) fn asked(
    view: &View,
    call: &Call,
    admission: &Admission,
    operation: &Operation,
) -> Result<Option<ApprovalRequest>, ServiceError> {
    let approval = |matched: &Matched| matched.group.enforcement == Enforcement::Approval;
    let Some(item) = call.items.first().filter(|_| admission.matched.iter().any(approval)) else {
        return Ok(None);
    };
    let asking = Asking {
        user_id: call.user.to_string(),
        key_id: call.key.to_string(),
        event: item.event.to_string(),
        metadata: item.metadata.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    };
    let id = format!("apr_{}{:02x}", operation.name.as_str(), view.bucket.number());
    Ok(Some(ApprovalRequest { id, about: json(&asking)? }))
}

/// How the client may retry.
fn retry(view: &View, call: &Call, decision: &Decision) -> Option<Retry> {
    let policies = || view.config.policies.iter();
    let strictest =
        call.items.iter().filter_map(|item| retry_of(policies().map(Arc::as_ref), item.event.as_str(), &item.metadata));
    let id = strictest.min_by_key(|policy| policy.body.retry.as_ref().map(|retry| retry.max_attempts))?.id.clone();
    let policy = policies().find(|policy| policy.id == id)?;
    let attempts = policy.attempts()?;
    let counter = decision.counters.iter().find(|counter| counter.group.id == attempts.id);
    Some(Retry { policy: Arc::clone(policy), attempts_left: counter.and_then(Counter::remaining).map(Amount::steps) })
}

/// The node's own denial in the form that scripts expect.
pub(crate) fn verdict(admission: &Admission) -> &'static str {
    admission.refusal.as_ref().map_or("", |refusal| refusal.reason.as_str())
}

fn refuse_refund(event: &EventName) -> Result<(), ServiceError> {
    if event.is_refund() {
        return Err(ServiceError::invalid("event", "must not end in `.refund`; send refunds to `track`"));
    }
    Ok(())
}

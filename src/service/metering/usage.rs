//! The state of counters.

use std::sync::Arc;

use super::call::CounterContext;
use super::facts::{Attempt, CallFacts};
use crate::domain::accounts::subscription::Subscription;
use crate::domain::configuration::limit_group::{LimitGroup, Limits};
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::{Admission, overview};
use crate::domain::metering::counter::{Counter, CounterState};
use crate::domain::time::period::Located;
use crate::domain::time::window::{TimeMs, Window};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{GroupId, PlanId};
use crate::domain::webhooks::webhook::WebhookEvent;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::{BucketCursor, Tenant};
use crate::store::metering::admission::{Facts, NO_USER, Owner, ScriptRun};
use crate::store::metering::usage::UsageReply;

/// A user's counters at one instant.
#[derive(Clone, Debug)]
pub struct Usage {
    pub plan: Option<PlanId>,
    pub subscription: Option<Subscription>,
    /// The window of the plan's default period, if the plan has one.
    pub period: Option<Window>,
    /// In the plan's order; unused groups are at 0.
    pub counters: Vec<Counter>,
    pub now_ms: TimeMs,
}

impl Usage {
    /// Equality, apart from the time of reading.
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.plan, &self.period, &self.counters) == (&other.plan, &other.period, &other.counters)
    }
}

impl Gateway {
    /// # Errors
    /// [`ServiceError`]
    pub async fn usage(
        &self,
        tenant: &Tenant,
        context: CounterContext<'_>,
        wanted: impl Fn(&LimitGroup) -> bool,
    ) -> Result<Usage, ServiceError> {
        let CounterContext { caller, metadata } = context;
        self.with_facts(tenant, caller.user, async |facts| {
            let admission = overview(facts.effective_limits(), caller, metadata, facts.now_ms, &wanted);
            let owners = facts.owners(&admission, Limits::Enforced);
            Ok(match self.store.usage(&facts.bucket, facts.for_script(admission.validity), &owners).await? {
                UsageReply::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
                UsageReply::Reclaim(now_ms) => self.reclaim_attempt(facts, &owners, now_ms).await?,
                UsageReply::Usage { now_ms, states, .. } => {
                    self.clocks.observe_time(&facts.bucket, now_ms);
                    Attempt::Done(answer(facts, &admission, &states, now_ms))
                }
            })
        })
        .await
    }

    /// Counters of a group whose scope is more than `user`, by expiry. Returns a page and the cursor of the next one.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn shared_counters(
        &self,
        tenant: &Tenant,
        group: &GroupId,
        from: BucketCursor,
        count: usize,
    ) -> Result<(Vec<Counter>, Option<BucketCursor>), ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let known = config.group(group).cloned();
        let known = known.ok_or_else(|| {
            ServiceError::invalid("groupId", format!("must be an existing group; there is no group `{group}`"))
        })?;
        if known.scope.is_user() {
            return Err(ServiceError::invalid(
                "groupId",
                "must be a group whose counters users share; read `usage` for counters of one user",
            ));
        }
        let buckets = tenant.buckets();
        let mut counters = Vec::new();
        let BucketCursor { bucket: mut place, mut offset } = from;
        while let Some(bucket) = buckets.get(place) {
            let wanted = count - counters.len();
            if wanted == 0 {
                return Ok((counters, Some(BucketCursor { bucket: place, offset: 0 })));
            }
            let owners = self.store.owners(bucket, &known.scope, offset, wanted + 1).await?;
            let more = owners.len() > wanted;
            for owner in owners.into_iter().take(wanted) {
                // The owners of a scope share one list; this one may never have used the group.
                let counter = self.counter_of(tenant, &owner, &known).await?;
                counters.extend(counter.filter(has_anything));
            }
            if more {
                return Ok((counters, Some(BucketCursor { bucket: place, offset: offset + wanted })));
            }
            (place, offset) = (place + 1, 0);
        }
        Ok((counters, None))
    }

    /// One counter of an owner that is not a single user.
    pub(in crate::service) async fn counter_of(
        &self,
        tenant: &Tenant,
        owner: &OwnerName,
        group: &Arc<LimitGroup>,
    ) -> Result<Option<Counter>, ServiceError> {
        self.with_owner(tenant, owner, async |facts| {
            let effective_limits = facts.effective_limits();
            let group = effective_limits.groups().find(|known| known.id == group.id).unwrap_or(group);
            let mut admission = Admission::empty(effective_limits, owner.clone());
            admission.place(group, 0, Amount::ZERO, effective_limits.anchor, facts.now_ms)?;
            let owners = facts.owners(&admission, Limits::Enforced);
            let checked = Facts { version: NO_USER, ..facts.for_script(admission.validity) };
            Ok(match self.store.usage(&facts.bucket, checked, &owners).await? {
                UsageReply::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
                UsageReply::Reclaim(now_ms) => self.reclaim_attempt(facts, &owners, now_ms).await?,
                UsageReply::Usage { now_ms, states, .. } => {
                    Attempt::Done(answer(facts, &admission, &states, now_ms).counters.pop())
                }
            })
        })
        .await
    }

    /// Removes a batch of expired holds of each owner before a read.
    pub(crate) async fn reclaim_attempt<T>(
        &self,
        facts: &CallFacts,
        owners: &[Owner],
        now_ms: TimeMs,
    ) -> Result<Attempt<T>, ServiceError> {
        let reports_expiry = facts.config.wants(WebhookEvent::ReservationExpired);
        let mut reclaimed = 0;
        for owner in owners {
            reclaimed += self.store.reclaim(&facts.bucket, &owner.keys, reports_expiry).await?.0;
        }
        Ok(Attempt::Again(ScriptRun { now_ms, reclaimed }))
    }
}

/// Whether anything was counted, granted or prepaid.
fn has_anything(counter: &Counter) -> bool {
    let credits = counter.balance.map_or(Amount::ZERO, |balance| balance.remaining);
    [counter.count(), counter.granted, credits].into_iter().any(|amount| amount > Amount::ZERO)
}

fn answer(facts: &CallFacts, admission: &Admission, states: &[CounterState], now_ms: TimeMs) -> Usage {
    let mut counters: Vec<Counter> = admission
        .matched
        .iter()
        .zip(states)
        .map(|(matched, state)| {
            let owner = admission.owners[matched.owner].clone();
            Counter::of(state.group(&matched.group), owner, Some(matched.window), state)
        })
        .collect();
    counters.extend(admission.closed_counters());
    let effective_limits = facts.effective_limits();
    let plan = effective_limits.plan;
    let period = plan.and_then(|plan| match plan.period.as_ref()?.locate(now_ms, effective_limits.anchor) {
        Located::Inside { window, .. } => Some(window),
        Located::Outside { .. } => None,
    });
    let subscription = facts.subscribed.at(now_ms).0;
    Usage { plan: plan.map(|plan| plan.id.clone()), subscription: subscription.cloned(), period, counters, now_ms }
}

//! The state of counters.

use std::sync::Arc;

use super::call::Asker;
use super::facts::{Round, View};
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
use crate::store::metering::admission::{Facts, NO_USER, Owner, Ran};
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
        asker: Asker<'_>,
        wanted: impl Fn(&LimitGroup) -> bool,
    ) -> Result<Usage, ServiceError> {
        let Asker { caller, metadata } = asker;
        self.with_facts(tenant, caller.user, async |view| {
            let admission = overview(view.effective_limits(), caller, metadata, view.now_ms, &wanted);
            let owners = view.owners(&admission, Limits::Enforced);
            Ok(match self.store.usage(&view.bucket, view.facts(admission.validity), &owners).await? {
                UsageReply::Stale(stale, now_ms) => Round::Stale(stale, now_ms),
                UsageReply::Reclaim(now_ms) => self.reclaim_round(view, &owners, now_ms).await?,
                UsageReply::Usage { now_ms, states, .. } => {
                    self.clocks.hear(&view.bucket, now_ms);
                    Round::Done(answer(view, &admission, &states, now_ms))
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
                counters
                    .extend(counter.filter(|counter| counter.count() > Amount::ZERO || counter.granted > Amount::ZERO));
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
        self.with_owner(tenant, owner, async |view| {
            let standing = view.effective_limits();
            let group = standing.groups().find(|known| known.id == group.id).unwrap_or(group);
            let mut admission = Admission::empty(standing, owner.clone());
            admission.place(group, 0, Amount::ZERO, standing.anchor, view.now_ms)?;
            let owners = view.owners(&admission, Limits::Enforced);
            let facts = Facts { version: NO_USER, ..view.facts(admission.validity) };
            Ok(match self.store.usage(&view.bucket, facts, &owners).await? {
                UsageReply::Stale(stale, now_ms) => Round::Stale(stale, now_ms),
                UsageReply::Reclaim(now_ms) => self.reclaim_round(view, &owners, now_ms).await?,
                UsageReply::Usage { now_ms, states, .. } => {
                    Round::Done(answer(view, &admission, &states, now_ms).counters.pop())
                }
            })
        })
        .await
    }

    /// Removes a batch of expired holds of each owner before a read.
    pub(crate) async fn reclaim_round<T>(
        &self,
        view: &View,
        owners: &[Owner],
        now_ms: TimeMs,
    ) -> Result<Round<T>, ServiceError> {
        let tells_expiry = view.config.wants(WebhookEvent::ReservationExpired);
        let mut reclaimed = 0;
        for owner in owners {
            reclaimed += self.store.reclaim(&view.bucket, &owner.keys, tells_expiry).await?.0;
        }
        Ok(Round::Again(Ran { now_ms, reclaimed }))
    }
}

fn answer(view: &View, admission: &Admission, states: &[CounterState], now_ms: TimeMs) -> Usage {
    let mut counters: Vec<Counter> = admission
        .matched
        .iter()
        .zip(states)
        .map(|(matched, state)| Counter {
            group: state.group(&matched.group),
            owner: admission.owners[matched.owner].clone(),
            window: Some(matched.window),
            used: state.used,
            held: state.held,
            granted: state.granted,
            blocked: state.blocked,
            closed: None,
        })
        .collect();
    counters.extend(admission.closed_counters());
    let standing = view.effective_limits();
    let plan = standing.plan;
    let period = plan.and_then(|plan| match plan.period.as_ref()?.locate(now_ms, standing.anchor) {
        Located::Inside { window, .. } => Some(window),
        Located::Outside { .. } => None,
    });
    let subscription = view.subscribed.at(now_ms).0;
    Usage { plan: plan.map(|plan| plan.id.clone()), subscription: subscription.cloned(), period, counters, now_ms }
}

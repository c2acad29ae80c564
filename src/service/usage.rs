//! What counters stand at.

use super::Gateway;
use super::error::ServiceError;
use super::facts::{Round, View};
use super::reserve::owner;
use super::tenant::Tenant;
use crate::domain::admission::{Admission, overview};
use crate::domain::amount::Amount;
use crate::domain::counter::Counter;
use crate::domain::ids::{PlanId, UserId};
use crate::domain::limit_group::LimitGroup;
use crate::domain::period::Located;
use crate::domain::subscription::Subscription;
use crate::domain::window::{TimeMs, Window};
use crate::store::admission::{Ran, Tally};
use crate::store::usage::UsageReply;

/// A user's counters at one instant.
#[derive(Clone, Debug)]
pub struct Usage {
    pub plan: Option<PlanId>,
    pub subscription: Option<Subscription>,
    /// The window of the plan's own period, where the plan has one.
    pub period: Option<Window>,
    /// In the plan's order; groups that were never touched stand at 0.
    pub counters: Vec<Counter>,
    pub now_ms: TimeMs,
}

impl Gateway {
    /// # Errors
    /// [`ServiceError`]
    pub async fn usage(
        &self,
        tenant: &Tenant,
        user: &UserId,
        wanted: impl Fn(&LimitGroup) -> bool,
    ) -> Result<Usage, ServiceError> {
        self.with_facts(tenant, user, async |view| {
            let admission = overview(view.standing(), view.now_ms, &wanted);
            let owners = [owner(view, user, &admission, LimitGroup::refuses_beyond)];
            Ok(match self.store.usage(&view.bucket, view.facts(admission.validity), &owners).await? {
                UsageReply::Stale(stale, now_ms) => Round::Stale(stale, now_ms),
                UsageReply::Reclaim(now_ms) => self.reclaim_round(view, user, now_ms).await?,
                UsageReply::Usage(now_ms, standing) => {
                    self.clocks.hear(&view.bucket, now_ms);
                    Round::Done(answer(view, &admission, &standing.tallies, now_ms))
                }
            })
        })
        .await
    }

    /// Takes a batch of expired holds out of the way of a read.
    pub(crate) async fn reclaim_round<T>(
        &self,
        view: &View,
        user: &UserId,
        now_ms: TimeMs,
    ) -> Result<Round<T>, ServiceError> {
        let (reclaimed, _more) = self.store.reclaim(&view.bucket, &view.bucket.user(user)).await?;
        Ok(Round::Again(Ran { now_ms, reclaimed }))
    }
}

fn answer(view: &View, admission: &Admission, tallies: &[(Tally, bool)], now_ms: TimeMs) -> Usage {
    let mut counters: Vec<Counter> = admission
        .matched
        .iter()
        .zip(tallies)
        .map(|(matched, (tally, _))| Counter {
            group: matched.group.clone(),
            window: Some(matched.window),
            used: tally.used,
            held: tally.held,
            granted: tally.granted,
            blocked: tally.blocked,
        })
        .collect();
    counters.extend(admission.closed.iter().map(|closed| Counter {
        group: closed.group.clone(),
        window: None,
        used: Amount::ZERO,
        held: Amount::ZERO,
        granted: Amount::ZERO,
        blocked: Amount::ZERO,
    }));
    let standing = view.standing();
    let plan = standing.plan;
    let period = plan.and_then(|plan| match plan.period.as_ref()?.locate(now_ms, standing.anchor) {
        Located::Inside { window, .. } => Some(window),
        Located::Outside { .. } => None,
    });
    let subscription = view.subscribed.at(now_ms).0;
    Usage { plan: plan.map(|plan| plan.id.clone()), subscription: subscription.cloned(), period, counters, now_ms }
}

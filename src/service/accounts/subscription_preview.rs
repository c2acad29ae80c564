//! How an upsert of a subscription would change the user's counters, before anything is written.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::subscriptions::{RequestedChange, SubscriptionView, view_of};
use crate::domain::accounts::subscription::{Move, Upsert};
use crate::domain::configuration::limit_group::{LimitGroup, Limits, OnPlanChange};
use crate::domain::metering::admission::{Admission, Caller, EffectiveLimits, Matched, overview};
use crate::domain::metering::counter::{Counter, CounterState};
use crate::domain::time::window::{TimeMs, WindowKind};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{GroupId, UserId};
use crate::domain::values::metadata::Metadata;
use crate::service::configuration::clashes::{counted_plan, own_plan};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::metering::facts::{Attempt, CallFacts};
use crate::service::tenant::Tenant;
use crate::store::accounts::users::{StoredCounter, StoredOwner};
use crate::store::metering::usage::UsageReply;

/// The effect on a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The amount used in the current window is carried over.
    Carried,
    /// Nothing was used in the current window.
    New,
    /// The counter is reset to 0.
    Reset,
    /// The remaining amount is blocked until the next window.
    Blocked,
    /// The fixed period has not begun, or is over: the group denies calls.
    Closed,
}

/// The counters of the plan's groups that count per user, as they would be.
pub struct SubscriptionPreview {
    pub subscription: SubscriptionView,
    pub counters: Vec<(Effect, Counter)>,
    /// Groups of the present plan that the new one does not have, without balances.
    pub ended: Vec<GroupId>,
}

impl Gateway {
    /// The effect of [`Gateway::subscribe`].
    ///
    /// # Errors
    /// The same.
    pub async fn preview_subscription(
        &self,
        tenant: &Tenant,
        user: &UserId,
        upsert: &Upsert,
    ) -> Result<SubscriptionPreview, ServiceError> {
        self.with_facts(tenant, user, async |facts| {
            if let Some(retry) = self.check_start(facts, user, upsert).await? {
                return Ok(retry);
            }
            let wanted = match self.upserted(facts, upsert).await {
                Ok(wanted) => wanted,
                // A rejection must be based on current facts too.
                Err(refusal) => return self.check_facts(facts, user).await?.ok_or(refusal),
            };
            let plan = facts.config.plan(&wanted.subscription.plan);
            let plan = plan.ok_or_else(|| ServiceError::invalid("planId", "must be an existing plan"))?;
            // Limits that exist already were checked when they were set.
            if let Some(Some(limits)) = &upsert.custom_limits {
                own_plan(&facts.config, tenant.placement, limits, plan).map_err(ServiceError::Invalid)?;
            }
            let own = wanted.subscription.custom_limits.as_ref();
            let own = own.map(|limits| counted_plan(&facts.config, &limits.at(facts.now_ms), plan));
            let plan = own.as_ref().unwrap_or(plan);
            let effective_limits = EffectiveLimits {
                plan: Some(plan),
                policies: &[],
                anchor: wanted.subscription.anchor(),
                until_ms: facts.subscribed.at(facts.now_ms).1,
                blocked: false,
            };
            let caller = Caller { user, app: &facts.app, key: None };
            let per_user = |group: &LimitGroup| group.scope.is_user();
            let admission = overview(effective_limits, caller, &Metadata::default(), facts.now_ms, per_user);
            let owners = facts.owners(&admission, Limits::Enforced);
            Ok(match self.store.usage(&facts.bucket, facts.for_script(admission.validity), &owners).await? {
                UsageReply::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
                UsageReply::Reclaim(now_ms) => self.reclaim_attempt(facts, &owners, now_ms).await?,
                UsageReply::Usage { now_ms, states, .. } => {
                    self.clocks.observe_time(&facts.bucket, now_ms);
                    let stored = self.store.stored_users(&facts.bucket, std::slice::from_ref(user)).await?;
                    let before = Before { stored: stored.first(), now_ms };
                    Attempt::Done(SubscriptionPreview {
                        subscription: view_of(user, &wanted.subscription, Some(wanted.changed)),
                        counters: counters(&admission, &states, &before, &wanted),
                        ended: ended(facts, |id| plan.group(id).is_some()),
                    })
                }
            })
        })
        .await
    }
}

/// The present state of the user.
struct Before<'a> {
    stored: Option<&'a StoredOwner>,
    now_ms: TimeMs,
}

/// Credits of a balance outlast the plan.
fn ended(facts: &CallFacts, has: impl Fn(&GroupId) -> bool) -> Vec<GroupId> {
    let groups = facts.effective_limits().plan.into_iter().flat_map(|plan| plan.groups.iter());
    let ends = |group: &LimitGroup| group.scope.is_user() && !group.is_balance() && !has(&group.id);
    groups.filter(|group| ends(group)).map(|group| group.id.clone()).collect()
}

fn counters(
    admission: &Admission,
    states: &[CounterState],
    before: &Before<'_>,
    wanted: &RequestedChange,
) -> Vec<(Effect, Counter)> {
    let open = admission.matched.iter().zip(states).map(|(matched, state)| {
        let (effect, state) = before.becomes(matched, state, wanted);
        let owner = admission.owners[matched.owner].clone();
        (effect, Counter::of(matched.group.clone(), owner, Some(matched.window), &state))
    });
    let closed = admission.closed_counters().map(|counter| (Effect::Closed, counter));
    open.chain(closed).collect()
}

impl Before<'_> {
    /// Computes how `lua/change_user.lua` moves a counter. `state` is the counter in the window of the new plan, by
    /// the rule for overlapping windows.
    fn becomes(&self, matched: &Matched, state: &CounterState, wanted: &RequestedChange) -> (Effect, CounterState) {
        let group = &matched.group;
        let known = self.stored.and_then(|stored| stored.windows.iter().find(|counter| counter.group == group.id));
        let turned = known.is_some_and(|known| known.window.end_ms.is_some_and(|end| end <= matched.window.start_ms));
        let carried = known.is_some() && !turned;
        if group.is_concurrent() || group.is_balance() {
            return (if carried { Effect::Carried } else { Effect::New }, *state);
        }
        // Its window was over before the change, so nothing is carried over.
        let is_over = |known: &StoredCounter| {
            wanted.moves.is_some()
                && known.window.kind != WindowKind::Fixed
                && known.window != matched.window
                && known.window.end_ms.is_some_and(|end| end <= self.now_ms)
        };
        let over = carried && known.is_some_and(is_over);
        let action = match wanted.moves {
            Some(Move::Over) => group.on_plan_change,
            Some(Move::Along) | None => OnPlanChange::Carry,
        };
        let from_0 = |granted: Amount, rolled: Amount| CounterState { granted, rolled, ..CounterState::default() };
        if wanted.reset && carried {
            return (Effect::Reset, from_0(state.granted, state.rolled));
        }
        let lasting =
            || self.stored.map_or(Amount::ZERO, |stored| stored.granted_in_any_window(&group.id, self.now_ms));
        let anew = over || (carried && action == OnPlanChange::Reset);
        let rolled = if over { state.leaves(group, known.and_then(|known| known.quota)) } else { state.rolled };
        let mut after = if anew { from_0(lasting(), rolled) } else { *state };
        let effect = match (action, group.quota) {
            (OnPlanChange::Block, Some(quota)) if !wanted.reset => {
                after.blocked = quota.saturating_add(after.rolled).saturating_sub(after.used);
                Effect::Blocked
            }
            _ if over || !carried => Effect::New,
            (OnPlanChange::Reset, _) => Effect::Reset,
            _ => Effect::Carried,
        };
        (effect, after)
    }
}

//! The rules of a replay: a configuration and the present state of its users.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::accounts::subscription::{Subscribed, Subscription};
use crate::domain::configuration::plan::Plan;
use crate::domain::metering::admission::EffectiveLimits;
use crate::domain::time::period::SubscriptionAnchor;
use crate::domain::time::window::TimeMs;
use crate::domain::values::ids::{AppId, PlanId};
use crate::service::configuration::app_config::AppConfig;
use crate::service::configuration::clashes::counted_plan;

/// A configuration and the plans of its users.
pub struct Rules<'a> {
    pub app: &'a AppId,
    config: &'a AppConfig,
    /// Users of the first plan get the second.
    instead: Option<(&'a PlanId, &'a PlanId)>,
    /// In the order of the timeline's users.
    subscribed: &'a [Subscribed],
    /// Custom plans and until when they are as they are, by the user's index.
    own_plans: HashMap<usize, (Arc<Plan>, TimeMs)>,
}

/// A user's plan at a time, and the anchor of its windows.
pub struct Position {
    pub plan: Option<Arc<Plan>>,
    anchor: SubscriptionAnchor,
}

/// Windows of a user without a subscription follow the calendar.
const NO_ANCHOR: SubscriptionAnchor = SubscriptionAnchor { started_at_ms: 0, cycle_start_ms: None };

impl<'a> Rules<'a> {
    pub fn new(
        app: &'a AppId,
        config: &'a AppConfig,
        instead: Option<(&'a PlanId, &'a PlanId)>,
        subscribed: &'a [Subscribed],
    ) -> Self {
        Self { app, config, instead, subscribed, own_plans: HashMap::new() }
    }

    /// The plan of the present subscription, otherwise the default plan, otherwise the `recorded` plan of the call. The
    /// times of a user must not decrease.
    pub fn position(&mut self, user: usize, at_ms: TimeMs, recorded: Option<&PlanId>) -> Position {
        let subscribed = self.subscribed.get(user);
        let (subscription, until_ms) = subscribed.map_or((None, TimeMs::MAX), |subscribed| subscribed.at(at_ms));
        let anchor = subscription.map_or(NO_ANCHOR, Subscription::anchor);
        let named = subscription.map(|subscription| &subscription.plan);
        let Some(id) = named.or(self.config.settings.default_plan_id.as_ref()).or(recorded) else {
            return Position { plan: None, anchor };
        };
        let id = self.instead.filter(|(of, _)| *of == id).map_or(id, |(_, instead)| instead);
        let Some(plan) = self.config.plan(id) else {
            return Position { plan: None, anchor };
        };
        let plan = match subscription.and_then(|subscription| subscription.custom_limits.as_ref()) {
            None => Arc::clone(plan),
            Some(limits) => match self.own_plans.get(&user).filter(|(_, until_ms)| at_ms < *until_ms) {
                Some((own, _)) => Arc::clone(own),
                None => {
                    let own = counted_plan(self.config, &limits.at(at_ms), plan);
                    self.own_plans.insert(user, (Arc::clone(&own), until_ms));
                    own
                }
            },
        };
        Position { plan: Some(plan), anchor }
    }

    pub fn effective_limits<'b>(&'b self, position: &'b Position) -> EffectiveLimits<'b> {
        let (plan, policies) = (position.plan.as_deref(), &self.config.policies);
        EffectiveLimits { plan, policies, anchor: position.anchor, until_ms: TimeMs::MAX, blocked: false }
    }

    /// The rules for the figures of a reservation.
    pub fn of(&self, plan: Option<Arc<Plan>>) -> crate::domain::metering::reservation::Rules {
        crate::domain::metering::reservation::Rules { plan, policies: self.config.policies.clone() }
    }
}

//! The rules that a past is replayed under: a configuration, and what is true of its users now.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::accounts::subscription::{Subscribed, Subscription};
use crate::domain::configuration::plan::Plan;
use crate::domain::metering::admission::Standing;
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
    /// In the order of the past's users.
    subscribed: &'a [Subscribed],
    /// Plans with a user's own limits, by the user's place.
    own_plans: HashMap<usize, Arc<Plan>>,
}

/// The plan that a user is on at a time, and where its windows begin.
pub struct Position {
    pub plan: Option<Arc<Plan>>,
    anchor: SubscriptionAnchor,
}

/// Windows of a user without subscription begin with the calendar.
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

    /// The plan of the present subscription, else the default one, else the one that the call was `recorded` under.
    pub fn position(&mut self, user: usize, at_ms: TimeMs, recorded: Option<&PlanId>) -> Position {
        let subscription = self.subscribed.get(user).and_then(|subscribed| subscribed.at(at_ms).0);
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
            Some(limits) => {
                Arc::clone(self.own_plans.entry(user).or_insert_with(|| counted_plan(self.config, limits, plan)))
            }
        };
        Position { plan: Some(plan), anchor }
    }

    pub fn standing<'b>(&'b self, position: &'b Position) -> Standing<'b> {
        let (plan, policies) = (position.plan.as_deref(), &self.config.policies);
        Standing { plan, policies, anchor: position.anchor, until_ms: TimeMs::MAX, blocked: false }
    }

    /// What a reservation's figures are measured by.
    pub fn of(&self, plan: Option<Arc<Plan>>) -> crate::domain::metering::reservation::Rules {
        crate::domain::metering::reservation::Rules { plan, policies: self.config.policies.clone() }
    }
}

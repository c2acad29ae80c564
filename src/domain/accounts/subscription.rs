//! Subscriptions: a user's plan, its start and end, and custom limits.

use std::sync::Arc;

use super::custom_limits::CustomLimits;
use crate::domain::time::period::SubscriptionAnchor;
use crate::domain::time::window::TimeMs;
use crate::domain::values::ids::PlanId;

/// A subscription as stored. Times are whole seconds, in ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub plan: PlanId,
    pub started_at_ms: TimeMs,
    pub cycle_start_ms: Option<TimeMs>,
    /// The subscription ends at this instant.
    pub ends_at_ms: Option<TimeMs>,
    /// Replaces the plan's limits.
    pub custom_limits: Option<Arc<CustomLimits>>,
}

/// A user's state with the version that scripts compare; `version` is `0` if nothing was ever written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    pub version: String,
    pub subscription: Option<Subscription>,
    /// All calls are denied until the user is unblocked.
    pub blocked: bool,
}

impl Subscribed {
    pub fn never() -> Self {
        Self { version: "0".to_owned(), subscription: None, blocked: false }
    }

    /// The subscription at an instant, and until when this stays the same.
    pub fn at(&self, now: TimeMs) -> (Option<&Subscription>, TimeMs) {
        match &self.subscription {
            Some(subscription) if subscription.ends_at_ms.is_none_or(|end| now < end) => {
                let limits_end_ms = subscription.custom_limits.as_ref().and_then(|limits| limits.next_end(now));
                let until_ms = subscription.ends_at_ms.into_iter().chain(limits_end_ms).min();
                (Some(subscription), until_ms.unwrap_or(TimeMs::MAX))
            }
            Some(_) | None => (None, TimeMs::MAX),
        }
    }
}

impl Subscription {
    pub fn anchor(&self) -> SubscriptionAnchor {
        SubscriptionAnchor { started_at_ms: self.started_at_ms, cycle_start_ms: self.cycle_start_ms }
    }
}

/// A requested upsert: absent fields are unchanged, `Some(None)` clears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upsert {
    pub plan: PlanId,
    pub started_at_ms: Option<TimeMs>,
    pub cycle_start_ms: Option<Option<TimeMs>>,
    pub ends_at_ms: Option<Option<TimeMs>>,
    /// Dropped when the user moves to another plan, unless given.
    pub custom_limits: Option<Option<Arc<CustomLimits>>>,
    pub reset_usage: bool,
}

/// The result of an upsert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upserted {
    pub subscription: Subscription,
    /// False if nothing differs, so nothing is written.
    pub changed: bool,
    /// Every counter is reset to 0.
    pub reset: bool,
    /// How counters move to the windows of the plan.
    pub moves: Move,
}

/// Why counters may have to move to other windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The same plan, or the first one: usage in windows that are still running is carried over.
    Along,
    /// Another plan, or the same after it had ended: each group's `onPlanChange` decides.
    Over,
}

/// The field and the reason of a rejected upsert.
pub type UpsertError = (&'static str, &'static str);

impl Upsert {
    /// On the same running plan, absent fields are unchanged. Otherwise a new subscription starts now.
    ///
    /// # Errors
    /// `startedAt` in the future, or `endsAt` not after `startedAt`.
    pub fn apply(&self, present: &Subscribed, now: TimeMs) -> Result<Upserted, UpsertError> {
        let whole = |ms: TimeMs| ms.div_euclid(1000) * 1000;
        if self.started_at_ms.is_some_and(|start| start > now) {
            return Err(("startedAt", "must not be in the future"));
        }
        let same = present.at(now).0.filter(|subscription| subscription.plan == self.plan);
        let subscription = Subscription {
            plan: self.plan.clone(),
            started_at_ms: whole(self.started_at_ms.or(same.map(|old| old.started_at_ms)).unwrap_or(now)),
            cycle_start_ms: self.cycle_start_ms.unwrap_or(same.and_then(|old| old.cycle_start_ms)).map(whole),
            ends_at_ms: self.ends_at_ms.unwrap_or(same.and_then(|old| old.ends_at_ms)).map(whole),
            custom_limits: self.custom_limits.clone().unwrap_or_else(|| same.and_then(|old| old.custom_limits.clone())),
        };
        if subscription.ends_at_ms.is_some_and(|end| end <= subscription.started_at_ms) {
            return Err(("endsAt", "must be after `startedAt`"));
        }
        let changed = same != Some(&subscription);
        let re_anchored = same.is_some_and(|old| old.anchor() != subscription.anchor());
        let first = present.subscription.is_none();
        let moves = if first || same.is_some() { Move::Along } else { Move::Over };
        Ok(Upserted { changed, reset: self.reset_usage && (re_anchored || same.is_none()), moves, subscription })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimeMs = 1_800_000_000_500;

    fn upsert(plan: &str) -> Upsert {
        Upsert {
            plan: PlanId::parse(plan).unwrap(),
            started_at_ms: None,
            cycle_start_ms: None,
            ends_at_ms: None,
            custom_limits: None,
            reset_usage: false,
        }
    }

    fn on(plan: &str, ends_at_ms: Option<TimeMs>) -> Subscribed {
        let plan = PlanId::parse(plan).unwrap();
        let subscription =
            Subscription { plan, started_at_ms: 1000, cycle_start_ms: Some(5000), ends_at_ms, custom_limits: None };
        Subscribed { version: "7".to_owned(), subscription: Some(subscription), blocked: false }
    }

    #[test]
    fn the_same_plan_and_values_change_nothing() {
        let upserted = upsert("a").apply(&on("a", None), NOW).unwrap();
        assert!(!upserted.changed);
        assert_eq!(upserted.subscription, on("a", None).subscription.unwrap());
    }

    #[test]
    fn absent_fields_stay_and_null_clears() {
        let cleared = Upsert { cycle_start_ms: Some(None), ..upsert("a") }.apply(&on("a", None), NOW).unwrap();
        assert!(cleared.changed);
        assert_eq!((cleared.subscription.started_at_ms, cleared.subscription.cycle_start_ms), (1000, None));
    }

    #[test]
    fn another_plan_or_a_lapsed_one_starts_now_to_the_second() {
        for present in [on("b", None), on("a", Some(2000)), Subscribed::never()] {
            let fresh = upsert("a").apply(&present, NOW).unwrap();
            assert_eq!(fresh.subscription.started_at_ms, 1_800_000_000_000);
            assert_eq!(fresh.subscription.cycle_start_ms, None);
            assert!(fresh.changed && !fresh.reset);
            assert_eq!(fresh.moves, if present.subscription.is_some() { Move::Over } else { Move::Along });
        }
        assert_eq!(upsert("a").apply(&on("a", None), NOW).unwrap().moves, Move::Along);
    }

    #[test]
    fn custom_limits_stay_on_the_plan_and_drop_with_it() {
        let limits = Arc::new(CustomLimits::parse(&serde_json::json!({"g": {"quota": 9}})).unwrap());
        let with = Upsert { custom_limits: Some(Some(Arc::clone(&limits))), ..upsert("a") };
        let mut present = on("a", None);
        present.subscription = Some(with.apply(&present, NOW).unwrap().subscription);
        let custom = |upsert: Upsert| upsert.apply(&present, NOW).unwrap().subscription.custom_limits;
        assert_eq!(custom(upsert("a")), Some(limits));
        assert!(!with.apply(&present, NOW).unwrap().changed);
        assert_eq!(custom(upsert("b")), None);
        assert_eq!(custom(Upsert { custom_limits: Some(None), ..upsert("a") }), None);
    }

    #[test]
    fn impossible_times_are_refused() {
        let future = Upsert { started_at_ms: Some(NOW + 1), ..upsert("a") };
        assert_eq!(future.apply(&Subscribed::never(), NOW).unwrap_err().0, "startedAt");
        let backwards = Upsert { ends_at_ms: Some(Some(500)), ..upsert("a") };
        assert_eq!(backwards.apply(&on("a", None), NOW).unwrap_err().0, "endsAt");
    }

    #[test]
    fn use_is_reset_only_when_the_anchor_moves() {
        let again = Upsert { reset_usage: true, ..upsert("a") };
        assert!(!again.apply(&on("a", None), NOW).unwrap().reset);
        let moved = Upsert { cycle_start_ms: Some(Some(9000)), ..again };
        assert!(moved.apply(&on("a", None), NOW).unwrap().reset);
    }

    #[test]
    fn an_end_is_exclusive() {
        let ending = on("a", Some(10_000));
        assert!(ending.at(9_999).0.is_some());
        assert!(ending.at(10_000).0.is_none());
    }
}

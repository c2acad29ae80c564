//! A counter as clients see it: one limit group × one scope value × one window.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::time::window::{TimeMs, Window};
use crate::domain::values::amount::Amount;

/// `used` and `held` of a group in a window; no window while a fixed period does not cover the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Counter {
    pub group: Arc<LimitGroup>,
    pub owner: Arc<OwnerName>,
    pub window: Option<Window>,
    pub used: Amount,
    pub held: Amount,
    /// Extra quota by live grants.
    pub granted: Amount,
    /// Put out of reach by a plan change.
    pub blocked: Amount,
    /// While a fixed period does not cover the time.
    pub closed: Option<ClosedUntil>,
}

/// When a counter opens (ms); None: never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedUntil(pub Option<TimeMs>);

impl Counter {
    /// One that refuses everything until then.
    pub fn closed(group: Arc<LimitGroup>, owner: Arc<OwnerName>, until: ClosedUntil) -> Self {
        let (used, held, granted, blocked) = (Amount::ZERO, Amount::ZERO, Amount::ZERO, Amount::ZERO);
        Self { group, owner, window: None, used, held, granted, blocked, closed: Some(until) }
    }

    /// `used + held`.
    pub fn count(&self) -> Amount {
        self.used.saturating_add(self.held)
    }

    /// Quota and grants; None without quota.
    pub fn allowance(&self) -> Option<Amount> {
        self.group.quota.map(|quota| quota.saturating_add(self.granted))
    }

    /// `max(0, quota + grants − blocked − used − held)`; None without quota. Of a concurrent group only what is held
    /// counts, and of a closed one nothing remains.
    pub fn remaining(&self) -> Option<Amount> {
        if self.closed.is_some() {
            return Some(Amount::ZERO);
        }
        self.allowance().map(|allowance| allowance.saturating_sub(self.blocked.saturating_add(self.counted())))
    }

    fn counted(&self) -> Amount {
        if self.group.is_concurrent() { self.held } else { self.count() }
    }

    /// `max(0, used − quota − grants)`.
    pub fn overage(&self) -> Amount {
        self.allowance().map_or(Amount::ZERO, |allowance| self.used.saturating_sub(allowance))
    }

    /// Whole percent of `used` in quota and grants; None for quota null or 0.
    pub fn percent_used(&self) -> Option<u64> {
        self.group.quota.filter(|quota| *quota > Amount::ZERO)?;
        let allowance = self.allowance()?;
        let percent = u128::from(self.used.steps()) * 100 / u128::from(allowance.steps());
        u64::try_from(percent).ok()
    }

    /// Tightest first: the lowest share of the quota left; counters without quota last.
    pub fn by_tightness(&self, other: &Self) -> Ordering {
        let left = |counter: &Self| counter.remaining().zip(counter.allowance());
        match (left(self), left(other)) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some((left, quota)), Some((other_left, other_quota))) => {
                let share = |left: Amount, quota: Amount| u128::from(left.steps()) * u128::from(quota.steps().max(1));
                share(left, other_quota).cmp(&share(other_left, quota))
            }
        }
    }
}

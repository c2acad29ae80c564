//! A counter as clients see it: one limit group × one scope value × one window.

use std::cmp::Ordering;
use std::sync::Arc;

use super::amount::Amount;
use super::limit_group::LimitGroup;
use super::window::Window;

/// `used` and `held` of a group in a window; no window while a fixed period does not cover the time.
#[derive(Clone, Debug)]
pub struct Counter {
    pub group: Arc<LimitGroup>,
    pub window: Option<Window>,
    pub used: Amount,
    pub held: Amount,
}

impl Counter {
    /// `used + held`.
    pub fn count(&self) -> Amount {
        self.used.saturating_add(self.held)
    }

    /// `max(0, quota − used − held)`; None without quota. Of a concurrent group only what is held counts.
    pub fn remaining(&self) -> Option<Amount> {
        self.group.quota.map(|quota| quota.saturating_sub(self.counted()))
    }

    fn counted(&self) -> Amount {
        if self.group.is_concurrent() { self.held } else { self.count() }
    }

    /// `max(0, used − quota)`.
    pub fn overage(&self) -> Amount {
        self.group.quota.map_or(Amount::ZERO, |quota| self.used.saturating_sub(quota))
    }

    /// Whole percent of `used` in the quota; None for quota null or 0.
    pub fn percent_used(&self) -> Option<u64> {
        let quota = self.group.quota.filter(|quota| *quota > Amount::ZERO)?;
        let percent = u128::from(self.used.steps()) * 100 / u128::from(quota.steps());
        u64::try_from(percent).ok()
    }

    /// Tightest first: the lowest share of the quota left; counters without quota last.
    pub fn by_tightness(&self, other: &Self) -> Ordering {
        let left = |counter: &Self| counter.remaining().zip(counter.group.quota);
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

//! A counter as clients see it: one limit group for one scope value in one window.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::rollover::EndingWindow;
use crate::domain::time::window::{TimeMs, Window};
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::ids::GroupId;

/// `used` and `held` of a group in a window; the window is None while a fixed period is not running.
#[derive(Clone, Debug, PartialEq)]
pub struct Counter {
    pub group: Arc<LimitGroup>,
    pub owner: Arc<OwnerName>,
    pub window: Option<Window>,
    pub used: Amount,
    pub held: Amount,
    /// Extra quota by active grants.
    pub granted: Amount,
    /// Extra quota that was unused in the window before.
    pub rolled: Amount,
    /// Amount blocked by a plan change.
    pub blocked: Amount,
    /// Set while a fixed period is not running.
    pub closed: Option<ClosedUntil>,
    /// The credits of a balance group.
    pub balance: Option<BalanceState>,
}

/// What an owner's credits in a balance group come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BalanceState {
    /// Of live credits, without what is held.
    pub remaining: Amount,
    /// Used without a credit, since it was spent already.
    pub uncovered: Amount,
    /// What expires next, and when.
    pub expires_next: Option<(Amount, TimeMs)>,
}

/// What a call took from a balance because it did not fit into a limit group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverflowState {
    /// 0 if the balance did not have the amount either.
    pub amount: Amount,
    /// `used` and `held` of the balance, and its credits, after the call.
    pub used: Amount,
    pub held: Amount,
    pub balance: BalanceState,
}

/// What a call took from a balance, since it did not fit into a limit group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overflow {
    pub balance: GroupId,
    /// The limit group.
    pub from: GroupId,
    pub amount: Amount,
    pub unit: Unit,
}

/// When the counter's period starts (ms); None if it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedUntil(pub Option<TimeMs>);

impl Counter {
    /// A counter that denies everything until then.
    pub fn closed(group: Arc<LimitGroup>, owner: Arc<OwnerName>, until: ClosedUntil) -> Self {
        Self { closed: Some(until), ..Self::of(group, owner, None, &CounterState::default()) }
    }

    /// The counter with the amounts of a state. No window: it is so old that it was dropped.
    pub fn of(group: Arc<LimitGroup>, owner: Arc<OwnerName>, window: Option<Window>, state: &CounterState) -> Self {
        let CounterState { used, held, granted, rolled, blocked, balance, .. } = *state;
        // A quota of 0 stops its owner.
        let rolled = if group.quota.is_some_and(|quota| quota > Amount::ZERO) { rolled } else { Amount::ZERO };
        Self { group, owner, window, used, held, granted, rolled, blocked, closed: None, balance }
    }

    /// What was rolled over; None if nothing was and nothing ever will be.
    pub fn rolled(&self) -> Option<Amount> {
        (self.group.rollover.is_some() || self.rolled > Amount::ZERO).then_some(self.rolled)
    }

    /// `used + held`.
    pub fn count(&self) -> Amount {
        self.used.saturating_add(self.held)
    }

    /// Quota plus grants and rolled quota; None without a quota.
    pub fn allowance(&self) -> Option<Amount> {
        self.group.quota.map(|quota| quota.saturating_add(self.granted).saturating_add(self.rolled))
    }

    /// `max(0, quota + grants + rolled − blocked − used − held)`; None without a quota. For a concurrent group only `held`
    /// counts; a closed one has 0; a balance has what remains of its credits.
    pub fn remaining(&self) -> Option<Amount> {
        if self.closed.is_some() {
            return Some(Amount::ZERO);
        }
        if let Some(balance) = &self.balance {
            return Some(balance.remaining);
        }
        self.allowance().map(|allowance| allowance.saturating_sub(self.blocked.saturating_add(self.counted())))
    }

    /// `used + held`; for a concurrent group only `held`.
    pub fn counted(&self) -> Amount {
        if self.group.is_concurrent() { self.held } else { self.count() }
    }

    /// `max(0, used − quota − grants − rolled)`; of a balance, what was used without a credit.
    pub fn overage(&self) -> Amount {
        if let Some(balance) = &self.balance {
            return balance.uncovered;
        }
        self.allowance().map_or(Amount::ZERO, |allowance| self.used.saturating_sub(allowance))
    }

    /// `used` in whole percent of quota, grants and rolled quota; None if the quota is null or 0.
    pub fn percent_used(&self) -> Option<u64> {
        self.group.quota.filter(|quota| *quota > Amount::ZERO)?;
        let allowance = self.allowance()?;
        let percent = u128::from(self.used.steps()) * 100 / u128::from(allowance.steps());
        u64::try_from(percent).ok()
    }

    /// Tightest first: the lowest remaining share of the quota. Counters without a quota come last.
    pub fn by_tightness(&self, other: &Self) -> Ordering {
        let left = |counter: &Self| Some(Share { remaining: counter.remaining()?, of: counter.allowance()? });
        match (left(self), left(other)) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(one), Some(other)) => one.compare(other),
        }
    }
}

/// What remains, and of how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub remaining: Amount,
    pub of: Amount,
}

impl Share {
    /// The lowest share first.
    pub fn compare(self, other: Self) -> Ordering {
        let part = |share: Self, of: Amount| u128::from(share.remaining.steps()) * u128::from(of.steps().max(1));
        part(self, other.of).cmp(&part(other, self.of))
    }
}

/// An alert threshold that a call reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrossedThreshold {
    pub group: GroupId,
    pub percent: u64,
}

/// The amounts of a counter after the call, or without it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterState {
    pub used: Amount,
    pub held: Amount,
    pub granted: Amount,
    pub rolled: Amount,
    pub blocked: Amount,
    /// The call's amount does not fit; of a balance after a `track`: no credit covered a part of it.
    pub over_limit: bool,
    /// The group would have denied the call if it did not only observe.
    pub observed: bool,
    /// The owner's own quota instead of the group's; None counts without limit.
    pub quota: Option<Option<Amount>>,
    /// The credits, if the group is a balance.
    pub balance: Option<BalanceState>,
    /// What the call took from the balance onto which the group overflows, or would have had to.
    pub overflow: Option<OverflowState>,
}

impl CounterState {
    /// What the counter may use in addition to its quota.
    pub fn extra(&self) -> Amount {
        self.granted.saturating_add(self.rolled)
    }

    /// What the counter's window leaves for the next one if nothing more is counted in it. `quota`: at the last call.
    pub fn leaves(&self, group: &LimitGroup, quota: Option<Amount>) -> Amount {
        let Self { used, held, blocked, rolled, .. } = *self;
        let ending = EndingWindow { quota, rolled, used, held, blocked };
        group.rollover.map_or(Amount::ZERO, |max| ending.leaves(max))
    }

    /// The group as it applies to the counter's owner.
    pub fn group(&self, group: &Arc<LimitGroup>) -> Arc<LimitGroup> {
        match self.quota {
            None => Arc::clone(group),
            Some(quota) => Arc::new(LimitGroup { quota, ..group.as_ref().clone() }),
        }
    }
}

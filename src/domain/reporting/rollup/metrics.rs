//! The sums of a row.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::group_map::GroupMap;
use crate::domain::metering::reason::Reason;
use crate::domain::reporting::sketch::Sketch;
use crate::domain::values::ids::GroupId;

/// Decimal places of quantities and figures, the same as for input.
pub const DECIMALS: u32 = 12;
/// Decimal places of a cost in cents: steps of the unit.
pub const COST_DECIMALS: u32 = 6;

/// The counts of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Count {
    /// Final commits and tracked events. A call of several items counts once, in the row of its first item.
    Calls,
    /// Commits with `final: false`.
    Draws,
    /// Reservations that were released.
    Released,
    /// Reservations that expired.
    Expiries,
    /// Commits after the reservation had expired.
    Late,
    /// Calls that were allowed while Redis was unavailable and counted later.
    Degraded,
    Denials,
    Refunds,
    /// Results whose latest outcome is accepted.
    Accepted,
    Rejected,
    /// Calls whose metadata has `attempt`: `retry`, or a number above 1.
    Retries,
    /// Calls that were allowed, and that groups with the enforcement `observe` would have denied.
    Observed,
}

impl Count {
    pub const ALL: [Self; 12] = [
        Self::Calls,
        Self::Draws,
        Self::Released,
        Self::Expiries,
        Self::Late,
        Self::Degraded,
        Self::Denials,
        Self::Refunds,
        Self::Accepted,
        Self::Rejected,
        Self::Retries,
        Self::Observed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Draws => "draws",
            Self::Released => "released",
            Self::Expiries => "expiries",
            Self::Late => "late",
            Self::Degraded => "degraded",
            Self::Denials => "denials",
            Self::Refunds => "refunds",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Retries => "retries",
            Self::Observed => "observed",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|count| count.as_str() == name)
    }
}

/// The sums of one group in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSums {
    /// Steps of the group's unit, minus refunds.
    pub charged: i128,
    /// Calls that matched the group.
    pub calls: i64,
    /// Calls that were denied because of the group's limit.
    pub denials: i64,
    /// Calls that the group would have denied if it did not only observe.
    pub observed: i64,
    /// Of a balance: steps that were added as credits.
    pub credited: i128,
    /// Of a balance: steps that credits had left when they expired, or got back later.
    pub lapsed: i128,
    /// Of a balance: steps that were removed from credits.
    pub voided: i128,
}

impl GroupSums {
    pub fn add(&mut self, other: &Self) {
        add(&mut self.charged, other.charged);
        self.calls = self.calls.saturating_add(other.calls);
        self.denials = self.denials.saturating_add(other.denials);
        self.observed = self.observed.saturating_add(other.observed);
        add(&mut self.credited, other.credited);
        add(&mut self.lapsed, other.lapsed);
        add(&mut self.voided, other.voided);
    }
}

/// What is learned about one figure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FigureSums {
    pub sketch: Sketch,
    /// Figures of reservations that were made with a learned estimate.
    pub compared: u64,
    /// Those that exceeded the estimate.
    pub exceeded: u64,
}

impl FigureSums {
    pub fn add(&mut self, other: &Self) {
        self.sketch.merge(&other.sketch);
        self.compared = self.compared.saturating_add(other.compared);
        self.exceeded = self.exceeded.saturating_add(other.exceeded);
    }
}

/// The sums of a row. They saturate instead of overflowing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// In the order of [`Count::ALL`].
    pub counts: [i64; Count::ALL.len()],
    /// In steps of 10^-12, minus refunds.
    pub quantity: i128,
    /// In steps of 10^-6 cents, minus refunds.
    pub cost: i128,
    pub reasons: BTreeMap<Reason, i128>,
    pub groups: GroupMap,
    /// In steps of 10^-12, by the name of the metadata field.
    pub figures: BTreeMap<String, i128>,
    /// By the name of the metadata field; only in the rows of estimates.
    pub learned: BTreeMap<String, FigureSums>,
}

impl Metrics {
    pub fn get(&self, count: Count) -> i128 {
        self.counts[count as usize].into()
    }

    /// Increases or decreases a count.
    pub fn count(&mut self, count: Count, by: i64) {
        let sum = &mut self.counts[count as usize];
        *sum = sum.saturating_add(by);
    }

    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.counts.iter_mut().zip(other.counts) {
            *sum = sum.saturating_add(more);
        }
        add(&mut self.quantity, other.quantity);
        add(&mut self.cost, other.cost);
        for (reason, count) in &other.reasons {
            add(self.reasons.entry(*reason).or_default(), *count);
        }
        self.groups.add(&other.groups);
        for (name, sum) in &other.figures {
            add(self.figures.entry(name.clone()).or_default(), *sum);
        }
        for (name, sums) in &other.learned {
            self.learned.entry(name.clone()).or_default().add(sums);
        }
    }

    /// Only the figures of one group: its calls, denials, observed denials, charges and credits. None if the row has none.
    pub fn of_group(&self, group: &GroupId) -> Option<Self> {
        let sums = *self.groups.get(group)?;
        let mut only = Self::default();
        *only.groups.of(group) = sums;
        only.count(Count::Calls, sums.calls);
        only.count(Count::Denials, sums.denials);
        only.count(Count::Observed, sums.observed);
        Some(only)
    }
}

/// Most sums of an entry are 0.
fn add(sum: &mut i128, more: i128) {
    if more != 0 {
        *sum = sum.saturating_add(more);
    }
}

/// A sum with `decimals` places as a number. Digits beyond 28 are dropped.
pub fn number(mut sum: i128, mut decimals: u32) -> Decimal {
    while decimals > 0 && sum % 10 == 0 {
        (sum, decimals) = (sum / 10, decimals - 1);
    }
    loop {
        match Decimal::try_from_i128_with_scale(sum, decimals) {
            Ok(number) => return number.normalize(),
            Err(_) if decimals > 0 => (sum, decimals) = (sum / 10, decimals - 1),
            Err(_) => return if sum > 0 { Decimal::MAX } else { Decimal::MIN },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_become_numbers_without_loss_up_to_28_digits() {
        for (sum, decimals, expected) in [
            (1_500_000_000_000, 12, "1.5"),
            (-3, 0, "-3"),
            (-250_000, 6, "-0.25"),
            (0, 12, "0"),
            (9_007_199_254_740_991_000_000_000_000, 12, "9007199254740991"),
            (i128::MAX, 12, "170141183460469231731687303.71"),
            (i128::MAX, 0, "79228162514264337593543950335"),
        ] {
            assert_eq!(number(sum, decimals).to_string(), expected, "{sum} {decimals}");
        }
    }

    #[test]
    fn sums_do_not_turn_over() {
        let mut one = Metrics { quantity: i128::MAX, ..Metrics::default() };
        one.add(&one.clone());
        assert_eq!(one.quantity, i128::MAX);
    }
}

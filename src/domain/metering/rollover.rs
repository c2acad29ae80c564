//! Rollover: what a window leaves of its quota becomes extra quota of the next window, see `lua/lib/rollover.lua`.

use crate::domain::values::amount::Amount;

/// A window that ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndingWindow {
    /// The quota at the last call in the window; None counted without limit.
    pub quota: Option<Amount>,
    /// What was rolled over into it.
    pub rolled: Amount,
    pub used: Amount,
    /// What is still held; it counts as used, whatever becomes of it.
    pub held: Amount,
    /// The amount that a plan change has blocked.
    pub blocked: Amount,
}

impl EndingWindow {
    /// What it leaves for the next window, at most `max`. Use counts against rolled quota first, then against the quota,
    /// then against grants. So rolled quota is never rolled again, and grants are not rolled at all.
    pub fn leaves(&self, max: Amount) -> Amount {
        let counted = self.used.saturating_add(self.held).saturating_add(self.blocked).saturating_sub(self.rolled);
        self.quota.unwrap_or_default().saturating_sub(counted).min(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_quota_is_left_up_to_the_maximum_and_rolled_quota_is_used_first() {
        let amount = |steps| Amount::from_steps(steps).unwrap();
        // Quota, rolled, used, held, blocked, at most, left.
        let table = [
            (20, 0, 0, 0, 0, 100, 20),
            (20, 0, 0, 0, 0, 5, 5),
            (20, 0, 12, 0, 0, 100, 8),
            (20, 0, 12, 3, 0, 100, 5),
            (20, 0, 12, 3, 5, 100, 0),
            (20, 8, 0, 0, 0, 100, 20),
            (20, 8, 8, 0, 0, 100, 20),
            (20, 8, 10, 0, 0, 100, 18),
            (20, 8, 28, 0, 0, 100, 0),
            (20, 0, 25, 0, 0, 100, 0),
            (0, 8, 0, 0, 0, 100, 0),
            (Amount::MOST, Amount::MOST, Amount::MOST, 0, 0, Amount::MOST, Amount::MOST),
        ];
        for case @ (quota, rolled, used, held, blocked, max, left) in table {
            let [rolled, used, held, blocked] = [rolled, used, held, blocked].map(amount);
            let ending = EndingWindow { quota: Some(amount(quota)), rolled, used, held, blocked };
            assert_eq!(ending.leaves(amount(max)), amount(left), "{case:?}");
        }
        let unlimited = EndingWindow { quota: None, ..EndingWindow::default() };
        assert_eq!(unlimited.leaves(amount(5)), Amount::ZERO);
    }
}

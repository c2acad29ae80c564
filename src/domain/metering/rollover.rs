//! Rollover: what a window leaves of its quota becomes extra quota of the next window, see `lua/lib/rollover.lua`.

use crate::domain::time::window::{TimeMs, Window};
use crate::domain::values::amount::Amount;

/// Whether a whole window without any call lies between a counter's window and the next one that a call uses. Windows of
/// one period differ in length (28 and 31 days, 23 and 25 hours); a moved anchor leaves a shorter gap.
pub fn is_idle_between(window: &Window, next: &Window) -> bool {
    let gap_ms = window.end_ms.map_or(0, |end_ms| next.start_ms - end_ms);
    let length_ms = next.end_ms.map_or(0, |end_ms| end_ms - next.start_ms);
    gap_ms > 0 && gap_ms * 8 >= length_ms * 7
}

/// When the window after this one has ended, whatever its length; None if there is none.
pub fn end_of_next_ms(window: &Window) -> Option<TimeMs> {
    window.end_ms.map(|end_ms| end_ms.saturating_add((end_ms - window.start_ms) / 8 * 9))
}

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
    use crate::domain::time::window::WindowKind;

    #[test]
    fn a_gap_is_an_idle_window_if_it_is_about_as_long_as_one() {
        let window = |from_h: i64, upto_h: i64| {
            let (start_ms, end_ms) = (from_h * 3_600_000, Some(upto_h * 3_600_000));
            Window { kind: WindowKind::Monthly, start_ms, end_ms }
        };
        // Hours: the end of a window that began at 0, and the next one that a call uses.
        for (end, from, upto, is_idle) in [
            (24, 24, 48, false),
            // Days of 23 and 25 hours, months of 28 and 31 days.
            (24, 47, 72, true),
            (31 * 24, 59 * 24, 90 * 24, true),
            // The anchor was moved by an hour, a day, and half a month.
            (24, 25, 49, false),
            (28 * 24, 29 * 24, 60 * 24, false),
            (28 * 24, 43 * 24, 74 * 24, false),
            // It was moved back.
            (24, 12, 36, false),
        ] {
            assert_eq!(is_idle_between(&window(0, end), &window(from, upto)), is_idle, "{end} {from} {upto}");
        }
        for (hours, next) in [(23, 25), (28 * 24, 31 * 24), (365 * 24, 366 * 24)] {
            assert!(end_of_next_ms(&window(0, hours)) >= window(0, hours + next).end_ms, "{hours} {next}");
        }
        let endless = Window { end_ms: None, ..window(0, 0) };
        assert_eq!((is_idle_between(&endless, &window(24, 48)), end_of_next_ms(&endless)), (false, None));
    }

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

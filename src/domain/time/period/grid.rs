//! Windows in a row without gaps, each one step after the previous one.

use chrono::{Months, NaiveDateTime, TimeDelta};
use chrono_tz::Tz;

use super::step::Step;
use super::zone::{first_second_of, local_time};
use super::{EARLIEST_S, LATEST_S};

/// Windows counted forwards and backwards from an anchor.
///
/// Window `n` starts `n` steps after the anchor on the wall clock: first months are added and clamped to the month's
/// last day, then days, then seconds of real time. It is always computed from the anchor, never from the previous
/// window, so 31 Jan → 28 Feb → 31 Mar.
#[derive(Debug)]
pub(super) struct Grid {
    zone: Tz,
    step: Step,
    anchor_s: i64,
    anchor_local: NaiveDateTime,
}

impl Grid {
    /// A grid anchored at an instant. `anchor_s` is within `EARLIEST_S..LATEST_S`.
    pub(super) fn from_instant(zone: Tz, step: Step, anchor_s: i64) -> Grid {
        Grid { zone, step, anchor_s, anchor_local: local_time(zone, anchor_s) }
    }

    /// A grid anchored at a time on the wall clock.
    pub(super) fn from_local(zone: Tz, step: Step, anchor_local: NaiveDateTime) -> Grid {
        Grid { zone, step, anchor_s: first_second_of(zone, anchor_local), anchor_local }
    }

    /// `[start, end)` of the window that contains `at_s`, which is within `EARLIEST_S..LATEST_S`.
    ///
    /// The first guess uses the step's mean length and is off by a few days at most, since months differ and clocks
    /// change. A step with a calendar part is at least a day, so few corrections are needed.
    pub(super) fn window_at(&self, at_s: i64) -> (i64, i64) {
        let mean_s = self.step.mean_s().unwrap_or(i64::MAX).max(1);
        let mut n = (at_s - self.anchor_s).div_euclid(mean_s);
        let mut start_s = self.start_s(n);
        while start_s > at_s {
            n -= 1;
            start_s = self.start_s(n);
        }
        loop {
            let end_s = self.start_s(n + 1);
            if at_s < end_s {
                return (start_s, end_s);
            }
            n += 1;
            start_s = end_s;
        }
    }

    /// Start of window `n`; it never decreases as `n` increases. Equal starts mean that the window between them is
    /// empty: Samoa had no 30 Dec 2011.
    fn start_s(&self, n: i64) -> i64 {
        // The anchor itself may be the second of two equal wall-clock times.
        let date_s = if n == 0 || self.step.is_exact() {
            Some(self.anchor_s)
        } else {
            shift(self.anchor_local, self.step, n).map(|local| first_second_of(self.zone, local))
        };
        let beyond_s = if n < 0 { i64::MIN } else { i64::MAX };
        let time_s = self.step.seconds.saturating_mul(n);
        let start_s = date_s.map_or(beyond_s, |date_s| date_s.saturating_add(time_s));
        start_s.clamp(EARLIEST_S, LATEST_S)
    }
}

/// `local` plus `n` times the months and days of `step`. None outside of chrono's calendar.
fn shift(local: NaiveDateTime, step: Step, n: i64) -> Option<NaiveDateTime> {
    let months = step.months.checked_mul(n)?;
    let distance = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    let local = if months < 0 { local.checked_sub_months(distance)? } else { local.checked_add_months(distance)? };
    local.checked_add_signed(TimeDelta::try_days(step.days.checked_mul(n)?)?)
}

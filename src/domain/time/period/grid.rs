//! A row of windows without gaps, each one step after the last.

use chrono::{Months, NaiveDateTime, TimeDelta};
use chrono_tz::Tz;

use super::step::Step;
use super::zone::{first_second_of, local_time};
use super::{EARLIEST_S, LATEST_S};

/// Windows that are counted, forwards and backwards, from one anchor.
///
/// Window `n` starts at the anchor's wall-clock time `n` steps on: first the months, clamped to the
/// month's last day, then the days, then the seconds of real time. Always from the anchor, never
/// from the window before, so 31 Jan → 28 Feb → 31 Mar.
#[derive(Debug)]
pub(super) struct Grid {
    zone: Tz,
    step: Step,
    anchor_s: i64,
    anchor_local: NaiveDateTime,
}

impl Grid {
    /// Counts from an instant. `anchor_s` lies within `EARLIEST_S..LATEST_S`.
    pub(super) fn from_instant(zone: Tz, step: Step, anchor_s: i64) -> Grid {
        Grid { zone, step, anchor_s, anchor_local: local_time(zone, anchor_s) }
    }

    /// Counts from a time on the wall clock.
    pub(super) fn from_local(zone: Tz, step: Step, anchor_local: NaiveDateTime) -> Grid {
        Grid { zone, step, anchor_s: first_second_of(zone, anchor_local), anchor_local }
    }

    /// `[start, end)` of the window that holds `at_s`, which lies within `EARLIEST_S..LATEST_S`.
    ///
    /// The guess by the step's mean length is off by a few days at most (months are uneven, clocks
    /// change), and a step with a calendar part is at least a day, so few corrections follow.
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

    /// Start of window `n`; it never falls as `n` rises. Equal starts mean that the window between
    /// is empty: Samoa had no 30 Dec 2011.
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

/// `n` times the months and days of `step` away from `local`. None beyond chrono's calendar.
fn shift(local: NaiveDateTime, step: Step, n: i64) -> Option<NaiveDateTime> {
    let months = step.months.checked_mul(n)?;
    let distance = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    let local = if months < 0 { local.checked_sub_months(distance)? } else { local.checked_add_months(distance)? };
    local.checked_add_signed(TimeDelta::try_days(step.days.checked_mul(n)?)?)
}

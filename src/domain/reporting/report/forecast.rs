//! Forecasts a counter's usage at the end of its window, when it reaches its limit, and how sure that is.

use rust_decimal::Decimal;

use crate::domain::time::window::{TimeMs, Window};

const DAY_MS: TimeMs = crate::domain::time::day::DAY_MS;
/// A forecast needs this part of the window behind it.
const LEAST_PART: TimeMs = 10;

/// The usage of a counter so far. Amounts are in its unit.
#[derive(Clone, Debug)]
pub struct CounterUsage {
    pub window: Window,
    /// When the subscription began; before that nothing could be used.
    pub since_ms: TimeMs,
    pub now_ms: TimeMs,
    pub used: Decimal,
    pub limit: Decimal,
    /// What the complete days before today have used, oldest first.
    pub days: Vec<Decimal>,
}

/// A rate of usage with its forecast. Amounts in the unit, with at most 6 decimal places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_day: Decimal,
    /// `used` at the window's end; None if it never ends.
    pub projected: Option<Decimal>,
    /// None if the limit is not reached before the window ends.
    pub runs_out_at_ms: Option<TimeMs>,
}

/// The slowest and the fastest rate to expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub slow: Rate,
    pub fast: Rate,
}

/// The forecast of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// There is none before this time: a tenth of the window, or a day of one that never ends.
    pub from_ms: TimeMs,
    /// By usage since the start of the window.
    pub by_window: Option<Rate>,
    /// By usage in the preceding days; None without such days.
    pub by_days: Option<Rate>,
    pub range: Option<Range>,
}

impl Forecast {
    /// The faster of the two rates.
    pub fn faster(&self) -> Option<Rate> {
        self.by_window.into_iter().chain(self.by_days).max_by_key(|rate| rate.per_day)
    }
}

/// The forecast by the usage so far.
pub fn forecast(course: &CounterUsage) -> Forecast {
    let begun_ms = course.window.start_ms.max(course.since_ms);
    let length = course.window.end_ms.map_or(DAY_MS * LEAST_PART, |end| end - course.window.start_ms);
    let from_ms = begun_ms.saturating_add(length / LEAST_PART);
    if course.now_ms < from_ms {
        return Forecast { from_ms, by_window: None, by_days: None, range: None };
    }
    let days = i64::try_from(course.days.len()).unwrap_or(i64::MAX);
    let by_window = per_day(course.used, course.now_ms - course.window.start_ms);
    let by_days = (days > 0).then(|| per_day(course.days.iter().sum(), days.saturating_mul(DAY_MS))).flatten();
    let lead = |per_day: Decimal| rate(course, per_day);
    let range = range_of(course, by_window).map(|(slow, fast)| Range { slow: lead(slow), fast: lead(fast) });
    Forecast { from_ms, by_window: by_window.map(lead), by_days: by_days.map(lead), range }
}

/// The slowest and the fastest of the complete days and of the window so far. Without such days: no further use, and
/// twice the rate of the window.
fn range_of(course: &CounterUsage, by_window: Option<Decimal>) -> Option<(Decimal, Decimal)> {
    let of_days = course.days.iter().map(|day| (*day).max(Decimal::ZERO));
    if course.days.is_empty() {
        return Some((Decimal::ZERO, by_window?.checked_mul(2.into())?));
    }
    let (slow, fast) = (of_days.clone().chain(by_window).min()?, of_days.chain(by_window).max()?);
    Some((slow.normalize(), fast.normalize()))
}

fn per_day(used: Decimal, in_ms: TimeMs) -> Option<Decimal> {
    let rate = used.checked_mul(DAY_MS.into())?.checked_div(in_ms.into())?;
    Some(rate.max(Decimal::ZERO).round_dp(6).normalize())
}

fn rate(course: &CounterUsage, per_day: Decimal) -> Rate {
    let CounterUsage { window, now_ms, used, limit, .. } = course;
    let projected = window.end_ms.and_then(|end| {
        let more = per_day.checked_mul((end - now_ms).max(0).into())?.checked_div(DAY_MS.into())?;
        Some(used.checked_add(more)?.round_dp(6).normalize())
    });
    let left = (*limit - used).max(Decimal::ZERO);
    let in_ms = if left.is_zero() { Some(Decimal::ZERO) } else { left.checked_mul(DAY_MS.into()) };
    let in_ms = in_ms.and_then(|ms| if ms.is_zero() { Some(ms) } else { ms.checked_div(per_day) });
    let at_ms = in_ms.and_then(|ms| TimeMs::try_from(ms.ceil()).ok()).and_then(|ms| now_ms.checked_add(ms));
    let runs_out_at_ms =
        at_ms.filter(|at| window.end_ms.is_none_or(|end| *at < end) && *at <= crate::domain::time::window::LATEST_MS);
    Rate { per_day, projected, runs_out_at_ms }
}

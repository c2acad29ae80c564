//! Forecasts a counter's usage at the end of its window, and when it reaches its limit.

use rust_decimal::Decimal;

use crate::domain::time::window::{TimeMs, Window};

const DAY_MS: TimeMs = crate::domain::time::day::DAY_MS;
/// A shorter part of a window gives no rate.
const LEAST_MS: TimeMs = 60 * 1000;

/// A rate of usage with its forecast. Amounts in the unit, with at most 6 decimal places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_day: Decimal,
    /// `used` at the window's end; None if it never ends.
    pub projected: Option<Decimal>,
    /// None if the limit is not reached before the window ends.
    pub runs_out_at_ms: Option<TimeMs>,
}

/// The forecast of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// By usage since the start of the window; None in its first minute.
    pub by_window: Option<Rate>,
    /// By usage in the preceding days; None without such days.
    pub by_days: Option<Rate>,
}

impl Forecast {
    /// The faster of the two.
    pub fn faster(&self) -> Option<Rate> {
        self.by_window.into_iter().chain(self.by_days).max_by_key(|rate| rate.per_day)
    }
}

/// `used` and `limit` in the unit; `days` is the number of complete days before this one, with their total usage.
pub fn forecast(window: &Window, now: TimeMs, used: Decimal, limit: Decimal, days: Option<(i64, Decimal)>) -> Forecast {
    let elapsed = now - window.start_ms;
    let of_window = (elapsed >= LEAST_MS).then(|| per_day(used, elapsed)).flatten();
    let of_days = days.filter(|(days, _)| *days > 0).and_then(|(days, sum)| per_day(sum, days * DAY_MS));
    let lead = |per_day: Decimal| rate(window, now, used, limit, per_day);
    Forecast { by_window: of_window.map(lead), by_days: of_days.map(lead) }
}

fn per_day(used: Decimal, in_ms: TimeMs) -> Option<Decimal> {
    let rate = used.checked_mul(DAY_MS.into())?.checked_div(in_ms.into())?;
    Some(rate.max(Decimal::ZERO).round_dp(6).normalize())
}

fn rate(window: &Window, now: TimeMs, used: Decimal, limit: Decimal, per_day: Decimal) -> Rate {
    let projected = window.end_ms.and_then(|end| {
        let more = per_day.checked_mul((end - now).max(0).into())?.checked_div(DAY_MS.into())?;
        Some(used.checked_add(more)?.round_dp(6).normalize())
    });
    let left = (limit - used).max(Decimal::ZERO);
    let in_ms = if left.is_zero() { Some(Decimal::ZERO) } else { left.checked_mul(DAY_MS.into()) };
    let in_ms = in_ms.and_then(|ms| if ms.is_zero() { Some(ms) } else { ms.checked_div(per_day) });
    let at_ms = in_ms.and_then(|ms| TimeMs::try_from(ms.ceil()).ok()).and_then(|ms| now.checked_add(ms));
    let runs_out_at_ms =
        at_ms.filter(|at| window.end_ms.is_none_or(|end| *at < end) && *at <= crate::domain::time::window::LATEST_MS);
    Rate { per_day, projected, runs_out_at_ms }
}

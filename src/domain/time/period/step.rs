//! The distance from one window to the next: an ISO 8601 duration.

const SECONDS_PER_DAY: i64 = 86_400;
/// A twelfth of the mean Gregorian year of 365.2425 days.
const SECONDS_PER_MEAN_MONTH: i64 = 2_629_746;
const SHORTEST_S: i64 = 60;
const LONGEST_S: i64 = 100 * 12 * SECONDS_PER_MEAN_MONTH;

/// A duration: months and days of the calendar, then seconds of real time. None is negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) months: i64,
    pub(super) days: i64,
    pub(super) seconds: i64,
}

impl Step {
    pub(super) const fn months(months: i64) -> Step {
        Step { months, days: 0, seconds: 0 }
    }

    pub(super) const fn days(days: i64) -> Step {
        Step { months: 0, days, seconds: 0 }
    }

    pub(super) const fn seconds(seconds: i64) -> Step {
        Step { months: 0, days: 0, seconds }
    }

    /// Whether it consists of seconds only.
    pub(super) fn is_exact(self) -> bool {
        self.months == 0 && self.days == 0
    }

    /// Its length in seconds, with a month as a twelfth of a mean year. None above 2^63.
    pub(super) fn mean_s(self) -> Option<i64> {
        let months_s = self.months.checked_mul(SECONDS_PER_MEAN_MONTH)?;
        let days_s = self.days.checked_mul(SECONDS_PER_DAY)?;
        months_s.checked_add(days_s)?.checked_add(self.seconds)
    }

    /// Parses `P1Y6M`, `P30D`, `P2W`, `PT6H`, `P1DT12H30M5S`: whole numbers, largest unit first, each at most once,
    /// upper case; one minute to 100 years in total. The error says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Step, &'static str> {
        const SHAPE: &str = "must be an ISO 8601 duration of whole numbers, such as P30D or PT6H";
        let step = read(text).ok_or(SHAPE)?;
        match step.mean_s() {
            Some(length_s) if length_s < SHORTEST_S => Err("must be at least one minute (PT1M)"),
            Some(length_s) if length_s <= LONGEST_S => Ok(step),
            _ => Err("must be at most 100 years (P100Y)"),
        }
    }
}

/// Parses the duration without checking its length. None if the text is not a duration.
fn read(text: &str) -> Option<Step> {
    let text = text.strip_prefix('P')?;
    let (date, time) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None if text.is_empty() => return None,
        None => (text, ""),
    };
    let [years, months, weeks, days] = read_units(date, ['Y', 'M', 'W', 'D'])?;
    let [hours, minutes, seconds] = read_units(time, ['H', 'M', 'S'])?;
    // Saturating: what does not fit is longer than 100 years, which `parse` reports.
    Some(Step {
        months: years.saturating_mul(12).saturating_add(months),
        days: weeks.saturating_mul(7).saturating_add(days),
        seconds: hours.saturating_mul(60).saturating_add(minutes).saturating_mul(60).saturating_add(seconds),
    })
}

/// Reads `1Y6M` with the units `YMWD` into `[1, 6, 0, 0]`.
fn read_units<const N: usize>(mut text: &str, units: [char; N]) -> Option<[i64; N]> {
    let mut amounts = [0; N];
    for (amount, unit) in amounts.iter_mut().zip(units) {
        let Some((digits, rest)) = text.split_once(unit) else {
            continue;
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *amount = digits.parse().unwrap_or(i64::MAX);
        text = rest;
    }
    text.is_empty().then_some(amounts)
}

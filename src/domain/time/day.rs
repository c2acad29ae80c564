//! Days in UTC, the unit of rollups and reports.

use std::fmt;

use chrono::{DateTime, Datelike, Days, NaiveDate};

use super::window::{EARLIEST_MS, LATEST_MS, TimeMs};

pub const DAY_MS: TimeMs = 24 * 60 * 60 * 1000;

/// A day in UTC of the years 1 to 9999, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    /// The day of an instant; outside of the years 1 to 9999 the nearest day inside.
    pub fn of(at_ms: TimeMs) -> Self {
        Self(at_ms.clamp(EARLIEST_MS, LATEST_MS).div_euclid(DAY_MS))
    }

    /// Parses exactly the form `2027-01-31`.
    pub fn parse(text: &str) -> Option<Self> {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        let day = Self::of(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis());
        (day.to_string() == text).then_some(day)
    }

    /// Its first instant.
    pub const fn start_ms(self) -> TimeMs {
        self.0 * DAY_MS
    }

    /// The day that is this many days later, or earlier if negative.
    pub fn plus(self, days: i64) -> Self {
        Self::of(self.0.saturating_add(days).saturating_mul(DAY_MS))
    }

    /// The number of days from `other` to this day.
    pub const fn since(self, other: Self) -> i64 {
        self.0 - other.0
    }

    fn date(self) -> NaiveDate {
        DateTime::from_timestamp_millis(self.start_ms()).unwrap_or_default().date_naive()
    }

    fn of_date(date: NaiveDate) -> Self {
        Self::of(date.and_hms_opt(0, 0, 0).unwrap_or_default().and_utc().timestamp_millis())
    }

    /// The Monday of its week.
    pub fn week(self) -> Self {
        // 1970-01-01 was a Thursday.
        self.plus(-(self.0 + 3).rem_euclid(7))
    }

    /// The first day of its month.
    pub fn month(self) -> Self {
        Self::of_date(self.date().with_day(1).unwrap_or_default())
    }

    /// The last day of its month.
    pub fn month_end(self) -> Self {
        let after = self.month().date().checked_add_days(Days::new(31)).unwrap_or_default();
        Self::of_date(after).month().plus(-1)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.date().format("%Y-%m-%d"), formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::window::parse_rfc3339;

    fn day(text: &str) -> Day {
        Day::parse(text).unwrap()
    }

    #[test]
    fn days_are_read_as_they_are_written() {
        for text in ["1970-01-01", "2028-02-29", "1969-12-31", "0001-01-01", "9999-12-31"] {
            assert_eq!(day(text).to_string(), text);
        }
        for bad in ["2027-2-1", "2027-02-30", "2027-01-31T00:00:00Z", "", "31.1.2027", "10000-01-01"] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_instant_lies_in_its_day_of_utc() {
        for (at, expected) in [
            ("2027-01-31T23:59:59.999Z", "2027-01-31"),
            ("2027-02-01T00:00:00Z", "2027-02-01"),
            ("1969-12-31T23:00:00Z", "1969-12-31"),
        ] {
            assert_eq!(Day::of(parse_rfc3339(at).unwrap()).to_string(), expected);
        }
        assert_eq!(day("2027-02-01").since(day("2027-01-30")), 2);
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        for (one, week, month, end) in [
            ("2027-01-31", "2027-01-25", "2027-01-01", "2027-01-31"),
            ("2027-02-01", "2027-02-01", "2027-02-01", "2027-02-28"),
            ("2028-02-15", "2028-02-14", "2028-02-01", "2028-02-29"),
            ("1969-12-28", "1969-12-22", "1969-12-01", "1969-12-31"),
        ] {
            let one = day(one);
            assert_eq!(
                [one.week(), one.month(), one.month_end()].map(|day| day.to_string()),
                [week, month, end].map(str::to_owned)
            );
        }
    }
}

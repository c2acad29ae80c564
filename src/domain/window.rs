//! Windows, the stretches of time that counters count in, and times as text.

use chrono::{DateTime, Datelike, NaiveDateTime, SecondsFormat, Timelike, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Milliseconds since the Unix epoch, Redis time.
pub type TimeMs = i64;

/// 0001-01-01T00:00:00Z: no window starts earlier.
pub const EARLIEST_MS: TimeMs = -62_135_596_800_000;
/// 9999-12-31T23:59:59Z: no window ends later; the text form writes it for "never ends".
pub const LATEST_MS: TimeMs = 253_402_300_799_000;

/// Kind of a window; also the `periodType` of a plan or group (SPEC section 3).
///
/// The default is `lifetime`, the kind that never gives fresh quota by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WindowKind {
    /// 60 seconds, or a minute of the wall clock.
    Minute,
    /// 3,600 seconds, or an hour of the wall clock.
    Hourly,
    /// A day.
    Daily,
    /// Seven days.
    Weekly,
    /// A month, clamped to the month's last day.
    Monthly,
    /// Twelve months, clamped to the month's last day.
    Yearly,
    /// One window for ever.
    #[default]
    Lifetime,
    /// An ISO 8601 duration, again and again.
    Every,
    /// One window with a given start and end.
    Fixed,
    /// What is in flight: one window for ever, holds only.
    Concurrent,
}

impl WindowKind {
    const ALL: [WindowKind; 10] = [
        WindowKind::Minute,
        WindowKind::Hourly,
        WindowKind::Daily,
        WindowKind::Weekly,
        WindowKind::Monthly,
        WindowKind::Yearly,
        WindowKind::Lifetime,
        WindowKind::Every,
        WindowKind::Fixed,
        WindowKind::Concurrent,
    ];

    /// The name used in the API, in Redis and in window texts.
    pub fn as_str(self) -> &'static str {
        match self {
            WindowKind::Minute => "minute",
            WindowKind::Hourly => "hourly",
            WindowKind::Daily => "daily",
            WindowKind::Weekly => "weekly",
            WindowKind::Monthly => "monthly",
            WindowKind::Yearly => "yearly",
            WindowKind::Lifetime => "lifetime",
            WindowKind::Every => "every",
            WindowKind::Fixed => "fixed",
            WindowKind::Concurrent => "concurrent",
        }
    }

    /// The kind of that name, exactly as [`as_str`](Self::as_str) writes it.
    pub fn parse(name: &str) -> Option<WindowKind> {
        WindowKind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// True for the kinds whose one window has no end: `lifetime` and `concurrent`.
    pub fn is_endless(self) -> bool {
        matches!(self, WindowKind::Lifetime | WindowKind::Concurrent)
    }
}

/// A stretch of time `[start, end)`, identified by its kind, start and end (SPEC section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// What kind of period made it.
    pub kind: WindowKind,
    /// Its first instant; a whole second of the years 1 to 9999.
    pub start_ms: TimeMs,
    /// The first instant after it; a whole second, at most [`LATEST_MS`].
    /// None = never ends, for endless kinds and no others.
    pub end_ms: Option<TimeMs>,
}

impl Window {
    /// `monthly/20260228T1000/20260331T1000`: kind, start and end in UTC (ISO 8601, basic format, without the time where
    /// it is midnight and without the seconds where they are zero), at most 42 bytes.
    ///
    /// The texts of one kind sort as their times do. A window without end writes `9999-12-31T23:59:59Z`.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(TEXT_BYTES);
        self.push_text(&mut text);
        text
    }

    /// Appends what [`to_text`](Self::to_text) returns.
    pub fn push_text(&self, text: &mut String) {
        text.push_str(self.kind.as_str());
        for time_ms in [self.start_ms, self.end_ms.unwrap_or(LATEST_MS)] {
            text.push('/');
            push_basic(time_ms, text);
        }
    }

    /// Reads what [`to_text`](Self::to_text) wrote; None for anything else, an empty window included.
    pub fn parse(text: &str) -> Option<Window> {
        let mut words = text.split('/');
        let kind = WindowKind::parse(words.next()?)?;
        let (start_ms, end_ms) = (parse_basic(words.next()?)?, parse_basic(words.next()?)?);
        let window = Window { kind, start_ms, end_ms: (!kind.is_endless()).then_some(end_ms) };
        (start_ms < end_ms && window.to_text() == text).then_some(window)
    }
}

/// The longest text.
const TEXT_BYTES: usize = 42;

/// A time as a window's text has it, `20260228T1000`. Every metering call writes two for each group, so digit by digit.
fn push_basic(time_ms: TimeMs, text: &mut String) {
    let time = utc(time_ms);
    let (date, seconds) = (time.date_naive(), time.num_seconds_from_midnight());
    let (year, minutes) = (date.year().unsigned_abs(), seconds / 60);
    for pair in [year / 100, year % 100, date.month(), date.day()] {
        push_pair(pair, text);
    }
    if seconds == 0 {
        return;
    }
    text.push('T');
    for pair in [minutes / 60, minutes % 60] {
        push_pair(pair, text);
    }
    if seconds % 60 > 0 {
        push_pair(seconds % 60, text);
    }
}

/// A number below 100, with two digits.
fn push_pair(number: u32, text: &mut String) {
    for digit in [number / 10, number % 10] {
        text.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
}

fn parse_basic(text: &str) -> Option<TimeMs> {
    let whole = match text.len() {
        8 => format!("{text}T000000"),
        13 => format!("{text}00"),
        _ => text.to_owned(),
    };
    let time_ms = NaiveDateTime::parse_from_str(&whole, "%Y%m%dT%H%M%S").ok()?.and_utc().timestamp_millis();
    (EARLIEST_MS..=LATEST_MS).contains(&time_ms).then_some(time_ms)
}

/// `2026-02-28T10:00:00Z`, with `.123` only when the milliseconds are not zero.
///
/// Times outside the years 1 to 9999 are written as the nearest time inside.
pub fn rfc3339(ms: TimeMs) -> String {
    utc(ms).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Reads an RFC 3339 time with any offset.
///
/// None for another form, a fraction finer than milliseconds, or a time that is
/// not within the years 1 to 9999 in UTC.
pub fn parse_rfc3339(text: &str) -> Option<TimeMs> {
    let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
    let mut finer = fraction.bytes().take_while(u8::is_ascii_digit).skip("123".len());
    if !text.is_ascii() || finer.any(|digit| digit != b'0') {
        return None;
    }
    let time_ms = DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis();
    (EARLIEST_MS..LATEST_MS + 1000).contains(&time_ms).then_some(time_ms)
}

/// Times outside the years 1 to 9999 are the nearest time inside.
fn utc(ms: TimeMs) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms.clamp(EARLIEST_MS, LATEST_MS + 999)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kinds_have_one_name_in_text_and_json() {
        for kind in WindowKind::ALL {
            assert_eq!(WindowKind::parse(kind.as_str()), Some(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{}\"", kind.as_str()));
        }
        assert_eq!(WindowKind::parse("Monthly"), None);
    }

    #[test]
    fn times_are_written_with_milliseconds_only_where_there_are_any() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_772_272_800_000, "2026-02-28T10:00:00Z"),
            (1_772_272_800_120, "2026-02-28T10:00:00.120Z"),
            (i64::MIN, "0001-01-01T00:00:00Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ];
        for (ms, text) in table {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn times_are_read_with_any_offset_and_refused_when_finer_than_milliseconds() {
        let table = [
            ("2026-02-28T10:00:00Z", Some(1_772_272_800_000)),
            ("2026-02-28T15:45:00+05:45", Some(1_772_272_800_000)),
            ("2026-02-28T10:00:00.5-00:00", Some(1_772_272_800_500)),
            ("2026-02-28T10:00:00.123000000000Z", Some(1_772_272_800_123)),
            ("2026-02-28T10:00:00.1230000000001Z", None),
            ("2026-02-28T10:00:00.0001Z", None),
            ("2026-02-28T10:00:00", None),
            ("2026-02-28", None),
            ("2026-02-30T10:00:00Z", None),
            ("2026-02-28T24:00:00Z", None),
            ("0000-12-31T23:59:59Z", None),
            ("0001-01-01T00:00:00+00:01", None),
            ("9999-12-31T23:59:59.999Z", Some(LATEST_MS + 999)),
            ("9999-12-31T23:59:59-00:01", None),
            ("+12026-02-28T10:00:00Z", None),
            ("2026-02-28T10:00:00\u{2212}01:00", None),
            ("", None),
        ];
        for (text, ms) in table {
            assert_eq!(parse_rfc3339(text), ms, "{text}");
        }
    }

    #[test]
    fn windows_that_to_text_did_not_write_are_refused() {
        let good = "monthly/20260228T1000/20260331T100001";
        assert_eq!(Window::parse(good).unwrap().to_text(), good);
        for text in [
            "",
            "monthly",
            "monthly/20260228",
            "monthly/20260228/20260331/",
            "monthly/20260228T0000/20260331",
            "monthly/20260228T100000/20260331",
            "monthly/2026-02-28T10:00:00Z/2026-03-31T10:00:00Z",
            "monthly/20260228T100000.5/20260331",
            "monthly/20260331/20260331",
            "lifetime/20260228/20260331",
            "month/20260228/20260331",
        ] {
            assert_eq!(Window::parse(text), None, "{text}");
        }
    }

    fn windows() -> impl Strategy<Value = Window> {
        let seconds = EARLIEST_MS / 1000..LATEST_MS / 1000;
        let kind = prop::sample::select(WindowKind::ALL.to_vec());
        (kind, seconds.clone(), seconds).prop_map(|(kind, one, other)| Window {
            kind,
            start_ms: one.min(other) * 1000,
            end_ms: (!kind.is_endless()).then_some((one.max(other) + 1) * 1000),
        })
    }

    proptest! {
        #[test]
        fn a_window_comes_back_from_its_text(window in windows()) {
            let text = window.to_text();
            prop_assert!(text.len() <= 60);
            prop_assert_eq!(Window::parse(&text), Some(window));
        }

        #[test]
        fn texts_of_one_kind_sort_as_times(one in windows(), other in windows()) {
            let other = Window { end_ms: other.end_ms.or(Some(LATEST_MS)), kind: WindowKind::Every, ..other };
            let one = Window { end_ms: one.end_ms.or(Some(LATEST_MS)), kind: WindowKind::Every, ..one };
            let times = (one.start_ms, one.end_ms).cmp(&(other.start_ms, other.end_ms));
            prop_assert_eq!(one.to_text().cmp(&other.to_text()), times);
        }

        #[test]
        fn a_time_comes_back_from_its_text(ms in EARLIEST_MS..LATEST_MS + 1000) {
            prop_assert_eq!(parse_rfc3339(&rfc3339(ms)), Some(ms));
        }

        #[test]
        fn no_text_and_no_time_panics(text in "\\PC*", time in "[0-9TZ:.+ -]{0,40}", ms: i64) {
            let _ = Window::parse(&text);
            let _ = parse_rfc3339(&text);
            let _ = parse_rfc3339(&time);
            prop_assert!(parse_rfc3339(&rfc3339(ms)).is_some());
        }
    }
}

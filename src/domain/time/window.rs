//! Windows, the time ranges in which counters count, and the text form of times.

use chrono::{DateTime, NaiveDate};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Milliseconds since the Unix epoch, Redis time.
pub type TimeMs = i64;

/// 0001-01-01T00:00:00Z: no window starts earlier.
pub const EARLIEST_MS: TimeMs = -62_135_596_800_000;
/// 9999-12-31T23:59:59Z: no window ends later; texts use it for "never ends".
pub const LATEST_MS: TimeMs = 253_402_300_799_000;

/// Declares the kinds with their names, which are the same in the API, in Redis and in window texts.
macro_rules! window_kinds {
    ($($(#[$note:meta])* $kind:ident: $name:literal,)*) => {
        /// The kind of a window; also the `periodType` of a plan or group.
        ///
        /// The default is `lifetime`, which never renews its quota.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "lowercase")]
        pub enum WindowKind {
            $($(#[$note])* $kind,)*
        }

        impl WindowKind {
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The name used in the API, in Redis and in window texts.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

window_kinds! {
    /// 60 seconds, or a minute of the wall clock.
    Minute: "minute",
    /// 3,600 seconds, or an hour of the wall clock.
    Hourly: "hourly",
    /// A day.
    Daily: "daily",
    /// Seven days.
    Weekly: "weekly",
    /// A month, clamped to the month's last day.
    Monthly: "monthly",
    /// Twelve months, clamped to the month's last day.
    Yearly: "yearly",
    /// One window without an end.
    #[default]
    Lifetime: "lifetime",
    /// Windows of an ISO 8601 duration, one after the other.
    Every: "every",
    /// One window with a given start and end.
    Fixed: "fixed",
    /// Limits open holds; one window without an end.
    Concurrent: "concurrent",
}

impl WindowKind {
    /// The kind with that name, as [`as_str`](Self::as_str) writes it.
    pub fn parse(name: &str) -> Option<WindowKind> {
        WindowKind::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// Whether the only window has no end: `lifetime` and `concurrent`.
    pub fn is_endless(self) -> bool {
        matches!(self, WindowKind::Lifetime | WindowKind::Concurrent)
    }
}

/// A time range `[start, end)`, identified by its kind, start and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The kind of the period.
    pub kind: WindowKind,
    /// Its first instant; a whole second of the years 1 to 9999.
    pub start_ms: TimeMs,
    /// The first instant after it; a whole second, at most [`LATEST_MS`].
    /// None if it never ends, only for endless kinds.
    pub end_ms: Option<TimeMs>,
}

impl Window {
    /// `monthly/20260228T1000/20260331T1000`: kind, start and end in UTC (ISO 8601, basic format, without the time at
    /// midnight and without zero seconds), at most 42 bytes.
    ///
    /// Texts of one kind sort like their times. A window without an end has `9999-12-31T23:59:59Z`.
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

    /// Parses what [`to_text`](Self::to_text) wrote; None for anything else, including an empty window.
    pub fn parse(text: &str) -> Option<Window> {
        let mut words = text.split('/');
        let kind = WindowKind::parse(words.next()?)?;
        let (start_ms, end_ms) = (parse_compact_time(words.next()?)?, parse_compact_time(words.next()?)?);
        let window = Window { kind, start_ms, end_ms: (!kind.is_endless()).then_some(end_ms) };
        (start_ms < end_ms && window.to_text() == text).then_some(window)
    }
}

/// The window of every balance, which has no period.
pub const OF_BALANCES: Window = Window { kind: WindowKind::Lifetime, start_ms: 0, end_ms: None };

/// The maximum length of a text.
const TEXT_BYTES: usize = 42;

/// A time in the form of a window's text, `20260228T1000`.
pub fn compact_time(time_ms: TimeMs) -> String {
    let mut text = String::with_capacity(15);
    push_basic(time_ms, &mut text);
    text
}

fn push_basic(time_ms: TimeMs, text: &mut String) {
    let Civil { year, month, day, seconds, .. } = Civil::of(time_ms);
    let mut bytes = *b"00000000T000000";
    let pairs = [year / 100, year % 100, month, day, seconds / 3600, seconds / 60 % 60, seconds % 60].map(pair);
    for (place, pair) in [0, 2, 4, 6, 9, 11, 13].into_iter().zip(pairs) {
        bytes[place..place + 2].copy_from_slice(&pair);
    }
    let length = match (seconds, seconds % 60) {
        (0, _) => 8,
        (_, 0) => 13,
        _ => 15,
    };
    text.push_str(std::str::from_utf8(&bytes[..length]).unwrap_or_default());
}

/// The two digits of a number below 100.
fn pair(number: u32) -> [u8; 2] {
    let digit = |number: u32| b'0' + u8::try_from(number % 10).unwrap_or(0);
    [digit(number / 10), digit(number)]
}

/// A time in UTC, in parts.
struct Civil {
    year: u32,
    month: u32,
    day: u32,
    /// Seconds of the day.
    seconds: u32,
    millis: u32,
}

const DAY_MS: TimeMs = 86_400_000;
/// Days from 1 March of the year 0 to the Unix epoch.
const DAYS_TO_EPOCH: TimeMs = 719_468;
/// Days of 400, 100 and 4 years that begin in March, so that a leap day is the last one.
const DAYS_400: u32 = 146_097;
const DAYS_100: u32 = 36_524;
const DAYS_4: u32 = 1_461;

impl Civil {
    /// Each metering call writes about a dozen times, so this avoids a calendar library. Times outside of the years 1
    /// to 9999 become the nearest time inside.
    fn of(ms: TimeMs) -> Self {
        let ms = ms.clamp(EARLIEST_MS, LATEST_MS + 999);
        let in_day = u32::try_from(ms.rem_euclid(DAY_MS)).unwrap_or(0);
        let days = u32::try_from(ms.div_euclid(DAY_MS) + DAYS_TO_EPOCH).unwrap_or(0);
        let (cycles, rest) = (days / DAYS_400, days % DAYS_400);
        // The last day of a cycle of 400 or 4 years belongs to its last year.
        let centuries = (rest / DAYS_100).min(3);
        let rest = rest - centuries * DAYS_100;
        let (fours, rest) = (rest / DAYS_4, rest % DAYS_4);
        let years = (rest / 365).min(3);
        let day_of_year = rest - years * 365;
        // Counted from March, five months have 153 days.
        let months = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * months + 2) / 5 + 1;
        let is_next_year = months >= 10;
        let month = if is_next_year { months - 9 } else { months + 3 };
        let year = cycles * 400 + centuries * 100 + fours * 4 + years + u32::from(is_next_year);
        Self { year, month, day, seconds: in_day / 1000, millis: in_day % 1000 }
    }
}

/// Parses what [`compact_time`] wrote. Each settling call reads two times per group, so this parses digits directly.
pub fn parse_compact_time(text: &str) -> Option<TimeMs> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) if matches!(time.len(), 4 | 6) => (date, time),
        Some(_) => return None,
        None => (text, ""),
    };
    if date.len() != 8 {
        return None;
    }
    let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Some(digits.bytes().fold(0, |number, byte| 10 * number + u32::from(byte - b'0'))),
        false => None,
    };
    let pair = |place: usize| time.get(place..place + 2).map_or(Some(0), number);
    let (year, month, day) = (number(date.get(..4)?)?, number(date.get(4..6)?)?, number(date.get(6..)?)?);
    let date = NaiveDate::from_ymd_opt(year.try_into().ok()?, month, day)?;
    let time_ms = date.and_hms_opt(pair(0)?, pair(2)?, pair(4)?)?.and_utc().timestamp_millis();
    (EARLIEST_MS..=LATEST_MS).contains(&time_ms).then_some(time_ms)
}

/// `2026-02-28T10:00:00Z`, with milliseconds only if they are not zero.
///
/// Times outside of the years 1 to 9999 become the nearest time inside.
pub fn rfc3339(ms: TimeMs) -> String {
    TimeText::of(ms).as_str().to_owned()
}

/// The same text as [`rfc3339`], without an allocation.
pub struct TimeText {
    bytes: [u8; 24],
    length: usize,
}

impl TimeText {
    pub fn of(ms: TimeMs) -> Self {
        let Civil { year, month, day, seconds, millis } = Civil::of(ms);
        let mut bytes = *b"0000-00-00T00:00:00Z0000";
        let pairs = [year / 100, year % 100, month, day, seconds / 3600, seconds / 60 % 60, seconds % 60].map(pair);
        for (place, pair) in [0, 2, 5, 8, 11, 14, 17].into_iter().zip(pairs) {
            bytes[place..place + 2].copy_from_slice(&pair);
        }
        let mut length = 20;
        if millis > 0 {
            let [tens, ones] = pair(millis % 100);
            bytes[19..].copy_from_slice(&[b'.', pair(millis / 100)[1], tens, ones, b'Z']);
            length = 24;
        }
        Self { bytes, length }
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

/// Parses an RFC 3339 time with any offset.
///
/// None for another form, a fraction finer than milliseconds, or a time outside of the years 1 to 9999 in UTC.
pub fn parse_rfc3339(text: &str) -> Option<TimeMs> {
    let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
    let mut finer = fraction.bytes().take_while(u8::is_ascii_digit).skip("123".len());
    if !text.is_ascii() || finer.any(|digit| digit != b'0') {
        return None;
    }
    let time_ms = DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis();
    (EARLIEST_MS..LATEST_MS + 1000).contains(&time_ms).then_some(time_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kinds_have_one_name_in_text_and_json() {
        for kind in WindowKind::ALL.iter().copied() {
            assert_eq!(WindowKind::parse(kind.as_str()), Some(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{}\"", kind.as_str()));
        }
        assert_eq!(WindowKind::parse("Monthly"), None);
    }

    /// Redis stores short fields of an account in one piece of memory.
    #[test]
    fn no_window_text_is_longer_than_promised() {
        for kind in WindowKind::ALL.iter().copied() {
            let end_ms = (!kind.is_endless()).then_some(LATEST_MS - 1_000);
            let window = Window { kind, start_ms: EARLIEST_MS + 1_000, end_ms };
            let text = window.to_text();
            assert!(text.len() <= TEXT_BYTES, "{text}");
            assert_eq!(Window::parse(&text), Some(window));
        }
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
        fn times_are_written_as_a_calendar_library_writes_them(ms in EARLIEST_MS..LATEST_MS + 1000, day in -719_162..2_932_896_i64) {
            for ms in [ms, ms - ms.rem_euclid(1000), day * DAY_MS] {
                let time = DateTime::from_timestamp_millis(ms).unwrap();
                prop_assert_eq!(rfc3339(ms), time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
            }
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

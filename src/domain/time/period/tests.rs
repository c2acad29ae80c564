use super::step::Step;
use super::*;
use crate::domain::time::window::{parse_rfc3339, rfc3339};

const CALENDAR: Option<PeriodAnchor> = Some(PeriodAnchor::Calendar);
const SUBSCRIPTION: Option<PeriodAnchor> = Some(PeriodAnchor::SubscriptionStart);

fn ms(text: &str) -> TimeMs {
    parse_rfc3339(text).unwrap()
}

fn spec(period_type: PeriodType, anchor: Option<PeriodAnchor>, timezone: &str) -> PeriodSpec {
    PeriodSpec { period_type, anchor, timezone: Some(timezone.parse().unwrap()), ..PeriodSpec::default() }
}

fn every(duration: &str, timezone: &str) -> PeriodSpec {
    PeriodSpec { every: Some(duration.to_owned()), ..spec(PeriodType::Every, SUBSCRIPTION, timezone) }
}

fn started(text: &str) -> SubscriptionAnchor {
    SubscriptionAnchor { started_at_ms: ms(text), cycle_start_ms: None }
}

/// The window around `at`, without its kind: `start end`.
fn window(spec: &PeriodSpec, at: &str, started_at: &str) -> String {
    let period = Period::new(spec).unwrap();
    match period.locate(ms(at), started(started_at)) {
        Located::Inside { window, .. } => {
            format!("{} {}", rfc3339(window.start_ms), rfc3339(window.end_ms.unwrap_or(LATEST_MS)))
        }
        outside => panic!("{outside:?}"),
    }
}

/// The starts of consecutive windows, beginning with the one around `at`, must equal `expected`.
fn walk(spec: &PeriodSpec, at: &str, started_at: &str, expected: &[&str]) {
    let period = Period::new(spec).unwrap();
    let mut at = ms(at);
    for start in expected {
        match period.locate(at, started(started_at)) {
            Located::Inside { window, .. } => {
                assert_eq!(&rfc3339(window.start_ms), start, "{spec:?}");
                at = window.end_ms.unwrap();
            }
            outside => panic!("{outside:?}"),
        }
    }
}

#[test]
fn a_subscription_of_31_january_renews_on_the_last_day_of_shorter_months() {
    let expected: Vec<String> = (2024..=2028)
        .flat_map(|year| {
            let february = if year % 4 == 0 { 29 } else { 28 };
            [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
                .into_iter()
                .zip(1..)
                .map(move |(day, month)| format!("{year}-{month:02}-{day:02}T10:30:15Z"))
        })
        .collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    let started_at = "2024-01-31T10:30:15.750Z";
    let monthly = spec(PeriodType::Monthly, SUBSCRIPTION, "UTC");
    walk(&monthly, started_at, started_at, &expected);
    walk(&every("P1M", "UTC"), started_at, started_at, &expected);
}

#[test]
fn a_subscription_of_29_february_renews_on_28_february_in_common_years() {
    let yearly = spec(PeriodType::Yearly, SUBSCRIPTION, "UTC");
    let at = "2024-02-29T00:00:00Z";
    #[rustfmt::skip]
    walk(&yearly, at, at, &[at, "2025-02-28T00:00:00Z", "2026-02-28T00:00:00Z", "2027-02-28T00:00:00Z", "2028-02-29T00:00:00Z"]);
    walk(&yearly, "2099-06-01T00:00:00Z", at, &["2099-02-28T00:00:00Z", "2100-02-28T00:00:00Z"]);
}

#[test]
fn a_future_cycle_start_counts_windows_backwards() {
    let period = Period::new(&spec(PeriodType::Monthly, SUBSCRIPTION, "UTC")).unwrap();
    let anchor = SubscriptionAnchor {
        started_at_ms: ms("2026-01-05T00:00:00Z"),
        cycle_start_ms: Some(ms("2026-05-31T12:00:00Z")),
    };
    let Located::Inside { window, .. } = period.locate(ms("2026-03-01T00:00:00Z"), anchor) else { panic!() };
    let text = "monthly/20260228T1200/20260331T1200";
    assert_eq!(window.to_text(), text);
}

#[test]
fn windows_follow_the_calendar_and_the_clock_of_their_timezone() {
    use PeriodType::*;
    const BERLIN: &str = "Europe/Berlin";
    const SAO_PAULO: &str = "America/Sao_Paulo";
    const KATHMANDU: &str = "Asia/Kathmandu";
    const LORD_HOWE: &str = "Australia/Lord_Howe";
    const ST_JOHNS: &str = "America/St_Johns";
    #[rustfmt::skip]
    let table = [
        (Minute, CALENDAR, "UTC", "2026-02-28T10:00:59.999Z", "2026-02-28T10:00:00Z 2026-02-28T10:01:00Z"),
        (Hourly, None, "UTC", "2026-02-28T10:00:00Z", "2026-02-28T10:00:00Z 2026-02-28T11:00:00Z"),
        (Daily, CALENDAR, "UTC", "1969-12-31T23:59:59.999Z", "1969-12-31T00:00:00Z 1970-01-01T00:00:00Z"),
        (Weekly, CALENDAR, "UTC", "2026-03-01T23:00:00Z", "2026-02-23T00:00:00Z 2026-03-02T00:00:00Z"),
        (Monthly, CALENDAR, "UTC", "2024-02-29T23:59:59Z", "2024-02-01T00:00:00Z 2024-03-01T00:00:00Z"),
        (Yearly, CALENDAR, "UTC", "1900-06-01T00:00:00Z", "1900-01-01T00:00:00Z 1901-01-01T00:00:00Z"),
        // A day of 23 and one of 25 hours.
        (Daily, CALENDAR, BERLIN, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z 2026-03-29T22:00:00Z"),
        (Daily, CALENDAR, BERLIN, "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z 2026-10-25T23:00:00Z"),
        (Monthly, CALENDAR, BERLIN, "2026-03-31T21:59:59Z", "2026-02-28T23:00:00Z 2026-03-31T22:00:00Z"),
        // 02:00 is shown twice: two hours.
        (Hourly, CALENDAR, BERLIN, "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z 2026-10-25T01:00:00Z"),
        (Hourly, CALENDAR, BERLIN, "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z 2026-10-25T02:00:00Z"),
        // No midnight on 4 Nov 2018: the day starts at 01:00.
        (Daily, CALENDAR, SAO_PAULO, "2018-11-04T02:59:59Z", "2018-11-03T03:00:00Z 2018-11-04T03:00:00Z"),
        (Daily, CALENDAR, SAO_PAULO, "2018-11-04T03:00:00Z", "2018-11-04T03:00:00Z 2018-11-05T02:00:00Z"),
        // Midnight twice: the first one.
        (Daily, CALENDAR, "America/Havana", "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z 2026-11-02T05:00:00Z"),
        // No 30 Dec 2011 at all.
        (Daily, CALENDAR, "Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z 2011-12-30T10:00:00Z"),
        (Daily, CALENDAR, "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z 2011-12-31T10:00:00Z"),
        (Hourly, CALENDAR, KATHMANDU, "2026-02-28T10:14:59Z", "2026-02-28T09:15:00Z 2026-02-28T10:15:00Z"),
        (Hourly, CALENDAR, KATHMANDU, "2026-02-28T10:15:00Z", "2026-02-28T10:15:00Z 2026-02-28T11:15:00Z"),
        // From 02:00 to 02:30, and from 02:00 back to 01:30: half an hour each time.
        (Hourly, CALENDAR, LORD_HOWE, "2026-10-03T15:40:00Z", "2026-10-03T15:30:00Z 2026-10-03T16:00:00Z"),
        (Hourly, CALENDAR, LORD_HOWE, "2026-04-04T14:30:00Z", "2026-04-04T14:00:00Z 2026-04-04T15:00:00Z"),
        (Hourly, CALENDAR, LORD_HOWE, "2026-04-04T15:10:00Z", "2026-04-04T15:00:00Z 2026-04-04T15:30:00Z"),
        // At 00:01 back to 23:01: an hour of one minute and one of 59, and the new day continues.
        (Hourly, CALENDAR, ST_JOHNS, "2010-11-07T02:30:00Z", "2010-11-07T02:30:00Z 2010-11-07T02:31:00Z"),
        (Hourly, CALENDAR, ST_JOHNS, "2010-11-07T02:31:00Z", "2010-11-07T02:31:00Z 2010-11-07T03:30:00Z"),
        (Daily, CALENDAR, ST_JOHNS, "2010-11-07T02:31:00Z", "2010-11-07T02:30:00Z 2010-11-08T03:30:00Z"),
        // From here on counted from 28 Mar 2026, 02:30 in Berlin.
        (Minute, SUBSCRIPTION, BERLIN, "2026-03-29T01:30:01Z", "2026-03-29T01:30:00Z 2026-03-29T01:31:00Z"),
        (Hourly, SUBSCRIPTION, BERLIN, "2026-03-29T01:30:00Z", "2026-03-29T01:30:00Z 2026-03-29T02:30:00Z"),
        (Daily, SUBSCRIPTION, BERLIN, "2026-03-29T01:30:00Z", "2026-03-29T01:00:00Z 2026-03-30T00:30:00Z"),
        (Daily, SUBSCRIPTION, BERLIN, "2026-10-25T01:00:00Z", "2026-10-25T00:30:00Z 2026-10-26T01:30:00Z"),
        (Daily, SUBSCRIPTION, "UTC", "2026-03-29T01:30:00Z", "2026-03-29T01:30:00Z 2026-03-30T01:30:00Z"),
        (Weekly, SUBSCRIPTION, BERLIN, "2026-03-27T00:00:00Z", "2026-03-21T01:30:00Z 2026-03-28T01:30:00Z"),
        (Monthly, SUBSCRIPTION, BERLIN, "2026-04-28T00:30:00Z", "2026-04-28T00:30:00Z 2026-05-28T00:30:00Z"),
    ];
    for (kind, anchor, zone, at, expected) in table {
        let found = window(&spec(kind, anchor, zone), at, "2026-03-28T01:30:00Z");
        assert_eq!(found, expected, "{kind:?} {zone} {at}");
    }
}

#[test]
fn the_first_window_starts_at_the_anchor_even_if_its_wall_clock_time_comes_twice() {
    let daily = spec(PeriodType::Daily, SUBSCRIPTION, "Europe/Berlin");
    let second = "2026-10-25T01:30:00Z";
    #[rustfmt::skip]
    walk(&daily, "2026-10-25T00:30:00Z", second, &["2026-10-24T00:30:00Z", second, "2026-10-26T01:30:00Z"]);
}

#[test]
fn weeks_start_on_the_day_of_week_start() {
    let sunday =
        PeriodSpec { week_start: Some(WeekDay::Sunday), ..spec(PeriodType::Weekly, CALENDAR, "America/New_York") };
    let at = "2026-03-08T12:00:00Z";
    let expected = "2026-03-08T05:00:00Z 2026-03-15T04:00:00Z";
    assert_eq!(window(&sunday, at, at), expected);
    let before = "2026-03-08T04:59:59Z";
    let expected = "2026-03-01T05:00:00Z 2026-03-08T05:00:00Z";
    assert_eq!(window(&sunday, before, before), expected);
}

#[test]
fn every_counts_durations_from_the_original_anchor() {
    #[rustfmt::skip]
    let table = [
        ("P30D", "UTC", "2026-01-31T10:00:00Z", "2026-03-01T10:00:00Z", "2026-01-31T10:00:00Z 2026-03-02T10:00:00Z"),
        ("PT6H", "UTC", "2026-01-31T10:00:00Z", "2026-02-01T03:59:59Z", "2026-01-31T22:00:00Z 2026-02-01T04:00:00Z"),
        ("PT90M", "UTC", "2026-01-31T10:00:00Z", "2026-01-31T09:59:59Z", "2026-01-31T08:30:00Z 2026-01-31T10:00:00Z"),
        ("P1Y6M", "UTC", "2024-08-31T00:00:00Z", "2026-03-01T00:00:00Z", "2026-02-28T00:00:00Z 2027-08-31T00:00:00Z"),
        ("P1M1D", "UTC", "2026-01-31T00:00:00Z", "2026-04-02T00:00:00Z", "2026-04-02T00:00:00Z 2026-05-03T00:00:00Z"),
        ("P1DT12H", "UTC", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z", "2026-01-04T00:00:00Z 2026-01-05T12:00:00Z"),
        // Days keep the wall clock, hours do not.
        ("P1D", "Europe/Berlin", "2026-03-28T11:00:00Z", "2026-03-29T11:00:00Z", "2026-03-29T10:00:00Z 2026-03-30T10:00:00Z"),
        ("PT24H", "Europe/Berlin", "2026-03-28T11:00:00Z", "2026-03-29T11:00:00Z", "2026-03-29T11:00:00Z 2026-03-30T11:00:00Z"),
    ];
    for (duration, zone, anchor, at, expected) in table {
        let from_start = PeriodSpec { anchor: None, start: Some(ms(anchor)), ..every(duration, zone) };
        assert_eq!(window(&every(duration, zone), at, anchor), expected);
        assert_eq!(window(&from_start, at, "2000-01-01T00:00:00Z"), expected);
    }
}

#[test]
fn durations_are_whole_numbers_in_order_from_one_minute_to_100_years() {
    let step = |months, days, seconds| Some(Step { months, days, seconds });
    #[rustfmt::skip]
    let table = [
        ("P1Y2M3W4DT5H6M7S", step(14, 25, 18_367)),
        ("P100Y", step(1200, 0, 0)), ("PT60S", step(0, 0, 60)), ("P0DT1M", step(0, 0, 60)), ("P2W", step(0, 14, 0)),
        ("P100YT1S", None), ("P1201M", None), ("PT59S", None), ("P0D", None), ("PT0S", None),
        ("", None), ("P", None), ("PT", None), ("P1DT", None), ("1D", None), ("P1", None), ("PD", None),
        ("P1D1D", None), ("P1D1M", None), ("PT1M1H", None), ("P1H", None), ("PT1D", None), ("PT1HT1M", None),
        ("-P1D", None), ("P-1D", None), ("P+1D", None), ("P1.5D", None), ("P0,5Y", None), ("p1d", None), (" P1D", None),
        ("P99999999999999999999Y", None), ("PT9223372036854775807H", None), ("P9223372036854775807D", None), ("P1٣D", None),
    ];
    for (text, expected) in table {
        assert_eq!(Step::parse(text).ok(), expected, "{text}");
    }
}

#[test]
fn a_fixed_period_covers_its_start_but_not_its_end() {
    let (start_ms, end_ms) = (ms("2026-11-01T00:00:00Z"), ms("2026-12-01T00:00:00Z"));
    let period =
        Period::new(&PeriodSpec { start: Some(start_ms), end: Some(end_ms), ..spec(PeriodType::Fixed, None, "UTC") })
            .unwrap();
    let outside = |next_start_ms, valid_from_ms, valid_until_ms| Located::Outside {
        next_start_ms,
        valid_from_ms,
        valid_until_ms,
    };
    let (kind, end) = (WindowKind::Fixed, Some(end_ms));
    let inside = Located::Inside {
        window: Window { kind, start_ms, end_ms: end },
        valid_from_ms: start_ms,
        valid_until_ms: end_ms,
    };
    let anchor = started("2026-01-01T00:00:00Z");
    let before = outside(Some(start_ms), TimeMs::MIN, start_ms);
    let after = outside(None, end_ms, TimeMs::MAX);
    for (at, expected) in [
        (TimeMs::MIN, before),
        (start_ms - 1, before),
        (start_ms, inside),
        (end_ms - 1, inside),
        (end_ms, after),
        (TimeMs::MAX, after),
    ] {
        assert_eq!(period.locate(at, anchor), expected);
    }
}

#[test]
fn lifetime_and_concurrent_have_one_window_without_an_end() {
    for kind in [PeriodType::Lifetime, PeriodType::Concurrent] {
        let period = Period::new(&spec(kind, SUBSCRIPTION, "Asia/Tokyo")).unwrap();
        let expected = Located::Inside {
            window: Window { kind, start_ms: ms("2026-01-01T00:00:00Z"), end_ms: None },
            valid_from_ms: TimeMs::MIN,
            valid_until_ms: TimeMs::MAX,
        };
        for at in [TimeMs::MIN, 0, TimeMs::MAX] {
            assert_eq!(period.locate(at, started("2026-01-01T00:00:00.999Z")), expected);
        }
        assert!(!period.needs_subscription());
    }
}

#[test]
fn contradictory_fields_are_refused_by_name() {
    use PeriodType::*;
    let (day, odd) = (Some(86_400_000), Some(86_400_001));
    #[rustfmt::skip]
    let table: [(_, _, Option<&str>, _, _, &[&str]); 16] = [
        (Monthly, None, None, None, None, &[]),
        (Monthly, CALENDAR, Some("P1M"), day, day, &["every", "start", "end"]),
        (Lifetime, SUBSCRIPTION, None, day, None, &["start"]),
        (Concurrent, None, Some("P1M"), None, None, &["every"]),
        (Every, SUBSCRIPTION, Some("P30D"), None, None, &[]),
        (Every, CALENDAR, Some("P30D"), day, None, &[]),
        (Every, SUBSCRIPTION, Some("P30D"), day, None, &["start"]),
        (Every, None, Some("P30D"), None, None, &["start"]),
        (Every, None, None, None, day, &["end", "every", "start"]),
        (Every, SUBSCRIPTION, Some("30 days"), None, None, &["every"]),
        (Fixed, CALENDAR, None, Some(0), day, &[]),
        (Fixed, None, None, day, day, &["end"]),
        (Fixed, SUBSCRIPTION, None, None, None, &["periodAnchor", "start", "end"]),
        (Fixed, None, Some("P1D"), Some(0), odd, &["every", "end"]),
        (Fixed, None, None, Some(i64::MIN), Some(i64::MAX), &["start", "end"]),
        (Every, None, Some("P1D"), odd, None, &["start"]),
    ];
    for (kind, anchor, every, start, end, fields) in table {
        let spec = PeriodSpec { every: every.map(str::to_owned), start, end, ..spec(kind, anchor, "UTC") };
        let errors = Period::new(&spec).err().unwrap_or_default();
        let found: Vec<&str> = errors.iter().map(|error| error.field).collect();
        assert_eq!(found, fields, "{spec:?}");
    }
}

#[test]
fn names_in_json_are_those_of_the_api() {
    assert_eq!(serde_json::to_string(&SUBSCRIPTION).unwrap(), "\"subscription_start\"");
    let day: WeekDay = serde_json::from_str("\"sunday\"").unwrap();
    assert_eq!(day, WeekDay::Sunday);
}

//! Properties of every period at every moment, tested with random ones, often close to a clock change.

use chrono::{DateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};
use proptest::prelude::*;

use super::zone::{first_second_of, local_time};
use super::*;

const DAY_S: i64 = 86_400;
/// 1 Jan 1850 and 1 Jan 2110: before the first and after the last known clock change of most zones.
const CLOCK_CHANGES_S: std::ops::Range<i64> = -3_786_825_600..4_417_977_600;

fn offset_s(zone: Tz, at_s: i64) -> i32 {
    let utc = DateTime::from_timestamp(at_s, 0).unwrap().naive_utc();
    zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()
}

/// The next clock change after `at_s` within 400 days, else `at_s` itself.
fn next_clock_change(zone: Tz, at_s: i64) -> i64 {
    let day_s =
        (0..400).map(|day| at_s + day * DAY_S).find(|day_s| offset_s(zone, *day_s) != offset_s(zone, day_s + DAY_S));
    day_s.map_or(at_s, |day_s| {
        let (mut before_s, mut after_s) = (day_s, day_s + DAY_S);
        while after_s - before_s > 1 {
            let middle_s = i64::midpoint(before_s, after_s);
            if offset_s(zone, middle_s) == offset_s(zone, day_s) {
                before_s = middle_s;
            } else {
                after_s = middle_s;
            }
        }
        after_s
    })
}

fn zones() -> impl Strategy<Value = Tz> {
    prop::sample::select(TZ_VARIANTS.to_vec())
}

fn kinds() -> impl Strategy<Value = PeriodType> {
    // A fixed period is one window; `tests.rs` has its edges.
    let kinds = PeriodType::ALL.iter().copied().filter(|kind| *kind != PeriodType::Fixed);
    prop::sample::select(kinds.collect::<Vec<_>>())
}

fn durations() -> impl Strategy<Value = String> {
    let amounts = (0..4i64, 0..30i64, 0..5i64, 0..50i64, 0..50i64, 0..100i64);
    let mixed =
        (amounts, 60..4000i64).prop_map(|((y, mo, w, d, h, mi), s)| format!("P{y}Y{mo}M{w}W{d}DT{h}H{mi}M{s}S"));
    let plain = prop::sample::select(vec![
        "PT1M", "PT7M", "PT6H", "P1D", "P1DT1H", "P1W", "P30D", "P1M", "P1M1D", "P1Y6M", "P100Y",
    ]);
    prop_oneof![mixed, plain.prop_map(str::to_owned)]
}

fn periods() -> impl Strategy<Value = (Period, Tz)> {
    let day = prop::sample::select(vec![WeekDay::Monday, WeekDay::Wednesday, WeekDay::Sunday]);
    let fields = (kinds(), any::<bool>(), zones(), day, durations());
    fields.prop_map(|(kind, subscribed, zone, day, duration)| {
        let every = kind == PeriodType::Every;
        let anchor = match subscribed || every {
            true => PeriodAnchor::SubscriptionStart,
            false => PeriodAnchor::Calendar,
        };
        let period = Period::new(&PeriodSpec {
            period_type: kind,
            anchor: Some(anchor),
            timezone: Some(zone),
            week_start: Some(day),
            every: every.then_some(duration),
            ..PeriodSpec::default()
        });
        (period.unwrap(), zone)
    })
}

/// A period, a moment (two of three times within days of a clock change) and an anchor (one of two times close to the
/// moment).
fn cases() -> impl Strategy<Value = (Period, TimeMs, SubscriptionAnchor)> {
    let near_ms = -3 * DAY_S * 1000..3 * DAY_S * 1000;
    let hour_ms = -7_200_000..7_200_000i64;
    let moves = (0..3u8, hour_ms, near_ms.clone(), near_ms);
    let times = (CLOCK_CHANGES_S, CLOCK_CHANGES_S, any::<bool>());
    (periods(), times, moves).prop_map(|((period, zone), times, moves)| {
        let (at_s, far_s, close) = times;
        let (place, hour_ms, near_ms, apart_ms) = moves;
        let at = match place {
            0 => at_s * 1000 + hour_ms,
            1 => next_clock_change(zone, at_s) * 1000 + hour_ms,
            _ => next_clock_change(zone, at_s) * 1000 + near_ms,
        };
        let started_at_ms = if close { at + apart_ms } else { far_s * 1000 };
        let anchor = SubscriptionAnchor { started_at_ms, cycle_start_ms: None };
        (period, at, anchor)
    })
}

fn inside(located: Located) -> (Window, TimeMs, TimeMs) {
    match located {
        Located::Inside { window, valid_from_ms, valid_until_ms } => (window, valid_from_ms, valid_until_ms),
        Located::Outside { .. } => panic!("{located:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn windows_tile_time((period, at, anchor) in cases()) {
        let located = period.locate(at, anchor);
        let (window, valid_from_ms, valid_until_ms) = inside(located);
        prop_assert!(valid_from_ms <= at && at < valid_until_ms);
        prop_assert_eq!(window.kind, period.kind());
        prop_assert_eq!(window.start_ms % 1000, 0);
        prop_assert_eq!(Window::parse(&window.to_text()), Some(window));
        let Some(end_ms) = window.end_ms else {
            prop_assert!(window.kind.is_endless());
            return Ok(());
        };
        prop_assert_eq!(end_ms % 1000, 0);
        prop_assert_eq!((valid_from_ms, valid_until_ms), (window.start_ms, end_ms));
        prop_assert_eq!(period.locate(window.start_ms, anchor), located);
        prop_assert_eq!(period.locate(end_ms - 1, anchor), located);
        prop_assert_eq!(period.locate(end_ms - 1000, anchor), located);
        prop_assert_eq!(inside(period.locate(end_ms, anchor)).0.start_ms, end_ms);
        let (before, ..) = inside(period.locate(window.start_ms - 1, anchor));
        prop_assert_eq!(before.end_ms, Some(window.start_ms));
        let longest_s = match window.kind {
            WindowKind::Minute => 60,
            WindowKind::Hourly => 3600,
            WindowKind::Daily => 2 * DAY_S,
            WindowKind::Weekly => 8 * DAY_S,
            WindowKind::Monthly => 32 * DAY_S,
            WindowKind::Yearly => 367 * DAY_S,
            WindowKind::Lifetime | WindowKind::Every | WindowKind::Fixed | WindowKind::Concurrent => 200 * 366 * DAY_S,
        };
        prop_assert!(end_ms - window.start_ms <= longest_s * 1000);
    }

    #[test]
    fn a_window_starts_at_the_subscription((period, _, anchor) in cases()) {
        if period.needs_subscription() {
            let (window, ..) = inside(period.locate(anchor.started_at_ms, anchor));
            prop_assert_eq!(window.start_ms, anchor.started_at_ms.div_euclid(1000) * 1000);
        }
    }

    #[test]
    fn every_moment_that_fits_a_number_has_a_valid_answer(
        (period, ..) in cases(),
        at in prop_oneof![any::<i64>(), -70_000_000_000_000..260_000_000_000_000i64, Just(i64::MIN), Just(i64::MAX)],
        started_at_ms in prop_oneof![any::<i64>(), -70_000_000_000_000..260_000_000_000_000i64, Just(i64::MIN), Just(i64::MAX)],
    ) {
        let anchor = SubscriptionAnchor { started_at_ms: 0, cycle_start_ms: Some(started_at_ms) };
        let located = period.locate(at, anchor);
        let (window, valid_from_ms, valid_until_ms) = inside(located);
        prop_assert!(valid_from_ms <= at && (at < valid_until_ms || at == i64::MAX));
        prop_assert_eq!(Window::parse(&window.to_text()), Some(window));
        prop_assert_eq!(period.locate(valid_from_ms, anchor), located);
        prop_assert_eq!(period.locate(valid_until_ms - 1, anchor), located);
        if valid_until_ms < i64::MAX {
            prop_assert_ne!(period.locate(valid_until_ms, anchor), located);
        }
    }

    #[test]
    fn the_first_second_of_a_local_time_is_the_first_at_which_the_clock_has_reached_it(
        zone in zones(), at_s in CLOCK_CHANGES_S, minutes in -1600..1600i64,
    ) {
        let change_s = next_clock_change(zone, at_s);
        let local = local_time(zone, change_s) + TimeDelta::minutes(minutes);
        let first_s = first_second_of(zone, local);
        prop_assert!(local_time(zone, first_s) >= local);
        let two_days = (1..=2 * 24 * 60).map(|minute| first_s - minute * 60 + 59);
        for earlier_s in two_days {
            prop_assert!(local_time(zone, earlier_s) < local);
        }
    }

    #[test]
    fn no_duration_panics(text in "P?[0-9YMWDTHS.]{0,24}") {
        let spec = PeriodSpec {
            period_type: PeriodType::Every,
            anchor: Some(PeriodAnchor::SubscriptionStart),
            every: Some(text),
            ..PeriodSpec::default()
        };
        if let Ok(period) = Period::new(&spec) {
            let anchor = SubscriptionAnchor { started_at_ms: 0, cycle_start_ms: None };
            inside(period.locate(i64::MAX, anchor));
        }
    }
}

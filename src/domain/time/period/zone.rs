//! Time on the wall clock of a timezone, in seconds since the Unix epoch.

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

/// The time on the wall clock at that second.
pub(super) fn local_time(zone: Tz, at_s: i64) -> NaiveDateTime {
    zone.from_utc_datetime(&utc(at_s).naive_utc()).naive_local()
}

/// The first second at which the wall clock shows `local`. If the clock jumps over it, the first second after the
/// jump.
pub(super) fn first_second_of(zone: Tz, local: NaiveDateTime) -> i64 {
    if let Some(time) = zone.from_local_datetime(&local).earliest() {
        return time.timestamp();
    }
    let jump = GapInfo::new(&local, &zone).and_then(|gap| gap.begin);
    let (shown, offset) = jump.map_or((local, 0), |(shown, offset)| (shown, offset.fix().local_minus_utc()));
    shown.and_utc().timestamp() - i64::from(offset)
}

/// `[start, end)` of the hour (`length_s` 3600) or minute (60) of the wall clock around `at_s`.
///
/// A clock change splits the window in which it falls. So no window is longer than `length_s`, and an hour that is
/// shown twice consists of two windows.
pub(super) fn wall_clock_window(zone: Tz, length_s: i64, at_s: i64) -> (i64, i64) {
    let offset_s = offset_s(zone, at_s);
    let start_s = at_s - (at_s + offset_s).rem_euclid(length_s);
    let end_s = start_s + length_s;
    (clock_change(zone, start_s, at_s).unwrap_or(start_s), clock_change(zone, at_s, end_s - 1).unwrap_or(end_s))
}

/// The second of `(from_s, to_s]` at which the offset from UTC changes, if it differs between the two.
fn clock_change(zone: Tz, from_s: i64, to_s: i64) -> Option<i64> {
    let before = offset_s(zone, from_s);
    if offset_s(zone, to_s) == before {
        return None;
    }
    let (mut from_s, mut to_s) = (from_s, to_s);
    while to_s - from_s > 1 {
        let middle_s = from_s + (to_s - from_s) / 2;
        if offset_s(zone, middle_s) == before {
            from_s = middle_s;
        } else {
            to_s = middle_s;
        }
    }
    Some(to_s)
}

fn offset_s(zone: Tz, at_s: i64) -> i64 {
    let offset = zone.offset_from_utc_datetime(&utc(at_s).naive_utc());
    i64::from(offset.fix().local_minus_utc())
}

/// Callers stay close to the years 1 to 9999, well inside chrono's range.
fn utc(at_s: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(at_s, 0).unwrap_or_default()
}

//! Turns the fields of a plan or group into the rule that computes its windows.

use chrono::{DateTime, NaiveDateTime, TimeDelta};
use chrono_tz::Tz;

use super::grid::Grid;
use super::step::Step;
use super::{PeriodAnchor, PeriodError, PeriodSpec, SubscriptionAnchor, whole_second};
use crate::domain::time::window::{EARLIEST_MS, LATEST_MS, TimeMs, WindowKind};

/// How windows are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// One window from `startedAt` on, without an end.
    Endless,
    /// One window, and nothing outside it.
    Fixed { start_ms: TimeMs, end_ms: TimeMs },
    /// Hours (`length_s` 3600) or minutes (60) on the wall clock.
    WallClock { zone: Tz, length_s: i64 },
    /// Windows in a row, `step` apart.
    Steps { zone: Tz, step: Step, origin: Origin },
}

/// What steps are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Subscription,
    Instant(TimeMs),
    Local(NaiveDateTime),
}

impl Rule {
    /// The rule for these fields, or every error in them.
    pub(super) fn from_spec(spec: &PeriodSpec) -> Result<Rule, Vec<PeriodError>> {
        let mut errors = misplaced_fields(spec);
        let rule = match spec.period_type {
            WindowKind::Lifetime | WindowKind::Concurrent => Ok(Rule::Endless),
            WindowKind::Fixed => fixed_rule(spec),
            WindowKind::Every => every_rule(spec),
            WindowKind::Minute => Ok(wall_clock_rule(spec, 60)),
            WindowKind::Hourly => Ok(wall_clock_rule(spec, 3600)),
            WindowKind::Daily => Ok(calendar_rule(spec, Step::days(1))),
            WindowKind::Weekly => Ok(calendar_rule(spec, Step::days(7))),
            WindowKind::Monthly => Ok(calendar_rule(spec, Step::months(1))),
            WindowKind::Yearly => Ok(calendar_rule(spec, Step::months(12))),
        };
        match rule {
            Ok(rule) if errors.is_empty() => Ok(rule),
            Ok(_) => Err(errors),
            Err(more) => {
                errors.extend(more);
                Err(errors)
            }
        }
    }
}

impl Origin {
    /// The grid of windows that starts here.
    pub(super) fn grid(self, zone: Tz, step: Step, subscription: SubscriptionAnchor) -> Grid {
        let instant_ms = match self {
            Origin::Local(local) => return Grid::from_local(zone, step, local),
            Origin::Instant(start_ms) => start_ms,
            Origin::Subscription => subscription.cycle_start_ms.unwrap_or(subscription.started_at_ms),
        };
        Grid::from_instant(zone, step, whole_second(instant_ms))
    }
}

fn zone_of(spec: &PeriodSpec) -> Tz {
    spec.timezone.unwrap_or(Tz::UTC)
}

fn is_subscribed(spec: &PeriodSpec) -> bool {
    spec.anchor == Some(PeriodAnchor::SubscriptionStart)
}

fn wall_clock_rule(spec: &PeriodSpec, length_s: i64) -> Rule {
    let zone = zone_of(spec);
    if is_subscribed(spec) {
        Rule::Steps { zone, step: Step::seconds(length_s), origin: Origin::Subscription }
    } else {
        Rule::WallClock { zone, length_s }
    }
}

/// Calendar windows are counted from midnight of 1 Jan 1970, weeks from the `weekStart` on or after Monday, 5 Jan.
fn calendar_rule(spec: &PeriodSpec, step: Step) -> Rule {
    let first_day = match spec.period_type {
        WindowKind::Weekly => 4 + spec.week_start.unwrap_or_default() as i64,
        WindowKind::Minute
        | WindowKind::Hourly
        | WindowKind::Daily
        | WindowKind::Monthly
        | WindowKind::Yearly
        | WindowKind::Lifetime
        | WindowKind::Every
        | WindowKind::Fixed
        | WindowKind::Concurrent => 0,
    };
    let midnight = DateTime::UNIX_EPOCH.naive_utc() + TimeDelta::days(first_day);
    Rule::Steps {
        zone: zone_of(spec),
        step,
        origin: if is_subscribed(spec) { Origin::Subscription } else { Origin::Local(midnight) },
    }
}

fn every_rule(spec: &PeriodSpec) -> Result<Rule, Vec<PeriodError>> {
    let step = match &spec.every {
        Some(text) => Step::parse(text).map_err(|message| refuse("every", message)),
        None => Err(refuse("every", "is required for the period type `every`")),
    };
    let origin = match (spec.start, is_subscribed(spec)) {
        (Some(start_ms), false) => Ok(Origin::Instant(start_ms)),
        (None, true) => Ok(Origin::Subscription),
        (Some(_), true) => Err(refuse("start", "cannot be combined with `periodAnchor` `subscription_start`")),
        (None, false) => Err(refuse(
            "start",
            "is required for the period type `every`, unless `periodAnchor` is `subscription_start`",
        )),
    };
    match (step, origin) {
        (Ok(step), Ok(origin)) => Ok(Rule::Steps { zone: zone_of(spec), step, origin }),
        (step, origin) => Err(step.err().into_iter().chain(origin.err()).collect()),
    }
}

fn fixed_rule(spec: &PeriodSpec) -> Result<Rule, Vec<PeriodError>> {
    let mut errors = Vec::new();
    if is_subscribed(spec) {
        errors.push(refuse("periodAnchor", "must be `calendar` for the period type `fixed`"));
    }
    match (spec.start, spec.end) {
        (Some(start_ms), Some(end_ms)) if start_ms < end_ms => {
            if errors.is_empty() {
                return Ok(Rule::Fixed { start_ms, end_ms });
            }
        }
        (Some(_), Some(_)) => errors.push(refuse("end", "must be later than `start`")),
        (start, end) => {
            for (field, time) in [("start", start), ("end", end)] {
                if time.is_none() {
                    errors.push(refuse(field, "is required for the period type `fixed`"));
                }
            }
        }
    }
    Err(errors)
}

/// Fields that the period type does not use, and times at which no window can start or end.
fn misplaced_fields(spec: &PeriodSpec) -> Vec<PeriodError> {
    let (fixed, every) = (spec.period_type == WindowKind::Fixed, spec.period_type == WindowKind::Every);
    let mut errors = Vec::new();
    if spec.every.is_some() && !every {
        errors.push(refuse("every", "can only be set for the period type `every`"));
    }
    if spec.start.is_some() && !(fixed || every) {
        errors.push(refuse("start", "can only be set for the period types `fixed` and `every`"));
    }
    if spec.end.is_some() && !fixed {
        errors.push(refuse("end", "can only be set for the period type `fixed`"));
    }
    for (field, time) in [("start", spec.start), ("end", spec.end)] {
        let whole = |ms: TimeMs| ms % 1000 == 0 && (EARLIEST_MS..=LATEST_MS).contains(&ms);
        if time.is_some_and(|ms| !whole(ms)) {
            errors.push(refuse(field, "must be a whole second of the years 1 to 9999"));
        }
    }
    errors
}

fn refuse(field: &'static str, message: &str) -> PeriodError {
    PeriodError { field, message: message.to_owned() }
}

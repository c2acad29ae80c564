//! Periods: the window of a limit group that contains a moment.
//!
//! The moment and the subscription's anchor are given; no clock is read. The windows of a period follow each other
//! without gaps: each starts where the previous one ends, and `start <= at < end`. Clock changes are those that
//! chrono-tz knows, until the year 2100.

mod grid;
mod rule;
mod step;
mod zone;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

use std::sync::{PoisonError, RwLock};

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::window::WindowKind as PeriodType;
use super::window::{EARLIEST_MS, LATEST_MS, TimeMs, Window, WindowKind};
use rule::{Origin, Rule};

const EARLIEST_S: i64 = EARLIEST_MS / 1000;
const LATEST_S: i64 = LATEST_MS / 1000;

/// What windows are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeriodAnchor {
    /// The calendar of the timezone.
    Calendar,
    /// The user's `cycleStart`, else `startedAt`.
    SubscriptionStart,
}

/// The day on which calendar weeks start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WeekDay {
    /// The default.
    #[default]
    Monday,
    /// One day after Monday.
    Tuesday,
    /// Two days after Monday.
    Wednesday,
    /// Three days after Monday.
    Thursday,
    /// Four days after Monday.
    Friday,
    /// Five days after Monday.
    Saturday,
    /// Six days after Monday.
    Sunday,
}

/// The fields of a plan or group that describe its period, with the plan's defaults filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeriodSpec {
    /// `periodType`.
    pub period_type: PeriodType,
    /// `periodAnchor`; None means `calendar`.
    pub anchor: Option<PeriodAnchor>,
    /// `timezone`; None means UTC.
    pub timezone: Option<Tz>,
    /// `weekStart`; None means monday. Used for calendar weeks only.
    pub week_start: Option<WeekDay>,
    /// `every`: an ISO 8601 duration of one minute to 100 years, only for `every`.
    pub every: Option<String>,
    /// `start`: a whole second, only for `fixed` (first instant) and `every` (anchor).
    pub start: Option<TimeMs>,
    /// `end`: a whole second, only for `fixed` (first instant after).
    pub end: Option<TimeMs>,
}

/// Why a [`PeriodSpec`] is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {message}")]
pub struct PeriodError {
    /// The field's name in the API.
    pub field: &'static str,
    /// What is wrong; continues the sentence that the field's name begins.
    pub message: String,
}

/// What windows with the anchor `subscription_start` are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionAnchor {
    /// `startedAt`; also the start of `lifetime` and `concurrent` windows.
    pub started_at_ms: TimeMs,
    /// `cycleStart`; may be in the future, then windows are counted backwards from it.
    pub cycle_start_ms: Option<TimeMs>,
}

impl SubscriptionAnchor {
    /// For counters shared by users: windows without an end begin in 1970, whichever user calls.
    pub const NONE: Self = Self { started_at_ms: 0, cycle_start_ms: None };
}

/// The window of a moment, and the time range in which the same is true for the same subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Located {
    /// Inside this window, for every moment of `[valid_from_ms, valid_until_ms)`.
    Inside {
        /// The window. Moments before the year 1 are in the first one, those after 9999 in the last.
        window: Window,
        /// The first moment for which this is true.
        valid_from_ms: TimeMs,
        /// The first later moment for which this is not true.
        valid_until_ms: TimeMs,
    },
    /// Outside of a `fixed` period, for every moment of `[valid_from_ms, valid_until_ms)`.
    Outside {
        /// When the period starts; None if it is over.
        next_start_ms: Option<TimeMs>,
        /// The first moment for which this is true.
        valid_from_ms: TimeMs,
        /// The first later moment for which this is not true.
        valid_until_ms: TimeMs,
    },
}

/// A validated period of a limit group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    kind: WindowKind,
    rule: Rule,
    last: Last,
}

/// A cache of the last result of [`Period::locate`], for periods whose windows are the same for all users, since the
/// next moment is usually in the same window. It does not affect results, so it is ignored in comparisons.
#[derive(Debug, Default)]
struct Last(RwLock<Option<Located>>);

impl Last {
    fn at(&self, at: TimeMs) -> Option<Located> {
        let last = *self.0.read().unwrap_or_else(PoisonError::into_inner);
        last.filter(|located| located.holds_at(at))
    }

    fn set(&self, located: Located) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(located);
    }
}

impl Clone for Last {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Last {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Last {}

impl Located {
    fn holds_at(&self, at: TimeMs) -> bool {
        let (Self::Inside { valid_from_ms, valid_until_ms, .. } | Self::Outside { valid_from_ms, valid_until_ms, .. }) =
            self;
        (*valid_from_ms..*valid_until_ms).contains(&at)
    }
}

impl Period {
    /// Validates the fields of a plan or group.
    ///
    /// # Errors
    /// One error per wrong field: `every`, `start` or `end` missing, malformed, or given for a period type that does
    /// not use it; a `periodAnchor` that contradicts the period type.
    pub fn new(spec: &PeriodSpec) -> Result<Period, Vec<PeriodError>> {
        Ok(Period { kind: spec.period_type, rule: Rule::from_spec(spec)?, last: Last::default() })
    }

    /// The kind of its windows.
    pub fn kind(&self) -> WindowKind {
        self.kind
    }

    /// Whether windows are counted from the subscription, so that they differ between users.
    ///
    /// False for `lifetime` and `concurrent`: their only window starts at the given `started_at_ms`, but contains
    /// every moment.
    pub fn needs_subscription(&self) -> bool {
        matches!(self.rule, Rule::Steps { origin: Origin::Subscription, .. })
    }

    /// Finds the window of `at`. Every input has a result.
    pub fn locate(&self, at: TimeMs, subscription: SubscriptionAnchor) -> Located {
        let is_shared = matches!(self.rule, Rule::WallClock { .. } | Rule::Steps { .. }) && !self.needs_subscription();
        if !is_shared {
            return self.find(at, subscription);
        }
        self.last.at(at).unwrap_or_else(|| {
            let located = self.find(at, subscription);
            self.last.set(located);
            located
        })
    }

    fn find(&self, at: TimeMs, subscription: SubscriptionAnchor) -> Located {
        let at_s = whole_second(at);
        let (start_s, end_s) = match self.rule {
            Rule::Endless => (whole_second(subscription.started_at_ms), None),
            Rule::Fixed { start_ms, end_ms } => return locate_fixed(at, start_ms, end_ms),
            Rule::WallClock { zone, length_s } => {
                let (start_s, end_s) = zone::wall_clock_window(zone, length_s, at_s);
                (start_s, Some(end_s))
            }
            Rule::Steps { zone, step, origin } => {
                let (start_s, end_s) = origin.grid(zone, step, subscription).window_at(at_s);
                (start_s, Some(end_s))
            }
        };
        let start_ms = start_s.max(EARLIEST_S) * 1000;
        let end_ms = end_s.map(|end_s| end_s.min(LATEST_S) * 1000);
        let endless = end_ms.is_none();
        Located::Inside {
            window: Window { kind: self.kind, start_ms, end_ms },
            valid_from_ms: if endless || start_ms == EARLIEST_MS { TimeMs::MIN } else { start_ms },
            valid_until_ms: end_ms.filter(|end_ms| *end_ms < LATEST_MS).unwrap_or(TimeMs::MAX),
        }
    }
}

/// Seconds since the epoch, rounded down, within the years 1 to 9999.
fn whole_second(time_ms: TimeMs) -> i64 {
    time_ms.div_euclid(1000).clamp(EARLIEST_S, LATEST_S - 1)
}

fn locate_fixed(at: TimeMs, start_ms: TimeMs, end_ms: TimeMs) -> Located {
    if at < start_ms {
        Located::Outside { next_start_ms: Some(start_ms), valid_from_ms: TimeMs::MIN, valid_until_ms: start_ms }
    } else if at < end_ms {
        Located::Inside {
            window: Window { kind: WindowKind::Fixed, start_ms, end_ms: Some(end_ms) },
            valid_from_ms: start_ms,
            valid_until_ms: end_ms,
        }
    } else {
        Located::Outside { next_start_ms: None, valid_from_ms: end_ms, valid_until_ms: TimeMs::MAX }
    }
}

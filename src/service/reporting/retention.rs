//! How long the rows of reports stay.

use crate::domain::reporting::rollup::RowSet;
use crate::domain::time::day::{DAY_MS, Day};
use crate::domain::time::window::TimeMs;
use crate::store::keys::Bucket;
use crate::store::reporting::stream::Place;

/// Expired data of a sandbox is stored for seven real days, since its clock is moved manually.
const LEAST_SANDBOX_DAYS: i64 = 7;
/// The days of figures from which estimates are learned, including today.
pub(in crate::service) const LEARNED_DAYS: u16 = 7;
const DAY_S: i64 = DAY_MS / 1000;

/// How long rows are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Days for rows without users, 1 to 3660.
    pub days: u16,
    /// Days for rows with users.
    pub user_days: u16,
}

impl Default for Retention {
    fn default() -> Self {
        Self { days: 400, user_days: 35 }
    }
}

impl Retention {
    /// How many days rows are stored.
    pub fn days_of(self, row_set: RowSet) -> i64 {
        i64::from(match row_set {
            RowSet::Calls => self.days,
            RowSet::Users => self.user_days,
            RowSet::Estimates => LEARNED_DAYS,
        })
    }

    /// The TTL of a day's rows in seconds, from `now` (real time) on; None if they are too old to be stored.
    pub(in crate::service) fn ttl_s(self, bucket: &Bucket, place: Place, now: TimeMs) -> Option<i64> {
        let days = self.days_of(place.row_set);
        let left = match bucket.is_sandbox() {
            true => days.max(LEAST_SANDBOX_DAYS),
            false => days - Day::of(now).since(place.day).max(0),
        };
        // Plus one for the day itself.
        (left > 0).then_some((left + 1) * DAY_S)
    }
}

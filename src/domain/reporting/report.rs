//! Reports: filters, groups and sums the rows of rollups. No I/O.

mod forecast;
mod lines;
mod ratio;
mod unusual;

use std::collections::{BTreeMap, BTreeSet};

use super::rollup::{Fields, RowName, RowSet};
use crate::domain::time::day::Day;
use crate::domain::values::document;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::glob;
use crate::domain::values::ids::{GroupId, UserId};

pub use forecast::{CounterUsage, Forecast, Range, Rate, forecast};
pub use lines::{Line, LineName, Lines, TooManyLines};
pub use ratio::{Condition, Measure, Ratio, Side};
pub use unusual::{Unusual, unusual};

/// What lines are grouped by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    Group,
    User,
    Event,
    Key,
    /// `metadata.<name>`
    Label(String),
}

impl By {
    /// # Errors
    /// A sentence that says what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "group" => Ok(Self::Group),
            "user" => Ok(Self::User),
            "event" => Ok(Self::Event),
            "key" => Ok(Self::Key),
            _ => match text.strip_prefix("metadata.") {
                Some(name) if !name.is_empty() => Ok(Self::Label(name.to_owned())),
                _ => Err(document::not_one_of(text, &["group", "user", "event", "key", "metadata.<name>"])),
            },
        }
    }

    pub fn name(&self) -> String {
        match self {
            Self::Group => "group".to_owned(),
            Self::User => "user".to_owned(),
            Self::Event => "event".to_owned(),
            Self::Key => "key".to_owned(),
            Self::Label(name) => format!("metadata.{name}"),
        }
    }

    /// The value of a row; None if it has none. Groups are not a property of rows.
    pub fn value<'a>(&self, row: &'a RowName) -> Option<&'a str> {
        match self {
            Self::Group => None,
            Self::User => row.user.as_str(),
            Self::Event => row.event.as_str(),
            Self::Key => row.key.as_str(),
            Self::Label(name) => row.labels.get(name),
        }
    }
}

/// The length of time that a line covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    Day,
    /// From Monday on.
    Week,
    /// A calendar month.
    Month,
    #[default]
    Total,
}

impl Step {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            "total" => Self::Total,
            _ => return None,
        })
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// First and last day of the period that contains a day, within `from` and `to`.
    pub fn around(self, day: Day, from: Day, to: Day) -> (Day, Day) {
        let (start, end) = match self {
            Self::Day => (day, day),
            Self::Week => (day.week(), day.week().plus(6)),
            Self::Month => (day.month(), day.month_end()),
            Self::Total => (from, to),
        };
        (start.max(from), end.min(to))
    }
}

/// Which rows count; all given conditions must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// A name or a glob.
    pub event: Option<String>,
    pub user: Option<UserId>,
    pub key: Option<String>,
    /// Only the figures of this group.
    pub group: Option<GroupId>,
    /// An empty value selects rows without the label.
    pub labels: BTreeMap<String, String>,
}

impl Filter {
    pub fn lets_through(&self, row: &RowName) -> bool {
        let is = |wanted: Option<&str>, value: Option<&str>| wanted.is_none() || wanted == value;
        let event = || row.event.as_str().unwrap_or_default();
        self.event.as_deref().is_none_or(|pattern| glob::matches(pattern, event()))
            && is(self.user.as_ref().map(UserId::as_str), row.user.as_str())
            && is(self.key.as_deref(), row.key.as_str())
            && self.labels.iter().all(|(name, value)| row.labels.get(name).unwrap_or_default() == value)
    }
}

/// The query of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportSpec {
    pub from: Day,
    /// The last day, inclusive.
    pub to: Day,
    pub step: Step,
    pub by: Vec<By>,
    pub filter: Filter,
    pub ratios: Vec<Ratio>,
}

impl ReportSpec {
    /// The rows that answer the query. Those of users are only used where needed, since they cover fewer days.
    pub fn row_set(&self) -> RowSet {
        let conditions = self.ratios.iter().flat_map(Ratio::conditions);
        let by_user = self.by.contains(&By::User) || conditions.into_iter().any(|condition| condition.by == By::User);
        if by_user || self.filter.user.is_some() { RowSet::Users } else { RowSet::Calls }
    }

    /// Whether each line is about one group only.
    pub fn is_of_groups(&self) -> bool {
        self.by.contains(&By::Group) || self.filter.group.is_some()
    }

    /// What rollups cannot answer, naming the parameters.
    pub fn faults(&self, fields: &Fields) -> Faults {
        let mut faults = Faults::default();
        let mut seen = BTreeSet::new();
        for by in &self.by {
            if seen.insert(by) {
                faults.check("by", known_label(by, fields));
            } else {
                faults.add("by", format!("must not contain `{}` twice", by.name()));
            }
        }
        for name in self.filter.labels.keys() {
            let by = By::Label(name.clone());
            faults.check(&by.name(), known_label(&by, fields));
        }
        if let Some(group) = self.filter.group.as_ref().filter(|group| !fields.units.contains_key(*group)) {
            faults.add("groupId", format!("must be an existing group; there is no group `{group}`"));
        }
        for ratio in &self.ratios {
            faults.check("ratio", ratio.check(fields, self.is_of_groups()));
        }
        faults
    }
}

/// The maximum number of days of one report: ten years.
const MOST_DAYS: i64 = 3_660;

/// Why a report cannot cover the days between these two.
pub fn span_fault(from: Day, to: Day) -> Option<FieldError> {
    if to < from {
        return Some(FieldError::new("to", format!("must not be before `from` ({from})")));
    }
    let is_long = to.since(from) >= MOST_DAYS;
    is_long.then(|| FieldError::new("from", format!("must be at most {MOST_DAYS} days before `to`")))
}

/// # Errors
/// A label that rollups do not record.
pub(in crate::domain) fn known_label(by: &By, fields: &Fields) -> Result<(), String> {
    match by {
        By::Label(name) if !fields.labels.contains(name) => Err(format!(
            "cannot use `metadata.{name}`: add `{name}` to `reportLabels` of the app first. Reports then have it for new events; `quotagate rollup --rebuild` adds it for events that are still in the ledger"
        )),
        By::Label(_) | By::Group | By::User | By::Event | By::Key => Ok(()),
    }
}

#[cfg(test)]
mod tests;

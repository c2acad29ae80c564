//! The names of rows: the values that separate a day's sums.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The name of all values without a row of their own in reports.
pub const OTHER: &str = "(other)";

/// A set of rows: what separates them, and how long they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowSet {
    /// By event, key and labels.
    Calls,
    /// By event, key, labels and user.
    Users,
    /// By event and the metadata that estimates are learned by.
    Estimates,
}

impl RowSet {
    pub const ALL: [Self; 3] = [Self::Calls, Self::Users, Self::Estimates];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Users => "users",
            Self::Estimates => "estimates",
        }
    }

    /// The maximum number of rows per day, bucket and stream.
    pub const fn most_rows(self) -> usize {
        match self {
            Self::Calls => 10_000,
            Self::Users => 200_000,
            Self::Estimates => 500,
        }
    }

    /// The number of rows that may have labels; the last tenth is reserved for rows without.
    pub const fn exact_rows(self) -> usize {
        self.most_rows() - self.most_rows() / 10
    }
}

/// A row's value of a dimension.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowValue {
    /// The entries had no value, or the row set does not separate rows by it.
    #[default]
    Absent,
    Is(Arc<str>),
    /// One of the values that did not fit into the limit on rows.
    Other,
}

impl RowValue {
    pub fn of(value: Option<impl Into<Arc<str>>>) -> Self {
        value.map_or(Self::Absent, |value| Self::Is(value.into()))
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Absent => None,
            Self::Is(value) => Some(value),
            Self::Other => Some(OTHER),
        }
    }
}

/// The labels of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Labels {
    /// Shared, since many rows of a day have the same.
    Each(Arc<BTreeMap<String, String>>),
    /// The labels of rows that did not fit into the limit.
    Other,
}

impl Labels {
    /// The labels of a row of its own.
    pub fn of(labels: BTreeMap<String, String>) -> Self {
        Self::Each(Arc::new(labels))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        match self {
            Self::Each(labels) => labels.get(name).map(String::as_str),
            Self::Other => Some(OTHER),
        }
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::of(BTreeMap::new())
    }
}

/// The name of a row within its day and row set.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowName {
    /// Absent in the rows of calls.
    pub user: RowValue,
    pub event: RowValue,
    pub key: RowValue,
    pub labels: Labels,
}

impl RowName {
    /// The row of the same entries in another row set.
    pub fn within(&self, row_set: RowSet) -> Self {
        match row_set {
            RowSet::Calls => Self {
                user: RowValue::Absent,
                event: self.event.clone(),
                key: self.key.clone(),
                labels: self.labels.clone(),
            },
            RowSet::Users | RowSet::Estimates => self.clone(),
        }
    }

    /// Where sums go if there is no place for this row: first a row without labels, then the row for everything else.
    pub fn less_exact(&self, row_set: RowSet) -> [Self; 2] {
        let plain = match &self.labels {
            Labels::Each(labels) if labels.is_empty() => self.clone(),
            Labels::Each(_) | Labels::Other => Self { labels: Labels::Other, ..self.clone() },
        };
        let user = if row_set == RowSet::Users { RowValue::Other } else { RowValue::Absent };
        [plain, Self { user, event: RowValue::Other, key: RowValue::Other, labels: Labels::Other }]
    }
}

//! Rows: by what a day's sums are told apart.

use std::collections::BTreeMap;

/// What a value is told as that has no row of its own.
pub const OTHER: &str = "(other)";

/// By what rows are told apart, and how long they stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cube {
    /// By event, key and labels.
    Calls,
    /// By user as well.
    Users,
}

impl Cube {
    pub const ALL: [Self; 2] = [Self::Calls, Self::Users];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Users => "users",
        }
    }

    /// The most rows of one day, bucket and stream.
    pub const fn most_rows(self) -> usize {
        match self {
            Self::Calls => 10_000,
            Self::Users => 200_000,
        }
    }

    /// The rows that may tell labels apart: the last tenth is for those that do not.
    pub const fn exact_rows(self) -> usize {
        self.most_rows() - self.most_rows() / 10
    }
}

/// The value of a dimension in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// The entries had none, or the cube does not tell rows apart by it.
    #[default]
    Absent,
    Is(String),
    /// One of those that found no place.
    Other,
}

impl Word {
    pub fn of(value: Option<&str>) -> Self {
        value.map_or(Self::Absent, |value| Self::Is(value.to_owned()))
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
    Each(BTreeMap<String, String>),
    /// Those of several rows that found no place.
    Other,
}

impl Labels {
    pub fn get(&self, name: &str) -> Option<&str> {
        match self {
            Self::Each(labels) => labels.get(name).map(String::as_str),
            Self::Other => Some(OTHER),
        }
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::Each(BTreeMap::new())
    }
}

/// A row's name within its day and cube.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowName {
    /// Absent in the cube of calls.
    pub user: Word,
    pub event: Word,
    pub key: Word,
    pub labels: Labels,
}

impl RowName {
    /// The row of the same entries in a cube.
    pub fn within(&self, cube: Cube) -> Self {
        match cube {
            Cube::Calls => Self { user: Word::Absent, ..self.clone() },
            Cube::Users => self.clone(),
        }
    }

    /// Where its sums go: into a row of their own, else into one that does not tell labels apart, else into the one
    /// that tells nothing apart.
    pub fn places(&self, cube: Cube) -> [Self; 3] {
        let plain = match &self.labels {
            Labels::Each(labels) if labels.is_empty() => self.clone(),
            Labels::Each(_) | Labels::Other => Self { labels: Labels::Other, ..self.clone() },
        };
        let user = if cube == Cube::Users { Word::Other } else { Word::Absent };
        let rest = Self { user, event: Word::Other, key: Word::Other, labels: Labels::Other };
        [self.clone(), plain, rest]
    }
}

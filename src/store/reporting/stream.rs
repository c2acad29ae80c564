//! The two streams of a bucket, and the places of the rows that are folded from them.

use crate::domain::reporting::rollup::RowSet;
use crate::domain::time::day::Day;

/// One of a bucket's two streams of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    Ledger,
    Denials,
}

impl Stream {
    pub const ALL: [Self; 2] = [Self::Ledger, Self::Denials];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Denials => "denials",
        }
    }
}

/// The location of rows: a day of a row set, from one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub row_set: RowSet,
    pub stream: Stream,
    pub day: Day,
}

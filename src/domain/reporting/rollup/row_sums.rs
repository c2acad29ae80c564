//! What entries add to the rows of a day and row set.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;

use super::metrics::Metrics;
use super::row::{RowName, RowSet};

/// Sums to add, one per row, in the order in which entries first change the rows. So the limit on rows drops the same
/// rows as if the entries were added one by one.
#[derive(Clone, Debug, Default)]
pub struct RowSums {
    rows: Vec<(RowName, Metrics)>,
    places: HashMap<RowName, usize, RandomState>,
    /// The place of the row that was changed last. Often the next entry changes it again.
    last: usize,
}

impl RowSums {
    /// With room for so many rows.
    pub fn with_capacity(rows: usize) -> Self {
        Self {
            rows: Vec::with_capacity(rows),
            places: HashMap::with_capacity_and_hasher(rows, RandomState::default()),
            last: 0,
        }
    }

    pub fn add(&mut self, name: RowName, metrics: Cow<'_, Metrics>) {
        if let Some((_, sums)) = self.rows.get_mut(self.last).filter(|(known, _)| *known == name) {
            return sums.add(&metrics);
        }
        match self.places.entry(name) {
            Entry::Occupied(place) => {
                self.last = *place.get();
                self.rows[self.last].1.add(&metrics);
            }
            Entry::Vacant(place) => {
                self.last = self.rows.len();
                self.rows.push((place.key().clone(), metrics.into_owned()));
                place.insert(self.last);
            }
        }
    }

    /// The same sums in the rows of another row set.
    pub fn within(&self, row_set: RowSet) -> Self {
        let mut sums = Self::default();
        for (name, metrics) in &self.rows {
            sums.add(name.within(row_set), Cow::Borrowed(metrics));
        }
        sums
    }

    pub fn into_rows(self) -> Vec<(RowName, Metrics)> {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reporting::rollup::{Count, RowValue};

    #[test]
    fn each_row_occurs_once_in_the_order_of_the_entries() {
        let name = |user, event| RowName {
            user: RowValue::of(Some(user)),
            event: RowValue::of(Some(event)),
            ..RowName::default()
        };
        let mut call = Metrics::default();
        call.count(Count::Calls, 1);
        let mut sums = RowSums::default();
        for (user, event) in [("v", "b"), ("u", "a"), ("u", "a"), ("v", "b"), ("v", "a")] {
            sums.add(name(user, event), Cow::Borrowed(&call));
        }
        let calls = |sums: RowSums| -> Vec<_> {
            let rows = sums.into_rows().into_iter();
            rows.map(|(name, metrics)| (name, metrics.get(Count::Calls))).collect()
        };
        let of_event = |event| RowName { user: RowValue::Absent, ..name("", event) };
        assert_eq!(calls(sums.within(RowSet::Calls)), [(of_event("b"), 2), (of_event("a"), 3)]);
        assert_eq!(calls(sums), [(name("v", "b"), 2), (name("u", "a"), 2), (name("v", "a"), 1)]);
    }
}

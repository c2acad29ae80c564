//! The rows of one day, row set and stream that are loaded.

use std::collections::HashMap;

use super::metrics::Metrics;
use super::row::{RowName, RowSet};

/// Rows to add to. It must know every row that it may change, and the total number of rows.
#[derive(Clone, Debug)]
pub struct DayRows {
    row_set: RowSet,
    rows: HashMap<RowName, Row>,
    count: usize,
    most: usize,
}

#[derive(Clone, Debug, Default)]
struct Row {
    metrics: Metrics,
    is_changed: bool,
}

impl Row {
    fn add(&mut self, metrics: &Metrics) {
        self.metrics.add(metrics);
        self.is_changed = true;
    }
}

impl DayRows {
    /// `count` is the number of existing rows; `rows` are those that may be changed.
    pub fn new(row_set: RowSet, count: usize, rows: HashMap<RowName, Metrics>) -> Self {
        let rows = rows.into_iter().map(|(name, metrics)| (name, Row { metrics, is_changed: false })).collect();
        Self { row_set, rows, count, most: row_set.most_rows() }
    }

    /// Adds to a row. If the limit on rows is reached, adds to a less exact row: the last tenth is reserved
    /// for rows without labels, and the last row for everything else.
    pub fn add(&mut self, name: &RowName, metrics: &Metrics) {
        if let Some(row) = self.rows.get_mut(name) {
            return row.add(metrics);
        }
        let [plain, rest] = name.less_exact(self.row_set);
        let name = if self.count < self.most - self.most / 10 {
            name.clone()
        } else if self.rows.contains_key(&plain) || self.count < self.most - 1 {
            plain
        } else {
            rest
        };
        let count = &mut self.count;
        let row = self.rows.entry(name).or_insert_with(|| {
            *count += 1;
            Row::default()
        });
        row.add(metrics);
    }

    /// The number of rows that it knows.
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// The rows that changed since the last call, by name.
    pub fn take_changed(&mut self) -> Vec<(RowName, Metrics)> {
        let rows = self.rows.iter_mut();
        let changed = rows
            .filter_map(|(name, row)| std::mem::take(&mut row.is_changed).then(|| (name.clone(), row.metrics.clone())));
        let mut changed: Vec<_> = changed.collect();
        changed.sort_by(|(one, _), (other, _)| one.cmp(other));
        changed
    }

    /// The rows that changed, by name.
    pub fn into_changed(self) -> Vec<(RowName, Metrics)> {
        let changed = self.rows.into_iter().filter(|(_, row)| row.is_changed);
        let mut changed: Vec<_> = changed.map(|(name, row)| (name, row.metrics)).collect();
        changed.sort_by(|(one, _), (other, _)| one.cmp(other));
        changed
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::reporting::rollup::{Count, Labels, OTHER, RowSums, RowValue};

    fn row(event: &str, model: &str) -> RowName {
        let labels = [("model".to_owned(), model.to_owned())].into();
        RowName { event: RowValue::of(Some(event)), labels: Labels::of(labels), ..RowName::default() }
    }

    fn call() -> Metrics {
        let mut metrics = Metrics::default();
        metrics.count(Count::Calls, 1);
        metrics
    }

    proptest! {
        #[test]
        fn entries_that_are_added_up_first_change_the_same_rows(
            entries in prop::collection::vec((0..9_u8, 0..9_u8), 1..80),
        ) {
            let limited = || DayRows { most: 20, ..DayRows::new(RowSet::Calls, 0, HashMap::new()) };
            let (mut one_by_one, mut together, mut sums) = (limited(), limited(), RowSums::default());
            for (event, model) in entries {
                let name = row(&format!("e{event}"), &format!("m{model}"));
                one_by_one.add(&name, &call());
                sums.add(name, Cow::Owned(call()));
            }
            for (name, metrics) in sums.into_rows() {
                together.add(&name, &metrics);
            }
            prop_assert_eq!(together.into_changed(), one_by_one.into_changed());
        }
    }

    #[test]
    fn rows_beyond_the_bound_lose_their_labels_first_and_all_else_last_and_every_call_is_counted() {
        let most = 20;
        let mut day_rows = DayRows { most, ..DayRows::new(RowSet::Calls, 0, HashMap::new()) };
        for number in 0..30 {
            day_rows.add(&row("e", &format!("m{number}")), &call());
        }
        for number in 0..30 {
            day_rows.add(&row(&format!("e{number}"), "m"), &call());
        }
        let rows: HashMap<RowName, Metrics> = day_rows.clone().into_changed().into_iter().collect();
        assert_eq!((rows.len(), day_rows.row_count()), (most, most));
        assert_eq!(rows.values().map(|row| row.get(Count::Calls)).sum::<i128>(), 60);
        let plain = RowName { labels: Labels::Other, event: RowValue::of(Some("e")), ..RowName::default() };
        assert_eq!(rows[&plain].get(Count::Calls), 12);
        let [_, rest] = plain.less_exact(RowSet::Calls);
        assert_eq!((rest.event.as_str(), rows[&rest].get(Count::Calls)), (Some(OTHER), 30));
        // Existing rows are still used.
        let mut day_rows = DayRows { most, ..DayRows::new(RowSet::Calls, rows.len(), rows.clone()) };
        day_rows.add(&row("e", "m3"), &call());
        let changed = day_rows.take_changed();
        assert_eq!((changed.len(), &changed[0].0, changed[0].1.get(Count::Calls)), (1, &row("e", "m3"), 2));
        assert!(day_rows.take_changed().is_empty());
    }
}

//! The rows of one day, cube and stream that are loaded.

use std::collections::{HashMap, HashSet};

use super::metrics::Metrics;
use super::row::{Cube, RowName};

/// Rows to add to. It must know every row that it may change, and the total number of rows.
#[derive(Clone, Debug)]
pub struct Sheet {
    cube: Cube,
    rows: HashMap<RowName, Metrics>,
    count: usize,
    most: usize,
    changed: HashSet<RowName>,
}

impl Sheet {
    /// `count` is the number of existing rows; `rows` are those that may be changed.
    pub fn new(cube: Cube, count: usize, rows: HashMap<RowName, Metrics>) -> Self {
        Self { cube, rows, count, most: cube.most_rows(), changed: HashSet::new() }
    }

    /// Adds to a row. If the limit on rows is reached, adds to a less exact row: the last tenth is reserved for rows
    /// without labels, and the last row for everything else.
    pub fn add(&mut self, name: &RowName, metrics: &Metrics) {
        let [whole, plain, rest] = name.within(self.cube).places(self.cube);
        let has = |name: &RowName| self.rows.contains_key(name);
        let name = if has(&whole) || self.count < self.most - self.most / 10 {
            whole
        } else if has(&plain) || self.count < self.most - 1 {
            plain
        } else {
            rest
        };
        let count = &mut self.count;
        let row = self.rows.entry(name.clone()).or_insert_with(|| {
            *count += 1;
            Metrics::default()
        });
        row.add(metrics);
        self.changed.insert(name);
    }

    pub fn rows(&self) -> &HashMap<RowName, Metrics> {
        &self.rows
    }

    /// The rows that changed since the last call, by name.
    pub fn take_changed(&mut self) -> Vec<(RowName, Metrics)> {
        let mut changed: Vec<RowName> = self.changed.drain().collect();
        changed.sort();
        changed.into_iter().filter_map(|name| self.rows.get(&name).cloned().map(|row| (name, row))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reporting::rollup::{Count, Labels, OTHER, Word};

    fn row(event: &str, model: &str) -> RowName {
        let labels = [("model".to_owned(), model.to_owned())].into();
        RowName { event: Word::of(Some(event)), labels: Labels::Each(labels), ..RowName::default() }
    }

    fn call() -> Metrics {
        let mut metrics = Metrics::default();
        metrics.count(Count::Calls, 1);
        metrics
    }

    #[test]
    fn rows_beyond_the_bound_lose_their_labels_first_and_all_else_last_and_every_call_is_counted() {
        let most = 20;
        let mut sheet = Sheet { most, ..Sheet::new(Cube::Calls, 0, HashMap::new()) };
        for number in 0..30 {
            sheet.add(&row("e", &format!("m{number}")), &call());
        }
        for number in 0..30 {
            sheet.add(&row(&format!("e{number}"), "m"), &call());
        }
        let rows = sheet.rows();
        assert_eq!(rows.len(), most);
        assert_eq!(rows.values().map(|row| row.get(Count::Calls)).sum::<i128>(), 60);
        let plain = RowName { labels: Labels::Other, event: Word::of(Some("e")), ..RowName::default() };
        assert_eq!(rows[&plain].get(Count::Calls), 12);
        let [_, _, rest] = plain.places(Cube::Calls);
        assert_eq!((rest.event.as_str(), rows[&rest].get(Count::Calls)), (Some(OTHER), 30));
        // Existing rows are still used.
        let mut sheet = Sheet { most, ..Sheet::new(Cube::Calls, rows.len(), rows.clone()) };
        sheet.add(&row("e", "m3"), &call());
        let changed = sheet.take_changed();
        assert_eq!((changed.len(), &changed[0].0, changed[0].1.get(Count::Calls)), (1, &row("e", "m3"), 2));
        assert!(sheet.take_changed().is_empty());
    }
}

//! Summing rows into the lines of a report.

use std::collections::BTreeMap;

use super::ratio::quotient;
use super::{By, ReportSpec};
use crate::domain::reporting::rollup::{Count, Fields, Metrics, RowName};
use crate::domain::time::day::Day;
use crate::domain::values::ids::GroupId;
use rust_decimal::Decimal;

/// The maximum number of lines in a report.
const MOST_LINES: usize = 50_000;

/// The report exceeds the maximum number of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must give at most 50,000 lines; choose fewer days, a longer period, or fewer names in `by`")]
pub struct TooManyLines;

/// The position of a line in a report: by time, then by its values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineName {
    /// First day of its period.
    pub start: Day,
    pub end: Day,
    /// In the order of `by`; None for rows without the value.
    pub values: Vec<Option<String>>,
}

/// A line's sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub metrics: Metrics,
    /// Both operands of each ratio, in the same steps.
    sides: Vec<(i128, i128)>,
}

impl Line {
    /// One per requested ratio; None if the second operand is 0.
    pub fn ratios(&self) -> impl Iterator<Item = Option<Decimal>> {
        self.sides.iter().map(|(above, below)| quotient(*above, *below))
    }

    /// Cents per accepted result; None without an accepted result.
    pub fn cost_per_accepted(&self) -> Option<Decimal> {
        let accepted = self.metrics.get(Count::Accepted);
        let steps = 10_i128.pow(crate::domain::reporting::rollup::COST_DECIMALS);
        (accepted > 0).then(|| quotient(self.metrics.cost, accepted.saturating_mul(steps))).flatten()
    }

    /// The share of calls that were retries; None without calls.
    pub fn retry_share(&self) -> Option<Decimal> {
        let calls = self.metrics.get(Count::Calls);
        (calls > 0).then(|| quotient(self.metrics.get(Count::Retries), calls)).flatten()
    }
}

/// A report while rows are added.
#[derive(Debug)]
pub struct Lines<'a> {
    asked: &'a ReportSpec,
    fields: &'a Fields,
    lines: BTreeMap<LineName, Line>,
}

impl<'a> Lines<'a> {
    pub fn new(asked: &'a ReportSpec, fields: &'a Fields) -> Self {
        Self { asked, fields, lines: BTreeMap::new() }
    }

    /// Adds a row of a day.
    ///
    /// # Errors
    /// [`TooManyLines`]
    pub fn add(&mut self, day: Day, row: &RowName, metrics: &Metrics) -> Result<(), TooManyLines> {
        if !self.asked.filter.lets_through(row) {
            return Ok(());
        }
        if !self.asked.is_of_groups() {
            return self.add_to(day, row, None, metrics);
        }
        let wanted = self.asked.filter.group.as_ref();
        for group in metrics.groups.ids().filter(|group| wanted.is_none_or(|wanted| wanted == *group)) {
            if let Some(metrics) = metrics.of_group(group) {
                self.add_to(day, row, Some(group), &metrics)?;
            }
        }
        Ok(())
    }

    fn add_to(
        &mut self,
        day: Day,
        row: &RowName,
        group: Option<&GroupId>,
        metrics: &Metrics,
    ) -> Result<(), TooManyLines> {
        let (start, end) = self.asked.step.around(day, self.asked.from, self.asked.to);
        let value = |by: &By| match by {
            By::Group => group.map(ToString::to_string),
            _ => by.value(row).map(str::to_owned),
        };
        let name = LineName { start, end, values: self.asked.by.iter().map(value).collect() };
        if self.lines.len() >= MOST_LINES && !self.lines.contains_key(&name) {
            return Err(TooManyLines);
        }
        let line = self.lines.entry(name).or_default();
        line.metrics.add(metrics);
        line.sides.resize(self.asked.ratios.len(), (0, 0));
        for (ratio, sides) in self.asked.ratios.iter().zip(&mut line.sides) {
            sides.0 = sides.0.saturating_add(ratio.above.of(row, metrics, self.fields));
            sides.1 = sides.1.saturating_add(ratio.below.of(row, metrics, self.fields));
        }
        Ok(())
    }

    /// The lines in order. Without `by` and with one period for all days there is always one line.
    pub fn finish(mut self) -> BTreeMap<LineName, Line> {
        if self.asked.by.is_empty() && self.asked.step == super::Step::Total && self.lines.is_empty() {
            let name = LineName { start: self.asked.from, end: self.asked.to, values: Vec::new() };
            let sides = vec![(0, 0); self.asked.ratios.len()];
            self.lines.insert(name, Line { sides, ..Line::default() });
        }
        self.lines
    }
}

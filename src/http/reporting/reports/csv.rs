//! Reports as CSV (RFC 4180): a header, then one record per line. A text that a spreadsheet could interpret as a
//! formula gets a leading `'`.

use std::collections::BTreeSet;

use crate::domain::reporting::report::{By, Line};
use crate::domain::reporting::rollup::{COST_DECIMALS, Count, DECIMALS, GroupSums, number};
use crate::domain::values::ids::GroupId;
use crate::service::error::ServiceError;
use crate::service::reporting::reports::Report;

/// Columns of every line.
const COMMON: [Count; 3] = [Count::Calls, Count::Denials, Count::Observed];

/// Columns in addition to calls, denials and observed, for lines that are not limited to one group.
const COUNTS: [Count; 9] = [
    Count::Draws,
    Count::Released,
    Count::Expiries,
    Count::Late,
    Count::Degraded,
    Count::Refunds,
    Count::Accepted,
    Count::Rejected,
    Count::Retries,
];

/// A sum of a group.
type OfGroup = fn(&GroupSums) -> i128;

/// What became of credits: columns of balances, if there is anything in them.
const CREDITS: [(&str, OfGroup); 3] =
    [("credited", |sums| sums.credited), ("lapsed", |sums| sums.lapsed), ("voided", |sums| sums.voided)];

/// The whole report.
///
/// # Errors
/// None in practice, since it writes to memory.
pub fn text(report: &Report) -> Result<String, ServiceError> {
    let fault = |error: &dyn std::fmt::Display| ServiceError::Internal(format!("CSV: {error}"));
    let columns = Columns::of(report);
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(columns.header(report)).map_err(|error| fault(&error))?;
    for (name, line) in &report.lines {
        let mut record = vec![name.start.to_string(), name.end.to_string()];
        record.extend(name.values.iter().map(|value| harmless(value.as_deref().unwrap_or_default())));
        record.extend(columns.cells(report, line));
        writer.write_record(record).map_err(|error| fault(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| fault(&error))?;
    String::from_utf8(bytes).map_err(|error| fault(&error))
}

/// Prevents spreadsheets from reading the text as a formula.
fn harmless(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula { format!("'{text}") } else { text.to_owned() }
}

/// Columns that depend on the report.
struct Columns {
    /// With `by=group`, one pair of columns holds the charge of the line's group; otherwise each group has a column.
    by_group: bool,
    groups: BTreeSet<GroupId>,
    /// The balances with credits that were added, lapsed or were voided.
    balances: BTreeSet<GroupId>,
    figures: BTreeSet<String>,
    of_groups: bool,
}

impl Columns {
    fn of(report: &Report) -> Self {
        let by_group = report.asked.by.contains(&By::Group);
        let of_groups = report.asked.is_of_groups();
        let metrics = || report.lines.iter().map(|(_, line)| &line.metrics);
        let known = |group: &&GroupId| report.fields.units.contains_key(*group);
        let groups = metrics().flat_map(|metrics| metrics.groups.ids()).filter(|_| !by_group).filter(known);
        let has_credits = |(_, sums): &(&GroupId, &GroupSums)| CREDITS.iter().any(|(_, of)| of(sums) != 0);
        let balances = metrics().flat_map(|metrics| metrics.groups.iter()).filter(has_credits).map(|(group, _)| group);
        Self {
            by_group,
            groups: groups.cloned().collect(),
            balances: balances.filter(known).cloned().collect(),
            figures: metrics().flat_map(|metrics| metrics.figures.keys()).cloned().collect(),
            of_groups,
        }
    }

    fn header(&self, report: &Report) -> Vec<String> {
        let mut header = vec!["start".to_owned(), "end".to_owned()];
        header.extend(report.asked.by.iter().map(|by| harmless(&by.name())));
        header.extend(COMMON.map(|count| count.as_str().to_owned()));
        if self.by_group {
            header.extend(["charged", "unit"].map(str::to_owned));
        }
        header.extend(self.groups.iter().map(|group| format!("charged.{group}")));
        for (name, _) in CREDITS {
            match self.by_group {
                true => header.extend((!self.balances.is_empty()).then(|| name.to_owned())),
                false => header.extend(self.balances.iter().map(|group| format!("{name}.{group}"))),
            }
        }
        if !self.of_groups {
            header.extend(COUNTS.map(|count| count.as_str().to_owned()));
            header.extend(["quantity", "cost", "costPerAccepted", "retryShare"].map(str::to_owned));
            header.extend(self.figures.iter().map(|name| format!("figures.{name}")));
        }
        header.extend(report.asked.ratios.iter().map(|ratio| harmless(ratio.text())));
        header
    }

    fn cells(&self, report: &Report, line: &Line) -> Vec<String> {
        let metrics = &line.metrics;
        let mut cells = COMMON.map(|count| metrics.get(count).to_string()).to_vec();
        let unit = |group: &GroupId| report.fields.units.get(group).copied();
        let cell = |group: &GroupId, of: OfGroup| {
            let sum = metrics.groups.get(group).map_or(0, of);
            unit(group).map_or_else(String::new, |unit| number(sum, unit.decimals()).to_string())
        };
        let charged: OfGroup = |sums| sums.charged;
        let own = metrics.groups.ids().next();
        if self.by_group {
            cells.push(own.map_or_else(String::new, |group| cell(group, charged)));
            cells.push(own.and_then(unit).map_or_else(String::new, |unit| unit.to_string()));
        }
        cells.extend(self.groups.iter().map(|group| cell(group, charged)));
        for (_, of) in CREDITS {
            match self.by_group {
                true if self.balances.is_empty() => {}
                true => cells.push(own.map_or_else(String::new, |group| cell(group, of))),
                false => cells.extend(self.balances.iter().map(|group| cell(group, of))),
            }
        }
        let text = |value: Option<rust_decimal::Decimal>| value.map_or_else(String::new, |value| value.to_string());
        if !self.of_groups {
            cells.extend(COUNTS.map(|count| metrics.get(count).to_string()));
            cells.push(number(metrics.quantity, DECIMALS).to_string());
            cells.push(number(metrics.cost, COST_DECIMALS).to_string());
            cells.push(text(line.cost_per_accepted()));
            cells.push(text(line.retry_share()));
            let figure = |name: &String| metrics.figures.get(name).copied().unwrap_or(0);
            cells.extend(self.figures.iter().map(|name| number(figure(name), DECIMALS).to_string()));
        }
        cells.extend(line.ratios().map(text));
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn what_a_spreadsheet_would_compute_becomes_text() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(harmless(formula), format!("'{formula}"));
        }
        for text in ["", "gpt-4", "a=b", "'x"] {
            assert_eq!(harmless(text), text);
        }
    }
}

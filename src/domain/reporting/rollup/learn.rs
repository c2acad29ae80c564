//! Which figures of an entry estimates are learned from.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::fold::Fields;
use super::metrics::Metrics;
use super::row::{Labels, RowName, RowValue};
use crate::domain::metering::fit::Fitted;
use crate::domain::metering::reservation::{Actual, Item};
use crate::domain::reporting::ledger::{Entry, EntryKind};
use crate::domain::values::amount::parse_decimal;
use crate::domain::values::glob;
use crate::domain::values::metadata::Metadata;

/// The row of an event and of these metadata fields. The metadata is that of the request, since nothing else is known
/// when an estimate is needed.
pub fn learned_row(event: &str, by: &[String], metadata: &Metadata) -> RowName {
    let value = |name: &String| metadata.get(name).unwrap_or_default().to_owned();
    let labels = by.iter().map(|name| (name.clone(), value(name))).collect();
    RowName { event: RowValue::of(Some(event)), labels: Labels::of(labels), ..RowName::default() }
}

/// The figures of a final commit or of a tracked event, row by row. Each call counts once per field and `by`, whatever
/// the number of groups.
pub fn learn(entry: &Entry, fields: &Fields) -> Vec<(RowName, Metrics)> {
    let items: &[Item] = match (entry.kind, &entry.snapshot) {
        // What was allowed while Redis was unavailable is counted as it was requested.
        _ if entry.details.degraded => &[],
        (EntryKind::Commit | EntryKind::Track, Some(snapshot)) => &snapshot.items,
        _ => &[],
    };
    let fitted = entry.snapshot.as_ref().and_then(|snapshot| snapshot.fitted.as_ref());
    let mut rows: BTreeMap<RowName, Metrics> = BTreeMap::new();
    for (place, item) in items.iter().enumerate() {
        let event = item.event.as_str();
        let mut counted = BTreeSet::new();
        for figure in fields.learned.iter().filter(|figure| glob::matches(&figure.event, event)) {
            let (field, by) = (&figure.field, &figure.estimate.by);
            let value = committed(entry.kind, item, entry.details.actual.get(place), field);
            let Some(value) = value.filter(|_| counted.insert((field, by))) else { continue };
            let is_fitted = |fitted: &&Fitted| fitted.item == place && fitted.field == *field;
            let value = fitted.filter(is_fitted).map_or(value, |fitted| beyond_fit(value, fitted));
            let row = rows.entry(learned_row(event, by, &item.metadata)).or_default();
            let sums = row.learned.entry(field.clone()).or_default();
            sums.sketch.add(value);
            if let Some(estimate) = item.estimated.get(field) {
                sums.compared += 1;
                sums.exceeded += u64::from(value > estimate);
            }
        }
    }
    rows.into_iter().collect()
}

/// The figure that the call brought at its end; None if it brought none. Draws bring it in parts.
fn committed(kind: EntryKind, item: &Item, actual: Option<&Actual>, field: &str) -> Option<Decimal> {
    if kind == EntryKind::Track {
        return parse_decimal(item.metadata.get(field)?).ok();
    }
    let actual = actual.filter(|actual| !actual.is_empty())?;
    match &item.drawn {
        Some(drawn) => drawn.fields.get(field).map(|sum| sum.0),
        None => parse_decimal(actual.metadata.get(field)?).ok(),
    }
}

/// A figure that reaches the value that `fit` gave it was probably cut there, so it is counted as one eighth larger.
/// Otherwise estimates that are used with `fit` could only fall.
fn beyond_fit(value: Decimal, fitted: &Fitted) -> Decimal {
    if value < Decimal::from(fitted.value) {
        return value;
    }
    value.checked_add(value / Decimal::from(8)).unwrap_or(value)
}

#[cfg(test)]
mod tests;

//! Which rows an entry changes, and by how much.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rust_decimal::Decimal;

use super::metrics::{Count, DECIMALS, Metrics};
use super::row::{Labels, RowName, RowValue};
use crate::domain::configuration::estimate::LearnedFigure;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::reporting::ledger::{Entry, EntryItem, EntryKind, Outcome};
use crate::domain::values::amount::{Unit, parse_decimal};
use crate::domain::values::ids::{EventName, GroupId, KeyId, UserId};
use crate::domain::values::metadata::Metadata;

/// Which metadata fields become labels and figures, and the units of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Names of metadata fields that separate rows.
    pub labels: BTreeSet<String>,
    /// Names of metadata fields that are summed.
    pub figures: BTreeSet<String>,
    /// In a tree, since an app has few groups and each charge is looked up.
    pub units: BTreeMap<GroupId, Unit>,
    /// The figures from which estimates are learned.
    pub learned: Arc<[LearnedFigure]>,
}

impl Fields {
    /// Labels that every app has.
    pub const LABELS: [&str; 10] =
        ["model", "provider", "team", "workflow", "environment", "action", "attempt", "fallback", "quality", "cache"];
    /// Figures that every app has.
    pub const FIGURES: [&str; 4] = ["prompt_tokens", "completion_tokens", "cached_tokens", "latency_ms"];

    fn labels_of(&self, metadata: &Metadata) -> Labels {
        let labels = metadata.iter().filter(|(name, value)| !value.is_empty() && self.labels.contains(*name));
        Labels::of(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// The cost of an entry in steps of cents (10^-6): the largest sum of a counter with the unit cents, since several
/// groups may count the same money. A counter has a charge for each window and credit.
pub fn cost(entry: &Entry, units: &BTreeMap<GroupId, Unit>) -> i64 {
    let mut sums: Vec<((&OwnerName, &GroupId), i64)> = Vec::new();
    for charge in entry.charges.iter().filter(|charge| units.get(&charge.group) == Some(&Unit::Cents)) {
        // What a balance took over belongs to the group whose quota was exceeded.
        let counter = (&charge.owner, charge.from.as_ref().unwrap_or(&charge.group));
        match sums.iter_mut().find(|(known, _)| *known == counter) {
            Some((_, sum)) => *sum = sum.saturating_add(charge.change),
            None => sums.push((counter, charge.change)),
        }
    }
    sums.into_iter().map(|(_, sum)| sum).max_by_key(|sum| sum.unsigned_abs()).unwrap_or(0)
}

/// Folds one entry after another.
#[derive(Clone, Debug)]
pub struct Folding<'a> {
    fields: &'a Fields,
    /// The app has groups of cents.
    counts_cents: bool,
    /// The metadata of the row that was named last, and its labels: often the next entry has the same.
    last: Option<(Metadata, Labels)>,
}

impl<'a> Folding<'a> {
    /// Of entries with these fields.
    pub fn new(fields: &'a Fields) -> Self {
        Self { fields, counts_cents: fields.units.values().any(|unit| *unit == Unit::Cents), last: None }
    }

    /// Calls `add` with the changes of an entry, row by row. A call of several items counts in the row of its first
    /// item, with all its charges; quantity and figures of each item are in the item's own row. Resets and rollovers
    /// count as nothing.
    pub fn each_row(&mut self, entry: &Entry, mut add: impl FnMut(RowName, Metrics)) {
        if matches!(entry.kind, EntryKind::Reset | EntryKind::Rollover) {
            return;
        }
        if entry.kind.is_of_credits() {
            return add(self.row(entry, None, &Metadata::default()), credits(entry));
        }
        let mut entry_items = entry.entry_items();
        let Some(first) = entry_items.next() else {
            let name = self.row(entry, entry.event.as_ref(), &Metadata::default());
            return add(name, self.whole(entry, None));
        };
        let mut metrics = self.whole(entry, Some(&first.metadata));
        item(entry, &first, self.fields, &mut metrics);
        add(self.row(entry, Some(&first.event), &first.metadata), metrics);
        for other in entry_items {
            let mut metrics = Metrics::default();
            item(entry, &other, self.fields, &mut metrics);
            if metrics != Metrics::default() {
                add(self.row(entry, Some(&other.event), &other.metadata), metrics);
            }
        }
    }

    /// The change by the entry as a whole.
    fn whole(&self, entry: &Entry, metadata: Option<&Metadata>) -> Metrics {
        let mut metrics = without_cost(entry, metadata);
        if self.counts_cents {
            metrics.cost = i128::from(cost(entry, &self.fields.units));
        }
        metrics
    }

    fn row(&mut self, entry: &Entry, event: Option<&EventName>, metadata: &Metadata) -> RowName {
        // Refunds are counted in the row of the refunded event.
        let event = event.map(|event| event.refunds().unwrap_or_else(|| event.clone()));
        let labels = match &self.last {
            Some((known, labels)) if known == metadata => labels.clone(),
            _ => {
                let labels = self.fields.labels_of(metadata);
                self.last = Some((metadata.clone(), labels.clone()));
                labels
            }
        };
        RowName {
            user: RowValue::of(entry.user.as_ref().map(UserId::shared)),
            event: RowValue::of(event.as_ref().map(EventName::shared)),
            key: RowValue::of(entry.key.as_ref().map(KeyId::shared)),
            labels,
        }
    }
}

/// The change by an entry about credits.
fn credits(entry: &Entry) -> Metrics {
    let mut metrics = Metrics::default();
    for charge in &entry.charges {
        let sums = metrics.groups.of(&charge.group);
        let sum = match entry.kind {
            EntryKind::Credit => &mut sums.credited,
            EntryKind::Lapse => &mut sums.lapsed,
            _ => &mut sums.voided,
        };
        *sum = sum.saturating_add(i128::from(charge.change));
    }
    metrics
}

/// The change by an entry as a whole, without its cost.
fn without_cost(entry: &Entry, metadata: Option<&Metadata>) -> Metrics {
    let mut metrics = Metrics::default();
    let counted = match entry.kind {
        EntryKind::Commit | EntryKind::Track => Some(Count::Calls),
        EntryKind::Draw => Some(Count::Draws),
        EntryKind::Release => Some(Count::Released),
        EntryKind::Refund => Some(Count::Refunds),
        EntryKind::Expire => Some(Count::Expiries),
        EntryKind::Denial if entry.observed => Some(Count::Observed),
        EntryKind::Denial => Some(Count::Denials),
        EntryKind::Outcome
        | EntryKind::Reset
        | EntryKind::Rollover
        | EntryKind::Credit
        | EntryKind::Lapse
        | EntryKind::Void => None,
    };
    if let Some(count) = counted {
        metrics.count(count, 1);
    }
    let is_call = counted == Some(Count::Calls);
    if is_call && entry.late {
        metrics.count(Count::Late, 1);
    }
    if is_call && entry.details.degraded {
        metrics.count(Count::Degraded, 1);
    }
    if is_call && metadata.is_some_and(is_retry) {
        metrics.count(Count::Retries, 1);
    }
    for (outcome, by) in [(entry.details.outcome, 1), (entry.details.before, -1)] {
        match outcome {
            Some(Outcome::Accepted) => metrics.count(Count::Accepted, by),
            Some(Outcome::Rejected) => metrics.count(Count::Rejected, by),
            None => {}
        }
    }
    if let Some(reason) = entry.reason.filter(|_| counted == Some(Count::Denials)) {
        metrics.reasons.insert(reason, 1);
    }
    for charge in &entry.charges {
        let group = metrics.groups.of(&charge.group);
        group.charged = group.charged.saturating_add(i128::from(charge.change));
        // A call that counts for several owners of a group is one call of the group.
        group.calls = i64::from(is_call);
    }
    for counter in entry.denying.iter().filter(|_| entry.kind == EntryKind::Denial) {
        let group = metrics.groups.of(&counter.group);
        match counter.observed {
            true => group.observed = 1,
            false => group.denials = 1,
        }
    }
    metrics.groups.remove_zeros();
    metrics
}

/// The change by one item, if something was used or refunded.
fn item(entry: &Entry, entry_items: &EntryItem, fields: &Fields, metrics: &mut Metrics) {
    let sign = match entry.kind {
        EntryKind::Commit | EntryKind::Draw | EntryKind::Track => 1,
        EntryKind::Refund => -1,
        EntryKind::Release
        | EntryKind::Reset
        | EntryKind::Rollover
        | EntryKind::Expire
        | EntryKind::Outcome
        | EntryKind::Credit
        | EntryKind::Lapse
        | EntryKind::Void
        | EntryKind::Denial => return,
    };
    metrics.quantity = entry_items.quantity.and_then(scaled).map_or(0, |quantity| sign * quantity);
    for (name, text) in entry_items.figures.iter().filter(|(name, _)| fields.figures.contains(*name)) {
        let figure = parse_decimal(text).ok().and_then(scaled).filter(|figure| *figure != 0);
        if let Some(figure) = figure {
            metrics.figures.insert(name.to_owned(), sign * figure);
        }
    }
}

/// Larger numbers are not summed: 10^18.
const MOST: i128 = 10_i128.pow(18 + DECIMALS);

/// In steps of 10^-12; None if it is finer or above [`MOST`].
fn scaled(value: Decimal) -> Option<i128> {
    let factor = 10_i64.pow(DECIMALS.checked_sub(value.scale())?);
    value.mantissa().checked_mul(factor.into()).filter(|value| value.abs() <= MOST)
}

fn is_retry(metadata: &Metadata) -> bool {
    let is_retry = |attempt| attempt == "retry" || parse_decimal(attempt).is_ok_and(|number| number > Decimal::ONE);
    metadata.get("attempt").is_some_and(is_retry)
}

#[cfg(test)]
mod tests;

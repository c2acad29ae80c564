//! `GET estimates`: what was learned from the figures of the last seven days.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;

use super::retention::LEARNED_DAYS;
use crate::domain::configuration::estimate::LearnedEstimate;
use crate::domain::reporting::rollup::{Metrics, RowName, RowSet};
use crate::domain::values::glob;
use crate::infra::supervise::Pulse;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::metering::known_estimates::{is_of, learned_quantile};
use crate::service::tenant::Tenant;
use crate::store::reporting::stream::{Place, Stream};

/// The maximum number of rows of a mode with values of `by`; figures of further ones are added to the rows of their
/// events.
const MOST_ROWS: usize = 5_000;
/// The maximum number of all rows; nothing is learned from figures of further events.
const MOST_WITH_EVENTS: usize = MOST_ROWS + 1_000;

/// A learned estimate for one event and one combination of metadata values.
#[derive(Clone, Debug)]
pub struct LearnedLine {
    /// Event and metadata values.
    pub row: RowName,
    pub field: String,
    pub estimate: LearnedEstimate,
    /// None if there are too few figures.
    pub quantile: Option<Decimal>,
    /// The number of figures.
    pub figures: u64,
    /// How many of them were held with a learned estimate.
    pub compared: u64,
    /// How many of those exceeded it.
    pub exceeded: u64,
}

impl Gateway {
    /// All learned estimates, optionally only of events that match this pattern, sorted by event, field and metadata
    /// values.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn estimates(&self, tenant: &Tenant, event: Option<&str>) -> Result<Vec<LearnedLine>, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        if config.learned.is_empty() {
            return Ok(Vec::new());
        }
        self.fold_all(tenant, tenant.buckets()).await?;
        let mut lines: Vec<LearnedLine> = Vec::new();
        for (row, metrics) in self.estimate_rows(tenant, &Pulse::unobserved()).await? {
            let matches = |event| row.event.as_str().is_some_and(|name| glob::matches(event, name));
            let is_wanted = event.is_none_or(matches);
            let mut seen = Vec::new();
            for figure in config.learned.iter().filter(|figure| is_wanted && is_of(&row, figure)) {
                let name = (&figure.field, &figure.estimate);
                let Some(sums) = metrics.learned.get(&figure.field).filter(|_| !seen.contains(&name)) else { continue };
                seen.push(name);
                lines.push(LearnedLine {
                    row: row.clone(),
                    field: figure.field.clone(),
                    estimate: figure.estimate.clone(),
                    quantile: learned_quantile(sums, figure.estimate.quantile),
                    figures: sums.sketch.count(),
                    compared: sums.compared,
                    exceeded: sums.exceeded,
                });
            }
        }
        lines.sort_by(|one, other| {
            let key = |line: &LearnedLine| (line.estimate.quantile, line.estimate.start, line.estimate.max);
            let names = one.row.event.cmp(&other.row.event).then_with(|| one.field.cmp(&other.field));
            names.then_with(|| one.row.labels.cmp(&other.row.labels)).then_with(|| key(one).cmp(&key(other)))
        });
        Ok(lines)
    }

    /// The rows of the last seven days, by the clock of the mode, added up.
    pub(in crate::service) async fn estimate_rows(
        &self,
        tenant: &Tenant,
        pulse: &Pulse,
    ) -> Result<HashMap<RowName, Metrics>, ServiceError> {
        let today = self.today(tenant).await?;
        let mut rows: HashMap<RowName, Metrics> = HashMap::new();
        for bucket in tenant.buckets() {
            for age in 0..i64::from(LEARNED_DAYS) {
                pulse.beat().await;
                let place = Place { row_set: RowSet::Estimates, stream: Stream::Ledger, day: today.plus(-age) };
                add_rows(&mut rows, self.store.read_rollup(&bucket, place, None).await?);
            }
        }
        Ok(rows)
    }
}

/// Adds rows in the order of their names, so that all nodes learn the same combinations separately.
fn add_rows(rows: &mut HashMap<RowName, Metrics>, more: HashMap<RowName, Metrics>) {
    let sorted: BTreeMap<RowName, Metrics> = more.into_iter().collect();
    for (name, metrics) in sorted {
        add_row(rows, name, &metrics);
    }
}

/// Adds to a row, or to that of its event if there are too many.
fn add_row(rows: &mut HashMap<RowName, Metrics>, name: RowName, metrics: &Metrics) {
    let has_place = rows.len() < MOST_ROWS || rows.contains_key(&name);
    let [of_event, _] = name.less_exact(RowSet::Estimates);
    let name = if has_place { name } else { of_event };
    if rows.len() < MOST_WITH_EVENTS || rows.contains_key(&name) {
        rows.entry(name).or_default().add(metrics);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::reporting::rollup::{Count, learned_row};
    use crate::domain::values::metadata::Metadata;

    fn row(event: &str, model: usize) -> RowName {
        let metadata: Metadata = serde_json::from_value(serde_json::json!({"model": model})).unwrap();
        learned_row(event, &["model".to_owned()], &metadata)
    }

    #[test]
    fn the_same_rows_keep_a_place_whatever_the_order_in_which_they_were_read() {
        let read =
            || (0..MOST_ROWS + 20).map(|model| (row("llm.chat", model), Metrics::default())).collect::<HashMap<_, _>>();
        let kept = || {
            let mut rows = HashMap::new();
            // Each map has another order.
            add_rows(&mut rows, read());
            rows.into_keys().collect::<BTreeSet<_>>()
        };
        let first = kept();
        assert_eq!(first.len(), MOST_ROWS + 1);
        assert_eq!(kept(), first);
    }

    #[test]
    fn rows_beyond_the_limit_are_added_to_those_of_their_events_and_these_are_limited_too() {
        let mut call = Metrics::default();
        call.count(Count::Calls, 1);
        let mut rows = HashMap::new();
        for model in 0..MOST_ROWS + 20 {
            add_row(&mut rows, row("llm.chat", model), &call);
        }
        let [of_event, _] = row("llm.chat", 0).less_exact(RowSet::Estimates);
        assert_eq!((rows.len(), rows[&of_event].get(Count::Calls)), (MOST_ROWS + 1, 20));
        for event in 0..2 * MOST_ROWS {
            add_row(&mut rows, row(&format!("llm.{event}"), 0), &call);
        }
        assert_eq!(rows.len(), MOST_WITH_EVENTS);
        add_row(&mut rows, row("llm.chat", 0), &call);
        assert_eq!(rows[&row("llm.chat", 0)].get(Count::Calls), 2, "a known row still grows");
    }
}

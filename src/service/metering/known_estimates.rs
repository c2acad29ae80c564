//! Learned estimates as a node knows them: a map for each mode in use. Nothing that is more than a minute old is used;
//! without it, estimates are what they start with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rust_decimal::Decimal;
use tokio::sync::Notify;

use crate::domain::configuration::estimate::{LearnedEstimate, LearnedFigure};
use crate::domain::reporting::rollup::{FigureSums, Labels, Metrics, RowName, RowSet, RowValue};
use crate::domain::values::glob;
use crate::domain::values::ids::{AppId, Mode};
use crate::service::configuration::app_config::AppConfig;
use crate::service::tenant::Tenant;

/// With fewer figures, an estimate is what it starts with.
pub const LEAST_FIGURES: u64 = 100;
/// How often the rows of a mode are read. They lag behind by a few seconds, and a view of a minute must include that.
const REFRESH: Duration = Duration::from_secs(30);
/// How long a view is used.
const MOST_AGE: Duration = Duration::from_secs(45);
/// A mode without calls for this long is no longer read.
const UNUSED: Duration = Duration::from_secs(10 * 60);

/// The quantile of a figure; None if there are too few figures.
pub(in crate::service) fn learned_quantile(sums: &FigureSums, share: Decimal) -> Option<Decimal> {
    if sums.sketch.count() < LEAST_FIGURES { None } else { sums.sketch.quantile(share) }
}

/// Whether a row has figures that this estimate is learned from.
pub(in crate::service) fn is_of(row: &RowName, figure: &LearnedFigure) -> bool {
    let by = match &row.labels {
        Labels::Each(labels) => labels.keys().eq(&figure.estimate.by),
        // Without `by`, an event has one row only.
        Labels::Other => !figure.estimate.by.is_empty(),
    };
    // No call uses the row of all events that came after the limit on rows was reached.
    let RowValue::Is(event) = &row.event else { return false };
    by && glob::matches(&figure.event, event)
}

/// One estimate of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct QuantileName {
    row: RowName,
    field: String,
    quantile: Decimal,
}

/// The estimates of a mode as they were at some time.
#[derive(Debug)]
pub(crate) struct KnownEstimates {
    began: Instant,
    /// Revision of the configuration.
    revision: u64,
    /// None for too few figures.
    quantiles: HashMap<QuantileName, Option<Decimal>>,
}

impl KnownEstimates {
    pub(super) fn new(began: Instant, config: &AppConfig, rows: &HashMap<RowName, Metrics>) -> Self {
        let mut quantiles = HashMap::new();
        for (row, metrics) in rows {
            for figure in config.learned.iter().filter(|figure| is_of(row, figure)) {
                let (field, quantile) = (figure.field.clone(), figure.estimate.quantile);
                if let Some(sums) = metrics.learned.get(&field) {
                    let name = QuantileName { row: row.clone(), field, quantile };
                    quantiles.insert(name, learned_quantile(sums, quantile));
                }
            }
        }
        Self { began, revision: config.revision, quantiles }
    }

    /// The quantile for an event. A combination of values beyond the limit on rows has that of all such combinations.
    pub(super) fn quantile(&self, estimate: &LearnedEstimate, field: &str, row: RowName) -> Option<Decimal> {
        let name = QuantileName { row, field: field.to_owned(), quantile: estimate.quantile };
        if let Some(known) = self.quantiles.get(&name) {
            return *known;
        }
        let [row, _] = name.row.less_exact(RowSet::Estimates);
        self.quantiles.get(&QuantileName { row, ..name }).copied().flatten()
    }
}

/// A mode with calls that need estimates.
struct UsedMode {
    tenant: Tenant,
    used: Instant,
    revision: u64,
    known: Option<Arc<KnownEstimates>>,
}

impl UsedMode {
    fn is_due(&self) -> bool {
        let is_fresh = |known: &KnownEstimates| known.began.elapsed() < REFRESH && known.revision == self.revision;
        !self.known.as_deref().is_some_and(is_fresh)
    }
}

/// The estimates of the modes that this node has calls of.
#[derive(Default)]
pub struct Estimates {
    modes: Mutex<HashMap<(AppId, Mode), UsedMode>>,
    /// A mode is used that was not read yet.
    pub(super) wanted: Notify,
}

impl Estimates {
    fn modes(&self) -> MutexGuard<'_, HashMap<(AppId, Mode), UsedMode>> {
        self.modes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The estimates of a mode, if they are recent.
    pub(super) fn recent(&self, tenant: &Tenant, revision: u64) -> Option<Arc<KnownEstimates>> {
        let now = Instant::now();
        let mode = (tenant.app.clone(), tenant.mode.clone());
        let known = {
            let mut modes = self.modes();
            let known = modes.entry(mode);
            let used = known.or_insert_with(|| UsedMode { tenant: tenant.clone(), used: now, revision, known: None });
            (used.used, used.revision) = (now, revision);
            used.known.clone()
        };
        if known.is_none() {
            self.wanted.notify_one();
        }
        known.filter(|known| known.began.elapsed() < MOST_AGE)
    }

    /// The modes to read now.
    pub(super) fn due(&self) -> Vec<Tenant> {
        let mut modes = self.modes();
        modes.retain(|_, used| used.used.elapsed() < UNUSED);
        modes.values().filter(|used| used.is_due()).map(|used| used.tenant.clone()).collect()
    }

    pub(super) fn put(&self, tenant: &Tenant, known: KnownEstimates) {
        if let Some(used) = self.modes().get_mut(&(tenant.app.clone(), tenant.mode.clone())) {
            used.known = Some(Arc::new(known));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::reporting::rollup::learned_row;
    use crate::domain::values::metadata::Metadata;

    fn figure(by: &[&str]) -> LearnedFigure {
        let estimate = LearnedEstimate {
            quantile: Decimal::new(5, 1),
            by: by.iter().map(|name| (*name).to_owned()).collect(),
            start: Decimal::TEN,
            max: None,
        };
        LearnedFigure { event: "llm.*".to_owned(), field: "tokens".to_owned(), estimate }
    }

    fn metrics(figures: u64, value: i64) -> Metrics {
        let mut sums = FigureSums::default();
        for _ in 0..figures {
            sums.sketch.add(Decimal::from(value));
        }
        Metrics { learned: [("tokens".to_owned(), sums)].into(), ..Metrics::default() }
    }

    #[test]
    fn an_event_has_the_quantile_of_its_values_and_a_value_without_a_row_that_of_the_rest() {
        let of_model = figure(&["model"]);
        let row = |metadata: Value| {
            let metadata: Metadata = serde_json::from_value(metadata).unwrap();
            learned_row("llm.chat", &of_model.estimate.by, &metadata)
        };
        let config = AppConfig { learned: [of_model.clone(), figure(&[])].into(), ..AppConfig::default() };
        let [rest, _] = row(json!({"model": "x"})).less_exact(RowSet::Estimates);
        let mut rows = HashMap::from([
            (row(json!({"model": "large"})), metrics(100, 70)),
            (row(json!({"model": "new"})), metrics(99, 60)),
            (learned_row("llm.chat", &[], &Metadata::default()), metrics(100, 50)),
            (learned_row("image.render", &[], &Metadata::default()), metrics(100, 40)),
        ]);
        let of = |known: &KnownEstimates, metadata: Value| {
            known.quantile(&of_model.estimate, "tokens", row(metadata)).map(|value| value.to_string())
        };
        let known = KnownEstimates::new(Instant::now(), &config, &rows);
        assert_eq!(of(&known, json!({"model": "large", "team": "red"})).as_deref(), Some("70"));
        assert_eq!(of(&known, json!({"model": "new"})), None, "too few figures");
        assert_eq!(of(&known, json!({"model": "small"})), None);
        assert_eq!(of(&known, json!({})), None);
        let all = known.quantile(&figure(&[]).estimate, "tokens", learned_row("llm.chat", &[], &Metadata::default()));
        assert_eq!(all, Some(Decimal::from(50)));
        let others =
            known.quantile(&figure(&[]).estimate, "tokens", learned_row("image.render", &[], &Metadata::default()));
        assert_eq!(others, None, "no rule has this event");

        let [_, all_events] = rest.less_exact(RowSet::Estimates);
        let mut every_event = figure(&["model"]);
        every_event.event = "*".to_owned();
        assert!(is_of(&rest, &of_model) && is_of(&rest, &every_event));
        assert!(!is_of(&rest, &figure(&[])) && !is_of(&all_events, &every_event), "no call uses them");
        rows.insert(rest, metrics(100, 30));
        let known = KnownEstimates::new(Instant::now(), &config, &rows);
        assert_eq!(of(&known, json!({"model": "small"})).as_deref(), Some("30"));
        assert_eq!(of(&known, json!({"model": "large"})).as_deref(), Some("70"));
        assert_eq!(of(&known, json!({"model": "new"})), None, "it has a row of its own");
    }
}

//! The metadata fields that reports know: fields that an app's configuration uses, the documented ones, and
//! `reportLabels`.

use std::collections::HashSet;
use std::sync::Arc;

use super::app_config::AppConfig;
use crate::domain::configuration::estimate::{Estimate, LearnedFigure};
use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::configuration::measure::Measure;
use crate::domain::configuration::scope::Dimension;
use crate::domain::reporting::rollup::Fields;

/// The maximum number of names in `reportLabels`, and the maximum length of one in bytes.
pub const MOST_LABELS: usize = 16;
pub const MOST_LABEL_BYTES: usize = 64;

impl AppConfig {
    /// The labels and figures of the app's rows.
    pub fn report_fields(&self) -> Fields {
        let mut fields = Fields {
            labels: Fields::LABELS.map(str::to_owned).into(),
            figures: Fields::FIGURES.map(str::to_owned).into(),
            units: self.groups.iter().map(|(group, kind)| (group.clone(), kind.unit)).collect(),
            learned: Arc::clone(&self.learned),
        };
        fields.labels.extend(self.settings.report_labels.iter().cloned());
        for dimension in self.groups.values().flat_map(|kind| kind.scope.dimensions()) {
            if let Dimension::Metadata(name) = dimension {
                fields.labels.insert(name.to_string());
            }
        }
        let plans = self.plans.values().flat_map(|entry| &entry.plan.groups);
        for group in plans.chain(self.policies.iter().flat_map(|policy| &policy.groups)) {
            // The group that a policy's `retry` creates is not in the register.
            fields.units.entry(group.id.clone()).or_insert(group.unit);
            add_group(group, &mut fields);
        }
        fields
    }

    /// The figures from which estimates of plans and policies are learned. Those of users with a custom plan are not
    /// among them, since no call should have to look for them.
    pub(super) fn learned_figures(&self) -> Vec<LearnedFigure> {
        let (mut figures, mut known) = (Vec::new(), HashSet::new());
        let plans = self.sorted_plans().into_iter().flat_map(|plan| &plan.groups);
        for group in plans.chain(self.policies.iter().flat_map(|policy| &policy.groups)) {
            for (place, rule) in group.matches.iter().enumerate() {
                let Measure::Weighted(weighted) = group.measure_of(place) else { continue };
                for (field, estimate) in &weighted.estimate {
                    let Estimate::Learned(estimate) = estimate else { continue };
                    let (event, field, estimate) = (rule.event.clone(), field.clone(), estimate.clone());
                    let figure = LearnedFigure { event, field, estimate };
                    if known.insert(figure.clone()) {
                        figures.push(figure);
                    }
                }
            }
        }
        figures
    }
}

fn add_group(group: &LimitGroup, fields: &mut Fields) {
    fields.labels.extend(group.matches.iter().flat_map(|rule| rule.metadata.keys().cloned()));
    let measures = group.matches.iter().filter_map(|rule| rule.measure.as_ref()).chain([&group.measure]);
    for measure in measures {
        if let Measure::Weighted(weighted) = measure {
            let names = weighted.per.keys().filter(|name| !matches!(name.as_str(), "quantity" | "event"));
            fields.figures.extend(names.cloned());
        }
    }
}

/// # Errors
/// A sentence that says what is wrong with the names.
pub fn check_labels(names: &[String]) -> Result<(), String> {
    if names.len() > MOST_LABELS {
        return Err(format!("must have at most {MOST_LABELS} metadata fields"));
    }
    for (place, name) in names.iter().enumerate() {
        if name.is_empty() || name.len() > MOST_LABEL_BYTES || name.chars().any(char::is_control) {
            return Err(format!("must have names of 1 to {MOST_LABEL_BYTES} bytes without control characters"));
        }
        if names[..place].contains(name) {
            return Err(format!("must not contain `{name}` twice"));
        }
    }
    Ok(())
}

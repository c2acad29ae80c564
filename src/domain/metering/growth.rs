//! How far the amounts of a call may grow with its fitted figure.

use super::admission::{Admission, Caller, EffectiveLimits, Matched, Request};
use super::fit::{Fit, Growth};
use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::configuration::measure::{Figures, Slope};
use crate::domain::configuration::scope::Dimension;
use crate::domain::values::amount::Amount;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::glob;

/// The event whose figure is fitted, with its least value, and the rules that count it.
#[derive(Clone, Copy, Debug)]
pub struct FittedEvent<'a> {
    pub effective_limits: EffectiveLimits<'a>,
    pub caller: Caller<'a>,
    pub request: Request<'a>,
}

/// Computes how far the call may grow that was admitted with its least value.
///
/// # Errors
/// A figure that no group measures, or that has no value, naming it.
pub fn growth(admission: &Admission, fit: &Fit, event: FittedEvent<'_>) -> Result<Growth, FieldError> {
    let Request { event: name, quantity, metadata, learned } = event.request;
    if let Some(group) = event.effective_limits.groups().find(|group| is_label(group, fit, event.request)) {
        let message = format!("must not be a field that match rules or the scope of group `{}` use", group.id);
        return Err(FieldError::new("fit.field", message));
    }
    let (mut estimate, mut is_counted, mut is_measured) = (None, false, false);
    let mut slopes = Vec::with_capacity(admission.matched.len());
    for matched in &admission.matched {
        let group = &matched.group;
        let rule = group.matching_rule(name.as_str(), metadata).filter(|_| event.counts_in(admission, matched));
        let Some(rule) = rule else {
            slopes.push(Slope::default());
            continue;
        };
        let measure = group.measure_of(rule);
        let slope = measure.slope(group.unit, Figures { quantity: Some(quantity), metadata, learned }, &fit.field);
        let slope = slope.map_err(|error| FieldError::new(error.field, error.message))?;
        is_counted = true;
        is_measured |= slope.is_some();
        estimate = estimate.max(measure.estimate(&fit.field, learned));
        slopes.push(slope.unwrap_or_default());
    }
    if is_counted && !is_measured {
        return Err(FieldError::new("fit.field", "is not measured by any group that counts the event"));
    }
    let wish = fit.wish(estimate).ok_or_else(|| {
        FieldError::new(fit.figure(), "is required, since `fit` names it and no group has an estimate")
    })?;
    let limits = admission.matched.iter().zip(&slopes).map(|(matched, slope)| slope.fitting(largest_growth(matched)));
    let most = limits.fold(wish - fit.min, u64::min);
    Ok(Growth { min: fit.min, wish, most, slopes })
}

impl FittedEvent<'_> {
    /// Whether the event counts in this counter, and not only other events of the call.
    fn counts_in(self, admission: &Admission, matched: &Matched) -> bool {
        let owner = matched.group.scope.owner(self.caller.subject(self.request.metadata));
        owner.is_some_and(|owner| *admission.owners[matched.owner] == owner)
    }
}

/// Whether the group uses the fitted field to match the event, or to find its counter.
fn is_label(group: &LimitGroup, fit: &Fit, request: Request<'_>) -> bool {
    let is_own = |name: &Dimension| matches!(name, Dimension::Metadata(field) if **field == *fit.field);
    let in_scope = group.scope.dimensions().iter().any(is_own);
    let mut rules = group.matches.iter().filter(|rule| glob::matches(&rule.event, request.event.as_str()));
    fit.field != "quantity" && rules.any(|rule| in_scope || rule.metadata.contains_key(&fit.field))
}

/// What the amount may grow by in any state of the counter.
fn largest_growth(matched: &Matched) -> Amount {
    let group = &matched.group;
    let per_call = group.max_per_call.filter(|_| !group.observes()).unwrap_or(Amount::LARGEST);
    per_call.min(group.unit.most()).saturating_sub(matched.amount)
}

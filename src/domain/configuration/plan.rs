//! Plans: validated sets of limit groups.

use std::sync::Arc;

use super::group_check::{check_groups, default_period};
use super::limit_group::LimitGroup;
use super::plan_body::{PlanBody, UnmatchedEvents};
use crate::domain::time::period::Period;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::{GroupId, PlanId};

/// A plan at one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub id: PlanId,
    pub version: u64,
    pub name: String,
    pub unmatched_events: UnmatchedEvents,
    /// The default period of groups; None if the plan has none.
    pub period: Option<Period>,
    pub groups: Vec<Arc<LimitGroup>>,
    /// As the client wrote it, in canonical field names.
    pub body: PlanBody,
}

impl Plan {
    /// Checks everything and returns all faults at once.
    ///
    /// # Errors
    /// Every fault, each naming its field.
    pub fn validate(id: &PlanId, version: u64, mut body: PlanBody) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        if body.id.as_deref().is_some_and(|given| given != id.as_str()) {
            errors.push(FieldError::new("id", format!("must be `{id}`, as in the path, or left out")));
        }
        if body.name.as_deref().is_some_and(|name| name.len() > 256) {
            errors.push(FieldError::new("name", "must have at most 256 bytes"));
        }
        let defaults = body.period();
        let (groups, faults) = check_groups(&body.groups, &defaults);
        errors.extend(faults);
        let (period, faults) = default_period(&defaults);
        errors.extend(faults);
        if !errors.is_empty() {
            return Err(errors);
        }
        body.id = Some(id.to_string());
        let name = body.name.clone().unwrap_or_else(|| id.to_string());
        Ok(Self { id: id.clone(), version, name, unmatched_events: body.unmatched_events, period, groups, body })
    }

    /// The faults of the body of a plan with this ID; none if the ID itself is not valid.
    pub fn faults(id: &str, body: &PlanBody) -> Vec<FieldError> {
        let id = PlanId::parse(id).ok();
        id.and_then(|id| Self::validate(&id, 0, body.clone()).err()).unwrap_or_default()
    }

    pub fn group(&self, id: &GroupId) -> Option<&Arc<LimitGroup>> {
        self.groups.iter().find(|group| group.id == *id)
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

//! Validates balance groups, and limit groups that overflow onto them.

use std::sync::Arc;

use super::limit_group::{Enforcement, LimitGroup, LimitKind, OnPlanChange};
use super::plan_body::GroupBody;
use crate::domain::time::period::PeriodType;
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::document;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::number::Number;

/// Fields that do not fit the kind of the group.
pub(super) fn misplaced_fields(body: &GroupBody) -> Vec<FieldError> {
    let fault = |field: &str, message: &str| FieldError::new(field, message);
    if body.kind == LimitKind::Quota {
        let below = (!body.alerts_below.is_empty())
            .then(|| fault("alertsBelow", "can only be set for the kind `balance`; use `alerts`"));
        return below.into_iter().chain(overflow_fault(body)).collect();
    }
    let period = "must be left out, since a balance has no period: its credits may have an expiry";
    let fields = [
        (body.quota.is_some(), "quota", "must be left out, since the room of a balance is its owner's credits"),
        (body.rollover.is_some(), "rollover", "must be left out, since a balance has no quota that could be unused"),
        (body.period_type.is_some(), "periodType", period),
        (body.period_anchor.is_some(), "periodAnchor", period),
        (body.timezone.is_some(), "timezone", period),
        (body.week_start.is_some(), "weekStart", period),
        (body.every.is_some(), "every", period),
        (body.start.is_some(), "start", period),
        (body.end.is_some(), "end", period),
        (body.overflow.is_some(), "overflow", "must be left out, since a balance cannot overflow onto another balance"),
        (!body.alerts.is_empty(), "alerts", "must be left out, since a balance has no quota; use `alertsBelow`"),
        (body.enforcement != Enforcement::Hard, "enforcement", "must be `hard` for the kind `balance`"),
        (body.on_plan_change != OnPlanChange::Carry, "onPlanChange", "must be `carry` for the kind `balance`"),
    ];
    let misplaced = fields.into_iter().filter(|(is_misplaced, ..)| *is_misplaced);
    misplaced.map(|(_, field, message)| fault(field, message)).collect()
}

fn overflow_fault(body: &GroupBody) -> Option<FieldError> {
    body.overflow.as_ref()?;
    let message = match (body.enforcement, body.period_type) {
        (Enforcement::Observe, _) => "cannot be combined with the enforcement `observe`, which never denies",
        (_, Some(PeriodType::Concurrent)) => {
            "cannot be combined with the period type `concurrent`, since nothing is used"
        }
        _ => return None,
    };
    Some(FieldError::new("overflow", message))
}

/// The thresholds of a balance.
pub(super) fn alerts_below(below: &[Number], unit: Unit, most: usize) -> Result<Vec<Amount>, String> {
    let amounts = below.iter().map(|amount| Amount::exactly(amount.0, unit)).collect::<Result<Vec<_>, _>>();
    let amounts = amounts.map_err(|error| error.to_string())?;
    match amounts.len() <= most && amounts.windows(2).all(|pair| pair[0] > pair[1]) {
        true => Ok(amounts),
        false => Err(format!("must be at most {most} amounts in descending order")),
    }
}

/// Connects the groups with the balances onto which they overflow. `places`: where the groups stand in `bodies`.
pub(super) fn connect(bodies: &[GroupBody], groups: &mut [Arc<LimitGroup>], places: &[usize]) -> Vec<FieldError> {
    let mut faults = Vec::new();
    for (index, place) in places.iter().enumerate() {
        let Some(wanted) = bodies[*place].overflow.as_deref() else { continue };
        let found = groups.iter().position(|group| group.id.as_str() == wanted);
        // A balance with faults of its own is reported as such.
        let is_faulty = found.is_none() && bodies.iter().any(|body| body.id == wanted);
        match check_target(groups, index, found, wanted) {
            Ok(balance) => Arc::make_mut(&mut groups[index]).overflow = Some(balance),
            Err(_) if is_faulty => {}
            Err(message) => faults.push(FieldError::new(format!("groups[{place}].overflow"), message)),
        }
    }
    faults
}

/// The balance onto which the group at `index` overflows.
fn check_target(
    groups: &[Arc<LimitGroup>],
    index: usize,
    found: Option<usize>,
    wanted: &str,
) -> Result<Arc<LimitGroup>, String> {
    let group = &groups[index];
    let Some(balance) = found.map(|found| &groups[found]) else {
        let balances: Vec<&str> =
            groups.iter().filter(|group| group.is_balance()).map(|group| group.id.as_str()).collect();
        let suggestion = document::suggestion(wanted, &balances);
        return Err(format!("must be a balance group of the same plan or policy; there is no `{wanted}`{suggestion}"));
    };
    if !balance.is_balance() {
        return Err(format!("must be a group of the kind `balance`; `{wanted}` has a quota"));
    }
    if balance.unit != group.unit {
        return Err(format!("must be a balance with the unit `{}`; `{wanted}` has `{}`", group.unit, balance.unit));
    }
    if balance.scope != group.scope {
        let names = group.scope.names().join(", ");
        return Err(format!("must be a balance with the scope {names}; `{wanted}` has another one"));
    }
    if overlap(group, balance) {
        return Err(format!("must be a balance that does not match the same events; `{wanted}` does"));
    }
    let other = groups[..index]
        .iter()
        .find(|other| other.overflow.as_ref().is_some_and(|known| known.id == balance.id) && overlap(group, other));
    match other {
        Some(other) => Err(format!(
            "must be another balance than that of `{}`: both groups can match the same event, which would be charged twice",
            other.id
        )),
        None => Ok(Arc::clone(balance)),
    }
}

/// Whether any event matches both groups.
fn overlap(one: &LimitGroup, other: &LimitGroup) -> bool {
    one.matches.iter().any(|rule| other.matches.iter().any(|theirs| rule.overlaps(theirs)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::configuration::plan::Plan;
    use crate::domain::values::ids::PlanId;
    use serde_json::{Value, json};

    fn plan(groups: Vec<Value>) -> Result<Plan, Vec<String>> {
        let body = serde_json::from_value(json!({"periodType": "monthly", "groups": groups})).unwrap();
        Plan::validate(&PlanId::parse("pro").unwrap(), 1, body)
            .map_err(|faults| faults.into_iter().map(|fault| fault.field).collect())
    }

    fn with(mut group: Value, changes: &Value) -> Value {
        group.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        group
    }

    fn credits(changes: &Value) -> Value {
        with(json!({"id": "credits", "kind": "balance", "unit": "count"}), changes)
    }

    fn images(changes: &Value) -> Value {
        let images = json!({"id": "images", "unit": "count", "quota": 20, "overflow": "credits",
            "matches": [{"event": "image.*"}]});
        with(images, changes)
    }

    #[test]
    fn a_balance_has_no_quota_and_no_period() {
        let balance = plan(vec![credits(&json!({"alertsBelow": [100, "0"], "scope": ["metadata.team"]}))]).unwrap();
        let group = &balance.groups[0];
        assert!(group.is_balance() && group.quota.is_none() && group.matches.is_empty());
        assert_eq!(group.alerts_below.iter().map(|amount| amount.steps()).collect::<Vec<_>>(), [100, 0]);
        let written = serde_json::to_value(&balance.body.groups[0]).unwrap();
        assert_eq!((&written["kind"], written.get("quota")), (&json!("balance"), None));
        for (changes, field) in [
            (json!({"quota": 5}), "quota"),
            (json!({"quota": null}), "quota"),
            (json!({"rollover": {"max": 5}}), "rollover"),
            (json!({"periodType": "lifetime"}), "periodType"),
            (json!({"periodAnchor": "calendar"}), "periodAnchor"),
            (json!({"timezone": "UTC"}), "timezone"),
            (json!({"weekStart": "monday"}), "weekStart"),
            (json!({"every": "P1D"}), "every"),
            (json!({"start": "2026-01-01T00:00:00Z"}), "start"),
            (json!({"end": "2026-01-01T00:00:00Z"}), "end"),
            (json!({"overflow": "other"}), "overflow"),
            (json!({"alerts": [50]}), "alerts"),
            (json!({"enforcement": "soft"}), "enforcement"),
            (json!({"onPlanChange": "block"}), "onPlanChange"),
            (json!({"alertsBelow": [0, 100]}), "alertsBelow"),
            (json!({"alertsBelow": [0.5]}), "alertsBelow"),
            (json!({"alertsBelow": (0..17).rev().collect::<Vec<_>>()}), "alertsBelow"),
        ] {
            assert_eq!(plan(vec![credits(&changes)]).unwrap_err(), [format!("groups[0].{field}")], "{changes}");
        }
    }

    #[test]
    fn a_group_overflows_onto_a_balance_of_the_same_kind() {
        let none = json!({});
        let good = plan(vec![images(&none), credits(&none)]).unwrap();
        assert_eq!(good.groups[0].overflow, Some(Arc::clone(&good.groups[1])));
        assert!(plan(vec![credits(&json!({"matches": [{"event": "video.*"}]})), images(&none)]).is_ok());
        let other = json!({"id": "video", "matches": [{"event": "video.*"}]});
        assert!(plan(vec![images(&none), images(&other), credits(&none)]).is_ok());
        for (groups, place) in [
            (vec![images(&none)], 0),
            (vec![images(&json!({"overflow": "images"}))], 0),
            (vec![images(&json!({"overflow": "video"})), images(&other), credits(&none)], 0),
            (vec![images(&none), credits(&json!({"unit": "tokens"}))], 0),
            (vec![images(&none), credits(&json!({"scope": ["user", "metadata.team"]}))], 0),
            (vec![images(&none), credits(&json!({"matches": [{"event": "image.large"}]}))], 0),
            (vec![images(&none), images(&json!({"id": "all", "matches": [{"event": "*"}]})), credits(&none)], 1),
            (vec![images(&json!({"enforcement": "observe"})), credits(&none)], 0),
            (vec![images(&json!({"periodType": "concurrent"})), credits(&none)], 0),
        ] {
            let faults = plan(groups.clone()).unwrap_err();
            assert_eq!(faults, [format!("groups[{place}].overflow")], "{groups:?}");
        }
        let own = plan(vec![images(&none), credits(&json!({"quota": 1}))]);
        assert_eq!(own.unwrap_err(), ["groups[1].quota"]);
        let limit = plan(vec![images(&json!({"alertsBelow": [1]})), credits(&none)]);
        assert_eq!(limit.unwrap_err(), ["groups[0].alertsBelow"]);
    }
}

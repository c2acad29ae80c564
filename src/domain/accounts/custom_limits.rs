//! Custom limits of one user: other quotas than the plan's, or a whole plan body.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::values::amount::Amount;
use crate::domain::values::document;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::GroupId;
use crate::domain::values::number::{Number, explicit_null};

/// Another quota for one group; null counts without limit.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaBody {
    #[serde(default, deserialize_with = "explicit_null")]
    quota: Option<Option<Number>>,
}

#[derive(Clone, Debug)]
enum Form {
    Quotas(BTreeMap<String, QuotaBody>),
    Body(Box<PlanBody>),
}

/// `{groupId: {quota}}`, or a full plan body. Two are equal if their JSON is equal.
#[derive(Clone, Debug)]
pub struct CustomLimits {
    text: String,
    form: Form,
}

impl PartialEq for CustomLimits {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CustomLimits {}

impl CustomLimits {
    /// A plan body is recognised by its list of groups.
    ///
    /// # Errors
    /// Neither form fits; names the field under `customLimits`.
    pub fn parse(value: &Value) -> Result<Self, FieldError> {
        let fault =
            |error: serde_path_to_error::Error<serde_json::Error>| document::fault_within("customLimits", &error);
        let form = match value {
            Value::Object(fields) if fields.get("groups").is_some_and(Value::is_array) => {
                serde_path_to_error::deserialize(value).map(|body| Form::Body(Box::new(body))).map_err(fault)?
            }
            Value::Object(_) => serde_path_to_error::deserialize(value).map(Form::Quotas).map_err(fault)?,
            _ => {
                return Err(FieldError::new(
                    "customLimits",
                    "must be an object such as {groupId: {quota}}, or a plan's body",
                ));
            }
        };
        Ok(Self { text: value.to_string(), form })
    }

    /// As JSON text, for the store.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the rules are replaced too, and not only the quotas.
    pub fn is_whole_plan(&self) -> bool {
        matches!(self.form, Form::Body(_))
    }

    /// The plan as it applies to this user. Quotas of groups that the plan no longer has are ignored.
    ///
    /// # Errors
    /// Every fault of the limits with this plan, each naming its field under `customLimits`.
    pub fn apply(&self, plan: &Plan) -> Result<Plan, Vec<FieldError>> {
        match &self.form {
            Form::Body(body) => Plan::validate(&plan.id, plan.version, body.as_ref().clone())
                .map_err(|faults| faults.into_iter().map(|fault| fault.within("customLimits")).collect()),
            Form::Quotas(quotas) => {
                let mut custom = plan.clone();
                let mut faults = Vec::new();
                for group in &mut custom.groups {
                    let Some(quota) = quotas.get(group.id.as_str()) else { continue };
                    let group = std::sync::Arc::make_mut(group);
                    match quota.quota {
                        None => faults.push(missing_quota(group.id.as_str())),
                        Some(None) => group.quota = None,
                        Some(Some(quota)) => match Amount::exactly(quota.0, group.unit) {
                            Ok(quota) => group.quota = Some(quota),
                            Err(error) => faults
                                .push(FieldError::new(format!("customLimits.{}.quota", group.id), error.to_string())),
                        },
                    }
                }
                if faults.is_empty() { Ok(custom) } else { Err(faults) }
            }
        }
    }

    /// Named groups that the plan does not have: probably typos, when the limits are set.
    pub fn strangers(&self, plan: &Plan) -> Vec<FieldError> {
        let Form::Quotas(quotas) = &self.form else {
            return Vec::new();
        };
        let known = |id: &str| GroupId::parse(id).is_ok_and(|id| plan.group(&id).is_some());
        quotas
            .keys()
            .filter(|id| !known(id))
            .map(|id| FieldError::new(format!("customLimits.{id}"), format!("is not a group of plan `{}`", plan.id)))
            .collect()
    }
}

fn missing_quota(group: &str) -> FieldError {
    FieldError::new(format!("customLimits.{group}.quota"), "is required; null counts without limit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::values::ids::PlanId;
    use serde_json::json;

    fn plan() -> Plan {
        let body = json!({"periodType": "monthly", "groups": [
            {"id": "a", "unit": "count", "quota": 5, "matches": [{"event": "a"}]},
            {"id": "b", "unit": "cents", "quota": null, "matches": [{"event": "b"}]}]});
        Plan::validate(&PlanId::parse("p").unwrap(), 7, serde_json::from_value(body).unwrap()).unwrap()
    }

    fn quotas(limits: Value) -> Result<Vec<Option<u64>>, String> {
        let limits = CustomLimits::parse(&limits).map_err(|fault| fault.field)?;
        let custom = limits.apply(&plan()).map_err(|faults| faults[0].field.clone())?;
        assert_eq!((custom.id.as_str(), custom.version), ("p", 7));
        Ok(custom.groups.iter().map(|group| group.quota.map(Amount::steps)).collect())
    }

    #[test]
    fn limits_change_quotas_or_the_whole_plan_or_name_their_fault() {
        let body = json!({"periodType": "daily", "groups": [{"id": "a", "unit": "count", "quota": 1, "matches": [{"event": "x"}]}]});
        let bad_body =
            json!({"periodType": "daily", "groups": [{"id": "a", "unit": "count", "matches": [{"event": "x"}]}]});
        for (limits, expected) in [
            (json!({}), Ok(vec![Some(5), None])),
            (json!({"a": {"quota": 9}}), Ok(vec![Some(9), None])),
            (json!({"a": {"quota": null}, "b": {"quota": "0.5"}}), Ok(vec![None, Some(500_000)])),
            (json!({"gone": {"quota": 9}}), Ok(vec![Some(5), None])),
            (body, Ok(vec![Some(1)])),
            (bad_body, Err("customLimits.groups[0].quota")),
            (json!({"a": {"quota": 0.5}}), Err("customLimits.a.quota")),
            (json!({"a": {}}), Err("customLimits.a.quota")),
            (json!({"a": {"quota": 1, "x": 1}}), Err("customLimits.a.x")),
            (json!({"a": 3}), Err("customLimits.a")),
            (json!([]), Err("customLimits")),
        ] {
            assert_eq!(quotas(limits.clone()), expected.map_err(str::to_owned), "{limits}");
        }
    }

    #[test]
    fn groups_that_the_plan_does_not_have_are_named() {
        let limits = CustomLimits::parse(&json!({"a": {"quota": 1}, "x": {"quota": 1}, "y z": {"quota": 1}})).unwrap();
        let fields: Vec<String> = limits.strangers(&plan()).into_iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["customLimits.x", "customLimits.y z"]);
    }
}

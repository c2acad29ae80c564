//! Custom limits of one user: other quotas than the plan's, or a whole plan body.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::time::window::{TimeMs, parse_rfc3339, rfc3339};
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
    /// RFC 3339: it ends at this time.
    until: Option<String>,
    note: Option<String>,
}

impl QuotaBody {
    fn until_ms(&self) -> Option<TimeMs> {
        self.until.as_deref().and_then(parse_rfc3339)
    }

    fn has_ended(&self, now: TimeMs) -> bool {
        self.until_ms().is_some_and(|until_ms| until_ms <= now)
    }
}

/// One of the quotas as a client sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomQuota<'a> {
    pub quota: Option<Number>,
    pub until_ms: Option<TimeMs>,
    pub note: Option<&'a str>,
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
    /// Neither form fits; names each field under `customLimits`.
    pub fn parse(value: &Value) -> Result<Self, Vec<FieldError>> {
        let form = match value {
            Value::Object(fields) if fields.get("groups").is_some_and(Value::is_array) => {
                Form::Body(Box::new(document::read_within("customLimits", value)?))
            }
            Value::Object(_) => {
                let quotas: BTreeMap<String, QuotaBody> = document::read_within("customLimits", value)?;
                let is_bad = |quota: &QuotaBody| quota.until.is_some() && quota.until_ms().is_none();
                let fault = |group: &String| {
                    let field = format!("customLimits.{group}.until");
                    FieldError::new(field, "must be an RFC 3339 time, such as 2026-01-31T10:00:00Z")
                };
                let faults: Vec<FieldError> =
                    quotas.iter().filter(|(_, quota)| is_bad(quota)).map(|(group, _)| fault(group)).collect();
                if !faults.is_empty() {
                    return Err(faults);
                }
                Form::Quotas(quotas)
            }
            _ => {
                let message = "must be an object such as {groupId: {quota}}, or a plan's body";
                return Err(vec![FieldError::new("customLimits", message)]);
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

    /// The quotas that have not ended.
    pub fn at(&self, now: TimeMs) -> Cow<'_, Self> {
        match &self.form {
            Form::Quotas(quotas) if quotas.values().any(|quota| quota.has_ended(now)) => {
                let live = quotas.iter().filter(|(_, quota)| !quota.has_ended(now));
                let live = live.map(|(group, quota)| (group.clone(), quota.clone())).collect();
                Cow::Owned(Self { text: self.text.clone(), form: Form::Quotas(live) })
            }
            _ => Cow::Borrowed(self),
        }
    }

    /// When the next quota ends; None if none does.
    pub fn next_end(&self, now: TimeMs) -> Option<TimeMs> {
        let Form::Quotas(quotas) = &self.form else { return None };
        quotas.values().filter_map(QuotaBody::until_ms).filter(|until_ms| *until_ms > now).min()
    }

    /// The quota of a group, unless it has ended; None for a whole plan too.
    pub fn quota(&self, group: &GroupId, now: TimeMs) -> Option<CustomQuota<'_>> {
        let Form::Quotas(quotas) = &self.form else { return None };
        let quota = quotas.get(group.as_str()).filter(|quota| !quota.has_ended(now))?;
        Some(CustomQuota { quota: quota.quota.flatten(), until_ms: quota.until_ms(), note: quota.note.as_deref() })
    }

    /// These limits with another quota of a group, or without it; without quotas that have ended. None if nothing is
    /// left.
    ///
    /// # Errors
    /// The limits are a whole plan.
    pub fn with(
        limits: Option<&Self>,
        group: &GroupId,
        quota: Option<CustomQuota<'_>>,
        now: TimeMs,
    ) -> Result<Option<Self>, Vec<FieldError>> {
        if limits.is_some_and(Self::is_whole_plan) {
            let message = "must be a user without a custom plan; send the whole `customLimits` instead";
            return Err(vec![FieldError::new("scope.user", message)]);
        }
        let stored: Option<BTreeMap<String, Value>> = limits.and_then(|it| serde_json::from_str(it.as_str()).ok());
        let mut quotas = stored.unwrap_or_default();
        let is_live = |limits: &Self, id: &str| GroupId::parse(id).is_ok_and(|id| limits.quota(&id, now).is_some());
        quotas.retain(|id, _| id != group.as_str() && limits.is_some_and(|limits| is_live(limits, id)));
        if let Some(CustomQuota { quota, until_ms, note }) = quota {
            let mut body = serde_json::Map::new();
            body.insert("quota".to_owned(), serde_json::to_value(quota).unwrap_or_default());
            body.extend(until_ms.map(|until_ms| ("until".to_owned(), Value::String(rfc3339(until_ms)))));
            body.extend(note.map(|note| ("note".to_owned(), Value::String(note.to_owned()))));
            quotas.insert(group.to_string(), Value::Object(body));
        }
        match quotas.is_empty() {
            true => Ok(None),
            false => Self::parse(&Value::Object(quotas.into_iter().collect())).map(Some),
        }
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
                    if group.is_balance() {
                        let message = "must be a group with a quota; add credits to a balance instead";
                        faults.push(FieldError::new(format!("customLimits.{}", group.id), message));
                        continue;
                    }
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
        let limits = CustomLimits::parse(&limits).map_err(|faults| faults[0].field.clone())?;
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
    fn a_quota_ends_by_itself_and_can_be_set_alone() {
        let group = |id: &str| GroupId::parse(id).unwrap();
        let limits = CustomLimits::parse(&json!({
            "a": {"quota": 1, "until": "2027-02-01T00:00:00Z"}, "b": {"quota": null, "note": "x"}}))
        .unwrap();
        let (before, end) =
            (parse_rfc3339("2027-01-31T23:59:59Z").unwrap(), parse_rfc3339("2027-02-01T00:00:00Z").unwrap());
        let applied = |now| quotas(serde_json::from_str(limits.at(now).as_str()).unwrap());
        assert_eq!(applied(before), Ok(vec![Some(1), None]));
        let plan = limits.at(end).apply(&plan()).unwrap();
        assert_eq!(plan.groups.iter().map(|group| group.quota.map(Amount::steps)).collect::<Vec<_>>(), [Some(5), None]);
        assert_eq!((limits.next_end(before), limits.next_end(end)), (Some(end), None));
        assert_eq!(limits.quota(&group("b"), end).unwrap().note, Some("x"));
        assert!(limits.quota(&group("a"), end).is_none());

        let quota = CustomQuota { quota: Some(Number(7.into())), until_ms: Some(end), note: None };
        let text = |limits: Option<CustomLimits>| limits.map(|limits| limits.as_str().to_owned());
        let set = |limits, id, quota, now| text(CustomLimits::with(limits, &group(id), quota, now).unwrap());
        let seven = r#"{"a":{"quota":7,"until":"2027-02-01T00:00:00Z"}}"#;
        assert_eq!(set(None, "a", Some(quota.clone()), before).as_deref(), Some(seven));
        let without_ended = r#"{"b":{"note":"x","quota":null}}"#;
        assert_eq!(set(Some(&limits), "c", None, end).as_deref(), Some(without_ended));
        assert_eq!(set(Some(&limits), "b", None, end), None);
        let body = json!({"periodType": "daily", "groups": [{"id": "a", "unit": "count", "quota": 1, "matches": [{"event": "x"}]}]});
        let whole = CustomLimits::parse(&body).unwrap();
        assert_eq!(
            CustomLimits::with(Some(&whole), &group("a"), Some(quota), before).unwrap_err()[0].field,
            "scope.user"
        );
        let bad = |limits: Value| -> Vec<String> {
            CustomLimits::parse(&limits).unwrap_err().into_iter().map(|fault| fault.field).collect()
        };
        let soon = json!({"quota": 1, "until": "soon"});
        assert_eq!(bad(json!({"a": soon, "b": soon})), ["customLimits.a.until", "customLimits.b.until"]);
        assert_eq!(
            bad(json!({"a": {"quota": -1}, "b": {"qouta": 1}})),
            ["customLimits.a.quota", "customLimits.b.qouta"]
        );
    }

    #[test]
    fn groups_that_the_plan_does_not_have_are_named() {
        let limits = CustomLimits::parse(&json!({"a": {"quota": 1}, "x": {"quota": 1}, "y z": {"quota": 1}})).unwrap();
        let fields: Vec<String> = limits.strangers(&plan()).into_iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["customLimits.x", "customLimits.y z"]);
    }
}

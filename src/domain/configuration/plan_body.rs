//! The body of a plan as clients write it. [`super::plan::Plan::validate`] turns it into a plan. Plans, policies and
//! groups repeat the fields of a period, since serde cannot refuse unknown fields next to a flattened struct.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::limit_group::{Enforcement, LimitKind, OnPlanChange};
use crate::domain::time::period::{PeriodAnchor, PeriodType, WeekDay};
use crate::domain::values::amount::Unit;
use crate::domain::values::document;
use crate::domain::values::number::{Number, NumberOrText, explicit_null};

/// How events are treated that no group of the plan matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnmatchedEvents {
    /// They are denied, so that typos are noticed.
    #[default]
    Deny,
    /// They are allowed without being counted.
    Allow,
}

/// A named set of limit groups for users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(alias = "period", skip_serializing_if = "Option::is_none")]
    pub period_type: Option<PeriodType>,
    #[serde(alias = "anchor", skip_serializing_if = "Option::is_none")]
    pub period_anchor: Option<PeriodAnchor>,
    /// IANA name; default UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub timezone: Option<Tz>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub week_start: Option<WeekDay>,
    /// ISO 8601 duration of an `every` period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// RFC 3339; start of a `fixed` period, or the anchor of an `every` period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// RFC 3339; end of a `fixed` period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    #[serde(default)]
    pub unmatched_events: UnmatchedEvents,
    pub groups: Vec<GroupBody>,
}

/// The default period of groups.
#[derive(Clone, Debug, Default)]
pub struct PeriodBody {
    pub period_type: Option<PeriodType>,
    pub period_anchor: Option<PeriodAnchor>,
    pub timezone: Option<Tz>,
    pub week_start: Option<WeekDay>,
    pub every: Option<String>,
    pub start: Option<String>,
    pub end: Option<String>,
}

impl PlanBody {
    pub fn period(&self) -> PeriodBody {
        PeriodBody {
            period_type: self.period_type,
            period_anchor: self.period_anchor,
            timezone: self.timezone,
            week_start: self.week_start,
            every: self.every.clone(),
            start: self.start.clone(),
            end: self.end.clone(),
        }
    }
}

/// One limit group of a plan or policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupBody {
    // Missing fields are reported together with all other faults by `Plan::validate`.
    #[serde(default)]
    #[schema(required = true)]
    pub id: String,
    #[serde(alias = "name", skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `balance`: the owner's credits are the room of the group. It has no quota, no period, no `rollover`, no `alerts`
    /// and no `overflow`, and may have no `matches`.
    #[serde(default, skip_serializing_if = "LimitKind::is_default")]
    pub kind: LimitKind,
    #[schema(value_type = Unit, required = true)]
    pub unit: Option<Unit>,
    /// In the unit; required unless the kind is `balance`. 0 denies every matching call; null counts without limit.
    #[serde(default, deserialize_with = "explicit_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NumberOrText>)]
    pub quota: Option<Option<Number>>,
    /// ID of a balance group of the same plan or policy, with the same unit and scope: calls take from it what does not
    /// fit into the quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow: Option<String>,
    /// When a window ends, its unused quota becomes extra quota of the next window. Needs a quota, and a period
    /// whose windows follow each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollover: Option<RolloverBody>,
    /// In the unit. A single call with a larger amount is denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NumberOrText>)]
    pub max_per_call: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure: Option<MeasureBody>,
    #[serde(default, alias = "match")]
    #[schema(required = true)]
    pub matches: Vec<RuleBody>,
    /// Events with these names are denied if no rule of the group matches them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covers: Vec<String>,
    #[serde(alias = "period", skip_serializing_if = "Option::is_none")]
    pub period_type: Option<PeriodType>,
    #[serde(alias = "anchor", skip_serializing_if = "Option::is_none")]
    pub period_anchor: Option<PeriodAnchor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub timezone: Option<Tz>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub week_start: Option<WeekDay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Who owns the counter of an event: `user` (default), `app`, `key`, `metadata.<name>`, or several of them for one
    /// counter per combination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Vec<String>>,
    #[serde(default)]
    pub enforcement: Enforcement,
    /// Ascending percentages of the limit (quota, grants and rolled quota), 1 to 1000. When `used` reaches one, an alert is emitted, once per
    /// counter, window and limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<u64>,
    /// Of a balance: descending amounts, in the unit. When the remaining amount falls to one of them or below, an alert
    /// is emitted, once until new credits raise the balance above it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<NumberOrText>)]
    pub alerts_below: Vec<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_limit: Option<OnLimitBody>,
    #[serde(default)]
    pub on_plan_change: OnPlanChange,
}

/// What becomes of quota that is unused when a window ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloverBody {
    /// In the unit, above 0. At most so much becomes extra quota of the next window; of that, nothing is rolled over
    /// again.
    #[schema(value_type = NumberOrText)]
    pub max: Number,
}

/// One match rule of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleBody {
    /// Exact, or a glob in which `*` stands for any run of characters.
    #[serde(default)]
    #[schema(required = true)]
    pub event: String,
    /// A value per key, or a list of accepted values; all keys must match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Value>)]
    pub metadata: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure: Option<MeasureBody>,
}

/// `"quantity"`, `"event"`, or `{"per": …, "estimate": …}`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum MeasureBody {
    Word(MeasureWord),
    Weighted(WeightedBody),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MeasureWord {
    Quantity,
    Event,
}

/// A sum of numeric metadata fields (or the words `quantity`, `event`) times exact weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightedBody {
    #[schema(value_type = BTreeMap<String, NumberOrText>)]
    pub per: BTreeMap<String, Number>,
    /// Used for fields that a reserve does not know yet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, EstimateForm>)]
    pub estimate: BTreeMap<String, EstimateBody>,
}

/// A number, or what to learn it from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum EstimateBody {
    Fixed(Number),
    Learned(LearnedEstimateBody),
}

/// How an estimate may be written.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub enum EstimateForm {
    Number(f64),
    /// Decimal digits, such as `"4000"`.
    Text(String),
    Learned(LearnedEstimateBody),
}

/// The estimate is a quantile of the figures that were committed in the last seven days, for events of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LearnedEstimateBody {
    /// More than 0 and less than 1: of the figures, this share does not exceed the estimate.
    #[schema(value_type = NumberOrText)]
    pub quantile: Number,
    /// Metadata fields whose values are learned separately, such as `model`; none that has a weight in `per`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 4)]
    pub by: Vec<String>,
    /// The estimate while there are fewer than 100 figures.
    #[schema(value_type = NumberOrText)]
    pub start: Number,
    /// The largest estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NumberOrText>)]
    pub max: Option<Number>,
}

impl<'de> Deserialize<'de> for EstimateBody {
    // Written by hand, as for a measure.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        match Value::deserialize(deserializer)? {
            object @ Value::Object(_) => {
                LearnedEstimateBody::deserialize(object).map(Self::Learned).map_err(D::Error::custom)
            }
            number => Number::deserialize(number).map(Self::Fixed).map_err(D::Error::custom),
        }
    }
}

impl<'de> Deserialize<'de> for MeasureBody {
    // Written by hand, since an untagged enum answers every typo with "did not match any variant".
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        match Value::deserialize(deserializer)? {
            Value::String(text) if text == "quantity" => Ok(Self::Word(MeasureWord::Quantity)),
            Value::String(text) if text == "event" => Ok(Self::Word(MeasureWord::Event)),
            object @ Value::Object(_) => {
                WeightedBody::deserialize(object).map(Self::Weighted).map_err(D::Error::custom)
            }
            Value::String(text) => {
                let suggestion = document::suggestion(&text, &["quantity", "event"]);
                Err(D::Error::custom(format!(
                    "must be `quantity`, `event` or an object with `per` and `estimate`, not `{text}`{suggestion}"
                )))
            }
            _ => Err(D::Error::custom("must be `quantity`, `event` or an object with `per` and `estimate`")),
        }
    }
}

/// Returned with a denial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnLimitBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<FallbackBody>,
}

/// What the application can call instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FallbackBody {
    pub event: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Value>)]
    pub metadata: BTreeMap<String, Value>,
}

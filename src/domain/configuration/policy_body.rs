//! The body of a policy as clients write it. [`super::policy::Policy::validate`] turns it into a policy.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::plan_body::{GroupBody, PeriodBody};
use crate::domain::time::period::{PeriodAnchor, PeriodType, WeekDay};

/// Limit groups that apply to every event of the app with every plan, and who is responsible for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The team or person responsible for the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The environment it is meant for, such as `production`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The model route, product or workflow that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// How often the policy is reviewed: weekly, monthly, quarterly, yearly, or an ISO 8601 duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review_cadence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Shown with each approval request of its groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryBody>,
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
    pub groups: Vec<GroupBody>,
}

/// Who may approve, and on what condition; informational.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalBody {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// How clients may retry. `maxAttempts` is enforced: matching events with `metadata.action` count as attempts of that
/// action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryBody {
    /// Attempts of one action including the first; 1 to 1000.
    pub max_attempts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffBody>,
    /// Error codes of the provider that must not be retried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub non_retryable: Vec<String>,
}

/// How long to wait between attempts: `initialMs × factor^n`, at most `maxMs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackoffBody {
    pub initial_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<u64>,
    /// 1 to 10; default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<u64>,
}

impl PolicyBody {
    /// The default anchor is the calendar.
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

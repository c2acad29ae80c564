//! Policies: validated limit groups for every event of the app, with owner and review.

use std::sync::Arc;

use super::group_check::{check_groups, default_period};
use super::limit_group::{Enforcement, LimitGroup, LimitKind, OnPlanChange};
use super::measure::Measure;
use super::policy_body::{PolicyBody, RetryBody};
use super::scope::Scope;
use crate::domain::time::period::{Located, Period, PeriodSpec, PeriodType, SubscriptionAnchor};
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::{GroupId, PolicyId};
use crate::domain::values::metadata::Metadata;

const MOST_TEXT_BYTES: usize = 256;
const MOST_NOTES_BYTES: usize = 4096;
const MOST_LIST: usize = 64;
const MOST_ATTEMPTS: u64 = 1000;
const MOST_BACKOFF_MS: u64 = 3_600_000;

/// A policy at one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub id: PolicyId,
    pub version: u64,
    pub name: String,
    /// The configured groups, followed by the group that counts attempts if there is a `retry`.
    pub groups: Vec<Arc<LimitGroup>>,
    /// ISO 8601 duration between two reviews.
    review_every: Option<String>,
    pub body: PolicyBody,
}

impl Policy {
    /// Checks everything and returns all faults at once.
    ///
    /// # Errors
    /// Every fault, each naming its field.
    pub fn validate(id: &PolicyId, version: u64, mut body: PolicyBody) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        if body.id.as_deref().is_some_and(|given| given != id.as_str()) {
            errors.push(FieldError::new("id", format!("must be `{id}`, as in the path, or left out")));
        }
        check_record(&body, &mut errors);
        let defaults = body.period();
        let (mut groups, faults) = check_groups(&body.groups, &defaults);
        errors.extend(faults);
        errors.extend(default_period(&defaults).1);
        for (place, group) in groups.iter().enumerate().filter(|(_, group)| group.period.needs_subscription()) {
            let message = "must be `calendar` in a policy, which also applies to users without a subscription";
            errors.push(FieldError::new(
                format!("groups[{place}].periodAnchor"),
                format!("{message} (group `{}`)", group.id),
            ));
        }
        let review_every = match body.review_cadence.as_deref().map(cadence) {
            Some(Some(every)) => Some(every),
            None => None,
            Some(None) => {
                let message =
                    "must be `weekly`, `monthly`, `quarterly`, `yearly`, or an ISO 8601 duration such as P90D";
                errors.push(FieldError::new("reviewCadence", message));
                None
            }
        };
        if let Some(retry) = &body.retry {
            let attempts = attempts_group(id, retry, &groups);
            if attempts.is_none() && GroupId::parse(&attempts_id(id)).is_err() {
                errors.push(FieldError::new("id", "must have at most 55 bytes in a policy with `retry`"));
            }
            groups.extend(attempts);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        body.id = Some(id.to_string());
        let name = body.name.clone().unwrap_or_else(|| id.to_string());
        Ok(Self { id: id.clone(), version, name, groups, review_every, body })
    }

    /// The faults of the body of a policy with this ID; none if the ID itself is not valid.
    pub fn faults(id: &str, body: &PolicyBody) -> Vec<FieldError> {
        let id = PolicyId::parse(id).ok();
        id.and_then(|id| Self::validate(&id, 0, body.clone()).err()).unwrap_or_default()
    }

    pub fn group(&self, id: &GroupId) -> Option<&Arc<LimitGroup>> {
        self.groups.iter().find(|group| group.id == *id)
    }

    /// When the next review is due, if the last one was at `reviewed_ms`.
    pub fn review_due_ms(&self, reviewed_ms: TimeMs) -> Option<TimeMs> {
        let start = reviewed_ms.div_euclid(1000) * 1000;
        let spec = every(self.review_every.clone()?, start);
        match Period::new(&spec).ok()?.locate(start, SubscriptionAnchor { started_at_ms: start, cycle_start_ms: None })
        {
            Located::Inside { window, .. } => window.end_ms,
            Located::Outside { .. } => None,
        }
    }
}

fn every(duration: String, start: TimeMs) -> PeriodSpec {
    PeriodSpec { period_type: PeriodType::Every, every: Some(duration), start: Some(start), ..PeriodSpec::default() }
}

/// The ISO 8601 duration of a cadence; None if the text is not valid.
fn cadence(text: &str) -> Option<String> {
    let duration = match text {
        "weekly" => "P1W",
        "monthly" => "P1M",
        "quarterly" => "P3M",
        "yearly" => "P1Y",
        other => other,
    };
    Period::new(&every(duration.to_owned(), 0)).is_ok().then(|| duration.to_owned())
}

fn attempts_id(id: &PolicyId) -> String {
    format!("attempts_{id}")
}

/// A group that counts the attempts of one user's action, over all events that the policy matches.
fn attempts_group(id: &PolicyId, retry: &RetryBody, groups: &[Arc<LimitGroup>]) -> Option<Arc<LimitGroup>> {
    let rules = groups.iter().flat_map(|group| &group.matches);
    let spec = PeriodSpec { period_type: PeriodType::Daily, ..PeriodSpec::default() };
    Some(Arc::new(LimitGroup {
        id: GroupId::parse(&attempts_id(id)).ok()?,
        label: "Attempts of one action".into(),
        kind: LimitKind::Quota,
        unit: Unit::Count,
        quota: Amount::from_steps(retry.max_attempts).ok(),
        rollover: None,
        max_per_call: None,
        measure: Measure::Event,
        matches: rules.map(|rule| super::match_rule::MatchRule { measure: None, ..rule.clone() }).collect(),
        covers: Vec::new(),
        period: Period::new(&spec).ok()?,
        enforcement: Enforcement::Hard,
        on_limit: None,
        on_plan_change: OnPlanChange::Carry,
        scope: Scope::user_action(),
        needs_scope: false,
        alerts: Vec::new(),
        overflow: None,
        alerts_below: Vec::new(),
        measure_left_out: false,
    }))
}

/// The strictest matching retry policy: the one with the fewest attempts.
pub fn retry_of<'a>(
    policies: impl Iterator<Item = &'a Policy>,
    event: &str,
    metadata: &Metadata,
) -> Option<&'a Policy> {
    let matching = policies.filter(|policy| {
        policy.body.retry.is_some() && policy.groups.iter().any(|group| group.matching_rule(event, metadata).is_some())
    });
    matching.min_by_key(|policy| policy.body.retry.as_ref().map(|retry| retry.max_attempts))
}

impl Policy {
    /// The group that counts the attempts of one action.
    pub fn attempts(&self) -> Option<&Arc<LimitGroup>> {
        let id = attempts_id(&self.id);
        self.groups.last().filter(|group| self.body.retry.is_some() && group.id.as_str() == id)
    }
}

fn check_record(body: &PolicyBody, errors: &mut Vec<FieldError>) {
    let mut check = |field: &str, text: Option<&str>, most: usize| {
        let bad = |text: &str| {
            text.len() > most || text.chars().any(|letter| letter.is_control() && letter != '\n' && letter != '\t')
        };
        if text.is_some_and(bad) {
            let message = format!("must have at most {most} bytes without control characters");
            errors.push(FieldError::new(field, message));
        }
    };
    for (field, text) in
        [("name", &body.name), ("owner", &body.owner), ("environment", &body.environment), ("route", &body.route)]
    {
        check(field, text.as_deref(), MOST_TEXT_BYTES);
    }
    check("notes", body.notes.as_deref(), MOST_NOTES_BYTES);
    let approval = body.approval.clone().unwrap_or_default();
    check("approval.condition", approval.condition.as_deref(), MOST_NOTES_BYTES);
    let non_retryable = body.retry.iter().flat_map(|retry| &retry.non_retryable);
    for (field, text) in approval
        .approvers
        .iter()
        .map(|text| ("approval.approvers", text))
        .chain(non_retryable.map(|text| ("retry.nonRetryable", text)))
    {
        check(field, Some(text), MOST_TEXT_BYTES);
    }
    let long = |list: usize| list > MOST_LIST;
    if long(approval.approvers.len()) {
        errors.push(FieldError::new("approval.approvers", format!("must have at most {MOST_LIST} entries")));
    }
    let Some(retry) = &body.retry else { return };
    if long(retry.non_retryable.len()) {
        errors.push(FieldError::new("retry.nonRetryable", format!("must have at most {MOST_LIST} entries")));
    }
    if !(1..=MOST_ATTEMPTS).contains(&retry.max_attempts) {
        errors.push(FieldError::new("retry.maxAttempts", format!("must be between 1 and {MOST_ATTEMPTS}")));
    }
    let Some(backoff) = &retry.backoff else { return };
    if backoff.initial_ms > MOST_BACKOFF_MS || backoff.max_ms.is_some_and(|most| most > MOST_BACKOFF_MS) {
        errors.push(FieldError::new("retry.backoff", format!("must not exceed {MOST_BACKOFF_MS} ms")));
    }
    if backoff.factor.is_some_and(|factor| !(1..=10).contains(&factor)) {
        errors.push(FieldError::new("retry.backoff.factor", "must be between 1 and 10"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::window::parse_rfc3339;
    use serde_json::{Value, json};

    fn policy(more: Value) -> Result<Policy, Vec<String>> {
        let mut body = json!({"periodType": "daily", "groups": [
            {"id": "g", "unit": "count", "quota": 5, "scope": ["metadata.team"], "matches": [{"event": "llm.*"}]}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let body = serde_json::from_value(body).unwrap();
        Policy::validate(&PolicyId::parse("p").unwrap(), 1, body)
            .map_err(|faults| faults.into_iter().map(|fault| fault.field).collect())
    }

    #[test]
    fn the_next_review_follows_from_the_cadence() {
        let at = |text: &str| parse_rfc3339(text).unwrap();
        for (cadence, due) in [
            ("weekly", "2027-02-07T10:00:00Z"),
            ("monthly", "2027-02-28T10:00:00Z"),
            ("quarterly", "2027-04-30T10:00:00Z"),
            ("yearly", "2028-01-31T10:00:00Z"),
            ("P90D", "2027-05-01T10:00:00Z"),
        ] {
            let policy = policy(json!({"reviewCadence": cadence})).unwrap();
            assert_eq!(policy.review_due_ms(at("2027-01-31T10:00:00Z")), Some(at(due)), "{cadence}");
        }
        assert_eq!(policy(json!({})).unwrap().review_due_ms(0), None);
    }

    #[test]
    fn faults_of_the_record_name_their_field() {
        for (more, field) in [
            (json!({"reviewCadence": "now and then"}), "reviewCadence"),
            (json!({"owner": "x".repeat(257)}), "owner"),
            (json!({"notes": "a\u{0}"}), "notes"),
            (json!({"retry": {"maxAttempts": 0}}), "retry.maxAttempts"),
            (json!({"retry": {"maxAttempts": 3, "backoff": {"initialMs": 1, "factor": 11}}}), "retry.backoff.factor"),
            (json!({"retry": {"maxAttempts": 3, "backoff": {"initialMs": 3_600_001}}}), "retry.backoff"),
            (json!({"retry": {"maxAttempts": 3, "nonRetryable": ["x".repeat(257)]}}), "retry.nonRetryable"),
            (json!({"approval": {"condition": "x".repeat(5000)}}), "approval.condition"),
        ] {
            assert_eq!(policy(more.clone()).unwrap_err(), [field], "{more}");
        }
    }

    #[test]
    fn attempts_are_counted_per_user_and_action() {
        let policy = policy(json!({"retry": {"maxAttempts": 3}})).unwrap();
        let group = policy.attempts().unwrap();
        assert_eq!((group.id.as_str(), group.quota.map(Amount::steps)), ("attempts_p", Some(3)));
        assert_eq!(group.scope.names(), ["user", "metadata.action"]);
        assert!(!group.needs_scope);
    }
}

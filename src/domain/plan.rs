//! Plans: validated sets of limit groups.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::amount::{Amount, Unit};
use super::field_error::FieldError;
use super::ids::{GroupId, PlanId};
use super::limit_group::LimitGroup;
use super::match_rule::MatchRule;
use super::measure::{Measure, Weighted};
use super::metadata::scalar_text;
use super::number::Number;
use super::period::{Period, PeriodSpec, PeriodType};
use super::plan_body::{GroupBody, MeasureBody, MeasureWord, PlanBody, RuleBody, UnmatchedEvents};
use super::window::{TimeMs, parse_rfc3339};

const MOST_GROUPS: usize = 64;
const MOST_RULES: usize = 64;
const MOST_PATTERNS: usize = 64;
const MOST_WEIGHTS: usize = 32;

/// A plan at one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub id: PlanId,
    pub version: u64,
    pub name: String,
    pub unmatched_events: UnmatchedEvents,
    /// The period that groups take where they name none; None if the plan names none either.
    pub period: Option<Period>,
    pub groups: Vec<Arc<LimitGroup>>,
    /// As the client wrote it, in canonical field names.
    pub body: PlanBody,
}

impl Plan {
    /// Checks everything and lists all faults at once.
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
        if body.groups.len() > MOST_GROUPS {
            errors.push(FieldError::new("groups", format!("must be at most {MOST_GROUPS}")));
        }
        let mut seen = HashSet::new();
        let mut groups = Vec::new();
        for (place, group) in body.groups.iter().enumerate() {
            let path = format!("groups[{place}]");
            match validate_group(group, &body) {
                Ok(group) => {
                    if !seen.insert(group.id.clone()) {
                        errors.push(FieldError::new(format!("{path}.id"), format!("`{}` is there twice", group.id)));
                    }
                    groups.push(Arc::new(group));
                }
                Err(faults) => errors.extend(faults.into_iter().map(|fault| fault.within(&path))),
            }
        }
        let period = plan_period(&body, &mut errors);
        errors.extend(ambiguous_measures(&body, &groups));
        if !errors.is_empty() {
            return Err(errors);
        }
        body.id = Some(id.to_string());
        let name = body.name.clone().unwrap_or_else(|| id.to_string());
        Ok(Self { id: id.clone(), version, name, unmatched_events: body.unmatched_events, period, groups, body })
    }

    pub fn group(&self, id: &GroupId) -> Option<&Arc<LimitGroup>> {
        self.groups.iter().find(|group| group.id == *id)
    }
}

struct Faults(Vec<FieldError>);

impl Faults {
    fn check<T, E: ToString>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.0.push(FieldError::new(field, error.to_string()))).ok()
    }

    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError::new(field, message));
    }
}

fn validate_group(body: &GroupBody, plan: &PlanBody) -> Result<LimitGroup, Vec<FieldError>> {
    let mut faults = Faults(Vec::new());
    let id = faults.check("id", GroupId::parse(&body.id));
    // Amounts are read in any unit where it is missing, so that their own faults are told too.
    let unit = body.unit.unwrap_or(Unit::Cents);
    if body.unit.is_none() {
        faults.add("unit", "is missing: count, tokens, seconds or cents");
    }
    if body.label.as_deref().is_some_and(|label| label.len() > 256) {
        faults.add("label", "must have at most 256 bytes");
    }
    let quota = match body.quota {
        None => {
            faults.add("quota", "is missing; write null to count without limit");
            None
        }
        Some(None) => None,
        Some(Some(quota)) => faults.check("quota", Amount::exactly(quota.0, unit)),
    };
    let max_per_call = body.max_per_call.and_then(|most| faults.check("maxPerCall", Amount::exactly(most.0, unit)));
    let measure = body
        .measure
        .as_ref()
        .map_or(Some(Measure::Quantity), |measure| validate_measure(measure, "measure", &mut faults));
    if body.matches.is_empty() || body.matches.len() > MOST_RULES {
        faults.add("matches", format!("must hold 1 to {MOST_RULES} rules"));
    }
    let matches =
        body.matches.iter().enumerate().filter_map(|(place, rule)| validate_rule(rule, place, &mut faults)).collect();
    if body.covers.len() > MOST_PATTERNS || body.covers.iter().any(|pattern| !is_pattern(pattern)) {
        faults.add(
            "covers",
            format!("must be at most {MOST_PATTERNS} patterns of 1 to 128 bytes without control characters"),
        );
    }
    if body.scope.as_ref().is_some_and(|scope| scope != &["user"]) {
        faults.add("scope", "this version counts per user: leave it out, or write [\"user\"]");
    }
    let period = validate_period(body, plan, &mut faults);
    let on_limit = body.on_limit.as_ref().and_then(|on_limit| faults.check("onLimit", serde_json::to_value(on_limit)));
    if on_limit.as_ref().is_some_and(|value| value.to_string().len() > 4096) {
        faults.add("onLimit", "must have at most 4096 bytes");
    }
    match (faults.0.is_empty(), id, measure, period) {
        (true, Some(id), Some(measure), Some(period)) => Ok(LimitGroup {
            label: body.label.clone().unwrap_or_else(|| id.to_string()),
            id,
            unit,
            quota,
            max_per_call,
            measure,
            matches,
            covers: body.covers.clone(),
            period,
            enforcement: body.enforcement,
            on_limit: on_limit.map(Arc::new),
            on_plan_change: body.on_plan_change,
        }),
        _ => Err(faults.0),
    }
}

fn is_pattern(text: &str) -> bool {
    !text.is_empty() && text.len() <= 128 && !text.chars().any(char::is_control)
}

fn validate_rule(rule: &RuleBody, place: usize, faults: &mut Faults) -> Option<MatchRule> {
    let path = format!("matches[{place}]");
    if !is_pattern(&rule.event) {
        faults.add(&format!("{path}.event"), "must have 1 to 128 bytes without control characters");
    }
    if rule.metadata.len() > 32 {
        faults.add(&format!("{path}.metadata"), "must have at most 32 keys");
    }
    let mut metadata = BTreeMap::new();
    for (name, filter) in &rule.metadata {
        let list = match filter {
            serde_json::Value::Array(list) => list.iter().map(scalar_text).collect(),
            scalar => scalar_text(scalar).map(|text| vec![text]),
        };
        match list.filter(|list: &Vec<String>| (1..=256).contains(&list.len())) {
            Some(list) => {
                metadata.insert(name.clone(), list);
            }
            None => faults.add(&format!("{path}.metadata.{name}"), "must be a scalar, or a list of 1 to 256 scalars"),
        }
    }
    let measure = match &rule.measure {
        Some(measure) => Some(validate_measure(measure, &format!("{path}.measure"), faults)?),
        None => None,
    };
    Some(MatchRule { event: rule.event.clone(), metadata, measure })
}

fn validate_measure(body: &MeasureBody, path: &str, faults: &mut Faults) -> Option<Measure> {
    let weighted = match body {
        MeasureBody::Word(MeasureWord::Quantity) => return Some(Measure::Quantity),
        MeasureBody::Word(MeasureWord::Event) => return Some(Measure::Event),
        MeasureBody::Weighted(weighted) => weighted,
    };
    if weighted.per.is_empty() || weighted.per.len() > MOST_WEIGHTS {
        faults.add(&format!("{path}.per"), format!("must hold 1 to {MOST_WEIGHTS} weights"));
        return None;
    }
    for name in weighted.estimate.keys() {
        if !weighted.per.contains_key(name) {
            faults.add(&format!("{path}.estimate.{name}"), "has no weight in `per`");
        }
    }
    let plain = |map: &BTreeMap<String, Number>| map.iter().map(|(name, number)| (name.clone(), number.0)).collect();
    Some(Measure::Weighted(Weighted { per: plain(&weighted.per), estimate: plain(&weighted.estimate) }))
}

/// The plan's period, overridden by the group. A group that names a period type of its own takes from the plan
/// only what is not about that type: anchor, time zone and start of the week.
fn validate_period(group: &GroupBody, plan: &PlanBody, faults: &mut Faults) -> Option<Period> {
    let Some(period_type) = group.period_type.or(plan.period_type) else {
        faults.add("periodType", "is missing, in the group and in the plan");
        return None;
    };
    let own_type = group.period_type.is_some();
    let inherited = |own: &Option<String>, plans: &Option<String>| {
        own.clone().or_else(|| if own_type { None } else { plans.clone() })
    };
    let anchor = group.period_anchor.or(match period_type {
        // Bounds or a start of its own stand against whatever the rest of the plan is anchored to.
        PeriodType::Fixed => None,
        PeriodType::Every if group.start.is_some() => None,
        _ => plan.period_anchor,
    });
    let every = inherited(&group.every, &plan.every);
    let start = time(inherited(&group.start, &plan.start), "start", faults);
    let end = time(inherited(&group.end, &plan.end), "end", faults);
    let spec = PeriodSpec {
        period_type,
        anchor,
        timezone: group.timezone.or(plan.timezone),
        week_start: group.week_start.or(plan.week_start),
        every,
        start,
        end,
    };
    match Period::new(&spec) {
        Ok(period) => Some(period),
        Err(errors) => {
            errors.into_iter().for_each(|error| faults.add(error.field, error.message));
            None
        }
    }
}

fn plan_period(plan: &PlanBody, errors: &mut Vec<FieldError>) -> Option<Period> {
    let mut faults = Faults(Vec::new());
    let spec = PeriodSpec {
        period_type: plan.period_type?,
        anchor: plan.period_anchor,
        timezone: plan.timezone,
        week_start: plan.week_start,
        every: plan.every.clone(),
        start: time(plan.start.clone(), "start", &mut faults),
        end: time(plan.end.clone(), "end", &mut faults),
    };
    let period = Period::new(&spec)
        .map_err(|errors| errors.into_iter().for_each(|error| faults.add(error.field, error.message)));
    errors.extend(faults.0);
    period.ok()
}

fn time(text: Option<String>, field: &str, faults: &mut Faults) -> Option<TimeMs> {
    let text = text?;
    let parsed = parse_rfc3339(&text);
    if parsed.is_none() {
        faults.add(field, "must be an RFC 3339 time, such as 2026-01-31T10:00:00Z");
    }
    parsed
}

/// Two groups of different units that can match the same event must not both count its bare quantity:
/// 4,000 tokens are not 4,000 requests.
fn ambiguous_measures(body: &PlanBody, groups: &[Arc<LimitGroup>]) -> Vec<FieldError> {
    let implicit = |group: &LimitGroup, rule: &MatchRule| {
        rule.measure.is_none()
            && body.groups.iter().any(|given| given.id == group.id.as_str() && given.measure.is_none())
    };
    let mut errors = Vec::new();
    for (place, right) in groups.iter().enumerate() {
        for left in &groups[..place] {
            let clash = left.unit != right.unit
                && left.matches.iter().filter(|rule| implicit(left, rule)).any(|one| {
                    right.matches.iter().filter(|rule| implicit(right, rule)).any(|other| one.overlaps(other))
                });
            if clash {
                errors.push(FieldError::new(
                    format!("groups[{place}].measure"),
                    format!(
                        "`{}` ({}) and `{}` ({}) can match the same event, whose quantity cannot be both: give at least \
                         one of them a measure, such as \"event\" (1 per call) or {{\"per\": {{…}}}}",
                        left.id, left.unit, right.id, right.unit
                    ),
                ));
            }
        }
    }
    errors
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

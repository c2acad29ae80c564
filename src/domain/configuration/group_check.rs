//! Validates the limit groups of plans and policies.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rust_decimal::Decimal;

use super::balance_check::{alerts_below, connect, misplaced_fields};
use super::estimate::{Estimate, LearnedEstimate};
use super::limit_group::{LimitGroup, LimitKind, OnPlanChange};
use super::match_rule::MatchRule;
use super::measure::{Measure, Weighted};
use super::plan_body::{EstimateBody, GroupBody, MeasureBody, MeasureWord, PeriodBody, RuleBody, WeightedBody};
use super::scope::Scope;
use crate::domain::time::period::{Period, PeriodSpec, PeriodType};
use crate::domain::time::window::{TimeMs, WindowKind, parse_rfc3339};
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::GroupId;
use crate::domain::values::metadata::{is_key, scalar_text};

const MOST_GROUPS: usize = 64;
const MOST_RULES: usize = 64;
const MOST_PATTERNS: usize = 64;
const MOST_WEIGHTS: usize = 32;
const MOST_ALERTS: usize = 16;
const MOST_LEARNED_BY: usize = 4;
/// Percent. A soft group may exceed its quota, hence more than 100.
const HIGHEST_ALERT: u64 = 1000;

/// The groups of one body, and every fault in them.
pub fn check_groups(bodies: &[GroupBody], period: &PeriodBody) -> (Vec<Arc<LimitGroup>>, Vec<FieldError>) {
    let mut errors = Vec::new();
    if bodies.len() > MOST_GROUPS {
        errors.push(FieldError::new("groups", format!("must have at most {MOST_GROUPS} groups")));
    }
    let mut seen = HashSet::new();
    let mut groups: Vec<Arc<LimitGroup>> = Vec::new();
    let mut places = Vec::new();
    for (place, group) in bodies.iter().enumerate() {
        let path = format!("groups[{place}]");
        match check_group(group, period) {
            Ok(group) => {
                if !seen.insert(group.id.clone()) {
                    errors.push(FieldError::new(
                        format!("{path}.id"),
                        format!("must be unique: `{}` occurs twice", group.id),
                    ));
                }
                groups.push(Arc::new(group));
                places.push(place);
            }
            Err(faults) => errors.extend(faults.into_iter().map(|fault| fault.within(&path))),
        }
    }
    for (right, place) in groups.iter().zip(&places) {
        for left in groups.iter().zip(&places).take_while(|(_, other)| *other < place).map(|(left, _)| left) {
            errors.extend(ambiguous(left, right).map(|fault| fault.within(&format!("groups[{place}]"))));
        }
    }
    errors.extend(connect(bodies, &mut groups, &places));
    (groups, errors)
}

/// The default period of groups without a period.
pub fn default_period(body: &PeriodBody) -> (Option<Period>, Vec<FieldError>) {
    let Some(period_type) = body.period_type else { return (None, Vec::new()) };
    let mut faults = Faults::default();
    let spec = PeriodSpec {
        period_type,
        anchor: body.period_anchor,
        timezone: body.timezone,
        week_start: body.week_start,
        every: body.every.clone(),
        start: time(body.start.clone(), "start", &mut faults),
        end: time(body.end.clone(), "end", &mut faults),
    };
    let period = faults.period(&spec);
    (period, faults.0)
}

/// Two groups with different units that can match the same event must not both count its bare quantity: 4,000 tokens
/// are not 4,000 requests.
pub fn ambiguous(left: &LimitGroup, right: &LimitGroup) -> Option<FieldError> {
    ambiguous_rules(left, right).next().map(|_| {
        FieldError::new(
            "measure",
            format!(
                "is required in at least one of `{}` ({}) and `{}` ({}), since both can match the same event, and its \
                 quantity cannot be in two units: for example \"event\" (1 per call) or {{\"per\": {{…}}}}",
                left.id, left.unit, right.id, right.unit
            ),
        )
    })
}

/// The indices of the second group's rules that are [`ambiguous`] with the first group.
pub fn ambiguous_rules<'a>(left: &'a LimitGroup, right: &'a LimitGroup) -> impl Iterator<Item = usize> + 'a {
    fn implicit(group: &LimitGroup) -> impl Iterator<Item = (usize, &MatchRule)> {
        group.matches.iter().enumerate().filter(|(_, rule)| group.measure_left_out && rule.measure.is_none())
    }
    let clashing = implicit(right).filter(|(_, one)| implicit(left).any(|(_, other)| one.overlaps(other)));
    clashing.map(|(place, _)| place).filter(|_| left.unit != right.unit)
}

impl Faults {
    fn period(&mut self, spec: &PeriodSpec) -> Option<Period> {
        let period = Period::new(spec);
        period.map_err(|errors| errors.into_iter().for_each(|error| self.add(error.field, error.message))).ok()
    }
}

fn check_group(body: &GroupBody, default: &PeriodBody) -> Result<LimitGroup, Vec<FieldError>> {
    let mut faults = Faults::default();
    let id = faults.check("id", GroupId::parse(&body.id));
    // Without a unit, amounts are checked as cents, so that their own faults are reported too.
    let unit = body.unit.unwrap_or(Unit::Cents);
    if body.unit.is_none() {
        faults.add("unit", "is required: `count`, `tokens`, `seconds` or `cents`");
    }
    if body.label.as_deref().is_some_and(|label| label.len() > 256) {
        faults.add("label", "must have at most 256 bytes");
    }
    let is_balance = body.kind == LimitKind::Balance;
    faults.0.extend(misplaced_fields(body));
    let quota = match body.quota {
        None if is_balance => None,
        None => {
            faults.add("quota", "is required; null counts without limit");
            None
        }
        Some(None) => None,
        Some(Some(quota)) => faults.check("quota", Amount::exactly(quota.0, unit)),
    };
    let rollover = if is_balance { None } else { check_rollover(body, unit, &mut faults) };
    let max_per_call = body.max_per_call.and_then(|most| faults.check("maxPerCall", Amount::exactly(most.0, unit)));
    let measure = body
        .measure
        .as_ref()
        .map_or(Some(Measure::Quantity), |measure| validate_measure(measure, "measure", &mut faults));
    if (body.matches.is_empty() && !is_balance) || body.matches.len() > MOST_RULES {
        faults.add("matches", format!("must have 1 to {MOST_RULES} rules"));
    }
    let matches =
        body.matches.iter().enumerate().filter_map(|(place, rule)| validate_rule(rule, place, &mut faults)).collect();
    if body.covers.len() > MOST_PATTERNS || body.covers.iter().any(|pattern| !is_pattern(pattern)) {
        faults.add(
            "covers",
            format!("must have at most {MOST_PATTERNS} patterns of 1 to 128 bytes without control characters"),
        );
    }
    let scope = match &body.scope {
        None => Some(Scope::user()),
        Some(names) => faults.check("scope", Scope::parse(names)),
    };
    let period = match is_balance {
        true => faults.period(&PeriodSpec::default()),
        false => validate_period(body, default, &mut faults),
    };
    if let Some((scope, period)) = scope.as_ref().zip(period.as_ref()) {
        check_scope(body, scope, period, &mut faults);
    }
    if let Some(kind) = period.as_ref().map(Period::kind).filter(|_| rollover.is_some()) {
        check_renews(kind, &mut faults);
    }
    check_alerts(&body.alerts, &mut faults);
    let alerts_below = faults.check("alertsBelow", alerts_below(&body.alerts_below, unit, MOST_ALERTS));
    let on_limit = body.on_limit.as_ref().and_then(|on_limit| faults.check("onLimit", serde_json::to_value(on_limit)));
    if on_limit.as_ref().is_some_and(|value| value.to_string().len() > 4096) {
        faults.add("onLimit", "must have at most 4096 bytes");
    }
    match (faults.0.is_empty(), id, measure, period.zip(scope)) {
        (true, Some(id), Some(measure), Some((period, scope))) => Ok(LimitGroup {
            label: body.label.as_deref().unwrap_or(id.as_str()).into(),
            id,
            kind: body.kind,
            unit,
            quota,
            rollover,
            max_per_call,
            measure,
            matches,
            covers: body.covers.clone(),
            period,
            enforcement: body.enforcement,
            on_limit: on_limit.map(Arc::new),
            on_plan_change: body.on_plan_change,
            scope,
            needs_scope: true,
            alerts: body.alerts.clone(),
            overflow: None,
            alerts_below: alerts_below.unwrap_or_default(),
            measure_left_out: body.measure.is_none(),
        }),
        _ => Err(faults.0),
    }
}

/// Restrictions on groups whose counters are not exactly one per user.
fn check_scope(body: &GroupBody, scope: &Scope, period: &Period, faults: &mut Faults) {
    if !scope.contains_user() && period.needs_subscription() {
        faults.add(
            "periodAnchor",
            "must be `calendar` if the scope does not contain `user`, since there is no subscription to count from",
        );
    }
    if scope.is_free() && period.kind() == WindowKind::Lifetime && body.kind == LimitKind::Quota {
        faults.add("periodType", "must not be `lifetime` if the scope contains metadata, since such counters expire");
    }
    if !scope.is_user() && body.on_plan_change != OnPlanChange::Carry {
        faults.add("onPlanChange", "must be `carry` unless the scope is only `user`");
    }
}

fn check_rollover(body: &GroupBody, unit: Unit, faults: &mut Faults) -> Option<Amount> {
    let max = body.rollover.as_ref()?.max.0;
    if body.quota == Some(None) {
        faults.add("rollover", "can only be set for a group with a `quota`");
    }
    let max = faults.check("rollover.max", Amount::exactly(max, unit))?;
    if max == Amount::ZERO {
        faults.add("rollover.max", "must be greater than 0");
    }
    Some(max)
}

/// Unused quota is only rolled over into a next window.
fn check_renews(kind: WindowKind, faults: &mut Faults) {
    if kind.is_endless() || kind == WindowKind::Fixed {
        let message = format!("must not be set with `periodType` `{}`, which has only one window", kind.as_str());
        faults.add("rollover", message);
    }
}

fn check_alerts(alerts: &[u64], faults: &mut Faults) {
    let rising = alerts.windows(2).all(|pair| pair[0] < pair[1]);
    let within = alerts.iter().all(|percent| (1..=HIGHEST_ALERT).contains(percent));
    if alerts.len() > MOST_ALERTS || !rising || !within {
        faults.add(
            "alerts",
            format!("must be at most {MOST_ALERTS} whole percentages from 1 to {HIGHEST_ALERT} in ascending order"),
        );
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
            serde_json::Value::Array(list) => list.iter().cloned().map(scalar_text).collect(),
            scalar => scalar_text(scalar.clone()).map(|text| vec![text]),
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
        faults.add(&format!("{path}.per"), format!("must have 1 to {MOST_WEIGHTS} weights"));
        return None;
    }
    let mut estimate = BTreeMap::new();
    for (name, body) in &weighted.estimate {
        let path = format!("{path}.estimate.{name}");
        if !weighted.per.contains_key(name) {
            faults.add(&path, "must also have a weight in `per`");
        }
        estimate.insert(name.clone(), validate_estimate(body, name, weighted, &path, faults));
    }
    let per = weighted.per.iter().map(|(name, number)| (name.clone(), number.0)).collect();
    Some(Measure::Weighted(Weighted { per, estimate }))
}

/// The estimate for a field of this measure.
fn validate_estimate(
    body: &EstimateBody,
    field: &str,
    measure: &WeightedBody,
    path: &str,
    faults: &mut Faults,
) -> Estimate {
    let learned = match body {
        EstimateBody::Fixed(number) => return Estimate::Fixed(number.0),
        EstimateBody::Learned(learned) => learned,
    };
    if matches!(field, "quantity" | "event") {
        faults.add(path, "must be a number, since only metadata fields are learned");
    }
    let quantile = learned.quantile.0;
    if quantile <= Decimal::ZERO || quantile >= Decimal::ONE {
        faults.add(&format!("{path}.quantile"), "must be more than 0 and less than 1");
    }
    let mut by = learned.by.clone();
    by.sort();
    by.dedup();
    let is_label = |name: &String| is_key(name) && !measure.per.contains_key(name);
    if by.len() != learned.by.len() || by.len() > MOST_LEARNED_BY || !by.iter().all(is_label) {
        faults.add(
            &format!("{path}.by"),
            format!("must have at most {MOST_LEARNED_BY} different metadata fields that have no weight in `per`"),
        );
    }
    let (start, max) = (learned.start.0, learned.max.map(|max| max.0));
    if start.is_zero() {
        faults.add(&format!("{path}.start"), "must be greater than 0");
    }
    if max.is_some_and(|max| max < start) {
        faults.add(&format!("{path}.max"), "must be at least `start`");
    }
    Estimate::Learned(LearnedEstimate { quantile, by, start, max })
}

/// The plan's period, overridden by the group. A group with its own period type takes only those fields of the plan
/// that do not depend on the type: anchor, time zone and start of the week.
fn validate_period(group: &GroupBody, plan: &PeriodBody, faults: &mut Faults) -> Option<Period> {
    let Some(period_type) = group.period_type.or(plan.period_type) else {
        faults.add("periodType", "is required in the group or in the plan");
        return None;
    };
    let own_type = group.period_type.is_some();
    let inherited = |own: &Option<String>, plans: &Option<String>| {
        own.clone().or_else(|| if own_type { None } else { plans.clone() })
    };
    let anchor = group.period_anchor.or(match period_type {
        // The group's own bounds or start take precedence over the plan's anchor.
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
    faults.period(&spec)
}

fn time(text: Option<String>, field: &str, faults: &mut Faults) -> Option<TimeMs> {
    let text = text?;
    let parsed = parse_rfc3339(&text);
    if parsed.is_none() {
        faults.add(field, "must be an RFC 3339 time, such as 2026-01-31T10:00:00Z");
    }
    parsed
}

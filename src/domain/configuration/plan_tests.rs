use super::*;
use crate::domain::configuration::estimate::Estimate;
use crate::domain::configuration::measure::Measure;
use rust_decimal::Decimal;
use serde_json::{Value, json};

fn validate(body: Value) -> Result<Plan, Vec<String>> {
    let body: PlanBody = serde_json::from_value(body).map_err(|error| vec![error.to_string()])?;
    let id = PlanId::parse("plan_a").unwrap();
    Plan::validate(&id, 1, body).map_err(|errors| errors.into_iter().map(|error| error.field).collect())
}

fn group(changes: Value) -> Value {
    let mut group = json!({"id": "a", "unit": "count", "quota": 1, "matches": [{"event": "x"}]});
    group.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    group
}

/// A learned estimate with these changes.
fn learned(field: &str, changes: Value) -> Value {
    let mut estimate = json!({"quantile": 0.95, "by": ["model", "b"], "start": 100, "max": "200"});
    estimate.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json!({"measure": {"per": {"a": 1, "event": 1}, "estimate": {field: estimate}}})
}

#[test]
fn a_learned_estimate_is_written_as_it_was_read() {
    let body = json!({"periodType": "monthly", "groups": [group(learned("a", json!({})))]});
    let plan = validate(body).unwrap();
    let written = serde_json::to_value(&plan.body.groups[0].measure).unwrap();
    assert_eq!(written["estimate"]["a"], json!({"quantile": 0.95, "by": ["model", "b"], "start": 100, "max": 200}));
    let Measure::Weighted(weighted) = &plan.groups[0].measure else { panic!("a sum") };
    let Estimate::Learned(learned) = &weighted.estimate["a"] else { panic!("a learned estimate") };
    assert_eq!((learned.by.as_slice(), learned.start), (&["b".to_owned(), "model".to_owned()][..], Decimal::from(100)));
}

#[test]
fn every_fault_is_named_at_once() {
    let errors = validate(json!({"id": "plan_b", "groups": [
        {"id": "a b", "unit": "count", "matches": [], "periodType": "monthly"},
        {"id": "b", "unit": "count", "quota": 0.5, "matches": [{"event": ""}], "scope": ["team"]},
    ]}));
    assert_eq!(
        errors.unwrap_err(),
        [
            "id",
            "groups[0].id",
            "groups[0].quota",
            "groups[0].matches",
            "groups[1].quota",
            "groups[1].matches[0].event",
            "groups[1].scope",
            "groups[1].periodType",
        ]
    );
}

#[test]
fn single_faults_are_refused() {
    for (changes, field) in [
        (json!({"quota": 9_007_199_254_740_992_u64}), "quota"),
        (json!({"maxPerCall": 0.1}), "maxPerCall"),
        (json!({"rollover": {"max": 0}}), "rollover.max"),
        (json!({"rollover": {"max": 0.1}}), "rollover.max"),
        (json!({"rollover": {"max": 1}, "quota": null}), "rollover"),
        (json!({"rollover": {"max": 1}, "periodType": "lifetime"}), "rollover"),
        (json!({"measure": {"per": {}}}), "measure.per"),
        (json!({"measure": {"per": {"a": 1}, "estimate": {"b": 1}}}), "measure.estimate.b"),
        (learned("event", json!({})), "measure.estimate.event"),
        (learned("a", json!({"quantile": 0})), "measure.estimate.a.quantile"),
        (learned("a", json!({"quantile": 1})), "measure.estimate.a.quantile"),
        (learned("a", json!({"by": ["a"]})), "measure.estimate.a.by"),
        (learned("a", json!({"by": ["event"]})), "measure.estimate.a.by"),
        (
            json!({"measure": {"per": {"a": 1, "c": 1}, "estimate": {
                "a": {"quantile": 0.5, "by": ["b", "c"], "start": 1}}}}),
            "measure.estimate.a.by",
        ),
        (learned("a", json!({"by": ["b", "b"]})), "measure.estimate.a.by"),
        (learned("a", json!({"by": [""]})), "measure.estimate.a.by"),
        (learned("a", json!({"by": ["b", "c", "d", "e", "f"]})), "measure.estimate.a.by"),
        (learned("a", json!({"start": 0})), "measure.estimate.a.start"),
        (learned("a", json!({"max": 99})), "measure.estimate.a.max"),
        (json!({"matches": [{"event": "x", "metadata": {"a": {"b": 1}}}]}), "matches[0].metadata.a"),
        (json!({"matches": [{"event": "x", "metadata": {"a": []}}]}), "matches[0].metadata.a"),
        (json!({"covers": [""]}), "covers"),
        (json!({"periodType": "every", "every": "P0D"}), "every"),
        (json!({"periodType": "fixed", "start": "yesterday"}), "start"),
    ] {
        let errors = validate(json!({"periodType": "monthly", "groups": [group(changes.clone())]})).unwrap_err();
        assert!(errors.contains(&format!("groups[0].{field}")), "{changes}: {errors:?}");
    }
    let twice = validate(json!({"periodType": "monthly", "groups": [group(json!({})), group(json!({}))]}));
    assert_eq!(twice.unwrap_err(), ["groups[1].id"]);
}

#[test]
fn types_and_unknown_fields_are_refused_by_name() {
    for (changes, word) in [
        (json!({"quotas": 1}), "quotas"),
        (json!({"unit": "hours"}), "hours"),
        (json!({"measure": "calls"}), "calls"),
        (json!({"measure": {"pre": {}}}), "pre"),
        (json!({"measure": {"per": {"a": 1}, "estimate": {"a": "many"}}}), "number"),
        (json!({"measure": {"per": {"a": 1}, "estimate": {"a": {"quantile": 0.5}}}}), "start"),
        (learned("a", json!({"quantil": 0.5})), "quantil"),
        (learned("a", json!({"start": -1})), "negative"),
        (json!({"quota": true}), "number"),
        (json!({"quota": "1e400"}), "at most 9007199254740991 count"),
        (json!({"timezone": "Mars/Base"}), "Mars"),
        (json!({"enforcement": "gentle"}), "approval"),
        (json!({"onPlanChange": "keep"}), "block"),
    ] {
        let errors = validate(json!({"periodType": "monthly", "groups": [group(changes.clone())]})).unwrap_err();
        assert!(errors[0].contains(word), "{changes}: {errors:?}");
    }
}

#[test]
fn aliases_are_accepted_and_written_canonically() {
    let plan = validate(json!({"period": "daily", "anchor": "calendar", "groups": [
        {"id": "a", "name": "A", "unit": "count", "quota": null, "match": [{"event": "x"}], "period": "hourly", "anchor": "calendar"},
    ]}))
    .unwrap();
    let body = serde_json::to_value(&plan.body).unwrap();
    assert_eq!(body["periodType"], "daily");
    assert_eq!(body["groups"][0]["label"], "A");
    assert_eq!(body["groups"][0]["matches"][0]["event"], "x");
    assert_eq!(body["groups"][0]["quota"], Value::Null);
    assert!(body["groups"][0].as_object().unwrap().contains_key("quota"));
}

#[test]
fn what_cannot_be_both_needs_a_measure() {
    let tokens = json!({"id": "t", "unit": "tokens", "quota": 1, "matches": [{"event": "llm.*"}]});
    for (other, refused) in [
        (group(json!({"matches": [{"event": "*"}]})), true),
        (group(json!({"matches": [{"event": "*"}], "measure": "event"})), false),
        (group(json!({"matches": [{"event": "*", "measure": "event"}]})), false),
        (group(json!({"matches": [{"event": "image.*"}]})), false),
        (group(json!({"matches": [{"event": "*"}], "unit": "tokens"})), false),
    ] {
        let result = validate(json!({"periodType": "monthly", "groups": [tokens.clone(), other.clone()]}));
        assert_eq!(result.is_err(), refused, "{other}: {result:?}");
    }
}

#[test]
fn a_group_overrides_the_plans_period() {
    let plan = validate(json!({"periodType": "monthly", "periodAnchor": "subscription_start", "groups": [
        group(json!({})),
        group(json!({"id": "b", "periodType": "minute", "periodAnchor": "calendar"})),
        group(json!({"id": "c", "periodType": "fixed", "start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"})),
    ]}))
    .unwrap();
    assert_eq!(
        plan.groups.iter().map(|group| group.period.needs_subscription()).collect::<Vec<_>>(),
        [true, false, false]
    );
}

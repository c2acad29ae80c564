use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::configuration::estimate::LearnedValues;
use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::policy::Policy;
use crate::domain::metering::admission::prepare;
use crate::domain::metering::reason::Reason;
use crate::domain::time::period::SubscriptionAnchor;
use crate::domain::values::amount::parse_decimal;
use crate::domain::values::ids::{AppId, EventName, UserId};
use crate::domain::values::metadata::Metadata;

const ANCHOR: SubscriptionAnchor = SubscriptionAnchor { started_at_ms: 0, cycle_start_ms: None };
const NOW: TimeMs = 1_800_000_000_000;

fn plan(groups: Value) -> Plan {
    let body = serde_json::from_value(json!({"periodType": "monthly", "groups": groups})).unwrap();
    Plan::validate(&PlanId::parse("p").unwrap(), 7, body).unwrap()
}

fn policy(groups: Value) -> Arc<Policy> {
    let body = serde_json::from_value(json!({"periodType": "daily", "groups": groups})).unwrap();
    Arc::new(Policy::validate(&PolicyId::parse("cap").unwrap(), 9, body).unwrap())
}

fn effective_limits<'a>(plan: Option<&'a Plan>, policies: &'a [Arc<Policy>]) -> EffectiveLimits<'a> {
    EffectiveLimits { plan, policies, anchor: ANCHOR, until_ms: TimeMs::MAX, blocked: false }
}

/// Explanation and decision of one call, with the event and metadata of one user without a key.
fn both(
    effective_limits: EffectiveLimits<'_>,
    event: &str,
    quantity: &str,
    metadata: Value,
) -> (Vec<ExplainedGroup>, Result<Admission, FieldError>) {
    let (user, app) = (UserId::parse("u").unwrap(), AppId::parse("acme").unwrap());
    let event = EventName::parse(event).unwrap();
    let metadata: Metadata = serde_json::from_value(metadata).unwrap();
    let learned = LearnedValues::none();
    let request = Request { event: &event, quantity: parse_decimal(quantity).unwrap(), metadata: &metadata, learned };
    let caller = Caller { user: &user, app: &app, key: None };
    (trace(effective_limits, caller, request, NOW).0, prepare(effective_limits, caller, &[request], NOW, Purpose::Ask))
}

fn missing(field: &str, wanted: &[&str]) -> Mismatch {
    let wanted = wanted.iter().map(|text| (*text).to_owned()).collect();
    Mismatch::Missing { field: field.to_owned(), wanted }
}

fn value(field: &str, found: &str, wanted: &[&str]) -> Mismatch {
    let wanted = wanted.iter().map(|text| (*text).to_owned()).collect();
    Mismatch::Value { field: field.to_owned(), found: found.to_owned(), wanted }
}

#[test]
fn every_rule_that_was_tried_says_all_that_keeps_it_from_matching() {
    let plan = plan(json!([{"id": "g", "unit": "count", "quota": 5, "matches": [
        {"event": "image.*", "metadata": {"variant": ["1k", "2k"], "paid": true}},
        {"event": "video.*"},
        {"event": "image.*", "metadata": {"team": "red"}},
        {"event": "*"}]}]));
    for (event, metadata, expected) in [
        ("image.a", json!({"variant": "2k", "paid": "true"}), vec![vec![]]),
        (
            "image.a",
            json!({"variant": "4k", "team": "red"}),
            vec![
                vec![missing("paid", &["true"]), value("variant", "4k", &["1k", "2k"])],
                vec![Mismatch::Event],
                vec![],
            ],
        ),
        (
            "audio.a",
            json!({}),
            vec![
                vec![Mismatch::Event, missing("paid", &["true"]), missing("variant", &["1k", "2k"])],
                vec![Mismatch::Event],
                vec![Mismatch::Event, missing("team", &["red"])],
                vec![],
            ],
        ),
    ] {
        let (traced, _) = both(effective_limits(Some(&plan), &[]), event, "1", metadata.clone());
        let tried: Vec<Vec<Mismatch>> = traced[0].tried.iter().map(|tried| tried.mismatches.clone()).collect();
        assert_eq!(tried, expected, "{event} {metadata}");
        assert_eq!(traced[0].counts().unwrap().rule, expected.len() - 1, "{event} {metadata}");
    }
}

#[test]
fn explain_shows_the_outcome_of_each_group_for_a_call() {
    let plan = plan(json!([
        {"id": "images", "unit": "count", "quota": 5, "maxPerCall": 2, "matches": [{"event": "image.*"}]},
        {"id": "spend", "unit": "cents", "quota": 5, "covers": ["llm.*"], "measure": {"per": {"tokens": "0.1"}},
            "matches": [{"event": "llm.*", "metadata": {"model": "m"}}]},
        {"id": "campaign", "unit": "count", "quota": 5, "periodType": "fixed", "start": "2040-01-01T00:00:00Z",
            "end": "2041-01-01T00:00:00Z", "matches": [{"event": "sale"}]}]));
    let policies = [policy(json!([{"id": "team", "unit": "count", "quota": 9, "measure": "event",
        "scope": ["metadata.team"], "matches": [{"event": "image.*"}]}]))];
    let unmatched = |covers| Outcome::Unmatched { covers };
    let lacks_team = Outcome::MissingScope { rule: 0, missing: vec!["metadata.team".to_owned()], refuses: true };
    let outcomes = |event: &str, quantity: &str, metadata: Value| {
        let (traced, _) = both(effective_limits(Some(&plan), &policies), event, quantity, metadata);
        assert_eq!(traced[3].origin, Origin::Policy(PolicyId::parse("cap").unwrap(), 9));
        assert_eq!(traced[0].origin, Origin::Plan(PlanId::parse("p").unwrap(), 7));
        traced.into_iter().map(|traced| traced.outcome).collect::<Vec<_>>()
    };
    let found = outcomes("image.a", "3", json!({}));
    assert_eq!(found[1..], [unmatched(false), unmatched(false), lacks_team]);
    let Outcome::Counts(counts) = &found[0] else { panic!("{found:?}") };
    assert_eq!((counts.amount.steps(), counts.too_large, counts.window.is_some()), (3, true, true));
    let found = outcomes("image.a", "1", json!({"team": "red"}));
    let Outcome::Counts(counts) = &found[3] else { panic!("{found:?}") };
    assert_eq!(counts.owner.to_map(), std::collections::BTreeMap::from([("metadata.team".into(), "red".into())]));
    assert_eq!(outcomes("llm.chat", "1", json!({"model": "n"}))[1], unmatched(true));
    let found = outcomes("llm.chat", "1", json!({"model": "m"}));
    let Outcome::Unmeasured { fault, .. } = &found[1] else { panic!("{found:?}") };
    assert_eq!(fault.field, "metadata.tokens");
    let found = outcomes("sale", "1", json!({}));
    let Outcome::Counts(counts) = &found[2] else { panic!("{found:?}") };
    assert_eq!((counts.window, counts.opens_at_ms.is_some()), (None, true));
}

#[test]
fn explain_shows_a_blocked_user_which_groups_would_count() {
    let plan = plan(json!([{"id": "g", "unit": "count", "quota": 5, "matches": [{"event": "*"}]}]));
    let blocked = EffectiveLimits { blocked: true, ..effective_limits(Some(&plan), &[]) };
    let (traced, decided) = both(blocked, "x", "1", json!({}));
    assert_eq!(decided.unwrap().refusal.unwrap().reason, Reason::UserBlocked);
    assert!(traced[0].counts().is_some());
}

const EVENTS: [&str; 4] = ["image.a", "image.b", "llm.chat", "sale"];

fn rule() -> impl Strategy<Value = Value> {
    let pattern = prop::sample::select(vec!["*", "image.*", "image.a", "llm.*", "*.chat", "none"]);
    let names = prop::sample::select(vec!["team", "model"]);
    let values = prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..3);
    (pattern, prop::option::of((names, values))).prop_map(|(event, filter)| match filter {
        None => json!({"event": event}),
        Some((name, values)) => json!({"event": event, "metadata": {name: values}}),
    })
}

fn group(id: String) -> impl Strategy<Value = Value> {
    let scope = prop::sample::select(vec![
        json!(["user"]),
        json!(["metadata.team"]),
        json!(["user", "metadata.model"]),
        json!(["app"]),
        json!(["key"]),
    ]);
    let measure = prop::sample::select(vec![
        json!("quantity"),
        json!("event"),
        json!({"per": {"tokens": 2}}),
        json!({"per": {"tokens": 2}, "estimate": {"tokens": 3}}),
    ]);
    let period = prop::sample::select(vec![
        json!({"periodType": "daily"}),
        json!({"periodType": "concurrent"}),
        json!({"periodType": "fixed", "start": "2040-01-01T00:00:00Z", "end": "2041-01-01T00:00:00Z"}),
    ]);
    let covers = prop::sample::select(vec![json!([]), json!(["llm.*"])]);
    let rest = (scope, measure, period, covers, prop::option::of(1_u64..4));
    (prop::collection::vec(rule(), 1..4), rest).prop_map(move |(matches, (scope, measure, period, covers, most))| {
        let mut group = json!({"id": id, "unit": "count", "quota": 5, "matches": matches, "scope": scope,
            "measure": measure, "covers": covers, "maxPerCall": most});
        group.as_object_mut().unwrap().extend(period.as_object().unwrap().clone());
        group
    })
}

fn groups(prefix: &'static str) -> impl Strategy<Value = Vec<Value>> {
    (0_usize..4)
        .prop_flat_map(move |count| (0..count).map(|place| group(format!("{prefix}{place}"))).collect::<Vec<_>>())
}

fn ids<'a>(groups: impl Iterator<Item = &'a Arc<LimitGroup>>) -> BTreeSet<&'a str> {
    groups.map(|group| group.id.as_str()).collect()
}

proptest! {
    #[test]
    fn an_explanation_and_the_decision_never_differ(
        of_plan in groups("a"), of_policy in groups("b"),
        event in prop::sample::select(EVENTS.to_vec()), quantity in 1_u64..5,
        team in prop::option::of(prop::sample::select(vec!["a", "b", ""])),
        model in prop::option::of(prop::sample::select(vec!["a", "b"])), tokens in prop::option::of(0_u64..3)
    ) {
        let body = |groups: &[Value]| serde_json::from_value(json!({"periodType": "monthly", "groups": groups})).unwrap();
        // Skips configurations that are not valid.
        let plan = Plan::validate(&PlanId::parse("p").unwrap(), 7, body(&of_plan));
        let body: crate::domain::configuration::policy_body::PolicyBody =
            serde_json::from_value(json!({"periodType": "daily", "groups": of_policy})).unwrap();
        let policy = Policy::validate(&PolicyId::parse("cap").unwrap(), 9, body);
        prop_assume!(plan.is_ok() && policy.is_ok());
        let (plan, policies) = (plan.unwrap(), [Arc::new(policy.unwrap())]);
        let mut metadata = json!({});
        for (name, text) in [("team", team.map(Value::from)), ("model", model.map(Value::from)), ("tokens", tokens.map(Value::from))] {
            if let Some(text) = text {
                metadata[name] = text;
            }
        }
        let (traced, decided) = both(effective_limits(Some(&plan), &policies), event, &quantity.to_string(), metadata);
        let counted = || traced.iter().filter(|traced| traced.counts().is_some());
        match decided {
            Err(fault) => {
                let found_fault = |traced: &ExplainedGroup| matches!(&traced.outcome, Outcome::Unmeasured { fault: found_fault, .. } if *found_fault == fault);
                prop_assert!(traced.iter().any(found_fault), "{fault:?} {traced:?}");
            }
            Ok(admission) => {
                let decided = ids(admission.matched.iter().map(|matched| &matched.group)
                    .chain(admission.closed.iter().map(|closed| &closed.group)));
                prop_assert_eq!(ids(counted().map(|traced| &traced.group)), decided);
                for matched in &admission.matched {
                    let same = counted().find(|traced| traced.group.id == matched.group.id).unwrap().counts().unwrap();
                    prop_assert_eq!((same.amount, same.window), (matched.amount, Some(matched.window)));
                    prop_assert_eq!(&same.owner, admission.owners[matched.owner].as_ref());
                }
                let refusing = admission.refusal.map(|refusal| (refusal.reason, refusal.groups));
                let covers = |traced: &&ExplainedGroup| traced.outcome == Outcome::Unmatched { covers: true };
                let lacks = |traced: &&ExplainedGroup| matches!(traced.outcome, Outcome::MissingScope { refuses: true, .. });
                let large = |traced: &&ExplainedGroup| traced.counts().is_some_and(|counts| counts.too_large);
                if let Some((reason, groups)) = refusing {
                    let found_fault = match reason {
                        Reason::UncoveredEvent => ids(traced.iter().filter(covers).map(|traced| &traced.group)),
                        Reason::MissingScope => ids(traced.iter().filter(lacks).map(|traced| &traced.group)),
                        Reason::CallTooLarge => ids(traced.iter().filter(large).map(|traced| &traced.group)),
                        _ => ids(groups.iter()),
                    };
                    prop_assert_eq!(found_fault, ids(groups.iter()));
                } else {
                    prop_assert!(!traced.iter().any(|traced| covers(&traced) || lacks(&traced) || large(&traced)));
                }
            }
        }
    }
}

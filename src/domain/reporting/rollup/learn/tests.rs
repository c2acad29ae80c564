use serde_json::{Value, json};

use super::*;
use crate::domain::configuration::estimate::{LearnedEstimate, LearnedFigure, LearnedValues};
use crate::domain::metering::reservation::{Drawn, ONE, RequestSnapshot};
use crate::domain::reporting::ledger::EntryDetails;
use crate::domain::values::ids::{EventName, UserId};

fn figure(event: &str, by: &[&str]) -> LearnedFigure {
    let estimate = LearnedEstimate {
        quantile: Decimal::new(95, 2),
        by: by.iter().map(|name| (*name).to_owned()).collect(),
        start: Decimal::TEN,
        max: None,
    };
    LearnedFigure { event: event.to_owned(), field: "tokens".to_owned(), estimate }
}

fn item(metadata: Value, estimated: &[i64]) -> Item {
    let mut learned = LearnedValues::default();
    for value in estimated {
        learned.raise("tokens", Decimal::from(*value));
    }
    Item {
        event: EventName::parse("llm.chat").unwrap(),
        quantity: ONE,
        metadata: serde_json::from_value(metadata).unwrap(),
        estimated: learned,
        drawn: None,
    }
}

fn entry(kind: EntryKind, item: Item, actual: Option<Value>) -> Entry {
    let user = UserId::parse("u").unwrap();
    let actual = actual.map(|metadata| Actual { quantity: None, metadata: serde_json::from_value(metadata).unwrap() });
    Entry {
        kind,
        at_ms: 0,
        late: false,
        operation: None,
        created_at_ms: None,
        user: Some(user.clone()),
        event: Some(item.event.clone()),
        key: None,
        charges: Vec::new(),
        snapshot: Some(RequestSnapshot {
            user,
            key: None,
            plan: None,
            version: 0,
            rules: None,
            policies: Vec::new(),
            items: [item].into(),
            fitted: None,
        }),
        details: EntryDetails { actual: actual.into_iter().collect(), ..EntryDetails::default() },
        call: None,
        reason: None,
        observed: false,
        denying: Vec::new(),
        held: Vec::new(),
    }
}

/// Labels, the median, the number of figures, and the comparisons of each row.
fn learned(entry: &Entry, figures: &[LearnedFigure]) -> Vec<(Labels, Option<Decimal>, [u64; 3])> {
    let fields = Fields { learned: figures.into(), ..Fields::default() };
    let rows = learn(entry, &fields).into_iter().map(|(name, metrics)| {
        assert_eq!((name.event.as_str(), metrics.learned.len()), (Some("llm.chat"), 1));
        let sums = &metrics.learned["tokens"];
        let counts = [sums.sketch.count(), sums.compared, sums.exceeded];
        (name.labels, sums.sketch.quantile(Decimal::new(5, 1)), counts)
    });
    rows.collect()
}

fn labels(labels: &[(&str, &str)]) -> Labels {
    Labels::of(labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[test]
fn a_commit_is_learned_once_by_the_metadata_of_its_request_and_compared_with_its_estimate() {
    let request = json!({"model": "large", "team": "red"});
    let actual = || Some(json!({"tokens": 90, "model": "small"}));
    let by_model = [figure("llm.*", &["model"]), figure("llm.chat", &["model"])];
    let all = [&by_model[..], &[figure("*", &[]), figure("image.*", &["x"])]].concat();
    let commit = entry(EntryKind::Commit, item(request.clone(), &[80]), actual());
    let value = Some(Decimal::from(90));
    let expected = [(labels(&[]), value, [1, 1, 1]), (labels(&[("model", "large")]), value, [1, 1, 1])];
    assert_eq!(learned(&commit, &all), expected);
    // An estimate that was enough, and a request without the field.
    let commit = entry(EntryKind::Commit, item(json!({}), &[90]), actual());
    assert_eq!(learned(&commit, &all[..1]), [(labels(&[("model", "")]), value, [1, 1, 0])]);
    let commit = entry(EntryKind::Commit, item(request, &[]), actual());
    assert_eq!(learned(&commit, &all[..1])[0].2, [1, 0, 0]);
}

#[test]
fn only_figures_that_came_with_a_final_commit_or_a_tracked_event_are_learned() {
    let all = [figure("llm.chat", &[])];
    let sent = || item(json!({"tokens": 70}), &[]);
    let tokens = || Some(json!({"tokens": 90}));
    for (kind, item, actual, expected) in [
        (EntryKind::Track, sent(), None, Some(70)),
        // The commit charges what was held, and does not say what was used.
        (EntryKind::Commit, sent(), None, None),
        (EntryKind::Commit, sent(), Some(json!({"other": 1})), None),
        (EntryKind::Commit, sent(), Some(json!({"tokens": "many"})), None),
        (EntryKind::Commit, sent(), tokens(), Some(90)),
        (EntryKind::Draw, sent(), tokens(), None),
        (EntryKind::Refund, sent(), tokens(), None),
        (EntryKind::Release, sent(), None, None),
    ] {
        let found = learned(&entry(kind, item, actual.clone()), &all);
        let expected = expected.map(|value| (labels(&[]), Some(Decimal::from(value)), [1, 0, 0]));
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{kind:?} {actual:?}");
    }
    let mut degraded = entry(EntryKind::Track, sent(), None);
    degraded.details.degraded = true;
    assert!(learned(&degraded, &all).is_empty());
}

#[test]
fn a_figure_that_reaches_its_fitted_value_is_counted_as_one_eighth_larger() {
    let all = [figure("llm.chat", &[])];
    let committed = |tokens: &str, fitted: Fitted| {
        let mut entry = entry(EntryKind::Commit, item(json!({}), &[800]), Some(json!({"tokens": tokens})));
        entry.snapshot.as_mut().unwrap().fitted = Some(fitted);
        let found = learned(&entry, &all);
        assert_eq!(found.len(), 1);
        (found[0].1.unwrap(), found[0].2)
    };
    let fitted = Fitted { item: 0, field: "tokens".to_owned(), min: 1, wish: 800, value: 800 };
    // A quantile is at most 2 % too large.
    let is_near = |value: Decimal, expected: u32| {
        let expected = Decimal::from(expected);
        (expected..=expected * Decimal::new(102, 2)).contains(&value)
    };
    for (tokens, value, exceeded) in [("799", 799, 0), ("800", 900, 1), ("1600", 1800, 1)] {
        let (found, counts) = committed(tokens, fitted.clone());
        assert!(is_near(found, value), "{tokens}: {found}");
        assert_eq!(counts, [1, 1, exceeded], "{tokens}");
    }
    // Less than the estimate had room, and one eighth more does not exceed it either.
    let (found, counts) = committed("80", Fitted { value: 80, ..fitted.clone() });
    assert!(is_near(found, 90), "{found}");
    assert_eq!(counts, [1, 1, 0]);
    for other in [Fitted { field: "quantity".to_owned(), ..fitted.clone() }, Fitted { item: 1, ..fitted }] {
        let (found, counts) = committed("800", other);
        assert!(is_near(found, 800), "{found}");
        assert_eq!(counts, [1, 1, 0]);
    }
}

#[test]
fn after_draws_their_sum_is_learned() {
    let drawn: Drawn = serde_json::from_value(json!({"quantity": null, "fields": {"tokens": 120}})).unwrap();
    let item = Item { drawn: Some(drawn), ..item(json!({}), &[100]) };
    let commit = entry(EntryKind::Commit, item, Some(json!({"tokens": 20})));
    let expected = [(labels(&[]), Some(Decimal::from(120)), [1, 1, 1])];
    assert_eq!(learned(&commit, &[figure("llm.chat", &[])]), expected);
}

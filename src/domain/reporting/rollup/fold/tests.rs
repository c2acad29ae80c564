use serde_json::json;

use super::*;
use crate::domain::configuration::estimate::LearnedValues;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::reason::Reason;
use crate::domain::metering::reservation::Actual;
use crate::domain::metering::reservation::{Item, RequestSnapshot};
use crate::domain::reporting::ledger::{Charge, DenyingCounter, EntryDetails};
use crate::domain::reporting::rollup::GroupSums;
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{KeyId, UserId};
use crate::domain::values::number::Number;

fn fields() -> Fields {
    let unit = |group: &str, unit| (GroupId::parse(group).unwrap(), unit);
    Fields {
        labels: Fields::LABELS.map(str::to_owned).into(),
        figures: Fields::FIGURES.map(str::to_owned).into(),
        units: [unit("calls", Unit::Count), unit("spend", Unit::Cents), unit("team", Unit::Cents)].into(),
        learned: Arc::default(),
    }
}

fn metadata(value: serde_json::Value) -> Metadata {
    serde_json::from_value(value).unwrap()
}

fn item(event: &str, quantity: u32, labels: serde_json::Value) -> Item {
    Item {
        event: EventName::parse(event).unwrap(),
        quantity: Number(quantity.into()),
        metadata: metadata(labels),
        estimated: LearnedValues::default(),
        drawn: None,
    }
}

fn charge(group: &str, change: i64) -> Charge {
    Charge {
        owner: OwnerName::of_user(&UserId::parse("u").unwrap()),
        group: GroupId::parse(group).unwrap(),
        from: None,
        window_seq: "1".into(),
        change,
        balance: Amount::ZERO,
        limit: None,
        window: None,
        closed: false,
        rolled: None,
    }
}

fn entry(kind: EntryKind, items: Vec<Item>, charges: Vec<Charge>) -> Entry {
    let user = UserId::parse("u").unwrap();
    let snapshot = RequestSnapshot {
        user: user.clone(),
        key: None,
        plan: None,
        version: 0,
        rules: None,
        policies: Vec::new(),
        items: items.clone().into(),
        fitted: None,
    };
    Entry {
        kind,
        at_ms: 0,
        late: false,
        operation: None,
        created_at_ms: None,
        user: Some(user),
        event: items.first().map(|item| item.event.clone()),
        key: Some(KeyId::parse("key_1").unwrap()),
        charges,
        snapshot: (!items.is_empty()).then_some(snapshot),
        details: EntryDetails::default(),
        call: None,
        reason: None,
        observed: false,
        denying: Vec::new(),
        held: Vec::new(),
    }
}

fn rows_of(folding: &mut Folding<'_>, entry: &Entry) -> Vec<(RowName, Metrics)> {
    let mut rows = Vec::new();
    folding.each_row(entry, |name, metrics| rows.push((name, metrics)));
    rows
}

fn rows(entry: &Entry) -> Vec<(RowName, Metrics)> {
    rows_of(&mut Folding::new(&fields()), entry)
}

/// The entry's first row.
fn first(entry: &Entry) -> (RowName, Metrics) {
    rows(entry).swap_remove(0)
}

fn counts(metrics: &Metrics) -> Vec<(&'static str, i128)> {
    let counts = Count::ALL.into_iter().map(|count| (count.as_str(), metrics.get(count)));
    counts.filter(|(_, sum)| *sum != 0).collect()
}

const STEPS: i128 = 1_000_000_000_000;

#[test]
fn a_commit_is_a_call_with_its_labels_figures_charges_and_the_larger_cost() {
    let labels = json!({"model": "large", "team": "", "secret": "x", "prompt_tokens": 1000, "attempt": 2});
    let mut commit = entry(
        EntryKind::Commit,
        vec![item("llm.chat", 1, labels)],
        vec![charge("calls", 1), charge("spend", 250_000), charge("team", 200_000), charge("gone", 5)],
    );
    commit.details.actual =
        vec![Actual { quantity: None, metadata: metadata(json!({"completion_tokens": "12.5", "latency_ms": "x"})) }];
    commit.details.outcome = Some(Outcome::Accepted);
    commit.late = true;
    let (name, metrics) = first(&commit);
    let labels = [("model", "large"), ("attempt", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(name.labels, Labels::of(labels.into()));
    assert_eq!((name.event.as_str(), name.user.as_str()), (Some("llm.chat"), Some("u")));
    assert_eq!(counts(&metrics), [("calls", 1), ("late", 1), ("accepted", 1), ("retries", 1)]);
    assert_eq!((metrics.quantity, metrics.cost), (STEPS, 250_000));
    let figures = [("completion_tokens", 25 * STEPS / 2), ("prompt_tokens", 1000 * STEPS)];
    assert_eq!(metrics.figures, figures.map(|(name, sum)| (name.to_owned(), sum)).into());
    let groups = metrics.groups.iter().map(|(group, sums)| (group.as_str(), sums.charged, sums.calls));
    assert_eq!(
        groups.collect::<Vec<_>>(),
        [("calls", 1, 1), ("gone", 5, 1), ("spend", 250_000, 1), ("team", 200_000, 1)]
    );
}

#[test]
fn the_cost_of_a_counter_is_the_sum_over_its_windows_and_credits() {
    let of =
        |group: &str, window_seq: &str, change: i64| Charge { window_seq: window_seq.into(), ..charge(group, change) };
    let beyond = |charge: Charge| Charge { from: Some(GroupId::parse("spend").unwrap()), ..charge };
    let cost = |charges: Vec<Charge>| first(&entry(EntryKind::Commit, Vec::new(), charges)).1.cost;
    // A balance that matches the event itself, with two credits and what no credit covers.
    assert_eq!(cost(vec![of("team", "b1", 5), of("team", "b2", 3), of("team", "b0", 2)]), 10);
    // Two windows of a quota, and two credits beyond it.
    let spend =
        vec![of("spend", "6", 4), of("spend", "7", 20), beyond(of("team", "b1", 2)), beyond(of("team", "b2", 1))];
    assert_eq!(cost(spend.clone()), 27);
    // The same money in another group, and for another owner.
    let shared = Charge { owner: OwnerName::of_user(&UserId::parse("v").unwrap()), ..of("spend", "1", 9) };
    assert_eq!(cost(spend.into_iter().chain([of("team", "1", 21), shared]).collect()), 27);
    let refund = first(&entry(EntryKind::Refund, Vec::new(), vec![of("spend", "7", 0), beyond(of("team", "b1", -2))]));
    assert_eq!(refund.1.cost, -2);
}

#[test]
fn a_call_of_several_items_counts_once_and_each_quantity_in_its_own_row() {
    let items = vec![item("a", 2, json!({})), item("b", 3, json!({"model": "m"}))];
    let rows = rows(&entry(EntryKind::Track, items, vec![charge("calls", 5)]));
    let charges: Vec<_> =
        rows.iter().map(|(name, row)| (name.event.as_str(), row.get(Count::Calls), row.quantity)).collect();
    assert_eq!(charges, [(Some("a"), 1, 2 * STEPS), (Some("b"), 0, 3 * STEPS)]);
    assert!(rows[1].1.groups.is_empty());
}

#[test]
fn what_is_given_back_is_taken_off_where_it_was_charged() {
    let mut refund =
        entry(EntryKind::Refund, vec![item("a.refund", 9, json!({"model": "m"}))], vec![charge("spend", -70)]);
    refund.details.actual =
        vec![Actual { quantity: Some(Number(2.into())), metadata: metadata(json!({"prompt_tokens": 5})) }];
    let (name, metrics) = first(&refund);
    assert_eq!((name.event.as_str(), name.labels.get("model")), (Some("a"), Some("m")));
    assert_eq!((metrics.quantity, metrics.cost), (-2 * STEPS, -70));
    assert_eq!(metrics.figures["prompt_tokens"], -5 * STEPS);
    assert_eq!(counts(&metrics), [("refunds", 1)]);
}

#[test]
fn denials_count_by_reason_and_by_the_groups_without_room_and_use_nothing() {
    let mut denial = entry(EntryKind::Denial, vec![item("a", 9, json!({"prompt_tokens": 5}))], Vec::new());
    denial.reason = Some(Reason::LimitReached);
    let lack = |group: &str| DenyingCounter {
        owner: OwnerName::of_user(&UserId::parse("u").unwrap()),
        group: GroupId::parse(group).unwrap(),
        requested: Amount::ZERO,
        count: Amount::ZERO,
        limit: Amount::ZERO,
        used: None,
        observed: false,
    };
    denial.denying = vec![lack("calls"), lack("calls")];
    let (_, metrics) = first(&denial);
    assert_eq!(counts(&metrics), [("denials", 1)]);
    assert_eq!((metrics.quantity, metrics.figures.len(), metrics.reasons[&Reason::LimitReached]), (0, 0, 1));
    assert_eq!(metrics.groups.get(&GroupId::parse("calls").unwrap()).unwrap().denials, 1);

    // A group that only observes, beside the one that denied; then alone, so that the call was allowed.
    denial.denying[0].observed = true;
    let sums = |denials, observed| GroupSums { denials, observed, ..GroupSums::default() };
    let (_, metrics) = first(&denial);
    assert_eq!(counts(&metrics), [("denials", 1)]);
    assert_eq!(*metrics.groups.get(&GroupId::parse("calls").unwrap()).unwrap(), sums(1, 1));
    denial.denying.truncate(1);
    denial.observed = true;
    let (_, metrics) = first(&denial);
    assert_eq!((counts(&metrics), metrics.reasons.len()), (vec![("observed", 1)], 0));
    assert_eq!(*metrics.groups.get(&GroupId::parse("calls").unwrap()).unwrap(), sums(0, 1));
}

#[test]
fn other_outcomes_take_the_former_one_back() {
    let mut outcome = entry(EntryKind::Outcome, vec![item("a", 9, json!({}))], Vec::new());
    outcome.details.outcome = Some(Outcome::Rejected);
    outcome.details.before = Some(Outcome::Accepted);
    let (_, metrics) = first(&outcome);
    assert_eq!(counts(&metrics), [("accepted", -1), ("rejected", 1)]);
    assert_eq!(metrics.quantity, 0);
}

#[test]
fn releases_and_expiries_are_recorded_separately_and_a_reset_is_not() {
    for (kind, expected) in
        [(EntryKind::Release, "released"), (EntryKind::Expire, "expiries"), (EntryKind::Draw, "draws")]
    {
        let (name, metrics) = first(&entry(kind, Vec::new(), Vec::new()));
        assert_eq!(counts(&metrics), [(expected, 1)]);
        assert_eq!(name.labels, Labels::default());
    }
    for kind in [EntryKind::Reset, EntryKind::Rollover] {
        assert!(rows(&entry(kind, Vec::new(), vec![charge("calls", 0)])).is_empty(), "{kind:?}");
    }
}

#[test]
fn credits_are_summed_by_what_became_of_them_and_are_no_calls() {
    for (kind, expected) in
        [(EntryKind::Credit, (50, 0, 0)), (EntryKind::Lapse, (0, 50, 0)), (EntryKind::Void, (0, 0, 50))]
    {
        let (name, metrics) = first(&entry(kind, Vec::new(), vec![charge("calls", 20), charge("calls", 30)]));
        let sums = *metrics.groups.get(&GroupId::parse("calls").unwrap()).unwrap();
        assert_eq!((sums.credited, sums.lapsed, sums.voided), expected, "{kind:?}");
        assert_eq!((sums.charged, sums.calls, counts(&metrics)), (0, 0, Vec::new()), "{kind:?}");
        assert_eq!((name.user.as_str(), name.event.as_str()), (Some("u"), None));
    }
}

#[test]
fn figures_that_nobody_sums_are_left_out() {
    for odd in [json!("-5"), json!("1e19"), json!(true), json!("0")] {
        let track = entry(EntryKind::Track, vec![item("a", 1, json!({"prompt_tokens": odd}))], Vec::new());
        assert!(first(&track).1.figures.is_empty(), "{odd}");
    }
}

#[test]
fn each_entry_has_the_labels_of_its_own_metadata() {
    let fields = fields();
    let mut folding = Folding::new(&fields);
    let one = metadata(json!({"model": "m", "secret": "x"}));
    for (labels, expected) in [
        (one.clone(), Some("m")),
        (one.clone(), Some("m")),
        (metadata(json!({"model": "n", "secret": "x"})), Some("n")),
        (metadata(json!({"secret": "x"})), None),
        (Metadata::default(), None),
        (one, Some("m")),
    ] {
        let mut item = item("a", 1, json!({}));
        item.metadata = labels;
        let entry = entry(EntryKind::Track, vec![item], Vec::new());
        let (name, _) = rows_of(&mut folding, &entry).swap_remove(0);
        assert_eq!((name.labels.get("model"), name.labels.get("secret")), (expected, None));
        assert_eq!(name, first(&entry).0);
    }
}

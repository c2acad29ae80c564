use serde_json::{Value, json};

use super::*;
use crate::domain::configuration::estimate::LearnedValues;
use crate::domain::configuration::plan::Plan;
use crate::domain::metering::admission::{Caller, EffectiveLimits, Purpose, Request, prepare};
use crate::domain::time::period::SubscriptionAnchor;
use crate::domain::values::amount::parse_decimal;
use crate::domain::values::ids::{AppId, EventName, PlanId, UserId};
use crate::domain::values::metadata::Metadata;

const DAY: TimeMs = 24 * 60 * 60 * 1000;
/// A midnight.
const NOW: TimeMs = 20_000 * DAY;

fn plan(more: Value) -> Plan {
    let mut group = json!({"id": "g", "unit": "count", "quota": 5, "periodType": "daily", "matches": [{"event": "x"}]});
    group.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = serde_json::from_value(json!({"groups": [group]})).unwrap();
    Plan::validate(&PlanId::parse("p").unwrap(), 1, body).unwrap()
}

fn asked(plan: &Plan, quantity: &str, now: TimeMs) -> Admission {
    let (user, app, event) = (UserId::parse("u").unwrap(), AppId::parse("a").unwrap(), EventName::parse("x").unwrap());
    let anchor = SubscriptionAnchor { started_at_ms: 0, cycle_start_ms: None };
    let standing = EffectiveLimits { plan: Some(plan), policies: &[], anchor, until_ms: TimeMs::MAX, blocked: false };
    let metadata = Metadata::default();
    let learned = LearnedValues::none();
    let request = Request { event: &event, quantity: parse_decimal(quantity).unwrap(), metadata: &metadata, learned };
    let caller = Caller { user: &user, app: &app, key: None };
    prepare(standing, caller, &[request], now, Purpose::Ask).unwrap()
}

/// Holds the quantity if the limit allows it.
fn reserve(counters: &mut InMemoryCounters, plan: &Plan, quantity: &str, now: TimeMs) -> Option<Hold> {
    let admission = asked(plan, quantity, now);
    let (places, denying) = counters.ask(&admission, now);
    denying.is_empty().then(|| counters.hold(&admission, &places)[0])
}

fn amount(steps: u64) -> Amount {
    Amount::from_steps(steps).unwrap()
}

fn stands(counters: &InMemoryCounters) -> (u64, u64) {
    let account = counters.account(0).unwrap();
    (account.used.steps(), account.held.steps())
}

#[test]
fn what_was_held_settles_in_its_own_window() {
    let (mut counters, plan) = (InMemoryCounters::default(), plan(json!({})));
    let mut hold = reserve(&mut counters, &plan, "3", NOW).unwrap();
    assert!(reserve(&mut counters, &plan, "3", NOW).is_none());
    counters.free(&hold, hold.amount);
    counters.charge(&mut hold, amount(2));
    assert_eq!(stands(&counters), (2, 0));
    let mut late = reserve(&mut counters, &plan, "3", NOW).unwrap();
    assert!(reserve(&mut counters, &plan, "5", NOW + DAY).is_some());
    counters.free(&late, late.amount);
    counters.charge(&mut late, amount(3));
    assert_eq!((stands(&counters), late.charged), ((0, 5), amount(3)));
}

#[test]
fn refunds_give_back_no_more_than_was_charged() {
    let (mut counters, plan) = (InMemoryCounters::default(), plan(json!({})));
    let mut hold = reserve(&mut counters, &plan, "3", NOW).unwrap();
    counters.free(&hold, hold.amount);
    counters.charge(&mut hold, amount(3));
    assert_eq!(counters.give_back(&mut hold, amount(1)), (amount(1), amount(1)));
    assert_eq!(counters.take(0, amount(1)), amount(1));
    assert_eq!(counters.give_back(&mut hold, amount(9)), (amount(2), amount(1)));
    assert_eq!(counters.give_back(&mut hold, amount(9)), (Amount::ZERO, Amount::ZERO));
    assert_eq!((counters.take(0, amount(4)), stands(&counters)), (Amount::ZERO, (0, 0)));
}

#[test]
fn an_opening_counts_in_its_window_only() {
    let plan = plan(json!({}));
    let owner = OwnerName::of_user(&UserId::parse("u").unwrap());
    for (at_ms, fits) in [(NOW + 1, false), (NOW - 1, true), (NOW + DAY, true)] {
        let mut counters = InMemoryCounters::default();
        counters.open(&owner, &plan.groups[0].id, Opening { at_ms, used: amount(4) });
        assert_eq!(reserve(&mut counters, &plan, "2", NOW).is_some(), fits, "{at_ms}");
        assert_eq!(reserve(&mut counters, &plan, "2", NOW + DAY).is_some(), at_ms != NOW + DAY, "{at_ms}");
    }
}

#[test]
fn grants_and_what_is_blocked_move_the_limit_while_they_last() {
    let plan = plan(json!({}));
    let owner = OwnerName::of_user(&UserId::parse("u").unwrap());
    let limit_change = |blocks| LimitChange { from_ms: NOW + 10, until_ms: Some(NOW + 20), amount: amount(5), blocks };
    for (blocks, quantity, now, fits) in [
        (false, "10", NOW + 10, true),
        (false, "11", NOW + 10, false),
        (false, "6", NOW + 9, false),
        (false, "6", NOW + 20, false),
        (true, "1", NOW + 10, false),
        (true, "5", NOW + 20, true),
    ] {
        let mut counters = InMemoryCounters::default();
        counters.limit_change(&owner, &plan.groups[0].id, limit_change(blocks));
        assert_eq!(reserve(&mut counters, &plan, quantity, now).is_some(), fits, "{blocks} {quantity} {now}");
    }
}

#[test]
fn a_reset_counter_is_free_of_what_was_used_and_held() {
    let (mut counters, plan) = (InMemoryCounters::default(), plan(json!({})));
    let mut hold = reserve(&mut counters, &plan, "3", NOW).unwrap();
    counters.add(0, amount(1));
    counters.reset(&OwnerName::of_user(&UserId::parse("u").unwrap()), &plan.groups[0].id);
    assert_eq!(stands(&counters), (0, 0));
    counters.free(&hold, hold.amount);
    counters.charge(&mut hold, amount(3));
    assert_eq!(stands(&counters), (0, 0));
}

#[test]
fn groups_without_a_limit_refuse_nothing_and_a_quota_of_0_everything() {
    for (more, fits) in [
        (json!({"quota": 0}), false),
        (json!({"quota": null}), true),
        (json!({"enforcement": "soft"}), true),
        (json!({"periodType": "concurrent"}), false),
    ] {
        let mut counters = InMemoryCounters::default();
        assert_eq!(reserve(&mut counters, &plan(more.clone()), "6", NOW).is_some(), fits, "{more}");
    }
    let (mut counters, plan) = (InMemoryCounters::default(), plan(json!({"periodType": "concurrent"})));
    let hold = reserve(&mut counters, &plan, "5", NOW).unwrap();
    assert!(reserve(&mut counters, &plan, "1", NOW + 9 * DAY).is_none());
    counters.free(&hold, hold.amount);
    assert!(reserve(&mut counters, &plan, "5", NOW + 9 * DAY).is_some());
}

#[test]
fn an_owners_quota_decides_instead_of_the_groups_until_it_ends() {
    let owner = OwnerName::of_user(&UserId::parse("u").unwrap());
    let (four, none) = (Some(amount(4)), None);
    for (more, quota, quantity, now, denied) in [
        (json!({}), four, "4", NOW + 9, None),
        (json!({}), four, "5", NOW + 9, Some((4, false))),
        // From its end on, the quota of the group applies.
        (json!({}), four, "5", NOW + 10, None),
        (json!({}), four, "6", NOW + 10, Some((5, false))),
        (json!({}), none, "99", NOW, None),
        (json!({}), none, "6", NOW + 10, Some((5, false))),
        (json!({}), Some(Amount::ZERO), "1", NOW, Some((0, false))),
        (json!({"quota": null}), four, "5", NOW, Some((4, false))),
        (json!({"enforcement": "soft"}), four, "5", NOW, None),
        (json!({"enforcement": "observe"}), four, "5", NOW, Some((4, true))),
        (json!({"enforcement": "observe"}), none, "6", NOW, None),
    ] {
        let plan = plan(more.clone());
        let mut counters = InMemoryCounters::default();
        counters.own_quota(&owner, &plan.groups[0].id, OwnQuota { quota, until_ms: Some(NOW + 10) });
        let denying = counters.ask(&asked(&plan, quantity, now), now).1;
        let found = denying.first().map(|counter| (counter.limit.steps(), counter.observed));
        assert_eq!(found, denied, "{more} {quota:?} {quantity} {now}");
    }
}

#[test]
fn an_owners_quota_changes_a_running_window_and_is_what_a_window_rolls_over() {
    let plan = plan(json!({"rollover": {"max": 9}}));
    let owner = OwnerName::of_user(&UserId::parse("u").unwrap());
    let mut counters = InMemoryCounters::default();
    let own_quota = OwnQuota { quota: Some(amount(8)), until_ms: Some(NOW + DAY + 10) };
    counters.own_quota(&owner, &plan.groups[0].id, own_quota);
    reserve(&mut counters, &plan, "2", NOW).unwrap();
    // 8 and the 6 that were left.
    assert!(reserve(&mut counters, &plan, "15", NOW + DAY).is_none());
    reserve(&mut counters, &plan, "10", NOW + DAY).unwrap();
    // 5 and 6, of which 10 are held.
    assert!(reserve(&mut counters, &plan, "2", NOW + DAY + 10).is_none());
    assert!(reserve(&mut counters, &plan, "1", NOW + DAY + 10).is_some());
}

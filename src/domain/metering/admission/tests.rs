use serde_json::json;

use super::*;
use crate::domain::values::ids::PlanId;

#[test]
fn only_groups_of_users_have_the_window_of_the_subscription() {
    let group = |id: &str, scope: &[&str]| json!({"id": id, "unit": "count", "quota": 9, "scope": scope, "matches": [{"event": "*"}]});
    let groups = [group("a", &["user"]), group("b", &["app"]), group("c", &["user"]), group("d", &["user"])];
    let body = serde_json::from_value(json!({"periodType": "lifetime", "groups": groups})).unwrap();
    let plan = Plan::validate(&PlanId::parse("p").unwrap(), 1, body).unwrap();
    let anchor = SubscriptionAnchor { started_at_ms: 1_795_351_748_000, cycle_start_ms: None };
    let limits = EffectiveLimits { plan: Some(&plan), policies: &[], anchor, until_ms: TimeMs::MAX, blocked: false };
    let (user, app) = (UserId::parse("u").unwrap(), AppId::parse("default").unwrap());
    let metadata = Metadata::default();
    let request = Request {
        event: &EventName::parse("e").unwrap(),
        quantity: Decimal::ONE,
        metadata: &metadata,
        learned: LearnedValues::none(),
    };
    let caller = Caller { user: &user, app: &app, key: None };
    let admission = prepare(limits, caller, &[request], anchor.started_at_ms + 1, Purpose::Ask).unwrap();
    let starts: Vec<_> =
        admission.matched.iter().map(|matched| (matched.group.id.as_str(), matched.window.start_ms)).collect();
    let of_user = anchor.started_at_ms;
    assert_eq!(starts, [("a", of_user), ("c", of_user), ("d", of_user), ("b", 0)]);
}

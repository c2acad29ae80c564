//! Rollover: unused quota of a window becomes extra quota of the next one.

use quotagate::domain::reporting::proof::Figure;
use serde_json::{Value, json};

use crate::configuration::budgets::{call, group, names, open_plan, policy};
use crate::support::proven::{drifts, gateway, tenant};
use crate::support::{Api, World, new_key};

/// A group `images` of this quota, of which at most `max` is rolled over, with these other fields.
fn rolling(quota: u64, max: u64, more: Value) -> Value {
    let mut group = json!({"id": "images", "unit": "count", "quota": quota, "rollover": {"max": max},
        "matches": [{"event": "image.*"}]});
    group.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    group
}

fn plan(anchor: &str, group: Value) -> Value {
    json!({"periodType": "monthly", "periodAnchor": anchor, "groups": [group]})
}

fn images(quantity: u64) -> Value {
    json!({"userId": "u", "event": "image.a", "quantity": quantity})
}

async fn spend(app: &Api, quantity: u64) {
    let id = app.reserved(images(quantity)).await;
    app.commit(&id).await;
}

/// What was rolled over into a user's present window, and what remains of it.
async fn rolled(app: &Api, user: &str) -> (Value, Value) {
    let counter = app.counter(user, "images").await;
    (counter["rolled"].clone(), counter["remaining"].clone())
}

fn pair(rolled: u64, remaining: u64) -> (Value, Value) {
    (json!(rolled), json!(remaining))
}

/// A sandbox in January with the user `u` on the plan `p`.
async fn world(body: Value) -> World {
    let world = World::frozen().await;
    world.admin.plan("p", body).await;
    world.app.subscribe("u", "p").await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_month_begins_with_what_was_left_of_the_month_before() {
    let world = world(plan("calendar", rolling(20, 15, json!({"alerts": [50]})))).await;
    let app = &world.app;
    assert_eq!(rolled(app, "u").await, pair(0, 20), "a new user");
    spend(app, 12).await;
    app.freeze("2027-02-01T00:00:00Z").await;
    assert_eq!(rolled(app, "u").await, pair(8, 28));
    let decision = app.reserve(images(27)).await;
    let counter = &decision["counters"][0];
    assert_eq!((&counter["rolled"], &counter["quota"], &counter["remaining"]), (&json!(8), &json!(20), &json!(1)));
    let denied = app.reserve(images(2)).await;
    assert_eq!((names(&denied), &denied["deniedBy"][0]["remaining"]), (vec!["images"], &json!(1)));
    let settled = app.commit(decision["reservationId"].as_str().unwrap()).await;
    let counter = &settled["counters"][0];
    let figures = ["rolled", "used", "remaining", "overage", "percentUsed"].map(|name| counter[name].clone());
    assert_eq!(json!(figures), json!([8, 27, 1, 0, 96]));
    assert_eq!(settled["thresholds"][0]["percent"], 50);
    let line: String = world.redis.run(&["HGET", "qg:{default:test/main}:account:user:u", "images"]).await;
    assert_eq!(line, "27+0/20+8!50 monthly/20270201/20270301#2");

    // The rolled 8 were used first, so 1 of 20 is left.
    app.freeze("2027-03-01T00:00:00Z").await;
    assert_eq!(rolled(app, "u").await, pair(1, 21));
    spend(app, 1).await;
    // A month without any call was not used at all.
    app.freeze("2027-05-20T00:00:00Z").await;
    assert_eq!(rolled(app, "u").await, pair(15, 35));
    app.subscribe("new", "p").await;
    assert_eq!(rolled(app, "new").await, pair(0, 20));

    let reader = new_key(&world.admin, json!({"kind": "publishable", "mode": "test"})).await;
    assert_eq!(rolled(&world.node.client(&reader), "u").await, pair(15, 35));
    let history = app.get("usage/history?userId=u").await.expect(200);
    let line = |window: &Value| [window["used"].clone(), window["rolled"].clone(), window["overage"].clone()];
    let lines: Vec<_> = history["data"].as_array().unwrap().iter().map(line).collect();
    assert_eq!(json!(lines), json!([[1, 1, 0], [27, 8, 0], [12, null, 0]]));
    assert!(drifts(&world.redis.url(), "test/main").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fits_only_with_rolled_quota_may_be_retried_in_the_next_window() {
    let world = world(plan("calendar", rolling(20, 15, json!({})))).await;
    let app = &world.app;
    spend(app, 12).await;
    // In 14 hours, 8 of the 20 are rolled over.
    let wait = async |quantity: u64| app.reserve(images(quantity)).await["retryAfterMs"].clone();
    assert_eq!((wait(28).await, wait(29).await), (json!(14 * 3_600_000), Value::Null));
    app.freeze("2027-02-01T00:00:00Z").await;
    app.reserved(images(28)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_compare_with_the_limit_that_contains_what_was_rolled_over() {
    let world = world(plan("calendar", rolling(20, 15, json!({"alerts": [50]})))).await;
    let app = &world.app;
    spend(app, 9).await;
    app.freeze("2027-02-01T00:00:00Z").await;
    // 50 percent of 20 + 11 are 15.5.
    let percents = async |quantity: u64| {
        let body = json!({"userId": "u", "event": "image.a", "quantity": quantity});
        app.post("track", body).await.expect(200)["thresholds"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(percents(15).await, 0);
    let id = app.reserved(images(1)).await;
    assert_eq!(app.commit(&id).await["thresholds"][0]["percent"], 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollover_is_in_the_ledger_which_proves_it() {
    let world = world(plan("calendar", rolling(20, 15, json!({})))).await;
    let app = &world.app;
    spend(app, 12).await;
    // Until February.
    let reserve = json!({"userId": "u", "event": "image.a", "quantity": 3, "ttlSeconds": 3600});
    app.freeze("2027-01-31T23:30:00Z").await;
    let held = app.reserved(reserve).await;
    app.freeze("2027-02-01T00:00:00Z").await;
    app.reserved(images(1)).await;
    app.release(&held).await;
    assert_eq!(rolled(app, "u").await, pair(5, 24), "held amounts count as used");
    let admin = world.admin.with("x-mode", "test");
    let found = admin.get("events?type=rollover").await.expect(200);
    let events = found["data"].as_array().unwrap();
    assert_eq!((events.len(), &events[0]["userId"], &events[0]["type"]), (1, &json!("u"), &json!("rollover")));
    let charge = json!({"groupId": "images", "scope": {"user": "u"}, "unit": "count", "amount": 0, "balance": 0,
        "window": "2", "rolled": 5});
    assert_eq!(events[0]["charges"], json!([charge]));

    let (url, account) = (world.redis.url(), "qg:{default:test/main}:account:user:u");
    assert!(drifts(&url, "test/main").await.is_empty());
    let gateway = gateway(&url);
    let tenant = tenant(&gateway, "test/main").await;
    for (limit, stored) in [("20+9", 9), ("20", 0)] {
        let line = format!("0+1/{limit} monthly/20270201/20270301#2");
        world.redis.run::<i64>(&["HSET", account, "images", &line]).await;
        let found = drifts(&url, "test/main").await;
        let figures: Vec<_> = found.iter().map(|it| (it.drift.figure, it.drift.stored, it.drift.proven)).collect();
        assert_eq!(figures, [(Figure::Rolled, stored, 5)], "{limit}");
        assert!(gateway.repair(&tenant, &found[0]).await.unwrap());
        let line: String = world.redis.run(&["HGET", account, "images"]).await;
        assert_eq!(line, "0+1/20+5 monthly/20270201/20270301#2");
        assert!(drifts(&url, "test/main").await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quota_of_the_old_window_counts_and_the_maximum_of_the_new_one() {
    let world = world(plan("calendar", rolling(20, 15, json!({})))).await;
    let app = &world.app;
    spend(app, 12).await;
    // Used with 30, so 14 of 30 are left.
    world.admin.plan("p", plan("calendar", rolling(30, 15, json!({})))).await;
    spend(app, 4).await;
    // No call of January used this quota.
    world.admin.plan("p", plan("calendar", rolling(100, 13, json!({})))).await;
    app.freeze("2027-02-01T00:00:00Z").await;
    assert_eq!(rolled(app, "u").await, pair(13, 113));
    spend(app, 1).await;
    // A smaller maximum applies from the next window on; without rollover, what was rolled over stays until then.
    world.admin.plan("p", plan("calendar", rolling(100, 2, json!({})))).await;
    assert_eq!(rolled(app, "u").await, pair(13, 112));
    world.admin.plan("p", plan("calendar", rolling(100, 2, json!({"rollover": null})))).await;
    assert_eq!(rolled(app, "u").await, pair(13, 112));
    app.freeze("2027-03-01T00:00:00Z").await;
    assert_eq!(rolled(app, "u").await, (Value::Null, json!(100)));
    // A quota of one user, and one of 0, which stops the user.
    world.admin.plan("p", plan("calendar", rolling(100, 50, json!({})))).await;
    let limits = |quota: u64| json!({"userId": "u", "planId": "p", "customLimits": {"images": {"quota": quota}}});
    app.post("subscriptions", limits(10)).await.expect(200);
    // The first call of March comes after rollover is back, and 50 of February are left.
    app.reserved(images(4)).await;
    app.freeze("2027-03-31T00:00:00Z").await;
    spend(app, 54).await;
    app.freeze("2027-04-01T00:00:00Z").await;
    assert_eq!(rolled(app, "u").await, pair(6, 16), "the first hold has expired");
    spend(app, 1).await;
    app.post("subscriptions", limits(0)).await.expect(200);
    assert_eq!(rolled(app, "u").await, pair(0, 0));
    assert_eq!(app.reserve(images(1)).await["allowed"], false);
    app.post("subscriptions", limits(10)).await.expect(200);
    assert_eq!(rolled(app, "u").await, pair(6, 15));
    assert!(drifts(&world.redis.url(), "test/main").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_and_blocked_amounts_are_not_rolled_over() {
    let body = || plan("calendar", rolling(20, 100, json!({"onPlanChange": "block"})));
    let world = world(body()).await;
    let (app, admin) = (&world.app, world.admin.with("x-mode", "test"));
    let grant = json!({"groupId": "images", "scope": {"user": "u"}, "amount": 10});
    admin.post("grants", grant).await.expect(201);
    spend(app, 15).await;
    app.freeze("2027-02-01T00:00:00Z").await;
    assert_eq!(rolled(app, "u").await, pair(5, 25), "the grant ended with its window");
    spend(app, 1).await;
    // Another plan fills the counter, and the blocked amount is not left for March.
    world.admin.plan("q", body()).await;
    app.subscribe("u", "q").await;
    let counter = app.counter("u", "images").await;
    let figures = ["used", "rolled", "blocked", "remaining"].map(|name| counter[name].clone());
    assert_eq!(json!(figures), json!([1, 5, 24, 0]));
    app.freeze("2027-03-01T00:00:00Z").await;
    assert_eq!(rolled(app, "u").await, pair(0, 20));
    assert!(drifts(&world.redis.url(), "test/main").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_anchor_a_reset_and_another_plan_keep_what_was_rolled_over_into_a_running_window() {
    let world = world(plan("subscription_start", rolling(20, 15, json!({})))).await;
    let app = &world.app;
    spend(app, 12).await;
    // The windows begin on 31 January and 28 February, 10:00.
    app.freeze("2027-03-01T00:00:00Z").await;
    spend(app, 2).await;
    assert_eq!(rolled(app, "u").await, pair(8, 26));
    let moved = json!({"userId": "u", "planId": "p", "cycleStart": "2027-03-01T00:00:00Z"});
    app.post("subscriptions", moved).await.expect(200);
    assert_eq!(rolled(app, "u").await, pair(8, 26), "the window moves");
    let admin = world.admin.with("x-mode", "test");
    admin.post("users/u/reset", json!({"groupId": "images"})).await.expect(200);
    assert_eq!(rolled(app, "u").await, pair(8, 28), "a reset keeps the rolled quota");
    for (id, action, quota, expected) in [("r", "reset", 30, pair(8, 38)), ("c", "carry", 10, pair(8, 18))] {
        world.admin.plan(id, plan("calendar", rolling(quota, 15, json!({"onPlanChange": action})))).await;
        app.subscribe("u", id).await;
        assert_eq!(rolled(app, "u").await, expected, "{action}");
    }
    // March ends with 9 of 10 + 8 used, so 9 of 10 are left. Before the next call the user moves to windows that overlap
    // with March; but it was over.
    spend(app, 9).await;
    app.freeze("2027-04-15T00:00:00Z").await;
    let back = json!({"userId": "u", "planId": "p", "cycleStart": "2027-03-20T00:00:00Z"});
    let preview = app.post("subscriptions?dryRun=true", back.clone()).await.expect(200);
    app.post("subscriptions", back).await.expect(200);
    let expected = pair(9, 29);
    assert_eq!(rolled(app, "u").await, expected);
    let counter = &preview["counters"][0];
    assert_eq!((counter["rolled"].clone(), counter["remaining"].clone()), expected, "{preview}");
    assert!(drifts(&world.redis.url(), "test/main").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_was_used_up_leaves_nothing_also_if_the_anchor_moves_or_it_is_reset_after_its_end() {
    let world = world(plan("subscription_start", rolling(20, 15, json!({})))).await;
    let app = &world.app;
    spend(app, 20).await;
    // That window ended on 28 February. A day later, before any other call, the anchor moves.
    app.freeze("2027-03-01T12:00:00Z").await;
    let moved = json!({"userId": "u", "planId": "p", "cycleStart": "2027-03-01T00:00:00Z"});
    app.post("subscriptions", moved).await.expect(200);
    assert_eq!(rolled(app, "u").await, pair(0, 20), "a moved anchor");
    spend(app, 20).await;
    app.freeze("2027-04-01T12:00:00Z").await;
    world.admin.with("x-mode", "test").post("users/u/reset", json!({})).await.expect(200);
    assert_eq!(rolled(app, "u").await, pair(0, 20), "a reset of a window that is over");
    spend(app, 20).await;
    app.freeze("2027-05-01T12:00:00Z").await;
    let again = json!({"userId": "u", "planId": "p", "resetUsage": true});
    app.post("subscriptions", again).await.expect(200);
    assert_eq!(rolled(app, "u").await, pair(0, 20), "a subscription with a reset");
    assert!(drifts(&world.redis.url(), "test/main").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_the_same_time_use_what_was_rolled_over_and_no_more() {
    let world = world(plan("calendar", rolling(20, 15, json!({})))).await;
    let (other, elsewhere) = world.another_node().await;
    spend(&world.app, 12).await;
    world.app.freeze("2027-01-31T23:59:30Z").await;
    let held = world.app.reserved(images(3)).await;
    world.app.freeze("2027-02-01T00:00:00Z").await;
    let nodes = [&world.app, &elsewhere];
    let calls = (0..40).map(|place| nodes[place % 2].reserve(images(1)));
    let (decisions, _) = tokio::join!(futures::future::join_all(calls), world.app.release(&held));
    let allowed = decisions.iter().filter(|decision| decision["allowed"] == true).count() as u64;
    let (left, remaining) = rolled(&world.app, "u").await;
    // The release came before the first of them, or after it.
    assert!([json!(5), json!(8)].contains(&left), "{left}");
    assert_eq!((allowed, remaining), (20 + left.as_u64().unwrap(), json!(0)));
    assert!(drifts(&world.redis.url(), "test/main").await.is_empty());
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_counter_rolls_over_and_its_owner_is_stored_for_another_window() {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    let team = group("team", &["metadata.team"], json!(3), json!({"rollover": {"max": 2}}));
    let other = group("other", &["metadata.squad"], json!(5), json!({}));
    policy(&world, "teams", json!([team, other])).await;
    let of = || call("u", json!({"team": "red", "squad": "red"}));
    world.app.reserved(of()).await;
    let forget_at = async |owner: &str| {
        let key = format!("qg:{{default:test/main}}:account:{owner}");
        let text: String = world.redis.run(&["HGET", &key, ".account"]).await;
        text.split("forget=").nth(1).unwrap().split(' ').next().unwrap().parse::<i64>().unwrap()
    };
    // Longer than the next day, instead of 10:00, when no reservation of today can be charged any more.
    assert_eq!(forget_at("metadata.team:red").await - forget_at("metadata.squad:red").await, 17 * 3_600_000);
    world.app.freeze("2027-02-01T00:00:00Z").await;
    let mut allowed = 0;
    while world.app.reserve(of()).await["allowed"] == true {
        allowed += 1;
    }
    assert_eq!(allowed, 5, "3 and the 2 that were rolled over");
    let listed = world.admin.with("x-mode", "test").get("counters?groupId=team").await.expect(200);
    assert_eq!((&listed["data"][0]["rolled"], &listed["data"][0]["remaining"]), (&json!(2), &json!(0)), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_cannot_roll_over_names_the_field_and_changes_nothing() {
    let world = World::frozen().await;
    let before = world.redis.contents("qg:*").await;
    let max = |max: Value| json!({"rollover": {"max": max}});
    for (more, field) in [
        (max(json!(0)), "rollover.max"),
        (max(json!(-1)), "rollover.max"),
        (max(json!("1.5")), "rollover.max"),
        (max(json!("many")), "rollover.max"),
        (max(Value::Null), "rollover.max"),
        (json!({"rollover": {}}), "rollover"),
        (json!({"rollover": 5}), "rollover"),
        (json!({"rollover": {"max": 1, "min": 1}}), "rollover"),
        (json!({"quota": null}), "rollover"),
        (json!({"periodType": "lifetime"}), "rollover"),
        (json!({"periodType": "concurrent"}), "rollover"),
        (json!({"periodType": "fixed", "start": "2027-02-01T00:00:00Z", "end": "2027-03-01T00:00:00Z"}), "rollover"),
    ] {
        let body = json!({"periodType": "daily", "groups": [rolling(20, 15, more.clone())]});
        for path in ["plans/p", "policies/p"] {
            let fault = world.admin.put(path, body.clone()).await.bad_field();
            assert!(fault.starts_with(&format!("groups[0].{field}")), "{path} {more}: {fault}");
        }
    }
    assert!(world.redis.contents("qg:*").await == before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_says_what_was_rolled_over_and_a_draft_is_replayed_with_its_own_rollover() {
    let world = world(plan("calendar", rolling(20, 15, json!({})))).await;
    let (app, admin) = (&world.app, world.admin.with("x-mode", "test"));
    spend(app, 12).await;
    app.freeze("2027-02-01T00:00:00Z").await;
    spend(app, 28).await;
    let why = admin.get("explain?userId=u&event=image.a").await.expect(200)["call"].clone();
    let summary = why["summary"].as_str().unwrap();
    assert!(summary.contains("(28 of 28 used, with 8 rolled over)"), "{summary}");
    assert_eq!((&why["groups"][0]["limit"], &why["groups"][0]["counter"]["rolled"]), (&json!(28), &json!(8)));

    let replayed = async |more: Value| {
        let mut body = plan("calendar", rolling(20, 15, more));
        body["id"] = json!("p");
        admin.post("whatif", json!({"plan": body})).await.expect(200)
    };
    let same = replayed(json!({})).await;
    assert_eq!(same["presentRules"], json!({"calls": 2, "agree": 2, "deniedOtherwise": 0}));
    assert_eq!(same["underDraft"]["denied"], 0, "{same}");
    for (more, denied) in [
        (json!({"rollover": null}), 1),
        (json!({"rollover": {"max": 7}}), 1),
        (json!({"rollover": {"max": 8}}), 0),
        (json!({"quota": 19}), 1),
    ] {
        let found = replayed(more.clone()).await;
        assert_eq!(found["newlyDenied"]["calls"], denied, "{more}: {found}");
    }
}

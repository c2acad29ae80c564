//! Counters when a user changes plans, or a plan changes while it has users. Every change is made on one node, and the
//! next call goes to the same node or another one.

use serde_json::{Value, json};

use crate::support::{Api, Running, START, World, monthly};

/// A sandbox frozen at [`START`], seen through two nodes.
struct Stage {
    world: World,
    second: Running,
    /// The node for changes.
    here: Api,
    /// The node for the next call.
    there: Api,
}

impl Stage {
    async fn all() -> [Self; 2] {
        let same = World::frozen().await;
        let second = Running::start(&same.redis.url()).await;
        let here = same.app.clone();
        let one = Self { there: here.clone(), here, world: same, second };
        let other = World::frozen().await;
        let (second, there) = other.another_node().await;
        [one, Self { here: other.app.clone(), there, world: other, second }]
    }

    async fn end(self) {
        self.second.stop().await;
    }

    /// `[used, held, blocked, remaining, overage]` of a user's group.
    async fn stands(&self, user: &str, group: &str) -> [f64; 5] {
        let counter = self.there.counter(user, group).await;
        ["used", "held", "blocked", "remaining", "overage"].map(|name| counter[name].as_f64().unwrap())
    }
}

/// A plan with one group `images` and this onPlanChange.
fn plan(quota: Value, period: &str, anchor: &str, on_change: &str) -> Value {
    json!({"periodType": period, "periodAnchor": anchor, "groups": [
        {"id": "images", "unit": "count", "quota": quota, "onPlanChange": on_change, "matches": [{"event": "image.*"}]}]})
}

fn image(user: &str, quantity: u64) -> Value {
    json!({"userId": user, "event": "image.a", "quantity": quantity})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_comes_over_as_the_plan_moved_to_says_with_work_in_flight() {
    for stage in Stage::all().await {
        let (here, there) = (&stage.here, &stage.there);
        stage.world.admin.plan("from", plan(json!(20), "monthly", "calendar", "carry")).await;
        let mut number = 0;
        // 5 used and 3 held of 20; then the state after the move, and after the commit of the hold.
        for (period, anchor) in [
            ("monthly", "calendar"),
            ("monthly", "subscription_start"),
            ("daily", "calendar"),
            ("lifetime", "calendar"),
        ] {
            for (action, quota, moved, committed) in [
                ("carry", json!(50), [5., 3., 0., 42., 0.], [8., 0., 0., 42., 0.]),
                ("carry", json!(4), [5., 3., 0., 0., 1.], [8., 0., 0., 0., 4.]),
                ("reset", json!(50), [0., 0., 0., 50., 0.], [0., 0., 0., 50., 0.]),
                ("reset", json!(4), [0., 0., 0., 4., 0.], [0., 0., 0., 4., 0.]),
                ("block", json!(50), [5., 3., 45., 0., 0.], [8., 0., 45., 0., 0.]),
                ("block", json!(4), [5., 3., 0., 0., 1.], [8., 0., 0., 0., 4.]),
            ] {
                number += 1;
                let (user, to) = (format!("u{number}"), format!("to{number}"));
                stage.world.admin.plan(&to, plan(quota.clone(), period, anchor, action)).await;
                here.subscribe(&user, "from").await;
                let used = here.reserved(image(&user, 5)).await;
                here.commit(&used).await;
                let held = there.reserved(image(&user, 3)).await;
                here.subscribe(&user, &to).await;
                let reported = format!("{action} {quota} {period} {anchor}");
                assert_eq!(stage.stands(&user, "images").await, moved, "{reported}");
                there.commit(&held).await;
                assert_eq!(stage.stands(&user, "images").await, committed, "{reported}");
            }
        }
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cycling_through_plans_gives_no_fresh_quota_with_block() {
    for stage in Stage::all().await {
        let (here, there) = (&stage.here, &stage.there);
        stage.world.admin.plan("free", json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
            {"id": "free_images", "unit": "count", "quota": 3, "onPlanChange": "block", "matches": [{"event": "image.*"}]}]})).await;
        stage.world.admin.plan("paid", monthly(100)).await;
        here.subscribe("u", "free").await;
        assert_eq!(
            stage.stands("u", "free_images").await,
            [0., 0., 0., 3., 0.],
            "the first subscription is not a change"
        );
        for _ in 0..3 {
            there.reserved(image("u", 1)).await;
        }
        assert_eq!(there.reserve(image("u", 1)).await["allowed"], false);
        // At the limit, then on the paid plan in the same second.
        here.subscribe("u", "paid").await;
        there.reserved(image("u", 1)).await;
        here.delete("subscriptions", Some(json!({"userId": "u"}))).await.expect(200);
        assert_eq!(there.reserve(image("u", 1)).await["reasons"], json!(["no_subscription"]));
        // By then the holds have expired unused: without block the limit would have room again.
        here.freeze("2027-01-31T12:00:00Z").await;
        here.subscribe("u", "free").await;
        assert_eq!(stage.stands("u", "free_images").await, [0., 0., 3., 0., 0.]);
        let denied = there.reserve(image("u", 1)).await;
        assert_eq!((&denied["allowed"], &denied["reasons"]), (&json!(false), &json!(["limit_reached"])));
        assert_eq!(denied["deniedBy"][0]["resetsAt"], "2027-02-01T00:00:00Z");
        // Refunds of earlier usage make no room; the next window does.
        there.post("track", json!({"userId": "u", "event": "image.a.refund", "quantity": 1})).await.expect(200);
        assert_eq!(there.reserve(image("u", 1)).await["allowed"], false);
        here.freeze("2027-02-01T00:00:00Z").await;
        assert_eq!(stage.stands("u", "free_images").await, [0., 0., 0., 3., 0.]);
        there.reserved(image("u", 3)).await;
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_plan_after_cancelling_is_a_change_and_a_raised_quota_opens_what_is_blocked() {
    for stage in Stage::all().await {
        let (here, there) = (&stage.here, &stage.there);
        stage.world.admin.plan("p", plan(json!(10), "monthly", "calendar", "block")).await;
        here.subscribe("u", "p").await;
        here.delete("subscriptions", Some(json!({"userId": "u", "endsAt": "2027-01-31T11:00:00Z"}))).await.expect(200);
        there.reserved(image("u", 1)).await;
        here.freeze("2027-01-31T11:00:00Z").await;
        assert_eq!(there.reserve(image("u", 1)).await["reasons"], json!(["no_subscription"]), "its end is exclusive");
        here.subscribe("u", "p").await;
        assert_eq!(stage.stands("u", "images").await, [0., 0., 10., 0., 0.]);
        stage.world.admin.plan("p", plan(json!(12), "monthly", "calendar", "block")).await;
        assert_eq!(stage.stands("u", "images").await, [0., 0., 10., 2., 0.]);
        let admin = stage.world.admin.with("x-mode", "test");
        admin.post("users/u/reset", json!({"groupId": "images"})).await.expect(200);
        assert_eq!(stage.stands("u", "images").await, [0., 0., 0., 12., 0.]);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_quota_and_changed_groups_bind_on_the_next_call() {
    for stage in Stage::all().await {
        let (here, there) = (&stage.here, &stage.there);
        let admin = &stage.world.admin;
        let groups = |groups: Value| json!({"periodType": "monthly", "periodAnchor": "calendar", "unmatchedEvents": "allow", "groups": groups});
        let group = |id: &str, quota: u64| json!({"id": id, "unit": "count", "quota": quota, "matches": [{"event": "image.*"}]});
        admin.plan("p", groups(json!([group("a", 20)]))).await;
        here.subscribe("u", "p").await;
        let held = there.reserved(json!({"userId": "u", "event": "image.a", "quantity": 20, "ttlSeconds": 3600})).await;
        assert_eq!(there.reserve(image("u", 1)).await["allowed"], false);
        for (quota, stands) in [(40, [0., 20., 0., 20., 0.]), (20, [0., 20., 0., 0., 0.]), (5, [0., 20., 0., 0., 0.])] {
            admin.plan("p", groups(json!([group("a", quota)]))).await;
            assert_eq!(stage.stands("u", "a").await, stands, "quota {quota}");
        }
        // A removed group counts nothing, but the hold can be settled; if it is added again in the same window, it
        // continues.
        admin.plan("p", groups(json!([]))).await;
        assert_eq!(there.reserve(image("u", 1)).await["matched"], false);
        there.commit(&held).await;
        admin.plan("p", groups(json!([group("a", 25), group("b", 7)]))).await;
        assert_eq!(stage.stands("u", "a").await, [20., 0., 0., 5., 0.]);
        assert_eq!(stage.stands("u", "b").await, [0., 0., 0., 7., 0.], "a new id is a new counter");
        admin.plan("p", groups(json!([group("a", 15), group("b", 7)]))).await;
        assert_eq!(stage.stands("u", "a").await, [20., 0., 0., 0., 5.]);
        // The unit of a group ID never changes, in any plan.
        let tokens = json!([{"id": "a", "unit": "tokens", "quota": 5, "matches": [{"event": "llm"}]}]);
        assert_eq!(admin.put("plans/q", groups(tokens)).await.bad_field(), "groups[0].unit");
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redelivered_webhook_changes_nothing_and_a_moved_anchor_carries_what_was_used() {
    for stage in Stage::all().await {
        let (here, there) = (&stage.here, &stage.there);
        stage.world.admin.plan("p", monthly(20)).await;
        let paid = json!({"userId": "u", "planId": "p", "startedAt": "2027-01-10T00:00:00Z", "cycleStart": "2027-01-20T00:00:00Z"});
        assert_eq!(here.post("subscriptions", paid.clone()).await.expect(200)["changed"], true);
        let id = there.reserved(image("u", 6)).await;
        there.commit(&id).await;
        let before = stage.world.redis.contents("qg:{default:test/main}:*").await;
        for _ in 0..10 {
            assert_eq!(here.post("subscriptions", paid.clone()).await.expect(200)["changed"], false);
        }
        assert_eq!(stage.world.redis.contents("qg:{default:test/main}:*").await, before);
        assert_eq!(there.counter("u", "images").await["period"]["start"], "2027-01-20T00:00:00Z");
        // The billing provider moves the cycle; windows are counted backwards from a future one.
        for (cycle, start) in
            [("2027-01-25T00:00:00Z", "2027-01-25T00:00:00Z"), ("2027-02-03T00:00:00Z", "2027-01-03T00:00:00Z")]
        {
            here.post("subscriptions", json!({"userId": "u", "planId": "p", "cycleStart": cycle})).await.expect(200);
            let counter = there.counter("u", "images").await;
            assert_eq!((&counter["used"], &counter["period"]["start"]), (&json!(6), &json!(start)));
        }
        // The change itself decides what is carried over, not the next call: a month later the old window would be
        // over.
        here.post("subscriptions", json!({"userId": "u", "planId": "p", "cycleStart": "2027-01-30T00:00:00Z"}))
            .await
            .expect(200);
        here.freeze("2027-02-20T00:00:00Z").await;
        assert_eq!(stage.stands("u", "images").await, [6., 0., 0., 14., 0.]);
        let anew = json!({"userId": "u", "planId": "p", "cycleStart": "2027-02-10T00:00:00Z", "resetUsage": true});
        here.post("subscriptions", anew).await.expect(200);
        assert_eq!(stage.stands("u", "images").await, [0., 0., 0., 20., 0.]);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_limits_change_quotas_or_the_whole_plan_of_one_user() {
    for stage in Stage::all().await {
        let (here, there) = (&stage.here, &stage.there);
        stage.world.admin.plan("p", monthly(2)).await;
        stage.world.admin.plan("q", monthly(3)).await;
        let put = async |limits: Value| {
            here.post("subscriptions", json!({"userId": "u", "planId": "p", "customLimits": limits})).await
        };
        here.subscribe("other", "p").await;
        put(json!({"images": {"quota": 5}})).await.expect(200);
        let decision = there.reserve(image("u", 5)).await;
        assert_eq!((&decision["allowed"], &decision["counters"][0]["quota"]), (&json!(true), &json!(5)));
        let settled = there.commit(decision["reservationId"].as_str().unwrap()).await;
        assert_eq!(settled["counters"][0]["quota"], 5, "a settlement shows the custom quota");
        assert_eq!(there.reserve(image("other", 3)).await["allowed"], false);
        here.subscribe("u", "p").await;
        assert_eq!(there.counter("u", "images").await["quota"], 5, "absent fields stay");
        put(json!({"images": {"quota": null}})).await.expect(200);
        assert_eq!(there.counter("u", "images").await["remaining"], Value::Null);

        // A custom plan with other rules and groups. Earlier reservations settle by the rules with which they were
        // made.
        let own = json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
            {"id": "own_tokens", "unit": "tokens", "quota": 100, "matches": [
                {"event": "llm", "measure": {"per": {"t": 2}, "estimate": {"t": 10}}}]}]});
        put(own).await.expect(200);
        assert_eq!(there.reserve(image("u", 1)).await["reasons"], json!(["unmatched_event"]));
        let id = there.reserved(json!({"userId": "u", "event": "llm"})).await;
        put(Value::Null).await.expect(200);
        let settled = there.post("commit", json!({"reservationId": id, "metadata": {"t": 7}})).await.expect(200);
        assert_eq!(
            (&settled["counters"][0]["groupId"], &settled["counters"][0]["used"]),
            (&json!("own_tokens"), &json!(14))
        );
        assert_eq!(there.counter("u", "images").await["quota"], 2, "null clears");

        put(json!({"images": {"quota": 9}})).await.expect(200);
        here.subscribe("u", "q").await;
        assert_eq!(there.counter("u", "images").await["quota"], 3, "another plan drops them");
        for (limits, field) in [
            (json!({"nowhere": {"quota": 1}, "images": {"quota": 0.5}}), "customLimits.nowhere"),
            (json!({"images": {"quota": -1}}), "customLimits.images.quota"),
            (
                json!({"groups": [{"id": "images", "unit": "tokens", "quota": 1, "periodType": "daily", "matches": [{"event": "x"}]}]}),
                "customLimits.groups[0].unit",
            ),
            (json!(7), "customLimits"),
        ] {
            assert_eq!(put(limits).await.bad_field(), field);
        }
        let both =
            put(json!({"nowhere": {"quota": 1}, "images": {"quota": 0.5}})).await.problem(400, "invalid_request");
        assert_eq!(both["errors"].as_array().unwrap().len(), 2, "all faults at once");
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_without_subscription_are_on_the_default_plan_until_they_have_one() {
    for stage in Stage::all().await {
        let (here, there, admin) = (&stage.here, &stage.there, &stage.world.admin);
        admin.plan("free", plan(json!(2), "monthly", "calendar", "block")).await;
        admin.plan("paid", monthly(50)).await;
        assert_eq!(there.reserve(image("u", 1)).await["reasons"], json!(["no_subscription"]));
        assert_eq!(admin.put("app", json!({"defaultPlanId": "paid"})).await.bad_field(), "defaultPlanId");
        assert_eq!(admin.put("app", json!({"defaultPlanId": "nowhere"})).await.bad_field(), "defaultPlanId");
        admin.put("app", json!({"defaultPlanId": "free"})).await.expect(200);
        assert_eq!(admin.get("app").await.expect(200)["defaultPlanId"], "free");

        let before = stage.world.redis.contents("qg:{default:test/main}:account:*").await;
        assert_eq!(there.get("usage?userId=u").await.expect(200)["planId"], "free");
        assert_eq!(there.reserve(image("u", 3)).await["allowed"], false);
        assert_eq!(
            stage.world.redis.contents("qg:{default:test/main}:account:*").await,
            before,
            "no memory before the first success"
        );
        there.reserved(image("u", 2)).await;
        let tracked = there.post("track", image("u", 3)).await.expect(200);
        assert_eq!(tracked["matchStatus"], "over_limit");
        let ttl: i64 = stage.world.redis.run(&["PTTL", "qg:{default:test/main}:account:user:u"]).await;
        assert!(ttl > 0, "forgotten after the last window");

        // A first subscription does not block, and the user no longer expires; going back to the default plan carries
        // over.
        here.subscribe("u", "free").await;
        assert_eq!(stage.stands("u", "images").await, [3., 2., 0., 0., 1.]);
        here.delete("subscriptions", Some(json!({"userId": "u"}))).await.expect(200);
        assert_eq!(stage.stands("u", "images").await, [3., 2., 0., 0., 1.]);
        let ttl: i64 = stage.world.redis.run(&["PTTL", "qg:{default:test/main}:account:user:u"]).await;
        assert_eq!(ttl, -1);

        let answer = admin.put("plans/free", plan(json!(2), "monthly", "subscription_start", "carry")).await;
        assert_eq!(answer.bad_field(), "groups[0].periodAnchor");
        admin.delete("plans/free", None).await.problem(409, "plan_in_use");
        admin.put("app", json!({})).await.expect(200);
        assert_eq!(there.reserve(image("u", 1)).await["reasons"], json!(["no_subscription"]));
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_with_users_is_deleted_only_when_they_are_moved() {
    for stage in Stage::all().await {
        let (here, there, admin) = (&stage.here, &stage.there, &stage.world.admin);
        admin.plan("old", monthly(5)).await;
        admin.plan("new", monthly(9)).await;
        for user in ["a", "b", "c"] {
            here.subscribe(user, "old").await;
        }
        there.reserved(image("a", 4)).await;
        let problem = admin.delete("plans/old", None).await.problem(409, "plan_in_use");
        assert!(problem["detail"].as_str().unwrap().contains("3 users are on plan `old`"), "{problem}");
        for target in ["old", "nowhere"] {
            assert_eq!(admin.delete(&format!("plans/old?moveTo={target}"), None).await.bad_field(), "moveTo");
        }
        let ending = json!({"userId": "d", "planId": "old", "cycleStart": "2027-01-20T00:00:00Z", "endsAt": "2027-02-05T00:00:00Z"});
        here.post("subscriptions", ending).await.expect(200);
        assert_eq!(admin.delete("plans/old?moveTo=new", None).await.status, 204);
        assert_eq!(stage.stands("a", "images").await, [0., 4., 0., 5., 0.]);
        let admin = admin.with("x-mode", "test");
        let moved = admin.get("users/d").await.expect(200)["subscription"].clone();
        let kept = [&moved["planId"], &moved["cycleStart"], &moved["endsAt"]];
        assert_eq!(kept, ["new", "2027-01-20T00:00:00Z", "2027-02-05T00:00:00Z"]);
        admin.get("plans/old").await.problem(404, "not_found");
        assert_eq!(here.post("subscriptions", json!({"userId": "e", "planId": "old"})).await.bad_field(), "planId");
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_start_of_these_tests_is_where_they_think() {
    let world = World::frozen().await;
    assert_eq!(world.app.get("test-clock").await.expect(200)["now"], START);
}

/// A node that has not seen the new time yet asks Redis before it refuses a start as one in the future.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_may_start_at_the_time_to_which_another_node_has_just_moved_the_clock() {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(9)).await;
    let (_second, other) = world.another_node().await;
    let body = |start: &str| json!({"userId": "u", "planId": "p", "startedAt": start});
    other.post("subscriptions", body(START)).await.expect(200);
    for (now, path) in
        [("2027-01-31T10:00:00.262Z", "subscriptions"), ("2027-01-31T10:00:00.300Z", "subscriptions?dryRun=true")]
    {
        world.app.freeze(now).await;
        other.post(path, body(now)).await.expect(200);
        assert_eq!(other.post(path, body("2027-01-31T10:00:00.400Z")).await.bad_field(), "startedAt");
    }
}

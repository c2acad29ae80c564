//! `POST whatif`: replays recent calls against a draft.

use std::time::Duration;

use quotagate::http::middleware::limits::Limits;
use quotagate::startup::Options;
use serde_json::{Value, json};

use crate::support::{Api, ROOT_KEY, Redis, Running, World, monthly, new_key};

fn with_id(id: &str, mut body: Value) -> Value {
    body["id"] = json!(id);
    body
}

/// Five images an hour apart, the last two by another user; then a sixth one, which is denied.
async fn world() -> (World, Api) {
    let world = World::frozen().await;
    world.admin.plan("basic", monthly(3)).await;
    for user in ["ada", "bob"] {
        world.app.subscribe(user, "basic").await;
    }
    for (hour, user) in [(11, "ada"), (12, "ada"), (13, "ada"), (14, "bob"), (15, "bob")] {
        world.app.freeze(&format!("2027-01-31T{hour}:00:00Z")).await;
        let id = world.app.reserved(json!({"userId": user, "event": "image.a"})).await;
        world.app.commit(&id).await;
    }
    world.app.freeze("2027-01-31T16:00:00Z").await;
    assert_eq!(world.app.reserve(json!({"userId": "ada", "event": "image.a"})).await["allowed"], false);
    let admin = world.admin.with("x-mode", "test");
    (world, admin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_reports_newly_denied_and_newly_allowed_users_and_writes_nothing() {
    let (world, admin) = world().await;
    let before = world.redis.contents("qg:*").await;
    let reported = admin.post("whatif", json!({"plan": with_id("basic", monthly(1))})).await.expect(200);
    assert_eq!((&reported["calls"], &reported["underDraft"]["denied"]), (&json!(6), &json!(4)));
    assert_eq!((&reported["newlyDenied"]["calls"], &reported["newlyDenied"]["users"]), (&json!(3), &json!(2)));
    assert_eq!(reported["newlyDenied"]["byGroup"], json!({"images": 3}));
    assert_eq!(reported["newlyDenied"]["examples"][0]["at"], "2027-01-31T12:00:00Z");
    assert_eq!(reported["mostAffected"][0]["userId"], "ada");
    assert_eq!(reported["presentRules"], json!({"calls": 6, "agree": 6, "deniedOtherwise": 0}));
    assert_eq!(
        (&reported["cut"], &reported["whole"], &reported["mostEntries"]),
        (&Value::Null, &json!(true), &json!(20000))
    );
    let wide = admin.post("whatif", json!({"plan": with_id("basic", monthly(9))})).await.expect(200);
    assert_eq!((&wide["newlyDenied"]["calls"], &wide["newlyAllowed"]["calls"]), (&json!(0), &json!(1)));
    let policy = json!({"id": "all", "periodType": "daily", "groups": [{"id": "everybody", "unit": "count", "quota": 4,
        "measure": "event", "scope": ["app"], "matches": [{"event": "*"}]}]});
    let capped = admin.post("whatif", json!({"policy": policy})).await.expect(200);
    assert_eq!(capped["newlyDenied"]["byGroup"], json!({"everybody": 1}));
    let new = json!({"plan": with_id("starter", monthly(1)), "usersOf": "basic"});
    assert_eq!(admin.post("whatif", new).await.expect(200)["newlyDenied"]["calls"], 3);
    assert_eq!(world.redis.contents("qg:*").await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_balance_took_over_is_part_of_what_its_group_has_cost() {
    let world = World::frozen().await;
    let plan = json!({"periodType": "monthly", "groups": [
        {"id": "spend", "unit": "cents", "quota": 3, "measure": "quantity", "overflow": "credits",
            "matches": [{"event": "image.*"}]},
        {"id": "credits", "kind": "balance", "unit": "cents"}]});
    world.admin.plan("basic", plan.clone()).await;
    world.app.subscribe("ada", "basic").await;
    for amount in [1, 4] {
        let credit = json!({"groupId": "credits", "scope": {"user": "ada"}, "amount": amount});
        world.app.post("credits", credit).await.expect(201);
    }
    let track = json!({"userId": "ada", "event": "image.a", "quantity": 6});
    world.app.post("track", track).await.expect(200);
    let admin = world.admin.with("x-mode", "test");
    let same = admin.post("whatif", json!({"plan": with_id("basic", plan)})).await.expect(200);
    assert_eq!(same["groups"].as_array().unwrap().len(), 1, "{same}");
    assert_eq!((&same["groups"][0]["recorded"], &same["groups"][0]["present"]), (&json!(6), &json!(6)), "{same}");
    assert_eq!((&same["recorded"], &same["present"]), (&same["underDraft"], &same["underDraft"]), "{same}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_is_compared_with_the_present_rules_and_not_with_rules_of_the_past() {
    let (world, admin) = world().await;
    // The call that was denied at 3 would pass today.
    world.admin.plan("basic", monthly(9)).await;
    let ask =
        async |quota: u64| admin.post("whatif", json!({"plan": with_id("basic", monthly(quota))})).await.expect(200);
    let same = ask(9).await;
    assert_eq!((&same["newlyDenied"]["calls"], &same["newlyAllowed"]["calls"]), (&json!(0), &json!(0)), "{same}");
    assert_eq!((&same["mostAffected"], &same["deniedOtherwise"]), (&json!([]), &json!(0)));
    assert_eq!(same["present"], same["underDraft"]);
    assert_eq!((&same["present"]["denied"], &same["recorded"]["denied"]), (&json!(0), &json!(1)));
    assert_eq!(
        same["presentRules"],
        json!({"calls": 6, "agree": 5, "deniedOtherwise": 0}),
        "how far the replay is off"
    );
    assert_eq!((&same["groups"][0]["recorded"], &same["groups"][0]["present"]), (&json!(5), &json!(6)));
    // Halved: nobody gets more than the present rules give.
    let halved = ask(4).await;
    assert_eq!((&halved["newlyDenied"]["calls"], &halved["newlyAllowed"]["calls"]), (&json!(0), &json!(0)));
    let former = ask(3).await;
    assert_eq!((&former["newlyDenied"]["calls"], &former["newlyAllowed"]["calls"]), (&json!(1), &json!(0)));
    assert_eq!(former["newlyDenied"]["examples"][0]["at"], "2027-01-31T16:00:00Z");
    // Stricter rules than those of then: what they deny too is no news of the draft's.
    world.admin.plan("basic", monthly(1)).await;
    let strict = ask(1).await;
    assert_eq!((&strict["newlyDenied"]["calls"], &strict["present"]["denied"]), (&json!(0), &json!(4)));
    let eased = ask(2).await;
    assert_eq!((&eased["newlyAllowed"]["calls"], &eased["newlyAllowed"]["users"]), (&json!(2), &json!(2)));
    assert_eq!(eased["newlyAllowed"]["byReason"], json!({"limit_reached": 2}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_with_faults_reports_all_of_them_by_field() {
    let (_world, admin) = world().await;
    let mut wrong = monthly(1);
    wrong["groups"][0]["unit"] = json!("cents");
    let plan = || with_id("basic", monthly(1));
    for (body, field) in [
        (json!({}), "plan"),
        (json!({"plan": monthly(1)}), "plan.id"),
        (json!({"plan": with_id("a b", monthly(1))}), "plan.id"),
        (json!({"plan": with_id("basic", wrong)}), "plan.groups[0].unit"),
        (json!({"plan": with_id("starter", monthly(1))}), "usersOf"),
        (json!({"plan": plan(), "usersOf": "none"}), "usersOf"),
        (json!({"policy": {"id": "x", "groups": []}, "usersOf": "basic"}), "usersOf"),
        (json!({"policy": {"groups": []}}), "policy.id"),
        (json!({"policy": {"id": "x", "groups": []}, "plan": plan()}), "policy"),
        (json!({"plan": plan(), "entries": 99}), "entries"),
        (json!({"plan": plan(), "entries": 50_001}), "entries"),
    ] {
        assert_eq!(admin.post("whatif", body.clone()).await.bad_field(), field, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_bound_only_the_newest_entries_count_and_full_counters_remain_full() {
    let world = World::frozen().await;
    let admin = world.admin.with("x-mode", "test");
    world.admin.plan("basic", monthly(60)).await;
    for user in ["full", "ada"] {
        world.app.subscribe(user, "basic").await;
    }
    let image = |user: &str, quantity: u64| json!({"userId": user, "event": "image.a", "quantity": quantity});
    world.app.post("track", image("full", 60)).await.expect(200);
    for minute in 0..55 {
        world.app.freeze(&format!("2027-01-31T11:{minute:02}:00Z")).await;
        let id = world.app.reserved(image("ada", 1)).await;
        world.app.commit(&id).await;
        for _ in 0..2 {
            assert_eq!(world.app.reserve(image("full", 1)).await["allowed"], false);
        }
    }
    let ask = async |quota: u64| {
        let body = json!({"plan": with_id("basic", monthly(quota)), "entries": 100});
        admin.post("whatif", body).await.expect(200)
    };
    let same = ask(60).await;
    assert_eq!((&same["cut"], &same["mostEntries"]), (&json!("entries"), &json!(100)));
    let calls = same["calls"].as_u64().unwrap();
    assert!((60..=100).contains(&calls) && same["entries"].as_u64().unwrap() <= 100, "{same}");
    assert!(same["since"].as_str().unwrap() > "2027-01-31T11:00:00Z", "{}", same["since"]);
    assert_eq!(same["presentRules"], json!({"calls": calls, "agree": calls, "deniedOtherwise": 0}), "{same}");
    assert_eq!((&same["newlyDenied"]["calls"], &same["newlyAllowed"]["calls"]), (&json!(0), &json!(0)), "{same}");
    // What ada used before the limit of entries counts: of 55 images only the last one exceeds 54.
    assert_eq!(ask(54).await["newlyDenied"]["calls"], 1);
    // With 70, the user who was at the limit has ten left.
    assert_eq!(ask(70).await["newlyAllowed"]["calls"], 10);
    let whole = json!({"plan": with_id("basic", monthly(60)), "entries": 50_000});
    let whole = admin.post("whatif", whole).await.expect(200);
    assert_eq!((&whole["cut"], &whole["calls"]), (&Value::Null, &json!(165)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_that_are_spread_over_buckets_are_replayed_like_others() {
    let world = World::new().await;
    world.admin.post("apps", json!({"id": "spread", "placement": "user"})).await.expect(201);
    let admin = world.admin.with("x-app", "spread");
    admin.plan("basic", monthly(3)).await;
    let app = world.node.client(&new_key(&admin, json!({"kind": "secret", "mode": "test"})).await);
    for user in 0..9 {
        let user = format!("u{user}");
        app.subscribe(&user, "basic").await;
        app.post("track", json!({"userId": user, "event": "image.a", "quantity": 2})).await.expect(200);
        let id = app.reserved(json!({"userId": user, "event": "image.a"})).await;
        app.commit(&id).await;
    }
    let asked = json!({"plan": with_id("basic", monthly(2))});
    let reported = admin.with("x-mode", "test").post("whatif", asked).await.expect(200);
    assert_eq!(
        (&reported["calls"], &reported["newlyDenied"]["calls"], &reported["newlyDenied"]["users"]),
        (&json!(9), &json!(9), &json!(9))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_without_a_place_is_refused_and_a_store_that_hangs_gives_places_back() {
    let redis = Redis::start().await;
    let limits = Limits { reads_of_key: 0, ..Limits::default() };
    let node = Running::with_limits(&redis.url(), limits).await;
    let full = node.client(ROOT_KEY).with("x-mode", "test");
    full.plan("basic", monthly(3)).await;
    let body = json!({"plan": with_id("basic", monthly(1))});
    let refused = full.post("whatif", body.clone()).await;
    assert_eq!(refused.header("retry-after"), Some("5"));
    refused.problem(429, "too_many_whatifs");

    let limits = Limits { reads_of_key: 1, ..Limits::default() };
    let options = Options { limits, ..Running::options(&redis.url(), Duration::from_secs(2)) };
    let node = Running::launch(options).await;
    let admin = node.client(ROOT_KEY).with("x-mode", "test");
    let ask = async || admin.post("whatif", body.clone()).await.status;
    crate::support::eventually("the node answers", async || ask().await == 200).await;
    redis.hang();
    assert_eq!(ask().await, 503);
    redis.wake();
    crate::support::eventually("the place is free again", async || ask().await == 200).await;
}

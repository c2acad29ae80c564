//! Groups that only observe: they never deny, and everything that they would have denied is reported.

use serde_json::{Value, json};

use super::events;
use crate::configuration::budgets::{call, group, names, open_plan, policy, standings};
use crate::support::{Api, World};

/// A group that observes `quota` calls a day.
fn observing(id: &str, scope: &[&str], quota: Value) -> Value {
    group(id, scope, quota, json!({"enforcement": "observe"}))
}

/// A world with one user and these policy groups.
async fn world(groups: Value) -> World {
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    policy(&world, "trial", groups).await;
    world
}

fn ask() -> Value {
    call("u", json!({}))
}

fn observed(group: &str, requested: f64, remaining: f64) -> Value {
    json!([{"groupId": group, "requested": requested, "remaining": remaining}])
}

fn as_floats(list: &Value) -> Value {
    let mut list = list.clone();
    for one in list.as_array_mut().into_iter().flatten() {
        for name in ["requested", "remaining"] {
            if let Some(amount) = one[name].as_f64() {
                one[name] = json!(amount);
            }
        }
    }
    list
}

async fn line(world: &World, query: &str) -> Value {
    let admin = world.admin.with("x-mode", "test");
    admin.get(&format!("reports/usage?{query}")).await.expect(200)["data"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_that_may_be_denied_reports_what_it_observed() {
    let world = world(json!([observing("watch", &["user"], json!(2))])).await;
    let app = &world.app;
    let id = app.reserve(ask()).await;
    assert_eq!((&id["allowed"], id.get("observed")), (&json!(true), None));
    app.commit(id["reservationId"].as_str().unwrap()).await;
    app.reserved(ask()).await;

    let reserved = app.reserve(ask()).await;
    assert_eq!((&reserved["allowed"], &reserved["deniedBy"]), (&json!(true), &json!([])));
    assert_eq!(as_floats(&reserved["observed"]), observed("watch", 1.0, 0.0));
    let can_use = app.post("can-use", ask()).await.expect(200);
    assert_eq!((&can_use["allowed"], as_floats(&can_use["observed"])), (&json!(true), observed("watch", 1.0, 0.0)));
    let mut track = ask();
    assert_eq!(app.post("track", track.clone()).await.expect(200).get("observed"), None, "a track is never denied");
    track["enforce"] = json!(true);
    let tracked = app.once("t").post("track", track.clone()).await.expect(200);
    assert_eq!(as_floats(&tracked["observed"]), observed("watch", 1.0, 0.0));
    let again = app.once("t").post("track", track).await;
    assert_eq!((again.header("idempotent-replayed"), &again.json["observed"]), (Some("true"), &tracked["observed"]));
    let batch = json!({"operations": [
        {"op": "reserve", "userId": "u", "event": "llm.chat"}, {"op": "can-use", "userId": "u", "event": "llm.chat"},
        {"op": "track", "userId": "u", "event": "llm.chat", "enforce": true}]});
    for result in app.post("batch", batch).await.expect(200)["results"].as_array().unwrap() {
        assert_eq!(as_floats(&result["body"]["observed"]), observed("watch", 1.0, 0.0), "{result}");
    }
    // Two reserves are held, and what was committed and tracked is used, beyond the quota.
    let counter = app.counter("u", "watch").await;
    assert_eq!(
        [&counter["used"], &counter["held"], &counter["overage"], &counter["remaining"]].map(Value::as_f64),
        [4.0, 3.0, 2.0, 0.0].map(Some)
    );
    let admin = world.admin.with("x-mode", "test");
    let explained = admin.get("explain?userId=u&event=llm.chat").await.expect(200)["call"].clone();
    assert_eq!((&explained["allowed"], as_floats(&explained["observed"])), (&json!(true), observed("watch", 1.0, 0.0)));
    let group = explained["groups"].as_array().unwrap().iter().find(|group| group["groupId"] == "watch").unwrap();
    assert_eq!(
        [&group["observed"], &group["overLimit"], &group["refuses"]],
        [true, true, false].map(|it| json!(it)).each_ref()
    );
    assert!(explained["summary"].as_str().unwrap().contains("only observes"), "{explained}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extended_amount_is_observed() {
    let group = json!({"id": "watch", "unit": "tokens", "quota": 10, "enforcement": "observe", "periodType": "daily",
        "matches": [{"event": "llm.chat"}]});
    let world = world(json!([group])).await;
    let mut body = ask();
    body["quantity"] = json!(8);
    let id = world.app.reserved(body).await;
    let extended = world.app.post("extend", json!({"reservationId": id, "quantity": 5})).await.expect(200);
    assert_eq!((&extended["allowed"], as_floats(&extended["observed"])), (&json!(true), observed("watch", 5.0, 2.0)));
    assert_eq!(world.app.stands("u", "watch").await, (0.0, 13.0));
    let found = events(&world, "observed=true").await;
    assert_eq!((found.len(), &found[0]["call"], &found[0]["type"]), (1, &json!("extend"), &json!("denial")));
    world.app.commit(&id).await;
    assert_eq!(world.app.stands("u", "watch").await, (13.0, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_group_that_denies_nothing_is_placed_and_both_are_reported() {
    let hard = group("hard", &["user"], json!(2), json!({}));
    let world = world(json!([observing("watch", &["user"], json!(1)), hard])).await;
    for _ in 0..2 {
        world.app.reserved(ask()).await;
    }
    let state = world.redis.contents("qg:*account*").await;
    let denied = world.app.once("d").post("reserve", ask()).await.expect(200);
    assert_eq!(
        (&denied["allowed"], names(&denied), &denied["reasons"]),
        (&json!(false), vec!["hard"], &json!(["limit_reached"]))
    );
    assert_eq!(as_floats(&denied["observed"]), observed("watch", 1.0, 0.0));
    assert_eq!(world.redis.contents("qg:*account*").await, state, "a denied call changes nothing");
    let again = world.app.once("d").post("reserve", ask()).await.expect(200);
    assert_eq!((&again["observed"], names(&again)), (&denied["observed"], vec!["hard"]), "also when it is repeated");

    let found = events(&world, "type=denial").await;
    // The second reserve was observed alone; the third was denied.
    assert_eq!(found.iter().map(|event| event["observed"] == true).collect::<Vec<_>>(), [true, false]);
    let denying = |event: &Value| {
        let parts = event["denied"].as_array().unwrap().iter();
        parts.map(|part| (part["groupId"].as_str().unwrap().to_owned(), part["observed"] == true)).collect::<Vec<_>>()
    };
    assert_eq!(denying(&found[0]), [("watch".to_owned(), true)]);
    assert_eq!(denying(&found[1]), [("hard".to_owned(), false), ("watch".to_owned(), true)]);
    assert_eq!(events(&world, "observed=true").await.len(), 2);
    assert_eq!(events(&world, "observed=false&type=denial").await.len(), 0);

    let sum = line(&world, "").await;
    assert_eq!((&sum["denials"], &sum["observed"]), (&json!(1), &json!(1)), "{sum}");
    let of = |id: &str| format!("groupId={id}");
    let watch = line(&world, &of("watch")).await;
    assert_eq!((&watch["denials"], &watch["observed"]), (&json!(0), &json!(2)), "{watch}");
    let hard = line(&world, &of("hard")).await;
    assert_eq!((&hard["denials"], &hard["observed"]), (&json!(1), &json!(0)), "{hard}");
    let admin = world.admin.with("x-mode", "test");
    let csv = admin.get("reports/usage?format=csv&from=2027-01-31").await.text;
    assert!(csv.starts_with("start,end,calls,denials,observed,"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().contains("2027-01-31,2027-01-31,0,1,1,"), "{csv}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_else_of_the_group_denies_either() {
    let more = |more: Value| {
        let mut group = observing("watch", &["user"], json!(5));
        group.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        group
    };
    let fixed = json!({"periodType": "fixed", "start": "2028-01-01T00:00:00Z", "end": "2028-02-01T00:00:00Z"});
    let cases = [
        (more(json!({"scope": ["metadata.team"]})), "missing_scope", Value::Null),
        (more(json!({"covers": ["llm.*"], "matches": [{"event": "llm.other"}]})), "uncovered_event", Value::Null),
        (more(json!({"measure": "quantity", "maxPerCall": 0})), "call_too_large", json!(5)),
        (more(fixed), "limit_reached", json!(0)),
    ];
    let world = World::frozen().await;
    open_plan(&world, &["u"]).await;
    for (group, reason, remaining) in cases {
        let id = format!("watch_{reason}");
        let mut group = group;
        group["id"] = json!(id);
        policy(&world, "trial", json!([group])).await;
        let reserved = world.app.reserve(ask()).await;
        assert_eq!(reserved["allowed"], true, "{reserved}");
        let found = &reserved["observed"][0];
        let expected = if reason == "limit_reached" { Value::Null } else { json!(reason) };
        assert_eq!((&found["groupId"], &found["reason"], &found["remaining"]), (&json!(id), &expected, &remaining));
        if reason == "missing_scope" {
            assert_eq!(found["missingScope"], json!(["metadata.team"]));
        }
        let event = events(&world, "observed=true").await.pop().unwrap();
        assert_eq!((&event["reason"], &event["observed"]), (&json!(reason), &json!(true)));
        // The reservation is as any other.
        let id = reserved["reservationId"].as_str().unwrap();
        world.app.post("commit", json!({"reservationId": id, "quantity": 2})).await.expect(200);
    }
    assert_eq!(line(&world, "").await["observed"], 4);
}

/// The straight path, which decides most calls, must leave these to the general one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_of_0_or_null_and_grants_are_observed_like_those_of_other_groups() {
    let world = world(json!([
        observing("zero", &["user"], json!(0)),
        observing("none", &["user"], json!(null)),
        observing("some", &["user"], json!(1)),
    ]))
    .await;
    let grant = json!({"groupId": "some", "scope": {"user": "u"}, "amount": 1});
    world.admin.with("x-mode", "test").post("grants", grant).await.expect(201);
    let groups = async |app: &Api| {
        let answer = app.reserve(ask()).await;
        let list = answer["observed"].as_array().cloned().unwrap_or_default();
        list.iter().map(|one| one["groupId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for expected in [&["zero"][..], &["zero"], &["zero", "some"]] {
        assert_eq!(groups(&world.app).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_hold_is_not_observed() {
    let world = world(json!([observing("watch", &["user"], json!(1))])).await;
    let mut body = ask();
    body["ttlSeconds"] = json!(5);
    world.app.reserved(body).await;
    world.app.freeze("2027-01-31T10:00:05Z").await;
    assert_eq!(world.app.reserve(ask()).await.get("observed"), None);
    assert_eq!(events(&world, "type=denial").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_scope_is_left_out_if_its_groups_only_observe() {
    let groups =
        json!([observing("watch", &["metadata.team"], json!(9)), group("own", &["user"], json!(9), json!({}))]);
    let world = world(groups).await;
    world.admin.put("app", json!({"maxScopeValues": 1})).await.expect(200);
    let of = |team: &str| call("u", json!({"team": team}));
    world.app.reserved(of("red")).await;
    let reserved = world.app.reserve(of("blue")).await;
    assert_eq!((&reserved["allowed"], &reserved["observed"][0]["groupId"]), (&json!(true), &json!("watch")));
    let id = reserved["reservationId"].as_str().unwrap();
    world.app.post("extend", json!({"reservationId": id, "ttlSeconds": 90})).await.expect(200);
    world.app.post("commit", json!({"reservationId": id, "quantity": 3})).await.expect(200);
    assert_eq!(standings(&world, "watch").await, [("red".to_owned(), 0.0, 1.0)]);
    assert_eq!(world.app.stands("u", "own").await, (1.0, 1.0));
    // Without any group that counts, there is nothing to hold.
    policy(&world, "trial", json!([observing("watch", &["metadata.team"], json!(9))])).await;
    world.admin.delete("plans/open?force=true", None).await;
    let unmetered = json!({"periodType": "monthly", "unmatchedEvents": "allow", "groups": []});
    world.admin.plan("free", unmetered).await;
    world.app.subscribe("v", "free").await;
    let mut body = of("blue");
    body["userId"] = json!("v");
    let reserved = world.app.reserve(body).await;
    assert_eq!((&reserved["allowed"], reserved.get("reservationId")), (&json!(true), None), "{reserved}");
    assert_eq!(reserved["observed"][0]["groupId"], "watch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_are_emitted_and_counters_go_on_when_the_limit_is_enforced() {
    let mut watch = observing("watch", &["user"], json!(2));
    watch["alerts"] = json!([100]);
    let world = world(json!([watch.clone()])).await;
    for _ in 0..3 {
        let id = world.app.reserved(ask()).await;
        world.app.commit(&id).await;
    }
    let admin = world.admin.with("x-mode", "test");
    let alerts = admin.get("alerts").await.expect(200);
    let kinds: Vec<&str> = alerts["data"].as_array().unwrap().iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["threshold.reached"]);
    watch["enforcement"] = json!("hard");
    policy(&world, "trial", json!([watch])).await;
    let denied = world.app.reserve(ask()).await;
    assert_eq!((&denied["allowed"], denied.get("observed")), (&json!(false), None));
    assert_eq!(denied["counters"][0]["used"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_that_observes_denies_nothing_and_lists_what_it_would_have_denied() {
    let world = world(json!([])).await;
    for _ in 0..3 {
        let id = world.app.reserved(ask()).await;
        world.app.commit(&id).await;
    }
    let draft = |enforcement: &str| {
        let mut group = group("tried", &["user"], json!(1), json!({}));
        group["enforcement"] = json!(enforcement);
        json!({"policy": {"id": "tried", "periodType": "daily", "groups": [group]}})
    };
    let admin = world.admin.with("x-mode", "test");
    let hard = admin.post("whatif", draft("hard")).await.expect(200);
    assert_eq!((&hard["newlyDenied"]["calls"], &hard["observed"]["calls"]), (&json!(2), &json!(0)), "{hard}");
    let watched = admin.post("whatif", draft("observe")).await.expect(200);
    assert_eq!((&watched["newlyDenied"]["calls"], &watched["observed"]["calls"]), (&json!(0), &json!(2)), "{watched}");
    assert_eq!((&watched["observed"]["users"], &watched["observed"]["byGroup"]), (&json!(1), &json!({"tried": 2})));

    // What was only observed counts as an allowed call in a later replay.
    policy(&world, "trial", json!([observing("watch", &["user"], json!(1))])).await;
    world.app.reserved(ask()).await;
    let again = world.app.reserved(ask()).await;
    world.app.commit(&again).await;
    let replayed = admin.post("whatif", draft("observe")).await.expect(200);
    assert_eq!(replayed["recorded"]["denied"], 0, "{replayed}");
}

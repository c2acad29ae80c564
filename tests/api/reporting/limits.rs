//! `GET reports/limits`: every kind of owner that is near a limit.

use quotagate::domain::values::ids::{AppId, Mode};
use quotagate::service::gateway::Gateway;
use quotagate::service::tenant::{Placement, Tenant};
use quotagate::store::Store;
use quotagate::store::reporting::stream::Stream;
use serde_json::{Value, json};

use crate::support::{Api, PATIENCE, World};

async fn world() -> (World, Api) {
    let world = World::frozen().await;
    let groups = json!([
        {"id": "images", "unit": "count", "quota": 20, "matches": [{"event": "image.*"}]},
        {"id": "burst", "unit": "count", "quota": 4, "periodType": "minute", "periodAnchor": "calendar", "matches": [{"event": "text.*"}]}]);
    world.admin.plan("p", json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": groups})).await;
    let policy = json!({"groups": [{"id": "team", "unit": "count", "quota": 30, "scope": ["metadata.team"],
        "periodType": "monthly", "matches": [{"event": "image.*"}]}]});
    world.admin.put("policies/teams", policy).await.expect(200);
    let admin = world.admin.with("x-mode", "test");
    (world, admin)
}

async fn spend(world: &World, user: &str, event: &str, quantity: u64, team: &str) {
    world.app.subscribe(user, "p").await;
    let body = json!({"userId": user, "event": event, "quantity": quantity, "metadata": {"team": team}});
    world.app.post("track", body).await.expect(200);
}

/// `owner group used` of each counter in a list.
fn reported(limits: &Value, list: &str) -> Vec<String> {
    let counters = limits[list].as_array().unwrap().iter();
    let owner =
        |counter: &Value| counter["scope"].as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
    counters
        .map(|counter| format!("{} {} {}", owner(counter), counter["groupId"].as_str().unwrap(), counter["used"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_teams_near_their_limits_are_listed_the_fullest_first() {
    let (world, admin) = world().await;
    spend(&world, "low", "image.a", 14, "blue").await;
    spend(&world, "near", "image.a", 15, "green").await;
    spend(&world, "nearer", "image.a", 19, "red").await;
    spend(&world, "full", "image.a", 20, "red").await;
    spend(&world, "quick", "text.a", 4, "blue").await;
    let limits = admin.get("reports/limits").await.expect(200);
    assert_eq!(reported(&limits, "atLimit"), ["red team 39", "full images 20"]);
    assert_eq!(reported(&limits, "near"), ["nearer images 19", "near images 15"]);
    assert_eq!(
        limits["groups"],
        json!([{"groupId": "images", "atLimit": 1, "near": 2}, {"groupId": "team", "atLimit": 1, "near": 0}])
    );
    assert_eq!((&limits["more"], &limits["complete"]), (&json!(false), &json!(true)));
    let one = admin.get("reports/limits?limit=1").await.expect(200);
    assert_eq!(
        (reported(&one, "atLimit"), reported(&one, "near")),
        (vec!["red team 39".to_owned()], vec!["nearer images 19".to_owned()])
    );
    for limit in ["0", "51"] {
        assert_eq!(admin.get(&format!("reports/limits?limit={limit}")).await.bad_field(), "limit");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_leaves_when_it_has_room_again() {
    let (world, admin) = world().await;
    for user in ["granted", "reset", "refunded", "stays"] {
        spend(&world, user, "image.a", 20, user).await;
    }
    assert_eq!(admin.get("reports/limits").await.expect(200)["atLimit"].as_array().unwrap().len(), 4);
    let grant = json!({"groupId": "images", "scope": {"user": "granted"}, "amount": 20});
    admin.post("grants", grant).await.expect(201);
    admin.post("users/reset/reset", json!({})).await.expect(200);
    let refund =
        json!({"userId": "refunded", "event": "image.a.refund", "quantity": 12, "metadata": {"team": "refunded"}});
    world.app.post("track", refund).await.expect(200);
    let limits = admin.get("reports/limits").await.expect(200);
    assert_eq!((reported(&limits, "atLimit"), reported(&limits, "near")), (vec!["stays images 20".to_owned()], vec![]));
    let images = limits["groups"].as_array().unwrap().iter().find(|group| group["groupId"] == "images").unwrap();
    assert_eq!(images["atLimit"], 1, "as many as the list shows");
    // A plan change that raises the quota is visible at once, too.
    let groups = json!([{"id": "images", "unit": "count", "quota": 25, "matches": [{"event": "image.*"}]}]);
    world.admin.plan("p", json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": groups})).await;
    assert_eq!(reported(&admin.get("reports/limits").await.expect(200), "near"), ["stays images 20"]);
    // It disappears with the window.
    world.app.freeze("2027-02-01T00:00:00Z").await;
    let limits = admin.get("reports/limits").await.expect(200);
    assert_eq!((reported(&limits, "atLimit"), reported(&limits, "near")), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_brings_back_a_counter_that_was_not_known() {
    let (world, admin) = world().await;
    spend(&world, "u", "image.a", 20, "red").await;
    assert_eq!(reported(&admin.get("reports/limits").await.expect(200), "atLimit"), ["u images 20"]);
    let known = ["near:shares", "near:ends"].map(|name| format!("qg:{{default:test/main}}:{name}"));
    world.redis.run::<i64>(&["DEL", &known[0], &known[1]]).await;
    assert_eq!(reported(&admin.get("reports/limits").await.expect(200), "atLimit"), Vec::<String>::new());
    let denied = world.app.reserve(json!({"userId": "u", "event": "image.a", "metadata": {"team": "red"}})).await;
    assert_eq!(denied["allowed"], false);
    assert_eq!(reported(&admin.get("reports/limits").await.expect(200), "atLimit"), ["u images 20"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_in_a_closed_window_and_a_window_that_is_over_say_nothing_of_the_present_one() {
    let (world, admin) = world().await;
    spend(&world, "u", "image.a", 12, "red").await;
    let held =
        json!({"userId": "u", "event": "image.a", "quantity": 8, "metadata": {"team": "red"}, "ttlSeconds": 3600});
    world.app.freeze("2027-01-31T23:30:00Z").await;
    let old = world.app.reserved(held).await;
    world.app.freeze("2027-02-01T00:10:00Z").await;
    spend(&world, "u", "image.a", 19, "red").await;
    let groups = async || admin.get("reports/limits").await.expect(200)["groups"].clone();
    let one_near = json!([{"groupId": "images", "atLimit": 0, "near": 1}]);
    assert_eq!(groups().await, one_near);
    // It fills the window of January and does not affect February.
    world.app.commit(&old).await;
    assert_eq!(groups().await, one_near);
    // Counters without further charges disappear with their window.
    world.app.freeze("2027-03-01T00:00:00Z").await;
    assert_eq!(groups().await, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folding_knows_what_is_near_its_limit_without_reading_a_counter() {
    let (world, reports) = world().await;
    for number in 0..20 {
        spend(&world, &format!("u_{number}"), "image.a", 10 + number, &format!("t_{number}")).await;
    }
    let denied = json!({"userId": "u_10", "event": "image.a", "metadata": {"team": "t_10"}});
    assert_eq!(world.app.reserve(denied).await["allowed"], false);
    let reported = reports.get("reports/limits?limit=50").await.expect(200);
    assert_eq!((reported["atLimit"].as_array().unwrap().len(), reported["near"].as_array().unwrap().len()), (10, 12));
    world.node.stop().await;
    let near = "qg:{default:test/main}:near:shares";
    let known = async || world.redis.run::<Vec<String>>(&["ZRANGE", near, "0", "-1", "WITHSCORES"]).await;
    let before = known().await;
    let keys: Vec<String> = world.redis.run(&["KEYS", "qg:{default:test/main}:rollup:*"]).await;
    for key in keys.iter().map(String::as_str).chain([near, "qg:{default:test/main}:near:ends"]) {
        world.redis.run::<i64>(&["DEL", key]).await;
    }
    let gateway = Gateway::new(Store::open(&world.redis.url(), PATIENCE).unwrap(), None);
    let app = AppId::parse("default").unwrap();
    gateway.config(&app).await.unwrap();
    let tenant = Tenant { app, mode: Mode::parse("test/main").unwrap(), placement: Placement::App };
    world.redis.run::<String>(&["CONFIG", "RESETSTAT"]).await;
    for stream in Stream::ALL {
        assert!(gateway.fold_stream(&tenant, &tenant.buckets()[0], stream, 9).await.unwrap().whole);
    }
    let stats: String = world.redis.run(&["INFO", "commandstats"]).await;
    for command in ["cmdstat_hgetall:", "cmdstat_hmget:", "cmdstat_hget:"] {
        assert!(!stats.contains(command), "{stats}");
    }
    assert_eq!(known().await, before);
}

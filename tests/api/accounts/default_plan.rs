//! Users on the default plan, who expire after their last window, and lists in which some have expired.

use serde_json::{Value, json};

use crate::support::{World, monthly, new_key};

const TAG: &str = "qg:{default:test/main}";

fn image(user: &str) -> Value {
    json!({"userId": user, "event": "image.a"})
}

fn calendar(period: &str, quota: u64) -> Value {
    json!({"periodType": period, "periodAnchor": "calendar",
        "groups": [{"id": "images", "unit": "count", "quota": quota, "matches": [{"event": "image.*"}]}]})
}

/// A frozen world with a daily default plan of 3 images.
async fn staged() -> World {
    let world = World::frozen().await;
    world.admin.plan("free", calendar("daily", 3)).await;
    world.admin.put("app", json!({"defaultPlanId": "free"})).await.expect(200);
    world
}

async fn time_to_live(world: &World, key: &str) -> i64 {
    world.redis.run(&["PTTL", &format!("{TAG}:{key}:user:u")]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resetting_a_user_whose_data_will_expire_leaves_nothing_without_an_expiry() {
    let world = staged().await;
    let key = new_key(&world.admin, json!({"kind": "admin", "role": "support"})).await;
    let support = world.node.client(&key).with("x-mode", "test");
    world.app.post("track", image("u")).await.expect(200);
    assert_eq!(time_to_live(&world, "past").await, -2);
    support.post("users/u/reset", json!({})).await.expect(200);
    assert_eq!(world.app.stands("u", "images").await, (0.0, 0.0));
    let (counters, past) = (time_to_live(&world, "account").await, time_to_live(&world, "past").await);
    assert!(counters > 0 && past > 0 && past <= counters, "{past} and {counters}");
}

/// So only few calls have to extend the expiry, which takes the general path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_forgotten_at_a_full_hour() {
    let world = staged().await;
    for now in ["2027-01-31T10:00:00Z", "2027-01-31T10:44:59Z"] {
        world.app.freeze(now).await;
        world.app.reserved(image("u")).await;
        let account: String = world.redis.run(&["HGET", &format!("{TAG}:account:user:u"), ".account"]).await;
        // 24 hours is the longest life of a reservation, 15 minutes its grace: this is 2027-02-01T11:00:00Z.
        assert!(account.ends_with(" forget=1801479600000"), "{account} at {now}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_comes_back_when_due_to_be_forgotten_is_listed() {
    let world = staged().await;
    world.app.post("track", image("u")).await.expect(200);
    // As if real time had passed: the keys have expired, and the name is due for removal.
    for key in ["account", "holds", "past"] {
        let _: i64 = world.redis.run(&["DEL", &format!("{TAG}:{key}:user:u")]).await;
    }
    let _: i64 = world.redis.run(&["ZADD", &format!("{TAG}:leaving"), "1", "u"]).await;
    world.app.post("track", image("u")).await.expect(200);
    let listed: Vec<String> = world.redis.run(&["ZRANGE", &format!("{TAG}:users"), "0", "-1"]).await;
    assert_eq!(listed, ["u"]);
    let due: i64 = world.redis.run(&["ZCOUNT", &format!("{TAG}:leaving"), "-inf", "1000"]).await;
    assert_eq!(due, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_subscription_takes_over_what_counts_today_and_nothing_older() {
    for (first_call_to_plan, used) in [("2027-01-31T11:00:00Z", 2.0), ("2027-02-01T11:00:00Z", 0.0)] {
        let world = staged().await;
        world.admin.plan("paid", calendar("yearly", 9)).await;
        world.admin.plan("starter", calendar("monthly", 9)).await;
        for _ in 0..2 {
            world.app.post("track", image("u")).await.expect(200);
        }
        world.app.freeze(first_call_to_plan).await;
        world.app.subscribe("u", "paid").await;
        assert_eq!(world.app.stands("u", "images").await, (used, 0.0), "{first_call_to_plan}");
        world.app.reserved(image("u")).await;
        assert_eq!(world.app.stands("u", "images").await, (used, 1.0), "{first_call_to_plan}");
        assert_eq!(time_to_live(&world, "account").await, -1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_users_continue_after_ids_without_data() {
    let world = World::new().await;
    world.admin.post("apps", json!({"id": "spread", "placement": "user"})).await.expect(201);
    for (admin, app_id) in [(world.admin.clone(), "default"), (world.admin.with("x-app", "spread"), "spread")] {
        admin.plan("p", monthly(3)).await;
        let key = new_key(&admin, json!({"kind": "secret", "mode": "live"})).await;
        let app = world.node.client(&key);
        let names: Vec<String> = (0..30).map(|number| format!("user_{number:02}")).collect();
        for name in &names {
            app.subscribe(name, "p").await;
        }
        // The first page, one in the middle and the last name belong to expired users.
        let gone = |place: usize| place < 5 || (10..16).contains(&place) || place == 29;
        for (_, name) in names.iter().enumerate().filter(|(place, _)| gone(*place)) {
            let found: Vec<String> =
                world.redis.run(&["KEYS", &format!("qg:{{{app_id}:live*:account:user:{name}")]).await;
            let _: i64 = world.redis.run(&["DEL", &found[0]]).await;
        }
        for limit in [1, 5, 30] {
            let (mut listed, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let page = admin.get(&format!("users?limit={limit}{cursor}")).await.expect(200);
                listed.extend(
                    page["data"].as_array().unwrap().iter().map(|user| user["userId"].as_str().unwrap().to_owned()),
                );
                pages += 1;
                assert!(pages <= 31);
                match page["nextCursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            let kept: Vec<&String> =
                names.iter().enumerate().filter(|(place, _)| !gone(*place)).map(|(_, name)| name).collect();
            assert_eq!(listed.iter().collect::<Vec<_>>(), kept, "{app_id} {limit}");
        }
    }
}

//! Credits of a balance: adding, listing, voiding, expiring.

use quotagate::domain::values::amount::Amount;
use serde_json::{Value, json};

use crate::configuration::budgets::open_plan;
use crate::support::proven::drifts;
use crate::support::{Api, World, new_key};

/// A plan with `quota` images, and then credits.
pub fn with_credits(quota: u64) -> Value {
    json!({"periodType": "monthly", "groups": [
        {"id": "images", "unit": "count", "quota": quota, "overflow": "credits", "matches": [{"event": "image.*"}]},
        {"id": "credits", "label": "Credits", "kind": "balance", "unit": "count", "alertsBelow": [5, 0],
            "matches": [{"event": "video.*"}]},
    ]})
}

/// A world with a user who has `quota` images.
pub async fn buyer(quota: u64) -> World {
    let world = World::frozen().await;
    world.admin.plan("pro", with_credits(quota)).await;
    world.app.subscribe("u", "pro").await;
    world
}

pub fn image(quantity: u64) -> Value {
    json!({"userId": "u", "event": "image.render", "quantity": quantity})
}

pub fn video(quantity: u64) -> Value {
    json!({"userId": "u", "event": "video.render", "quantity": quantity})
}

/// Adds a credit for the user `u`, with more fields.
pub async fn add(api: &Api, amount: u64, more: Value) -> Value {
    let mut body = json!({"groupId": "credits", "scope": {"user": "u"}, "amount": amount});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    api.post("credits", body).await.expect(201)
}

/// The credits of `u`, the newest first: amount, remaining, held, used, lapsed, voided, status.
pub async fn listed(api: &Api) -> Vec<(Vec<u64>, String)> {
    let list = api.get("credits?groupId=credits&userId=u").await.expect(200);
    let figures = ["amount", "remaining", "held", "used", "lapsed", "voided"];
    let credit = |credit: &Value| {
        let figures: Vec<u64> = figures.iter().map(|name| credit[name].as_u64().unwrap()).collect();
        assert_eq!(figures[0], figures[1..].iter().sum::<u64>(), "{credit}");
        (figures, credit["status"].as_str().unwrap().to_owned())
    };
    list["data"].as_array().unwrap().iter().map(credit).collect()
}

fn expected(credits: &[([u64; 6], &str)]) -> Vec<(Vec<u64>, String)> {
    credits.iter().map(|(figures, status)| (figures.to_vec(), (*status).to_owned())).collect()
}

/// What remains of the balance, is held in it, and was used.
pub async fn balance(api: &Api) -> [u64; 3] {
    let counter = api.counter("u", "credits").await;
    ["remaining", "held", "used"].map(|name| counter[name].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credit_is_used_until_nothing_remains_the_first_to_expire_first() {
    let world = buyer(0).await;
    let (other, second) = world.another_node().await;
    assert_eq!(second.reserve(image(1)).await["reasons"], json!(["limit_reached"]));
    let late = json!({"expiresAt": "2027-06-01T00:00:00Z", "sourceId": "pay_1", "note": "pack of 3"});
    let credit = add(&world.app, 3, late).await;
    let shown = json!({"id": credit["id"], "groupId": "credits", "scope": {"user": "u"}, "unit": "count", "amount": 3,
        "remaining": 3, "held": 0, "used": 0, "lapsed": 0, "voided": 0, "status": "live",
        "expiresAt": "2027-06-01T00:00:00Z", "sourceId": "pay_1", "note": "pack of 3",
        "createdAt": "2027-01-31T10:00:00Z", "createdBy": credit["createdBy"]});
    assert_eq!(credit, shown);
    add(&world.app, 4, json!({})).await;
    add(&world.app, 2, json!({"expiresAt": "2027-03-01T00:00:00Z"})).await;
    add(&world.app, 5, json!({"expiresAt": "2027-06-01T00:00:00Z"})).await;
    let counter = second.counter("u", "credits").await;
    assert_eq!(
        (&counter["kind"], &counter["quota"], &counter["period"]),
        (&json!("balance"), &Value::Null, &Value::Null)
    );
    assert_eq!(counter["expiresNext"], json!({"amount": 2, "at": "2027-03-01T00:00:00Z"}));
    assert_eq!(balance(&second).await, [14, 0, 0]);

    let id = second.reserved(image(4)).await;
    let first = [([5, 5, 0, 0, 0, 0], "live"), ([2, 0, 2, 0, 0, 0], "live"), ([4, 4, 0, 0, 0, 0], "live")];
    let held = [&first[..], &[([3, 1, 2, 0, 0, 0], "live")]].concat();
    assert_eq!(listed(&second).await, expected(&held), "June before never, and pay_1 was added first");
    assert_eq!(second.counter("u", "credits").await["expiresNext"], json!({"amount": 6, "at": "2027-06-01T00:00:00Z"}));
    world.app.commit(&id).await;
    world.app.commit(&world.app.reserved(image(9)).await).await;
    let used = [
        ([5, 0, 0, 5, 0, 0], "used"),
        ([2, 0, 0, 2, 0, 0], "used"),
        ([4, 1, 0, 3, 0, 0], "live"),
        ([3, 0, 0, 3, 0, 0], "used"),
    ];
    assert_eq!(listed(&world.app).await, expected(&used));
    assert_eq!(balance(&world.app).await, [1, 0, 13]);
    let denied = world.app.reserve(image(2)).await;
    assert_eq!((&denied["allowed"], &denied["deniedBy"][0]["remaining"]), (&json!(false), &json!(1)));
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
    let page = world.app.get("credits?groupId=credits&userId=u&limit=3").await.expect(200);
    assert_eq!(page["data"].as_array().unwrap().len(), 3);
    let next = format!("credits?groupId=credits&userId=u&limit=3&cursor={}", page["nextCursor"].as_str().unwrap());
    let rest = world.app.get(&next).await.expect(200);
    assert_eq!(
        (&rest["data"][0]["id"], &rest["data"][1], &rest["nextCursor"]),
        (&credit["id"], &Value::Null, &Value::Null)
    );
    let admin = world.admin.with("x-mode", "test");
    let audit = admin.get("audit?target=user:u").await.expect(200);
    let count = audit["data"].as_array().unwrap().iter().filter(|entry| entry["action"] == "credit.create").count();
    assert_eq!(count, 4);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_adds_one_credit_for_ever_and_a_key_for_a_while() {
    let world = buyer(0).await;
    let paid = json!({"groupId": "credits", "scope": {"user": "u"}, "amount": 3, "sourceId": "pay:1 ä"});
    let first = world.app.post("credits", paid.clone()).await.expect(201);
    world.app.commit(&world.app.reserved(image(3)).await).await;
    // It has ended, and the answer is as it is now. Months later, too.
    for key in ["k", "l"] {
        let again = world.app.once(key).post("credits", paid.clone()).await.expect(200);
        assert_eq!((&again["id"], &again["used"], &again["status"]), (&first["id"], &json!(3), &json!("used")));
        world.app.freeze("2027-09-01T00:00:00Z").await;
    }
    assert_eq!(listed(&world.app).await, expected(&[([3, 0, 0, 3, 0, 0], "used")]));
    let replayed = world.app.once("l").post("credits", paid.clone()).await;
    assert_eq!((replayed.header("idempotent-replayed"), replayed.status), (Some("true"), 200));
    // A credit that expires is found by its source after its expiry too.
    let mut expiring = paid.clone();
    (expiring["sourceId"], expiring["expiresAt"]) = (json!("pay:2"), json!("2027-10-01T00:00:00Z"));
    let second = world.app.post("credits", expiring.clone()).await.expect(201);
    world.app.freeze("2027-10-01T00:00:00Z").await;
    let again = world.app.post("credits", expiring).await.expect(200);
    assert_eq!((&again["id"], &again["status"]), (&second["id"], &json!("expired")), "{again}");
    // Another owner's payment is another one.
    let mut other = paid.clone();
    other["scope"] = json!({"user": "v"});
    world.app.post("credits", other).await.expect(201);

    let body = json!({"groupId": "credits", "scope": {"user": "u"}, "amount": 2});
    let once = world.app.once("once").post("credits", body.clone()).await.expect(201);
    let again = world.app.once("once").post("credits", body.clone()).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(201), once);
    let mut changed = body.clone();
    changed["amount"] = json!(4);
    world.app.once("once").post("credits", changed).await.problem(409, "idempotency_key_reused");
    assert_eq!(balance(&world.app).await, [2, 0, 3]);
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_remains_lapses_at_the_expiry_and_what_is_held_can_still_be_committed() {
    let world = buyer(0).await;
    let march = json!({"expiresAt": "2027-02-01T00:00:00Z"});
    add(&world.app, 10, march).await;
    add(&world.app, 1, json!({})).await;
    world.app.freeze("2027-01-31T23:59:30Z").await;
    let [kept, back] = [world.app.reserved(image(2)).await, world.app.reserved(image(3)).await];
    world.app.freeze("2027-02-01T00:00:00Z").await;
    assert_eq!(balance(&world.app).await, [1, 5, 0]);
    let expired = |figures| expected(&[([1, 1, 0, 0, 0, 0], "live"), (figures, "expired")]);
    assert_eq!(listed(&world.app).await, expired([10, 0, 5, 0, 5, 0]));
    world.app.commit(&kept).await;
    assert_eq!(listed(&world.app).await, expired([10, 0, 3, 2, 5, 0]));
    world.app.release(&back).await;
    assert_eq!(listed(&world.app).await, expired([10, 0, 0, 2, 8, 0]));
    assert_eq!(balance(&world.app).await, [1, 0, 2]);
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
    // The ledger has what lapsed: at the expiry, and when it came back.
    let admin = world.admin.with("x-mode", "test");
    let events = admin.get("events?type=credit,lapse").await.expect(200);
    let amounts = events["data"].as_array().unwrap().iter().map(|entry| {
        let charge = &entry["charges"][0];
        (entry["type"].as_str().unwrap(), charge["window"].as_str().unwrap(), charge["amount"].as_u64().unwrap())
    });
    let mut amounts: Vec<_> = amounts.collect();
    amounts.sort_unstable();
    let credited = [("credit", "b1.credited", 10), ("credit", "b2.credited", 1)];
    assert_eq!(amounts, [&credited[..], &[("lapse", "b1.lapsed", 3), ("lapse", "b1.lapsed", 5)]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_void_removes_what_remains_and_what_comes_back_later() {
    let world = buyer(0).await;
    let whole = add(&world.app, 10, json!({})).await;
    let path = format!("credits/{}/void", whole["id"].as_str().unwrap());
    let [kept, back] = [world.app.reserved(image(2)).await, world.app.reserved(image(3)).await];
    let part = json!({"amount": 1, "note": "goodwill"});
    let partly = world.app.once("part").post(&path, part.clone()).await.expect(200);
    assert_eq!((&partly["remaining"], &partly["voided"], &partly["status"]), (&json!(4), &json!(1), &json!("live")));
    assert_eq!(world.app.once("part").post(&path, part).await.expect(200)["voided"], 1, "once");
    assert_eq!(world.app.post(&path, json!({"amount": 5})).await.bad_field(), "amount");
    assert_eq!(world.app.post(&path, json!({"amount": 0})).await.bad_field(), "amount");
    let voided = world.app.post(&path, json!({"note": "chargeback"})).await.expect(200);
    assert_eq!((&voided["voided"], &voided["held"], &voided["status"]), (&json!(5), &json!(5), &json!("voided")));
    assert_eq!(world.app.reserve(image(1)).await["allowed"], false);
    world.app.commit(&kept).await;
    world.app.release(&back).await;
    assert_eq!(listed(&world.app).await, expected(&[([10, 0, 0, 2, 0, 8], "voided")]));
    assert_eq!(balance(&world.app).await, [0, 0, 2]);
    // An ended one, again, and one that never was.
    assert_eq!(world.app.post(&path, json!({})).await.expect(200)["voided"], 8);
    world.app.post("credits/crd_1/void", json!({})).await.problem(404, "not_found");
    // A part of one that is open returns to it.
    let open = add(&world.app, 4, json!({})).await;
    let id = world.app.reserved(image(3)).await;
    let path = format!("credits/{}/void", open["id"].as_str().unwrap());
    world.app.post(&path, json!({"amount": 1})).await.expect(200);
    world.app.release(&id).await;
    assert_eq!(balance(&world.app).await, [3, 0, 2]);
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_has_at_most_64_live_credits() {
    let world = buyer(0).await;
    for _ in 0..64 {
        add(&world.app, 1, json!({})).await;
    }
    let body = json!({"groupId": "credits", "scope": {"user": "u"}, "amount": 1});
    world.app.post("credits", body.clone()).await.problem(409, "too_many_credits");
    let id = world.app.reserved(image(64)).await;
    world.app.post("credits", body.clone()).await.problem(409, "too_many_credits");
    world.app.commit(&id).await;
    world.app.post("credits", body).await.expect(201);
    assert_eq!(balance(&world.app).await, [1, 0, 64]);
    assert_eq!(listed(&world.app).await.len(), 50, "a page");
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balance_never_counts_more_than_a_counter_can_hold() {
    let world = buyer(0).await;
    world.app.post("track", video(Amount::MOST - 1)).await.expect(200);
    add(&world.app, 1, json!({})).await;
    let body = json!({"groupId": "credits", "scope": {"user": "u"}, "amount": 1});
    assert_eq!(world.app.post("credits", body).await.bad_field(), "amount");
    assert_eq!(world.app.post("track", video(2)).await.bad_field(), "quantity");
    world.app.post("track", video(1)).await.expect(200);
    assert_eq!(balance(&world.app).await, [0, 0, Amount::MOST]);
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_credits_name_their_field_and_change_nothing() {
    let world = buyer(0).await;
    let good = json!({"groupId": "credits", "scope": {"user": "u"}, "amount": 1});
    for (field, value, named) in [
        ("groupId", json!("other"), "groupId"),
        ("groupId", json!("images"), "groupId"),
        ("groupId", json!(7), "groupId"),
        ("scope", json!({"metadata.team": "red"}), "scope"),
        ("scope", json!({}), "scope"),
        ("amount", json!(0), "amount"),
        ("amount", json!(-1), "amount"),
        ("amount", json!(0.5), "amount"),
        ("amount", json!(9_007_199_254_740_992_u64), "amount"),
        ("expiresAt", json!("2027-01-31T10:00:00Z"), "expiresAt"),
        ("expiresAt", json!("tomorrow"), "expiresAt"),
        ("sourceId", json!(""), "sourceId"),
        ("sourceId", json!("x".repeat(257)), "sourceId"),
        ("note", json!("x".repeat(1025)), "note"),
        ("quantity", json!(1), "quantity"),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        assert_eq!(world.app.post("credits", body).await.bad_field(), named, "{field} {value}");
    }
    let mut several = good.clone();
    several["scope"] = json!({"metadata.team": "red"});
    several["amount"] = json!(0.5);
    several["expiresAt"] = json!("2027-01-31T10:00:00Z");
    let problem = world.app.post("credits", several).await.problem(400, "invalid_request");
    let fields: Vec<&Value> = problem["errors"].as_array().unwrap().iter().map(|fault| &fault["field"]).collect();
    assert_eq!(fields, ["scope", "amount", "expiresAt"]);
    for (query, named) in [
        ("groupId=images&userId=u", "groupId"),
        ("groupId=other&userId=u", "groupId"),
        ("groupId=credits", "userId"),
        ("groupId=credits&userId=u&limit=0", "limit"),
        ("groupId=credits&userId=u&cursor=x", "cursor"),
        ("groupId=credits&userId=u&other=1", "other"),
    ] {
        assert_eq!(world.app.get(&format!("credits?{query}")).await.bad_field(), named, "{query}");
    }
    // What is of quotas is not of balances.
    let limit = json!({"scope": {"user": "u"}, "quota": 5});
    assert_eq!(world.app.put("limits/credits", limit).await.bad_field(), "groupId");
    let admin = world.admin.with("x-mode", "test");
    assert_eq!(admin.post("grants", good).await.bad_field(), "groupId");
    assert_eq!(admin.post("users/u/reset", json!({"groupId": "credits"})).await.bad_field(), "groupId");
    let custom = json!({"userId": "u", "planId": "pro", "customLimits": {"credits": {"quota": 5}}});
    assert_eq!(world.app.post("subscriptions", custom).await.status, 400);
    let kind = json!({"periodType": "monthly", "groups": [{"id": "credits", "unit": "count", "quota": 1, "matches": [{"event": "x"}]}]});
    assert_eq!(world.admin.put("plans/other", kind).await.bad_field(), "groups[0].kind");
    assert_eq!(listed(&world.app).await, []);
    assert_eq!(balance(&world.app).await, [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn back_ends_and_support_add_credits_and_browsers_see_what_remains() {
    let world = buyer(0).await;
    let body = json!({"groupId": "credits", "scope": {"user": "u"}, "amount": 1});
    for (role, status) in [("viewer", 403), ("support", 201), ("approver", 201), ("admin", 201)] {
        let key = new_key(&world.admin, json!({"kind": "admin", "role": role})).await;
        let operator = world.node.client(&key).with("x-mode", "test");
        assert_eq!(operator.post("credits", body.clone()).await.status, status, "{role}");
        assert_eq!(operator.get("credits?groupId=credits&userId=u").await.status, 200, "{role}");
    }
    let key = new_key(&world.admin, json!({"kind": "publishable", "mode": "test"})).await;
    let browser = world.node.client(&key);
    assert_eq!(browser.post("credits", body).await.status, 403);
    assert_eq!(browser.get("credits?groupId=credits&userId=u").await.status, 403);
    assert_eq!(browser.counter("u", "credits").await["remaining"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_team_with_credits_stays_when_its_limit_is_removed() {
    let world = World::frozen().await;
    let policy = json!({"periodType": "daily", "groups": [
        {"id": "calls", "unit": "count", "quota": 1, "scope": ["metadata.team"], "overflow": "budget",
            "matches": [{"event": "llm.*"}]},
        {"id": "budget", "kind": "balance", "unit": "count", "scope": ["metadata.team"]}]});
    world.admin.put("policies/teams", policy).await.expect(200);
    open_plan(&world, &["u"]).await;
    let red = json!({"metadata.team": "red"});
    let call = json!({"userId": "u", "event": "llm.chat", "metadata": {"team": "red"}});
    world.app.post("credits", json!({"groupId": "budget", "scope": red, "amount": 2})).await.expect(201);
    let bought = world.admin.with("x-mode", "test").get("counters?groupId=budget").await.expect(200);
    assert_eq!((&bought["data"][0]["remaining"], &bought["data"][0]["scope"]), (&json!(2), &red), "{bought}");
    world.app.put("limits/calls", json!({"scope": red, "quota": 0})).await.expect(200);
    let answer = world.app.reserve(call.clone()).await;
    assert_eq!(answer["overflow"], json!([{"groupId": "budget", "from": "calls", "amount": 1}]), "{answer}");
    assert_eq!(world.app.delete("limits/calls", Some(json!({"scope": red}))).await.status, 204);
    world.app.freeze("2028-01-31T10:00:00Z").await;
    for allowed in [true, true, true, false] {
        let body = json!({"userId": "u", "event": "llm.chat", "metadata": {"team": "red"}, "enforce": true});
        assert_eq!(world.app.post("track", body).await.status == 200, allowed);
    }
    let list = world.app.get("credits?groupId=budget&metadata.team=red").await.expect(200);
    assert_eq!((&list["data"][0]["used"], &list["data"][0]["scope"]), (&json!(2), &red), "{list}");
    assert_eq!(world.app.get("credits?groupId=budget").await.bad_field(), "metadata.team");
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn low_credits_are_reported_once_per_threshold_until_there_are_more() {
    let world = buyer(0).await;
    let admin = world.admin.with("x-mode", "test");
    let reported = async || {
        let alerts = admin.get("alerts").await.expect(200);
        let low = alerts["data"].as_array().unwrap().iter().rev().filter(|alert| alert["type"] == "credits.low");
        let low = low.map(|alert| {
            assert_eq!((&alert["data"]["groupId"], &alert["data"]["scope"]["user"]), (&json!("credits"), &json!("u")));
            (alert["data"]["threshold"].as_u64().unwrap(), alert["data"]["remaining"].as_u64().unwrap())
        });
        low.collect::<Vec<_>>()
    };
    add(&world.app, 10, json!({})).await;
    world.app.commit(&world.app.reserved(image(4)).await).await;
    assert_eq!(reported().await, []);
    let id = world.app.reserved(image(2)).await;
    assert_eq!(reported().await, [(5, 4)]);
    world.app.release(&id).await;
    world.app.commit(&world.app.reserved(image(6)).await).await;
    assert_eq!(reported().await, [(5, 4), (0, 0)], "a release does not arm it again");
    add(&world.app, 3, json!({})).await;
    world.app.commit(&world.app.reserved(image(3)).await).await;
    assert_eq!(reported().await, [(5, 4), (0, 0), (0, 0)], "more than 0, but not than 5");
    add(&world.app, 6, json!({})).await;
    world.app.commit(&world.app.reserved(image(6)).await).await;
    assert_eq!(reported().await, [(5, 4), (0, 0), (0, 0), (5, 0), (0, 0)]);
}

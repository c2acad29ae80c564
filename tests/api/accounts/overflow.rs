//! What does not fit into a quota is taken from a balance.

use serde_json::{Value, json};

use super::credits::{add, balance, buyer, image, listed, video, with_credits};
use crate::support::proven::drifts;
use crate::support::{Api, World, new_key};

fn over(amount: u64) -> Value {
    json!([{"groupId": "credits", "from": "images", "amount": amount}])
}

async fn commit(api: &Api, id: &str, quantity: u64) -> Value {
    api.post("commit", json!({"reservationId": id, "quantity": quantity})).await.expect(200)
}

/// Used of the images, overage of the images, and what remains, is held and was used of the credits.
async fn state(api: &Api) -> (u64, u64, [u64; 3]) {
    let images = api.counter("u", "images").await;
    assert_eq!(images["held"], 0, "{images}");
    (images["used"].as_u64().unwrap(), images["overage"].as_u64().unwrap(), balance(api).await)
}

async fn refund(api: &Api, id: &str, quantity: u64) {
    let metadata = json!({"reservationId": id});
    let body = json!({"userId": "u", "event": "image.render.refund", "quantity": quantity, "metadata": metadata});
    api.post("track", body).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_takes_from_the_plan_first_and_the_rest_from_credits() {
    let world = buyer(3).await;
    add(&world.app, 10, json!({})).await;
    let fits = world.app.reserve(image(2)).await;
    assert_eq!((&fits["allowed"], &fits["overflow"]), (&json!(true), &Value::Null), "{fits}");
    let can = world.app.post("can-use", image(5)).await.expect(200);
    assert_eq!((&can["allowed"], &can["overflow"]), (&json!(true), &over(4)));
    let answer = world.app.once("k").post("reserve", image(5)).await.expect(200);
    assert_eq!((&answer["overflow"], &answer["matchedGroupIds"]), (&over(4), &json!(["images"])), "{answer}");
    let held: Vec<(&str, u64)> = answer["counters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|counter| (counter["groupId"].as_str().unwrap(), counter["held"].as_u64().unwrap()))
        .collect();
    assert_eq!(held, [("images", 3), ("credits", 4)]);
    let again = world.app.once("k").post("reserve", image(5)).await.expect(200);
    assert_eq!((&again["overflow"], &again["reservationId"]), (&over(4), &answer["reservationId"]));
    let denied = world.app.reserve(image(7)).await;
    assert_eq!((&denied["allowed"], &denied["deniedBy"][0]["remaining"]), (&json!(false), &json!(6)));
    assert_eq!(balance(&world.app).await, [6, 4, 0], "a denied call takes nothing");
    let id = answer["reservationId"].as_str().unwrap();
    let committed = world.app.commit(id).await;
    assert_eq!(committed["overflow"], over(4), "{committed}");
    assert_eq!(world.app.commit(id).await["overflow"], over(4), "a repetition");
    world.app.release(fits["reservationId"].as_str().unwrap()).await;
    assert_eq!(state(&world.app).await, (1, 0, [6, 0, 4]));
    // Room has appeared in the plan, so the plan is first again.
    assert_eq!(world.app.reserve(image(3)).await["overflow"], over(1));
    let history = world.app.get("usage/history?userId=u").await.expect(200);
    let windows = history["data"].as_array().unwrap().iter().map(|window| window["groupId"].as_str().unwrap());
    assert_eq!(windows.collect::<Vec<_>>(), ["images"], "a balance has no windows");
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_return_to_the_balance_first_and_charge_the_plan_first() {
    // Quota, credits, reserved, figure: used and overage of the plan, remaining and used credits.
    for (quota, credits, reserved, figure, expected) in [
        (3, 10, 5, 5, (3, 0, 8, 2)),
        (3, 10, 5, 4, (3, 0, 9, 1)),
        (3, 10, 5, 3, (3, 0, 10, 0)),
        (3, 10, 5, 1, (1, 0, 10, 0)),
        (3, 10, 5, 0, (0, 0, 10, 0)),
        (3, 10, 5, 9, (3, 0, 4, 6)),
        (3, 10, 5, 20, (10, 7, 0, 10)),
        (3, 10, 2, 3, (3, 0, 10, 0)),
        (3, 10, 2, 4, (3, 0, 9, 1)),
        (3, 0, 2, 4, (4, 1, 0, 0)),
        (0, 10, 5, 7, (0, 0, 3, 7)),
    ] {
        let world = buyer(quota).await;
        if credits > 0 {
            add(&world.app, credits, json!({})).await;
        }
        let id = world.app.reserved(image(reserved)).await;
        let committed = commit(&world.app, &id, figure).await;
        let (used, overage, remaining, of_credits) = expected;
        let what = format!("quota {quota}, credits {credits}, {reserved} reserved, {figure} committed");
        assert_eq!(state(&world.app).await, (used, overage, [remaining, 0, of_credits]), "{what}");
        assert_eq!(committed["overflow"].get(0).map_or(0, |it| it["amount"].as_u64().unwrap()), of_credits, "{what}");
        assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_that_appeared_in_the_plan_is_charged_before_credits() {
    let world = buyer(3).await;
    add(&world.app, 10, json!({})).await;
    let other = world.app.reserved(image(3)).await;
    let id = world.app.reserved(image(5)).await;
    assert_eq!(balance(&world.app).await, [5, 5, 0]);
    world.app.release(&other).await;
    commit(&world.app, &id, 5).await;
    assert_eq!(state(&world.app).await, (3, 0, [8, 0, 2]));
    // Without figures it is charged as it was held.
    world.app.freeze("2027-02-28T12:00:00Z").await;
    let other = world.app.reserved(image(3)).await;
    let id = world.app.reserved(image(2)).await;
    world.app.release(&other).await;
    world.app.commit(&id).await;
    assert_eq!(state(&world.app).await, (0, 0, [6, 0, 4]));
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draws_and_more_amount_reach_into_the_credits() {
    let world = buyer(3).await;
    add(&world.app, 10, json!({})).await;
    let id = world.app.reserved(image(5)).await;
    let draw = async |quantity: u64| {
        let body = json!({"reservationId": id, "quantity": quantity, "final": false});
        world.app.post("commit", body).await.expect(200);
    };
    draw(2).await;
    draw(2).await;
    assert_eq!((world.app.stands("u", "images").await, balance(&world.app).await), ((3.0, 0.0), [8, 1, 1]));
    draw(3).await;
    assert_eq!(balance(&world.app).await, [6, 0, 4], "more than was held");
    let more = json!({"reservationId": id, "quantity": 2});
    let extended = world.app.post("extend", more).await.expect(200);
    assert_eq!((&extended["allowed"], &extended["overflow"]), (&json!(true), &over(2)), "{extended}");
    assert_eq!(balance(&world.app).await, [4, 2, 4]);
    world.app.release(&id).await;
    assert_eq!(state(&world.app).await, (3, 0, [6, 0, 4]));
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_hold_returns_to_its_credit_and_a_late_commit_takes_what_there_is() {
    let world = buyer(3).await;
    add(&world.app, 10, json!({})).await;
    let [id, other] = [world.app.reserved(image(5)).await, world.app.reserved(image(1)).await];
    world.app.freeze("2027-01-31T10:01:00Z").await;
    assert_eq!(balance(&world.app).await, [10, 0, 0], "as read");
    assert_eq!(world.app.post("can-use", image(5)).await.expect(200)["overflow"], over(2), "the quota is free again");
    // Others have taken the room, and most credits, meanwhile.
    world.app.commit(&world.app.reserved(image(12)).await).await;
    assert_eq!(state(&world.app).await, (3, 0, [1, 0, 9]));
    let late = world.app.commit(&id).await;
    assert_eq!((&late["late"], &late["overflow"]), (&json!(true), &over(1)), "{late}");
    assert_eq!(state(&world.app).await, (7, 4, [0, 0, 10]), "5 spent: 1 by the credit, 4 are overage");
    world.app.post("release", json!({"reservationId": other})).await.problem(410, "reservation_expired");
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_give_back_to_credits_first() {
    let world = buyer(3).await;
    add(&world.app, 2, json!({"expiresAt": "2027-01-31T10:05:00Z"})).await;
    add(&world.app, 2, json!({})).await;
    let id = world.app.reserved(image(7)).await;
    world.app.commit(&id).await;
    let statuses = async || -> Vec<String> { listed(&world.app).await.into_iter().map(|(_, status)| status).collect() };
    assert_eq!((state(&world.app).await, statuses().await), ((3, 0, [0, 0, 4]), vec!["used".to_owned(); 2]));
    refund(&world.app, &id, 3).await;
    assert_eq!(state(&world.app).await, (3, 0, [3, 0, 1]), "the one used last first");
    assert_eq!(statuses().await, ["live", "live"], "ended ones remain again");
    // Into one that has expired meanwhile, it lapses.
    world.app.freeze("2027-01-31T10:05:00Z").await;
    refund(&world.app, &id, 2).await;
    assert_eq!(state(&world.app).await, (2, 0, [2, 0, 0]));
    assert_eq!(listed(&world.app).await[1], (vec![2, 0, 0, 0, 2, 0], "expired".to_owned()));
    refund(&world.app, &id, 9).await;
    assert_eq!(state(&world.app).await, (0, 0, [2, 0, 0]), "no more than was charged");
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn track_fills_the_plan_then_the_balance_and_then_exceeds_the_plan() {
    let world = buyer(3).await;
    add(&world.app, 4, json!({})).await;
    let track = async |body: Value, enforce: bool| {
        let mut body = body;
        body["enforce"] = json!(enforce);
        world.app.post("track", body).await
    };
    let tracked = track(image(5), false).await.expect(200);
    assert_eq!((&tracked["overflow"], &tracked["matchStatus"]), (&over(2), &json!("matched")), "{tracked}");
    track(image(3), true).await.problem(429, "limit_reached");
    assert_eq!(track(image(1), true).await.expect(200)["overflow"], over(1));
    assert_eq!(state(&world.app).await, (3, 0, [1, 0, 3]));
    let tracked = track(image(4), false).await.expect(200);
    assert_eq!((&tracked["overflow"], &tracked["matchStatus"]), (&over(1), &json!("over_limit")), "{tracked}");
    assert_eq!(state(&world.app).await, (6, 3, [0, 0, 4]));
    // Without a reservation, credits are not known.
    let body = json!({"userId": "u", "event": "image.render.refund", "quantity": 4});
    world.app.post("track", body).await.expect(200);
    assert_eq!(state(&world.app).await, (2, 0, [0, 0, 4]));
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fits_with_credits_in_the_next_window_may_be_retried_then() {
    let world = buyer(3).await;
    add(&world.app, 4, json!({})).await;
    world.app.post("track", image(2)).await.expect(200);
    let denied = world.app.reserve(image(6)).await;
    assert_eq!(denied["deniedBy"][0]["remaining"], 5, "{denied}");
    assert!(denied["retryAfterMs"].is_u64(), "{denied}");
    assert_eq!(world.app.reserve(image(8)).await["retryAfterMs"], Value::Null, "never as many as 3 and 4");
    world.app.freeze(denied["deniedBy"][0]["resetsAt"].as_str().unwrap()).await;
    assert_eq!(world.app.reserve(image(6)).await["overflow"], over(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_denial_has_the_counters_of_the_first_one() {
    let world = buyer(3).await;
    add(&world.app, 4, json!({})).await;
    let app = world.app.once("k");
    let (first, second) = (app.reserve(image(8)).await, app.reserve(image(8)).await);
    let groups = |answer: &Value| -> Vec<String> {
        let counters = answer["counters"].as_array().unwrap().iter();
        counters.map(|counter| counter["groupId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((groups(&first), &first["allowed"]), (vec!["images".to_owned(), "credits".to_owned()], &json!(false)));
    assert_eq!((groups(&second), &second["deniedBy"]), (groups(&first), &first["deniedBy"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extend_has_the_balance_also_when_it_is_repeated_or_adds_only_time() {
    let world = buyer(3).await;
    add(&world.app, 10, json!({})).await;
    let id = world.app.reserved(image(2)).await;
    let groups = |answer: &Value| -> Vec<String> {
        let counters = answer["counters"].as_array().unwrap().iter();
        counters.map(|counter| counter["groupId"].as_str().unwrap().to_owned()).collect()
    };
    let both = vec!["images".to_owned(), "credits".to_owned()];
    let extend = async |app: &Api, more: Value| {
        let mut body = json!({"reservationId": id});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app.post("extend", body).await.expect(200)
    };
    assert_eq!(groups(&extend(&world.app, json!({"ttlSeconds": 600})).await), ["images"]);
    let keyed = world.app.once("k");
    for _ in 0..2 {
        let answer = extend(&keyed, json!({"quantity": 4})).await;
        assert_eq!((&answer["overflow"], groups(&answer)), (&over(3), both.clone()), "{answer}");
        assert_eq!(balance(&world.app).await, [7, 3, 0]);
    }
    assert_eq!(groups(&extend(&world.app, json!({"ttlSeconds": 700})).await), both);
    // A reservation that the node has not read back.
    let fresh = world.app.reserved(image(1)).await;
    let answer = world.app.post("extend", json!({"reservationId": fresh, "ttlSeconds": 600})).await.expect(200);
    assert_eq!((groups(&answer), &answer["overflow"]), (both, &Value::Null), "{answer}");
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extend_of_time_has_the_balance_that_a_draw_has_charged() {
    let world = buyer(3).await;
    add(&world.app, 10, json!({})).await;
    let id = world.app.reserved(image(2)).await;
    let extended = async || -> Vec<String> {
        let answer = world.app.post("extend", json!({"reservationId": id, "ttlSeconds": 600})).await.expect(200);
        let counters = answer["counters"].as_array().unwrap().iter();
        counters.map(|counter| counter["groupId"].as_str().unwrap().to_owned()).collect()
    };
    let draw = async |quantity: u64| {
        let body = json!({"reservationId": id, "quantity": quantity, "final": false});
        world.app.post("commit", body).await.expect(200)
    };
    assert_eq!(draw(1).await["overflow"], Value::Null);
    assert_eq!(extended().await, ["images"]);
    // The node knows the reservation from this draw, not from its record.
    draw(1).await;
    assert_eq!(draw(4).await["overflow"], over(3));
    assert_eq!(extended().await, ["images", "credits"]);
    draw(1).await;
    assert_eq!(extended().await, ["images", "credits"]);
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_track_that_credits_cover_matches_also_after_one_that_they_did_not() {
    let world = buyer(3).await;
    let track = async |app: &Api, quantity: u64| {
        let tracked = app.post("track", video(quantity)).await.expect(200);
        (tracked["matchStatus"].as_str().unwrap().to_owned(), tracked["counters"][0]["overage"].as_u64().unwrap())
    };
    let status = |word: &str| (word.to_owned(), 2);
    assert_eq!(track(&world.app.once("k"), 2).await, status("over_limit"));
    add(&world.app, 3, json!({})).await;
    assert_eq!(track(&world.app, 2).await, status("matched"));
    assert_eq!(track(&world.app, 1).await, status("matched"), "the last one");
    let repeated = world.app.once("k").post("track", video(2)).await.expect(200);
    assert_eq!(repeated["matchStatus"], "over_limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_of_an_event_includes_the_balance_that_covers_it() {
    let world = buyer(3).await;
    let publishable = new_key(&world.admin, json!({"kind": "publishable", "mode": "test"})).await;
    for api in [world.app.clone(), world.node.client(&publishable)] {
        for (event, expected) in
            [("image.render", vec!["images", "credits"]), ("video.*", vec!["credits"]), ("audio.mix", vec![])]
        {
            let usage = api.get(&format!("usage?userId=u&event={event}")).await.expect(200);
            let counters = usage["counters"].as_array().unwrap().iter();
            let groups: Vec<&str> = counters.map(|counter| counter["groupId"].as_str().unwrap()).collect();
            assert_eq!(groups, expected, "{event}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balance_can_be_all_that_an_event_has() {
    let world = buyer(3).await;
    let denied = world.app.reserve(video(1)).await;
    assert_eq!((&denied["deniedBy"][0]["groupId"], &denied["retryAfterMs"]), (&json!("credits"), &Value::Null));
    add(&world.app, 5, json!({})).await;
    let answer = world.app.reserve(video(4)).await;
    assert_eq!((&answer["matchedGroupIds"], &answer["overflow"]), (&json!(["credits"]), &Value::Null), "{answer}");
    assert_eq!(answer["counters"][0]["remaining"], 1);
    commit(&world.app, answer["reservationId"].as_str().unwrap(), 2).await;
    assert_eq!(balance(&world.app).await, [3, 0, 2]);
    // An event and a group that overflows share the balance in one call.
    let items = json!({"userId": "u", "items": [{"event": "video.render", "quantity": 2}, {"event": "image.render", "quantity": 4}]});
    let id = world.app.reserved(items.clone()).await;
    assert_eq!(balance(&world.app).await, [0, 3, 2]);
    assert_eq!(world.app.reserve(items).await["allowed"], false);
    world.app.release(&id).await;
    // What was spent already is counted without a credit, and given back first.
    let tracked = world.app.post("track", video(5)).await.expect(200);
    assert_eq!((&tracked["matchStatus"], &tracked["counters"][0]["overage"]), (&json!("over_limit"), &json!(2)));
    let refund = json!({"userId": "u", "event": "video.render.refund", "quantity": 3});
    world.app.post("track", refund).await.expect(200);
    assert_eq!(balance(&world.app).await, [1, 0, 4]);
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits_outlive_a_plan_change_and_a_block() {
    let world = buyer(3).await;
    let mut blocking = with_credits(5);
    blocking["groups"][0]["onPlanChange"] = json!("block");
    world.admin.plan("big", blocking).await;
    let mut without = with_credits(9);
    without["groups"].as_array_mut().unwrap().truncate(1);
    without["groups"][0].as_object_mut().unwrap().remove("overflow");
    world.admin.plan("none", without).await;
    add(&world.app, 10, json!({})).await;
    let id = world.app.reserved(image(5)).await;
    world.app.subscribe("u", "big").await;
    // The plan's quota is blocked until the next window, and credits are not.
    let answer = world.app.reserve(image(2)).await;
    assert_eq!((&answer["allowed"], &answer["overflow"]), (&json!(true), &over(2)), "{answer}");
    world.app.subscribe("u", "none").await;
    world.app.commit(&id).await;
    let list = world.app.get("credits?groupId=credits&userId=u").await.expect(200);
    assert_eq!((&list["data"][0]["used"], &list["data"][0]["held"]), (&json!(2), &json!(2)), "{list}");
    assert_eq!(world.app.reserve(image(8)).await["allowed"], false, "this plan does not take credits");
    world.app.subscribe("u", "pro").await;
    assert_eq!(balance(&world.app).await, [6, 2, 2]);
    // A reset is of windows.
    let admin = world.admin.with("x-mode", "test");
    admin.post("users/u/reset", json!({})).await.expect(200);
    assert_eq!(balance(&world.app).await, [6, 2, 2]);
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_calls_never_take_more_than_there_is() {
    let world = buyer(5).await;
    let (other, second) = world.another_node().await;
    add(&world.app, 7, json!({})).await;
    let calls = (0..40).map(|number| {
        let api = if number % 2 == 0 { world.app.clone() } else { second.clone() };
        tokio::spawn(async move { api.reserve(image(1)).await })
    });
    let mut allowed = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.unwrap();
        if answer["allowed"] == true {
            allowed.push(answer["reservationId"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(allowed.len(), 12);
    let ends = allowed.into_iter().enumerate().map(|(place, id)| {
        let api = world.app.clone();
        tokio::spawn(async move {
            match place % 3 {
                0 => drop(api.release(&id).await),
                1 => drop(api.commit(&id).await),
                _ => drop(commit(&api, &id, 1).await),
            }
        })
    });
    for end in ends.collect::<Vec<_>>() {
        end.await.unwrap();
    }
    let (used, overage, [remaining, held, of_credits]) = state(&world.app).await;
    assert_eq!((used + of_credits, overage, remaining + of_credits, held), (8, 0, 7, 0));
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_a_subscription_keeps_credits() {
    let world = World::frozen().await;
    world.admin.plan("free", with_credits(1)).await;
    world.admin.put("app", json!({"defaultPlanId": "free"})).await.expect(200);
    add(&world.app, 2, json!({})).await;
    world.app.commit(&world.app.reserved(image(2)).await).await;
    world.app.freeze("2028-06-01T00:00:00Z").await;
    assert_eq!(world.app.reserve(image(2)).await["overflow"], over(1));
    assert_eq!(balance(&world.app).await, [0, 1, 1]);
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fitted_call_may_take_the_whole_balance_and_no_more() {
    let world = buyer(3).await;
    add(&world.app, 4, json!({})).await;
    let fitted = |quantity: u64| {
        let mut call = image(quantity);
        call["fit"] = json!({"field": "quantity", "min": 2});
        call
    };
    for (wish, value, over_quota) in [(20, 7_u64, over(4)), (6, 6, over(3)), (3, 3, Value::Null)] {
        let can = world.app.post("can-use", fitted(wish)).await.expect(200);
        assert_eq!((&can["fitted"], &can["overflow"]), (&json!({"quantity": value}), &over_quota), "{can}");
        let answer = world.app.reserve(fitted(wish)).await;
        assert_eq!((&answer["fitted"], &answer["overflow"]), (&json!({"quantity": value}), &over_quota), "{answer}");
        let of_images = world.app.counter("u", "images").await["held"].as_u64().unwrap();
        assert_eq!(of_images + balance(&world.app).await[1], value);
        world.app.release(answer["reservationId"].as_str().unwrap()).await;
    }
    // Another event of the call takes from the same balance, and must not lack it.
    let fit = json!({"field": "quantity", "min": 1});
    let items = |wish: u64| {
        json!({"userId": "u", "items": [{"event": "video.render", "quantity": 2},
            {"event": "image.render", "quantity": wish, "fit": fit}]})
    };
    let can = world.app.post("can-use", items(20)).await.expect(200);
    assert_eq!((&can["allowed"], &can["fitted"]), (&json!(true), &json!({"quantity": 5})), "{can}");
    let answer = world.app.reserve(items(20)).await;
    assert_eq!((&answer["fitted"], &answer["overflow"]), (&json!({"quantity": 5}), &over(2)), "{answer}");
    assert_eq!(balance(&world.app).await, [0, 4, 0]);
    for call in [fitted(20), items(20)] {
        assert_eq!(world.app.post("can-use", call.clone()).await.expect(200)["allowed"], false);
        assert_eq!(world.app.reserve(call).await["allowed"], false);
    }
    world.app.commit(answer["reservationId"].as_str().unwrap()).await;
    assert_eq!(state(&world.app).await, (3, 0, [0, 0, 4]));
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolled_quota_is_used_before_credits() {
    let world = World::frozen().await;
    let mut plan = with_credits(3);
    plan["groups"][0]["rollover"] = json!({"max": 2});
    world.admin.plan("pro", plan).await;
    world.app.subscribe("u", "pro").await;
    add(&world.app, 10, json!({})).await;
    world.app.commit(&world.app.reserved(image(1)).await).await;
    world.app.freeze("2027-02-28T12:00:00Z").await;
    let answer = world.app.reserve(image(6)).await;
    assert_eq!((&answer["overflow"], &answer["counters"][0]["rolled"]), (&over(1), &json!(2)), "{answer}");
    // More than was held: what the window has room for with its rolled quota, then credits.
    let other = world.app.once("k").post("reserve", image(2)).await.expect(200);
    assert_eq!(other["overflow"], over(2));
    world.app.release(answer["reservationId"].as_str().unwrap()).await;
    commit(&world.app, other["reservationId"].as_str().unwrap(), 9).await;
    assert_eq!(state(&world.app).await, (5, 0, [6, 0, 4]));
    assert_eq!(drifts(&world.redis.url(), "test/main").await.len(), 0);
}

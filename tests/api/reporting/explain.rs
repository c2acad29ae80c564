//! `GET explain`: the same decision as can-use, with all of its reasons.

use serde_json::{Value, json};

use crate::accounts::credits::{add, buyer, image};
use crate::support::{Api, World, new_key};

fn plan() -> Value {
    json!({
        "name": "Pro", "periodType": "monthly", "periodAnchor": "subscription_start",
        "groups": [
            {"id": "images", "label": "Images", "unit": "count", "quota": 5, "maxPerCall": 4, "matches": [
                {"event": "image.*", "metadata": {"variant": ["1k", "2k"]}}, {"event": "picture"}]},
            {"id": "spend", "label": "Spend", "unit": "cents", "quota": 10, "covers": ["llm.*"],
                "measure": {"per": {"prompt_tokens": "0.01"}}, "matches": [{"event": "llm.*", "metadata": {"model": "m"}}]}],
    })
}

fn policy() -> Value {
    json!({"periodType": "daily", "groups": [{"id": "team_cap", "label": "Team", "unit": "count", "quota": 9,
        "measure": "event", "scope": ["metadata.team"], "matches": [{"event": "image.*"}]}]})
}

async fn world() -> World {
    let world = World::frozen().await;
    world.admin.plan("pro", plan()).await;
    world.admin.put("policies/teams", policy()).await.expect(200);
    world.app.subscribe("u", "pro").await;
    world
}

async fn explain(api: &Api, query: &str) -> Value {
    api.get(&format!("explain?{query}")).await.expect(200)["call"].clone()
}

fn group<'a>(explained: &'a Value, id: &str) -> &'a Value {
    explained["groups"].as_array().unwrap().iter().find(|group| group["groupId"] == id).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_group_says_why_it_counts_a_call_or_does_not() {
    let world = world().await;
    world.app.reserved(json!({"userId": "u", "event": "picture", "quantity": 2})).await;
    let explained =
        explain(&world.app, "userId=u&event=image.a&quantity=3&metadata.variant=2k&metadata.team=red").await;
    assert_eq!((&explained["allowed"], &explained["reasons"]), (&json!(true), &json!([])));
    assert_eq!(explained["subscription"]["planId"], "pro");
    assert_eq!(explained["plan"]["unmatchedEvents"], "deny");
    let images = group(&explained, "images");
    assert_eq!((&images["planId"], &images["matches"], &images["amount"]), (&json!("pro"), &json!(true), &json!(3)));
    assert_eq!((&images["rule"], &images["limit"], &images["overLimit"]), (&json!(0), &json!(5), &json!(false)));
    assert_eq!((&images["counter"]["held"], &images["counter"]["remaining"]), (&json!(2), &json!(3)));
    assert_eq!(images["counter"]["period"]["end"], "2027-02-28T10:00:00Z");
    let spend = group(&explained, "spend");
    assert_eq!((&spend["matches"], &spend["counter"]), (&json!(false), &Value::Null));
    let mismatches = &spend["rules"][0]["mismatches"];
    assert_eq!(mismatches[0]["message"], "the event `image.a` does not match `llm.*`");
    assert_eq!(mismatches[1]["message"], "metadata `model` is missing; it must be `m`");
    assert_eq!(mismatches[1]["wanted"], json!(["m"]));
    let team = group(&explained, "team_cap");
    assert_eq!((&team["policyId"], &team["counter"]["scope"]), (&json!("teams"), &json!({"metadata.team": "red"})));

    let explained = explain(&world.app, "userId=u&event=image.a&metadata.variant=4k").await;
    assert_eq!((&explained["allowed"], &explained["reasons"]), (&json!(false), &json!(["unmatched_event"])));
    let reported = &group(&explained, "images")["rules"][0]["mismatches"][0];
    assert_eq!(reported["message"], "metadata `variant` is `4k`, but must be `1k` or `2k`");
    assert_eq!(group(&explained, "team_cap")["missingScope"], json!(["metadata.team"]));
    assert_eq!(group(&explained, "team_cap")["refuses"], true);

    let explained = explain(&world.app, "userId=u&event=llm.chat&metadata.model=other").await;
    assert_eq!(
        (&explained["reasons"], &group(&explained, "spend")["uncovered"]),
        (&json!(["uncovered_event"]), &json!(true))
    );
    let explained = explain(&world.app, "userId=u&event=llm.chat&metadata.model=m").await;
    assert_eq!(explained["errors"][0]["field"], "metadata.prompt_tokens");
    assert_eq!(group(&explained, "spend")["error"]["field"], "metadata.prompt_tokens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_verdict_is_that_of_can_use_and_nothing_is_written() {
    let world = world().await;
    world
        .admin
        .plan(
            "basic",
            json!({"periodType": "monthly", "unmatchedEvents": "allow", "groups": [
        {"id": "basics", "unit": "count", "quota": 2, "matches": [{"event": "image.*"}]}]}),
        )
        .await;
    let operator = world.admin.with("X-Mode", "test");
    for user in ["blocked", "full", "granted"] {
        world.app.subscribe(user, "pro").await;
        world.app.post("track", json!({"userId": user, "event": "picture", "quantity": 5})).await.expect(200);
    }
    operator.post("users/blocked/block", json!({})).await.expect(200);
    let grant = json!({"groupId": "images", "scope": {"user": "granted"}, "amount": 2});
    operator.post("grants", grant).await.expect(201);
    world
        .app
        .post("subscriptions", json!({"userId": "own", "planId": "pro", "customLimits": {"images": {"quota": 1}}}))
        .await
        .expect(200);
    world.app.get("explain?userId=u&event=picture").await.expect(200);
    let before = world.redis.contents("qg:{default:test/main}*").await;
    for (user, event, quantity, metadata) in [
        ("u", "picture", 1, json!({})),
        ("u", "picture", 5, json!({})),
        ("u", "image.a", 1, json!({"variant": "1k"})),
        ("u", "image.a", 1, json!({"variant": "1k", "team": "red"})),
        ("u", "other", 1, json!({})),
        ("u", "llm.x", 1, json!({})),
        ("u", "llm.x", 1, json!({"model": "m", "prompt_tokens": "99"})),
        ("u", "llm.x", 1, json!({"model": "m", "prompt_tokens": "1001"})),
        ("own", "picture", 2, json!({})),
        ("blocked", "picture", 1, json!({})),
        ("full", "picture", 1, json!({})),
        ("granted", "picture", 2, json!({})),
        ("granted", "picture", 3, json!({})),
        ("nobody", "picture", 1, json!({})),
    ] {
        let call = json!({"userId": user, "event": event, "quantity": quantity, "metadata": metadata});
        let decided = world.app.post("can-use", call.clone()).await.expect(200);
        let fields: String = metadata
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("&metadata.{name}={}", value.as_str().unwrap()))
            .collect();
        let query = format!("userId={user}&event={event}&quantity={quantity}{fields}");
        for api in [&world.app, &operator] {
            let explained = explain(api, &query).await;
            assert_eq!(explained["allowed"], decided["allowed"], "{call} {explained}");
            assert_eq!(explained["reasons"], decided["reasons"], "{call} {explained}");
        }
    }
    assert_eq!(world.redis.contents("qg:{default:test/main}*").await, before);
    let blocked = explain(&operator, "userId=blocked&event=picture").await;
    assert_eq!((&blocked["blocked"], &group(&blocked, "images")["overLimit"]), (&json!(true), &json!(true)));
    let granted = explain(&operator, "userId=granted&event=picture").await;
    let images = group(&granted, "images");
    assert_eq!((&images["limit"], &images["grants"][0]["amount"]), (&json!(7), &json!(2)));
    let own = explain(&operator, "userId=own&event=picture").await;
    assert_eq!((&own["plan"]["ownLimits"], &group(&own, "images")["limit"]), (&json!(true), &json!(1)));
    assert_eq!(explain(&operator, "userId=nobody&event=picture").await["plan"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_shows_the_default_plan_and_the_metadata_of_the_key() {
    let world = World::frozen().await;
    world.admin.plan("free", json!({"periodType": "daily", "groups": [
        {"id": "by_key", "unit": "count", "quota": 3, "scope": ["key"], "matches": [{"event": "x", "metadata": {"team": "red"}}]}]})).await;
    world.admin.put("app", json!({"defaultPlanId": "free"})).await.expect(200);
    let key = new_key(&world.admin, json!({"kind": "secret", "mode": "test", "metadata": {"team": "red"}})).await;
    let explained = explain(&world.node.client(&key), "userId=u&event=x").await;
    assert_eq!((&explained["allowed"], &explained["plan"]["isDefault"]), (&json!(true), &json!(true)));
    assert_eq!(explained["metadata"], json!({"team": "red"}));
    let operator = world.admin.with("X-Mode", "test");
    let explained = explain(&operator, "userId=u&event=x&metadata.team=red").await;
    assert_eq!(group(&explained, "by_key")["missingScope"], json!(["key"]));
    let explained = explain(&operator, "userId=u&event=x&metadata.team=red&key=key_1").await;
    assert_eq!(
        (&explained["allowed"], &group(&explained, "by_key")["counter"]["scope"]),
        (&json!(true), &json!({"key": "key_1"}))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_parameters_are_named_and_browsers_keys_may_not_ask() {
    let world = world().await;
    for (query, field) in [
        ("event=x", "userId"),
        ("userId=u", "event"),
        ("userId=u&event=x&quantity=many", "quantity"),
        ("userId=u&event=x&quantity=0", "quantity"),
        ("userId=u&event=x&limit=3", "limit"),
        ("userId=u&event=x.refund", "event"),
        ("userId=u&event=x&key=a%20b", "key"),
    ] {
        assert_eq!(world.app.get(&format!("explain?{query}")).await.bad_field(), field, "{query}");
    }
    let key = new_key(&world.admin, json!({"kind": "publishable", "mode": "test"})).await;
    world.node.client(&key).get("explain?userId=u&event=x").await.problem(403, "forbidden_key");
    let key = new_key(&world.admin, json!({"kind": "admin", "role": "viewer"})).await;
    world.node.client(&key).with("X-Mode", "test").get("explain?userId=u&event=picture").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cause_is_one_sentence_that_names_what_is_missing_and_what_is_accepted() {
    let world = world().await;
    let operator = world.admin.with("X-Mode", "test");
    let fair = json!({"periodType": "monthly", "unmatchedEvents": "allow", "groups": [
        {"id": "fair", "label": "Fair use", "unit": "tokens", "quota": 90, "matches": [{"event": "chat"}]}]});
    world.admin.plan("open", fair).await;
    for user in ["held", "blocked", "full"] {
        world.app.subscribe(user, "pro").await;
    }
    world.app.subscribe("o", "open").await;
    world.app.reserved(json!({"userId": "held", "event": "picture", "quantity": 2})).await;
    world.app.post("track", json!({"userId": "held", "event": "picture", "quantity": 1})).await.expect(200);
    world.app.post("track", json!({"userId": "full", "event": "picture", "quantity": 5})).await.expect(200);
    operator.post("users/blocked/block", json!({})).await.expect(200);
    for (query, summary) in [
        ("userId=u&event=picture", "Allowed: the limit \"Images\" counts this call."),
        (
            "userId=u&event=image.a&metadata.variant=1k&metadata.team=red",
            "Allowed: the limits \"Images\" and \"Team\" count this call.",
        ),
        ("userId=o&event=other", "Allowed: no limit counts this call."),
        (
            "userId=u&event=image.a&metadata.variant=1k",
            "Denied: metadata `team` is missing; the limit \"Team\" needs it.",
        ),
        (
            "userId=u&event=image.a&metadata.team=red",
            "Denied: no limit of plan `pro` matches `image.a`; for the limit \"Images\", metadata `variant` is missing \
             (accepted: `1k` or `2k`).",
        ),
        ("userId=u&event=other", "Denied: no limit of plan `pro` matches the event `other`."),
        (
            "userId=u&event=llm.chat&metadata.model=n",
            "Denied: no rule matches `llm.chat`: metadata `model` is `n` (accepted: `m`); the limit \"Spend\" has no rule \
             for it.",
        ),
        (
            "userId=u&event=picture&quantity=5",
            "Denied: the call needs 5, and the limit \"Images\" allows at most 4 per call.",
        ),
        (
            "userId=held&event=picture&quantity=3",
            "Denied: the call needs 3, and the limit \"Images\" has 2 left (1 used + 2 held of 5); it resets \
             2027-02-28T10:00:00Z.",
        ),
        (
            "userId=full&event=picture",
            "Denied: the call needs 1, and the limit \"Images\" has 0 left (5 of 5 used); it resets \
             2027-02-28T10:00:00Z.",
        ),
        ("userId=blocked&event=picture", "Denied: the user is blocked."),
        (
            "userId=U&event=picture",
            "Denied: the user has no subscription, and the app has no default plan. User `U` not found.",
        ),
    ] {
        let explained = explain(&operator, query).await;
        assert_eq!(explained["summary"], summary, "{query}");
        assert_eq!(explained["userKnown"], !query.contains("userId=U&"), "{query}");
    }
    let invalid = explain(&operator, "userId=u&event=llm.chat&metadata.model=m").await;
    assert!(invalid["summary"].as_str().unwrap().starts_with("Invalid: `metadata.prompt_tokens`: "), "{invalid}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_left_a_call_alone_did_not_refuse_it() {
    let world = World::frozen().await;
    world.admin.plan("pro", crate::support::monthly(20)).await;
    let retries = json!({"periodType": "daily", "retry": {"maxAttempts": 3}, "groups": [{"id": "calls", "unit": "count",
        "measure": "event", "quota": null, "scope": ["app"], "matches": [{"event": "*"}]}]});
    world.admin.put("policies/retries", retries).await.expect(200);
    world.app.subscribe("u", "pro").await;
    let id = world.app.reserved(json!({"userId": "u", "event": "image.a"})).await;
    world.app.commit(&id).await;
    let reported = explain_reservation(&world.app, &id).await;
    let groups = reported["items"][0]["groups"].as_array().unwrap();
    let attempts = groups.iter().find(|group| group["groupId"] == "attempts_retries").unwrap();
    assert_eq!(attempts["missingScope"], json!(["metadata.action"]));
    assert!(groups.iter().all(|group| group["refuses"] == false), "{groups:?}");
}

async fn explain_reservation(api: &Api, id: &str) -> Value {
    api.get(&format!("explain?reservationId={id}")).await.expect(200)["reservation"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_is_explained_by_the_versions_in_effect_and_the_ledger() {
    for live in [false, true] {
        let world = World::new().await;
        let mode = if live { "live" } else { "test" };
        let api = world.node.client(&new_key(&world.admin, json!({"kind": "secret", "mode": mode})).await);
        if !live {
            api.freeze(crate::support::START).await;
        }
        world.admin.plan("pro", plan()).await;
        world.admin.put("policies/teams", policy()).await.expect(200);
        api.subscribe("u", "pro").await;
        let call =
            json!({"userId": "u", "event": "image.a", "quantity": 3, "metadata": {"variant": "1k", "team": "red"}});
        let id = api.reserved(call).await;
        let held = explain_reservation(&api, &id).await;
        assert_eq!((&held["status"], &held["userId"], &held["entries"]), (&json!("held"), &json!("u"), &json!([])));
        assert_eq!(held["items"][0]["metadata"], json!({"variant": "1k", "team": "red"}));
        assert_eq!(held["counters"].as_array().unwrap().len(), 2);
        assert_eq!((&held["counters"][0]["held"], &held["counters"][0]["charged"]), (&json!(3), &json!(0)));

        let mut changed = plan();
        changed["groups"][0]["matches"] = json!([{"event": "nothing"}]);
        world.admin.plan("pro", changed).await;
        api.post("commit", json!({"reservationId": id, "quantity": 2, "outcome": "accepted"})).await.expect(200);
        let refund =
            json!({"userId": "u", "event": "image.a.refund", "quantity": 1, "metadata": {"reservationId": id}});
        api.post("track", refund).await.expect(200);
        let explained = explain_reservation(&api, &id).await;
        assert_eq!((&explained["status"], &explained["outcome"]), (&json!("committed"), &json!("accepted")));
        assert_eq!(explained["counters"][0]["charged"], 1);
        let groups = explained["items"][0]["groups"].as_array().unwrap();
        let matching = |group: &&Value| group["matches"] == true;
        let matched: Vec<&Value> = groups.iter().filter(matching).map(|group| &group["groupId"]).collect();
        assert_eq!(matched, ["images", "team_cap"]);
        assert_eq!((&groups[0]["amount"], &groups[0]["version"]), (&json!(3), &explained["plan"]["version"]));
        assert_eq!(groups[1]["rules"][0]["mismatches"][0]["field"], "event");
        let reported: Vec<(&str, i64)> = explained["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["type"].as_str().unwrap(), entry["charges"][0]["change"].as_i64().unwrap()))
            .collect();
        assert_eq!(reported, [("commit", 2), ("refund", -1)]);
        assert_eq!((&explained["entriesComplete"], &explained["keyId"].is_string()), (&json!(true), &true));
        assert_eq!(explained["entries"][0]["figures"], json!([{"quantity": 2, "metadata": {}}]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_whose_record_is_gone_is_explained_from_the_ledger_alone() {
    let world = world().await;
    let committed = world.app.reserved(json!({"userId": "u", "event": "picture", "quantity": 2})).await;
    world.app.commit(&committed).await;
    let released = world.app.reserved(json!({"userId": "u", "event": "picture"})).await;
    let why = json!({"reservationId": released, "reason": "it failed", "errorCode": "E42"});
    world.app.post("release", why).await.expect(200);
    let expired = world.app.reserved(json!({"userId": "u", "event": "picture", "ttlSeconds": 1})).await;
    world.app.freeze("2027-01-31T10:00:01Z").await;
    assert_eq!(explain_reservation(&world.app, &expired).await["status"], "expired");
    // The next call finds the expired hold.
    let open = world.app.reserved(json!({"userId": "u", "event": "picture"})).await;
    for id in [&committed, &released, &expired, &open] {
        let key = format!("qg:{{default:test/main}}:op:{}", &id[4..id.len() - 13]);
        assert_eq!(world.redis.run::<i64>(&["DEL", &key]).await, 1);
    }
    let explained = explain_reservation(&world.app, &committed).await;
    assert_eq!((&explained["status"], &explained["counters"]), (&json!("committed"), &json!([])));
    assert_eq!(
        (&explained["items"][0]["event"], &explained["entries"][0]["type"]),
        (&json!("picture"), &json!("commit"))
    );
    assert_eq!(group(&explained["items"][0], "images")["amount"], 2);
    let explained = explain_reservation(&world.app, &released).await;
    assert_eq!((&explained["status"], &explained["entries"][0]["reason"]), (&json!("released"), &json!("it failed")));
    assert_eq!(explained["entries"][0]["errorCode"], "E42");
    let explained = explain_reservation(&world.app, &expired).await;
    assert_eq!((&explained["status"], &explained["event"]), (&json!("expired"), &json!("picture")));
    assert_eq!((&explained["userId"], &explained["items"]), (&json!("u"), &json!([])));
    assert_eq!(explained["entries"][0]["held"], json!([{"groupId": "images", "unit": "count", "amount": 1}]));
    let missing = format!("explain?reservationId={open}");
    world.app.get(&missing).await.problem(404, "not_found");
    world.app.freeze("2027-01-31T12:00:00Z").await;
    world.app.get(&missing).await.problem(410, "reservation_expired");
    world.app.get("explain?reservationId=rsv_none").await.problem(404, "not_found");
    assert_eq!(world.app.get(&format!("{missing}&event=x")).await.bad_field(), "event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_of_a_draft_are_tested_before_it_is_saved() {
    let world = World::new().await;
    world.admin.plan("basic", crate::support::monthly(3)).await;
    let policy = json!({"groups": [{"id": "cap", "unit": "count", "quota": 1, "scope": ["key"], "periodType": "monthly", "matches": [{"event": "*"}]}]});
    world.admin.put("policies/all", policy).await.expect(200);
    let draft = json!({"id": "new", "periodType": "monthly", "groups": [
        {"id": "large", "unit": "count", "quota": 5, "matches": [{"event": "image.*", "metadata": {"size": "large"}}]},
        {"id": "priced", "unit": "cents", "quota": 50, "matches": [{"event": "image.*", "measure": {"per": {"event": "0.5"}}}]}]});
    let ask = async |body: Value| world.admin.post("explain", body).await;
    let call = json!({"plan": draft, "event": "image.a", "quantity": 2, "metadata": {"size": "small"}});
    let reported = ask(call.clone()).await.expect(200);
    let group =
        |id: &str| reported["groups"].as_array().unwrap().iter().find(|group| group["groupId"] == id).unwrap().clone();
    assert_eq!(group("large")["matches"], false);
    assert_eq!(
        group("large")["rules"][0]["mismatches"][0]["message"],
        "metadata `size` is `small`, but must be `large`"
    );
    assert_eq!((&group("priced")["matches"], &group("priced")["amount"]), (&json!(true), &json!(0.5)));
    assert_eq!((&group("cap")["policyId"], &group("cap")["matches"]), (&json!("all"), &json!(true)));
    let policy = json!({"id": "other", "groups": [{"id": "teams", "unit": "count", "quota": 1, "scope": ["metadata.team"],
        "periodType": "monthly", "matches": [{"event": "*"}]}]});
    let reported = ask(json!({"policy": policy, "event": "image.a"})).await.expect(200);
    assert_eq!(reported["groups"].as_array().unwrap().len(), 1);
    assert_eq!(reported["groups"][0]["missingScope"], json!(["metadata.team"]));
    assert_eq!(world.admin.get("plans").await.expect(200)["data"].as_array().unwrap().len(), 1, "nothing is written");
    for (name, value, field) in [
        ("event", json!("a b\n"), "event"),
        ("quantity", json!(0), "quantity"),
        ("plan", json!({"groups": []}), "plan.id"),
        ("plan", json!({"id": "new", "groups": [{"id": "g", "unit": "x", "matches": []}]}), "plan.groups[0].unit"),
        ("policy", json!({"id": "p", "groups": []}), "policy"),
    ] {
        let mut wrong = call.clone();
        wrong[name] = value;
        assert_eq!(ask(wrong).await.bad_field(), field, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_split_of_a_call_between_quota_and_credits_is_explained() {
    let world = buyer(3).await;
    add(&world.app, 4, json!({"expiresAt": "2027-06-01T00:00:00Z"})).await;
    add(&world.app, 6, json!({})).await;
    let allowed = explain(&world.app, "userId=u&event=image.render&quantity=5").await;
    assert_eq!(
        allowed["summary"],
        "Allowed: the limit \"images\" counts this call. The balance \"Credits\" covers 2 beyond the limit \"images\"."
    );
    assert_eq!(allowed["overflow"], json!([{"groupId": "credits", "from": "images", "amount": 2}]));
    let denied = explain(&world.app, "userId=u&event=image.render&quantity=20").await;
    let images = group(&denied, "images");
    assert_eq!((&images["overLimit"], &images["balance"]["remaining"]), (&json!(true), &json!(10)), "{denied}");
    assert_eq!(
        denied["summary"],
        "Denied: the call needs 20, the limit \"images\" has 3 left (0 of 3 used), and the balance \"Credits\" has 10; \
         the limit resets 2027-02-01T00:00:00Z."
    );
    let fits = explain(&world.app, "userId=u&event=image.render&quantity=3").await;
    assert_eq!((&fits["overflow"], &group(&fits, "images")["balance"]), (&Value::Null, &Value::Null), "{fits}");
    let without_quota = explain(&world.app, "userId=u&event=video.render&quantity=11").await;
    assert_eq!(without_quota["summary"], "Denied: the call needs 11, and the balance \"Credits\" has 10 left.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_names_the_credits_that_covered_it_also_when_its_record_is_gone() {
    let world = buyer(3).await;
    let soon = add(&world.app, 4, json!({"expiresAt": "2027-06-01T00:00:00Z"})).await;
    let later = add(&world.app, 6, json!({})).await;
    // From which group a part is, and a figure of it; null stands for the quota.
    let part = |list: &Value, credit: &Value, figure: &str| {
        let found = list.as_array().unwrap().iter().find(|it| it["creditId"] == *credit).unwrap();
        (found["groupId"].clone(), found["from"].clone(), found[figure].as_u64())
    };
    let of_credits = |amount: u64| (json!("credits"), json!("images"), Some(amount));
    let id = world.app.reserved(image(8)).await;
    let held = explain_reservation(&world.app, &id).await["counters"].clone();
    assert_eq!(part(&held, &Value::Null, "held"), (json!("images"), Value::Null, Some(3)));
    assert_eq!(part(&held, &soon["id"], "held"), of_credits(4));
    assert_eq!(part(&held, &later["id"], "held"), of_credits(1));
    assert_eq!(held.as_array().unwrap().len(), 3, "{held}");
    assert_eq!(held.as_array().unwrap().iter().filter(|it| it["kind"] == "balance").count(), 2, "{held}");
    world.app.post("commit", json!({"reservationId": id, "quantity": 6})).await.expect(200);
    let charged = explain_reservation(&world.app, &id).await;
    assert_eq!(part(&charged["counters"], &soon["id"], "charged"), of_credits(3));
    let key = format!("qg:{{default:test/main}}:op:{}", &id[4..id.len() - 13]);
    assert_eq!(world.redis.run::<i64>(&["DEL", &key]).await, 1);
    let of_ledger = explain_reservation(&world.app, &id).await;
    assert_eq!(of_ledger["counters"], json!([]));
    let charges = &of_ledger["entries"][0]["charges"];
    assert_eq!(part(charges, &Value::Null, "change"), (json!("images"), Value::Null, Some(3)));
    assert_eq!(part(charges, &soon["id"], "change"), of_credits(3));
}

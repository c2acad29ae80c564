//! Operators' actions on users and configuration: grants, blocks, resets, search, versions, audit log, apps.

use serde_json::{Value, json};

use crate::support::{Api, Redis, Running, World, eventually, monthly, new_key};

fn image(user: &str, quantity: u64) -> Value {
    json!({"userId": user, "event": "image.a", "quantity": quantity})
}

/// A frozen world with a monthly plan of 3 images, an operator in the sandbox, and a client on another node.
async fn staged() -> (World, Running, Api, Api) {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(3)).await;
    world.app.subscribe("u", "p").await;
    let (second, there) = world.another_node().await;
    let key = new_key(&world.admin, json!({"kind": "admin", "role": "support"})).await;
    let support = world.node.client(&key).with("x-mode", "test");
    (world, second, support, there)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_seen_by_the_next_call_everywhere_and_ends_when_it_should() {
    let (world, _second, support, there) = staged().await;
    assert_eq!(there.reserve(image("u", 4)).await["allowed"], false);
    let body = json!({"groupId": "images", "scope": {"user": "u"}, "amount": 2, "note": "sorry"});
    let first = support.once("k1").post("grants", body.clone()).await.expect(201);
    assert_eq!((&first["expiresAt"], &first["endsAt"]), (&Value::Null, &json!("2027-02-28T10:00:00Z")));
    assert_eq!(
        support.once("k1").post("grants", body.clone()).await.expect(201),
        first,
        "a repetition grants nothing more"
    );
    let until = "2027-03-10T00:00:00Z";
    let timed = json!({"groupId": "images", "scope": {"user": "u"}, "amount": "1", "expiresAt": until});
    let second = support.post("grants", timed).await.expect(201);

    let answer = there.post("reserve", image("u", 6)).await;
    let headers = ["x-ratelimit-limit", "x-ratelimit-remaining"].map(|name| answer.header(name).unwrap().to_owned());
    assert_eq!(headers, ["6", "0"]);
    let decision = answer.expect(200);
    let stands = |answer: &Value| ["quota", "granted", "remaining"].map(|name| answer["counters"][0][name].clone());
    assert_eq!(stands(&decision), [3, 3, 0]);
    let settled = there.commit(decision["reservationId"].as_str().unwrap()).await;
    assert_eq!(stands(&settled), [3, 3, 0], "a settlement shows it too");
    let listed = support.get("grants?userId=u").await.expect(200);
    assert_eq!(listed["data"], json!([first, second]));
    assert_eq!(support.get("grants").await.expect(200)["data"], listed["data"]);
    let page = support.get("grants?limit=1").await.expect(200);
    let next =
        support.get(&format!("grants?limit=1&cursor={}", page["nextCursor"].as_str().unwrap())).await.expect(200);
    assert_eq!((&page["data"][0], &next["data"][0], &next["nextCursor"]), (&first, &second, &Value::Null));

    world.app.freeze("2027-03-01T00:00:00Z").await;
    assert_eq!(there.counter("u", "images").await["granted"], 1, "the next window has only the one with a time");
    let id = second["id"].as_str().unwrap();
    assert_eq!(support.delete(&format!("grants/{id}"), None).await.status, 204);
    assert_eq!(there.counter("u", "images").await["granted"], 0);
    for id in [id, "grt_0", "nowhere"] {
        support.delete(&format!("grants/{id}"), None).await.problem(404, "not_found");
    }
    assert_eq!(support.get("grants?userId=u").await.expect(200)["data"], json!([]));
    for (field, value, named) in [
        ("expiresAt", json!("2027-02-28T00:00:00Z"), "expiresAt"),
        ("groupId", json!("nowhere"), "groupId"),
        ("amount", json!(0), "amount"),
        ("amount", json!(0.5), "amount"),
        ("amount", json!(-1), "amount"),
        ("scope", json!({"user": "nobody"}), "scope.user"),
        ("scope", json!({"team": "red"}), "scope"),
        ("note", json!("x".repeat(1025)), "note"),
    ] {
        let mut bad = body.clone();
        bad[field] = value;
        assert_eq!(support.post("grants", bad).await.bad_field(), named, "{field}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_user_is_refused_first_and_still_tracked() {
    let (_world, _second, support, there) = staged().await;
    let id = there.reserved(image("u", 1)).await;
    assert_eq!(support.post("users/u/block", json!({"note": "fraud"})).await.expect(200)["changed"], true);
    assert_eq!(support.post("users/u/block", json!({})).await.expect(200)["changed"], false);
    for event in ["image.a", "nothing.matches"] {
        let denied = there.reserve(json!({"userId": "u", "event": event})).await;
        assert_eq!((&denied["reasons"], &denied["retryAfterMs"]), (&json!(["user_blocked"]), &Value::Null));
        let asked = there.post("can-use", json!({"userId": "u", "event": event})).await.expect(200);
        assert_eq!(asked["reasons"], json!(["user_blocked"]));
    }
    there.post("reserve?onDeny=429", image("u", 1)).await.problem(429, "user_blocked");
    there.post("track", json!({"userId": "u", "event": "image.a", "enforce": true})).await.problem(429, "user_blocked");
    assert_eq!(there.post("track", image("u", 1)).await.expect(200)["matchStatus"], "matched");
    let more = there.post("extend", json!({"reservationId": id, "quantity": 1})).await.expect(200);
    assert_eq!((&more["allowed"], &more["reasons"]), (&json!(false), &json!(["user_blocked"])));
    there.commit(&id).await;
    // A user without any stored state can be blocked too.
    support.post("users/new%2Fone/block", json!({})).await.expect(200);
    assert_eq!(there.reserve(image("new/one", 1)).await["reasons"], json!(["user_blocked"]));
    there.subscribe("u", "p").await;
    assert_eq!(there.reserve(image("u", 1)).await["reasons"], json!(["user_blocked"]), "a webhook does not unblock");
    assert_eq!(support.post("users/u/unblock", json!({})).await.expect(200)["blocked"], false);
    assert_eq!(there.reserve(image("u", 1)).await["allowed"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_shown_in_full_and_reset() {
    let (world, _second, support, there) = staged().await;
    let done = there.reserved(image("u", 1)).await;
    there.commit(&done).await;
    world.app.freeze("2027-03-05T00:00:00Z").await;
    let open = there.reserved(image("u", 2)).await;
    let detail = support.get("users/u").await.expect(200);
    assert_eq!((&detail["planId"], &detail["blocked"]), (&json!("p"), &json!(false)));
    assert_eq!(detail["subscription"]["startedAt"], "2027-01-31T10:00:00Z");
    assert_eq!(detail["counters"][0]["held"], 2);
    let shown = &detail["openReservations"][0];
    assert_eq!((&shown["reservationId"], &shown["event"]), (&json!(open), &json!("image.a")));
    assert_eq!(shown["held"], json!([{"groupId": "images", "unit": "count", "amount": 2}]));
    assert_eq!(shown["expiresAt"], "2027-03-05T00:01:00Z");
    let closed = &detail["history"][0];
    assert_eq!((&closed["used"], &closed["period"]["end"]), (&json!(1), &json!("2027-02-28T10:00:00Z")));
    support.get("users/nobody").await.problem(404, "not_found");

    assert_eq!(support.post("users/u/reset", json!({"groupId": "nowhere"})).await.bad_field(), "groupId");
    support.post("users/u/reset", json!({})).await.expect(200);
    assert_eq!(there.stands("u", "images").await, (0., 0.));
    there.commit(&open).await;
    assert_eq!(there.stands("u", "images").await, (0., 0.), "what was held settles where it was held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_found_by_the_beginning_or_any_part_of_their_ids_page_by_page() {
    let world = World::new().await;
    let spread = world.admin.with("x-app", "spread");
    world.admin.post("apps", json!({"id": "spread", "placement": "user"})).await.expect(201);
    for admin in [&world.admin, &spread] {
        admin.plan("p", monthly(3)).await;
        let key = new_key(admin, json!({"kind": "secret", "mode": "live"})).await;
        let app = world.node.client(&key);
        let mut names: Vec<String> = (0..25).map(|number| format!("user_{number:02}")).collect();
        names.extend(["Zoë", "a:{b}", "user", "user_1\u{10ffff}", "ζ"].map(str::to_owned));
        names.sort();
        for name in &names {
            app.subscribe(name, "p").await;
        }
        for search in ["", "user", "user_1", "user_1\u{10ffff}", "Z", "nobody"] {
            let mut found = Vec::new();
            let mut cursor = String::new();
            loop {
                let encoded: String = search.bytes().map(|byte| format!("%{byte:02x}")).collect();
                let page = admin.get(&format!("users?limit=7&search={encoded}{cursor}")).await.expect(200);
                let data = page["data"].as_array().unwrap();
                assert!(data.iter().all(|user| user["subscription"]["planId"] == "p"));
                found.extend(data.iter().map(|user| user["userId"].as_str().unwrap().to_owned()));
                match page["nextCursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            let expected: Vec<&String> = names.iter().filter(|name| name.starts_with(search)).collect();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{search}");
        }
        for text in ["", "SER_1", "_2", "zOË", "Ζ", ":{B", "nobody"] {
            let mut found = Vec::new();
            let mut cursor = String::new();
            loop {
                let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
                let page = admin.get(&format!("users?limit=7&contains={encoded}{cursor}")).await.expect(200);
                let data = page["data"].as_array().unwrap();
                found.extend(data.iter().map(|user| user["userId"].as_str().unwrap().to_owned()));
                match page["nextCursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            let has = |name: &&String| name.to_lowercase().contains(&text.to_lowercase());
            assert_eq!(found.iter().collect::<Vec<_>>(), names.iter().filter(has).collect::<Vec<_>>(), "{text}");
        }
    }
    let long = format!("contains={}", "x".repeat(257));
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("cursor=zz", "cursor"),
        ("x=1", "x"),
        ("search=a&contains=b", "contains"),
        (long.as_str(), "contains"),
    ] {
        assert_eq!(world.admin.get(&format!("users?{query}")).await.bad_field(), field);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_kept_compared_and_rolled_back_to() {
    let (world, _second, _support, there) = staged().await;
    let first = world.admin.get("plans/p").await.expect(200)["version"].clone();
    world.admin.plan("p", monthly(9)).await;
    world.admin.plan("p", monthly(9)).await;
    let history = world.admin.get("plans/p/versions").await.expect(200);
    let versions = history["data"].as_array().unwrap();
    assert_eq!(versions.len(), 2, "the same body again is no version: {history}");
    assert_eq!((&versions[1]["version"], &versions[1]["plan"]["groups"][0]["quota"]), (&first, &json!(3)));
    assert_eq!(versions[0]["createdBy"], "root");
    let stale = world.admin.with("if-match", &format!("\"{first}\""));
    stale.post("plans/p/rollback", json!({"version": first})).await.problem(412, "version_conflict");
    assert_eq!(world.admin.post("plans/p/rollback", json!({"version": 7})).await.bad_field(), "version");
    let back = world.admin.post("plans/p/rollback", json!({"version": first})).await.expect(200);
    assert!(back["version"].as_u64() > versions[0]["version"].as_u64(), "old content, a new version");
    assert_eq!(there.counter("u", "images").await["quota"], 3);
    world.admin.get("plans/nowhere/versions").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lowered_quota_says_beforehand_whom_it_would_put_over_the_limit() {
    let world = World::new().await;
    let key = new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await;
    let app = world.node.client(&key);
    world.admin.plan("p", monthly(10)).await;
    for (user, used) in [("a", 2), ("b", 5), ("c", 9), ("granted", 9), ("own", 9)] {
        app.subscribe(user, "p").await;
        app.post("track", image(user, used)).await.expect(200);
    }
    app.post("subscriptions", json!({"userId": "own", "planId": "p", "customLimits": {"images": {"quota": 20}}}))
        .await
        .expect(200);
    let grant = json!({"groupId": "images", "scope": {"user": "granted"}, "amount": 5});
    world.admin.post("grants", grant).await.expect(201);
    let before = world.redis.contents("qg:{default}:config").await;
    let preview = world.admin.put("plans/p?dryRun=true", monthly(4)).await.expect(200);
    assert_eq!(
        preview["overLimit"],
        json!([{"planId": "p", "groupId": "images", "quotaBefore": 10, "quotaAfter": 4, "users": 2}])
    );
    assert_eq!(preview["changes"][0]["fields"], json!([{"path": "groups.images.quota", "before": 10, "after": 4}]));
    assert_eq!(preview["complete"], true);
    let document = json!({"plans": [{"id": "p", "periodType": "monthly", "periodAnchor": "subscription_start", "groups": monthly(4)["groups"]}]});
    let applied = world.admin.put("configuration?dryRun=true", document.clone()).await.expect(200);
    assert_eq!((&applied["applied"], &applied["overLimit"]), (&json!(false), &preview["overLimit"]));
    assert_eq!(world.redis.contents("qg:{default}:config").await, before);
    assert_eq!(world.admin.put("configuration", document.clone()).await.expect(200)["applied"], true);
    let again = world.admin.put("configuration", document).await.expect(200);
    assert_eq!((&again["applied"], &again["changes"]), (&json!(false), &json!([])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_configuration_is_applied_in_one_step_or_not_at_all() {
    let (world, _second, _support, there) = staged().await;
    let plan = |id: &str, quota: u64| {
        json!({"id": id, "periodType": "monthly", "groups": [
        {"id": format!("{id}_g"), "unit": "count", "quota": quota, "matches": [{"event": "x"}]}]})
    };
    // `p` is not in the document, but `u` has it.
    let problem = world.admin.put("configuration", json!({"plans": [plan("a", 1)]})).await.problem(409, "plan_in_use");
    assert!(problem["detail"].as_str().unwrap().contains("1 user is on plan `p`"), "{problem}");
    world.admin.get("plans/a").await.problem(404, "not_found");
    assert_eq!(there.reserve(image("u", 1)).await["allowed"], true);
    there.subscribe("v", "p").await;

    let faulty = json!({"app": {"defaultPlanId": "nowhere"}, "plans": [
        plan("a", 1), plan("a", 2), {"id": "b", "periodType": "monthly", "groups": [
            {"id": "a_g", "unit": "tokens", "quota": 1, "matches": [{"event": "x"}]},
            {"id": "e", "unit": "count", "quota": 1, "periodType": "every", "every": "30 days", "matches": [{"event": "x"}]}]}]});
    let problem = world.admin.put("configuration", faulty).await.problem(400, "invalid_request");
    let fields: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|fault| fault["field"].as_str().unwrap()).collect();
    assert_eq!(
        fields,
        [
            "plans[1].id",
            "plans[2].groups[0].unit",
            "plans[2].groups[1].every",
            "plans[2].groups[1].start",
            "app.defaultPlanId"
        ],
        "{problem}"
    );
    let typos = json!({"apps": {}, "plans": [{"id": "a", "groups": [{"id": "g", "unit": "count", "qouta": 1, "matches": [{"evnt": "x"}]}]}]});
    let problem = world.admin.put("configuration", typos).await.problem(400, "invalid_request");
    let mut fields: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|fault| fault["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "apps",
            "plans[0].groups[0].matches[0].event",
            "plans[0].groups[0].matches[0].evnt",
            "plans[0].groups[0].periodType",
            "plans[0].groups[0].qouta",
            "plans[0].groups[0].quota"
        ],
        "{problem}"
    );

    let mut document = world.admin.get("configuration").await.expect(200);
    document["plans"].as_array_mut().unwrap().push(plan("a", 1));
    document["app"]["defaultPlanId"] = json!("a");
    let applied = world.admin.put("configuration", document.clone()).await.expect(200);
    let targets: Vec<&str> =
        applied["changes"].as_array().unwrap().iter().map(|change| change["target"].as_str().unwrap()).collect();
    assert_eq!(targets, ["plan:a", "app"]);
    assert_eq!(there.reserve(json!({"userId": "new", "event": "x"})).await["allowed"], true, "both bind at once");
    // A section that is left out stays unchanged.
    world.admin.put("configuration", json!({"app": {}})).await.expect(200);
    assert_eq!(world.admin.get("plans").await.expect(200)["data"].as_array().unwrap().len(), 2);
    let huge = format!("{{\"plans\": [], \"x\": \"{}\"}}", "x".repeat(1024 * 1024));
    world.admin.send("PUT", "configuration", Some(huge)).await.problem(413, "payload_too_large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_by_hand_is_in_the_audit_log() {
    let (world, _second, support, there) = staged().await;
    let admin = world.admin.with("x-mode", "test");
    admin.plan("p", monthly(4)).await;
    support.post("users/u/block", json!({"note": "why"})).await.expect(200);
    support.post("users/u/unblock", json!({})).await.expect(200);
    support.post("users/u/reset", json!({"groupId": "images"})).await.expect(200);
    let grant =
        support.post("grants", json!({"groupId": "images", "scope": {"user": "u"}, "amount": 2})).await.expect(201);
    support.delete(&format!("grants/{}", grant["id"].as_str().unwrap()), None).await;
    admin.put("app", json!({"defaultPlanId": null})).await.expect(200);
    let key = admin.post("keys", json!({"kind": "secret", "mode": "live", "name": "ci"})).await.expect(201);
    admin.delete(&format!("keys/{}", key["id"].as_str().unwrap()), None).await;
    there.delete("subscriptions", Some(json!({"userId": "u"}))).await.expect(200);
    // Rejected calls and calls without an effect have no entry.
    support.post("users/u/unblock", json!({})).await.expect(200);
    admin.delete("plans/nowhere", None).await.problem(404, "not_found");
    let mut entries: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = admin.get(&format!("audit?limit=3{cursor}")).await.expect(200);
        entries.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let whole = admin.get("audit?limit=200").await.expect(200);
    assert_eq!(json!(entries), whole["data"], "pages make up the whole");
    let mut reported: Vec<String> = entries
        .iter()
        .map(|entry| format!("{} {}", entry["action"].as_str().unwrap(), entry["target"].as_str().unwrap()))
        .collect();
    reported.retain(|line| !line.starts_with("key."));
    reported.reverse();
    assert_eq!(
        reported,
        [
            "app.create app:default",
            "plan.put plan:p",
            "subscription.put user:u",
            "plan.put plan:p",
            "user.block user:u",
            "user.unblock user:u",
            "user.reset user:u",
            "grant.create user:u",
            "grant.revoke user:u",
            "subscription.cancel user:u"
        ]
    );
    assert!(!whole.to_string().contains(key["key"].as_str().unwrap()), "a key is never in the log");
    for (filter, action, count) in [
        ("target=plan:p", "plan.put", 2),
        ("action=user.", "user.", 3),
        ("action=key.", "key.", 4),
        ("actor=root&action=plan", "plan.put", 2),
        ("target=user:nobody", "", 0),
    ] {
        let found = admin.get(&format!("audit?{filter}")).await.expect(200);
        let found = found["data"].as_array().unwrap();
        assert_eq!(found.len(), count, "{filter}: {found:?}");
        assert!(found.iter().all(|entry| entry["action"].as_str().unwrap().starts_with(action)));
    }
    let put = admin.get("audit?target=plan:p&limit=1").await.expect(200)["data"][0].clone();
    assert_eq!((&put["before"]["groups"][0]["quota"], &put["after"]["groups"][0]["quota"]), (&json!(3), &json!(4)));
    let block = admin.get("audit?action=user.block").await.expect(200)["data"][0].clone();
    assert_eq!((&block["note"], &block["before"], &block["after"]), (&json!("why"), &json!(false), &json!(true)));
    assert_ne!(block["actor"], "root");
    assert_eq!(admin.get("audit?cursor=x").await.bad_field(), "cursor");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_app_is_gone_on_every_node_with_all_that_was_its_own() {
    let world = World::new().await;
    let root = &world.admin;
    let (_second, _) = world.another_node().await;
    let others = async |redis: &Redis| redis.contents("qg:{default*").await;
    for placement in ["app", "user"] {
        root.post("apps", json!({"id": "acme", "placement": placement})).await.expect(201);
        let admin = root.with("x-app", "acme");
        admin.plan("p", monthly(3)).await;
        let key = new_key(&admin, json!({"kind": "secret", "mode": "live"})).await;
        let (here, there) = (world.node.client(&key), _second.client(&key));
        here.subscribe("u", "p").await;
        there.reserved(image("u", 1)).await;
        let before = others(&world.redis).await;
        assert_eq!(root.delete("apps/acme", None).await.status, 204);
        assert_eq!(others(&world.redis).await, before);
        let left: Vec<String> = world.redis.run(&["KEYS", "qg:{acme*"]).await;
        assert_eq!(left, Vec::<String>::new());
        here.post("reserve", image("u", 1)).await.problem(401, "invalid_key");
        there.post("reserve", image("u", 1)).await.problem(401, "invalid_key");
        let other_node = _second.client(&root.key).with("x-app", "acme");
        eventually("the other node forgets the app", || async { other_node.get("plans").await.status == 404 }).await;
    }
    root.delete("apps/acme", None).await.problem(404, "not_found");
    assert_eq!(root.delete("apps/default", None).await.bad_field(), "id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_work_the_same_where_users_are_spread_over_buckets() {
    let world = World::new().await;
    world.admin.post("apps", json!({"id": "spread", "placement": "user"})).await.expect(201);
    let admin = world.admin.with("x-app", "spread");
    admin.plan("p", monthly(3)).await;
    admin.plan("q", monthly(5)).await;
    let key = new_key(&admin, json!({"kind": "secret", "mode": "live"})).await;
    let app = world.node.client(&key);
    let users: Vec<String> = (0..12).map(|number| format!("u{number}")).collect();
    let mut granted = Vec::new();
    for user in &users {
        app.subscribe(user, "p").await;
        let grant = json!({"groupId": "images", "scope": {"user": user}, "amount": 1});
        granted.push(admin.post("grants", grant).await.expect(201)["id"].clone());
        app.reserved(image(user, 4)).await;
    }
    let mut listed: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = admin.get(&format!("grants?limit=5{cursor}")).await.expect(200);
        listed.extend(page["data"].as_array().unwrap().iter().map(|grant| grant["id"].clone()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let sorted = |mut ids: Vec<Value>| {
        ids.sort_by_key(Value::to_string);
        ids
    };
    assert_eq!(sorted(listed), sorted(granted.clone()));
    for id in granted {
        assert_eq!(admin.delete(&format!("grants/{}", id.as_str().unwrap()), None).await.status, 204);
    }
    assert_eq!(admin.get("grants").await.expect(200)["data"], json!([]));
    let problem = admin.delete("plans/p", None).await.problem(409, "plan_in_use");
    assert!(problem["detail"].as_str().unwrap().contains("12 users are on plan `p`"), "{problem}");
    assert_eq!(admin.delete("plans/p?moveTo=q", None).await.status, 204);
    let log = admin.get("audit?action=subscription.put&limit=200").await.expect(200);
    assert_eq!(log["data"].as_array().unwrap().len(), 24, "every bucket's log is read");
    for user in &users {
        assert_eq!(app.counter(user, "images").await["remaining"], 1);
    }
}

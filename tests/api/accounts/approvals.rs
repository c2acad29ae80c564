//! Approval requests: opened by denied calls, decided by operators.

use serde_json::{Value, json};

use crate::support::{World, new_key};

/// A user on a plan whose only group requires approval above `quota` a day.
async fn asking(quota: u64) -> World {
    let world = World::frozen().await;
    world.admin.plan("p", plan(quota)).await;
    world.app.subscribe("u", "p").await;
    world
}

fn plan(quota: u64) -> Value {
    json!({"periodType": "daily", "groups": [
        {"id": "premium", "label": "Premium model", "unit": "tokens", "quota": quota, "enforcement": "approval",
            "matches": [{"event": "llm.*"}]}]})
}

fn call(quantity: u64) -> Value {
    json!({"userId": "u", "event": "llm.premium", "quantity": quantity, "metadata": {"team": "red"}})
}

async fn open(world: &World) -> Vec<Value> {
    let admin = world.admin.with("x-mode", "test");
    admin.get("approvals").await.expect(200)["data"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_is_open_however_many_calls_are_denied_and_says_who_and_what() {
    let world = asking(100).await;
    let (_node, elsewhere) = world.another_node().await;
    let held = world.app.reserved(call(60)).await;
    world.app.commit(&held).await;
    world.app.reserved(call(30)).await;
    let asked = world.app.post("can-use", call(20)).await.expect(200);
    assert_eq!(asked["reasons"], json!(["approval_required"]));
    assert_eq!(open(&world).await, Vec::<Value>::new(), "can-use opens nothing");
    let state = world.redis.contents("qg:*account*").await;
    let first = world.app.reserve(call(20)).await;
    assert_eq!((&first["allowed"], &first["reasons"]), (&json!(false), &json!(["approval_required"])));
    let id = first["deniedBy"][0]["approval"]["id"].as_str().unwrap().to_owned();
    assert_eq!(first["deniedBy"][0]["approval"]["status"], "open");
    let mut denials = Vec::new();
    for place in 0..40 {
        let api = if place % 2 == 0 { world.app.clone() } else { elsewhere.clone() };
        denials.push(tokio::spawn(async move { api.reserve(call(20 + place)).await }));
    }
    for denial in denials {
        assert_eq!(denial.await.unwrap()["deniedBy"][0]["approval"]["id"], id.as_str());
    }
    let listed = open(&world).await;
    assert_eq!(listed.len(), 1);
    let request = &listed[0];
    for (field, value) in [
        ("id", json!(id)),
        ("status", json!("open")),
        ("groupId", json!("premium")),
        ("label", json!("Premium model")),
        ("unit", json!("tokens")),
        ("scope", json!({"user": "u"})),
        ("requestedBy", json!("u")),
        ("event", json!("llm.premium")),
        ("metadata", json!({"team": "red"})),
        ("requested", json!(20)),
        ("used", json!(60)),
        ("held", json!(30)),
        ("limit", json!(100)),
        ("requestedAt", json!("2027-01-31T10:00:00Z")),
        ("windowEndsAt", json!("2027-02-01T00:00:00Z")),
    ] {
        assert_eq!(request[field], value, "{field}");
    }
    let marked = |line: &String| !line.starts_with("premium.approval");
    let mut now = world.redis.contents("qg:*account*").await;
    now.iter_mut().for_each(|(_, fields)| fields.retain(marked));
    assert_eq!(now, state, "a refused call changes no counter");
    // Denials as a 429, by an enforcing track and by an extension refer to the same request.
    let problem = world.app.post("reserve?onDeny=429", call(20)).await.problem(429, "approval_required");
    assert_eq!(problem["decision"]["deniedBy"][0]["approval"]["id"], id.as_str());
    let mut track = call(20);
    track["enforce"] = json!(true);
    world.app.post("track", track).await.problem(429, "approval_required");
    let small = world.app.reserved(call(5)).await;
    let more = world.app.post("extend", json!({"reservationId": small, "quantity": 20})).await.expect(200);
    assert_eq!(more["deniedBy"][0]["approval"]["id"], id.as_str());
    assert_eq!(open(&world).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_an_extension_opens_names_the_key_that_reserved() {
    let world = asking(10).await;
    let small = world.app.reserved(call(5)).await;
    world.app.post("extend", json!({"reservationId": small, "quantity": 20})).await.expect(200);
    let request = &open(&world).await[0];
    let keys = world.admin.get("keys").await.expect(200);
    let own = keys["data"].as_array().unwrap().iter().find(|key| key["kind"] == "secret").unwrap();
    assert_eq!(request["keyId"], own["id"], "{request}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_approved_passes_on_the_next_call_until_it_ends() {
    let world = asking(10).await;
    let (_node, elsewhere) = world.another_node().await;
    let admin = world.admin.with("x-mode", "test");
    let held = world.app.reserved(call(10)).await;
    world.app.commit(&held).await;
    let denied = world.app.reserve(call(5)).await;
    let id = denied["deniedBy"][0]["approval"]["id"].as_str().unwrap().to_owned();
    for (body, field) in [
        (json!({"amount": 0}), "amount"),
        (json!({"amount": 0.5}), "amount"),
        (json!({"amount": 5, "until": "2020-01-01T00:00:00Z"}), "until"),
        (json!({"amount": 5, "note": "x".repeat(1025)}), "note"),
        (json!({}), "amount"),
    ] {
        assert_eq!(admin.post(&format!("approvals/{id}/approve"), body.clone()).await.bad_field(), field, "{body}");
    }
    let body = json!({"amount": 5, "note": "launch day", "rollbackOwner": "ml-platform"});
    let once = admin.once("approve-1");
    let grant = once.post(&format!("approvals/{id}/approve"), body.clone()).await.expect(200);
    assert_eq!(once.post(&format!("approvals/{id}/approve"), body.clone()).await.expect(200), grant);
    assert_eq!((&grant["approvalId"], &grant["endsAt"]), (&json!(id), &json!("2027-02-01T00:00:00Z")));
    admin.post(&format!("approvals/{id}/approve"), body.clone()).await.problem(409, "already_decided");
    admin.post(&format!("approvals/{id}/reject"), json!({})).await.problem(409, "already_decided");
    let counter = world.app.counter("u", "premium").await;
    assert_eq!((&counter["granted"], &counter["remaining"]), (&json!(5), &json!(5)));
    let held = elsewhere.reserved(call(5)).await;
    elsewhere.commit(&held).await;
    let decided = admin.get(&format!("approvals/{id}")).await.expect(200);
    assert_eq!(decided["status"], "approved");
    assert_eq!(
        (&decided["decided"]["amount"], &decided["decided"]["note"], &decided["decided"]["rollbackOwner"]),
        (&json!(5), &json!("launch day"), &json!("ml-platform"))
    );
    let listed = admin.get("approvals?status=decided").await.expect(200);
    assert_eq!(listed["data"], json!([decided]));
    // When the approved amount is used up, another approval is needed.
    let again = world.app.reserve(call(1)).await;
    let second = again["deniedBy"][0]["approval"]["id"].as_str().unwrap().to_owned();
    assert_ne!(second, id);
    // With an expiry it enlarges every window until then.
    let until = json!({"amount": 3, "until": "2027-02-02T12:00:00Z"});
    admin.post(&format!("approvals/{second}/approve"), until).await.expect(200);
    for (now, fits) in [
        ("2027-01-31T11:00:00Z", 3),
        ("2027-02-01T00:00:00Z", 13),
        ("2027-02-02T11:00:00Z", 13),
        ("2027-02-03T00:00:00Z", 10),
    ] {
        world.app.freeze(now).await;
        assert_eq!(world.app.reserve(call(fits + 1)).await["allowed"], false, "{now}");
        let held = world.app.reserved(call(fits)).await;
        world.app.commit(&held).await;
    }
    let audit = admin.get("audit?action=approval.").await.expect(200);
    assert_eq!(audit["data"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_holds_until_the_window_ends_or_it_is_opened_again() {
    let world = asking(0).await;
    let admin = world.admin.with("x-mode", "test");
    let denied = world.app.reserve(call(1)).await;
    let id = denied["deniedBy"][0]["approval"]["id"].as_str().unwrap().to_owned();
    let rejected = admin.post(&format!("approvals/{id}/reject"), json!({"note": "too dear"})).await.expect(200);
    assert_eq!((&rejected["status"], &rejected["decided"]["note"]), (&json!("rejected"), &json!("too dear")));
    admin.post(&format!("approvals/{id}/reject"), json!({})).await.problem(409, "already_decided");
    let denied = world.app.reserve(call(1)).await;
    assert_eq!(denied["deniedBy"][0]["approval"], json!({"id": id, "status": "rejected"}));
    assert_eq!((open(&world).await.len(), &denied["reasons"]), (0, &json!(["approval_required"])));
    // After it was reopened it can be approved.
    let opened = admin.post(&format!("approvals/{id}/reopen"), json!({})).await.expect(200);
    assert_eq!((&opened["status"], open(&world).await.len()), (&json!("open"), 1));
    assert_eq!(world.app.reserve(call(1)).await["deniedBy"][0]["approval"]["status"], "open");
    admin.post(&format!("approvals/{id}/approve"), json!({"amount": 1})).await.expect(200);
    world.app.reserved(call(1)).await;
    // A new window has a new request.
    world.app.freeze("2027-02-01T10:00:00Z").await;
    let next = world.app.reserve(call(1)).await;
    assert_eq!(next["deniedBy"][0]["approval"]["status"], "open");
    assert_ne!(next["deniedBy"][0]["approval"]["id"], id.as_str());
    // Whether or not the earlier request was rejected.
    for decide in [false, true] {
        let open = world.app.reserve(call(1)).await["deniedBy"][0]["approval"]["id"].as_str().unwrap().to_owned();
        if decide {
            admin.post(&format!("approvals/{open}/reject"), json!({})).await.expect(200);
        }
        world.app.freeze(if decide { "2027-02-03T10:00:00Z" } else { "2027-02-02T10:00:00Z" }).await;
        let fresh = world.app.reserve(call(1)).await;
        assert_eq!(fresh["deniedBy"][0]["approval"]["status"], "open");
        assert_ne!(fresh["deniedBy"][0]["approval"]["id"], open.as_str());
    }
    admin.post("approvals/apr_nowhere/approve", json!({"amount": 1})).await.problem(404, "not_found");
    for path in ["reject", "reopen"] {
        admin.post(&format!("approvals/apr_nowhere/{path}"), json!({})).await.problem(404, "not_found");
    }
    admin.get("approvals/apr_nowhere").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_asked_for_where_a_hard_group_also_denies() {
    let world = World::frozen().await;
    let mut body = plan(0);
    body["groups"].as_array_mut().unwrap().push(
        json!({"id": "cap", "unit": "count", "measure": "event", "quota": 0, "matches": [{"event": "llm.premium"}]}),
    );
    world.admin.plan("p", body).await;
    world.app.subscribe("u", "p").await;
    let denied = world.app.reserve(call(1)).await;
    assert_eq!(denied["reasons"], json!(["limit_reached"]));
    assert!(denied["deniedBy"].as_array().unwrap().iter().all(|it| it.get("approval").is_none()));
    assert_eq!(open(&world).await, Vec::<Value>::new());
    // A user who is denied for another reason opens no request either.
    let stranger = json!({"userId": "nobody", "event": "llm.premium"});
    assert_eq!(world.app.reserve(stranger).await["reasons"], json!(["no_subscription"]));
    assert_eq!(open(&world).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_team_asks_once_whoever_calls_and_its_approval_is_the_teams() {
    let world = World::frozen().await;
    world.admin.plan("open", json!({"periodType": "monthly", "unmatchedEvents": "allow", "groups": []})).await;
    let policy = json!({"owner": "ml-platform", "approval": {"approvers": ["finance"], "condition": "any use"},
        "periodType": "daily", "groups": [
        {"id": "preview", "unit": "count", "measure": "event", "quota": 0, "enforcement": "approval",
            "scope": ["metadata.team"], "matches": [{"event": "llm.*", "metadata": {"route": "preview"}}]}]});
    world.admin.put("policies/routes", policy).await.expect(200);
    let admin = world.admin.with("x-mode", "test");
    let approver = new_key(&world.admin, json!({"kind": "admin", "role": "approver"})).await;
    let approver = world.node.client(&approver).with("x-mode", "test");
    let ask = |user: &str, team: &str| json!({"userId": user, "event": "llm.chat", "metadata": {"team": team, "route": "preview"}});
    for user in ["u", "v", "w"] {
        world.app.subscribe(user, "open").await;
        assert_eq!(world.app.reserve(ask(user, "red")).await["reasons"], json!(["approval_required"]));
    }
    world.app.reserve(ask("u", "blue")).await;
    let listed = open(&world).await;
    assert_eq!(listed.len(), 2);
    let red = listed.iter().find(|it| it["scope"] == json!({"metadata.team": "red"})).unwrap();
    assert_eq!(
        (&red["requestedBy"], &red["policyId"], &red["owner"]),
        (&json!("u"), &json!("routes"), &json!("ml-platform"))
    );
    assert_eq!(red["approval"]["approvers"], json!(["finance"]));
    approver
        .post(&format!("approvals/{}/approve", red["id"].as_str().unwrap()), json!({"amount": 2}))
        .await
        .expect(200);
    world.app.reserved(ask("v", "red")).await;
    world.app.reserved(ask("w", "red")).await;
    assert_eq!(world.app.reserve(ask("u", "red")).await["reasons"], json!(["approval_required"]));
    assert_eq!(world.app.reserve(ask("u", "blue")).await["reasons"], json!(["approval_required"]));
    // A grant by an operator has the same effect, and must name the right counter.
    let grant = |scope: Value| json!({"groupId": "preview", "scope": scope, "amount": 1});
    assert_eq!(admin.post("grants", grant(json!({"user": "u"}))).await.bad_field(), "scope");
    let made = admin.post("grants", grant(json!({"metadata.team": "blue"}))).await.expect(201);
    world.app.reserved(ask("u", "blue")).await;
    admin.delete(&format!("grants/{}", made["id"].as_str().unwrap()), None).await.expect(204);
    let ttl: i64 = world.redis.run(&["PTTL", "qg:{default:test/main}:account:metadata.team:blue"]).await;
    assert!(ttl > 0, "a team's state has an end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_be_forgotten_asks_once_in_a_window_too_before_and_after_anything_is_counted_in_it() {
    let world = World::frozen().await;
    let admin = world.admin.with("x-mode", "test");
    let group = |id: &str, scope: Value, quota: u64| {
        json!({"id": id, "unit": "tokens", "quota": quota, "enforcement": "approval", "scope": scope,
            "matches": [{"event": "llm.*"}]})
    };
    world.admin.plan("free", json!({"periodType": "daily", "groups": [group("own", json!(["user"]), 10)]})).await;
    world.admin.put("app", json!({"defaultPlanId": "free"})).await.expect(200);
    let teams = json!({"periodType": "daily", "groups": [group("teams", json!(["metadata.team"]), 10)]});
    world.admin.put("policies/teams", teams).await.expect(200);
    // More than a day's tokens: neither counter is stored.
    let requests = async |quantity: u64| {
        let denied = world.app.reserve(call(quantity)).await;
        assert_eq!(denied["reasons"], json!(["approval_required"]));
        let mut asked: Vec<(String, String, String)> = Vec::new();
        for denied in denied["deniedBy"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let request = &denied["approval"];
            asked.push((text(&denied["groupId"]), text(&request["id"]), text(&request["status"])));
        }
        asked.sort();
        asked
    };
    let first = requests(20).await;
    assert_eq!(first.len(), 2);
    for second in 1..4 {
        world.app.freeze(&format!("2027-01-31T10:00:0{second}Z")).await;
        assert_eq!(requests(20).await, first, "{second} s later");
    }
    assert_eq!(open(&world).await.len(), 2);
    for (_, id, _) in &first {
        admin.post(&format!("approvals/{id}/reject"), json!({})).await.expect(200);
    }
    let rejected: Vec<_> =
        first.iter().map(|(group, id, _)| (group.clone(), id.clone(), "rejected".to_owned())).collect();
    world.app.freeze("2027-01-31T10:00:05Z").await;
    assert_eq!(requests(20).await, rejected, "a rejection holds");
    // Now something is counted in the window.
    let held = world.app.reserved(call(4)).await;
    world.app.commit(&held).await;
    world.app.freeze("2027-01-31T10:00:06Z").await;
    assert_eq!(requests(20).await, rejected, "also once the window is stored");
    assert_eq!(open(&world).await.len(), 0);
    world.app.freeze("2027-02-01T10:00:00Z").await;
    let next = requests(20).await;
    assert!(
        next.iter().all(|(_, id, status)| status == "open" && first.iter().all(|(_, old, _)| old != id)),
        "{next:?}"
    );
    world.app.freeze("2027-02-01T10:00:01Z").await;
    assert_eq!(requests(20).await, next);
}

/// Opens a request for each of `teams`, with calls of one user; returns the denials.
async fn flood(world: &World, user: &str, teams: std::ops::Range<usize>) -> Vec<Value> {
    let mut denied = Vec::new();
    for team in teams {
        let call = json!({"userId": user, "event": "llm.chat", "metadata": {"team": format!("{user}-{team}")}});
        denied.push(world.app.reserve(call).await["deniedBy"][0].clone());
    }
    denied
}

/// A lifetime group of the user, and a daily one of each team, which both require approval for any use.
async fn asking_teams() -> World {
    let world = World::frozen().await;
    world
        .admin
        .plan(
            "open",
            json!({"periodType": "monthly", "unmatchedEvents": "allow", "groups": [
        {"id": "once", "unit": "count", "measure": "event", "quota": 0, "enforcement": "approval",
            "periodType": "lifetime", "matches": [{"event": "job.*"}]}]}),
        )
        .await;
    let policy = json!({"periodType": "daily", "groups": [
        {"id": "team_chat", "unit": "count", "measure": "event", "quota": 0, "enforcement": "approval",
            "scope": ["metadata.team"], "matches": [{"event": "llm.*"}]}]});
    world.admin.put("policies/teams", policy).await.expect(200);
    for user in ["victim", "flooder"] {
        world.app.subscribe(user, "open").await;
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_flood_of_requests_is_bounded_and_removes_no_request() {
    let world = asking_teams().await;
    let admin = world.admin.with("x-mode", "test");
    let lifetime = json!({"userId": "victim", "event": "job.run"});
    let id = world.app.reserve(lifetime.clone()).await["deniedBy"][0]["approval"]["id"].as_str().unwrap().to_owned();
    let denied = flood(&world, "flooder", 0..130).await;
    for (place, denied) in denied.iter().enumerate() {
        let opened = (denied["approval"]["status"].as_str(), denied["tooManyApprovals"].as_bool());
        assert_eq!(opened, if place < 100 { (Some("open"), None) } else { (None, Some(true)) }, "{place}");
    }
    // Denied calls left nothing behind.
    let refused: i64 = world.redis.run(&["EXISTS", "qg:{default:test/main}:account:metadata.team:flooder-129"]).await;
    assert_eq!(refused, 0);
    assert_eq!(world.app.reserve(lifetime).await["deniedBy"][0]["approval"], json!({"id": id, "status": "open"}));
    admin.get(&format!("approvals/{id}")).await.expect(200);
    // A decided request makes room for another one, and a reopened one needs the room again.
    let first = denied[0]["approval"]["id"].as_str().unwrap().to_owned();
    admin.post(&format!("approvals/{first}/reject"), json!({})).await.expect(200);
    assert_eq!(flood(&world, "flooder", 200..202).await[1]["tooManyApprovals"], true);
    admin.post(&format!("approvals/{first}/reopen"), json!({})).await.expect(200);
    admin.post(&format!("approvals/{first}/approve"), json!({"amount": 1})).await.expect(200);
    assert_eq!(flood(&world, "flooder", 203..204).await[0]["tooManyApprovals"], true, "101 were open");
    // Requests whose windows have ended make room.
    world.app.freeze("2027-02-01T10:00:00Z").await;
    assert_eq!(flood(&world, "flooder", 300..301).await[0]["approval"]["status"], "open");
    admin.get(&format!("approvals/{id}")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_ten_thousand_requests_are_open_and_the_oldest_is_kept() {
    let world = asking_teams().await;
    let admin = world.admin.with("x-mode", "test");
    let lifetime = json!({"userId": "victim", "event": "job.run"});
    let id = world.app.reserve(lifetime.clone()).await["deniedBy"][0]["approval"]["id"].as_str().unwrap().to_owned();
    // Open requests of other users, as another 9,999 calls would create them.
    let mut connection = world.redis.connect().await;
    let line = |place: usize| {
        format!(
            "open 1801389600000\nqg:{{default:test/main}}:account:user:u{place} once lifetime/20270101/99991231T235959\n\
             1 0 0 0\n{{\"userId\":\"u{place}\",\"keyId\":\"k\",\"event\":\"job.run\",\"metadata\":{{}}}}"
        )
    };
    let mut fill = redis::pipe();
    for place in 0..9_999 {
        let name = format!("apr_{place:024x}00_once");
        fill.cmd("HSET").arg("qg:{default:test/main}:approvals").arg(&name).arg(line(place)).ignore();
        fill.cmd("ZADD").arg("qg:{default:test/main}:approvals:open").arg(1_801_389_600_001_i64).arg(&name).ignore();
    }
    fill.query_async::<()>(&mut connection).await.unwrap();
    let denied = flood(&world, "flooder", 0..2).await;
    assert!(denied.iter().all(|denied| denied["tooManyApprovals"] == true && denied.get("approval").is_none()));
    assert_eq!(world.app.reserve(lifetime).await["deniedBy"][0]["approval"], json!({"id": id, "status": "open"}));
    let listed: usize = world.redis.run(&["ZCARD", "qg:{default:test/main}:approvals:open"]).await;
    assert_eq!(listed, 10_000);
    admin.post(&format!("approvals/{id}/approve"), json!({"amount": 1})).await.expect(200);
    assert_eq!(flood(&world, "flooder", 2..4).await.iter().filter(|it| it.get("approval").is_some()).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_rejection_and_an_approval_at_once_one_is_refused() {
    let world = asking_teams().await;
    let (node, _) = world.another_node().await;
    let admin = world.admin.with("x-mode", "test");
    let other = node.client(&world.admin.key).with("x-mode", "test");
    let mut won = [0, 0];
    for denied in flood(&world, "flooder", 0..60).await {
        let id = denied["approval"]["id"].as_str().unwrap().to_owned();
        let (approve, reject) = (format!("approvals/{id}/approve"), format!("approvals/{id}/reject"));
        let (approved, rejected) =
            tokio::join!(admin.post(&approve, json!({"amount": 1})), other.post(&reject, json!({})));
        match (approved.status, rejected.status) {
            (200, 409) => won[0] += 1,
            (409, 200) => {
                won[1] += 1;
                admin.post(&approve, json!({"amount": 1})).await.problem(409, "already_decided");
            }
            both => panic!("approve and reject answered {both:?}"),
        }
        let status = admin.get(&format!("approvals/{id}")).await.expect(200)["status"].clone();
        assert_eq!(status, if approved.status == 200 { "approved" } else { "rejected" });
    }
    assert_eq!(won[0] + won[1], 60);
    // The same without a race.
    let denied = flood(&world, "flooder", 60..61).await;
    let id = denied[0]["approval"]["id"].as_str().unwrap();
    admin.post(&format!("approvals/{id}/reject"), json!({})).await.expect(200);
    admin.post(&format!("approvals/{id}/approve"), json!({"amount": 1})).await.problem(409, "already_decided");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approving_the_request_of_an_earlier_window_leaves_the_present_one_open() {
    let world = asking(0).await;
    let admin = world.admin.with("x-mode", "test");
    let request =
        async || world.app.reserve(call(3)).await["deniedBy"][0]["approval"]["id"].as_str().unwrap().to_owned();
    let earlier = request().await;
    world.app.freeze("2027-02-01T10:00:00Z").await;
    let present = request().await;
    admin.post(&format!("approvals/{earlier}/approve"), json!({"amount": 1})).await.expect(200);
    assert_eq!(request().await, present, "the present window's request is known still");
    assert_eq!(open(&world).await.len(), 1);
}

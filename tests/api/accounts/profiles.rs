//! Display names and tags of users.

use serde_json::{Value, json};

use crate::support::{World, monthly, new_key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_a_name_and_tags_that_are_found_and_that_no_call_depends_on() {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(3)).await;
    world.app.subscribe("u", "p").await;
    let (_second, there) = world.another_node().await;
    let key = new_key(&world.admin, json!({"kind": "admin", "role": "support"})).await;
    let support = world.node.client(&key).with("x-mode", "test");
    let profile = json!({"name": "Ada Lovelace", "tags": ["vip", "Early Access"]});
    // The back end knows the names of its users.
    let put = world.app.once("p1").put("users/u", profile.clone()).await.expect(200);
    assert_eq!(put, json!({"userId": "u", "name": "Ada Lovelace", "tags": ["vip", "Early Access"]}));
    assert_eq!(world.app.once("p1").put("users/u", profile.clone()).await.expect(200), put);
    world.app.once("p1").put("users/u", json!({"name": "other"})).await.problem(409, "idempotency_key_reused");
    support.put("users/new", json!({"name": "Nobody yet"})).await.expect(200);
    let found = async |query: &str| {
        let listed = support.get(&format!("users?{query}")).await.expect(200);
        listed["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["userId"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for (text, users) in
        [("love", vec!["u"]), ("EARLY", vec!["u"]), ("yet", vec!["new"]), ("u", vec!["u"]), ("x", vec![])]
    {
        assert_eq!(found(&format!("contains={text}")).await, users, "{text}");
    }
    assert_eq!(found("search=").await, ["new", "u"]);
    let detail = support.get("users/u").await.expect(200);
    assert_eq!((&detail["name"], &detail["tags"]), (&profile["name"], &profile["tags"]));
    assert_eq!(support.get("users/new").await.expect(200)["name"], "Nobody yet");
    // Calls go on as before, and their records have no name.
    let id = there.reserved(json!({"userId": "u", "event": "image.a"})).await;
    there.commit(&id).await;
    assert!(!support.get("events").await.text.contains("Ada"));
    let account: String =
        world.redis.run::<Vec<String>>(&["HGETALL", "qg:{default:test/main}:account:user:u"]).await.join(" ");
    assert!(!account.contains("Ada"), "{account}");
    // Replaced as a whole, audited, and nothing is left of it.
    support.put("users/u", json!({"tags": ["gone"]})).await.expect(200);
    assert_eq!(support.get("users/u").await.expect(200).get("name"), None);
    support.put("users/u", json!({})).await.expect(200);
    support.put("users/u", json!({})).await.expect(200);
    support.put("users/new", json!({})).await.expect(200);
    assert_eq!(world.redis.run::<i64>(&["EXISTS", "qg:{default:test/main}:profiles"]).await, 0);
    let audit = support.get("audit?action=user.profile&target=user:u").await.expect(200);
    let changes: Vec<&Value> = audit["data"].as_array().unwrap().iter().map(|entry| &entry["after"]).collect();
    assert_eq!(changes, [&json!({}), &json!({"tags": ["gone"]}), &profile], "each change once");
    for (body, field) in [
        (json!({"name": ""}), "name"),
        (json!({"tags": ["a", "a"]}), "tags[1]"),
        (json!({"tags": "vip"}), "tags"),
        (json!({"email": "a@b"}), "email"),
    ] {
        assert_eq!(support.put("users/u", body.clone()).await.bad_field(), field, "{body}");
    }
}

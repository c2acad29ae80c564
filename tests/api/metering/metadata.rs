//! The limit on metadata, including metadata of keys and of settling calls.

use serde_json::{Map, Value, json};

use crate::support::{World, monthly, new_key};

fn keys(prefix: &str, count: usize) -> Value {
    Value::Object((0..count).map(|number| (format!("{prefix}{number}"), json!(number))).collect::<Map<_, _>>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_api_key_brings_counts_towards_the_bound_on_every_call() {
    let world = World::frozen().await;
    world.admin.plan("p", monthly(9)).await;
    world.app.subscribe("u", "p").await;
    let fixed = json!({"team": "red", "k0": "fixed"});
    let key = new_key(&world.admin, json!({"kind": "secret", "mode": "test", "metadata": fixed})).await;
    let app = world.node.client(&key);
    let id = app.reserved(json!({"userId": "u", "event": "image.a", "metadata": keys("k", 31)})).await;
    for (path, body) in [
        ("reserve", json!({"userId": "u", "event": "image.a"})),
        ("can-use", json!({"userId": "u", "event": "image.a"})),
        ("track", json!({"userId": "u", "event": "image.a"})),
        ("commit", json!({"reservationId": id})),
    ] {
        let mut body = body;
        body["metadata"] = keys("k", 32);
        assert_eq!(app.post(path, body.clone()).await.bad_field(), "metadata", "{path}");
        body["metadata"] = keys("k", 31);
        app.post(path, body).await.expect(200);
    }
    let items = |count| json!({"userId": "u", "items": [{"event": "image.a", "metadata": keys("k", count)}]});
    for path in ["reserve", "can-use"] {
        assert!(app.post(path, items(32)).await.bad_field().contains("metadata"), "{path}");
        app.post(path, items(31)).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_whose_draws_bring_more_metadata_is_read_by_every_node() {
    let world = World::frozen().await;
    let (_second, there) = world.another_node().await;
    world.admin.plan("p", monthly(9)).await;
    world.app.subscribe("u", "p").await;
    let id =
        world.app.reserved(json!({"userId": "u", "event": "image.a", "quantity": 3, "metadata": keys("a", 32)})).await;
    for (app, prefix) in [(&world.app, "b"), (&there, "c")] {
        let draw = json!({"reservationId": id, "quantity": 1, "final": false, "metadata": keys(prefix, 32)});
        app.post("commit", draw).await.expect(200);
    }
    world.app.commit(&id).await;
    assert_eq!(there.stands("u", "images").await, (3.0, 0.0));
}

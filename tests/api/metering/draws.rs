//! Draws of one reservation on two nodes that have cached different states of it.

use serde_json::json;

use crate::support::{World, monthly};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_draw_leaves_no_old_state_behind_on_its_node() {
    let world = World::frozen().await;
    let (_second, there) = world.another_node().await;
    world.admin.plan("p", monthly(20)).await;
    world.app.subscribe("u", "p").await;
    let id = world.app.reserved(json!({"userId": "u", "event": "image.a", "quantity": 10})).await;
    let draw = |quantity: u64| json!({"reservationId": id, "quantity": quantity, "final": false});
    world.app.once("one").post("commit", draw(2)).await.expect(200);
    there.once("two").post("commit", draw(3)).await.expect(200);
    assert_eq!(world.app.once("one").post("commit", draw(2)).await.expect(200)["replayed"], true);
    there.once("three").post("commit", draw(1)).await.expect(200);
    world.app.once("four").post("commit", draw(1)).await.expect(200);
    assert_eq!(world.app.stands("u", "images").await, (7.0, 3.0));
    there.commit(&id).await;
    assert_eq!(world.app.stands("u", "images").await, (10.0, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_of_a_key_that_was_used_before_is_not_taken_for_the_earlier_one() {
    let world = World::frozen().await;
    let (_second, there) = world.another_node().await;
    world.admin.plan("p", monthly(20)).await;
    world.app.subscribe("u", "p").await;
    let body = json!({"userId": "u", "event": "image.a", "quantity": 4});
    let first = world.app.once("k").reserved(body.clone()).await;
    there.release(&first).await;
    // As if the record had expired: the name, which is derived from the idempotency key, is free again.
    let name = &first[4..28];
    let gone: i64 = world.redis.run(&["DEL", &format!("qg:{{default:test/main}}:op:{name}")]).await;
    assert_eq!(gone, 1);
    world.app.freeze("2027-02-01T10:00:00Z").await;
    let second = there.once("k").reserved(body).await;
    assert_eq!((&second[4..28], second == first), (name, false));
    let draw = |id: &str| json!({"reservationId": id, "quantity": 1, "final": false});
    world.app.post("commit", draw(&first)).await.problem(410, "reservation_expired");
    world.app.post("commit", draw(&second)).await.expect(200);
    world.app.post("extend", json!({"reservationId": second, "quantity": 1})).await.expect(200);
    assert_eq!(world.app.stands("u", "images").await, (1.0, 4.0));
}

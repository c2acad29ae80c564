//! Metering calls.

mod agents;
mod batch;
mod concurrency;
mod draws;
mod extreme_amounts;
mod fit;
mod idempotency;
mod metadata;
mod observe;
mod repeated_writes;
mod rollover;
mod scopes;
mod settle;
mod stuck_reservations;
mod windows;

use serde_json::Value;

use crate::support::World;

/// The events that match, oldest first. They are read newest first, which includes those of the present millisecond.
async fn events(world: &World, query: &str) -> Vec<Value> {
    let admin = world.admin.with("x-mode", "test");
    let mut events = admin.get(&format!("events?{query}")).await.expect(200)["data"].as_array().unwrap().clone();
    events.reverse();
    events
}

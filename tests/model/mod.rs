//! The model, the histories that are played on it, and their comparison with the gateway.
//!
//! The model is plain Rust over maps and numbers and calls nothing of the product. It does not cover what has its own
//! tests: time zones other than UTC (property tests of `domain`), calls whose items belong to several teams, extending
//! the amount of a reservation with several items (which is refused), webhooks, the metadata of keys and the scope
//! `key`, custom limits that are a whole plan, deleting plans, reports and exports, 256 or more holds that expire at
//! once, storage limits, and clocks that step back. Of a repeated call, only the documented guarantees are compared
//! (decision, id, times, status), not the counters at the time of the first call.

pub mod admit;
pub mod alerts;
pub mod amounts;
pub mod apply;
pub mod call;
pub mod credits;
pub mod crowd;
pub mod fit;
pub mod limits;
pub mod order;
pub mod outside;
pub mod play;
pub mod rules;
pub mod settle;
pub mod setup;
pub mod stage;
pub mod state;
pub mod steps;
pub mod users;

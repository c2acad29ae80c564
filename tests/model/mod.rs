//! The model, what is played on it, and how it is compared.
//!
//! The model is plain Rust over maps and numbers; it calls nothing of the product. Not in it, since tests of their own
//! have them: time zones other than UTC (property tests of `domain`), calls of several items for several teams at once,
//! more amount for a reservation of several items (which is refused), webhooks, keys' own metadata and the scope `key`, custom limits that are a whole plan, deleting
//! plans, reports and exports, 256 and more holds that end at once, limits of what is stored, clocks that step back.
//! Of a repeated call it compares what the promise names (decision, id, times, status), not the counters of then.

pub mod admit;
pub mod alerts;
pub mod amounts;
pub mod apply;
pub mod call;
pub mod crowd;
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

//! The product over HTTP: real nodes, a real Redis, one binary.

// The layout of the futures that the service makes is deeper than the default of 128.
#![recursion_limit = "256"]

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/wire.rs"]
mod wire;

mod agents;
mod alerts;
mod answer_headers;
mod approvals;
mod apps;
mod bad_input;
mod batch;
mod budgets;
mod by_hand;
mod bytes;
mod cluster;
mod concurrency;
mod configuration;
mod cursors;
mod deleted_plans;
mod draws;
mod errors;
mod events;
mod examples;
mod explain;
mod extremes;
mod foretold;
mod fuzz;
mod grants;
mod guesses;
mod header_values;
mod headers;
mod history;
mod idempotency;
mod keys;
mod large;
mod ledger;
mod limits;
mod metadata;
mod million;
mod never_subscribed;
mod nodes;
mod openapi;
mod operators;
mod own_plans;
mod parts;
mod plan_changes;
mod policies;
mod profiles;
mod readers;
mod recipes;
mod replays;
mod reports;
mod rollups;
mod scopes;
mod secrets;
mod sessions;
mod settling;
mod slow;
mod time;
mod webhooks;
mod whatif;

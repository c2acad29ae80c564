//! The product over HTTP: real nodes, a real Redis, one binary.

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod approvals;
mod bad_input;
mod concurrency;
mod configuration;
mod errors;
mod fuzz;
mod headers;
mod idempotency;
mod keys;
mod million;
mod openapi;
mod operators;
mod plan_changes;
mod policies;
mod recipes;
mod sessions;
mod settling;
mod time;
mod webhooks;

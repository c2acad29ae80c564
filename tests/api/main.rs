//! The product over HTTP: real nodes, a real Redis, one binary.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod concurrency;
mod configuration;
mod errors;
mod fuzz;
mod headers;
mod idempotency;
mod keys;
mod openapi;
mod recipes;
mod settling;
mod time;

//! The product over HTTP: real nodes, a real Redis, one binary.

#[path = "../support/mod.rs"]
mod support;

mod concurrency;
mod openapi;
mod recipes;
mod refusals;
mod settling;
mod time;

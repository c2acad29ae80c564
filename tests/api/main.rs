//! The product over HTTP: real nodes, a real Redis, one binary.

#[path = "../support/mod.rs"]
mod support;

mod concurrency;
mod errors;
mod recipes;
mod refusals;
mod time;

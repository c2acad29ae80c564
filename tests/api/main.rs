//! The product over HTTP: real nodes and a real Redis, in one test binary.

// The layout of the futures that the service makes is deeper than the default of 128.
#![recursion_limit = "256"]

#[path = "../support/raw_http.rs"]
mod raw_http;
#[path = "../support/mod.rs"]
mod support;

mod access;
mod accounts;
mod configuration;
mod metering;
mod nodes;
mod reporting;
mod simulation;
mod webhooks;
mod wire;

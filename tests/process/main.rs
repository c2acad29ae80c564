//! The released binary from an operator's point of view.

// The layout of the futures that the service makes is deeper than the default of 128.
#![recursion_limit = "256"]

#[path = "../support/raw_http.rs"]
mod raw_http;
#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod alike;
mod apply;
mod commands;
mod configuration_file;
mod damaged;
mod ends;
mod export;
// Some of it is used only by tests/faults.
#[allow(dead_code)]
mod gateway;
mod guides;
mod logs;
mod memory;
mod migrate;
mod operating;
mod operators;
mod packaging;
mod permissions;
mod refused_keys;
mod reports;
mod top;
mod torn;
mod verify;
mod whatif;
mod whatif_history;

//! Table-driven tests of the scripts, on a real Redis and a sandbox with a frozen clock: one status per row.

// The layout of the futures that the service makes is deeper than the default of 128.
#![recursion_limit = "256"]

#[path = "../support/mod.rs"]
mod support;

mod bundles;
mod cost;
mod credits;
mod forgotten;
mod holds;
mod kept;
mod ledger;
mod near;
mod own_quotas;
mod owners;
mod rollover;
mod rollup;
mod statuses;
mod table;
mod users;
mod windows;

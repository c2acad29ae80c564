//! Tables straight at the scripts: a real Redis, a sandbox with a frozen clock, one status per line.

#[path = "../support/mod.rs"]
mod support;

mod holds;
mod ledger;
mod owners;
mod statuses;
mod table;
mod users;
mod windows;

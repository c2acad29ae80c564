//! The real binary as an operator meets it, and the committed trace excerpt.

#![recursion_limit = "256"]

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod apply;
mod export;
mod gateway;
mod guesses;
mod operating;
mod replay;
mod reports;
mod torn;
mod verify;
mod whatif;
mod whatif_history;
mod whatif_million;

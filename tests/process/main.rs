//! The real binary as an operator meets it, and the committed trace excerpt.

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod apply;
mod export;
mod gateway;
mod operating;
mod replay;
mod reports;
mod verify;
mod whatif;
mod whatif_history;
mod whatif_million;

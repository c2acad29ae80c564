//! The real binary as an operator meets it, and the committed trace excerpt.

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod apply;
mod gateway;
mod guesses;
mod operating;
mod replay;
mod torn;
mod verify;

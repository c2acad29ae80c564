//! Reserve, can-use, commit, release, extend, refund, track and usage.

pub mod admit;
pub mod call;
pub mod can_use;
pub mod clocks;
pub mod decision;
pub mod estimates;
pub mod extend;
pub mod facts;
pub mod known_estimates;
pub mod repeat;
pub mod reserve;
pub mod settle;
pub mod track;
pub mod usage;

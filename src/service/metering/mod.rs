//! Reserve, can-use, commit, release, extend, refund, track and usage.

pub mod clocks;
pub mod decision;
pub mod extend;
pub mod facts;
pub mod reserve;
pub mod settle;
pub mod track;
pub mod usage;

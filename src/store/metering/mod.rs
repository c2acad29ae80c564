//! Reserve, commit, release, extend, refund, track and usage: arguments and replies of their functions.

pub mod account;
pub mod admission;
pub mod extend;
pub mod operation;
pub mod outcome;
pub(crate) mod proposal;
pub mod record;
pub mod request_snapshot;
pub mod reserve;
pub mod settle;
pub mod track;
pub mod usage;

//! Routes of metering: reserve, can-use, commit, release, extend, track, batch, usage.

pub(crate) mod batch;
pub(crate) mod reserve;
pub(crate) mod settle;
pub(crate) mod usage;

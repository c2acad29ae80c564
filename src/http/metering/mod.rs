//! Routes of metering: reserve, can-use, commit, release, extend, track, batch, usage.

pub(crate) mod batch;
pub(crate) mod call;
pub(crate) mod can_use;
pub(crate) mod commit;
pub(crate) mod extend;
pub(crate) mod release;
pub(crate) mod reserve;
pub(crate) mod settlement;
pub(crate) mod track;
pub(crate) mod usage;

//! Routes of apps, keys, sessions and the audit log.

pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod keys;
pub(crate) mod sessions;

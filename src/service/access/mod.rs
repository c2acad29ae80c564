//! Apps, keys, sessions and the audit log.

pub mod apps;
pub mod audit;
pub mod key_ring;
pub mod keys;
pub mod sessions;

//! Apps, keys, sessions and the audit log.

pub mod audit;
pub mod register;
pub mod sessions;

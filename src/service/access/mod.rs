//! Apps, keys, sessions and the audit log.

pub mod apps;
pub mod audit;
pub mod authenticate;
pub mod key_record;
pub mod key_ring;
pub mod keys;
pub mod known_apps;
pub mod sessions;

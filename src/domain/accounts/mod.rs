//! Subscriptions, custom limits, names and tags of users.

pub mod custom_limits;
pub mod profile;
pub mod subscription;

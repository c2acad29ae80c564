//! Subscriptions and custom limits of users.

pub mod custom_limits;
pub mod subscription;

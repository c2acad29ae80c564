//! Webhook endpoints, messages and deliveries.

pub mod deliveries;
pub mod endpoints;
pub mod outbox;

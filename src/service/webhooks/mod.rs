//! Webhook endpoints, messages and deliveries.

pub mod deliveries;
pub mod endpoints;
pub(in crate::service) mod new_secrets;
pub mod outbox;

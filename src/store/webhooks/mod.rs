//! The outbox and deliveries.

pub mod deliveries;
pub mod outbox;

//! Webhooks, and the addresses that they may be sent to.

pub mod address;
pub mod webhook;

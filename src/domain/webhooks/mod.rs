//! Webhooks, and the addresses to which they may be sent.

pub mod address;
pub mod webhook;

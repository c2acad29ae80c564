//! Use cases. They combine the rules (`domain`) with the store and do not depend on HTTP.

pub mod access;
pub mod accounts;
pub mod configuration;
pub mod degraded;
pub mod error;
pub mod gateway;
pub mod metering;
pub mod nodes;
pub mod reporting;
pub mod simulation;
pub mod tenant;
pub mod webhooks;

//! The rules of the product, without I/O and without a clock. Times are passed in as Redis milliseconds.

pub mod access;
pub mod accounts;
pub mod configuration;
pub mod metering;
pub mod reporting;
pub mod simulation;
pub mod time;
pub mod values;
pub mod webhooks;

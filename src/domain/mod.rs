//! The rules: pure, without I/O and without a clock. Times come in as Redis milliseconds.

pub mod accounts;
pub mod configuration;
pub mod metering;
pub mod reporting;
pub mod simulation;
pub mod time;
pub mod values;
pub mod webhooks;

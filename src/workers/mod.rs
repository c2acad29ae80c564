//! Background work of a node: webhook deliveries, rollups of reports, and catching up after an outage of Redis.

pub mod catch_up;
pub mod deliveries;
pub mod rollup;

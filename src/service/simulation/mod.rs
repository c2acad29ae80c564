//! Replays recorded calls with another configuration.

pub mod comparison;
pub mod own_quotas;
pub mod recent;
pub mod relevant;
pub mod report;
pub mod rules;
pub mod simulator;
pub mod tally;
pub mod timeline;
pub mod users;
pub mod weight;
pub mod whatif;

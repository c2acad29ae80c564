//! Replays recorded calls with another configuration.

pub mod past;
pub mod people;
pub mod recent;
pub mod rehearsal;
pub mod relevant;
pub mod report;
pub mod rules;
pub mod tally;
pub mod weight;
pub mod whatif;
pub mod whole;

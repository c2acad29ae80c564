//! Counters in memory, for replaying recorded calls.

pub mod in_memory_counters;

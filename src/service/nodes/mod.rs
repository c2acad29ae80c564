//! Nodes, their readiness, and leases on background work.

pub mod leases;
pub mod readiness;
pub mod registry;

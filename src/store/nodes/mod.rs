//! Nodes, and leases on background work.

pub mod leases;
pub mod registry;

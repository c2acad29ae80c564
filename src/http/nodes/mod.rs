//! Routes for monitoring: health, readiness, metrics, the list of nodes.

pub(crate) mod health;
pub(crate) mod registry;

//! The connection to Redis: servers, function library, replicas, identity, memory, layout.

pub(crate) mod bundles;
pub mod claim;
pub mod connection;
pub(crate) mod exclusive;
pub mod headroom;
pub mod identity;
pub mod library;
pub mod migrate;
pub mod pace;
pub(crate) mod sentinel_url;
pub mod server;
pub(crate) mod waiting;

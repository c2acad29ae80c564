//! Middleware of all routes: limits per client, cross-origin reads, request IDs, invalid keys.

pub(crate) mod cors;
pub mod limits;
pub(crate) mod readers;
pub(crate) mod refused;
pub(crate) mod replayed;
pub(crate) mod request_id;
pub(crate) mod unread;
pub(crate) mod watchers;

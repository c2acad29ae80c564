//! Routes of webhook endpoints and alerts.

pub(crate) mod alerts;
pub(crate) mod endpoints;

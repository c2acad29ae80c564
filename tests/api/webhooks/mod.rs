//! Webhooks and alerts.

mod alerts;
mod deliveries;

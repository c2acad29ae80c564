//! Events, explanations, history, reports, and the verification of counters.

pub mod byte_bounds;
pub mod estimates;
pub mod events;
pub mod explain;
pub mod explain_draft;
pub mod explain_reservation;
pub mod history;
pub mod near;
pub mod outlook;
pub mod rebuild;
pub mod reports;
pub mod retention;
pub mod rollup;
pub mod verify;

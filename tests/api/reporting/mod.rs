//! The ledger, events, explanations, history and reports.

mod estimates;
mod events;
mod explain;
mod history;
mod ledger;
mod limits;
mod reports;
mod rollups;
mod stream_bounds;

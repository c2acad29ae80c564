//! Routes of events, explanations, history and reports.

pub(crate) mod estimates;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod history;
pub(crate) mod reports;

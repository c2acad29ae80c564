//! The ledger, rows of rollups, counters near their limits, and surveys for `verify`.

pub mod ledger;
mod ledger_entry;
mod ledger_items;
pub mod near;
pub mod repair;
pub mod rollup;
pub(crate) mod rollup_text;
pub mod stream;
pub mod survey;

//! The ledger, its verification, rollups and reports.

pub mod entry_id;
pub mod ledger;
pub mod proof;
pub mod report;
pub mod rollup;
pub mod sketch;

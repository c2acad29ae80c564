//! The ledger, its verification, rollups and reports.

pub mod ledger;
pub mod proof;
pub mod report;
pub mod rollup;

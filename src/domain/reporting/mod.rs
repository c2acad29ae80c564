//! The ledger, its proof, and what reports make of it.

pub mod ledger;
pub mod proof;
pub mod report;
pub mod rollup;

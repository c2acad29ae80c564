//! Rollups: what the entries of a day come to, per row of dimensions. Pure: the same entries in the same order under
//! the same configuration make the same rows.

mod fold;
mod metrics;
mod row;
mod sheet;

pub use fold::{Fields, cost, fold};
pub use metrics::{COST_DECIMALS, Count, DECIMALS, GroupSums, Metrics, number};
pub use row::{Cube, Labels, OTHER, RowName, Word};
pub use sheet::Sheet;

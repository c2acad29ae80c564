//! Rollups: sums of a day's entries in rows by event, key, user and labels. Without I/O: the same entries in the same
//! order with the same configuration give the same rows.

mod day_rows;
mod fold;
mod group_map;
mod learn;
mod metrics;
mod row;
mod row_sums;

pub use day_rows::DayRows;
pub use fold::{Fields, Folding, cost};
pub use group_map::GroupMap;
pub use learn::{learn, learned_row};
pub use metrics::{COST_DECIMALS, Count, DECIMALS, FigureSums, GroupSums, Metrics, number};
pub use row::{Labels, OTHER, RowName, RowSet, RowValue};
pub use row_sums::RowSums;

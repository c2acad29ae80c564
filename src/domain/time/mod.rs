//! Windows, periods and days.

pub mod day;
pub mod period;
pub mod window;

//! The rules: pure, without I/O and without a clock. Times come in as Redis milliseconds.

pub mod admission;
pub mod amount;
pub mod counter;
pub mod custom_limits;
pub mod difference;
pub mod document;
pub mod field_error;
pub mod glob;
pub mod ids;
pub mod limit_group;
pub mod match_rule;
pub mod measure;
pub mod metadata;
pub mod number;
pub mod period;
pub mod plan;
pub mod plan_body;
pub mod reason;
pub mod reservation;
pub mod subscription;
pub mod window;

//! Small validated types that all other modules use: amounts, IDs, metadata, numbers, patterns, field errors.

pub mod amount;
pub mod difference;
pub mod digits;
pub mod document;
pub mod field_error;
pub mod glob;
pub mod ids;
pub mod metadata;
pub mod number;

//! Configuration documents with their stamps, test clocks and sandboxes.

pub mod configure;
pub mod sandbox;
pub mod test_clock;

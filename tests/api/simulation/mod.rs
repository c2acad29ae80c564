//! What-if.

mod whatif;

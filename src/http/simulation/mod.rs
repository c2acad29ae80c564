//! Routes of what-if.

pub(crate) mod whatif;

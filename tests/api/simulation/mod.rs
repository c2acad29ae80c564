//! What-if.

mod own_quotas;
mod whatif;

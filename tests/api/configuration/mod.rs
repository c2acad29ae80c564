//! Plans, policies and whole configurations.

pub mod budgets;
mod deleted_plans;
mod documents;
mod policies;
mod recipes;
mod stamps;

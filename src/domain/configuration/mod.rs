//! Plans and policies: their limit groups, match rules, measures and scopes.

pub mod balance_check;
pub mod estimate;
pub mod group_check;
pub mod limit_group;
pub mod match_rule;
pub mod measure;
pub mod plan;
pub mod plan_body;
pub mod policy;
pub mod policy_body;
pub mod scope;

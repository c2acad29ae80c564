//! Users, subscriptions, grants and approvals.

mod approvals;
pub mod credits;
mod custom_limits;
mod default_plan;
mod grants;
mod limits;
mod many_users;
mod operators;
mod overflow;
mod plan_changes;
mod profiles;
mod subscription_preview;

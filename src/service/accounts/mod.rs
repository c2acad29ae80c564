//! Users, their subscriptions, grants and approval requests.

pub mod approvals;
pub mod credits;
pub mod grants;
pub mod limits;
pub mod profiles;
pub mod subscription_preview;
pub mod subscriptions;
pub mod users;

//! Users, their subscriptions, grants and approval requests.

pub mod approvals;
pub mod change_user;
pub mod credits;
pub mod grants;
pub mod limits;
pub mod profiles;
pub mod users;

//! Routes of users, subscriptions, grants, approvals and counters.

pub(crate) mod approvals;
pub(crate) mod counters;
pub(crate) mod credits;
pub(crate) mod grants;
pub(crate) mod limits;
pub(crate) mod subscriptions;
pub(crate) mod users;

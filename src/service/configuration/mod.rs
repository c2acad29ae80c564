//! Plans, policies, settings and whole configurations: drafts, validation, versions, and the node's cache.

pub mod app_config;
pub mod apply;
pub mod cache;
pub(crate) mod clashes;
pub mod dependents;
pub mod draft;
pub mod load;
pub mod plans;
pub mod policies;
pub mod preview;
pub(crate) mod report_fields;
pub mod settings;
pub mod test_clock;
pub mod versions;

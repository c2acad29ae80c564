//! Routes of configuration: plans, policies, settings, whole documents, test clocks.

pub(crate) mod apply;
pub(crate) mod plans;
pub(crate) mod policies;
pub(crate) mod settings;
pub(crate) mod test_clock;

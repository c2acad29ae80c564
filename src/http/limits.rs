//! What one client may take of a node, apart from sizes.

use std::time::Duration;

/// Bounds that are the same for every call.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A body has to be there this long after its head.
    pub body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_timeout: Duration::from_secs(30) }
    }
}

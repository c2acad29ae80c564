//! What one client may take of a node, apart from sizes.

use std::time::Duration;

/// Bounds that are the same for every call.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A body has to be there this long after its head.
    pub body_timeout: Duration,
    /// So many refusals of keys may wait to be told; those beyond are 429 at once.
    pub waiting_refusals: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_timeout: Duration::from_secs(30), waiting_refusals: 256 }
    }
}

//! What one client may take of a node, apart from sizes.

use std::time::Duration;

/// Bounds that are the same for every call.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A connection stays open for so long with no call on it, and its first head has to be there within it. Longer than
    /// clients and proxies keep theirs (undici 4 s, httpx 5 s, nginx 60 s): they close it, and none of them sends a call
    /// into a connection that this side is closing.
    pub idle: Duration,
    /// Something goes out on a stream of events at least so often: proxies keep it open, and a node finds out which of
    /// its streams nobody reads any more, and gives their places to others.
    pub silence: Duration,
    /// A body has to be there this long after its head.
    pub body_timeout: Duration,
    /// Connections of a node, of whoever comes: each may take up to 160 KiB for a head or a body that it has begun.
    /// Further ones wait until others end.
    pub connections: usize,
    /// Reads that may be under way per key, of those kinds that are bounded; beyond [`super::readers::Reader::bounds`] it
    /// has no effect.
    pub reads_of_key: usize,
    /// So many refusals of keys may wait to be told; those beyond are 429 at once.
    pub waiting_refusals: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(75),
            silence: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            connections: 12_000,
            reads_of_key: usize::MAX,
            waiting_refusals: 256,
        }
    }
}

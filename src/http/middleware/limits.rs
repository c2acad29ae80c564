//! Limits on what one client may use of a node, apart from body sizes.

use std::time::Duration;

/// Limits that are the same for every call.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a connection without a call stays open, and how long the head of its first call may take. It is longer
    /// than the idle time of common clients and proxies (undici 4 s, httpx 5 s, nginx 60 s), so they close the
    /// connection first, and none of them sends a call into a connection that this side is closing.
    pub idle: Duration,
    /// A stream of events sends something at least this often. Proxies then keep it open, and the node detects streams
    /// without a reader and frees their places.
    pub silence: Duration,
    /// The body must arrive this long after the head.
    pub body_timeout: Duration,
    /// Connections per node, regardless of the client. Each may use up to 160 KiB for an unfinished head or body.
    /// Further connections wait until others end.
    pub connections: usize,
    /// Concurrent reads per key, for kinds of reads that are limited. A value above [`super::readers::Reader::bounds`]
    /// has no effect.
    pub reads_of_key: usize,
    /// How many refusals of invalid keys may wait to be answered; further ones get a 429 at once.
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

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
    /// Concurrent reads per key, for kinds of reads that are limited. A value above [`Reader::bounds`]
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

/// A kind of read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    /// A page of a list, or one user in detail: about ten to a few hundred small reads.
    Page,
    /// Entries of a log, or rows of reports: up to a few hundred pages.
    Scan,
    /// A draft replayed against recorded calls.
    Whatif,
    /// A stream of one user's counters.
    UsageStream,
    /// A stream of the events of an app.
    EventStream,
    /// Up to a hundred metering operations in one request. It runs on the threads of metering calls.
    Batch,
}

/// How many reads of a kind may run or wait; further ones get a 429.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub per_key: usize,
    pub per_node: usize,
}

impl Reader {
    /// The same figures as in docs/reference/configuration.md.
    pub const fn bounds(self) -> Bounds {
        match self {
            Self::Page => Bounds { per_key: 32, per_node: 128 },
            Self::Scan => Bounds { per_key: 8, per_node: 32 },
            Self::Whatif => Bounds { per_key: 4, per_node: 10 },
            Self::UsageStream => Bounds { per_key: 1_000, per_node: 2_000 },
            Self::EventStream => Bounds { per_key: 16, per_node: 64 },
            Self::Batch => Bounds { per_key: 16, per_node: 64 },
        }
    }

    /// Seconds that a client should wait before it retries.
    pub const fn retry_after_s(self) -> u64 {
        match self {
            Self::Page | Self::Scan | Self::Batch => 1,
            Self::Whatif | Self::UsageStream | Self::EventStream => 5,
        }
    }

    /// The code of the 429.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Page | Self::Scan => "too_many_reads",
            Self::Whatif => "too_many_whatifs",
            Self::UsageStream | Self::EventStream => "too_many_streams",
            Self::Batch => "too_many_batches",
        }
    }

    /// The title of the 429.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Batch => "Too many concurrent batches",
            Self::Page | Self::Scan | Self::Whatif | Self::UsageStream | Self::EventStream => {
                "Too many concurrent reads"
            }
        }
    }

    /// The name of what exceeds the limit.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Batch => "batches",
            Self::Page | Self::Scan | Self::Whatif | Self::UsageStream | Self::EventStream => "reads of this kind",
        }
    }
}

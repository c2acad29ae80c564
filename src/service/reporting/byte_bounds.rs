//! Limits in bytes for the streams that grow with calls. Scripts limit the number of entries; nodes measure the size
//! from time to time in the background and drop the oldest entries of a stream that is too large.

use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::keys::{self, Bucket};
use crate::store::reporting::stream::Stream;

/// How many of the oldest entries are sampled to estimate their size.
const SAMPLED: usize = 64;
/// After trimming, a stream may grow by this fraction of its limit: a twentieth.
const ROOM: u64 = 20;
/// Entries that reports have not counted yet are only dropped if the others alone exceed this many quarters of the
/// limit.
const MOST_QUARTERS: u64 = 5;
/// Rounds of measuring and trimming.
const ROUNDS: usize = 32;

/// The memory that the streams of one bucket may use in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteBounds {
    pub ledger: u64,
}

impl Default for ByteBounds {
    fn default() -> Self {
        Self { ledger: 512 * 1024 * 1024 }
    }
}

impl ByteBounds {
    pub fn of(self, stream: Stream) -> u64 {
        match stream {
            Stream::Ledger => self.ledger,
            Stream::Denials => self.others(),
        }
    }

    /// For the denials, the outbox and each audit log.
    pub fn others(self) -> u64 {
        self.ledger / 8
    }
}

/// The present size of a stream, and what was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounded {
    pub bytes: u64,
    pub dropped: u64,
    /// How many of them had not been read yet.
    pub unread: u64,
}

impl Gateway {
    /// Applies the limits to a bucket's ledger and denials.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn bound_entries(
        &self,
        tenant: &Tenant,
        bucket: &Bucket,
        stream: Stream,
        bounds: ByteBounds,
    ) -> Result<Bounded, ServiceError> {
        let unread = self.rollup_lag(bucket, stream).await?;
        let bounded = self.bound_stream(&bucket.stream(stream), bounds.of(stream), unread).await?;
        if bounded.unread > 0 {
            metrics::counter!("quotagate_dropped_entries_total", "stream" => stream.as_str()).increment(bounded.unread);
            tracing::error!(
                app = %tenant.app, mode = %tenant.mode, stream = stream.as_str(), entries = bounded.unread,
                "entries were dropped before reports counted them: the stream exceeded its bound in bytes"
            );
        }
        Ok(bounded)
    }

    /// Applies the limits to a bucket's outbox and audit log.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn bound_others(&self, tenant: &Tenant, bucket: &Bucket, bounds: ByteBounds) -> Result<(), ServiceError> {
        let unread = self.store.outbox_lag(bucket).await?;
        let outbox = self.bound_stream(&bucket.outbox(), bounds.others(), unread).await?;
        if outbox.unread > 0 {
            metrics::counter!("quotagate_dropped_entries_total", "stream" => "outbox").increment(outbox.unread);
            tracing::error!(
                app = %tenant.app, mode = %tenant.mode, entries = outbox.unread,
                "entries were dropped before webhooks received them: the outbox exceeded its bound in bytes"
            );
        }
        self.bound_stream(&bucket.audit(), bounds.others(), 0).await.map(|_| ())
    }

    /// Applies the limits to the audit logs of an app's configuration and keys.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn bound_app(&self, tenant: &Tenant, bounds: ByteBounds) -> Result<(), ServiceError> {
        for log in [keys::configuration_audit(&tenant.app), keys::register_audit(&tenant.app)] {
            self.bound_stream(&log, bounds.others(), 0).await?;
        }
        Ok(())
    }

    /// Drops the oldest entries of a stream above `most` bytes. The newest `unread` entries are kept unless they alone
    /// exceed it by far.
    async fn bound_stream(&self, key: &str, most: u64, unread: u64) -> Result<Bounded, ServiceError> {
        let mut bounded = Bounded { bytes: self.store.memory_usage(key).await?, ..Bounded::default() };
        for _ in 0..ROUNDS {
            if bounded.bytes <= most {
                break;
            }
            let (length, sampled) = self.store.oldest_entries(key, SAMPLED).await?;
            let excess = bounded.bytes - most + most / ROOM;
            // Redis' overhead makes an entry larger than its text, so this drops no more than necessary.
            let count = excess.div_ceil(sampled.max(1) * 2).clamp(1, length.div_ceil(4));
            let is_far_beyond = bounded.bytes > most / 4 * MOST_QUARTERS;
            let floor = if is_far_beyond { 0 } else { unread };
            let keep = (length - count.min(length)).max(floor);
            if keep >= length {
                break;
            }
            let dropped = self.store.trim_to(key, keep).await?;
            if dropped == 0 {
                break;
            }
            bounded.dropped += dropped;
            bounded.unread += unread.min(length).saturating_sub(length - dropped);
            bounded.bytes = self.store.memory_usage(key).await?;
        }
        Ok(bounded)
    }
}

//! A node's estimate of the time that scripts will see. Scripts check it and return the correct time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use quick_cache::sync::Cache;

use crate::domain::time::window::TimeMs;
use crate::store::keys::Bucket;

/// A sandbox whose time differs from real time by more than this has a frozen clock.
const FROZEN_BEYOND_MS: TimeMs = 2_000;

/// The last known Redis time, advanced by this machine's monotonic clock, and the frozen clocks of sandboxes.
pub struct Clocks {
    origin: Instant,
    offset_ms: AtomicI64,
    frozen: Cache<Bucket, TimeMs>,
}

impl Default for Clocks {
    fn default() -> Self {
        let clocks = Self { origin: Instant::now(), offset_ms: AtomicI64::new(0), frozen: Cache::new(10_000) };
        // Until Redis has answered once, this machine's wall clock is the best estimate.
        clocks.observe_real_time(chrono::Utc::now().timestamp_millis());
        clocks
    }
}

impl Clocks {
    fn elapsed_ms(&self) -> TimeMs {
        TimeMs::try_from(self.origin.elapsed().as_millis()).unwrap_or(TimeMs::MAX / 2)
    }

    fn real_ms(&self) -> TimeMs {
        self.offset_ms.load(Ordering::Relaxed) + self.elapsed_ms()
    }

    fn observe_real_time(&self, now: TimeMs) {
        self.offset_ms.store(now - self.elapsed_ms(), Ordering::Relaxed);
    }

    pub fn estimate(&self, bucket: &Bucket) -> TimeMs {
        let frozen = if bucket.is_sandbox() { self.frozen.get(bucket) } else { None };
        frozen.unwrap_or_else(|| self.real_ms())
    }

    /// Records the time that a script of this bucket returned.
    pub fn observe_time(&self, bucket: &Bucket, now: TimeMs) {
        if !bucket.is_sandbox() {
            self.observe_real_time(now);
        } else if (now - self.real_ms()).abs() > FROZEN_BEYOND_MS {
            self.frozen.insert(bucket.clone(), now);
        } else {
            self.frozen.remove(bucket);
        }
    }
}

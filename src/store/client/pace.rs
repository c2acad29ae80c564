//! Pauses between the pages of a long scan, so that other work on Redis and on the node's threads goes first.

use std::time::{Duration, Instant};

/// A scan pauses this many times as long as its last page took.
const SHARE: u32 = 2;
/// The longest pause, so that a slow Redis does not stop the scan.
const LONGEST_REST: Duration = Duration::from_millis(50);

/// The pace of one scan.
#[derive(Debug)]
pub struct Pace {
    /// When the present page began.
    began: Instant,
    pages: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { began: Instant::now(), pages: 0 }
    }
}

impl Pace {
    /// Must be called before each page; returns at once for the first page.
    pub async fn rest(&mut self) {
        if self.pages > 0 {
            tokio::time::sleep((self.began.elapsed() * SHARE).min(LONGEST_REST)).await;
        }
        self.pages += 1;
        self.began = Instant::now();
    }
}

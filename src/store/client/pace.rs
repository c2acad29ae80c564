//! Room between the pages of a long scan, so that other work on Redis and on the node's threads goes first.

use std::time::{Duration, Instant};

/// A scan rests this many times as long as its last page took.
const SHARE: u32 = 2;
/// It never rests longer than this, so that a slow Redis does not stop it.
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
    /// Called before each page; the first page has nothing to wait for.
    pub async fn rest(&mut self) {
        if self.pages > 0 {
            tokio::time::sleep((self.began.elapsed() * SHARE).min(LONGEST_REST)).await;
        }
        self.pages += 1;
        self.began = Instant::now();
    }
}

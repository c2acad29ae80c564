//! Tests that start a cluster, a Sentinel or a browser share a limited number of slots, also between test processes,
//! so that the machine is not overloaded.

use std::cell::RefCell;
use std::fs::File;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::run::lock_file;

thread_local! {
    /// The slot of the test on this thread: a test that starts two clusters needs one slot, and does not wait for a
    /// second one.
    static OWN: RefCell<Weak<File>> = const { RefCell::new(Weak::new()) };
}

/// The permission to run something heavy. It is returned when the last clone is dropped, or when the process ends.
#[derive(Clone)]
pub struct Slot {
    _lock: Arc<File>,
}

impl Slot {
    /// Waits for a free slot without a timeout: the tests that have one fail by themselves when they hang.
    pub async fn take() -> Self {
        if let Some(lock) = OWN.with_borrow(Weak::upgrade) {
            return Self { _lock: lock };
        }
        loop {
            for number in 0..count() {
                let file = lock_file(&format!("slot-{number}"));
                if file.try_lock().is_ok() {
                    let lock = Arc::new(file);
                    OWN.set(Arc::downgrade(&lock));
                    return Self { _lock: lock };
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One slot per core, but at least two, since tests also wait for their servers.
fn count() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2))
}

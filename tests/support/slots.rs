//! Tests that start a cluster, a Sentinel or a browser share a few slots, also with tests of other processes. So no more
//! of them run at a time than the machine can serve.

use std::cell::RefCell;
use std::fs::File;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::run::lock_file;

thread_local! {
    /// The slot of the test on this thread: a test that starts two clusters needs one slot, and waits for no second one.
    static OWN: RefCell<Weak<File>> = const { RefCell::new(Weak::new()) };
}

/// The right to run something heavy. The last clone that is dropped gives it back, and so does the end of the process.
#[derive(Clone)]
pub struct Slot {
    _lock: Arc<File>,
}

impl Slot {
    /// Waits for a free slot, however long: who has one fails by itself if it waits in vain.
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

/// One for each core; two at least, since tests wait for their servers too.
fn count() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2))
}

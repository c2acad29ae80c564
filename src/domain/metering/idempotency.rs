//! Clients' idempotency keys, and whether a call was a repetition.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::domain::values::ids::IdempotencyKey;

/// A client's idempotency key with the fingerprint of its call.
#[derive(Clone, Debug)]
pub struct Idempotency {
    pub key: IdempotencyKey,
    /// The call and its canonical body.
    pub request: String,
    pub replayed: Replayed,
}

/// Set when a call turns out to be a repetition.
#[derive(Clone, Debug, Default)]
pub struct Replayed(Arc<AtomicBool>);

impl Replayed {
    /// Records that the answer is the first one.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

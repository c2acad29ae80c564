//! Metering calls.

mod agents;
mod batch;
mod concurrency;
mod draws;
mod extreme_amounts;
mod fit;
mod idempotency;
mod metadata;
mod observe;
mod repeated_writes;
mod rollover;
mod scopes;
mod settle;
mod stuck_reservations;
mod windows;

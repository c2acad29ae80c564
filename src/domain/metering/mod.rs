//! The evaluation of calls, and the stored request of a reservation.

pub mod admission;
pub mod counter;
pub mod explain;
pub mod fit;
pub mod growth;
pub mod idempotency;
pub mod reason;
pub mod reservation;
pub mod rollover;

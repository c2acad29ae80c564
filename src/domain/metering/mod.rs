//! What a call asks for, what decides about it, and what a reservation remembers.

pub mod admission;
pub mod counter;
pub mod explain;
pub mod reason;
pub mod reservation;

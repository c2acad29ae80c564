//! Faults under traffic. Callers use idempotency keys and repeat each call until it is answered, so in the end every
//! counter in Redis must match their answers exactly. Each fault has a short run in the normal test suite and a long
//! one in `make chaos`.

// The layout of the futures that the service makes is deeper than the default of 128.
#![recursion_limit = "256"]

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code)]
#[path = "../process/gateway.rs"]
mod gateway;

mod book;
mod outside;
mod preload;
mod proxy;
mod stage;
mod traffic;

mod batches;
mod checked;
mod clocks;
mod cluster;
mod connection;
mod degraded;
mod degraded_in_flight;
mod degraded_replicas;
mod degraded_traffic;
mod disk;
mod embedded;
mod expiries;
mod fleet;
mod floods;
mod full;
mod gateways;
mod identity;
mod logins;
mod memory;
mod power;
mod redis_dies;
mod redis_hangs;
mod revoked;
mod scripts;
mod sentinel;
mod starting;
mod states;
mod upgrade;
mod waiting;

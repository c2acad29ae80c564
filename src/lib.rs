//! quotagate: a self-hosted quota gateway for applications that resell AI capacity.
// Futures are deeply nested: from a task through service and store into the Redis client.
#![recursion_limit = "256"]

pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod infra;
pub mod service;
pub mod startup;
pub mod store;
pub mod workers;

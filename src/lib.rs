//! quotagate: a self-hosted quota gateway for applications that resell AI capacity.
// Futures nest deeply: from a task through the service and the store into the client of Redis.
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

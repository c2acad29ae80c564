//! quotagate: a self-hosted quota gateway for applications that resell AI capacity.
// Futures nest deeply: from a task through the service and the store into the client of Redis.
#![recursion_limit = "256"]

pub mod apply;
pub mod catch_up;
pub mod cli;
pub mod config;
pub mod config_file;
pub mod deliver;
pub mod direct;
pub mod domain;
pub mod embedded_redis;
pub mod export;
pub mod http;
pub mod http_client;
pub mod inspect;
pub mod journal;
pub mod migrate;
pub mod print;
pub mod rebuild;
pub mod replay;
pub mod roll_up;
pub mod service;
pub mod startup;
pub mod store;
pub mod supervise;
pub mod telemetry;
pub mod verify;
pub mod whatif;

//! quotagate: a self-hosted quota gateway for applications that resell AI capacity.

pub mod config;
pub mod domain;
pub mod embedded_redis;
pub mod http;
pub mod inspect;
pub mod replay;
pub mod service;
pub mod startup;
pub mod store;
pub mod telemetry;

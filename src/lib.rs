//! quotagate: a self-hosted quota gateway for applications that resell AI capacity.

pub mod apply;
pub mod config;
pub mod config_file;
pub mod domain;
pub mod embedded_redis;
pub mod http;
pub mod http_client;
pub mod inspect;
pub mod replay;
pub mod service;
pub mod startup;
pub mod store;
pub mod telemetry;

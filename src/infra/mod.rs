//! Infrastructure of a node apart from Redis: the embedded server, the journal on disk, HTTP clients, supervised
//! tasks, threads, locked files, the log.

pub mod embedded_redis;
pub mod http_client;
pub mod journal;
pub mod lock_file;
pub mod metrics;
pub mod supervise;
pub mod telemetry;
pub mod threads;

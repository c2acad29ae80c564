//! What a node needs besides Redis: the embedded server, the journal on disk, HTTP clients, supervised tasks, the log.

pub mod embedded_redis;
pub mod http_client;
pub mod journal;
pub mod supervise;
pub mod telemetry;

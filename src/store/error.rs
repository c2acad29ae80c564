//! What can go wrong between a node and Redis.

/// A denial is no error; this is what keeps a call from being decided at all.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis cannot be reached, does not answer in time, or cannot take the call now. Nothing is known about the
    /// call's effect.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Redis answered what this version does not understand.
    #[error("unexpected answer from the store: {0}")]
    Unexpected(String),
}

impl From<redis::RedisError> for StoreError {
    fn from(error: redis::RedisError) -> Self {
        use redis::{ErrorKind, ServerErrorKind};
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::ResponseError) if !is_passing(&error) => {
                Self::Unexpected(error.to_string())
            }
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Unexpected(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

/// Errors of Redis' own state, which pass: out of memory, disk full, failover, too few replicas.
fn is_passing(error: &redis::RedisError) -> bool {
    let passing = [
        "OOM",
        "MISCONF",
        "NOREPLICAS",
        "MASTERDOWN",
        "BUSY",
        "LOADING",
        "READONLY",
        "UNBLOCKED",
        "CLUSTERDOWN",
        "TRYAGAIN",
    ];
    let text = error.to_string();
    error.code().is_some_and(|code| passing.contains(&code))
        || passing.iter().any(|code| text.contains(&format!("{code} ")))
}

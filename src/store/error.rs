//! Errors between a node and Redis.

/// The reasons why a call could not be decided. A denial is not an error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis cannot be reached, does not answer in time, or cannot execute the call now. Whether the call had an
    /// effect is unknown.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Redis can be reached, but rejects the call: it is full, cannot write its file, lacks replicas, or is moving the
    /// keys to another server. The call had no effect.
    #[error("the store is unavailable: {0}")]
    Refused(String),
    /// Redis has reached its memory limit and rejects calls that need more. The call had no effect.
    #[error("the store is full: {0}")]
    Full(String),
    /// Redis returned something that this version does not understand.
    #[error("unexpected reply from the store: {0}")]
    Unexpected(String),
}

impl From<redis::RedisError> for StoreError {
    fn from(error: redis::RedisError) -> Self {
        use redis::{ErrorKind, ServerErrorKind};
        match error.kind() {
            _ if says(&error, &["OOM"]) => Self::Full(error.to_string()),
            _ if says(&error, &REFUSING) || is_missing_function(&error) => Self::Refused(error.to_string()),
            // `ERR`: a call that Redis does not understand, or a failed script.
            ErrorKind::Server(ServerErrorKind::ResponseError) | ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
                Self::Unexpected(error.to_string())
            }
            // Including temporary states of Redis with their own code: LOADING, READONLY, BUSY, MASTERDOWN, …
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

/// Whether the error says that Redis does not know the user or does not permit a command, directly or in a script.
/// Only the error text shows this.
pub fn is_forbidden(what: &str) -> bool {
    let words = ["NoPerm", "NOPERM", "NOAUTH", "WRONGPASS", "AuthenticationFailed", "user executing the script can't"];
    words.iter().any(|word| what.contains(word))
}

/// Errors with which a reachable Redis rejects a write.
const REFUSING: [&str; 3] = ["MISCONF", "NOREPLICAS", "TRYAGAIN"];

/// Whether Redis does not have this version's library.
pub(super) fn is_missing_function(error: &redis::RedisError) -> bool {
    error.detail() == Some("Function not found")
}

fn says(error: &redis::RedisError, codes: &[&str]) -> bool {
    let text = error.to_string();
    error.code().is_some_and(|code| codes.contains(&code))
        || codes.iter().any(|code| text.contains(&format!("{code} ")))
}

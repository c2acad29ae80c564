//! What can go wrong between a node and Redis.

/// A denial is no error; this is what keeps a call from being decided at all.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis cannot be reached, does not answer in time, or cannot take the call now. Nothing is known about the
    /// call's effect.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Redis can be reached and says why it does not take the call now: it is full, cannot write its file, lacks
    /// replicas, or moves the keys to another server. The call had no effect.
    #[error("the store is unavailable: {0}")]
    Refused(String),
    /// Redis uses as much memory as it may, and refuses what would take more. The call had no effect.
    #[error("the store is full: {0}")]
    Full(String),
    /// Redis answered what this version does not understand.
    #[error("unexpected answer from the store: {0}")]
    Unexpected(String),
}

impl From<redis::RedisError> for StoreError {
    fn from(error: redis::RedisError) -> Self {
        use redis::{ErrorKind, ServerErrorKind};
        match error.kind() {
            _ if says(&error, &["OOM"]) => Self::Full(error.to_string()),
            _ if says(&error, &REFUSING) || is_missing_function(&error) => Self::Refused(error.to_string()),
            // `ERR`: a call that Redis cannot make sense of, or a script that failed.
            ErrorKind::Server(ServerErrorKind::ResponseError) | ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
                Self::Unexpected(error.to_string())
            }
            // Also each state of Redis that passes, which has a code of its own: LOADING, READONLY, BUSY, MASTERDOWN, …
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

/// Does this say that Redis knows no such user, or does not let them do something, themselves or in a script? It is known
/// by nothing but its text.
pub fn is_forbidden(what: &str) -> bool {
    let words = ["NoPerm", "NOPERM", "NOAUTH", "WRONGPASS", "AuthenticationFailed", "user executing the script can't"];
    words.iter().any(|word| what.contains(word))
}

/// Those with which a Redis that is there refuses a write.
const REFUSING: [&str; 3] = ["MISCONF", "NOREPLICAS", "TRYAGAIN"];

/// Redis does not have this version's library.
pub(super) fn is_missing_function(error: &redis::RedisError) -> bool {
    error.detail() == Some("Function not found")
}

fn says(error: &redis::RedisError, codes: &[&str]) -> bool {
    let text = error.to_string();
    error.code().is_some_and(|code| codes.contains(&code))
        || codes.iter().any(|code| text.contains(&format!("{code} ")))
}

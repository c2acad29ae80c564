//! Finds the server program on the PATH.

use std::io;

use tokio::process::Command;

use super::EmbeddedRedisError;

/// Tried in this order; both take the same options.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
/// Scripts use flags that Redis 7.0 introduced.
const OLDEST_MAJOR_VERSION: u32 = 7;

/// Stores a user's counters, and a user's holds if they are few, as one compact block each. Counters then need three
/// fifths of the memory, holds one fifth. By default Redis does so only for texts up to 64 bytes. More entries than
/// these are faster to search in the normal form.
pub const COMPACT: [&str; 8] = [
    "--hash-max-listpack-value",
    "256",
    "--hash-max-listpack-entries",
    "64",
    "--zset-max-listpack-value",
    "256",
    "--zset-max-listpack-entries",
    "64",
];

/// The first program on the PATH that is new enough, with its version.
pub(super) async fn find_program() -> Result<(&'static str, String), EmbeddedRedisError> {
    let mut refusal = EmbeddedRedisError::ServerMissing;
    for program in PROGRAMS {
        match Command::new(program).arg("--version").output().await {
            Ok(output) => match usable_version(program, &String::from_utf8_lossy(&output.stdout)) {
                Ok(version) => return Ok((program, version)),
                Err(error) => refusal = error,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => refusal = EmbeddedRedisError::CannotRun { program, source },
        }
    }
    Err(refusal)
}

/// Parses the version from an answer like `Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 …`.
pub(super) fn usable_version(program: &'static str, answer: &str) -> Result<String, EmbeddedRedisError> {
    let version = answer.split_whitespace().find_map(|word| word.strip_prefix("v="));
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    match (version, major) {
        (Some(version), Some(major)) if major >= OLDEST_MAJOR_VERSION => Ok(version.to_owned()),
        (Some(version), Some(_)) => Err(EmbeddedRedisError::ServerTooOld { program, version: version.to_owned() }),
        _ => Err(EmbeddedRedisError::VersionUnreadable { program, answer: answer.trim().to_owned() }),
    }
}

//! Log set-up.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Sends the log to standard error, as text or as one JSON object per line; standard output is
/// left to what commands print. `filter` is a tracing filter such as `info` or
/// `info,quotagate=debug`; one that cannot be read (the configuration refuses it beforehand)
/// counts as `info`. Only the first call of a process has an effect.
pub fn init_logging(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal()).with_writer(io::stderr);
    // It fails only where a log is set up already, and that one then stays.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}

//! Questions to the person at the terminal.

use std::io::{BufRead, IsTerminal};

use super::RemoteError;
use crate::cli::print;

/// Asks for confirmation on the terminal, unless `yes`. Without it the process ends with 1, since what was asked for is
/// not done.
///
/// # Errors
/// [`RemoteError::Input`] without a terminal.
pub fn confirm(question: &str, yes: bool) -> Result<(), RemoteError> {
    if !confirmed(question, yes)? {
        std::process::exit(1);
    }
    Ok(())
}

/// Whether the person at the terminal confirms; always if `yes`.
///
/// # Errors
/// [`RemoteError::Input`] without a terminal.
pub fn confirmed(question: &str, yes: bool) -> Result<bool, RemoteError> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(RemoteError::input("nothing was changed: standard input is no terminal, so add --yes to confirm"));
    }
    // Standard output may be read by a program.
    print::ask(format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| RemoteError::input(error.to_string()))?;
    let confirmed = matches!(answer.trim(), "y" | "Y" | "yes");
    if !confirmed {
        print::err("Nothing was changed.");
    }
    Ok(confirmed)
}

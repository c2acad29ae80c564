//! What commands print. `println!` panics where the reader of a pipe is gone; this does not.

use std::io::{self, ErrorKind, Write};

/// The exit code of a command whose reader is gone, as a shell reports it: 128 + SIGPIPE.
const READER_GONE: i32 = 141;

/// Prints to standard output. Where nobody reads it any more the process ends quietly, as other commands do; where it
/// cannot be written otherwise, it ends with the reason.
pub fn out(text: impl AsRef<str>) {
    if let Err(error) = try_out(text) {
        end(&error);
    }
}

/// Ends the process for a fault of standard output.
pub fn end(error: &io::Error) -> ! {
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(READER_GONE);
    }
    err(format!("error: standard output: {error}"));
    std::process::exit(1);
}

/// Prints to standard output.
///
/// # Errors
/// It cannot be written.
pub fn try_out(text: impl AsRef<str>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref().as_bytes())?;
    out.flush()
}

/// Prints a line to standard error, if somebody reads it.
pub fn err(line: impl AsRef<str>) {
    let _ = io::stderr().lock().write_all(format!("{}\n", line.as_ref()).as_bytes());
}

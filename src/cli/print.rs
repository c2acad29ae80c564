//! Output of commands. `println!` panics if the reader of a pipe has ended; this does not.

use std::io::{self, ErrorKind, Write};

/// The exit code after the reader has ended, as shells report it: 128 + SIGPIPE.
const READER_GONE: i32 = 141;

/// Prints to standard output. If its reader has ended, the process ends silently, like other commands; after any other
/// error it ends with the reason.
pub fn out(text: impl AsRef<str>) {
    if let Err(error) = try_out(text) {
        end(&error);
    }
}

/// Ends the process because of an error of standard output.
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

/// Prints a question to standard error, without a line end.
pub fn ask(question: impl AsRef<str>) {
    let _ = io::stderr().lock().write_all(question.as_ref().as_bytes());
}

/// Prints a line to standard error; errors are ignored.
pub fn err(line: impl AsRef<str>) {
    let _ = io::stderr().lock().write_all(format!("{}\n", line.as_ref()).as_bytes());
}

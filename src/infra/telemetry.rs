//! Sets up logging. A call never waits for the log and never fails because of it: lines go through a bounded queue to
//! one thread, which writes them to standard error. A line that does not fit into the queue or cannot be written (a
//! closed pipe, a full disk) is lost and counted.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The maximum number of queued lines.
const MOST_LINES: usize = 4096;
/// How long the process waits at its end for the last lines to be written.
const FLUSH: Duration = Duration::from_secs(1);

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Queues lines for the writing thread.
#[derive(Clone)]
struct Queue(SyncSender<Message>);

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Message::Line(line.to_vec())).is_err() {
            lost();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn lost() {
    metrics::counter!("quotagate_log_lines_lost_total").increment(1);
}

fn write_all(received: &Receiver<Message>, mut out: impl Write) {
    for message in received {
        match message {
            Message::Line(line) => {
                if out.write_all(&line).is_err() {
                    lost();
                }
            }
            // The waiting thread may have given up.
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

/// When dropped, waits until the queued lines are written, at most a second.
pub struct Log(Queue);

impl Drop for Log {
    fn drop(&mut self) {
        let (done, flushed) = sync_channel(1);
        if self.0.0.try_send(Message::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(FLUSH);
        }
    }
}

/// Checks the filter of [`init_logging`].
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), String> {
    // `Targets` takes a missing level for `error`.
    if filter.split([',', '=']).any(|part| part.trim().is_empty()) {
        return Err("a level or a target is missing".to_owned());
    }
    filter.parse::<Targets>().map(|_| ()).map_err(|error| error.to_string())
}

/// Writes the log and panics to standard error, as text or as one JSON object per line. Standard output is reserved
/// for the output of commands. `filter` is a level, also per module: `info` or `info,quotagate=debug`; an invalid one
/// (which the configuration rejects earlier) counts as `info`. Only the first call of a process has an effect.
///
/// # Errors
/// The thread cannot be started.
pub fn init_logging(filter: &str, json: bool) -> io::Result<Log> {
    let (lines, received) = sync_channel(MOST_LINES);
    std::thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&received, io::stderr()))?;
    let queue = Queue(lines);
    let filter: Targets = filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(io::stderr().is_terminal())
        .log_internal_errors(false)
        .with_writer(queue.clone());
    let filtered = tracing_subscriber::registry().with(filter);
    // It fails only if a logger is installed already, which then stays.
    let _ = if json { filtered.with(lines.json()).try_init() } else { filtered.with(lines).try_init() };
    // The default hook writes to standard error itself, and could block.
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(%backtrace, "{panic}");
    }));
    Ok(Log(queue))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_queue_or_a_closed_reader_blocks_no_caller() {
        let (lines, received) = sync_channel(2);
        let mut queue = Queue(lines);
        for _ in 0..10 {
            assert_eq!(queue.write(b"line\n").unwrap(), 5, "lines are not read, and no caller blocks");
        }
        assert_eq!(received.try_iter().count(), 2);
        let writer = std::thread::spawn(move || write_all(&received, Broken));
        queue.write_all(b"line\n").unwrap();
        drop(Log(queue.clone()));
        assert!(!writer.is_finished(), "a line that cannot be written ends nothing");
        drop(queue);
        writer.join().unwrap();
    }
}

//! Appends complete events to a file, or writes them to standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::format::{Format, Line, Origin};
use super::sink::{Sink, SinkError};
use crate::cli::print;
use crate::infra::lock_file::LockFile;
use crate::service::reporting::events::id::EventId;
use crate::service::reporting::events::view::EventView;

/// Bytes read at a time when the end of a file is searched.
const BLOCK: u64 = 64 * 1024;

/// A file in a certain format. Several events are written at a time, so a process that dies leaves at most one
/// incomplete event, which the next export removes.
pub struct FileSink<F> {
    format: F,
    name: String,
    file: BufWriter<LockFile>,
    origin: Origin,
}

impl<F: Format> FileSink<F> {
    /// Opens or creates the file and locks it.
    ///
    /// # Errors
    /// [`SinkError`]
    pub fn open(path: &Path, format: F, origin: &Origin) -> Result<Self, SinkError> {
        let name = path.display().to_string();
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = LockFile(opened.map_err(|error| SinkError::Write { place: name.clone(), error })?);
        match file.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) => return Err(SinkError::Busy(name)),
            // The file system does not support locks.
            Ok(()) | Err(std::fs::TryLockError::Error(_)) => {}
        }
        Ok(Self { format, name, file: BufWriter::new(file), origin: origin.clone() })
    }

    fn failed(&self, error: io::Error) -> SinkError {
        SinkError::Write { place: self.name.clone(), error }
    }

    fn not_ours(&self) -> SinkError {
        SinkError::NotOurs(self.name.clone(), F::NAME)
    }

    /// The end of the complete events, and the last of them.
    fn look_back(&mut self, length: u64) -> Result<(u64, Option<EventId>), SinkError> {
        let start = self.format.start().to_owned();
        let head =
            read_at(self.file.get_mut(), 0, length.min(start.len() as u64)).map_err(|error| self.failed(error))?;
        if !start.as_bytes().starts_with(&head) {
            return Err(self.not_ours());
        }
        // A header is kept; the beginning of an event is not.
        let header = if start.ends_with('\n') && head.len() == start.len() { start.len() as u64 } else { 0 };
        let mut end = line_end(self.file.get_mut(), length).map_err(|error| self.failed(error))?;
        while end > header {
            let begin = line_end(self.file.get_mut(), end - 1).map_err(|error| self.failed(error))?;
            let line = read_at(self.file.get_mut(), begin, end - 1 - begin).map_err(|error| self.failed(error))?;
            let line = String::from_utf8(line).ok().and_then(|line| self.format.read(&line));
            let Line { event, is_last, origin } = line.ok_or_else(|| self.not_ours())?;
            if origin != self.origin {
                let (found, wanted) = (origin.to_string(), self.origin.to_string());
                return Err(SinkError::OtherOrigin(self.name.clone(), found, wanted));
            }
            if is_last {
                return Ok((end, Some(event)));
            }
            end = begin;
        }
        Ok((end, None))
    }
}

impl<F: Format> Sink for FileSink<F> {
    fn last(&mut self) -> Result<Option<EventId>, SinkError> {
        let length = self.file.get_ref().metadata().map_err(|error| self.failed(error))?.len();
        let (end, last) = self.look_back(length)?;
        let file = self.file.get_mut();
        let cut = file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end)));
        cut.map_err(|error| self.failed(error))?;
        let start = self.format.start().to_owned();
        if end == 0 && start.ends_with('\n') {
            self.file.write_all(start.as_bytes()).map_err(|error| self.failed(error))?;
        }
        Ok(last)
    }

    fn write(&mut self, event: &EventView) -> Result<(), SinkError> {
        let lines = self.format.lines(event, &self.origin)?;
        self.file.write_all(lines.as_bytes()).map_err(|error| self.failed(error))
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        let kept = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        kept.map_err(|error| self.failed(error))
    }
}

fn read_at(file: &mut File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The position after the last line end before `end`; 0 if there is none.
fn line_end(file: &mut File, mut end: u64) -> io::Result<u64> {
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        let block = read_at(file, begin, end - begin)?;
        if let Some(place) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + place as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

/// Standard output: each export begins at the start.
pub struct Stdout<F> {
    format: F,
    out: BufWriter<io::Stdout>,
    origin: Origin,
}

impl<F: Format> Stdout<F> {
    pub fn new(format: F, origin: &Origin) -> Self {
        Self { format, out: BufWriter::new(io::stdout()), origin: origin.clone() }
    }
}

fn stdout_failed(error: io::Error) -> SinkError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        print::end(&error);
    }
    SinkError::Write { place: "standard output".to_owned(), error }
}

impl<F: Format> Sink for Stdout<F> {
    fn last(&mut self) -> Result<Option<EventId>, SinkError> {
        let start = self.format.start();
        if start.ends_with('\n') {
            self.out.write_all(start.as_bytes()).map_err(stdout_failed)?;
        }
        Ok(None)
    }

    fn write(&mut self, event: &EventView) -> Result<(), SinkError> {
        let lines = self.format.lines(event, &self.origin)?;
        self.out.write_all(lines.as_bytes()).map_err(stdout_failed)
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.out.flush().map_err(stdout_failed)
    }
}

//! The file of a journal: a line with the format, then one line per record with the beginning of the record's SHA-256,
//! a space, and the record as JSON. The process that writes or reads it holds a lock.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::infra::lock_file::LockFile;

const HEADER: &str = "quotagate journal 1\n";
const ENDING: &str = "journal";
/// Hex digits of a record's checksum.
const CHECKSUM_DIGITS: usize = 16;

/// A task that must be done once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The name of its operation; records with the same name are the same task.
    pub name: String,
    /// What a repetition must equal.
    pub fingerprint: String,
    pub body: Value,
}

/// A locked file in the journal's directory.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    file: LockFile,
    /// Bytes of complete records.
    length: u64,
}

/// The content of a file of an earlier process.
#[derive(Debug, Default, PartialEq)]
pub struct FileContent {
    pub records: Vec<Record>,
    /// Lines whose checksum does not match.
    pub damaged: usize,
    /// Bytes after the last complete line: an interrupted write, which was never acknowledged.
    pub torn_bytes: usize,
}

fn checksum(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..CHECKSUM_DIGITS / 2])
}

/// The line of a record.
///
/// # Errors
/// None in practice: a record that was parsed from JSON can be serialized.
pub fn line(record: &Record) -> io::Result<String> {
    let text = serde_json::to_string(record)?;
    Ok(format!("{} {text}\n", checksum(&text)))
}

/// Parses the content of a file. None if it has another kind or version.
pub fn read(bytes: &[u8]) -> Option<FileContent> {
    let header = HEADER.as_bytes();
    if bytes.len() < header.len() {
        return header.starts_with(bytes).then(|| FileContent { torn_bytes: bytes.len(), ..FileContent::default() });
    }
    let rest = bytes.strip_prefix(header)?;
    let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut found = FileContent { torn_bytes: rest.len() - end, ..FileContent::default() };
    for line in rest[..end].split_inclusive(|byte| *byte == b'\n') {
        let record = std::str::from_utf8(line).ok().and_then(|line| {
            let (sum, text) = line.trim_end_matches('\n').split_once(' ')?;
            (sum == checksum(text)).then(|| serde_json::from_str(text).ok())?
        });
        match record {
            Some(record) => found.records.push(record),
            None => found.damaged += 1,
        }
    }
    Some(found)
}

/// Makes creations, removals and renames in a directory durable.
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

impl JournalFile {
    /// Creates a new locked file (mode 0600), and the directory if needed (mode 0700).
    ///
    /// # Errors
    /// The directory is not writable.
    pub fn create(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let path = directory.join(format!("{}.{ENDING}", hex::encode(rand::random::<[u8; 8]>())));
        let file = LockFile(OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?);
        // Another process may take it over first; then the next call creates another one.
        file.try_lock()?;
        let mut journal = Self { path, file, length: 0 };
        let begun = journal.append(HEADER).and_then(|()| sync_directory(directory));
        match begun {
            Ok(()) => Ok(journal),
            Err(error) => {
                // It is empty; if it cannot be removed, the next process removes it.
                let _ = fs::remove_file(&journal.path);
                Err(error)
            }
        }
    }

    /// The files of a directory.
    ///
    /// # Errors
    /// The directory cannot be read. A missing directory has no files.
    pub fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.retain(|path| path.extension().is_some_and(|ending| ending == ENDING));
        paths.sort();
        Ok(paths)
    }

    /// Takes over the file of a process that has ended. None if its process is running, or it has another kind or
    /// version.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn adopt(path: &Path) -> io::Result<Option<(Self, FileContent)>> {
        let file = LockFile(OpenOptions::new().read(true).write(true).open(path)?);
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            other => other?,
        }
        let bytes = fs::read(path)?;
        let Some(found) = read(&bytes) else {
            tracing::error!(file = %path.display(), "not a journal of this version; the file is ignored");
            return Ok(None);
        };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(Some((Self { path: path.to_owned(), file, length }, found)))
    }

    /// The same file opened read-only, so that each append fails.
    #[cfg(test)]
    pub fn unwritable(self) -> Self {
        let file = LockFile(File::open(&self.path).expect("it is there"));
        Self { file, ..self }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing was ever written to it.
    pub fn is_new(&self) -> bool {
        usize::try_from(self.length) == Ok(HEADER.len())
    }

    /// The length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes complete lines, which are on disk when this returns.
    ///
    /// # Errors
    /// They are not on disk. The file is unchanged, or, if even that failed, ends within a line; then nothing more may
    /// be appended.
    pub fn append(&mut self, lines: &str) -> io::Result<()> {
        let written = self.file.write_all_at(lines.as_bytes(), self.length).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += u64::try_from(lines.len()).unwrap_or(u64::MAX);
                Ok(())
            }
            Err(error) => {
                let _ = self.file.set_len(self.length);
                Err(error)
            }
        }
    }

    /// Removes the file after all its records are done.
    ///
    /// # Errors
    /// The file cannot be removed, so the next process will read it again.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// Renames the file for inspection, after its readable records are done.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub fn set_aside(self) -> io::Result<PathBuf> {
        let aside = self.path.with_extension("damaged");
        fs::rename(&self.path, &aside)?;
        Ok(aside)
    }
}

/// Stores a record that cannot be done, with the reason, in a file for inspection that is never read. Returns its
/// path.
///
/// # Errors
/// The file cannot be written.
pub fn refuse(directory: &Path, record: &Record) -> io::Result<PathBuf> {
    let path = directory.join("refused");
    let mut options = OpenOptions::new();
    let file = LockFile(options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?);
    // Several processes may share the directory.
    file.lock()?;
    let length = file.metadata()?.len();
    let mut journal = JournalFile { path: path.clone(), file, length };
    if length == 0 {
        journal.append(HEADER)?;
    }
    journal.append(&line(record)?)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn record(name: &str) -> Record {
        Record { name: name.to_owned(), fingerprint: "-".to_owned(), body: json!({"user": "ü\n", "n": 7}) }
    }

    fn text(names: &[&str]) -> String {
        HEADER.to_owned() + &names.iter().map(|name| line(&record(name)).unwrap()).collect::<String>()
    }

    #[test]
    fn what_was_written_is_read_in_its_order() {
        let found = read(text(&["a", "b"]).as_bytes()).unwrap();
        assert_eq!(found, FileContent { records: vec![record("a"), record("b")], damaged: 0, torn_bytes: 0 });
    }

    #[test]
    fn another_kind_or_version_is_not_read() {
        for other in ["quotagate journal 2\n", "something else that is longer\n", "x"] {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_changed_line_is_reported_and_the_lines_around_it_are_read() {
        let whole = text(&["a", "b", "c"]);
        let changed = whole.replace(r#""name":"b""#, r#""name":"x""#);
        let found = read(changed.as_bytes()).unwrap();
        assert_eq!(found, FileContent { records: vec![record("a"), record("c")], damaged: 1, torn_bytes: 0 });
    }

    proptest! {
        #[test]
        fn wherever_a_file_is_torn_its_whole_records_are_read_and_nothing_else(cut in 0_usize..1000) {
            let whole = text(&["a", "b", "c"]);
            let cut = cut % (whole.len() + 1);
            let found = read(&whole.as_bytes()[..cut]).unwrap();
            let ends: Vec<usize> = whole.match_indices('\n').map(|(at, _)| at + 1).skip(1).collect();
            prop_assert_eq!(found.records.len(), ends.iter().filter(|end| **end <= cut).count());
            prop_assert_eq!(found.damaged, 0);
        }

        #[test]
        fn whatever_a_file_holds_is_read_or_refused(bytes in any::<Vec<u8>>()) {
            let mut all = HEADER.as_bytes().to_vec();
            all.extend(bytes);
            prop_assert!(read(&all).unwrap().records.is_empty());
        }
    }

    #[test]
    fn files_are_private_and_a_living_process_keeps_its_own() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("degraded");
        let mut journal = JournalFile::create(&directory).unwrap();
        journal.append(&line(&record("a")).unwrap()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(journal.path())), (0o700, 0o600));
        assert!(JournalFile::adopt(journal.path()).unwrap().is_none(), "it is locked");
        let path = journal.path().to_owned();
        drop(journal);
        let (adopted, found) = JournalFile::adopt(&path).unwrap().unwrap();
        assert_eq!(found.records, [record("a")]);
        adopted.remove().unwrap();
        assert!(JournalFile::list(&directory).unwrap().is_empty());
    }
}

//! The file of a journal: a line that says what it is, then a line per record: the beginning of the record's SHA-256, a
//! blank, and the record as JSON. It is locked by the process that writes or reads it, so that nobody else takes it over.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

const HEADER: &str = "quotagate journal 1\n";
const ENDING: &str = "journal";
/// Hex digits of a record's checksum.
const CHECKSUM_DIGITS: usize = 16;

/// Something that is to be done once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The operation that it is done by: what has the same name is the same.
    pub name: String,
    /// What a repetition has to be equal to.
    pub fingerprint: String,
    pub body: Value,
}

/// A file of the journal's directory, locked.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    file: File,
    /// Bytes of whole records.
    length: u64,
}

/// What a file of an earlier process holds.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    pub records: Vec<Record>,
    /// Lines in which the checksum and the record differ.
    pub damaged: usize,
    /// Bytes behind the last whole line: a write that was cut off, and so never answered.
    pub torn_bytes: usize,
}

fn checksum(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..CHECKSUM_DIGITS / 2])
}

/// A record as it is written.
///
/// # Errors
/// None in practice: whatever was read as JSON can be written.
pub fn line(record: &Record) -> io::Result<String> {
    let text = serde_json::to_string(record)?;
    Ok(format!("{} {text}\n", checksum(&text)))
}

/// Reads what a file holds. None: it is of another kind or version.
pub fn read(bytes: &[u8]) -> Option<Found> {
    let header = HEADER.as_bytes();
    if bytes.len() < header.len() {
        return header.starts_with(bytes).then(|| Found { torn_bytes: bytes.len(), ..Found::default() });
    }
    let rest = bytes.strip_prefix(header)?;
    let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut found = Found { torn_bytes: rest.len() - end, ..Found::default() };
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

/// Makes what was created, removed or renamed in a directory last.
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

impl JournalFile {
    /// A new file that nobody else reads or writes. The directory is made if it is not there (mode 0700, the file 0600).
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn create(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let path = directory.join(format!("{}.{ENDING}", hex::encode(rand::random::<[u8; 8]>())));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        // Whoever adopts files may be faster; then the next call makes another one.
        file.try_lock()?;
        let mut journal = Self { path, file, length: 0 };
        let begun = journal.append(HEADER).and_then(|()| sync_directory(directory));
        match begun {
            Ok(()) => Ok(journal),
            Err(error) => {
                // Nothing is in it; what cannot be removed is removed by the next process.
                let _ = fs::remove_file(&journal.path);
                Err(error)
            }
        }
    }

    /// The files of a directory.
    ///
    /// # Errors
    /// The directory cannot be read; one that is not there has no files.
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

    /// Takes over the file of a process that is gone. None: its process lives, or it is of another kind or version.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn adopt(path: &Path) -> io::Result<Option<(Self, Found)>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            other => other?,
        }
        let bytes = fs::read(path)?;
        let Some(found) = read(&bytes) else {
            tracing::error!(file = %path.display(), "is no journal that this version reads: it is left alone");
            return Ok(None);
        };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(Some((Self { path: path.to_owned(), file, length }, found)))
    }

    /// The same file without the right to write it: each append fails.
    #[cfg(test)]
    pub fn unwritable(self) -> Self {
        let file = File::open(&self.path).expect("it is there");
        Self { file, ..self }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Nothing was ever written to it.
    pub fn is_new(&self) -> bool {
        usize::try_from(self.length) == Ok(HEADER.len())
    }

    /// In bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes whole lines; they are on disk when this answers.
    ///
    /// # Errors
    /// They are not. The file is as it was, or, if even that failed, ends within a line: then no more may be appended.
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

    /// Everything in it is done.
    ///
    /// # Errors
    /// The file cannot be removed: the next process reads it again.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// What could be read of it is done; the rest is for people to look at.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub fn set_aside(self) -> io::Result<PathBuf> {
        let aside = self.path.with_extension("damaged");
        fs::rename(&self.path, &aside)?;
        Ok(aside)
    }
}

/// Keeps a record for people, with why it could not be done: a journal that is never read. Answers the file's path.
///
/// # Errors
/// It cannot be written.
pub fn refuse(directory: &Path, record: &Record) -> io::Result<PathBuf> {
    let path = directory.join("refused");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
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
        assert_eq!(found, Found { records: vec![record("a"), record("b")], damaged: 0, torn_bytes: 0 });
    }

    #[test]
    fn another_kind_or_version_is_not_read() {
        for other in ["quotagate journal 2\n", "something else that is longer\n", "x"] {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_line_that_was_changed_is_told_and_those_around_it_are_read() {
        let whole = text(&["a", "b", "c"]);
        let changed = whole.replace(r#""name":"b""#, r#""name":"x""#);
        let found = read(changed.as_bytes()).unwrap();
        assert_eq!(found, Found { records: vec![record("a"), record("c")], damaged: 1, torn_bytes: 0 });
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

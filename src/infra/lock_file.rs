//! A file with a lock that ends with its value.

use std::fs::File;
use std::io::{self, Write};
use std::ops::{Deref, DerefMut};

/// A file that is unlocked before it is closed. Closing alone is not enough: a child process that is just being started
/// may still have a copy of it and so keep the lock.
#[derive(Debug)]
pub struct LockFile(pub File);

impl Deref for LockFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl DerefMut for LockFile {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.0
    }
}

impl Write for LockFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

//! Small C libraries that are loaded into a program with `LD_PRELOAD`, to change what Redis or a gateway sees of the
//! system where no setting can.

use std::path::PathBuf;
use std::process::Command;

use crate::support::folder;
use tempfile::TempDir;

pub struct Preload {
    directory: TempDir,
}

impl Preload {
    /// Compiles `tests/faults/<name>.c`. A machine with cargo also has a linker, and `cc` is one.
    pub fn build(name: &str) -> Self {
        let directory = folder();
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/faults/{name}.c"));
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(directory.path().join("preload.so"));
        assert!(compile.arg(source).status().unwrap().success(), "{name}.c");
        Self { directory }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The environment that loads the library, with one setting for it.
    pub fn environment(&self, name: &'static str, value: &str) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", self.file("preload.so").display().to_string()), (name, value.to_owned())]
    }
}

/// A clock that is off by this many milliseconds.
pub fn clock_off(preload: &Preload, ms: i64) -> Vec<(&'static str, String)> {
    preload.environment("SHIFTED_CLOCK_MS", &ms.to_string()).to_vec()
}

/// The same environment, for a Redis server of a test.
pub fn owned(environment: &[(&'static str, String)]) -> Vec<(String, String)> {
    environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

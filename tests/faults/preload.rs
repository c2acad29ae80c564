//! Small libraries in C that stand between a program and the system (`LD_PRELOAD`): what a Redis or a gateway sees or does
//! there cannot be told to it in any other way.

use std::path::PathBuf;
use std::process::Command;

use crate::support::folder;
use tempfile::TempDir;

pub struct Preload {
    directory: TempDir,
}

impl Preload {
    /// Compiles `tests/faults/<name>.c`. Where there is cargo there is a linker, which `cc` is.
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

    /// What makes a program load it, and one setting of its own.
    pub fn environment(&self, name: &'static str, value: &str) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", self.file("preload.so").display().to_string()), (name, value.to_owned())]
    }
}

/// A clock that is so many milliseconds off.
pub fn clock_off(preload: &Preload, ms: i64) -> Vec<(&'static str, String)> {
    preload.environment("SHIFTED_CLOCK_MS", &ms.to_string()).to_vec()
}

/// The same for a Redis of a test.
pub fn owned(environment: &[(&'static str, String)]) -> Vec<(String, String)> {
    environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

//! Runs the gateway as a process.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{PATIENCE, run};

pub const ADMIN_KEY: &str = "ak_process_test_0123456789abcdef";

/// The binary with a clean environment.
pub fn quotagate(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    program(Path::new(env!("CARGO_BIN_EXE_quotagate")), arguments, settings)
}

fn program(path: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("QUOTAGATE_")) {
        command.env_remove(name);
    }
    // On a busy machine Redis may answer slowly, so the timeout is long.
    command.args(arguments).env("QUOTAGATE_BIND", "127.0.0.1:0").env("QUOTAGATE_REDIS_TIMEOUT_MS", "60000");
    command.envs(settings.iter().copied());
    run::mark(&mut command);
    command
}

/// A command that has not exited after this time has failed.
const MOST_RUN: Duration = Duration::from_secs(180);

/// Runs it until it exits.
#[track_caller]
pub fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = quotagate(arguments, settings);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let id = child.id();
    let (exited, exits) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let is_late = exits.recv_timeout(MOST_RUN) == Err(RecvTimeoutError::Timeout);
        if is_late {
            Command::new("kill").args(["-KILL", &id.to_string()]).status().unwrap();
        }
        is_late
    });
    let output = child.wait_with_output().unwrap();
    drop(exited);
    assert!(!watch.join().unwrap(), "{arguments:?} {settings:?} was killed after {MOST_RUN:?}: {output:?}");
    output
}

/// Fails unless it exited with code 1 and one line that names the reason.
#[track_caller]
pub fn one_clear_line(output: &Output) -> String {
    let printed = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert_eq!(printed.trim().lines().count(), 1, "{printed}");
    assert!(printed.starts_with("error: "), "{printed}");
    assert!(output.stdout.is_empty(), "{:?}", output.stdout);
    printed.trim().to_owned()
}

pub struct Process {
    child: Child,
    log: PathBuf,
    pub url: String,
    /// What it printed when it was ready.
    pub welcome: String,
}

impl Process {
    /// Starts `serve` and waits until it has printed its address and the commands to copy.
    pub fn start(data_dir: &Path, settings: &[(&str, &str)]) -> Self {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let log = format!("gateway-{}.log", STARTED.fetch_add(1, Ordering::Relaxed));
        Self::start_with(data_dir, settings, &run::directory().join(log))
    }

    /// The same, with its log appended to this file.
    pub fn start_with(data_dir: &Path, settings: &[(&str, &str)], log: &Path) -> Self {
        Self::launch(quotagate(&["serve"], settings), data_dir, log)
    }

    /// The same with another program, which executes the gateway.
    pub fn start_program(path: &Path, data_dir: &Path, settings: &[(&str, &str)], log: &Path) -> Self {
        Self::launch(program(path, &["serve"], settings), data_dir, log)
    }

    /// The same, with its log sent to this destination.
    pub fn start_logging_to(data_dir: &Path, settings: &[(&str, &str)], log: Stdio) -> Self {
        Self::run(quotagate(&["serve"], settings), data_dir, log, Path::new("/dev/null"))
    }

    /// Starts `serve` without waiting for it. It has no URL and no welcome.
    pub fn start_without_welcome(data_dir: &Path, settings: &[(&str, &str)], log: &Path) -> Self {
        let mut command = quotagate(&["serve"], settings);
        command.stdout(Stdio::null());
        Self::spawn(command, data_dir, appended(log), log)
    }

    fn launch(command: Command, data_dir: &Path, log: &Path) -> Self {
        Self::run(command, data_dir, appended(log), log)
    }

    /// From here on the process ends with the test, also if the test fails.
    fn spawn(mut command: Command, data_dir: &Path, stderr: Stdio, log: &Path) -> Self {
        let child = command.env("QUOTAGATE_DATA_DIR", data_dir).stderr(stderr).spawn().unwrap();
        Self { child, log: log.to_owned(), url: String::new(), welcome: String::new() }
    }

    fn run(mut command: Command, data_dir: &Path, stderr: Stdio, log: &Path) -> Self {
        command.stdout(Stdio::piped());
        let mut process = Self::spawn(command, data_dir, stderr, log);
        let mut lines = BufReader::new(process.child.stdout.take().unwrap());
        while !process.welcome.contains("/api/v1/reserve ") {
            let read = lines.read_line(&mut process.welcome).unwrap();
            assert!(read > 0, "the gateway ended before it was ready: {}", process.welcome);
        }
        // Drains the output, so that the process never blocks on a full pipe.
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        let url = process.welcome.split_whitespace().find(|word| word.starts_with("http://"));
        process.url = url.unwrap().to_owned();
        process
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `-TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until the gateway ends");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has ended; returns the exit status.
    pub fn ended(mut self) -> ExitStatus {
        self.wait()
    }

    /// SIGTERM; returns the exit status.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal("-TERM");
        self.wait()
    }

    /// SIGKILL: no destructor runs, and its Redis keeps running.
    pub fn kill(mut self) {
        self.signal("-KILL");
        self.wait();
    }

    /// One call; fails unless it succeeds.
    pub async fn call(&self, method: &str, path: &str, key: &str, body: &Value) -> Value {
        let url = format!("{}/api/v1/{path}", self.url);
        let mut request =
            crate::support::http().build().unwrap().request(method.parse().unwrap(), url).bearer_auth(key);
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }
}

/// A file to which a log is appended.
fn appended(log: &Path) -> Stdio {
    File::options().create(true).append(true).open(log).unwrap().into()
}

impl Drop for Process {
    fn drop(&mut self) {
        // If the test failed, its Redis must not keep running.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("-TERM");
            let _ = self.child.wait();
        }
        run::print_log_of_failed_test(&format!("the gateway at {}", self.url), &self.log);
    }
}
